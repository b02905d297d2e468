/* model/group_head: it is PPO's policy where its settings say so, to the last bit; one ratio a sequence;
 * chunks. The losses themselves are tests/stages/test_group_losses.c's.
 */
#include "support/head_lab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/tokens.h"
#include "model/group_head.h"
#include "model/policy_head.h"
#include "support/small_config.h"

enum { B = 4, T = 33, N = B * T, VOCAB = 61 };

typedef struct batch {
    uint32_t targets[N];
    float old[N], advantages[N];
    struct tv_group_row rows[N];
} batch;

/* Each sequence has its own shift of lp_old, which is one ratio for all its tokens. */
static batch make(const float *logprobs) {
    batch b;
    for (uint32_t i = 0; i < N; i++) {
        uint32_t row = i / T;
        bool counts = i % T >= 4 + row && i % T < 30;
        b.targets[i] = counts ? (i * 7) % VOCAB : TV_IGNORED_TARGET;
        b.advantages[i] = counts ? (float)(row % 2) - 0.4f : NAN;
        b.old[i] = counts && logprobs ? logprobs[i] - 0.15f * (float)row + 0.2f : 0;
        b.rows[i] = (struct tv_group_row){b.old[i], b.advantages[i], 1, NAN};
    }
    return b;
}

static tv_parameter_list *small_list(void) {
    tv_model_config config = tv_test_config(TV_ARCH_LLAMA, (tv_test_sizes){.vocab = VOCAB,
                                                                           .layers = 2,
                                                                           .heads = 4,
                                                                           .channels = 24,
                                                                           .head_size = 6,
                                                                           .ffn = 40,
                                                                           .positions = 40});
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    return list;
}

/* The gradients of a step with the group head; the caller frees. Sums go to `sums`. */
static float *gradients_of(tv_device *device, const tv_parameter_list *list,
                           const tv_group_settings *settings, uint64_t chunk, float sums[TV_HEAD_STATS]) {
    tv_head_lab l = tv_head_lab_create(device, list, tv_group_head(settings, B, T), B, T, N);
    batch b = make(NULL);
    tv_head_lab_input(&l, TV_GROUP_TARGETS, b.targets);
    tv_head_lab_run(&l, false);
    b = make(l.out[TV_GROUP_LOGPROBS]);
    tv_head_lab_input(&l, TV_GROUP_ROWS, b.rows);
    if (chunk)
        l.lm.activations->head_rows = chunk;
    tv_head_lab_run(&l, true);
    float *gradients = calloc(list->elements, sizeof *gradients);
    assert_non_null(gradients);
    tv_test_get_gradients(&l.lm, gradients);
    memcpy(sums, l.sums, TV_HEAD_STATS * sizeof *sums);
    tv_head_lab_free(&l);
    return gradients;
}

static void it_is_ppo_s_policy(void **state) {
    const tv_policy_settings policy = {.clip = 0.2, .temperature = 0.7};
    const tv_group_settings group = {.clip_low = 0.2, .clip_high = 0.2, .temperature = 0.7};
    tv_parameter_list *list = small_list();
    float sums[TV_HEAD_STATS], *found = gradients_of(*state, list, &group, 0, sums);
    tv_head_lab l = tv_head_lab_create(*state, list, tv_policy_head(&policy, B, T), B, T, N);
    batch b = make(NULL);
    tv_head_lab_input(&l, TV_POLICY_TARGETS, b.targets);
    tv_head_lab_run(&l, false);
    b = make(l.out[TV_POLICY_LOGPROBS]);
    tv_head_lab_input(&l, TV_POLICY_OLD_LOGPROBS, b.old);
    tv_head_lab_input(&l, TV_POLICY_ADVANTAGES, b.advantages);
    tv_head_lab_run(&l, true);
    float *expected = calloc(list->elements, sizeof *expected);
    assert_non_null(expected);
    tv_test_get_gradients(&l.lm, expected);
    assert_memory_equal(found, expected, list->elements * sizeof *expected);
    assert_true(sums[TV_GROUP_LOSS] == l.sums[TV_PPO_POLICY_LOSS]);
    assert_true(sums[TV_GROUP_CLIPPED_LOW] + sums[TV_GROUP_CLIPPED_HIGH] == l.sums[TV_PPO_CLIPPED]);
    assert_true(l.sums[TV_PPO_CLIPPED] > 5);
    tv_free_all(found, expected);
    tv_head_lab_free(&l);
    tv_parameter_list_destroy(&list);
}

/* Where all tokens of a sequence have one ratio, GSPO's is that ratio: equal but for the mean's rounding,
 * which no term of this batch is near enough to a bound to turn. */
static void one_ratio_is_the_mean_s(void **state) {
    tv_group_settings group = {.clip_low = 0.2, .clip_high = 0.2, .temperature = 1};
    tv_parameter_list *list = small_list();
    float sums[TV_HEAD_STATS], own_sums[TV_HEAD_STATS], chunk_sums[TV_HEAD_STATS];
    float *own = gradients_of(*state, list, &group, 0, own_sums);
    group.sequence = true;
    float *mean = gradients_of(*state, list, &group, 0, sums);
    float *chunked = gradients_of(*state, list, &group, 64, chunk_sums);
    assert_true(tv_test_relative_distance(mean, own, list->elements) <= 1e-5);
    assert_true(tv_test_relative_distance(chunked, mean, list->elements) <= 1e-6);
    assert_memory_equal(chunk_sums, sums, sizeof sums);
    assert_true(sums[TV_GROUP_TOKENS] == own_sums[TV_GROUP_TOKENS] && sums[TV_GROUP_TOKENS] > 80);
    tv_free_all(own, mean, chunked);
    tv_parameter_list_destroy(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_ppo_s_policy),
        cmocka_unit_test(one_ratio_is_the_mean_s),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
