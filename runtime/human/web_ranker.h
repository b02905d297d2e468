/* The web ranker: one page and its JSON interface (web_api.h) over HTTP, for people at this machine.
 *
 * Promise: listens on the loopback interface only. Refused with a status code and a sentence: a Host header
 * that is not this server's own (403, so that a name of someone else's that points here gets nothing), a call
 * from another site's page (403 by Origin and Sec-Fetch-Site, and by a token that each start draws anew), an
 * unknown path (404), a wrong method (405), a body that is not JSON (415, 400) or larger than
 * TV_WEB_BODY_LIMIT (413). The page is one document without outside resources, held to that by its
 * Content-Security-Policy.
 */
#ifndef TV_HUMAN_WEB_RANKER_H
#define TV_HUMAN_WEB_RANKER_H

#include "human/session.h"

enum { TV_WEB_BODY_LIMIT = 65536 };

typedef struct tv_web_ranker_options {
    tv_session *session; /* outlives the ranker */
    uint16_t port;       /* 0: a free one */
    const char *title;   /* what is judged, such as the candidates' file name */
} tv_web_ranker_options;

typedef struct tv_web_ranker tv_web_ranker;
/* Serves in threads of its own until it is stopped. TV_E_USAGE when the port is taken. */
tv_status tv_web_ranker_start(const tv_web_ranker_options *options, tv_web_ranker **ranker);
/* "http://127.0.0.1:PORT/"; belongs to the ranker. */
const char *tv_web_ranker_url(const tv_web_ranker *ranker);
uint16_t tv_web_ranker_port(const tv_web_ranker *ranker);
/* Answers what is under way, then closes. */
void tv_web_ranker_stop(tv_web_ranker **ranker);

#endif
