/* The web ranker over plain sockets: what it refuses and with which code, and that its calls reach the
 * session.
 *
 * Seen to fail on purpose: without the look at Host, at Origin, at Sec-Fetch-Site, at the link, without the
 * limit of a body (test_refusals); listening on INADDR_ANY (test_loopback_only); a nonce drawn once
 * (test_page).
 */
#include "human/web_client.h"

#include <arpa/inet.h>
#include <math.h>
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

static void test_refusals(void **state) {
    fixture *f = *state;
    /* PORT and SECRET stand for the server's own. */
    static const struct {
        int code;
        const char *why, *request;
    } cases[] = {
        {200, "the page", "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"},
        {200, "the page by name", "GET / HTTP/1.1\r\nHost: LocalHost:PORT\r\n"},
        {200, "the page by IPv6", "GET / HTTP/1.1\r\nHost: [::1]:PORT\r\n"},
        {200, "a link from elsewhere to the page",
         "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nSec-Fetch-Site: cross-site\r\n"},
        {403, "another name", "GET / HTTP/1.1\r\nHost: rebound.example:PORT\r\n"},
        {403, "another name for a call",
         "POST /api/start HTTP/1.1\r\nHost: rebound.example:PORT\r\nX-Trivium-Link: SECRET\r\n"},
        {403, "another port", "GET / HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"},
        {403, "no port", "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"},
        {403, "a name that begins like ours", "GET / HTTP/1.1\r\nHost: 127.0.0.1:PORT.example\r\n"},
        {403, "no name", "GET / HTTP/1.0\r\n"},
        {404, "another path", "GET /rankings.jsonl HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"},
        {404, "a path upwards", "GET /../../etc/passwd HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"},
        {404, "an unknown call",
         "POST /api/judges HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"},
        {404, "a call below a call", "GET /api/x/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"},
        {405, "posting the page", "POST / HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 0\r\n"},
        {405, "getting an item",
         "GET /api/next HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"},
        {405, "asking what is allowed",
         "OPTIONS /api/next HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nOrigin: http://127.0.0.1:PORT\r\n"},
        {405, "getting the start", "GET /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n"},
        {403, "a call without a link",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\n"
         "Content-Length: 0\r\n"},
        {403, "a call with another link",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\n"
         "X-Trivium-Link: 0123456789abcdef0123456789abcdef\r\nContent-Length: 0\r\n"},
        {403, "a call with the beginning of the link",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Type: application/json\r\n"
         "X-Trivium-Link: \r\nContent-Length: 0\r\n"},
        {403, "another site's call",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"
         "Sec-Fetch-Site: cross-site\r\n"},
        {403, "another port's call",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"
         "Sec-Fetch-Site: same-site\r\n"},
        {403, "another site's origin",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"
         "Origin: http://rebound.example\r\n"},
        {403, "no site's origin",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\nOrigin: null\r\n"},
        {400, "our own origin, and an empty body",
         "POST /api/start HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"
         "Origin: http://127.0.0.1:PORT\r\nSec-Fetch-Site: same-origin\r\n"
         "Content-Type: application/json\r\nContent-Length: 0\r\n"},
        {413, "a body that is announced too large",
         "POST /api/next HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nX-Trivium-Link: SECRET\r\n"
         "Content-Type: application/json\r\nContent-Length: 9000000000\r\n"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char text[1024];
        uint64_t size = 0;
        for (const char *at = cases[i].request; *at; at++)
            if (strncmp(at, "PORT", 4) == 0 || strncmp(at, "SECRET", 6) == 0) {
                size += (uint64_t)(*at == 'P' ? snprintf(text + size, 64, "%u", f->port)
                                              : snprintf(text + size, 64, "%s", f->secret));
                at += *at == 'P' ? 3 : 5;
            } else {
                text[size++] = *at;
            }
        size += (uint64_t)snprintf(text + size, 64, "Connection: close\r\n\r\n");
        int code = send_bytes(f, text, size);
        if (code != cases[i].code)
            fail_msg("%s: expected %d, found %d: %.200s", cases[i].why, cases[i].code, code, f->answer);
        if (code == 405)
            assert_non_null(strstr(f->answer, "Allow: "));
        if (code != 200)
            assert_non_null(strstr(f->answer, "{\"error\":\""));
        /* Nothing lets another site's script read an answer. */
        assert_null(strstr(f->answer, "Access-Control-Allow-Origin"));
    }
}

static void test_posts(void **state) {
    fixture *f = *state;
    const char *kim = "{\"annotator\":\"kim\"}";
    assert_int_equal(post(f, "next", "", kim), 200);
    assert_int_equal(post(f, "next", "Origin: http://rebound.example\r\n", kim), 403);
    assert_int_equal(post(f, "next", "Sec-Fetch-Site: cross-site\r\n", kim), 403);
    assert_int_equal(post(f, "next", "", "{\"annotator\":"), 400);
    assert_int_equal(post(f, "next", "", "{}"), 400);
    assert_int_equal(post(f, "next", "", "[]"), 400);
    assert_int_equal(post(f, "next", "", ""), 400);
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"\"}"), 400);
    assert_int_equal(post(f, "next", "", "{\"annotator\":7}"), 400);
    f->secret[3] = f->secret[3] == 'a' ? 'b' : 'a';
    assert_int_equal(post(f, "next", "", kim), 403);
    assert_non_null(strstr(f->answer, "secret of a link"));
    char *plain =
        tv_format("POST /api/next HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\nContent-Type: "
                  "application/json\r\nContent-Length: 19\r\n\r\n%s",
                  f->port, kim);
    assert_int_equal(send_text(f, plain), 403);
    free(plain);
}

