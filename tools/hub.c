/* Files from a hub: see hub.h. */
#include "tools/hub.h"

#include <inttypes.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"

enum { TRIES_WITHOUT_PROGRESS = 5, MOST_LISTING = 64 << 20, HASHED_AT_ONCE = 1 << 20, MOST_WAIT = 60 };
/* A wait is a share of the patience, three times as long with each try: 0.5, 1.5, 4.5 and 13.5 of 30 seconds.
 */
static const double FIRST_WAIT = 1.0 / 60, LONGER = 3, SHOWN_EVERY = 0.2;

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for a path");
}

tv_status tv_hub_open(tv_hub *hub, const char *repository, const char *revision, uint64_t patience) {
    const char *endpoint = getenv("HF_ENDPOINT"), *token = getenv("HF_TOKEN");
    hub->endpoint = endpoint && endpoint[0] ? endpoint : "https://huggingface.co";
    hub->repository = repository;
    hub->revision = revision;
    hub->has_token = token && token[0];
    hub->patience = patience;
    if (!tv_hub_repository_is_valid(repository))
        return tv_fail(TV_E_USAGE, "expected a model's name as ORG/NAME, found \"%.200s\"", repository);
    return tv_http_create(&(tv_http_options){hub->endpoint, token, patience}, &hub->http);
}

void tv_hub_close(tv_hub *hub) {
    tv_http_destroy(&hub->http);
    *hub = (tv_hub){0};
}

/* ---- tries ---- */

/* What an answer means for whoever asked. TV_E_IO: another try may help. */
static tv_status check_code(const tv_hub *hub, const tv_http_answer *answer, const char *what) {
    switch (answer->code) {
    case 200:
    case 206:
        return TV_OK;
    case 401:
    case 403:
        return hub->has_token
                   ? tv_fail(
                         TV_E_DATA,
                         "%s/%s: the hub refuses %s to this HF_TOKEN (%ld); accept the model's terms on its "
                         "page, or use a token that may read it",
                         hub->endpoint, hub->repository, what, answer->code)
                   : tv_fail(TV_E_DATA,
                             "%s/%s: the hub gives %s to no stranger (%ld): there is no such model, or it "
                             "needs a token in HF_TOKEN and its terms accepted on its page",
                             hub->endpoint, hub->repository, what, answer->code);
    case 404:
        return tv_fail(TV_E_DATA, "%s/%s: the hub has no %s there (404); check the name and --revision",
                       hub->endpoint, hub->repository, what);
    default:
        break;
    }
    if (answer->code == 408 || answer->code == 429 || answer->code >= 500)
        return tv_fail(TV_E_IO, "%s answers %ld", hub->endpoint, answer->code);
    return tv_fail(TV_E_DATA, "%s/%s: the hub answers %ld to the question for %s", hub->endpoint,
                   hub->repository, answer->code, what);
}

/* Waits before another try: longer each time, and as long as the server asks for. */
static tv_status wait_for(const tv_hub *hub, int tries, double asked) {
    double seconds = (double)hub->patience * FIRST_WAIT;
    for (int i = 1; i < tries; i++)
        seconds *= LONGER;
    seconds = asked > seconds ? asked : seconds;
    seconds = seconds < MOST_WAIT ? seconds : MOST_WAIT;
    for (double end = tv_seconds() + seconds; tv_seconds() < end;) {
        if (tv_interrupted())
            return tv_fail(TV_E_INTERRUPTED, "interrupted");
        tv_sleep(0.05);
    }
    return TV_OK;
}

/* ---- small answers, in memory ---- */

typedef struct in_memory {
    char *text;
    uint64_t size, capacity;
    const char *where;
} in_memory;

static tv_status keep(void *context, const tv_http_answer *answer, const void *bytes, uint64_t size) {
    in_memory *m = context;
    (void)answer;
    if (m->size + size > MOST_LISTING)
        return tv_fail(TV_E_DATA, "%s: expected a list of files, found more than %d bytes", m->where,
                       MOST_LISTING);
    if (m->size + size + 1 > m->capacity) {
        uint64_t capacity = 2 * (m->size + size + 1);
        char *text = realloc(m->text, capacity);
        if (!text)
            return tv_fail(TV_E_MEMORY, "out of host memory for a list of files");
        m->text = text;
        m->capacity = capacity;
    }
    memcpy(m->text + m->size, bytes, size);
    m->size += size;
    return TV_OK;
}

