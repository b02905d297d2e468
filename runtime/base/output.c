/* POSIX output files behind output.h. */
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/lock.h"
#include "base/os.h"

enum { MAX_LINKS = 40 };

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

tv_status tv_output_check(const char *path, const char *const *inputs, uint64_t count) {
    struct stat output, input;
    /* A terminal or a device is read and written by many. */
    if (stat(path, &output) != 0 || !S_ISREG(output.st_mode))
        return TV_OK;
    for (uint64_t i = 0; i < count; i++)
        if (inputs[i] && stat(inputs[i], &input) == 0 && same_file(&output, &input))
            return tv_fail(TV_E_USAGE,
                           "%s is read here%s%s, and writing would take the place of what is in it; choose "
                           "another name for what is written",
                           path, strcmp(path, inputs[i]) == 0 ? "" : " as ",
                           strcmp(path, inputs[i]) == 0 ? "" : inputs[i]);
    return TV_OK;
}

tv_status tv_output_refuse_link(const char *path) {
    struct stat info;
    if (lstat(path, &info) == 0 && S_ISLNK(info.st_mode))
        return tv_fail(
            TV_E_IO,
            "%s is a link, and writing through it would change what lies elsewhere; remove it, or put "
            "there what it leads to",
            path);
    return TV_OK;
}

/* Where a name leads: through links, to something that is none or is not there. NULL: to what a process has
 * open, as /dev/stdout does. */
static tv_status follow_links(const char *path, char **out) {
    struct stat info;
    char *at = tv_format("%s", path), *target = NULL;
    tv_status status = TV_OK;
    for (int links = 0; at && status == TV_OK && lstat(at, &info) == 0 && S_ISLNK(info.st_mode); links++) {
        const char *slash = strrchr(at, '/');
        if (strncmp(at, "/proc/", 6) == 0) {
            free(at);
            *out = NULL;
            return TV_OK;
        }
        if (links == MAX_LINKS)
            status =
                tv_fail(TV_E_IO, "cannot write %s: it leads through more than %d links", path, MAX_LINKS);
        else
            status = tv_read_link(at, &target);
        if (status != TV_OK)
            break;
        char *next = target[0] == '/' || !slash ? tv_format("%s", target)
                                                : tv_format("%.*s/%s", (int)(slash - at), at, target);
        free(target);
        target = NULL;
        free(at);
        at = next;
    }
    if (!at)
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status != TV_OK) {
        free(at);
        at = NULL;
    }
    *out = at;
    return status;
}

struct tv_writer {
    char *path;      /* as it was named */
    char *target;    /* what the rename replaces */
    char *temporary; /* NULL: what is written goes straight to its place */
    int fd;
    bool named;
};

static void free_writer(tv_writer **writer) {
    if ((*writer)->fd >= 0)
        close((*writer)->fd);
    free((*writer)->path);
    free((*writer)->target);
    free((*writer)->temporary);
    free(*writer);
    *writer = NULL;
}

/* A pipe, a terminal, a device, and what stands behind /dev/stdout have no name that could be replaced. */
static tv_status open_straight(tv_writer *writer) {
    writer->fd = open(writer->path, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOCTTY);
    return writer->fd >= 0 ? TV_OK : tv_fail_errno(TV_E_IO, "cannot write %s", writer->path);
}

static tv_status open_temporary(tv_writer *writer, const struct stat *replaced) {
    mode_t mode = replaced ? replaced->st_mode & 0777 : 0666;
    const int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    writer->temporary = tv_format("%s.tmp-%ld", writer->target, (long)getpid());
    if (!writer->temporary)
        return tv_fail(TV_E_MEMORY, "out of host memory while opening %s", writer->path);
    writer->fd = open(writer->temporary, flags, mode);
    /* What a killed process of the same number left there. */
    if (writer->fd < 0 && errno == EEXIST && unlink(writer->temporary) == 0)
        writer->fd = open(writer->temporary, flags, mode);
    if (writer->fd < 0) {
        tv_status status = tv_fail_errno(TV_E_IO, "cannot write %s", writer->path);
        /* It is not ours to remove. */
        free(writer->temporary);
        writer->temporary = NULL;
        return status;
    }
    if (!replaced)
        return TV_OK;
    /* Only the superuser may give a file away, and only to a group of one's own; then the owner changes. */
    int kept = fchown(writer->fd, replaced->st_uid, replaced->st_gid);
    (void)kept;
    if (fchmod(writer->fd, mode) != 0)
        return tv_fail_errno(TV_E_IO, "cannot give %s the mode of the file that it replaces", writer->path);
    return TV_OK;
}