static void test_bodies(void **state) {
    fixture *f = *state;
    char *filled = malloc(TV_WEB_BODY_LIMIT + 1);
    memset(filled, ' ', TV_WEB_BODY_LIMIT);
    filled[TV_WEB_BODY_LIMIT] = '\0';
    static const char kim[] = "{\"annotator\":\"kim\"}";
    memcpy(filled, kim, sizeof kim - 1);
    assert_int_equal(post(f, "progress", "", filled), 200);
    char *larger = tv_format("%s ", filled);
    assert_int_equal(post(f, "progress", "", larger), 413);
    /* In chunks its size is not announced. */
    char *chunks = tv_format(
        "POST /api/progress HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\nContent-Type: "
        "application/json\r\nX-Trivium-Link: %s\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n",
        f->port, f->secret, TV_WEB_BODY_LIMIT + 1, larger);
    assert_int_equal(send_text(f, chunks), 413);
    /* A form of another site can send text, and no JSON. */
    char *form =
        tv_format("POST /api/progress HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\nContent-Type: "
                  "text/plain\r\nX-Trivium-Link: %s\r\nContent-Length: 19\r\n\r\n%s",
                  f->port, f->secret, kim);
    assert_int_equal(send_text(f, form), 415);
    tv_free_all(form, chunks, larger, filled);
}

static int judge(fixture *f, const char *annotator, double presentation, const char *rest) {
    char *body = tv_format("{\"annotator\":\"%s\",\"presentation\":%.0f%s}", annotator, presentation, rest);
    int code = post(f, "judge", "", body);
    free(body);
    return code;
}

static uint64_t lines_of(const char *path) {
    char *text = NULL;
    uint64_t count = 0;
    assert_ok(tv_read_file(path, &text, NULL));
    for (const char *at = text; *at; at++)
        count += *at == '\n';
    free(text);
    return count;
}

/* The item of the last answer; *id belongs to the caller. */
static double shown(const fixture *f, char **id) {
    cJSON *root = answer_json(f);
    const cJSON *item = tv_json_get(root, "item");
    double presentation = cJSON_IsNull(item) ? -1 : tv_json_get(item, "presentation")->valuedouble;
    *id = cJSON_IsNull(item) ? NULL : tv_format("%s", tv_json_get(item, "id")->valuestring);
    cJSON_Delete(root);
    return presentation;
}

