/* The web ranker: one page and its JSON interface (web_api.h) over HTTP, for people at this machine and,
 * where it is told to listen there or a proxy leads to it, at others.
 *
 * Promise: listens on the loopback interface unless told otherwise. Whoever calls shows the secret of a link
 * (links.h), which decides under which name they judge. Refused with a status code and a sentence: a Host
 * header that is not this server's own (403, so that a name of someone else's that points here gets nothing),
 * a call from another site's page (403 by Origin and Sec-Fetch-Site, and because it has no link), a call
 * without a link (403), an unknown path (404), a wrong method (405), a body that is not JSON (415, 400) or
 * larger than TV_WEB_BODY_LIMIT (413). Connections are shared out fairly (web_clients.h). The page is one
 * document without outside resources, held to that by its Content-Security-Policy.
 */
#ifndef TV_HUMAN_WEB_RANKER_H
#define TV_HUMAN_WEB_RANKER_H

#include "human/links.h"
#include "human/session.h"

enum { TV_WEB_BODY_LIMIT = 65536 };

typedef struct tv_web_ranker_options {
    tv_session *session;           /* outlives the ranker */
    uint16_t port;                 /* 0: a free one */
    const char *title;             /* what is judged, such as the candidates' file name */
    tv_slice guidelines;           /* Markdown, shown beside each item; empty: none */
    const char *links;             /* the file that keeps them, or NULL (links.h) */
    const char *const *annotators; /* each gets a link; none: one link for anyone */
    uint64_t annotator_count;
    const char *listen; /* an address of this machine; NULL: the loopback ones */
    const char *url;    /* at which people reach it, such as a proxy's; NULL: where it listens */
} tv_web_ranker_options;

typedef struct tv_web_ranker tv_web_ranker;
/* Serves in threads of its own until it is stopped. TV_E_USAGE when the port is taken. */
tv_status tv_web_ranker_start(const tv_web_ranker_options *options, tv_web_ranker **ranker);
/* "http://127.0.0.1:PORT/"; belongs to the ranker. A link's address has "#" and its secret behind it: what
 * stands there is not sent with requests for the page and not written into a proxy's log. */
const char *tv_web_ranker_url(const tv_web_ranker *ranker);
const tv_links *tv_web_ranker_links(const tv_web_ranker *ranker);
uint16_t tv_web_ranker_port(const tv_web_ranker *ranker);
/* Answers what is under way, then closes. */
void tv_web_ranker_stop(tv_web_ranker **ranker);

#endif
