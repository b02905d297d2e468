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
#include "base/sockets.h"
#include "base/web_reply.h"
#include "human/markdown.h"
#include "human/web/page.h"
#include "human/web_api.h"
#include "human/web_clients.h"

enum {
    HOSTS = 4,
    NONCE_CHARACTERS = 32,
    CONNECTIONS = 192,         /* of all clients (web_clients.h); a browser keeps up to six */
    ACCEPTED = 384,            /* by the library: those that were hung up wait to be cleared */
    STRANGER_SECONDS = 10,     /* so that a silent client does not hold a connection */
    IDLE_SECONDS = 60,         /* of one that has shown its link */
    DISCARDED_BODY = 16 << 20, /* the most that is read of a refused body to answer it politely */
};

struct tv_web_ranker {
    tv_web_api api; /* but for the link */
    tv_links *links;
    tv_web_clients *clients;
    struct MHD_Daemon *daemons[TV_LOOPBACK_FAMILIES];
    uint16_t port;
    char *url;
    char *hosts[HOSTS];   /* what the Host header may say */
    char *origins[HOSTS]; /* what the Origin header may say */
};

/* One request while its body comes in. */
typedef struct request {
    tv_text body;
    uint64_t discarded;
    unsigned refused; /* status code, or 0 */
    const char *sentence, *allow;
    const char *call; /* name in web_api.h; NULL: the page */
    const tv_link *link;
} request;

/* ---- what is refused, in the order in which it is looked at ---- */

static const char *header(struct MHD_Connection *connection, const char *name) {
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool is_one_of(const char *value, char *const texts[HOSTS]) {
    for (int i = 0; i < HOSTS; i++)
        if (texts[i] && strcasecmp(value, texts[i]) == 0)
            return true;
    return false;
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
    if (!host || !is_one_of(host, ranker->hosts)) {
        refuse(r, MHD_HTTP_FORBIDDEN, "this server answers only to its own address, as it was printed");
        return;
    }
    bool reads = strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
    if (strcmp(path, "/") == 0) {
        if (!reads)
            refuse_method(r, "GET, HEAD");
        return;
    }
    if (strncmp(path, "/api/", 5) != 0 || !tv_web_api_knows(path + 5)) {
        refuse(r, MHD_HTTP_NOT_FOUND, "there is nothing at this address");
        return;
    }
    r->call = strrchr(path, '/') + 1;
    const char *site = header(connection, "Sec-Fetch-Site");
    const char *origin = header(connection, MHD_HTTP_HEADER_ORIGIN);
    if ((site && strcmp(site, "same-origin") != 0) || (origin && !is_one_of(origin, ranker->origins))) {
        refuse(r, MHD_HTTP_FORBIDDEN, "only this server's own page may call it");
        return;
    }
    if (strcmp(method, MHD_HTTP_METHOD_POST) != 0) {
        refuse_method(r, "POST");
        return;
    }
    /* Also against pages of other sites: a header of ours is nothing that they may send. */
    r->link = tv_links_find(ranker->links, header(connection, "X-Trivium-Link"));
    const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (!r->link)
        refuse(
            r, MHD_HTTP_FORBIDDEN,
            "the address of this page lacks the secret of a link, or the link does not hold any more; open "
            "the link as it was printed, or ask whoever started the ranker for one");
    else if (!is_json(header(connection, MHD_HTTP_HEADER_CONTENT_TYPE)))
        refuse(r, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json");
    else if (length && strtoull(length, NULL, 10) > TV_WEB_BODY_LIMIT)
        refuse(r, MHD_HTTP_CONTENT_TOO_LARGE, "the request is larger than 65536 bytes");
}

/* ---- answers ---- */

static enum MHD_Result send_reply(struct MHD_Connection *connection, unsigned code, tv_text *body,
                                  const char *type, const char *policy, const char *allow) {
    const tv_web_reply reply = {.code = code, .type = type, .policy = policy, .allow = allow};
    bool sent = tv_web_reply_send(connection, &reply, body->data, body->size);
    tv_text_free(body);
    return sent ? MHD_YES : MHD_NO;
}

static enum MHD_Result send_json(struct MHD_Connection *connection, unsigned code, tv_text *body,
                                 const char *allow) {
    return send_reply(connection, code, body, "application/json; charset=utf-8", NULL, allow);
}

static enum MHD_Result send_page(struct MHD_Connection *connection) {
    char nonce[NONCE_CHARACTERS + 1], policy[512];
    tv_text body = {0};
    if (tv_random_hex(nonce, NONCE_CHARACTERS) != TV_OK)
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
    tv_web_api api = ranker->api;
    api.link = r->link;
    if (tv_web_api_answer(&api, r->call, asked, &code, &body) != TV_OK) {
        tv_text_free(&body);
        return MHD_NO;
    }
    return send_json(connection, code, &body, NULL);
}

/* ---- libmicrohttpd's side ---- */

/* What on_connection has left with the library. */
static tv_web_connection *ours(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code) {
    const tv_web_ranker *ranker = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        tv_web_connection *mine = *slot;
        tv_web_clients_remove(ranker->clients, &mine);
        *slot = NULL;
        return;
    }
    const union MHD_ConnectionInfo *address =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const union MHD_ConnectionInfo *handle =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (handle)
        *slot = tv_web_clients_add(ranker->clients, handle->connect_fd,
                                   tv_socket_peer(address ? address->client_addr : NULL));
}

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
        if (r->link) {
            tv_web_clients_know(ranker->clients, ours(connection), (uintptr_t)r->link);
            MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)IDLE_SECONDS);
        }
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
    (void)code;
    const tv_web_ranker *ranker = context;
    request *r = *state;
    tv_web_clients_answered(ranker->clients, ours(connection));
    if (r)
        tv_text_free(&r->body);
    free(r);
    *state = NULL;
}