static void test_judging(void **state) {
    fixture *f = *state;
    char *kim = NULL, *lee = NULL, *again = NULL;
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"kim\"}"), 200);
    double of_kim = shown(f, &kim);
    /* Nothing tells whose answer is which; the text passes as JSON that a browser takes. */
    assert_null(strstr(f->answer, "\"a\""));
    assert_non_null(strstr(f->answer, "two\\u0009tab"));
    assert_non_null(strstr(f->answer, "{\"role\":\"user\",\"content\":\"p\xff\\u0000\"}]"));
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"lee\"}"), 200);
    double of_lee = shown(f, &lee);
    assert_string_not_equal(kim, lee);

    static const char *const wrong[] = {
        "",
        ",\"ranking\":[[0],[1]]",
        ",\"ranking\":[[0],[1],[1]]",
        ",\"ranking\":[[0],[1],[3]]",
        ",\"ranking\":[[0],[1],[2],[3]]",
        ",\"ranking\":[[0],[1],[0.5]]",
        ",\"ranking\":[0,1,2]",
        ",\"ranking\":\"0>1>2\"",
        ",\"ranking\":[]",
        ",\"ranking\":[[0],[1],[2]],\"confidence\":6",
        ",\"ranking\":[[0],[1],[2]],\"comment\":7",
    };
    for (size_t i = 0; i < TV_COUNT(wrong); i++) {
        int code = judge(f, "kim", of_kim, wrong[i]);
        if (code != 400 && code != 409)
            fail_msg("%s: expected a refusal, found %d", wrong[i], code);
    }
    assert_int_equal(judge(f, "kim", of_lee, ",\"ranking\":[[0],[1],[2]]"), 409);
    assert_int_equal(judge(f, "kim", 12345, ",\"ranking\":[[0],[1],[2]]"), 409);
    assert_int_equal(lines_of(f->out), 0);

    assert_int_equal(judge(f, "kim", of_kim, ",\"ranking\":[[2],[0,1]],\"confidence\":4,\"comment\":\"c\""),
                     200);
    assert_int_equal(lines_of(f->out), 1);
    assert_int_equal(judge(f, "kim", of_kim, ",\"ranking\":[[2],[0,1]]"), 409);
    assert_non_null(strstr(f->answer, "already"));
    assert_int_equal(lines_of(f->out), 1);
    assert_int_equal(post(f, "undo", "", "{\"annotator\":\"kim\"}"), 200);
    assert_true(shown(f, &again) == of_kim);
    assert_int_equal(lines_of(f->out), 0);
    assert_int_equal(post(f, "undo", "", "{\"annotator\":\"kim\"}"), 409);
    assert_int_equal(judge(f, "kim", of_kim, ",\"ranking\":null"), 200);
    assert_int_equal(judge(f, "lee", of_lee, ",\"ranking\":null,\"all_bad\":true"), 200);
    assert_int_equal(post(f, "release", "", "{\"annotator\":\"kim\"}"), 200);
    assert_int_equal(post(f, "progress", "", "{\"annotator\":\"lee\"}"), 200);
    assert_non_null(strstr(f->answer, "{\"progress\":{\"done\":1,\"total\":2,\"before_others\":0}}"));
    assert_int_equal(lines_of(f->out), 2);
    tv_free_all(kim, lee, again);
}

static void test_page(void **state) {
    fixture *f = *state;
    char *request = tv_format("GET / HTTP/1.1\r\nHost: 127.0.0.1:%u\r\nConnection: close\r\n\r\n", f->port);
    char nonces[2][33];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(send_text(f, request), 200);
        const char *policy =
            strstr(f->answer, "Content-Security-Policy: default-src 'none'; script-src 'nonce-");
        assert_non_null(policy);
        assert_int_equal(sscanf(strstr(policy, "nonce-"), "nonce-%32[0-9a-f]'", nonces[i]), 1);
        assert_null(strstr(f->answer, "unsafe-inline"));
        /* Every script and style carries it, and nothing is left of the marks of the build. */
        uint64_t elements = 0;
        for (const char *at = f->answer; (at = strstr(at, "<s")); at++) {
            if (strncmp(at, "<script", 7) != 0 && strncmp(at, "<style", 6) != 0)
                continue;
            const char *nonce = strstr(at, "nonce=\"");
            assert_non_null(nonce);
            assert_memory_equal(nonce + 7, nonces[i], 32);
            elements++;
        }
        assert_true(elements >= 2);
        assert_null(strstr(f->answer, "@nonce@"));
        assert_null(strstr(f->answer, "@include"));
        assert_null(strstr(f->answer, " src="));
        assert_null(strstr(f->answer, "innerHTML"));
        assert_null(strstr(f->answer, f->secret));
        assert_non_null(strstr(f->answer, "</html>"));
    }
    assert_string_not_equal(nonces[0], nonces[1]);
    free(request);
}