static tv_status open_place(tv_writer *writer) {
    struct stat info;
    bool there = (writer->named ? stat : lstat)(writer->path, &info) == 0;
    if (there && writer->named && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)))
        return open_straight(writer);
    if (there && !S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode))
        return tv_fail(TV_E_IO, "cannot write %s: expected a file or a new name, found %s", writer->path,
                       tv_path_kind(writer->path));
    if (writer->named) {
        TV_RETURN_IF_FAILED(follow_links(writer->path, &writer->target));
        if (!writer->target)
            return open_straight(writer);
        if (there && faccessat(AT_FDCWD, writer->target, W_OK, AT_EACCESS) != 0)
            return tv_fail_errno(TV_E_IO, "cannot write %s", writer->path);
    } else if (!(writer->target = tv_format("%s", writer->path))) {
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    }
    return open_temporary(writer, there && S_ISREG(info.st_mode) ? &info : NULL);
}

static tv_status open_writer(const char *path, bool named, tv_writer **out) {
    *out = NULL;
    tv_status status;
    tv_writer *writer = calloc(1, sizeof *writer);
    if (!writer)
        return tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
    writer->fd = -1;
    writer->named = named;
    if (!(writer->path = tv_format("%s", path))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(open_place(writer));
    *out = writer;
    return TV_OK;
fail:
    tv_writer_abort(&writer);
    return status;
}

tv_status tv_writer_open(const char *path, tv_writer **writer) {
    return open_writer(path, false, writer);
}

tv_status tv_writer_open_named(const char *path, tv_writer **writer) {
    return open_writer(path, true, writer);
}

static tv_status write_all(int fd, const char *path, const void *bytes, uint64_t size) {
    const char *cursor = bytes;
    while (size > 0) {
        /* Linux writes at most 2 GiB at a time. */
        ssize_t done = write(fd, cursor, size > (1u << 30) ? (1u << 30) : size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return tv_fail_errno(TV_E_IO, "cannot write %s", path);
        cursor += done;
        size -= (uint64_t)done;
    }
    return TV_OK;
}

tv_status tv_writer_write(tv_writer *writer, const void *bytes, uint64_t size) {
    return write_all(writer->fd, writer->path, bytes, size);
}

tv_status tv_writer_write_at(tv_writer *writer, uint64_t offset, const void *bytes, uint64_t size) {
    const char *cursor = bytes;
    if (!writer->temporary)
        return tv_fail(TV_E_IO, "cannot write %s: its header is known only at the end, which takes a file",
                       writer->path);
    while (size > 0) {
        ssize_t done = pwrite(writer->fd, cursor, size > (1u << 30) ? (1u << 30) : size, (off_t)offset);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return tv_fail_errno(TV_E_IO, "cannot write %s", writer->path);
        cursor += done;
        offset += (uint64_t)done;
        size -= (uint64_t)done;
    }
    return TV_OK;
}

/* The link that was named leads where it led when writing began, and the end of the way has become no link.
 */
static tv_status check_target(const tv_writer *writer) {
    char *target = NULL;
    if (!writer->named)
        return TV_OK;
    TV_RETURN_IF_FAILED(follow_links(writer->path, &target));
    tv_status status = target && strcmp(target, writer->target) == 0
                           ? TV_OK
                           : tv_fail(TV_E_IO,
                                     "%s leads to another file than when writing began, to %s instead of %s; "
                                     "nothing was written",
                                     writer->path, target ? target : "an open file", writer->target);
    free(target);
    return status;
}

tv_status tv_writer_commit(tv_writer **handle) {
    tv_writer *writer = *handle;
    tv_status status;
    if (writer->temporary && fsync(writer->fd) != 0) {
        status = tv_fail_errno(TV_E_IO, "cannot make %s durable", writer->path);
        goto fail;
    }
    int fd = writer->fd;
    writer->fd = -1;
    if (close(fd) != 0) {
        status = tv_fail_errno(TV_E_IO, "cannot close %s", writer->path);
        goto fail;
    }
    if (writer->temporary) {
        TV_TRY_OR_FAIL(check_target(writer));
        TV_TRY_OR_FAIL(tv_rename_durable(writer->temporary, writer->target));
    }
    free_writer(handle);
    return TV_OK;
fail:
    tv_writer_abort(handle);
    return status;
}

void tv_writer_abort(tv_writer **writer) {
    if (!writer || !*writer)
        return;
    if ((*writer)->temporary)
        unlink((*writer)->temporary);
    free_writer(writer);
}

static tv_status write_file(const char *path, bool named, const void *bytes, uint64_t size) {
    tv_writer *writer = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(open_writer(path, named, &writer));
    TV_TRY_OR_FAIL(tv_writer_write(writer, bytes, size));
    return tv_writer_commit(&writer);
fail:
    tv_writer_abort(&writer);
    return status;
}

tv_status tv_write_file(const char *path, const void *bytes, uint64_t size) {
    return write_file(path, false, bytes, size);
}

tv_status tv_write_named_file(const char *path, const void *bytes, uint64_t size) {
    return write_file(path, true, bytes, size);
}

struct tv_appender {
    char *path;
    int fd;
    bool durable;
    uint64_t end; /* of what is known to be in the file */
};

static tv_status open_appender(const char *path, bool named, uint64_t truncate_to, bool durable,
                               tv_appender **out) {
    *out = NULL;
    tv_status status;
    struct stat info;
    tv_appender *appender = calloc(1, sizeof *appender);
    if (!appender)
        return tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
    appender->fd = -1;
    appender->durable = durable;
    if (!(appender->path = tv_format("%s", path))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory while opening %s", path);
        goto fail;
    }
    if (!named)
        TV_TRY_OR_FAIL(tv_output_refuse_link(path));
    /* Before it is opened: a pipe would wait for a reader. */
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        status = tv_fail(TV_E_IO, "cannot append to %s: expected a file or a new name, found %s", path,
                         tv_path_kind(path));
        goto fail;
    }
    appender->fd =
        open(path, O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | (named ? 0 : O_NOFOLLOW), 0666);
    if (appender->fd < 0 || fstat(appender->fd, &info) != 0) {
        status = tv_fail_errno(TV_E_IO, "cannot open %s for appending", path);
        goto fail;
    }
    if (!S_ISREG(info.st_mode)) {
        status = tv_fail(TV_E_IO, "cannot append to %s: expected a file", path);
        goto fail;
    }
    appender->end = (uint64_t)info.st_size;
    if (truncate_to < appender->end)
        TV_TRY_OR_FAIL(tv_appender_cut(appender, truncate_to));
    /* A new file's name must be on the disk too. */
    if (durable && info.st_size == 0)
        TV_TRY_OR_FAIL(tv_sync_parent(path));
    *out = appender;
    return TV_OK;
fail:
    tv_appender_close(&appender);
    return status;
}

tv_status tv_appender_open(const char *path, uint64_t truncate_to, bool durable, tv_appender **appender) {
    return open_appender(path, false, truncate_to, durable, appender);
}

tv_status tv_appender_open_named(const char *path, uint64_t truncate_to, bool durable,
                                 tv_appender **appender) {
    return open_appender(path, true, truncate_to, durable, appender);
}

/* Whether the name still leads to the open file. */
static bool is_in_place(const tv_appender *appender) {
    struct stat held, found;
    return fstat(appender->fd, &held) == 0 && stat(appender->path, &found) == 0 && same_file(&held, &found);
}

tv_status tv_appender_lock(tv_appender *appender) {
    bool taken;
    TV_RETURN_IF_FAILED(tv_lock_descriptor(appender->fd, appender->path, &taken));
    struct stat held;
    /* Its last writer may have ended since it was opened. */
    if (taken && fstat(appender->fd, &held) == 0)
        appender->end = (uint64_t)held.st_size;
    if (taken)
        return TV_OK;
    return tv_fail(TV_E_IO, "%s is being written by another process; wait for its end or choose another file",
                   appender->path);
}

tv_status tv_appender_check(const tv_appender *appender) {
    struct stat held;
    if (!is_in_place(appender))
        return tv_fail(TV_E_IO, "%s was %s by another program while it was being written", appender->path,
                       tv_path_exists(appender->path) ? "replaced" : "removed");
    if (fstat(appender->fd, &held) != 0)
        return tv_fail_errno(TV_E_IO, "cannot read the size of %s", appender->path);
    if ((uint64_t)held.st_size != appender->end)
        return tv_fail(
            TV_E_IO,
            "%s was changed by another program while it was being written: expected %llu bytes, found %llu",
            appender->path, (unsigned long long)appender->end, (unsigned long long)held.st_size);
    return TV_OK;
}

static tv_status append_durably(tv_appender *appender, const void *bytes, uint64_t size) {
    TV_RETURN_IF_FAILED(write_all(appender->fd, appender->path, bytes, size));
    if (fdatasync(appender->fd) != 0)
        return tv_fail_errno(TV_E_IO, "cannot make %s durable", appender->path);
    appender->end += size;
    tv_status status = tv_appender_check(appender);
    if (status != TV_OK)
        appender->end -= size;
    return status;
}

tv_status tv_append_bytes(tv_appender *appender, const void *bytes, uint64_t size) {
    if (!appender->durable)
        return write_all(appender->fd, appender->path, bytes, size);
    TV_RETURN_IF_FAILED(tv_appender_check(appender));
    tv_status status = append_durably(appender, bytes, size);
    if (status != TV_OK && ftruncate(appender->fd, (off_t)appender->end) != 0)
        return tv_fail_context(status, "%s ends with a part of what was to be written", appender->path);
    return status;
}

tv_status tv_append_line(tv_appender *appender, const char *line, uint64_t length) {
    /* One write for line and newline, so that a crash or a second process cannot split them. */
    char *whole = malloc(length + 1);
    if (!whole)
        return tv_fail(TV_E_MEMORY, "out of host memory while writing %s", appender->path);
    memcpy(whole, line, length);
    whole[length] = '\n';
    tv_status status = tv_append_bytes(appender, whole, length + 1);
    free(whole);
    return status;
}

tv_status tv_appender_cut(tv_appender *appender, uint64_t size) {
    if (ftruncate(appender->fd, (off_t)size) != 0)
        return tv_fail_errno(TV_E_IO, "cannot cut %s", appender->path);
    appender->end = size;
    return TV_OK;
}

static tv_status copy_held(const tv_appender *appender, tv_writer *writer) {
    char chunk[1 << 16];
    for (uint64_t at = 0; at < appender->end;) {
        ssize_t got = pread(appender->fd, chunk, tv_min_u64(sizeof chunk, appender->end - at), (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return tv_fail_errno(TV_E_IO, "cannot read what was written to %s", appender->path);
        if (got == 0)
            break;
        TV_RETURN_IF_FAILED(tv_writer_write(writer, chunk, (uint64_t)got));
        at += (uint64_t)got;
    }
    return TV_OK;
}

tv_status tv_appender_rescue(const tv_appender *appender, char **path) {
    tv_writer *writer = NULL;
    tv_status status;
    *path = NULL;
    if (appender->end == 0 || is_in_place(appender))
        return TV_OK;
    char *kept = tv_format("%s.rescued-%.0f", appender->path, tv_wall_seconds());
    if (!kept)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    TV_TRY_OR_FAIL(tv_writer_open(kept, &writer));
    TV_TRY_OR_FAIL(copy_held(appender, writer));
    TV_TRY_OR_FAIL(tv_writer_commit(&writer));
    *path = kept;
    return TV_OK;
fail:
    tv_writer_abort(&writer);
    free(kept);
    return status;
}

void tv_appender_close(tv_appender **appender) {
    if (!appender || !*appender)
        return;
    if ((*appender)->fd >= 0)
        close((*appender)->fd);
    free((*appender)->path);
    free(*appender);
    *appender = NULL;
}
