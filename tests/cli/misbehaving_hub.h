/* A hub on the loopback interface, and another host as its stores are, that send files well or in any of some
 * bad manners, for the tests of pull. */
#ifndef TV_TESTS_MISBEHAVING_HUB_H
#define TV_TESTS_MISBEHAVING_HUB_H

#include "support/support.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"

enum { WEIGHTS = 300000, MOST_FILES = 12, CUT_AT = 100000 };

/* How a file is sent. */
typedef enum manner {
    WELL,
    CUT,       /* the connection ends after CUT_AT bytes, each time */
    STALLED,   /* the first answer stops moving after CUT_AT bytes */
    NO_RANGES, /* cut once; then the whole in place of a range */
    NEVER,     /* cut each time, and no ranges */
    WRONG_RANGE,
    WRONG_BYTES,
    TOO_LONG,
    BUSY, /* 503 twice */
    AWAY, /* redirected to the other server, which has it */
    TO_FILE,
    IN_CIRCLES,
    MISSING,
    SLOW /* a little at a time, for an interrupt */
} manner;

typedef struct served {
    const char *name;
    const char *bytes;
    uint64_t size;
    const char *sha256; /* NULL: told as a small file, by its git hash */
    const char *blob;
    manner manner;
    uint64_t asked, ranges;
} served;

typedef struct hub {
    struct MHD_Daemon *daemon, *elsewhere;
    uint16_t port, other_port;
    char *dir, *out, endpoint[64];
    served files[MOST_FILES];
    uint64_t count;
    const char *listing; /* in place of the true one */
    unsigned refusal;    /* code of every answer */
    const char *token;   /* that is asked for */
    bool token_went_elsewhere;
    pthread_mutex_t lock;
} hub;

static char *weights; /* WEIGHTS bytes: i * 7 % 251 */
static const char weights_sha256[] = "b1cf7538cf80d01efe3e0b8e45dc930048a138c7b6f8c4aff08f478e4695e631";
static const char config_text[] = "{\"model_type\": \"llama\"}\n";
static const char config_blob[] = "9eddb62b076f586b2186445e7872e5a05f0dfe06";

/* ---- the servers ---- */

typedef struct body {
    const served *file;
    uint64_t first;
    bool stall, cut, slow, wrong;
} body;

static ssize_t send_body(void *context, uint64_t at, char *out, size_t most) {
    const body *b = context;
    uint64_t place = b->first + at, end = b->file->size + (b->file->manner == TOO_LONG ? 10 : 0);
    if (b->cut && at >= CUT_AT)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (b->stall && at >= CUT_AT)
        tv_sleep(4); /* twice as long as it is waited for */
    if (b->slow)
        tv_sleep(0.05);
    uint64_t size = tv_min_u64(most, end - place);
    size = tv_min_u64(size, b->slow ? 3000 : CUT_AT - at % CUT_AT);
    for (uint64_t i = 0; i < size; i++)
        out[i] = place + i < b->file->size ? b->file->bytes[place + i] : 'x';
    if (b->wrong && place == 0)
        out[0] ^= 1;
    return (ssize_t)size;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned code, const char *text,
                                   const char *location) {
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
    if (location)
        MHD_add_response_header(response, "Location", location);
    enum MHD_Result done = MHD_queue_response(connection, code, response);
    MHD_destroy_response(response);
    return done;
}

static enum MHD_Result answer_file(struct MHD_Connection *connection, served *file, uint64_t first,
                                   bool range) {
    body *b = calloc(1, sizeof *b);
    manner m = file->manner;
    *b = (body){.file = file,
                .first = first,
                .cut = m == CUT || m == NEVER || (m == NO_RANGES && file->asked == 1),
                .stall = m == STALLED && file->asked == 1,
                .wrong = m == WRONG_BYTES,
                .slow = m == SLOW};
    uint64_t size = file->size + (m == TOO_LONG ? 10 : 0) - first;
    struct MHD_Response *response = MHD_create_response_from_callback(size, 1 << 16, send_body, b, free);
    char text[96];
    snprintf(text, sizeof text, "bytes %llu-%llu/%llu",
             (unsigned long long)first + (m == WRONG_RANGE ? 5 : 0), (unsigned long long)file->size - 1,
             (unsigned long long)file->size);
    if (range)
        MHD_add_response_header(response, "Content-Range", text);
    enum MHD_Result done = MHD_queue_response(connection, range ? 206 : 200, response);
    MHD_destroy_response(response);
    return done;
}

static char *true_listing(const hub *h) {
    cJSON *root = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(root, "siblings");
    cJSON_AddStringToObject(root, "sha", "c0ffee");
    for (uint64_t i = 0; i < h->count; i++) {
        const served *file = &h->files[i];
        cJSON *item = cJSON_CreateObject();
        cJSON_AddStringToObject(item, "rfilename", file->name);
        cJSON_AddNumberToObject(item, "size", (double)file->size);
        cJSON_AddStringToObject(item, "blobId", file->blob ? file->blob : "");
        if (file->sha256) {
            cJSON *large = cJSON_AddObjectToObject(item, "lfs");
            cJSON_AddStringToObject(large, "sha256", file->sha256);
        }
        cJSON_AddItemToArray(list, item);
    }
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    return text;
}