static void test_loopback_only(void **state) {
    fixture *f = *state;
    /* A server on every interface would hold this address too. */
    int handle = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(f->port)};
    assert_int_equal(inet_pton(AF_INET, "127.0.0.2", &address.sin_addr), 1);
    assert_int_equal(bind(handle, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(handle, 1), 0);
    close(handle);
}

static void test_restart(void **state) {
    fixture *f = *state;
    char *before = NULL, *after = NULL, old[64];
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"kim\"}"), 200);
    double presentation = shown(f, &before);
    tv_web_ranker *second = NULL;
    assert_fails(
        tv_web_ranker_start(&(tv_web_ranker_options){.session = f->session, .port = f->port}, &second),
        TV_E_USAGE, "another program");
    assert_null(second);
    snprintf(old, sizeof old, "%s", f->secret);
    stop(f);
    start(f, f->port);
    /* The links that people have hold for the next start. */
    assert_string_equal(old, f->secret);
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"kim\"}"), 200);
    assert_true(shown(f, &after) == presentation);
    assert_int_equal(judge(f, "kim", presentation, ",\"ranking\":[[0],[1],[2]]"), 200);
    free(before);
    free(after);
}

/* Whoever has no link gets nothing that changes or tells anything; whoever has one judges under its name. */
static void test_links(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"kim", "lee"};
    char *kim = NULL, *id = NULL;
    tv_web_ranker_stop(&f->ranker);
    const tv_web_ranker_options page = {
        .session = f->session, .title = "t", .links = f->links, .annotators = names, .annotator_count = 2};
    assert_ok(tv_web_ranker_start(&page, &f->ranker));
    f->port = tv_web_ranker_port(f->ranker);
    /* The link for anyone does not hold where people have their own. */
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"kim\"}"), 403);
    const tv_links *links = tv_web_ranker_links(f->ranker);
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, 1)->secret);
    assert_int_equal(post(f, "start", "", "{}"), 200);
    assert_non_null(strstr(f->answer, "\"annotator\":\"kim\""));
    assert_int_equal(post(f, "next", "", "{}"), 200);
    double presentation = shown(f, &kim);
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"lee\"}"), 403);
    assert_non_null(strstr(f->answer, "another annotator's"));
    assert_int_equal(judge(f, "lee", presentation, ",\"ranking\":[[0],[1],[2]]"), 403);
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, 2)->secret);
    assert_int_equal(judge(f, "kim", presentation, ",\"ranking\":[[0],[1],[2]]"), 403);
    assert_int_equal(post(f, "next", "", "{}"), 200);
    shown(f, &id);
    assert_string_not_equal(id, kim);
    /* The organiser follows and does not judge. */
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, 0)->secret);
    assert_int_equal(post(f, "next", "", "{\"annotator\":\"kim\"}"), 403);
    assert_int_equal(post(f, "start", "", "{}"), 200);
    assert_non_null(strstr(f->answer, "\"organiser\":true"));
    assert_int_equal(lines_of(f->out), 0);
    free(kim);
    free(id);
}

