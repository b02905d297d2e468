/* Listening sockets, and what a server must know of those who connect.
 *
 * Promise: a socket listens at exactly the address named; IPv6 sockets take IPv6 only.
 */
#ifndef TV_BASE_SOCKETS_H
#define TV_BASE_SOCKETS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

struct sockaddr;

/* A numeric IPv4 or IPv6 address of this machine; `port` 0 takes a free one, which *got names. TV_E_USAGE
 * when the address is none of those or the port is taken or not allowed. The caller closes with
 * tv_socket_close. */
tv_status tv_socket_listen(const char *address, uint16_t port, int *socket, uint16_t *got);
void tv_socket_close(int *socket);

/* True for 127.0.0.0/8 and ::1; true for 0.0.0.0 and ::, which stand for every address of the machine. */
bool tv_address_is_loopback(const char *address);
bool tv_address_is_every(const char *address);

/* Ends a connection whose handle somebody else, such as a server's library, will close. */
void tv_socket_hang_up(int socket);
/* A number that is the same for connections from the same host. */
uint64_t tv_socket_peer(const struct sockaddr *address);

#endif
