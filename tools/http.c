/* GET over libcurl: see http.h. */
#include "tools/http.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/bytes.h"
#include "base/os.h"

enum { MOST_HOPS = 8, CONNECT_SECONDS = 20 };

typedef struct origin {
    char *scheme, *host, *port;
} origin;

struct tv_http {
    CURL *curl;
    origin hub;
    struct curl_slist *authorization; /* NULL: no token */
    long patience;
};

/* ---- origins ---- */

static void free_origin(origin *o) {
    curl_free(o->scheme);
    curl_free(o->host);
    curl_free(o->port);
    *o = (origin){0};
}

static bool read_origin(const char *url, origin *o) {
    CURLU *parsed = curl_url();
    *o = (origin){0};
    bool read = parsed && curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_SCHEME, &o->scheme, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_HOST, &o->host, 0) == CURLUE_OK &&
                curl_url_get(parsed, CURLUPART_PORT, &o->port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
                (strcmp(o->scheme, "https") == 0 || strcmp(o->scheme, "http") == 0);
    curl_url_cleanup(parsed);
    if (!read)
        free_origin(o);
    return read;
}

static bool same_origin(const origin *a, const origin *b) {
    return strcmp(a->scheme, b->scheme) == 0 && strcasecmp(a->host, b->host) == 0 &&
           strcmp(a->port, b->port) == 0;
}

static bool is_loopback(const origin *o) {
    return strcmp(o->host, "localhost") == 0 || strncmp(o->host, "127.", 4) == 0 ||
           strcmp(o->host, "[::1]") == 0;
}

/* ---- set-up ---- */

static tv_status add_token(tv_http *http, const char *token) {
    for (const char *c = token; *c; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7f)
            return tv_fail(TV_E_USAGE,
                           "HF_TOKEN holds spaces or control characters; expected a token in one word");
    if (strcmp(http->hub.scheme, "https") != 0 && !is_loopback(&http->hub))
        return tv_fail(
            TV_E_USAGE,
            "the hub is asked over http, where everybody on the way would read HF_TOKEN; use an https "
            "address as HF_ENDPOINT, or unset HF_TOKEN");
    char *line = tv_format("Authorization: Bearer %s", token);
    if (line)
        http->authorization = curl_slist_append(NULL, line);
    free(line);
    return http->authorization ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a token");
}

tv_status tv_http_create(const tv_http_options *options, tv_http **out) {
    tv_status status;
    *out = NULL;
    tv_http *http = calloc(1, sizeof *http);
    if (!http)
        return tv_fail(TV_E_MEMORY, "out of host memory for a connection");
    http->patience = (long)options->patience;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK || !(http->curl = curl_easy_init())) {
        status = tv_fail(TV_E_IO, "libcurl does not start");
        goto fail;
    }
    if (!read_origin(options->endpoint, &http->hub)) {
        status = tv_fail(TV_E_USAGE,
                         "HF_ENDPOINT: expected an address as https://huggingface.co, found \"%.200s\"",
                         options->endpoint);
        goto fail;
    }
    if (options->token && options->token[0])
        TV_TRY_OR_FAIL(add_token(http, options->token));
    *out = http;
    return TV_OK;
fail:
    tv_http_destroy(&http);
    return status;
}

void tv_http_destroy(tv_http **handle) {
    tv_http *http = *handle;
    if (http) {
        curl_slist_free_all(http->authorization);
        curl_easy_cleanup(http->curl);
        free_origin(&http->hub);
        free(http);
    }
    *handle = NULL;
}

/* ---- a transfer ---- */

typedef struct transfer {
    tv_http *http;
    uint64_t first;
    tv_http_sink sink;
    void *context;
    tv_http_answer *answer;
    double moved; /* when bytes came last */
    curl_off_t came;
    bool stalled;
    bool from_hub;    /* of this hop */
    tv_status status; /* of the sink */
} transfer;

/* The value of a header's line where it has the name; not terminated by zero. */
static const char *header_value(const char *line, size_t size, const char *name, size_t *length) {
    size_t named = strlen(name);
    if (size <= named || line[named] != ':' || strncasecmp(line, name, named) != 0)
        return NULL;
    const char *begin = line + named + 1, *end = line + size;
    while (begin < end && isspace((unsigned char)*begin))
        begin++;
    while (end > begin && isspace((unsigned char)end[-1]))
        end--;
    *length = (size_t)(end - begin);
    return begin;
}

static uint64_t number_of(const char *text, size_t length) {
    char digits[24];
    snprintf(digits, sizeof digits, "%.*s", (int)tv_min_u64(length, sizeof digits - 1), text);
    return strtoull(digits, NULL, 10);
}

