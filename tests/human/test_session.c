/* Judging sessions: no item is lost or judged twice, whoever asks, however often the session is opened again.
 *
 * Tried: reservations dropped; the torn line kept; undo that forgets to hand its item out; shared items shown
 * to one annotator twice; the flipped order not flipped; answers never shuffled (the sample's order, or a
 * shuffle that leaves the first in its place). Each fails.
 */
#include "human/session_place.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"
#include "human/session.h"

static void one_annotator_judges_all_once(void **state) {
    const place *p = *state;
    uint64_t sum = 0;
    /* In pieces: each session goes on where the one before ended. */
    for (uint64_t piece = 0; piece < 8; piece++) {
        tv_session *session = open_session(p, 0.15, 0.05);
        uint64_t done, total;
        tv_session_progress(session, "A", &done, &total);
        assert_int_equal(done, sum);
        assert_int_equal(total, ITEMS + 2);
        sum += judge_some(session, "A", 6);
        tv_session_close(&session);
    }
    assert_int_equal(sum, ITEMS + 2); /* 5 % of 40 are repeated */
    counts c = count_file(p);
    assert_int_equal(c.lines, ITEMS + 2);
    assert_int_equal(c.repeats, 2);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(c.by[i][0], 1);
}

static void repeats_are_flipped(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0, 1);
    assert_int_equal(judge_some(session, "A", UINT64_MAX), 2 * ITEMS);
    tv_session_close(&session);
    tv_rankings *rankings = NULL;
    const char *path = p->out;
    assert_ok(tv_rankings_read(&path, 1, &rankings));
    uint64_t flipped = 0;
    for (uint64_t i = 0; i < tv_rankings_count(rankings); i++) {
        const tv_ranking *second = tv_rankings_at(rankings, i);
        for (uint64_t j = 0; second->repeat && j < i; j++) {
            const tv_ranking *first = tv_rankings_at(rankings, j);
            uint32_t k = first->item.count;
            if (strcmp(first->item.id, second->item.id) != 0)
                continue;
            for (uint32_t at = 0; at < k; at++)
                assert_int_equal(first->order[at], second->order[k - 1 - at]);
            flipped++;
        }
    }
    assert_int_equal(flipped, ITEMS);
    tv_rankings_destroy(&rankings);
}

static void two_at_once_get_different_items(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 1, 0);
    tv_session_item a, b, again;
    bool done;
    assert_ok(tv_session_next(session, "A", &a, &done));
    assert_ok(tv_session_next(session, "B", &b, &done));
    assert_string_not_equal(a.id, b.id);
    assert_ok(tv_session_next(session, "A", &again, &done));
    assert_string_equal(a.id, again.id);
    /* What another has before them cannot be judged, nor what was judged. */
    assert_int_equal(judge_item(session, "B", &a), TV_E_USAGE);
    assert_ok(judge_item(session, "A", &a));
    assert_fails(judge_item(session, "A", &a), TV_E_USAGE, "already");
    /* What is released goes to the next who asks. */
    tv_session_release(session, "B");
    assert_ok(tv_session_next(session, "A", &again, &done));
    assert_string_equal(again.id, b.id);
    tv_session_close(&session);
}

static void shares_are_drawn(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0.15, 0);
    assert_int_equal(judge_some(session, "A", 25), 25);
    assert_int_equal(judge_some(session, "B", UINT64_MAX) + judge_some(session, "A", UINT64_MAX),
                     ITEMS - 25 + 6);
    judge_some(session, "C", UINT64_MAX);
    judge_some(session, "D", UINT64_MAX);
    tv_session_close(&session);
    counts c = count_file(p);
    uint64_t shared = 0;
    for (int i = 0; i < ITEMS; i++) {
        assert_true(c.judged[i] == 1 || c.judged[i] == TV_SHARED_JUDGES);
        for (int who = 0; who < THREADS; who++)
            assert_true(c.by[i][who] <= 1);
        shared += c.judged[i] > 1;
    }
    assert_int_equal(shared, 6); /* 15 % of 40 */
}

typedef struct worker {
    tv_session *session;
    char name[2];
} worker;

static void work(void *context) {
    const worker *w = context;
    judge_some(w->session, w->name, UINT64_MAX);
}

