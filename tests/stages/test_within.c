/* stages/ppo/within: how far an iteration is comes back as it was written, what fits no iteration of the run
 * is refused, and updates stop and go on at their places.
 *
 * Tried on 2026-11-29, each fails: no look at the epoch, or at the minibatch; the place kept of an iteration
 * that has no further update; a list of any length; an epoch laid out once for both halves; a stop that
 * drains nothing.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "stages/policy/within.h"

enum { S = 6, T = 4, VOCAB = 9, EPOCHS = 3, MINIBATCH = 4, STATS = 3 };

static uint32_t prompt_ids[] = {7, 8};
static tv_prompt items[] = {{.ids = prompt_ids, .length = 2}};
static const tv_prompts prompts = {.items = items, .count = 1};
static const tv_stage stage = {.name = "grpo"};
static const tv_parameter_list list = {.config = {.vocab_size = VOCAB}};
static const tv_run_options options = {0};

typedef struct fixture {
    tv_run run;
    tv_policy_rewards *scorers;
    tv_policy_rollout rollout;
    double loss, stats[STATS];
    tv_policy_within within;
    /* of the updates */
    double seconds;
    char told[256];
} fixture;

static fixture *make(void) {
    static const tv_policy_sources none = {0};
    const tv_policy_rewards_options scoring = {.sources = &none, .sequences = S};
    static const uint32_t answer[] = {7, 8, 3};
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->run = (tv_run){.stage = &stage, .list = &list, .options = &options};
    assert_ok(tv_policy_rewards_open(&scoring, &f->scorers));
    assert_ok(tv_policy_rollout_create(S, T, &f->rollout));
    for (uint64_t s = 0; s < S; s++)
        tv_policy_rollout_set(&f->rollout, s, answer, 3, 2, true);
    f->within = (tv_policy_within){.run = &f->run,
                                   .scorers = f->scorers,
                                   .prompts = &prompts,
                                   .rollout = &f->rollout,
                                   .epochs = EPOCHS,
                                   .minibatch = MINIBATCH};
    tv_policy_within_add(&f->within, "loss", &f->loss, 1);
    tv_policy_within_add(&f->within, "stats", f->stats, STATS);
    return f;
}

static void drop(fixture *f) {
    tv_policy_rewards_close(&f->scorers);
    tv_policy_rollout_free(&f->rollout);
    free(f);
}

static char *folder(void) {
    char *dir = tv_test_dir(), *inside = tv_format("%s/training_state", dir);
    assert_ok(tv_make_dirs(inside));
    free(inside);
    return dir;
}

static void write_state(const fixture *f, const char *dir) {
    char *path = tv_format("%s/state.json", dir);
    cJSON *root = cJSON_CreateObject();
    assert_ok(tv_policy_within_write(&f->within, root, dir));
    assert_ok(tv_json_write_file(path, root));
    cJSON_Delete(root);
    free(path);
}

static void it_comes_back_as_it_was(void **state) {
    (void)state;
    char *dir = folder();
    for (int updated = 0; updated < 2; updated++) {
        fixture *f = make(), *back = make();
        f->within.epoch = 2;
        f->within.first = MINIBATCH;
        f->within.updated = updated;
        f->loss = 1.0 / 3;
        f->stats[0] = -1e-300;
        f->stats[1] = INFINITY; /* no number of JSON */
        f->stats[2] = 0.1;
        write_state(f, dir);
        assert_ok(tv_policy_within_read(&back->within, dir, "state.json"));
        assert_true(back->within.taken_up);
        assert_int_equal(back->within.updated, updated);
        assert_int_equal(back->within.epoch, updated ? 0 : 2);
        assert_int_equal(back->within.first, updated ? 0 : MINIBATCH);
        assert_true(back->loss == f->loss && back->stats[0] == f->stats[0] && isnan(back->stats[1]) &&
                    back->stats[2] == f->stats[2]);
        drop(f);
        drop(back);
    }
    tv_test_dir_remove(&dir);
}

static void what_fits_no_iteration_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{}", "expected \"within\""},
        {"{\"within\": 3}", "expected \"within\""},
        {"{\"within\": {}}", "grpo.minibatch as they are"},
        {"{\"within\": {\"epoch\": 3, \"first\": 0}}", "epoch"},
        {"{\"within\": {\"epoch\": -1, \"first\": 0}}", "epoch"},
        {"{\"within\": {\"epoch\": 0, \"first\": 6}}", "first"},
        {"{\"within\": {\"epoch\": 0, \"first\": 3}}", "grpo.minibatch as they are"},
        {"{\"within\": {\"epoch\": 0, \"first\": 4, \"loss\": \"1\"}}", "loss"},
        {"{\"within\": {\"epoch\": 0, \"first\": 4, \"loss\": 1, \"stats\": [1, 2]}}", "expected 3 numbers"},
        {"{\"within\": {\"updated\": true, \"stats\": [1, 2, 3, 4]}}", "expected 3 numbers"},
        {"{\"within\": {\"updated\": true, \"stats\": 5}}", "expected 3 numbers"},
    };
    char *dir = folder(), *path = tv_format("%s/state.json", dir);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        fixture *f = make();
        write_state(f, dir);
        assert_ok(tv_write_file(path, cases[i].text, strlen(cases[i].text)));
        tv_status status = tv_policy_within_read(&f->within, dir, "state.json");
        if (status != TV_E_DATA || !strstr(tv_last_error(), cases[i].words) ||
            !strstr(tv_last_error(), "move checkpoints/within away"))
            fail_msg("%s: \"%s\"", cases[i].text, tv_last_error());
        assert_false(f->within.taken_up);
        drop(f);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

