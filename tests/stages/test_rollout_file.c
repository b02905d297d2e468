/* stages/ppo/rollout_file: a rollout comes back as it was written, and one that fits no run is refused.
 *
 * Tried on 2026-11-29, each fails: no look at the vocabulary; prompts not compared; no look at one of the
 * four parts' numbers.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/tokens.h"
#include "stages/policy/rollout_file.h"

enum { S = 5, T = 9, VOCAB = 40, PROMPTS = 2 };

static uint32_t prompt_ids[PROMPTS][3] = {{7, 8, 9}, {1, 2, 0}};
static tv_prompt items[PROMPTS] = {{.ids = prompt_ids[0], .length = 3}, {.ids = prompt_ids[1], .length = 2}};
static const tv_prompts prompts = {.items = items, .count = PROMPTS};

static tv_policy_rollout drawn(void) {
    tv_policy_rollout r;
    assert_ok(tv_policy_rollout_create(S, T, &r));
    for (uint64_t s = 0; s < S; s++) {
        uint64_t prompt = s % PROMPTS, first = items[prompt].length, length = first + 1 + s;
        uint32_t own[T + 1] = {0};
        memcpy(own, items[prompt].ids, first * sizeof *own);
        for (uint64_t i = first; i < length; i++)
            own[i] = (uint32_t)(10 + 3 * s + i);
        r.items[s] = (tv_policy_sequence){
            .prompt = prompt, .number = 100 + s, .score = s == 2 ? NAN : 1.0 / 3 - (double)s};
        tv_policy_rollout_set(&r, s, own, length, first, s % 2 == 0);
    }
    for (uint64_t i = 0; i < (uint64_t)S * T; i++) {
        r.old_logprobs[i] = -0.1F * (float)i;
        r.entropies[i] = 0.3F * (float)i;
        r.ref_logprobs[i] = -0.7F * (float)i;
        r.values[i] = sinf((float)i);
    }
    return r;
}

static char *folder(void) {
    char *dir = tv_test_dir(), *inside = tv_format("%s/training_state", dir);
    assert_ok(tv_make_dirs(inside));
    free(inside);
    return dir;
}

static void it_comes_back_as_it_was(void **state) {
    (void)state;
    char *dir = folder();
    tv_policy_rollout r = drawn(), back;
    assert_ok(tv_policy_rollout_create(S, T, &back));
    assert_ok(tv_policy_rollout_write(dir, &r));
    assert_ok(tv_policy_rollout_read(dir, &prompts, VOCAB, &back));
    for (uint64_t s = 0; s < S; s++) {
        const tv_policy_sequence *a = &r.items[s], *b = &back.items[s];
        assert_true(a->prompt == b->prompt && a->number == b->number && a->length == b->length &&
                    a->prompt_length == b->prompt_length && a->ended == b->ended &&
                    (a->score == b->score || (s == 2 && isnan(b->score))));
    }
    assert_memory_equal(r.ids, back.ids, S * (T + 1) * sizeof *r.ids);
    assert_memory_equal(r.targets, back.targets, S * T * sizeof *r.targets);
    const float *const from[] = {r.old_logprobs, r.entropies, r.ref_logprobs, r.values},
                       *const to[] = {back.old_logprobs, back.entropies, back.ref_logprobs, back.values};
    for (size_t i = 0; i < TV_COUNT(from); i++)
        assert_memory_equal(from[i], to[i], S * T * sizeof(float));
    tv_policy_rollout_free(&r);
    tv_policy_rollout_free(&back);
    tv_test_dir_remove(&dir);
}

static void what_fits_no_run_is_refused(void **state) {
    (void)state;
    char *dir = folder();
    for (int wrong = 0; wrong < 7; wrong++) {
        tv_policy_rollout r = drawn(), back;
        assert_ok(tv_policy_rollout_create(S + (wrong == 5), T + (wrong == 6), &back));
        r.items[3].prompt += wrong == 0 ? 9 : 0;
        r.items[3].length += wrong == 1 ? 1000 : 0;
        r.items[3].prompt_length += wrong == 2;
        r.items[3].score = wrong == 3 ? INFINITY : 0;
        if (wrong == 4)
            r.ids[3 * (T + 1) + 4] = VOCAB;
        assert_ok(tv_policy_rollout_write(dir, &r));
        assert_fails(tv_policy_rollout_read(dir, &prompts, VOCAB, &back), TV_E_DATA,
                     wrong < 5 ? "answer 3 is none to a prompt of this run" : "of another run");
        tv_policy_rollout_free(&r);
        tv_policy_rollout_free(&back);
    }
    /* Another prompt has stood there. */
    tv_policy_rollout r = drawn();
    r.ids[3 * (T + 1)] ^= 1;
    assert_ok(tv_policy_rollout_write(dir, &r));
    assert_fails(tv_policy_rollout_read(dir, &prompts, VOCAB, &r), TV_E_DATA, "answer 3 is none");
    tv_policy_rollout_free(&r);
    tv_test_dir_remove(&dir);
}

/* Of an answer's tokens; what stands at others is nobody's. */
static void what_is_not_finite_is_refused(void **state) {
    (void)state;
    static const char *const words[] = {"old log-prob", "entropies", "reference's", "old values"};
    char *dir = folder();
    for (int part = 0; part < 4; part++) {
        tv_policy_rollout r = drawn(), back;
        float *const parts[] = {r.old_logprobs, r.entropies, r.ref_logprobs, r.values};
        assert_ok(tv_policy_rollout_create(S, T, &back));
        parts[part][0] = parts[part][T - 1] = NAN; /* of a prompt, and behind an answer */
        assert_ok(tv_policy_rollout_write(dir, &r));
        assert_ok(tv_policy_rollout_read(dir, &prompts, VOCAB, &back));
        parts[part][r.items[0].prompt_length - 1] = INFINITY;
        assert_ok(tv_policy_rollout_write(dir, &r));
        assert_fails(tv_policy_rollout_read(dir, &prompts, VOCAB, &back), TV_E_DATA, words[part]);
        tv_policy_rollout_free(&r);
        tv_policy_rollout_free(&back);
    }
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_comes_back_as_it_was),
        cmocka_unit_test(what_fits_no_run_is_refused),
        cmocka_unit_test(what_is_not_finite_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