/* ---- addresses ---- */

static tv_status add_host(tv_web_ranker *ranker, int place, const char *scheme, const char *host,
                          int length) {
    ranker->hosts[place] = tv_format("%.*s", length, host);
    ranker->origins[place] = tv_format("%s://%.*s", scheme, length, host);
    return ranker->hosts[place] && ranker->origins[place]
               ? TV_OK
               : tv_fail(TV_E_MEMORY, "out of host memory for the web ranker");
}

/* "http://name:port/path/" of a proxy, or of this machine where it listens at all its addresses. */
static tv_status add_public(tv_web_ranker *ranker, int place, const char *url) {
    const char *scheme = strncmp(url, "https://", 8) == 0  ? "https"
                         : strncmp(url, "http://", 7) == 0 ? "http"
                                                           : "";
    const char *host = url + strlen(scheme) + 3;
    size_t length = scheme[0] ? strcspn(host, "/") : 0;
    if (length == 0 ||
        strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-:[]") < length ||
        strpbrk(url, "?#@ ") || strlen(url) > 512)
        return tv_fail(
            TV_E_USAGE,
            "expected the address at which people reach the page, such as https://rank.example.org/, "
            "found \"%s\"",
            url);
    TV_RETURN_IF_FAILED(add_host(ranker, place, scheme, host, (int)length));
    ranker->url = tv_format("%s%s", url, url[strlen(url) - 1] == '/' ? "" : "/");
    return ranker->url ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the web ranker");
}