static void threads_lose_nothing(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0.2, 0);
    worker workers[THREADS];
    tv_thread *threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        workers[i] = (worker){session, {(char)('A' + i), 0}};
        assert_ok(tv_thread_start(&threads[i], work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++)
        tv_thread_join(&threads[i]);
    /* What the others still had before them when one ended. */
    for (int i = 0; i < THREADS; i++)
        judge_some(session, workers[i].name, UINT64_MAX);
    tv_session_close(&session);
    counts c = count_file(p);
    for (int i = 0; i < ITEMS; i++) {
        assert_true(c.judged[i] == 1 || c.judged[i] == TV_SHARED_JUDGES);
        for (int who = 0; who < THREADS; who++)
            assert_true(c.by[i][who] <= 1);
    }
}

static void undo_takes_back_ones_own(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0, 0);
    tv_session_item item, undone;
    bool done;
    assert_int_equal(tv_session_undo(session, "A", &undone), TV_E_USAGE);
    assert_ok(tv_session_next(session, "A", &item, &done));
    assert_ok(judge_item(session, "A", &item));
    judge_some(session, "B", 2);
    assert_ok(tv_session_undo(session, "A", &undone));
    assert_string_equal(undone.id, item.id);
    assert_int_equal(undone.presentation, item.presentation);
    assert_int_equal(count_file(p).lines, 2);
    /* It is theirs again, and B's lines can be undone after the file has moved. */
    assert_ok(tv_session_next(session, "A", &item, &done));
    assert_string_equal(undone.id, item.id);
    assert_ok(tv_session_undo(session, "B", &undone));
    assert_string_equal(undone.id, "p2");
    assert_ok(judge_item(session, "A", &item));
    judge_some(session, "A", UINT64_MAX);
    judge_some(session, "B", UINT64_MAX);
    tv_session_close(&session);
    counts c = count_file(p);
    assert_int_equal(c.lines, ITEMS);
    for (int i = 0; i < ITEMS; i++)
        assert_int_equal(c.judged[i], 1);
}

/* A shared item that another has got before the judgment of it is undone is both's. */
static void undo_takes_nothing_from_others(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 1, 0);
    tv_session_item first, item, undone;
    bool done;
    assert_ok(tv_session_next(session, "A", &first, &done));
    assert_ok(judge_item(session, "A", &first));
    assert_ok(tv_session_next(session, "B", &item, &done));
    assert_string_equal(item.id, first.id);
    assert_ok(tv_session_undo(session, "A", &undone));
    assert_string_equal(undone.id, first.id);
    assert_ok(judge_item(session, "B", &item));
    assert_ok(judge_item(session, "A", &undone));
    tv_session_close(&session);
    counts c = count_file(p);
    assert_int_equal(c.lines, 2);
    assert_int_equal(c.judged[0], 2);
}

static void torn_lines_are_cut_off(void **state) {
    const place *p = *state;
    char *bytes = NULL;
    uint64_t size;
    tv_session *session = open_session(p, 0, 0);
    judge_some(session, "A", 3);
    tv_session_close(&session);
    assert_ok(tv_read_file(p->out, &bytes, &size));
    uint64_t last = size - 1;
    while (bytes[last - 1] != '\n')
        last--;
    for (uint64_t kept = last; kept <= size; kept += kept + 40 < size ? 37 : 1) {
        assert_ok(tv_write_file(p->out, bytes, kept));
        session = open_session(p, 0, 0);
        uint64_t judged;
        tv_session_totals(session, &judged, NULL, NULL);
        assert_int_equal(judged, kept + 1 >= size ? 3 : 2);
        assert_int_equal(judge_some(session, "A", UINT64_MAX), ITEMS - judged);
        tv_session_close(&session);
        counts c = count_file(p);
        for (int i = 0; i < ITEMS; i++)
            assert_int_equal(c.judged[i], 1);
    }
    free(bytes);
}

/* What another program did to the file is noticed before a judgment is acknowledged, and those before it are
 * saved. */
