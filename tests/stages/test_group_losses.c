/* stages/grpo: advantages and losses of groups against figures of PyTorch (tests/golden/make_groups.py), and
 * the losses on the device, over odd shapes and small limits, against the oracle.
 *
 * Tolerance: inputs are fp32 for both; e^x errs by some 3e of itself, a GSPO mean of up to 300 log-ratios by
 * 1e-6: 1e-5 of a gradient and 1e-6 of its scale beside it.
 *
 * Tried on 2026-11-29, each fails here: the sign of the advantage, one bound for both, a gradient where the
 * loss is flat, the sign of KL's slope, KL without its linear term, CISPO without its bound or its lp, the
 * weight left out, GSPO's sum for its mean, the weights of gspo, bnpo and dr_grpo exchanged, a population's
 * deviation, a mean that has the answer itself in it, KL left out of rloo's or reinforce++'s reward, a
 * deviation without its 1e-4.
 */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/rng.h"
#include "kernels/reduce.h"
#include "oracle/group.h"
#include "stages/grpo/advantages.h"
#include "stages/grpo/losses.h"
#include "support/golden.h"

static const char *const losses[] = {"dapo", "grpo", "bnpo", "dr_grpo", "cispo", "gspo"};
static const float scale = 0.5f;

/* ---- batches ---- */

typedef struct batch {
    uint64_t sequences, tokens, count;
    double *new, *old, *ref, *advantages, *gradient;
    uint8_t *mask;
} batch;

static batch make(uint64_t sequences, uint64_t tokens) {
    batch b = {.sequences = sequences, .tokens = tokens, .count = sequences * tokens};
    double **const all[] = {&b.new, &b.old, &b.ref, &b.advantages, &b.gradient};
    for (size_t i = 0; i < TV_COUNT(all); i++)
        assert_non_null(*all[i] = calloc(b.count, sizeof **all[i]));
    assert_non_null(b.mask = calloc(b.count, 1));
    return b;
}

static void release(batch *b) {
    tv_free_all(b->new, b->old, b->ref, b->advantages, b->gradient, b->mask);
}

/* Answers of 0 to T tokens behind prompts of their own length. */
static batch drawn(uint64_t sequences, uint64_t tokens) {
    batch b = make(sequences, tokens);
    const tv_rng rng = {.seed = sequences + tokens, .stream = TV_STREAM_TEST};
    float *values = calloc(4 * b.count, sizeof *values);
    assert_non_null(values);
    tv_test_random(values, 4 * b.count, sequences);
    for (uint64_t i = 0; i < b.count; i++) {
        uint64_t s = i / tokens, first = tv_uniform_below(&rng, 2 * s, tokens),
                 n = tv_uniform_below(&rng, 2 * s + 1, tokens - first + 1), t = i % tokens;
        b.mask[i] = t >= first && t < first + n;
        b.old[i] = (double)(values[i] * 2 - 3);
        b.new[i] = (double)((float)b.old[i] + 0.4f * values[b.count + i]);
        b.ref[i] = (double)((float)b.old[i] + 0.4f * values[2 * b.count + i]);
        b.advantages[i] = (double)values[3 * b.count + s];
    }
    free(values);
    return b;
}

static oracle_group oracle_of(const batch *b, int kind, double low, double high, double beta, double room) {
    return (oracle_group){
        (oracle_group_loss)kind, b->sequences, b->tokens, low, high, beta, room, b->new, b->old, b->ref,
        b->advantages,           b->mask};
}

/* ---- on the device, weighed as the stage weighs ---- */

static tv_grpo_settings settings_of(const oracle_group *o) {
    return (tv_grpo_settings){.loss = (int)o->kind, .max_new_tokens = (uint64_t)o->room};
}

