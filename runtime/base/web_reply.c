/* Answers over libmicrohttpd: see web_reply.h. */
#include "base/web_reply.h"

#include <microhttpd.h>
#include <stdio.h>
#include <strings.h>

#include "base/bytes.h"

bool tv_web_reply_send(struct MHD_Connection *connection, const tv_web_reply *reply, const void *body,
                       uint64_t size) {
    /* The library takes a buffer that it may not write to without const. */
    void *bytes = (void *)(uintptr_t)body;
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)size, bytes, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return false;
    const char *const headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, reply->type},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {"Content-Security-Policy",
         reply->policy ? reply->policy : "default-src 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {MHD_HTTP_HEADER_ALLOW, reply->allow},
        {MHD_HTTP_HEADER_ETAG, reply->tag},
    };
    for (size_t i = 0; i < TV_COUNT(headers); i++)
        if (headers[i][1])
            MHD_add_response_header(response, headers[i][0], headers[i][1]);
    bool queued = MHD_queue_response(connection, reply->code, response) == MHD_YES;
    MHD_destroy_response(response);
    return queued;
}

bool tv_web_host_is_loopback(const char *host, uint16_t port) {
    static const char *const names[] = {"127.0.0.1", "localhost", "[::1]"};
    char expected[32];
    for (size_t i = 0; i < TV_COUNT(names) && host; i++) {
        /* Browsers leave the port out where it is HTTP's own. */
        snprintf(expected, sizeof expected, port == 80 ? "%s" : "%s:%u", names[i], port);
        if (strcasecmp(host, expected) == 0)
            return true;
    }
    return false;
}