static void a_replaced_file_is_noticed(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0, 0);
    tv_session_item item;
    bool done;
    char *other = tv_format("%s/other.jsonl", p->dir), *rescued = NULL, *before = NULL, *after = NULL;
    judge_some(session, "A", 3);
    assert_ok(tv_read_file(p->out, &before, NULL));
    /* A copy in its place: what was judged is in it, what will be is not. */
    assert_ok(tv_write_file(other, before, strlen(before)));
    assert_int_equal(rename(other, p->out), 0);
    assert_ok(tv_session_next(session, "A", &item, &done));
    assert_int_equal(judge_item(session, "A", &item), TV_E_IO);
    const char *name = strstr(tv_last_error(), "saved as ");
    assert_non_null(strstr(tv_last_error(), "rankings.jsonl was replaced by another program"));
    assert_non_null(name);
    rescued = tv_format("%.*s", (int)strcspn(name + 9, ":"), name + 9);
    assert_ok(tv_read_file(rescued, &after, NULL));
    assert_string_equal(before, after);
    assert_int_equal(judge_item(session, "A", &item), TV_E_IO);
    assert_int_equal(tv_session_undo(session, "A", &item), TV_E_IO);
    tv_session_close(&session);
    assert_int_equal(count_file(p).lines, 3);
    /* Removed, and found at the end alone. */
    session = open_session(p, 0, 0);
    assert_ok(tv_session_check(session));
    assert_int_equal(remove(p->out), 0);
    assert_fails(tv_session_check(session), TV_E_IO, "was removed by another program");
    tv_session_close(&session);
    /* Cut or added to where it is. */
    assert_ok(tv_write_file(p->out, before, strlen(before)));
    session = open_session(p, 0, 0);
    FILE *file = fopen(p->out, "a");
    assert_non_null(file);
    fputs("\n", file);
    fclose(file);
    assert_ok(tv_session_next(session, "A", &item, &done));
    assert_fails(judge_item(session, "A", &item), TV_E_IO, "was changed by another program");
    tv_session_close(&session);
    assert_int_equal(count_file(p).lines, 3);
    tv_free_all(other, rescued, before, after);
}

