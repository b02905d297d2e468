/* A folder with candidates, sessions over them, and what their file of rankings then holds. */
#ifndef TV_TESTS_SESSION_PLACE_H
#define TV_TESTS_SESSION_PLACE_H

#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "human/session.h"

enum { ITEMS = 40, THREADS = 4 };

typedef struct place {
    char *dir, *candidates, *out;
} place;

static void write_candidates(const char *path, uint64_t count) {
    tv_text text = {0};
    for (uint64_t i = 0; i < count; i++) {
        char line[512];
        int length =
            snprintf(line, sizeof line, "{\"id\":\"p%llu\",\"prompt\":\"question %llu\",\"responses\":[",
                     (unsigned long long)i, (unsigned long long)i);
        assert_ok(tv_text_append(&text, line, (uint64_t)length));
        uint64_t k = 2 + i % 10;
        for (uint64_t j = 0; j < k; j++) {
            length = snprintf(line, sizeof line,
                              "%s{\"id\":\"r%llu\",\"text\":\"answer %llu\",\"seed\":12345678901234567890}",
                              j ? "," : "", (unsigned long long)j, (unsigned long long)j);
            assert_ok(tv_text_append(&text, line, (uint64_t)length));
        }
        assert_ok(tv_text_append(&text, "]}\n", 3));
    }
    assert_ok(tv_write_file(path, text.data, text.size));
    tv_text_free(&text);
}

static int set_up(void **state) {
    place *p = calloc(1, sizeof *p);
    if (!p)
        return 1;
    p->dir = tv_test_dir();
    p->candidates = tv_format("%s/candidates.jsonl", p->dir);
    p->out = tv_format("%s/rankings.jsonl", p->dir);
    write_candidates(p->candidates, ITEMS);
    tv_log_set_level(TV_LOG_WARNING);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    place *p = *state;
    tv_test_dir_remove(&p->dir);
    tv_free_all(p->candidates, p->out, p);
    return 0;
}

static tv_session *open_session(const place *p, double overlap, double repeats) {
    tv_session *session = NULL;
    const tv_session_options options = {
        .candidates = p->candidates, .out = p->out, .seed = 1, .overlap = overlap, .repeats = repeats};
    assert_ok(tv_session_open(&options, &session));
    return session;
}

static tv_status judge_item(tv_session *session, const char *annotator, const tv_session_item *item) {
    uint8_t rank[TV_MAX_RESPONSES];
    for (uint32_t i = 0; i < item->k; i++)
        rank[i] = (uint8_t)i;
    return tv_session_judge(
        session, annotator,
        &(tv_session_judgment){.presentation = item->presentation, .rank = rank, .k = item->k});
}

/* Judges up to `limit` items; returns how many there were. */
static uint64_t judge_some(tv_session *session, const char *annotator, uint64_t limit) {
    tv_session_item item;
    bool done = false;
    uint64_t judged = 0;
    while (judged < limit) {
        assert_ok(tv_session_next(session, annotator, &item, &done));
        if (done)
            break;
        assert_ok(judge_item(session, annotator, &item));
        judged++;
    }
    return judged;
}

typedef struct counts {
    uint64_t lines, repeats, judged[ITEMS], by[ITEMS][THREADS];
} counts;

static counts count_file(const place *p) {
    counts c = {0};
    tv_rankings *rankings = NULL;
    const char *path = p->out;
    assert_ok(tv_rankings_read(&path, 1, &rankings));
    for (uint64_t i = 0; i < tv_rankings_count(rankings); i++) {
        const tv_ranking *ranking = tv_rankings_at(rankings, i);
        int item = atoi(ranking->item.id + 1);
        c.lines++;
        c.repeats += ranking->repeat;
        c.judged[item]++;
        if (!ranking->repeat)
            c.by[item][ranking->annotator[0] - 'A']++;
        assert_non_null(strstr(ranking->item.responses_json.data, "12345678901234567890"));
    }
    tv_rankings_destroy(&rankings);
    return c;
}

#endif