tv_status tv_hub_list(tv_hub *hub, tv_hub_listing *listing) {
    tv_status status;
    tv_http_answer answer;
    char *revision = tv_http_escape(hub->http, hub->revision);
    char *url = revision ? tv_format("%s/api/models/%s/revision/%s?blobs=true", hub->endpoint,
                                     hub->repository, revision)
                         : NULL;
    in_memory body = {.where = url};
    if (!url) {
        status = no_memory();
        goto done;
    }
    for (int tries = 1;; tries++) {
        body.size = 0;
        status = tv_http_get(hub->http, url, 0, keep, &body, &answer);
        if (status == TV_OK)
            status = check_code(hub, &answer, "list of files");
        if (status != TV_E_IO || tries == TRIES_WITHOUT_PROGRESS)
            break;
        tv_info("%s; trying again", tv_last_error());
        TV_TRY(wait_for(hub, tries, answer.retry_after));
    }
    if (status == TV_OK)
        status = tv_hub_listing_parse(body.text ? body.text : "", body.size, url, listing);
    if (status == TV_OK && listing->commit[0])
        hub->revision = listing->commit;
done:
    free(body.text);
    free(url);
    free(revision);
    return status;
}

/* ---- hashes ---- */

static void print_hex(const uint8_t *bytes, size_t size, char *text) {
    for (size_t i = 0; i < size; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

/* SHA-256 of the file and git's hash of it as a blob: "blob SIZE", a zero, the bytes. */
static tv_status hash_file(const char *path, char sha256[65], char blob[41]) {
    struct sha256_ctx large;
    struct sha1_ctx git;
    uint8_t digest[SHA256_DIGEST_SIZE];
    char head[40];
    tv_file *file = NULL;
    TV_RETURN_IF_FAILED(tv_file_open(path, &file));
    uint8_t *bytes = malloc(HASHED_AT_ONCE);
    tv_status status = bytes ? TV_OK : no_memory();
    int length = snprintf(head, sizeof head, "blob %" PRIu64, tv_file_bytes(file));
    sha256_init(&large);
    sha1_init(&git);
    sha1_update(&git, (size_t)length + 1, (const uint8_t *)head);
    for (uint64_t at = 0, part; status == TV_OK && at < tv_file_bytes(file); at += part) {
        part = tv_min_u64(HASHED_AT_ONCE, tv_file_bytes(file) - at);
        status = tv_file_read_at(file, at, bytes, part);
        if (status != TV_OK)
            break;
        sha256_update(&large, part, bytes);
        sha1_update(&git, part, bytes);
        if (tv_interrupted())
            status = tv_fail(TV_E_INTERRUPTED, "interrupted");
    }
    sha256_digest(&large, SHA256_DIGEST_SIZE, digest);
    print_hex(digest, SHA256_DIGEST_SIZE, sha256);
    sha1_digest(&git, SHA1_DIGEST_SIZE, digest);
    print_hex(digest, SHA1_DIGEST_SIZE, blob);
    free(bytes);
    tv_file_close(&file);
    return status;
}

/* Whether the file is what was told of it. */
static tv_status is_told(const char *path, const tv_hub_file *file, bool *told) {
    uint64_t size;
    char sha256[65], blob[41];
    *told = false;
    TV_RETURN_IF_FAILED(tv_file_size(path, &size));
    if (file->sized && size != file->size)
        return TV_OK;
    if (file->sha256[0] || file->blob[0])
        TV_RETURN_IF_FAILED(hash_file(path, sha256, blob));
    *told = (!file->sha256[0] || strcmp(file->sha256, sha256) == 0) &&
            (!file->blob[0] || strcmp(file->blob, blob) == 0);
    return TV_OK;
}

/* ---- a file ---- */

typedef struct download {
    const tv_hub_file *file;
    tv_appender *out;
    uint64_t size;     /* of the partial file */
    uint64_t received; /* in all */
    double began, shown;
} download;

static void show(download *d) {
    char done[32], whole[32] = "?", speed[32];
    double now = tv_seconds(), seconds = now - d->began;
    if (now - d->shown < SHOWN_EVERY)
        return;
    d->shown = now;
    if (d->file->sized)
        tv_format_bytes(d->file->size, whole, sizeof whole);
    double rate = seconds > 0 ? (double)d->received / seconds : 0;
    double left = d->file->sized && rate > 0 ? (double)(d->file->size - d->size) / rate : 0;
    bool minutes = left >= 90;
    tv_log_progress("%s  %s of %s  %s/s  %.0f %s left", d->file->name,
                    tv_format_bytes(d->size, done, sizeof done), whole,
                    tv_format_bytes((uint64_t)rate, speed, sizeof speed), minutes ? left / 60 : left,
                    minutes ? "min" : "s");
}

static tv_status save(void *context, const tv_http_answer *answer, const void *bytes, uint64_t size) {
    download *d = context;
    /* The server begins elsewhere than it was asked to: from its start, or nowhere. */
    if (d->received == 0 && answer->first_byte != d->size) {
        if (answer->first_byte != 0)
            return tv_fail(TV_E_DATA, "%s: the hub sends bytes from %" PRIu64 ", expected from %" PRIu64,
                           d->file->name, answer->first_byte, d->size);
        TV_RETURN_IF_FAILED(tv_appender_cut(d->out, 0));
        d->size = 0;
    }
    if (d->file->sized && size > d->file->size - tv_min_u64(d->size, d->file->size))
        return tv_fail(TV_E_DATA, "%s: the hub sends more than the %" PRIu64 " bytes that it told",
                       d->file->name, d->file->size);
    TV_RETURN_IF_FAILED(tv_append_bytes(d->out, bytes, size));
    d->size += size;
    d->received += size;
    show(d);
    return TV_OK;
}

/* One request for what is missing of the partial file. */
static tv_status receive(tv_hub *hub, const tv_hub_file *file, const char *url, const char *partial,
                         tv_http_answer *answer, uint64_t *received, uint64_t *size) {
    download d = {.file = file, .began = tv_seconds()};
    *answer = (tv_http_answer){0};
    *received = *size = 0;
    if (tv_path_exists(partial))
        TV_RETURN_IF_FAILED(tv_file_size(partial, &d.size));
    if (file->sized && d.size > file->size) /* of another version */
        d.size = 0;
    TV_RETURN_IF_FAILED(tv_appender_open(partial, d.size, false, &d.out));
    tv_status status = TV_OK;
    if (!file->sized || d.size < file->size || file->size == 0) {
        status = tv_http_get(hub->http, url, d.size, save, &d, answer);
        /* Nothing is left of a file whose size was not told. */
        if (status == TV_OK && !(answer->code == 416 && d.size))
            status = check_code(hub, answer, file->name);
        if (status == TV_OK && file->sized && d.size != file->size)
            status = tv_fail(TV_E_IO, "%s ended after %" PRIu64 " of %" PRIu64 " bytes", file->name, d.size,
                             file->size);
    }
    tv_appender_close(&d.out);
    *received = d.received;
    *size = d.size;
    return status;
}

static tv_status try_all(tv_hub *hub, const tv_hub_file *file, const char *url, const char *partial,
                         tv_http_answer *answer, tv_hub_received *received) {
    uint64_t most = 0;
    for (int tries = 1;; tries++) {
        uint64_t came, size;
        tv_status status = receive(hub, file, url, partial, answer, &came, &size);
        received->bytes += came;
        if (status != TV_E_IO)
            return status;
        if (size > most) /* a server that begins anew each time would keep us for ever */
            tries = 1;
        most = tv_max_u64(most, size);
        if (tries == TRIES_WITHOUT_PROGRESS)
            return tv_fail_advice(status, TV_E_IO,
                                  "what came of %s is kept: the same command goes on from there", file->name);
        tv_info("%s; trying again", tv_last_error());
        TV_RETURN_IF_FAILED(wait_for(hub, tries, answer->retry_after));
    }
}

/* What is there under the name already: the same, or somebody's own. */
static tv_status look(const tv_hub_file *file, const char *path, bool *there) {
    *there = false;
    if (!tv_path_exists(path))
        return TV_OK;
    TV_RETURN_IF_FAILED(is_told(path, file, there));
    if (*there)
        return TV_OK;
    return tv_fail(TV_E_DATA, "%s is there and is not what the hub has; move it away, or name another --out",
                   path);
}

tv_status tv_hub_fetch(tv_hub *hub, const tv_hub_file *file, const char *directory,
                       tv_hub_received *received) {
    tv_status status;
    tv_http_answer answer;
    tv_hub_file told = *file;
    *received = (tv_hub_received){0};
    char *name = tv_http_escape(hub->http, file->name), *revision = tv_http_escape(hub->http, hub->revision);
    char *url = name && revision
                    ? tv_format("%s/%s/resolve/%s/%s", hub->endpoint, hub->repository, revision, name)
                    : NULL;
    char *path = tv_format("%s/%s", directory, file->name),
         *partial = tv_format("%s/%s.partial", directory, file->name);
    if (!url || !path || !partial) {
        status = no_memory();
        goto done;
    }
    TV_TRY(look(file, path, &received->was_there));
    if (received->was_there)
        goto done;
    for (int tries = 0;; tries++) {
        bool begun = tv_path_exists(partial), right;
        TV_TRY(try_all(hub, file, url, partial, &answer, received));
        if (!told.sha256[0] && !told.blob[0])
            memcpy(told.sha256, answer.sha256, sizeof told.sha256);
        TV_TRY(is_told(partial, &told, &right));
        if (right)
            break;
        TV_TRY(tv_remove_tree(partial));
        /* What was begun earlier may be of another version: once more from the start. */
        if (!begun || tries) {
            status = tv_fail(
                TV_E_DATA, "%s/%s: what came as %s has not the hash that the hub told; nothing of it is kept",
                hub->endpoint, hub->repository, file->name);
            goto done;
        }
    }
    if (!told.sha256[0] && !told.blob[0])
        tv_warn("%s: the hub told no hash, so that only its size was looked at", file->name);
    status = tv_rename_durable(partial, path);
done:
    tv_log_progress_clear();
    free(partial);
    free(path);
    free(url);
    free(revision);
    free(name);
    return status;
}
