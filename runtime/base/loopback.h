/* Listening sockets that only programs of this machine can reach.
 *
 * Promise: 127.0.0.1 always, ::1 on the same port where the system has it; never another interface.
 */
#ifndef TV_BASE_LOOPBACK_H
#define TV_BASE_LOOPBACK_H

#include <stdint.h>

#include "base/status.h"

enum { TV_LOOPBACK_FAMILIES = 2 };

typedef struct tv_loopback {
    int sockets[TV_LOOPBACK_FAMILIES]; /* 127.0.0.1, then ::1; -1 where there is none */
    uint16_t port;
} tv_loopback;

/* `port` 0 takes a free one. TV_E_USAGE when the port is taken or not allowed. The caller closes. */
tv_status tv_loopback_listen(uint16_t port, tv_loopback *loopback);
/* Closes what is open and clears it; a socket that was handed to a server that closes it is set to -1 before.
 */
void tv_loopback_close(tv_loopback *loopback);

#endif