/* Who, how many, how fast, how far they agree. */
static void test_overview(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"kim", "lee", "max"};
    tv_web_ranker_stop(&f->ranker);
    tv_session_close(&f->session);
    const tv_session_options options = {
        .candidates = f->candidates, .out = f->out, .seed = 1, .overlap = 1, .away_seconds = 900};
    assert_ok(tv_session_open(&options, &f->session));
    const char rules[] = "# Rules\n<script>";
    const tv_web_ranker_options page = {.session = f->session,
                                        .title = "t",
                                        .links = f->links,
                                        .annotators = names,
                                        .annotator_count = 3,
                                        .guidelines = {rules, sizeof rules - 1}};
    assert_ok(tv_web_ranker_start(&page, &f->ranker));
    f->port = tv_web_ranker_port(f->ranker);
    const tv_links *links = tv_web_ranker_links(f->ranker);
    /* kim and lee rank all three: the first item alike, the second the other way round, the third skipped by
     * lee. An answer is known by its text, as positions differ. */
    for (int who = 1; who <= 2; who++) {
        snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, (uint64_t)who)->secret);
        assert_int_equal(post(f, "start", "", "{}"), 200);
        assert_non_null(strstr(f->answer, "{\"t\":\"h\",\"n\":1,\"c\":[\"Rules\"]},"
                                          "{\"t\":\"pre\",\"c\":[\"<script>\\u000a\"]}"));
        assert_int_equal(post(f, "next", "", "{}"), 200);
        for (int n = 0; n < ITEMS; n++) {
            cJSON *root = answer_json(f);
            const cJSON *item = tv_json_get(root, "item");
            assert_int_equal(cJSON_GetArraySize(tv_json_get(item, "trees")), 3);
            int item_number = tv_json_get(item, "id")->valuestring[1] - '0', place[3] = {0};
            for (int i = 0; i < 3; i++) {
                const char *text = cJSON_GetArrayItem(tv_json_get(item, "texts"), i)->valuestring;
                place[text[0] == 'o' ? 0 : text[0] == 't' ? 1 : 2] = i;
            }
            bool reversed = who == 2 && item_number == 1;
            char ranking[96];
            if (who == 2 && item_number == 2)
                snprintf(ranking, sizeof ranking, ",\"ranking\":null");
            else
                snprintf(ranking, sizeof ranking, ",\"t_shown\":%.0f,\"ranking\":[[%d],[%d],[%d]]",
                         tv_wall_seconds() - 40, place[reversed ? 2 : 0], place[1], place[reversed ? 0 : 2]);
            assert_int_equal(
                judge(f, names[who - 1], tv_json_get(item, "presentation")->valuedouble, ranking), 200);
            cJSON_Delete(root);
        }
    }
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, 3)->secret);
    assert_int_equal(post(f, "overview", "", "{}"), 403);
    assert_int_equal(post(f, "next", "", "{}"), 200);
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(links, 0)->secret);
    assert_int_equal(post(f, "overview", "", "{}"), 200);
    cJSON *root = answer_json(f);
    assert_int_equal(tv_json_get(root, "items")->valueint, ITEMS);
    assert_int_equal(tv_json_get(root, "judged_items")->valueint, ITEMS);
    assert_int_equal(tv_json_get(root, "judgments")->valueint, 6);
    assert_int_equal(tv_json_get(root, "shared_items")->valueint, 2);
    assert_true(fabs(tv_json_get(root, "agreement")->valuedouble - 0.5) <= 1e-3);
    const cJSON *pairs = tv_json_get(root, "pairs"), *people = tv_json_get(root, "people");
    assert_int_equal(cJSON_GetArraySize(pairs), 1);
    assert_int_equal(tv_json_get(pairs->child, "items")->valueint, 2);
    assert_int_equal(cJSON_GetArraySize(people), 3);
    static const struct {
        int judgments, skips;
        bool has_item;
    } expected[] = {{3, 0, false}, {3, 1, false}, {0, 0, true}};
    const cJSON *person = people->child;
    for (int i = 0; i < 3; i++, person = person->next) {
        assert_string_equal(tv_json_get(person, "name")->valuestring, names[i]);
        assert_int_equal(tv_json_get(person, "judgments")->valueint, expected[i].judgments);
        assert_int_equal(tv_json_get(person, "skips")->valueint, expected[i].skips);
        assert_int_equal(cJSON_IsTrue(tv_json_get(person, "has_item")), expected[i].has_item);
        assert_true(tv_json_get(person, "silent")->valuedouble < 60);
        if (i < 2)
            assert_true(fabs(tv_json_get(person, "seconds")->valuedouble - 41) <= 10);
        else
            assert_true(cJSON_IsNull(tv_json_get(person, "seconds")));
    }
    cJSON_Delete(root);
}