static void undo_keeps_mode_and_link(void **state) {
    const place *p = *state;
    char *kept = tv_format("%s/kept.jsonl", p->dir);
    struct stat info;
    tv_session_item item;
    assert_ok(tv_write_file(kept, "", 0));
    assert_int_equal(chmod(kept, 0600), 0);
    assert_int_equal(symlink("kept.jsonl", p->out), 0);
    tv_session *session = open_session(p, 0, 0);
    judge_some(session, "A", 3);
    assert_ok(tv_session_undo(session, "A", &item));
    judge_some(session, "A", 1);
    tv_session_close(&session);
    assert_int_equal(lstat(p->out, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_int_equal(lstat(kept, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_int_equal(count_file(p).lines, 3);
    free(kept);
}

typedef struct judgments {
    uint64_t count, last_line;
    char last_id[16];
} judgments;

static tv_status look(void *context, const tv_rankings *rankings) {
    judgments *seen = context;
    seen->count = tv_rankings_count(rankings);
    const tv_ranking *last = seen->count ? tv_rankings_at(rankings, seen->count - 1) : NULL;
    seen->last_line = last ? last->line : 0;
    snprintf(seen->last_id, sizeof seen->last_id, "%s", last ? last->item.id : "");
    return TV_OK;
}

/* What was read is not read again: not even when it can no more be read. After an undo it is. */
static void judgments_are_read_once(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 1, 0);
    judgments seen;
    tv_session_item item;
    bool done;
    assert_ok(tv_session_rankings(session, look, &seen));
    assert_int_equal(seen.count, 0);
    assert_int_equal(judge_some(session, "A", 3), 3);
    assert_ok(tv_session_rankings(session, look, &seen));
    assert_int_equal(seen.count, 3);
    assert_int_equal(judge_some(session, "B", 1), 1);
    assert_ok(tv_session_next(session, "B", &item, &done));
    assert_ok(judge_item(session, "B", &item));
    int descriptor = open(p->out, O_WRONLY);
    assert_true(descriptor >= 0);
    assert_int_equal(pwrite(descriptor, "?", 1, 0), 1);
    assert_ok(tv_session_rankings(session, look, &seen));
    assert_int_equal(seen.count, 5);
    assert_int_equal(seen.last_line, 5);
    assert_string_equal(seen.last_id, item.id);
    assert_int_equal(pwrite(descriptor, "{", 1, 0), 1);
    close(descriptor);
    assert_ok(tv_session_undo(session, "A", &item));
    assert_ok(tv_session_rankings(session, look, &seen));
    assert_int_equal(seen.count, 4);
    assert_int_equal(seen.last_line, 4);
    tv_session_close(&session);
}

/* What is no file of judgments is said and left as it is: cut to its last newline, an archive would be empty.
 */
static void other_forms_are_left_alone(void **state) {
    const place *p = *state;
    static const struct {
        const char *bytes, *found;
    } cases[] = {
        {"\x1f\x8b\x08 packed", "gzip data"},
        {"\xff\xfe{\n", "UTF-16 text"},
        {"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"},
        {"\xef\xbb\xbf\n[{\"id\": 1}]", "a JSON array"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_session *session = NULL;
        char *after = NULL;
        assert_ok(tv_write_file(p->out, cases[i].bytes, strlen(cases[i].bytes)));
        const tv_session_options options = {.candidates = p->candidates, .out = p->out};
        assert_int_equal(tv_session_open(&options, &session), TV_E_DATA);
        if (!strstr(tv_last_error(), cases[i].found) || !strstr(tv_last_error(), p->out))
            fail_msg("\"%s\" lacks \"%s\" or the path", tv_last_error(), cases[i].found);
        assert_ok(tv_read_file(p->out, &after, NULL));
        assert_string_equal(after, cases[i].bytes);
        free(after);
    }
    assert_ok(tv_remove_tree(p->out));
}

static void others_are_refused(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0, 0), *second = NULL;
    const tv_session_options options = {.candidates = p->candidates, .out = p->out};
    assert_fails(tv_session_open(&options, &second), TV_E_IO, "another process");
    judge_some(session, "A", 5);
    tv_session_close(&session);
    /* Judgments of other answers under the same ids. */
    char *bytes = NULL, *changed = tv_format("%s/changed.jsonl", p->dir), *answer;
    assert_ok(tv_read_file(p->candidates, &bytes, NULL));
    answer = strstr(bytes, "answer 0");
    answer[0] = 'A';
    assert_ok(tv_write_file(changed, bytes, strlen(bytes)));
    const tv_session_options other = {.candidates = changed, .out = p->out};
    assert_fails(tv_session_open(&other, &second), TV_E_DATA,
                 "rankings.jsonl line 1: item \"p0\" has other answers");
    free(bytes);
    free(changed);
}

static void wrong_judgments_are_refused(void **state) {
    const place *p = *state;
    tv_session *session = open_session(p, 0, 0);
    tv_session_item item;
    bool done;
    assert_ok(tv_session_next(session, "A", &item, &done));
    uint8_t rank[TV_MAX_RESPONSES] = {0, 2};
    tv_session_judgment judgment = {.presentation = item.presentation, .rank = rank, .k = 3};
    assert_fails(tv_session_judge(session, "A", &judgment), TV_E_USAGE,
                 "has 2 answers, found a ranking of 3");
    judgment.k = 2;
    assert_int_equal(tv_session_judge(session, "A", &judgment), TV_E_USAGE);
    rank[1] = 1;
    judgment.presentation ^= UINT64_C(1) << 40;
    assert_int_equal(tv_session_judge(session, "A", &judgment), TV_E_USAGE);
    judgment.presentation = UINT64_C(1) << 20;
    assert_int_equal(tv_session_judge(session, "A", &judgment), TV_E_USAGE);
    judgment.presentation = item.presentation;
    assert_int_equal(tv_session_judge(session, "", &judgment), TV_E_USAGE);
    assert_int_equal(count_file(p).lines, 0);
    judgment.comment = "caf\xc3\xa9 \"\x01";
    judgment.confidence = 4;
    assert_ok(tv_session_judge(session, "A", &judgment));
    tv_session_close(&session);
    tv_rankings *rankings = NULL;
    const char *path = p->out;
    assert_ok(tv_rankings_read(&path, 1, &rankings));
    assert_string_equal(tv_rankings_at(rankings, 0)->comment, judgment.comment);
    assert_int_equal(tv_rankings_at(rankings, 0)->confidence, 4);
    /* The one that stood first is best. */
    assert_int_equal(tv_rankings_at(rankings, 0)->rank[item.order[0]], 0);
    tv_rankings_destroy(&rankings);
}

/* Who sees what where, over many annotators: each answer as often at each position as the others, within five
 * standard deviations of a fair draw. */
static void orders_are_shuffled(void **state) {
    const place *p = *state;
    enum { PEOPLE = 60, MOST = 11 };
    uint64_t seen[MOST + 1][MOST][MOST] = {{{0}}}, shown[MOST + 1] = {0}, same_for_two = 0;
    tv_session *session = open_session(p, 1, 0);
    tv_session_item item;
    uint64_t before[ITEMS] = {0};
    for (int who = 0; who < PEOPLE; who++) {
        char name[16];
        bool done = false;
        snprintf(name, sizeof name, "person %d", who);
        for (int i = 0; i < ITEMS; i++) {
            assert_ok(tv_session_reserve(session, name, &item, &done));
            assert_false(done);
            shown[item.k]++;
            for (uint32_t at = 0; at < item.k; at++)
                seen[item.k][at][item.order[at]]++;
            same_for_two += before[i] == item.presentation;
            before[i] = item.presentation;
        }
        tv_session_release(session, name);
    }
    for (uint32_t k = 2; k <= MOST; k++) {
        assert_true(shown[k] >= 4 * PEOPLE);
        double n = (double)shown[k], share = 1.0 / k, deviation = sqrt(n * share * (1 - share));
        for (uint32_t at = 0; at < k; at++)
            for (uint32_t answer = 0; answer < k; answer++)
                if (!(fabs((double)seen[k][at][answer] - n * share) <= 5 * deviation))
                    fail_msg("of %g showings with %u answers, answer %u stood at position %u in %llu", n, k,
                             answer, at, (unsigned long long)seen[k][at][answer]);
    }
    /* Two who follow each other see another order, but for a fair draw's share (half of those with 2
     * answers). */
    assert_true(same_for_two < ITEMS * PEOPLE / 5);
    tv_session_close(&session);
}

static double now;

static double clock_of_the_test(void) {
    return now;
}

static tv_session *open_with_patience(const place *p, double seconds) {
    tv_session *session = NULL;
    const tv_session_options options = {.candidates = p->candidates,
                                        .out = p->out,
                                        .seed = 1,
                                        .away_seconds = seconds,
                                        .clock = clock_of_the_test};
    assert_ok(tv_session_open(&options, &session));
    return session;
}

/* An item that somebody left open goes to others when they have nothing else, and not before. */
static void what_was_left_open_comes_back(void **state) {
    const place *p = *state;
    tv_session *session = open_with_patience(p, 900);
    tv_session_item left, item;
    bool done, kept;
    uint64_t judged, total;
    assert_ok(tv_session_next(session, "A", &left, &done));
    now += 901;
    /* A is away, but there is enough else. */
    assert_int_equal(judge_some(session, "B", ITEMS - 2), ITEMS - 2);
    assert_ok(tv_session_here(session, "A", left.presentation, &kept));
    assert_true(kept);
    assert_int_equal(judge_some(session, "B", UINT64_MAX), 1);
    assert_int_equal(tv_session_before_others(session, "B"), 1);
    tv_session_progress(session, "B", &judged, &total);
    assert_int_equal(total, ITEMS - 1);
    now += 901;
    assert_int_equal(tv_session_before_others(session, "B"), 0);
    tv_session_progress(session, "B", &judged, &total);
    assert_int_equal(total, ITEMS);
    assert_ok(tv_session_next(session, "B", &item, &done));
    assert_false(done);
    assert_string_equal(item.id, left.id);
    /* The one who left is told, by asking and by judging. */
    assert_ok(tv_session_here(session, "A", left.presentation, &kept));
    assert_false(kept);
    assert_fails(judge_item(session, "A", &left), TV_E_USAGE, "while A was silent");
    /* B gives it back unjudged: A's is taken after all. */
    tv_session_release(session, "B");
    assert_ok(judge_item(session, "A", &left));
    tv_session_close(&session);
    counts c = count_file(p);
    assert_int_equal(c.lines, ITEMS);
}

/* Names cost nothing, so they must not take anything from others. */
static void invented_names_lock_nobody_out(void **state) {
    const place *p = *state;
    tv_session *session = open_with_patience(p, 900);
    tv_session_item item;
    bool done;
    judge_some(session, "A", 2);
    for (int i = 0; i < 2 * TV_MAX_ANNOTATORS; i++) {
        char name[32];
        snprintf(name, sizeof name, "nobody %d", i);
        assert_ok(tv_session_next(session, name, &item, &done));
    }
    assert_ok(tv_session_next(session, "B", &item, &done));
    now += 901;
    assert_int_equal(judge_some(session, "B", UINT64_MAX), ITEMS - 2);
    tv_session_close(&session);
    counts c = count_file(p);
    assert_int_equal(c.lines, ITEMS);
    assert_int_equal(c.by[0][0] + c.by[1][0], 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_annotator_judges_all_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(repeats_are_flipped, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_at_once_get_different_items, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shares_are_drawn, set_up, tear_down),
        cmocka_unit_test_setup_teardown(threads_lose_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(undo_takes_back_ones_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(undo_takes_nothing_from_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(torn_lines_are_cut_off, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_replaced_file_is_noticed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(undo_keeps_mode_and_link, set_up, tear_down),
        cmocka_unit_test_setup_teardown(judgments_are_read_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_forms_are_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(others_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_judgments_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(orders_are_shuffled, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_was_left_open_comes_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(invented_names_lock_nobody_out, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
