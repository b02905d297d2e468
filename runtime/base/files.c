/* POSIX files behind files.h. */
#include "base/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Nothing that would wait, or whose opening does something. */
static tv_status open_regular(const char *path, int *fd, struct stat *info) {
    *fd = -1;
    if (stat(path, info) != 0)
        return tv_fail_errno(TV_E_IO, "cannot open %s", path);
    if (!S_ISREG(info->st_mode))
        return tv_fail(TV_E_IO, "cannot read %s: expected a file, found %s", path, tv_path_kind(path));
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (*fd < 0)
        return tv_fail_errno(TV_E_IO, "cannot open %s", path);
    if (fstat(*fd, info) == 0 && S_ISREG(info->st_mode))
        return TV_OK;
    close(*fd);
    *fd = -1;
    return tv_fail(TV_E_IO, "cannot read %s: expected a file", path);
}

struct tv_file {
    char *path;
    int fd;
    uint64_t bytes;
};

tv_status tv_file_open(const char *path, tv_file **out) {
    *out = NULL;
    struct stat info;
    tv_status status;
    tv_file *file = calloc(1, sizeof *file);
    if (!file)
        return tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
    file->fd = -1;
    if (!(file->path = tv_format("%s", path))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(open_regular(path, &file->fd, &info));
    file->bytes = (uint64_t)info.st_size;
    *out = file;
    return TV_OK;
fail:
    tv_file_close(&file);
    return status;
}

uint64_t tv_file_bytes(const tv_file *file) {
    return file->bytes;
}

static tv_status cut_short(const char *path, uint64_t had, uint64_t at) {
    return tv_fail(TV_E_IO,
                   "%s was cut short by another program while it was being read: it had %llu bytes, and byte "
                   "%llu is not there any more",
                   path, (unsigned long long)had, (unsigned long long)at);
}

tv_status tv_file_read_at(const tv_file *file, uint64_t offset, void *bytes, uint64_t size) {
    char *cursor = bytes;
    while (size > 0) {
        ssize_t got = pread(file->fd, cursor, size > (1u << 30) ? (1u << 30) : size, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tv_fail_errno(TV_E_IO, "cannot read %s at byte %llu", file->path,
                                 (unsigned long long)offset);
        if (got == 0)
            return cut_short(file->path, file->bytes, offset);
        cursor += got;
        offset += (uint64_t)got;
        size -= (uint64_t)got;
    }
    return TV_OK;
}

void tv_file_close(tv_file **file) {
    if (!file || !*file)
        return;
    if ((*file)->fd >= 0)
        close((*file)->fd);
    free((*file)->path);
    free(*file);
    *file = NULL;
}

struct tv_reader {
    char *path;
    int fd;
    uint64_t size, taken; /* of a file when it was opened, 0 of a pipe; and how much of it was read */
};

static tv_status read_to_end(tv_reader *reader, const char *path, char **text, uint64_t *size) {
    tv_status status;
    uint64_t used = 0, capacity = 0;
    char *bytes = NULL;
    for (uint64_t got = 1; got > 0; used += got) {
        if (capacity - used < 2) {
            capacity = capacity ? capacity * 2 : 65536;
            char *grown = realloc(bytes, capacity);
            if (!grown) {
                status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s", path);
                goto fail;
            }
            bytes = grown;
        }
        TV_TRY_OR_FAIL(tv_reader_read(reader, bytes + used, capacity - used - 1, &got));
    }
    bytes[used] = '\0';
    *text = bytes;
    if (size)
        *size = used;
    return TV_OK;
fail:
    free(bytes);
    return status;
}

tv_status tv_read_input(const char *path, char **text, uint64_t *size) {
    tv_reader *reader = NULL;
    *text = NULL;
    TV_RETURN_IF_FAILED(tv_reader_open(path, &reader));
    tv_status status = read_to_end(reader, path, text, size);
    tv_reader_close(&reader);
    return status;
}

tv_status tv_read_file(const char *path, char **text, uint64_t *size) {
    struct stat info;
    tv_reader reader = {.path = (char *)(uintptr_t)path, .fd = -1};
    *text = NULL;
    TV_RETURN_IF_FAILED(open_regular(path, &reader.fd, &info));
    reader.size = (uint64_t)info.st_size;
    tv_status status = read_to_end(&reader, path, text, size);
    close(reader.fd);
    return status;
}

bool tv_path_exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0;
}

bool tv_path_is_directory(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool tv_path_is_stream(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode);
}

const char *tv_path_kind(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0)
        return "nothing of that name";
    return S_ISREG(info.st_mode)    ? "a file"
           : S_ISDIR(info.st_mode)  ? "a directory"
           : S_ISFIFO(info.st_mode) ? "a pipe"
           : S_ISSOCK(info.st_mode) ? "a socket"
                                    : "a device";
}

