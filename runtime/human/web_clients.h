/* Fair shares of a server's connections, so that one client cannot keep the others out by holding many.
 *
 * Promise: at most `limit` connections are kept. The one over the limit ends the connection that has waited
 * longest for a request of the client that has the most: a client is a link (links.h) once its secret was
 * shown, before that the host it comes from. A connection that has just been made is never the one.
 *
 * Every function may be called from any thread.
 */
#ifndef TV_HUMAN_WEB_CLIENTS_H
#define TV_HUMAN_WEB_CLIENTS_H

#include <stdint.h>

#include "base/status.h"

typedef struct tv_web_clients tv_web_clients;
typedef struct tv_web_connection tv_web_connection;

/* `hang_up` ends a connection by its socket; tv_socket_hang_up, or a test's. */
tv_status tv_web_clients_create(uint32_t limit, void (*hang_up)(int socket), tv_web_clients **clients);
void tv_web_clients_destroy(tv_web_clients **clients);

/* `client` is any number that stands for it. NULL where memory is out. */
tv_web_connection *tv_web_clients_add(tv_web_clients *clients, int socket, uint64_t client);
/* Who it is turned out. */
void tv_web_clients_know(tv_web_clients *clients, tv_web_connection *connection, uint64_t client);
/* A request was answered: its wait begins anew. */
void tv_web_clients_answered(tv_web_clients *clients, tv_web_connection *connection);
/* Before its socket is closed. */
void tv_web_clients_remove(tv_web_clients *clients, tv_web_connection **connection);

#endif