/* What browsers may call this server, and the address that is printed. */
static tv_status name_hosts(tv_web_ranker *ranker, const tv_web_ranker_options *options) {
    static const char *const loopback[] = {"127.0.0.1", "localhost", "[::1]"};
    bool near = !options->listen || tv_address_is_loopback(options->listen);
    int count = 0;
    char host[96], port[8] = "";
    /* Browsers leave the port out where it is HTTP's own. */
    if (ranker->port != 80)
        snprintf(port, sizeof port, ":%u", ranker->port);
    for (size_t i = 0; near && i < TV_COUNT(loopback); i++) {
        snprintf(host, sizeof host, "%s%s", loopback[i], port);
        TV_RETURN_IF_FAILED(add_host(ranker, count++, "http", host, (int)strlen(host)));
    }
    if (!near && !tv_address_is_every(options->listen)) {
        snprintf(host, sizeof host, strchr(options->listen, ':') ? "[%s]%s" : "%s%s", options->listen, port);
        TV_RETURN_IF_FAILED(add_host(ranker, count++, "http", host, (int)strlen(host)));
    }
    if (options->url)
        return add_public(ranker, count, options->url);
    if (count == 0)
        return tv_fail(TV_E_USAGE,
                       "%s is every address of this machine; expected also the one at which people "
                       "reach the page, such as http://%s:%u/",
                       options->listen, "rank.example.org", ranker->port);
    ranker->url = tv_format("%s/", ranker->origins[0]);
    return ranker->url ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the web ranker");
}

/* ---- starting and stopping ---- */

static tv_status serve(tv_web_ranker *ranker, int *sockets) {
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++) {
        if (sockets[i] < 0)
            continue;
        ranker->daemons[i] = MHD_start_daemon(
            MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, ranker,
            MHD_OPTION_LISTEN_SOCKET, sockets[i], MHD_OPTION_NOTIFY_COMPLETED, on_completed, ranker,
            MHD_OPTION_NOTIFY_CONNECTION, on_connection, ranker, MHD_OPTION_CONNECTION_LIMIT,
            (unsigned)ACCEPTED, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)STRANGER_SECONDS, MHD_OPTION_END);
        if (!ranker->daemons[i])
            return tv_fail(TV_E_IO, "cannot start the web server on port %u", ranker->port);
        sockets[i] = -1; /* the daemon closes it */
    }
    return TV_OK;
}

tv_status tv_web_ranker_start(const tv_web_ranker_options *options, tv_web_ranker **out) {
    tv_loopback at = {.sockets = {-1, -1}};
    tv_status status = TV_OK;
    *out = NULL;
    tv_web_ranker *ranker = calloc(1, sizeof *ranker);
    if (!ranker)
        return tv_fail(TV_E_MEMORY, "out of host memory for the web ranker");
    ranker->api = (tv_web_api){.session = options->session,
                               .title = options->title,
                               .version = TRIVIUM_VERSION,
                               .guidelines = options->guidelines};
    if (options->listen)
        TV_TRY_OR_FAIL(tv_socket_listen(options->listen, options->port, &at.sockets[0], &at.port));
    else
        TV_TRY_OR_FAIL(tv_loopback_listen(options->port, &at));
    ranker->port = at.port;
    TV_TRY_OR_FAIL(name_hosts(ranker, options));
    tv_markdown_prepare();
    TV_TRY_OR_FAIL(
        tv_links_open(options->links, options->annotators, options->annotator_count, &ranker->links));
    ranker->api.links = ranker->links;
    TV_TRY_OR_FAIL(tv_web_clients_create(CONNECTIONS, tv_socket_hang_up, &ranker->clients));
    TV_TRY_OR_FAIL(serve(ranker, at.sockets));
    *out = ranker;
    return TV_OK;
fail:
    tv_loopback_close(&at);
    tv_web_ranker_stop(&ranker);
    return status;
}

const char *tv_web_ranker_url(const tv_web_ranker *ranker) {
    return ranker->url;
}

const tv_links *tv_web_ranker_links(const tv_web_ranker *ranker) {
    return ranker->links;
}

uint16_t tv_web_ranker_port(const tv_web_ranker *ranker) {
    return ranker->port;
}

void tv_web_ranker_stop(tv_web_ranker **ranker) {
    if (!ranker || !*ranker)
        return;
    tv_web_ranker *r = *ranker;
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++)
        if (r->daemons[i])
            MHD_stop_daemon(r->daemons[i]);
    tv_web_clients_destroy(&r->clients);
    tv_links_close(&r->links);
    for (int i = 0; i < HOSTS; i++) {
        free(r->hosts[i]);
        free(r->origins[i]);
    }
    free(r->url);
    free(r);
    *ranker = NULL;
}