tv_status tv_file_size(const char *path, uint64_t *size) {
    struct stat info;
    if (stat(path, &info) != 0)
        return tv_fail_errno(TV_E_IO, "cannot open %s", path);
    if (!S_ISREG(info.st_mode))
        return tv_fail(TV_E_IO, "%s is not a regular file", path);
    *size = (uint64_t)info.st_size;
    return TV_OK;
}

static tv_status sync_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tv_fail_errno(TV_E_IO, "cannot open the directory %s", path);
    int result = fsync(fd);
    close(fd);
    return result == 0 ? TV_OK : tv_fail_errno(TV_E_IO, "cannot make the directory %s durable", path);
}

tv_status tv_sync_parent(const char *path) {
    const char *slash = strrchr(path, '/');
    char *parent = slash ? tv_format("%.*s", slash == path ? 1 : (int)(slash - path), path) : tv_format(".");
    if (!parent)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = sync_dir(parent);
    free(parent);
    return status;
}

tv_status tv_make_dirs(const char *path) {
    char *copy = tv_format("%s", path);
    if (!copy)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = TV_OK;
    for (char *slash = copy + 1; status == TV_OK; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        char kept = *slash;
        *slash = '\0';
        if (mkdir(copy, 0777) == 0)
            status = tv_sync_parent(copy);
        else if (errno != EEXIST || !tv_path_is_directory(copy))
            status = tv_fail_errno(TV_E_IO, "cannot create the directory %s", copy);
        *slash = kept;
        if (kept == '\0')
            break;
    }
    free(copy);
    return status;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

tv_status tv_list_dir(const char *path, char ***names, uint64_t *count) {
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return tv_fail_errno(TV_E_IO, "cannot list %s", path);
    uint64_t capacity = 0;
    tv_status status = TV_OK;
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (*count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            char **grown = realloc(*names, capacity * sizeof *grown);
            if (!grown) {
                status = tv_fail(TV_E_MEMORY, "out of host memory while listing %s", path);
                goto fail;
            }
            *names = grown;
        }
        char *name = tv_format("%s", entry->d_name);
        if (!name) {
            status = tv_fail(TV_E_MEMORY, "out of host memory while listing %s", path);
            goto fail;
        }
        (*names)[(*count)++] = name;
    }
    closedir(dir);
    if (*count)
        qsort(*names, *count, sizeof **names, compare_names);
    return TV_OK;
fail:
    closedir(dir);
    tv_free_names(names, *count);
    *count = 0;
    return status;
}

void tv_free_names(char ***names, uint64_t count) {
    if (!*names)
        return;
    for (uint64_t i = 0; i < count; i++)
        free((*names)[i]);
    free(*names);
    *names = NULL;
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

tv_status tv_remove_tree(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0)
        return errno == ENOENT ? TV_OK : tv_fail_errno(TV_E_IO, "cannot remove %s", path);
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS) != 0 && errno != ENOENT)
        return tv_fail_errno(TV_E_IO, "cannot remove %s", path);
    return TV_OK;
}

tv_status tv_rename_durable(const char *from, const char *to) {
    if (rename(from, to) != 0)
        return tv_fail_errno(TV_E_IO, "cannot rename %s to %s", from, to);
    return tv_sync_parent(to);
}

/* Whether the name ends with ".tmp-" and a process number, as writers and links are called before they are
 * whole. */
