/* One process for one place: locks that the kernel holds.
 *
 * Promise: of all processes that ask for a directory, one gets it, until it lets go or ends, however it ends;
 * the others are told which process has it. Programs that it starts do not inherit the lock; what it forked
 * beside them is waited for where it was killed. Reading needs no lock. Files that are appended to have the
 * same by tv_appender_lock (files.h).
 */
#ifndef TV_BASE_LOCK_H
#define TV_BASE_LOCK_H

#include <stdbool.h>

#include "base/status.h"

typedef struct tv_lock tv_lock;

/* The directory exists. Makes the file .lock in it, which stays: removing it would let two processes hold
 * two files of one name. TV_E_IO names the directory and the process that has it. */
tv_status tv_lock_directory(const char *directory, tv_lock **lock);
void tv_lock_release(tv_lock **lock);

/* What both kinds of locks stand on: an open file, to which `path` leads. `taken` is false where another
 * process holds it; TV_E_IO where the file system has no locks, or the name leads elsewhere by now. */
tv_status tv_lock_descriptor(int descriptor, const char *path, bool *taken);

#endif
