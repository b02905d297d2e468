/* HTTP for the report, over libmicrohttpd: see follow.h. */
#include "report/follow.h"

#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/hash.h"
#include "base/loopback.h"
#include "base/os.h"
#include "base/web_reply.h"
#include "report/report.h"

enum { SECRET_CHARACTERS = 32, CONNECTIONS = 64, IDLE_SECONDS = 30, TAG_BYTES = TV_HASH_TEXT + 2 };

struct tv_report_follow {
    const char *const *runs;
    uint64_t run_count;
    const char *pipeline;
    struct MHD_Daemon *daemons[TV_LOOPBACK_FAMILIES];
    uint16_t port;
    char path[SECRET_CHARACTERS + 3]; /* "/SECRET/" */
    char *url;
    tv_mutex *mutex; /* one page is written at a time */
};

/* The secret's length is known to everybody; how much of it a guess has right is not told by the time. */
static bool is_the_path(const tv_report_follow *follow, const char *path) {
    if (strlen(path) != sizeof follow->path - 1)
        return false;
    unsigned differ = 0;
    for (size_t i = 0; i < sizeof follow->path - 1; i++)
        differ |= (unsigned)(path[i] ^ follow->path[i]);
    return differ == 0;
}

static bool send_sentence(struct MHD_Connection *connection, unsigned code, const char *sentence,
                          const char *allow) {
    const tv_web_reply reply = {.code = code, .type = "text/plain; charset=utf-8", .allow = allow};
    return tv_web_reply_send(connection, &reply, sentence, strlen(sentence));
}

/* A strong ETag of these bytes. */
static tv_status make_tag(const char *page, uint64_t size, char tag[TAG_BYTES]) {
    tv_hash *hash = NULL;
    char text[TV_HASH_TEXT];
    TV_RETURN_IF_FAILED(tv_hash_create(&hash));
    tv_hash_add(hash, page, size);
    tv_hash_print(hash, text);
    tv_hash_destroy(&hash);
    snprintf(tag, TAG_BYTES, "\"%s\"", text);
    return TV_OK;
}

static bool send_page(const tv_report_follow *follow, struct MHD_Connection *connection) {
    /* Charts place their labels by style attributes, hence 'unsafe-inline'; the one script runs by its nonce,
     * which is the same for each page, so that a page that has not changed has the same bytes: the secret of
     * the address guards it. */
    static const char policy_format[] =
        "default-src 'none'; script-src 'nonce-%.*s'; style-src 'unsafe-inline'; connect-src 'self'; img-src "
        "data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    char policy[sizeof policy_format + SECRET_CHARACTERS], nonce[SECRET_CHARACTERS + 1], tag[TAG_BYTES];
    char *page = NULL;
    uint64_t size = 0;
    snprintf(nonce, sizeof nonce, "%.*s", SECRET_CHARACTERS, follow->path + 1);
    snprintf(policy, sizeof policy, policy_format, SECRET_CHARACTERS, nonce);
    tv_mutex_lock(follow->mutex);
    tv_status status = tv_report_make(follow->runs, follow->run_count, follow->pipeline, nonce, &page, &size);
    tv_mutex_unlock(follow->mutex);
    if (status == TV_OK)
        status = make_tag(page, size, tag);
    if (status != TV_OK) {
        free(page);
        return send_sentence(connection, MHD_HTTP_SERVICE_UNAVAILABLE, tv_last_error(), NULL);
    }
    const char *known =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_IF_NONE_MATCH);
    bool same = known && strcmp(known, tag) == 0;
    const tv_web_reply reply = {.code = same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK,
                                .type = "text/html; charset=utf-8",
                                .policy = policy,
                                .tag = tag};
    bool sent = tv_web_reply_send(connection, &reply, page, same ? 0 : size);
    free(page);
    return sent;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *data, size_t *size,
                                  void **state) {
    static char seen;
    (void)version;
    (void)data;
    const tv_report_follow *follow = context;
    const char *host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    /* Once with the headers, then with pieces of a body, which nobody needs here, then for the answer. */
    if (!*state) {
        *state = &seen;
        return MHD_YES;
    }
    if (*size > 0) {
        *size = 0;
        return MHD_YES;
    }
    bool sent;
    if (!tv_web_host_is_loopback(host, follow->port))
        sent = send_sentence(connection, MHD_HTTP_FORBIDDEN,
                             "this server answers only to its own address, as it was printed", NULL);
    else if (!is_the_path(follow, path))
        sent = send_sentence(connection, MHD_HTTP_NOT_FOUND,
                             "there is nothing at this address; open the one that was printed", NULL);
    else if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        sent = send_sentence(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "this address takes another method",
                             "GET, HEAD");
    else
        sent = send_page(follow, connection);
    return sent ? MHD_YES : MHD_NO;
}

static tv_status serve(tv_report_follow *follow, int *sockets) {
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++) {
        if (sockets[i] < 0)
            continue;
        follow->daemons[i] = MHD_start_daemon(
            MHD_USE_AUTO | MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, on_request, follow,
            MHD_OPTION_LISTEN_SOCKET, sockets[i], MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
            MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_END);
        if (!follow->daemons[i])
            return tv_fail(TV_E_IO, "cannot start the web server on port %u", follow->port);
        sockets[i] = -1; /* the daemon closes it */
    }
    return TV_OK;
}

tv_status tv_report_follow_start(const char *const *runs, uint64_t run_count, const char *pipeline,
                                 uint16_t port, tv_report_follow **out) {
    tv_loopback at = {.sockets = {-1, -1}};
    tv_status status = TV_OK;
    char secret[SECRET_CHARACTERS + 1], *page = NULL;
    uint64_t size;
    *out = NULL;
    tv_report_follow *follow = calloc(1, sizeof *follow);
    if (!follow)
        return tv_fail(TV_E_MEMORY, "out of host memory for the report's server");
    follow->runs = runs;
    follow->run_count = run_count;
    follow->pipeline = pipeline;
    TV_TRY_OR_FAIL(tv_random_hex(secret, SECRET_CHARACTERS));
    /* What is wrong from the beginning is said here, not in a browser. */
    TV_TRY_OR_FAIL(tv_report_make(runs, run_count, pipeline, secret, &page, &size));
    TV_TRY_OR_FAIL(tv_loopback_listen(port, &at));
    follow->port = at.port;
    snprintf(follow->path, sizeof follow->path, "/%s/", secret);
    follow->url = tv_format("http://127.0.0.1:%u%s", follow->port, follow->path);
    if (!follow->url) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the report's server");
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_mutex_create(&follow->mutex));
    TV_TRY_OR_FAIL(serve(follow, at.sockets));
    free(page);
    *out = follow;
    return TV_OK;
fail:
    free(page);
    tv_loopback_close(&at);
    tv_report_follow_stop(&follow);
    return status;
}

const char *tv_report_follow_url(const tv_report_follow *follow) {
    return follow->url;
}

void tv_report_follow_stop(tv_report_follow **follow) {
    if (!follow || !*follow)
        return;
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++)
        if ((*follow)->daemons[i])
            MHD_stop_daemon((*follow)->daemons[i]);
    tv_mutex_destroy(&(*follow)->mutex);
    free((*follow)->url);
    free(*follow);
    *follow = NULL;
}
