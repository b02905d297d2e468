/* One answer of this program's servers, and what all of them hold browsers to.
 *
 * Promise: nothing that is answered is kept in caches, framed, read as another type, told to other sites or
 * opened to their scripts.
 */
#ifndef TV_BASE_WEB_REPLY_H
#define TV_BASE_WEB_REPLY_H

#include <stdbool.h>
#include <stdint.h>

struct MHD_Connection;

typedef struct tv_web_reply {
    unsigned code;
    const char *type;   /* "text/html; charset=utf-8" */
    const char *policy; /* Content-Security-Policy; NULL: nothing may be loaded */
    const char *allow;  /* of a refused method; NULL: none */
    const char *tag;    /* ETag; NULL: none */
} tv_web_reply;

/* Queues the answer with a copy of the body. False where the connection should be dropped. */
bool tv_web_reply_send(struct MHD_Connection *connection, const tv_web_reply *reply, const void *body,
                       uint64_t size);

/* Whether a Host header ("localhost:8080") names this machine's own loopback interface at that port: a name
 * of somebody else's that points here does not. NULL does not. */
bool tv_web_host_is_loopback(const char *host, uint16_t port);

#endif
