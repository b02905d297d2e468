/* A web ranker over three items, and a client of plain sockets. */
#ifndef TV_TESTS_WEB_CLIENT_H
#define TV_TESTS_WEB_CLIENT_H

#include "support/support.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"
#include "human/web_ranker.h"

enum { ITEMS = 3, ANSWER_BYTES = 1 << 20 };

typedef struct fixture {
    char *dir, *candidates, *out, *links;
    tv_session *session;
    tv_web_ranker *ranker;
    uint16_t port;
    char secret[64]; /* of the link for anyone */
    char answer[ANSWER_BYTES];
} fixture;

static int connect_to(uint16_t port) {
    int handle = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct timeval patience = {.tv_sec = 10};
    setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(handle, (struct sockaddr *)&address, sizeof address), 0);
    return handle;
}

/* Sends the bytes, reads to the end; the status code, or 0 where the server hung up without one. */
static int send_bytes(fixture *f, const char *bytes, uint64_t size) {
    int handle = connect_to(f->port);
    for (uint64_t sent = 0; sent < size;) {
        ssize_t n = send(handle, bytes + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (uint64_t)n;
    }
    uint64_t got = 0;
    for (ssize_t n = 1; n > 0 && got<ANSWER_BYTES - 1; got += n> 0 ? (uint64_t)n : 0)
        n = recv(handle, f->answer + got, ANSWER_BYTES - 1 - got, 0);
    f->answer[got] = '\0';
    close(handle);
    int code = 0;
    return sscanf(f->answer, "HTTP/1.1 %d", &code) == 1 ? code : 0;
}

static int send_text(fixture *f, const char *text) {
    return send_bytes(f, text, strlen(text));
}

/* A call as the page makes it, with further header lines and with or without the token. */
static int post(fixture *f, const char *name, const char *headers, const char *body) {
    char *text =
        tv_format("POST /api/%s HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n"
                  "Content-Type: application/json\r\nX-Trivium-Link: %s\r\n%sContent-Length: %zu\r\n\r\n%s",
                  name, f->port, f->secret, headers, strlen(body), body);
    int code = send_text(f, text);
    free(text);
    return code;
}

/* The body of the last answer as JSON; the caller frees. */
static cJSON *answer_json(const fixture *f) {
    const char *body = strstr(f->answer, "\r\n\r\n");
    assert_non_null(body);
    cJSON *root = NULL;
    assert_ok(tv_json_parse(body + 4, strlen(body + 4), "the answer", &root));
    return root;
}

static void start(fixture *f, uint16_t port) {
    const tv_session_options options = {.candidates = f->candidates, .out = f->out, .seed = 1};
    assert_ok(tv_session_open(&options, &f->session));
    const tv_web_ranker_options page = {
        .session = f->session, .port = port, .title = "a \"title\"", .links = f->links};
    assert_ok(tv_web_ranker_start(&page, &f->ranker));
    unsigned number = 0;
    assert_int_equal(sscanf(tv_web_ranker_url(f->ranker), "http://127.0.0.1:%u/", &number), 1);
    f->port = (uint16_t)number;
    const tv_links *links = tv_web_ranker_links(f->ranker);
    assert_int_equal(tv_links_count(links), 2);
    assert_int_equal(tv_links_at(links, 0)->role, TV_LINK_ORGANISER);
    assert_int_equal(tv_links_at(links, 1)->role, TV_LINK_ANYONE);
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, 1)->secret);
    assert_int_equal(strlen(f->secret), TV_LINK_SECRET_CHARACTERS);
    assert_int_equal(post(f, "start", "", "{}"), 200);
    cJSON *root = answer_json(f);
    assert_string_equal(tv_json_get(root, "title")->valuestring, "a \"title\"");
    assert_true(cJSON_IsNull(tv_json_get(root, "annotator")));
    assert_true(cJSON_IsFalse(tv_json_get(root, "organiser")));
    cJSON_Delete(root);
}

static void stop(fixture *f) {
    tv_web_ranker_stop(&f->ranker);
    tv_session_close(&f->session);
}

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->dir = tv_test_dir();
    f->candidates = tv_format("%s/candidates.jsonl", f->dir);
    f->out = tv_format("%s/rankings.jsonl", f->dir);
    f->links = tv_format("%s.links", f->out);
    char *lines = tv_format("%s", "");
    for (int i = 0; i < ITEMS; i++) {
        char *more = tv_format(
            "%s{\"id\":\"q%d\",\"prompt\":[{\"role\":\"user\",\"content\":\"p\xff\\u0000\",\"n\":01}],"
            "\"responses\":[{\"id\":\"a\",\"text\":\"one\"},{\"id\":\"b\",\"text\":\"two\ttab\"},"
            "{\"id\":\"c\",\"text\":\"\"}]}\n",
            lines, i);
        free(lines);
        lines = more;
    }
    assert_ok(tv_write_file(f->candidates, lines, strlen(lines)));
    free(lines);
    start(f, 0);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    stop(f);
    tv_free_all(f->candidates, f->out, f->links);
    tv_test_dir_remove(&f->dir);
    free(f);
    return 0;
}

#endif