/* Connections that say nothing, or that dribble, keep nobody out. */
static void test_slow_connections(void **state) {
    fixture *f = *state;
    enum { SLOW = 300 };
    static const char begun[] = "POST /api/next HTTP/1.1\r\nHost:";
    int handles[SLOW];
    for (int i = 0; i < SLOW; i++) {
        handles[i] = connect_to(f->port);
        send(handles[i], begun, sizeof begun - 1, MSG_NOSIGNAL);
    }
    double begin = tv_seconds();
    for (int i = 0; i < 5; i++)
        assert_int_equal(post(f, "progress", "", "{\"annotator\":\"kim\"}"), 200);
    assert_true(tv_seconds() - begin < 9); /* a stranger's connection is closed after 10 s */
    for (int i = 0; i < SLOW; i++)
        close(handles[i]);
}

static void test_addresses(void **state) {
    fixture *f = *state;
    tv_web_ranker *other = NULL;
    static const char *const names[] = {"kim"};
    tv_web_ranker_options page = {
        .session = f->session, .title = "t", .annotators = names, .annotator_count = 1};
    static const char *const wrong[] = {
        "rank.example.org",      "ftp://rank.example.org/",  "https://",
        "https://a b/",          "https://kim@example.org/", "https://example.org/?x=1",
        "https://exa\"mple.org/"};
    for (size_t i = 0; i < TV_COUNT(wrong); i++) {
        page.url = wrong[i];
        assert_fails(tv_web_ranker_start(&page, &other), TV_E_USAGE, "expected the address");
    }
    page.url = NULL;
    static const char *const nowhere[] = {"localhost", "256.0.0.1", "192.0.2.1", ""};
    for (size_t i = 0; i < TV_COUNT(nowhere); i++) {
        page.listen = nowhere[i];
        assert_int_equal(tv_web_ranker_start(&page, &other), TV_E_USAGE);
    }
    page.listen = "0.0.0.0";
    assert_fails(tv_web_ranker_start(&page, &other), TV_E_USAGE, "every address");
    /* Behind a proxy: its name is an address of this server, its path stands before the page's. */
    page.url = "https://rank.example.org/team";
    assert_ok(tv_web_ranker_start(&page, &other));
    assert_string_equal(tv_web_ranker_url(other), "https://rank.example.org/team/");
    uint16_t own = f->port;
    f->port = tv_web_ranker_port(other);
    snprintf(f->secret, sizeof f->secret, "%s", tv_links_at(tv_web_ranker_links(other), 1)->secret);
    static const struct {
        int code;
        const char *host, *origin;
    } cases[] = {{200, "rank.example.org", "https://rank.example.org"},
                 {403, "rank.example.org", "http://rank.example.org"},
                 {403, "other.example.org", "https://rank.example.org"},
                 {403, "rank.example.org", "https://other.example.org"}};
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *text =
            tv_format("POST /api/start HTTP/1.1\r\nHost: %s\r\nOrigin: %s\r\nConnection: close\r\n"
                      "Content-Type: application/json\r\nX-Trivium-Link: %s\r\nContent-Length: 2\r\n\r\n{}",
                      cases[i].host, cases[i].origin, f->secret);
        assert_int_equal(send_text(f, text), cases[i].code);
        free(text);
    }
    f->port = own;
    tv_web_ranker_stop(&other);
    page.listen = "127.0.0.2";
    page.url = NULL;
    assert_ok(tv_web_ranker_start(&page, &other));
    tv_web_ranker_stop(&other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_posts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bodies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_judging, setup, teardown),
        cmocka_unit_test_setup_teardown(test_page, setup, teardown),
        cmocka_unit_test_setup_teardown(test_loopback_only, setup, teardown),
        cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links, setup, teardown),
        cmocka_unit_test_setup_teardown(test_overview, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slow_connections, setup, teardown),
        cmocka_unit_test_setup_teardown(test_addresses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
