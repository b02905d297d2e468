/* flock behind lock.h. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/os.h"

/* As long a process that is killed may be outlived by one that it forked. */
static const double ORPHAN_SECONDS = 5, LOOK_SECONDS = 0.02;

struct tv_lock {
    int descriptor;
};

tv_status tv_lock_descriptor(int descriptor, const char *path, bool *taken) {
    struct stat held, named;
    int result;
    *taken = false;
    do
        result = flock(descriptor, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EWOULDBLOCK)
        return TV_OK;
    if (result != 0)
        return tv_fail_errno(TV_E_IO,
                             "cannot lock %s, which keeps a second process from writing there; its file "
                             "system has no locks, so choose a place on another one",
                             path);
    /* Someone may have replaced the file between opening and locking it. */
    if (fstat(descriptor, &held) != 0 || stat(path, &named) != 0 || held.st_ino != named.st_ino ||
        held.st_dev != named.st_dev)
        return tv_fail(TV_E_IO, "%s was replaced by another process while it was opened; try again", path);
    *taken = true;
    return TV_OK;
}

/* The holder writes its number into the file, for the sentence alone; the kernel knows who holds it. On a
 * full disk the sentence goes without it. 0: none. */
static bool write_number(int descriptor, long process) {
    char text[24];
    int length = process ? snprintf(text, sizeof text, "%ld\n", process) : 0;
    return ftruncate(descriptor, 0) == 0 && pwrite(descriptor, text, (size_t)length, 0) == length;
}

static long read_number(int descriptor) {
    char text[24] = "";
    ssize_t length = pread(descriptor, text, sizeof text - 1, 0);
    return length > 0 ? strtol(text, NULL, 10) : 0;
}

/* What it forked shares the lock until it has become another program or ends, as the trial of a driver. */
static bool holder_is_gone(int descriptor) {
    const long process = read_number(descriptor);
    return process <= 0 || process > INT_MAX || (kill((pid_t)process, 0) != 0 && errno == ESRCH);
}

static tv_status take(int descriptor, const char *path, bool *taken) {
    const double give_up = tv_seconds() + ORPHAN_SECONDS;
    tv_status status = tv_lock_descriptor(descriptor, path, taken);
    while (status == TV_OK && !*taken && holder_is_gone(descriptor) && tv_seconds() < give_up) {
        tv_sleep(LOOK_SECONDS);
        status = tv_lock_descriptor(descriptor, path, taken);
    }
    return status;
}

static tv_status taken_by_another(int descriptor, const char *directory) {
    const long process = read_number(descriptor);
    char number[32] = "";
    if (process > 0)
        snprintf(number, sizeof number, " (number %ld)", process);
    return tv_fail(TV_E_IO, "%s is in use by another process%s; wait for its end, or name another directory",
                   directory, number);
}

tv_status tv_lock_directory(const char *directory, tv_lock **out) {
    tv_status status = TV_OK;
    bool taken = false;
    struct stat info;
    *out = NULL;
    tv_lock *lock = calloc(1, sizeof *lock);
    char *path = tv_format("%s/.lock", directory);
    if (!lock || !path) {
        free(lock);
        free(path);
        return tv_fail(TV_E_MEMORY, "out of host memory for the lock of %s", directory);
    }
    /* A directory may come from a stranger: no link is followed, and a pipe does not hold us. */
    lock->descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    if (lock->descriptor < 0 || fstat(lock->descriptor, &info) != 0) {
        status = tv_fail_errno(TV_E_IO, "cannot open %s, which keeps a second process away", path);
        goto done;
    }
    if (!S_ISREG(info.st_mode)) {
        status = tv_fail(TV_E_IO, "%s: expected a regular file, found another kind; remove it", path);
        goto done;
    }
    TV_TRY(take(lock->descriptor, path, &taken));
    if (!taken) {
        status = taken_by_another(lock->descriptor, directory);
        goto done;
    }
    (void)write_number(lock->descriptor, (long)getpid());
    *out = lock;
    lock = NULL;
done:
    if (lock && lock->descriptor >= 0)
        close(lock->descriptor);
    free(lock);
    free(path);
    return status;
}

void tv_lock_release(tv_lock **lock) {
    if (!lock || !*lock)
        return;
    (void)write_number((*lock)->descriptor, 0);
    close((*lock)->descriptor);
    free(*lock);
    *lock = NULL;
}