static bool is_temporary(const char *name) {
    const char *end = strstr(name, ".tmp-");
    return end && end[5] != '\0' && strspn(end + 5, "0123456789") == strlen(end + 5);
}

tv_status tv_remove_temporaries(const char *directory) {
    char **names = NULL;
    uint64_t count = 0;
    TV_RETURN_IF_FAILED(tv_list_dir(directory, &names, &count));
    tv_status status = TV_OK;
    for (uint64_t i = 0; i < count && status == TV_OK; i++) {
        if (!is_temporary(names[i]))
            continue;
        char *path = tv_format("%s/%s", directory, names[i]);
        status = path ? tv_remove_tree(path) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
        free(path);
    }
    tv_free_names(&names, count);
    return status;
}

tv_status tv_replace_link(const char *target, const char *link) {
    char *temporary = tv_format("%s.tmp-%ld", link, (long)getpid());
    if (!temporary)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    unlink(temporary);
    tv_status status = TV_OK;
    if (symlink(target, temporary) != 0)
        status = tv_fail_errno(TV_E_IO, "cannot create the link %s", link);
    else
        status = tv_rename_durable(temporary, link);
    if (status != TV_OK)
        unlink(temporary);
    free(temporary);
    return status;
}

tv_status tv_real_path(const char *path, char **real) {
    *real = realpath(path, NULL);
    return *real ? TV_OK : tv_fail_errno(TV_E_IO, "cannot find %s", path);
}

tv_status tv_read_link(const char *link, char **target) {
    char text[4096];
    *target = NULL;
    ssize_t length = readlink(link, text, sizeof text - 1);
    if (length < 0)
        return tv_fail_errno(TV_E_IO, "cannot read the link %s", link);
    text[length] = '\0';
    *target = tv_format("%s", text);
    return *target ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
}

/* Whether an open device is the terminal or /dev/null, which has nothing; others may have no end. */
static bool is_stream(int fd, const struct stat *info) {
    struct stat null;
    return isatty(fd) || (stat("/dev/null", &null) == 0 && null.st_rdev == info->st_rdev);
}

static tv_status open_input(const char *path, int *fd, uint64_t *size) {
    struct stat info;
    if (stat(path, &info) != 0)
        return tv_fail_errno(TV_E_IO, "cannot open %s", path);
    if (S_ISREG(info.st_mode)) {
        tv_status status = open_regular(path, fd, &info);
        *size = (uint64_t)info.st_size;
        return status;
    }
    *fd = -1;
    *size = 0;
    if (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)) {
        *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
        if (*fd < 0)
            return tv_fail_errno(TV_E_IO, "cannot open %s", path);
    }
    if (*fd >= 0 && (S_ISFIFO(info.st_mode) || is_stream(*fd, &info)))
        return TV_OK;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    return tv_fail(TV_E_IO, "cannot read %s: expected a file or a pipe, found %s", path, tv_path_kind(path));
}

tv_status tv_reader_open(const char *path, tv_reader **out) {
    *out = NULL;
    tv_status status;
    tv_reader *reader = calloc(1, sizeof *reader);
    if (!reader)
        return tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
    reader->fd = -1;
    if (!(reader->path = tv_format("%s", path))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(open_input(path, &reader->fd, &reader->size));
    *out = reader;
    return TV_OK;
fail:
    tv_reader_close(&reader);
    return status;
}

tv_status tv_reader_read(tv_reader *reader, void *bytes, uint64_t size, uint64_t *got) {
    ssize_t done;
    do
        done = read(reader->fd, bytes, size > (1u << 30) ? (1u << 30) : size);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return tv_fail_errno(TV_E_IO, "cannot read %s", reader->path);
    if (done == 0 && size > 0 && reader->taken < reader->size)
        return cut_short(reader->path, reader->size, reader->taken);
    reader->taken += (uint64_t)done;
    *got = (uint64_t)done;
    return TV_OK;
}

void tv_reader_close(tv_reader **reader) {
    if (!reader || !*reader)
        return;
    if ((*reader)->fd >= 0)
        close((*reader)->fd);
    free((*reader)->path);
    free(*reader);
    *reader = NULL;
}