/* Fills `gradient` (S, T), and returns the loss: both over the step's terms, as a trainer divides. */
static double on_device(tv_device *device, const oracle_group *o, bool sequence, double *gradient) {
    uint64_t count = o->sequences * o->tokens, T = o->tokens, all = 0;
    tv_grpo_settings grpo = settings_of(o);
    uint32_t *targets = calloc(count, sizeof *targets);
    tv_group_row *table = calloc(count, sizeof *table);
    float *in[2] = {calloc(count, sizeof(float)), calloc(count, sizeof(float))},
          *out = calloc(count * TV_GROUP_STATS, sizeof *out);
    assert_true(targets && table && in[0] && in[1] && out);
    for (uint64_t i = 0; i < count; i++)
        all += o->mask[i];
    for (uint64_t i = 0; i < count; i++) {
        uint64_t n = 0;
        for (uint64_t j = i - i % T; j < i - i % T + T; j++)
            n += o->mask[j];
        targets[i] = o->mask[i] ? 1 : TV_IGNORED_TARGET;
        in[0][i] = o->mask[i] ? (float)o->new[i] : NAN;
        in[1][i] = o->mask[i] ? 1.5f : NAN;
        table[i] = (tv_group_row){.old_logprob = o->mask[i] ? (float)o->old[i] : NAN,
                                  .advantage = (float)o->advantages[i],
                                  .weight = (float)tv_group_weight(&grpo, n, all),
                                  .ref_logprob = o->beta > 0 ? (float)o->ref[i] : NAN};
    }
    uint64_t terms = tv_group_terms(&grpo, o->sequences, all);
    const struct tv_step_constants constants = {.loss_scale = scale / (float)terms};
    tv_test_tensor target = tv_test_bytes(device, count * sizeof *targets, targets),
                   rows = tv_test_bytes(device, count * sizeof *table, table),
                   logprobs = tv_test_floats(device, count, in[0]),
                   entropies = tv_test_floats(device, count, in[1]),
                   ratios = tv_test_floats(device, count, NULL),
                   step = tv_test_bytes(device, sizeof constants, &constants),
                   d_logprobs = tv_test_floats(device, count, NULL),
                   stats = tv_test_floats(device, count * TV_GROUP_STATS, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    if (sequence)
        assert_ok(tv_group_sequence_record(recorder, &(tv_group_sequence){.sequences = o->sequences,
                                                                          .tokens = T,
                                                                          .targets = target.tensor,
                                                                          .logprobs = logprobs.tensor,
                                                                          .table = rows.tensor,
                                                                          .sequence_ratios = ratios.tensor}));
    assert_ok(tv_group_policy_record(
        recorder, &(tv_group_policy){.rows = count,
                                     .mode = o->kind == ORACLE_CISPO ? TV_GROUP_CISPO : TV_GROUP_CLIP,
                                     .clip_low = (float)o->clip_low,
                                     .clip_high = (float)o->clip_high,
                                     .beta = (float)o->beta,
                                     .targets = target.tensor,
                                     .logprobs = logprobs.tensor,
                                     .entropies = entropies.tensor,
                                     .sequence_ratios = sequence ? ratios.tensor : TV_ABSENT,
                                     .table = rows.tensor,
                                     .step = step.tensor,
                                     .d_logprobs = d_logprobs.tensor,
                                     .stats = stats.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&d_logprobs, in[0]);
    tv_test_read(&stats, out);
    double sums[TV_GROUP_STATS] = {0};
    for (uint64_t i = 0; i < count; i++) {
        gradient[i] = (double)in[0][i] / (double)scale;
        for (int c = 0; c < TV_GROUP_STATS; c++)
            sums[c] += (double)out[i * TV_GROUP_STATS + (uint64_t)c];
    }
    assert_near(sums[TV_GROUP_TOKENS], (double)all, 0);
    assert_near(sums[TV_GROUP_ENTROPY], 1.5 * (double)all, 1e-6 * (double)all);
    tv_test_tensor *tensors[] = {&target, &rows, &logprobs, &entropies, &ratios, &step, &d_logprobs, &stats};
    for (size_t i = 0; i < TV_COUNT(tensors); i++)
        tv_test_free(tensors[i]);
    tv_free_all(targets, table, in[0], in[1], out);
    return sums[TV_GROUP_LOSS] / (double)terms;
}

static void compare(const char *what, const double *found, const double *expected, uint64_t count) {
    double largest = 0;
    for (uint64_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (uint64_t i = 0; i < count; i++)
        if (!(fabs(found[i] - expected[i]) <= 1e-5 * fabs(expected[i]) + 1e-6 * largest))
            fail_msg("%s: %.9g at %llu, expected %.9g", what, found[i], (unsigned long long)i, expected[i]);
}

static void check_device(tv_device *device, const oracle_group *o) {
    uint64_t count = o->sequences * o->tokens;
    double *gradients = calloc(2 * count + 1, sizeof *gradients);
    assert_non_null(gradients);
    double expected = oracle_group_loss_of(o, gradients);
    double found = on_device(device, o, o->kind == ORACLE_GSPO, gradients + count);
    assert_near(found, expected, 1e-5 * (1 + fabs(expected)));
    compare(losses[o->kind], gradients + count, gradients, count);
    free(gradients);
}

static void losses_equal_the_oracle(void **state) {
    tv_device *small = tv_test_open_lowered("storage_range=65536,group_count_x=3");
    for (int kind = 0; kind < 6; kind++)
        for (int beta = 0; beta < 2; beta++) {
            bool cispo = kind == ORACLE_CISPO;
            batch b = drawn(7, 33), c = drawn(3, 301), d = drawn(40, 64);
            const batch *all[] = {&b, &c, &d};
            for (int i = 0; i < 3; i++) {
                oracle_group o = oracle_of(all[i], kind, kind == ORACLE_GSPO ? 0.02 : 0.1,
                                           cispo                 ? 1.15
                                           : kind == ORACLE_GSPO ? 0.03
                                                                 : 0.2,
                                           0.05 * beta, 50);
                check_device(i < 2 ? *state : small, &o);
            }
            release(&b);
            release(&c);
            release(&d);
        }
    tv_device_close(&small);
}

/* ---- PyTorch's figures ---- */

static void numbers(const cJSON *root, const char *key, double *values, uint64_t count) {
    const cJSON *list = tv_json_get(root, key);
    assert_int_equal(cJSON_GetArraySize(list), count);
    for (uint64_t i = 0; i < count; i++)
        values[i] = cJSON_GetArrayItem(list, (int)i)->valuedouble;
}

typedef struct golden {
    cJSON *root;
    batch b;
    double rewards[64], room;
    uint64_t answers;
} golden;

static golden open_golden(void) {
    golden g = {0};
    char *path = tv_test_golden_path("groups", ".json");
    assert_ok(tv_json_read_file(path, &g.root));
    free(path);
    double groups, answers, tokens, lengths[64];
    assert_ok(tv_json_number(g.root, "groups", "groups.json", 0, &groups));
    assert_ok(tv_json_number(g.root, "answers", "groups.json", 0, &answers));
    assert_ok(tv_json_number(g.root, "tokens", "groups.json", 0, &tokens));
    assert_ok(tv_json_number(g.root, "room", "groups.json", 0, &g.room));
    g.answers = (uint64_t)answers;
    g.b = make((uint64_t)(groups * answers), (uint64_t)tokens);
    assert_in_range(g.b.sequences, 4, 64);
    numbers(g.root, "lengths", lengths, g.b.sequences);
    numbers(g.root, "rewards", g.rewards, g.b.sequences);
    numbers(g.root, "old", g.b.old, g.b.count);
    numbers(g.root, "new", g.b.new, g.b.count);
    numbers(g.root, "ref", g.b.ref, g.b.count);
    numbers(g.root, "given", g.b.advantages, g.b.count);
    for (uint64_t i = 0; i < g.b.count; i++)
        g.b.mask[i] = (double)(i % g.b.tokens) < lengths[i / g.b.tokens];
    return g;
}

static int index_of(const char *name, const char *const *all, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(name, all[i]) == 0)
            return i;
    fail_msg("no %s", name);
    return 0;
}

static void losses_are_pytorch_s(void **state) {
    golden g = open_golden();
    const cJSON *item;
    int seen = 0;
    double *gradients = calloc(3 * g.b.count, sizeof *gradients);
    assert_non_null(gradients);
    cJSON_ArrayForEach(item, tv_json_get(g.root, "losses")) {
        const cJSON *clip = tv_json_get(item, "clip");
        int kind = index_of(tv_json_get(item, "kind")->valuestring, losses, 6);
        oracle_group o = oracle_of(&g.b, kind, cJSON_GetArrayItem(clip, 0)->valuedouble,
                                   cJSON_GetArrayItem(clip, 1)->valuedouble,
                                   tv_json_get(item, "beta")->valuedouble, g.room);
        double figure = tv_json_get(item, "loss")->valuedouble;
        numbers(item, "gradient", gradients, g.b.count);
        assert_near(oracle_group_loss_of(&o, gradients + g.b.count), figure, 1e-11);
        for (uint64_t i = 0; i < g.b.count; i++)
            assert_near(gradients[g.b.count + i], gradients[i], 1e-11);
        assert_near(on_device(*state, &o, kind == ORACLE_GSPO, gradients + 2 * g.b.count), figure,
                    1e-5 * (1 + fabs(figure)));
        compare(losses[kind], gradients + 2 * g.b.count, gradients, g.b.count);
        seen++;
    }
    assert_int_equal(seen, 12);
    free(gradients);
    release(&g.b);
    cJSON_Delete(g.root);
}

static void advantages_are_pytorch_s(void **state) {
    static const char *const kinds[] = {"group", "none", "batch", "rloo", "reinforce++"};
    (void)state;
    golden g = open_golden();
    const cJSON *item;
    tv_policy_rollout r;
    uint8_t equal[16];
    int seen = 0;
    double *figures = calloc(g.b.count, sizeof *figures);
    assert_non_null(figures);
    assert_ok(tv_policy_rollout_create(g.b.sequences, g.b.tokens, &r));
    for (uint64_t i = 0; i < g.b.count; i++) {
        r.targets[i] = g.b.mask[i] ? 1 : TV_IGNORED_TARGET;
        r.old_logprobs[i] = (float)g.b.old[i];
        r.ref_logprobs[i] = (float)g.b.ref[i];
    }
    cJSON_ArrayForEach(item, tv_json_get(g.root, "advantages")) {
        const char *name = tv_json_get(item, "kind")->valuestring;
        tv_grpo_settings settings = {.answers = g.answers,
                                     .advantages = index_of(name, kinds, 5),
                                     .kl_coef = tv_json_get(item, "beta")->valuedouble};
        assert_int_equal(tv_group_advantages(&settings, g.rewards, &r, equal), 1);
        assert_true(!equal[0] && equal[1] && !equal[2]);
        numbers(item, "values", figures, g.b.count);
        for (uint64_t i = 0; i < g.b.count; i++)
            if (!(fabs((double)r.advantages[i] - figures[i]) <= 1e-6 * (1 + fabs(figures[i]))))
                fail_msg("%s: %.9g at %llu, expected %.9g", name, (double)r.advantages[i],
                         (unsigned long long)i, figures[i]);
        seen++;
    }
    assert_int_equal(seen, 10);
    free(figures);
    tv_policy_rollout_free(&r);
    release(&g.b);
    cJSON_Delete(g.root);
}

/* An answer without a reward, the first, the third and the last of their groups: the others have the
 * advantages of groups that it is not in, and it has none. */
static void answers_without_a_reward_are_left_out(void **state) {
    enum { GROUPS = 3, K = 5, LEFT = K - 1, T = 7 };
    (void)state;
    batch b = drawn((uint64_t)GROUPS * K, T);
    tv_policy_rollout all, left;
    double rewards[GROUPS * K], own[GROUPS * LEFT];
    uint64_t place[GROUPS * LEFT], count = 0;
    uint8_t equal[GROUPS], of_left[GROUPS];
    assert_ok(tv_policy_rollout_create((uint64_t)GROUPS * K, T, &all));
    assert_ok(tv_policy_rollout_create((uint64_t)GROUPS * LEFT, T, &left));
    for (uint64_t s = 0; s < (uint64_t)GROUPS * K; s++) {
        const uint64_t g = s / K;
        const bool none = s % K == 2 * g;
        rewards[s] = none ? NAN : g == 1 ? 0.3 : (double)((s * 7) % 5) / 3;
        if (!none) {
            own[count] = rewards[s];
            place[count++] = s;
        }
    }
    for (uint64_t i = 0; i < b.count; i++) {
        all.targets[i] = b.mask[i] ? 1 : TV_IGNORED_TARGET;
        all.old_logprobs[i] = (float)b.old[i];
        all.ref_logprobs[i] = (float)b.ref[i];
    }
    for (uint64_t i = 0; i < count * T; i++) {
        const uint64_t at = place[i / T] * T + i % T;
        left.targets[i] = all.targets[at];
        left.old_logprobs[i] = all.old_logprobs[at];
        left.ref_logprobs[i] = all.ref_logprobs[at];
    }
    for (int kind = TV_ADVANTAGES_GROUP; kind <= TV_ADVANTAGES_REINFORCE; kind++)
        for (int beta = 0; beta < 2; beta++) {
            tv_grpo_settings settings = {.answers = K, .advantages = kind, .kl_coef = 0.1 * beta};
            assert_int_equal(tv_group_advantages(&settings, rewards, &all, equal), 1);
            settings.answers = LEFT;
            assert_int_equal(tv_group_advantages(&settings, own, &left, of_left), 1);
            assert_memory_equal(equal, of_left, sizeof equal);
            double seen = 0, sum = 0, sum_left = 0;
            for (uint64_t i = 0; i < b.count; i++)
                sum += fabs((double)all.advantages[i]);
            for (uint64_t i = 0; i < count * T; i++) {
                assert_near(all.advantages[place[i / T] * T + i % T], left.advantages[i], 1e-6);
                sum_left += fabs((double)left.advantages[i]);
                seen += left.advantages[i] != 0;
            }
            /* And what has no reward has no advantage. */
            assert_near(sum, sum_left, 1e-4);
            assert_true(seen > 10);
        }
    /* One alone has nothing to be compared with. */
    for (uint64_t i = 1; i < K; i++)
        rewards[i] = NAN;
    rewards[0] = 2;
    for (int kind = TV_ADVANTAGES_GROUP; kind < TV_ADVANTAGES_REINFORCE; kind++) {
        const tv_grpo_settings settings = {.answers = K, .advantages = kind};
        assert_int_equal(tv_group_advantages(&settings, rewards, &all, equal), 2);
        for (uint64_t i = 0; i < (uint64_t)K * T; i++)
            assert_near(all.advantages[i], 0, 0);
    }
    tv_policy_rollout_free(&all);
    tv_policy_rollout_free(&left);
    release(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_without_a_reward_are_left_out),
        cmocka_unit_test(advantages_are_pytorch_s),
        cmocka_unit_test(losses_are_pytorch_s),
        cmocka_unit_test(losses_equal_the_oracle),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
