/* One kind of request: GET of a file from a hub, over libcurl.
 *
 * Promise: a token goes to the hub's own scheme, host and port and nowhere else, whatever redirects say, and
 * never over a wire that others can read; a redirect leads to http or https only, and not from https to http;
 * what does not move for `patience` seconds is given up; Ctrl-C ends a transfer at once.
 */
#ifndef TV_TOOLS_HTTP_H
#define TV_TOOLS_HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_http_options {
    const char *endpoint; /* "https://huggingface.co" */
    const char *token;    /* NULL: none */
    uint64_t patience;    /* seconds */
} tv_http_options;

typedef struct tv_http tv_http;
/* TV_E_USAGE for an endpoint that is no URL of http or https, or that a token would go to in the clear. */
tv_status tv_http_create(const tv_http_options *options, tv_http **http);
void tv_http_destroy(tv_http **http);

typedef struct tv_http_answer {
    long code;           /* 200, 206, 404, ... of the last hop */
    uint64_t first_byte; /* of the file, that the body begins with */
    double retry_after;  /* seconds that the server asks for; 0: it did not say */
    char sha256[65];     /* as the hub's headers say; "": they do not */
} tv_http_answer;

/* Gets the body of a 200 or 206, piece by piece; `answer` is filled by then. */
typedef tv_status (*tv_http_sink)(void *context, const tv_http_answer *answer, const void *bytes,
                                  uint64_t size);
/* Bytes from `first` on, where the server knows how. TV_OK when the answer came whole, whatever its code;
 * TV_E_IO with a sentence when the connection failed, so that another try may help; TV_E_DATA for a redirect
 * that is not followed; TV_E_INTERRUPTED; or what the sink returned. */
tv_status tv_http_get(tv_http *http, const char *url, uint64_t first, tv_http_sink sink, void *context,
                      tv_http_answer *answer);

/* As a part of a path; the caller frees it. NULL when memory is out. */
char *tv_http_escape(const tv_http *http, const char *text);

#endif
