/* HTTP for the ranking page, over libmicrohttpd: see web_ranker.h. */
#include "human/web_ranker.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/loopback.h"
#include "base/os.h"
#include "human/web/page.h"
#include "human/web_api.h"

enum {
    HOSTS = 3,
    NONCE_CHARACTERS = 32,
    CONNECTIONS = 256,         /* a browser keeps up to six */
    IDLE_SECONDS = 30,         /* so that a silent client does not hold a connection */
    DISCARDED_BODY = 16 << 20, /* the most that is read of a refused body to answer it politely */
};

struct tv_web_ranker {
    tv_web_api api;
    struct MHD_Daemon *daemons[TV_LOOPBACK_FAMILIES];
    uint16_t port;
    char url[64];
    char hosts[HOSTS][32];   /* what the Host header may say */
    char origins[HOSTS][40]; /* what the Origin header may say */
};

/* One request while its body comes in. */
typedef struct request {
    tv_text body;
    uint64_t discarded;
    unsigned refused; /* status code, or 0 */
    const char *sentence, *allow;
    const char *call; /* name in web_api.h; NULL: the page */
} request;

static tv_status random_hex(char *text, uint64_t characters) {
    uint8_t bytes[32];
    TV_RETURN_IF_FAILED(tv_random_bytes(bytes, characters / 2));
    for (uint64_t i = 0; i < characters / 2; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return TV_OK;
}

/* ---- what is refused, in the order in which it is looked at ---- */

static const char *header(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool is_one_of(const char *value, const char *first, size_t stride) {
    for (int i = 0; i < HOSTS; i++)
        if (strcasecmp(value, first + (size_t)i * stride) == 0)
            return true;
    return false;
}

/* Takes as long for a wrong token as for the right one. */
static bool same_token(const char *value, const char *token) {
    if (!value || strlen(value) != TV_WEB_TOKEN_CHARACTERS)
        return false;
    int difference = 0;
    for (int i = 0; i < TV_WEB_TOKEN_CHARACTERS; i++)
        difference |= value[i] ^ token[i];
    return difference == 0;
}

static void refuse(request *r, unsigned code, const char *sentence) {
    r->refused = code;
    r->sentence = sentence;
}

static void refuse_method(request *r, const char *allow) {
    refuse(r, MHD_HTTP_METHOD_NOT_ALLOWED, "this address takes another method");
    r->allow = allow;
}

static bool is_json(const char *type) {
    static const char json[] = "application/json";
    return type && strncasecmp(type, json, sizeof json - 1) == 0 &&
           (type[sizeof json - 1] == '\0' || type[sizeof json - 1] == ';' || type[sizeof json - 1] == ' ');
}

static void check(const tv_web_ranker *ranker, struct MHD_Connection *connection, const char *path,
                  const char *method, request *r) {
    const char *host = header(connection, MHD_HTTP_HEADER_HOST);
    if (!host || !is_one_of(host, ranker->hosts[0], sizeof ranker->hosts[0])) {
        refuse(r, MHD_HTTP_FORBIDDEN, "this server answers only to its own address, as it was printed");
        return;
    }
    bool reads = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (strcmp(path, "/") == 0) {
        if (!reads)
            refuse_method(r, "GET, HEAD");
        return;
    }
    bool posted = false;
    if (strncmp(path, "/api/", 5) != 0 || !tv_web_api_knows(path + 5, &posted)) {
        refuse(r, MHD_HTTP_NOT_FOUND, "there is nothing at this address");
        return;
    }
    r->call = strrchr(path, '/') + 1;
    const char *site = header(connection, "Sec-Fetch-Site");
    const char *origin = header(connection, MHD_HTTP_HEADER_ORIGIN);
    if ((site && strcmp(site, "same-origin") != 0) ||
        (origin && !is_one_of(origin, ranker->origins[0], sizeof ranker->origins[0]))) {
        refuse(r, MHD_HTTP_FORBIDDEN, "only this server's own page may call it");
        return;
    }
    if (posted ? strcmp(method, MHD_HTTP_METHOD_POST) != 0 : !reads) {
        refuse_method(r, posted ? "POST" : "GET, HEAD");
        return;
    }
    if (!posted)
        return;
    const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!same_token(header(connection, "X-Trivium-Token"), ranker->api.token))
        refuse(r, MHD_HTTP_FORBIDDEN, "the token is not this server's; load the page again");
    else if (!is_json(header(connection, MHD_HTTP_HEADER_CONTENT_TYPE)))
        refuse(r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json");
    else if (length && strtoull(length, NULL, 10) > TV_WEB_BODY_LIMIT)
        refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, "the request is larger than 65536 bytes");
}

/* ---- answers ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, unsigned code, tv_text *body,
                                  const char *type, const char *policy, const char *allow) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)body->size, body->data, MHD_RESPMEM_MUST_COPY);
    tv_text_free(body);
    if (!response)
        return MHD_NO;
    const char *const headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, type},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {"Content-Security-Policy", policy},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {MHD_HTTP_HEADER_ALLOW, allow},
    };
    for (size_t i = 0; i < TV_COUNT(headers); i++)
        if (headers[i][1])
            MHD_add_response_header(response, headers[i][0], headers[i][1]);
    enum MHD_Result result = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return result;
}

static const char locked_policy[] = "default-src 'none'; frame-ancestors 'none'";

static enum MHD_Result send_json(struct MHD_Connection *connection, unsigned code, tv_text *body,
                                 const char *allow) {
    return send_reply(connection, code, body, "application/json; charset=utf-8", locked_policy, allow);
}

static enum MHD_Result send_page(struct MHD_Connection *connection) {
    char nonce[NONCE_CHARACTERS + 1], policy[512];
    tv_text body = {0};
    if (random_hex(nonce, NONCE_CHARACTERS) != TV_OK)
        return MHD_NO;
    /* Trusted types: the page's own script cannot turn text into markup either. */
    snprintf(
        policy, sizeof policy,
        "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'",
        nonce, nonce);
    for (uint64_t i = 0; i < tv_ranking_page_piece_count; i++) {
        tv_slice piece = {tv_ranking_page_pieces[i].data, tv_ranking_page_pieces[i].size};
        if ((i > 0 && tv_text_append(&body, nonce, NONCE_CHARACTERS) != TV_OK) ||
            tv_text_append(&body, piece.data, piece.size) != TV_OK) {
            tv_text_free(&body);
            return MHD_NO;
        }
    }
    return send_reply(connection, MHD_HTTP_OK, &body, "text/html; charset=utf-8", policy, NULL);
}

