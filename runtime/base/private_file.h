/* Files of secrets, which only their owner reads and writes.
 *
 * Promise: what is read was nobody else's to read or write (a regular file of this user without a second
 * name, mode 600 or less, not reached through a link as its last part); what is written has been so from its
 * first byte on, and replaces the file as a whole.
 */
#ifndef TV_BASE_PRIVATE_FILE_H
#define TV_BASE_PRIVATE_FILE_H

#include <stdint.h>

#include "base/status.h"

enum { TV_PRIVATE_FILE_LIMIT = 1 << 20 };

/* A file that does not exist is TV_OK with *text NULL, one that others can reach TV_E_DATA with what to do.
 * The caller frees *text, which ends with a zero that `size` does not count. */
tv_status tv_private_read(const char *path, char **text, uint64_t *size);
/* TV_E_IO also where the file system does not keep the mode; nothing is left there then. */
tv_status tv_private_write(const char *path, const void *bytes, uint64_t size);

#endif