static served *find_served(hub *h, const char *url) {
    const char *slash = strrchr(url, '/');
    for (uint64_t i = 0; slash && i < h->count; i++)
        if (strcmp(h->files[i].name, slash + 1) == 0)
            return &h->files[i];
    return NULL;
}

/* The hub itself. */
static enum MHD_Result serve(void *context, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *upload, size_t *size,
                             void **state) {
    hub *h = context;
    char location[128];
    (void)method, (void)version, (void)upload, (void)size, (void)state;
    const char *authorization = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (h->refusal)
        return answer_text(connection, h->refusal, "no", NULL);
    if (h->token && (!authorization || strcmp(authorization, h->token) != 0))
        return answer_text(connection, 401, "no", NULL);
    if (strcmp(url, "/api/models/org/small/revision/main") == 0) {
        char *listing = h->listing ? NULL : true_listing(h);
        enum MHD_Result done = answer_text(connection, 200, h->listing ? h->listing : listing, NULL);
        free(listing);
        return done;
    }
    pthread_mutex_lock(&h->lock);
    served *file = strncmp(url, "/org/small/resolve/c0ffee/", 26) == 0 ? find_served(h, url) : NULL;
    const char *range = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Range");
    uint64_t first = range && strncmp(range, "bytes=", 6) == 0 ? strtoull(range + 6, NULL, 10) : 0;
    uint64_t asked = file ? ++file->asked : 0;
    if (file && range)
        file->ranges++;
    pthread_mutex_unlock(&h->lock);
    if (!file || file->manner == MISSING)
        return answer_text(connection, 404, "no", NULL);
    switch (file->manner) {
    case BUSY:
        if (asked <= 2)
            return answer_text(connection, 503, "later", NULL);
        break;
    case AWAY:
        snprintf(location, sizeof location, "http://localhost:%u%s?signed=1", h->other_port, url);
        return answer_text(connection, 302, "", location);
    case TO_FILE:
        return answer_text(connection, 302, "", "file:///etc/passwd");
    case IN_CIRCLES:
        return answer_text(connection, 307, "", url);
    default:
        break;
    }
    bool whole = file->manner == NO_RANGES || file->manner == NEVER || !range;
    return answer_file(connection, file, whole ? 0 : first, !whole);
}

/* Another host, as the hub's stores are. */
static enum MHD_Result serve_elsewhere(void *context, struct MHD_Connection *connection, const char *url,
                                       const char *method, const char *version, const char *upload,
                                       size_t *size, void **state) {
    hub *h = context;
    (void)method, (void)version, (void)upload, (void)size, (void)state;
    if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization"))
        h->token_went_elsewhere = true;
    served *file = find_served(h, url);
    return file ? answer_file(connection, file, 0, false) : answer_text(connection, 404, "no", NULL);
}

static struct MHD_Daemon *start_server(MHD_AccessHandlerCallback handler, hub *h, uint16_t *port) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0, NULL, NULL,
                         handler, h, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_END);
    assert_non_null(daemon);
    *port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    return daemon;
}

static void add(hub *h, served file) {
    assert_true(h->count < MOST_FILES);
    h->files[h->count++] = file;
}

/* A model of one file of weights, sent in `how`. */
static hub *start(manner how) {
    hub *h = calloc(1, sizeof *h);
    assert_non_null(h);
    pthread_mutex_init(&h->lock, NULL);
    h->daemon = start_server(serve, h, &h->port);
    h->elsewhere = start_server(serve_elsewhere, h, &h->other_port);
    snprintf(h->endpoint, sizeof h->endpoint, "http://127.0.0.1:%u", h->port);
    h->dir = tv_test_dir();
    h->out = tv_format("%s/m", h->dir);
    add(h, (served){.name = "README.md", .bytes = "not used", .size = 8});
    add(h, (served){.name = "config.json",
                    .bytes = config_text,
                    .size = sizeof config_text - 1,
                    .blob = config_blob});
    add(h, (served){.name = "onnx/model.safetensors", .bytes = "no", .size = 2});
    add(h, (served){.name = "model.safetensors",
                    .bytes = weights,
                    .size = WEIGHTS,
                    .sha256 = weights_sha256,
                    .manner = how});
    setenv("HF_ENDPOINT", h->endpoint, 1);
    return h;
}

static void stop(hub *h) {
    MHD_stop_daemon(h->daemon);
    MHD_stop_daemon(h->elsewhere);
    pthread_mutex_destroy(&h->lock);
    tv_test_dir_remove(&h->dir);
    free(h->out);
    free(h);
    unsetenv("HF_TOKEN");
}

#endif