static enum MHD_Result send_refusal(struct MHD_Connection *connection, const request *r) {
    tv_text body = {0};
    if (tv_web_api_refusal(r->sentence, &body) != TV_OK)
        return MHD_NO;
    return send_json(connection, r->refused, &body, r->allow);
}

static enum MHD_Result send_answer(const tv_web_ranker *ranker, struct MHD_Connection *connection,
                                   const request *r) {
    tv_text body = {0};
    unsigned code = 0;
    tv_slice asked = {(const char *)r->body.data, r->body.size};
    if (tv_web_api_answer(&ranker->api, r->call, asked, &code, &body) != TV_OK) {
        tv_text_free(&body);
        return MHD_NO;
    }
    return send_json(connection, code, &body, NULL);
}

/* ---- libmicrohttpd's side ---- */

/* Called once with the headers, then for each piece of the body, then once more for the answer. A refused
 * body is read to its end where it has one in sight, because closing on it could take the answer away from
 * the client. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state) {
    (void)version;
    const tv_web_ranker *ranker = context;
    request *r = *state;
    if (!r) {
        r = calloc(1, sizeof *r);
        if (!r)
            return MHD_NO;
        *state = r;
        check(ranker, connection, path, method, r);
        const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
        if (r->refused && length && strtoull(length, NULL, 10) > DISCARDED_BODY)
            return send_refusal(connection, r);
        return MHD_YES;
    }
    if (*size > 0) {
        if (!r->refused && r->body.size + *size > TV_WEB_BODY_LIMIT)
            refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, "the request is larger than 65536 bytes");
        r->discarded += r->refused ? *size : 0;
        if (r->discarded > DISCARDED_BODY || (!r->refused && tv_text_append(&r->body, data, *size) != TV_OK))
            return MHD_NO;
        *size = 0;
        return MHD_YES;
    }
    if (r->refused)
        return send_refusal(connection, r);
    return r->call ? send_answer(ranker, connection, r) : send_page(connection);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)context;
    (void)connection;
    (void)code;
    request *r = *state;
    if (r)
        tv_text_free(&r->body);
    free(r);
    *state = NULL;
}

tv_status tv_web_ranker_start(const tv_web_ranker_options *options, tv_web_ranker **out) {
    tv_loopback loopback = {.sockets = {-1, -1}};
    tv_status status = TV_OK;
    *out = NULL;
    tv_web_ranker *ranker = calloc(1, sizeof *ranker);
    if (!ranker)
        return tv_fail(TV_E_MEMORY, "out of host memory for the web ranker");
    ranker->api = (tv_web_api){
        .session = options->session,
        .title = options->title,
        .version = TRIVIUM_VERSION,
    };
    TV_TRY(random_hex(ranker->api.token, TV_WEB_TOKEN_CHARACTERS));
    TV_TRY(tv_loopback_listen(options->port, &loopback));
    static const char *const names[HOSTS] = {"127.0.0.1", "localhost", "[::1]"};
    for (int i = 0; i < HOSTS; i++) {
        /* Browsers leave the port out where it is HTTP's own. */
        if (loopback.port == 80)
            snprintf(ranker->hosts[i], sizeof ranker->hosts[i], "%s", names[i]);
        else
            snprintf(ranker->hosts[i], sizeof ranker->hosts[i], "%s:%u", names[i], loopback.port);
        snprintf(ranker->origins[i], sizeof ranker->origins[i], "http://%s", ranker->hosts[i]);
    }
    ranker->port = loopback.port;
    snprintf(ranker->url, sizeof ranker->url, "%s/", ranker->origins[0]);
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++) {
        if (loopback.sockets[i] < 0)
            continue;
        ranker->daemons[i] = MHD_start_daemon(
            MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, ranker,
            MHD_OPTION_LISTEN_SOCKET, loopback.sockets[i], MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL,
            MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
            (unsigned)IDLE_SECONDS, MHD_OPTION_END);
        if (!ranker->daemons[i])
            TV_TRY(tv_fail(TV_E_IO, "cannot start the web server on port %u", loopback.port));
        loopback.sockets[i] = -1; /* the daemon closes it */
    }
    *out = ranker;
    return TV_OK;
fail:
    tv_loopback_close(&loopback);
    tv_web_ranker_stop(&ranker);
    return status;
}

const char *tv_web_ranker_url(const tv_web_ranker *ranker) {
    return ranker->url;
}

uint16_t tv_web_ranker_port(const tv_web_ranker *ranker) {
    return ranker->port;
}

void tv_web_ranker_stop(tv_web_ranker **ranker) {
    if (!ranker || !*ranker)
        return;
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++)
        if ((*ranker)->daemons[i])
            MHD_stop_daemon((*ranker)->daemons[i]);
    free(*ranker);
    *ranker = NULL;
}