static size_t take_header(char *line, size_t size, size_t count, void *context) {
    transfer *t = context;
    size_t all = size * count, length;
    const char *value;
    if (strncmp(line, "HTTP/", tv_min_u64(all, 5)) == 0) { /* an answer begins, after a 100 perhaps */
        t->answer->first_byte = 0;
        t->answer->retry_after = 0;
    }
    /* "bytes 100-199/200" */
    if ((value = header_value(line, all, "content-range", &length)) && length > 6)
        t->answer->first_byte = number_of(value + 6, length - 6);
    if ((value = header_value(line, all, "retry-after", &length)))
        t->answer->retry_after = (double)number_of(value, length);
    /* Of a large file, on the hub's own redirect: "<sha256>" */
    if (t->from_hub && (value = header_value(line, all, "x-linked-etag", &length))) {
        if (length == 66 && value[0] == '"')
            value++, length -= 2;
        if (length == 64) {
            memcpy(t->answer->sha256, value, 64);
            t->answer->sha256[64] = '\0';
            if (strspn(t->answer->sha256, "0123456789abcdef") != 64)
                t->answer->sha256[0] = '\0';
        }
    }
    return all;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *context) {
    transfer *t = context;
    long code = 0;
    curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &code);
    t->answer->code = code;
    if (code != 200 && code != 206)
        return size * count;
    if (code == 200)
        t->answer->first_byte = 0;
    t->status = t->sink(t->context, t->answer, bytes, size * count);
    return t->status == TV_OK ? size * count : 0;
}

/* Called several times a second. libcurl's own limit of speed looks at five seconds at least. */
static int watch(void *context, curl_off_t whole, curl_off_t came, curl_off_t to_send, curl_off_t sent) {
    transfer *t = context;
    (void)whole, (void)to_send, (void)sent;
    if (came != t->came)
        t->moved = tv_seconds();
    t->came = came;
    t->stalled = tv_seconds() - t->moved > (double)t->http->patience;
    return t->stalled || tv_interrupted();
}

static void set_options(transfer *t, const char *url) {
    CURL *curl = t->http->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "trivium");
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* hop by hop, below */
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, 512L << 10);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, tv_min_u64(CONNECT_SECONDS, (uint64_t)t->http->patience));
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, t->from_hub ? t->http->authorization : NULL);
    /* Not CURLOPT_RESUME_FROM, which calls a server that sends the whole an error. */
    char range[32];
    snprintf(range, sizeof range, "%llu-", (unsigned long long)t->first);
    curl_easy_setopt(curl, CURLOPT_RANGE, t->first ? range : NULL);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, watch);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
}

static tv_status failure(const transfer *t, CURLcode code, const char *host) {
    if (t->status != TV_OK)
        return t->status;
    if (code == CURLE_ABORTED_BY_CALLBACK && !t->stalled)
        return tv_fail(TV_E_INTERRUPTED, "interrupted");
    if (t->stalled || code == CURLE_OPERATION_TIMEDOUT)
        return tv_fail(TV_E_IO, "%s sent nothing for %ld s", host, t->http->patience);
    if (code == CURLE_PARTIAL_FILE || code == CURLE_RECV_ERROR || code == CURLE_GOT_NOTHING)
        return tv_fail(TV_E_IO, "%s ended the connection", host);
    return tv_fail(TV_E_IO, "%s: %s", host, curl_easy_strerror(code));
}

/* One request; *next is where it is redirected to, which the caller frees, or NULL. */
static tv_status hop(transfer *t, const char *url, char **next) {
    origin here;
    char *to = NULL;
    *next = NULL;
    if (!read_origin(url, &here))
        return tv_fail(TV_E_DATA, "the hub redirects to \"%.200s\", which is no address of http or https",
                       url);
    if (strcmp(t->http->hub.scheme, "https") == 0 && strcmp(here.scheme, "https") != 0) {
        tv_status status =
            tv_fail(TV_E_DATA,
                    "the hub redirects from https to \"%.200s\", where everybody on the way could "
                    "change what comes",
                    url);
        free_origin(&here);
        return status;
    }
    t->from_hub = same_origin(&here, &t->http->hub);
    set_options(t, url);
    t->moved = tv_seconds();
    t->came = 0;
    CURLcode code = curl_easy_perform(t->http->curl);
    long answered = 0;
    curl_easy_getinfo(t->http->curl, CURLINFO_RESPONSE_CODE, &answered);
    t->answer->code = answered;
    tv_status status = code == CURLE_OK ? TV_OK : failure(t, code, here.host);
    if (status == TV_OK && curl_easy_getinfo(t->http->curl, CURLINFO_REDIRECT_URL, &to) == CURLE_OK && to &&
        !(*next = tv_format("%s", to)))
        status = tv_fail(TV_E_MEMORY, "out of host memory for an address");
    free_origin(&here);
    return status;
}

tv_status tv_http_get(tv_http *http, const char *url, uint64_t first, tv_http_sink sink, void *context,
                      tv_http_answer *answer) {
    transfer t = {.http = http, .first = first, .sink = sink, .context = context, .answer = answer};
    *answer = (tv_http_answer){0};
    char *here = tv_format("%s", url), *next = NULL;
    tv_status status = here ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for an address");
    for (int hops = 0; status == TV_OK; hops++) {
        if (hops == MOST_HOPS) {
            status = tv_fail(TV_E_DATA, "the hub redirects more than %d times", MOST_HOPS);
            break;
        }
        status = hop(&t, here, &next);
        if (!next)
            break;
        free(here);
        here = next;
    }
    free(here);
    return status;
}

char *tv_http_escape(const tv_http *http, const char *text) {
    char *escaped = curl_easy_escape(http->curl, text, 0), *copy = escaped ? tv_format("%s", escaped) : NULL;
    curl_free(escaped);
    return copy;
}
