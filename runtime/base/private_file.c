/* POSIX behind private_file.h. */
#include "base/private_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"

static bool is_private(const struct stat *info) {
    return S_ISREG(info->st_mode) && info->st_uid == geteuid() && info->st_nlink == 1 &&
           (info->st_mode & 077) == 0;
}

static tv_status read_whole(int fd, const char *path, uint64_t size, char *text) {
    for (uint64_t used = 0; used < size;) {
        ssize_t got = read(fd, text + used, size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return tv_fail_errno(TV_E_IO, "cannot read %s", path);
        used += (uint64_t)got;
    }
    text[size] = '\0';
    return TV_OK;
}

tv_status tv_private_read(const char *path, char **text, uint64_t *size) {
    struct stat info;
    tv_status status = TV_OK;
    *text = NULL;
    *size = 0;
    /* Without waiting, so that a pipe of somebody else's does not hold it. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return TV_OK;
    if (fd < 0 && errno == ELOOP)
        return tv_fail(TV_E_DATA, "%s is a link; a file of secrets must not be: delete it to get a new one",
                       path);
    if (fd < 0)
        return tv_fail_errno(TV_E_IO, "cannot open %s", path);
    if (fstat(fd, &info) != 0)
        status = tv_fail_errno(TV_E_IO, "cannot read the mode of %s", path);
    else if (!is_private(&info))
        status = tv_fail(
            TV_E_DATA,
            "%s holds secrets, but others can reach it: expected a regular file of yours, mode 600 "
            "and with one name, found mode %03o, owner %lu, %lu names; delete it to get new secrets",
            path, (unsigned)info.st_mode & 0777, (unsigned long)info.st_uid, (unsigned long)info.st_nlink);
    else if (info.st_size > TV_PRIVATE_FILE_LIMIT)
        status = tv_fail(TV_E_DATA, "%s is larger than %d bytes", path, TV_PRIVATE_FILE_LIMIT);
    else if (!(*text = malloc((size_t)info.st_size + 1)))
        status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s", path);
    else
        status = read_whole(fd, path, (uint64_t)info.st_size, *text);
    close(fd);
    if (status == TV_OK) {
        *size = (uint64_t)info.st_size;
    } else {
        free(*text);
        *text = NULL;
    }
    return status;
}

static tv_status fill(int fd, const char *path, const char *bytes, uint64_t size) {
    struct stat info;
    if (fchmod(fd, 0600) != 0 || fstat(fd, &info) != 0)
        return tv_fail_errno(TV_E_IO, "cannot set the mode of %s", path);
    if (!is_private(&info))
        return tv_fail(TV_E_IO, "this file system keeps no modes, so others could read %s", path);
    while (size > 0) {
        ssize_t done = write(fd, bytes, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return tv_fail_errno(TV_E_IO, "cannot write %s", path);
        bytes += done;
        size -= (uint64_t)done;
    }
    return fsync(fd) == 0 ? TV_OK : tv_fail_errno(TV_E_IO, "cannot write %s", path);
}

tv_status tv_private_write(const char *path, const void *bytes, uint64_t size) {
    char *temporary = tv_format("%s.tmp-%ld", path, (long)getpid());
    tv_status status;
    int fd = -1;
    if (!temporary)
        return tv_fail(TV_E_MEMORY, "out of host memory while writing %s", path);
    unlink(temporary); /* what a killed process with the same number left */
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        status = tv_fail_errno(TV_E_IO, "cannot write %s", path);
    else
        status = fill(fd, path, bytes, size);
    if (fd >= 0)
        close(fd);
    if (status == TV_OK)
        status = tv_rename_durable(temporary, path);
    if (status != TV_OK && fd >= 0)
        unlink(temporary);
    free(temporary);
    return status;
}