/* ---- updates ---- */

static void tell(fixture *f, const char *what, uint64_t number) {
    const size_t length = strlen(f->told);
    snprintf(f->told + length, sizeof f->told - length, "%s%d ", what, (int)number);
}

static tv_status order(void *context, uint64_t epoch) {
    tell(context, "e", epoch);
    return TV_OK;
}

static tv_status update(void *context, const struct tv_step_constants *constants, uint64_t first) {
    fixture *f = context;
    (void)constants;
    assert_int_equal(f->within.models, TV_POLICY_IN_FLIGHT);
    tell(f, "u", first);
    return TV_OK;
}

static tv_status drain(void *context) {
    tell(context, "d", 0);
    return TV_OK;
}

static tv_status enough_after_two(void *context, bool *enough) {
    const fixture *f = context;
    *enough = f->within.epoch == 1;
    return TV_OK;
}

static void expect_updates(fixture *f, const char *look, bool early, tv_status expected, const char *told) {
    const tv_policy_updates updates = {.count = S,
                                       .order = order,
                                       .update = update,
                                       .drain = drain,
                                       .enough = early ? enough_after_two : NULL,
                                       .context = f,
                                       .seconds = &f->seconds};
    f->told[0] = '\0';
    f->run.interrupted = false;
    f->run.interrupt_looks = 0;
    assert_int_equal(setenv("TRIVIUM_INJECT_INTERRUPT", look, 1), 0);
    assert_int_equal(tv_policy_within_update(&f->within, &updates), expected);
    unsetenv("TRIVIUM_INJECT_INTERRUPT");
    assert_string_equal(f->told, told);
    assert_int_equal(f->within.models, TV_POLICY_SETTLED);
    assert_int_equal(f->within.updated, expected == TV_OK);
}

static void updates_stop_and_go_on_at_their_places(void **state) {
    (void)state;
    fixture *f = make();
    expect_updates(f, "0", false, TV_OK, "e0 u0 u4 e1 u0 u4 e2 u0 u4 d0 ");
    /* There is no further one. */
    expect_updates(f, "0", false, TV_OK, "d0 ");
    tv_policy_within_restart(&f->within);
    assert_int_equal(f->within.models, TV_POLICY_UNTOUCHED);
    expect_updates(f, "1", false, TV_E_INTERRUPTED, "e0 d0 ");
    expect_updates(f, "2", false, TV_E_INTERRUPTED, "e0 u0 d0 ");
    expect_updates(f, "2", false, TV_E_INTERRUPTED, "e0 u4 e1 d0 ");
    expect_updates(f, "0", true, TV_OK, "e1 u0 u4 d0 ");
    expect_updates(f, "0", true, TV_OK, "d0 ");
    drop(f);
}

/* A fault of a stage that has more to sum up than there is room for. */
static void more_sums_than_there_is_room_for_are_refused(void **state) {
    (void)state;
    char *dir = folder();
    fixture *f = make();
    write_state(f, dir);
    const tv_policy_updates updates = {.count = S, .context = f, .seconds = &f->seconds};
    cJSON *root = cJSON_CreateObject();
    while (f->within.sum_count < TV_POLICY_MOST_SUMS)
        tv_policy_within_add(&f->within, "further", &f->loss, 1);
    assert_ok(tv_policy_within_write(&f->within, root, dir));
    const tv_policy_within full = f->within;
    tv_policy_within_add(&f->within, "one more", &f->loss, 1);
    assert_memory_equal(f->within.sums, full.sums, sizeof full.sums);
    assert_int_equal(f->within.models, full.models); /* what stands behind the sums */
    assert_fails(tv_policy_within_write(&f->within, root, dir), TV_E_USAGE, "25 sums");
    assert_fails(tv_policy_within_read(&f->within, dir, "state.json"), TV_E_USAGE, "room for 24");
    assert_fails(tv_policy_within_update(&f->within, &updates), TV_E_USAGE, "room for 24");
    cJSON_Delete(root);
    drop(f);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back_as_it_was),
        cmocka_unit_test(what_fits_no_iteration_is_refused),
        cmocka_unit_test(updates_stop_and_go_on_at_their_places),
        cmocka_unit_test(more_sums_than_there_is_room_for_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
