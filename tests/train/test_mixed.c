/* Mixed precision, the whole of training at the tier cm-f16 beside the same at fp32 on the same device, where
 * it has matrices of f16 (Mesa 26's lavapipe does); else the test is skipped.
 *
 * Tolerances: operands have 11 bits. A gradient is a sum of products of them behind tens of roundings, so the
 * norm of its difference from fp32's is up to a few times 2^-11 of its norm: 0.4 % is allowed, the most seen
 * is 0.16 %. Losses of 200 steps, each twentieth's mean, stay within 1 % of fp32's; at rates where the loss
 * has spikes they do not, nor do two runs of fp32 in other orders of sums.
 *
 * Tried on 2026-11-29, each fails here: a checkpoint without its loss scale; heads that do not scale.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/rng.h"
#include "support/small_config.h"
#include "support/small_run.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { BATCH = 2, TOKENS = 32, VOCAB = 31, STEPS = 200, TWENTIETH = STEPS / 20 };

static int open_tier(void **state) {
    if (tv_test_open_device(state) != 0)
        return 1;
    const tv_caps *caps = tv_device_caps(*state);
    if (!tv_caps_has_tier(caps, TV_TIER_CM_F16)) {
        fprintf(stderr, "skipped: no tier cm-f16 here: %s\n", caps->tier_reason);
        exit(TV_TEST_SKIPPED);
    }
    return 0;
}

/* A token is mostly followed by its double plus one: something to learn, and something that cannot be. */
static tv_status chained_text(void *context, tv_micro_batch *batch) {
    uint64_t *number = context;
    tv_rng rng = {.seed = 9, .stream = TV_STREAM_TEST, .step = (uint32_t)(*number)++};
    for (uint64_t b = 0; b < BATCH; b++) {
        uint32_t token = (uint32_t)tv_uniform_below(&rng, b, VOCAB);
        for (uint64_t t = 0; t < TOKENS; t++) {
            uint64_t at = b * TOKENS + t;
            batch->tokens[at] = token;
            token = tv_uniform(&rng, BATCH + at) < 0.2F
                        ? (uint32_t)tv_uniform_below(&rng, 2 * BATCH * TOKENS + at, VOCAB)
                        : (2 * token + 1) % VOCAB;
            batch->targets[at] = token;
        }
    }
    return TV_OK;
}

/* GPT-2; Llama with shared keys; Qwen3's norms of heads; Gemma 3's norms behind and its GeGLU. */
enum { MODELS = 4 };
static tv_model_config config_of(int which) {
    static const tv_architecture architectures[MODELS] = {TV_ARCH_GPT2, TV_ARCH_LLAMA, TV_ARCH_QWEN3,
                                                          TV_ARCH_GEMMA3};
    return tv_test_config(architectures[which], (tv_test_sizes){.vocab = VOCAB,
                                                                .layers = 2,
                                                                .heads = 4,
                                                                .kv_heads = which == 0 ? 4 : 2,
                                                                .channels = 64,
                                                                .head_size = 16,
                                                                .ffn = 172,
                                                                .positions = TOKENS});
}

typedef struct lab {
    tv_device *device;
    tv_parameter_list *list;
    tv_model *model;
    tv_trainer *trainer;
    uint64_t number;
} lab;

static lab open_lab(const char *tier, int which, bool recompute, double loss_scale) {
    lab l = {0};
    const tv_model_config config = config_of(which);
    const tv_trainer_options options = {.stage = "test",
                                        .batch = BATCH,
                                        .tokens = TOKENS,
                                        .recompute = recompute,
                                        .loss_scale = (float)loss_scale,
                                        .train = true};
    char *lowered = tv_format("tier=%s", tier);
    l.device = tv_test_open_lowered(lowered);
    free(lowered);
    assert_string_equal(tv_tier_name(tv_device_caps(l.device)->tier), tier);
    assert_ok(tv_parameter_list_create(&config, &l.list));
    assert_ok(tv_model_create(l.device, l.list, true, &l.model));
    assert_ok(tv_model_initialise(l.model, 1));
    assert_ok(tv_trainer_create(l.model, &options, &l.trainer));
    return l;
}

static void close_lab(lab *l) {
    tv_trainer_destroy(&l->trainer);
    tv_model_destroy(&l->model);
    tv_parameter_list_destroy(&l->list);
    tv_device_close(&l->device);
}

static float *gradient_of(const lab *l, uint32_t parameter) {
    uint64_t count = l->list->items[parameter].count;
    float *values = calloc(count, sizeof *values);
    assert_non_null(values);
    assert_ok(tv_download(l->device, tv_model_gradient_at(l->model, parameter).span, values,
                          count * sizeof *values));
    return values;
}

static void check_gradients(int which, bool recompute) {
    enum { SCALE = 1024 };
    lab exact = open_lab("fp32", which, recompute, 0), mixed = open_lab("cm-f16", which, recompute, SCALE);
    tv_step_result a, b;
    bool has;
    assert_ok(tv_trainer_accumulate(exact.trainer, 1, chained_text, &exact.number, &a, &has));
    assert_ok(tv_trainer_drain(exact.trainer, &a, &has));
    assert_ok(tv_trainer_accumulate(mixed.trainer, 1, chained_text, &mixed.number, &b, &has));
    assert_ok(tv_trainer_drain(mixed.trainer, &b, &has));
    assert_near(b.loss, a.loss, 1e-3 * a.loss);
    for (uint32_t i = 0; i < exact.list->count; i++) {
        float *x = gradient_of(&exact, i), *y = gradient_of(&mixed, i);
        double size = 0, error = 0;
        for (uint64_t e = 0; e < exact.list->items[i].count; e++) {
            double d = (double)y[e] / SCALE - (double)x[e];
            size += (double)x[e] * (double)x[e];
            error += d * d;
        }
        if (!(error <= 4e-3 * 4e-3 * size))
            fail_msg("model %d, %s: the gradient is off by %.3g of its norm %.3g", which,
                     exact.list->items[i].name, sqrt(error / size), sqrt(size));
        free(x);
        free(y);
    }
    close_lab(&exact);
    close_lab(&mixed);
}

static void gradients_are_those_of_fp32(void **state) {
    (void)state;
    for (int which = 0; which < MODELS; which++)
        check_gradients(which, which % 2 == 1);
}

/* Means of twentieths; returns the last result. */
static tv_step_result learn(lab *l, double means[20]) {
    const struct tv_step_constants constants = tv_step_constants_make(1e-3, 0.1, 0.9, 0.95, 1e-8, 1);
    tv_step_result result = {0}, last = {0};
    bool has = false;
    memset(means, 0, 20 * sizeof *means);
    for (int step = 0; step < STEPS; step++) {
        assert_ok(tv_trainer_step(l->trainer, &constants, chained_text, &l->number, &result, &has));
        if (has)
            means[result.number / TWENTIETH] += result.loss / TWENTIETH;
    }
    for (has = true; has;) {
        assert_ok(tv_trainer_drain(l->trainer, &result, &has));
        if (has) {
            means[result.number / TWENTIETH] += result.loss / TWENTIETH;
            last = result;
        }
    }
    return last;
}

static void curves_stay_within_a_percent(void **state) {
    (void)state;
    for (int which = 0; which < 2; which++) {
        double exact[20], mixed[20];
        lab a = open_lab("fp32", which, false, 0), b = open_lab("cm-f16", which, false, 0);
        learn(&a, exact);
        tv_step_result last = learn(&b, mixed);
        for (int i = 0; i < 20; i++)
            if (!(fabs(mixed[i] - exact[i]) <= 0.01 * exact[i]))
                fail_msg("model %d: the mean loss of steps %d to %d is %.4f at cm-f16 and %.4f at fp32",
                         which, i * TWENTIETH, (i + 1) * TWENTIETH - 1, mixed[i], exact[i]);
        assert_true(exact[19] < 0.6 * exact[0]);
        /* By itself from 65,536 on, and down where that is too much. */
        assert_true(last.state.loss_scale >= 1 && last.state.loss_scale <= 65536);
        assert_int_equal(last.state.applied + last.state.skipped, STEPS);
        assert_true(last.state.skipped <= 5);
        close_lab(&a);
        close_lab(&b);
    }
}

static void activations_take_fewer_bytes(void **state) {
    (void)state;
    lab a = open_lab("fp32", 1, false, 0), b = open_lab("cm-f16", 1, false, 0);
    const tv_trainer_options options = {
        .stage = "test", .batch = BATCH, .tokens = TOKENS, .grad_accum = 1, .train = true};
    tv_trainer_bytes exact, mixed;
    assert_ok(tv_trainer_measure(a.list, tv_device_caps(a.device), &options, &exact));
    assert_ok(tv_trainer_measure(b.list, tv_device_caps(b.device), &options, &mixed));
    assert_true(mixed.activations < 4 * exact.activations / 5);
    assert_int_equal(mixed.model.gradients, exact.model.gradients);
    close_lab(&a);
    close_lab(&b);
}

/* A run at the tier, whole and resumed without naming it, has the same bytes; its lines and its state tell
 * the loss scale. */
static void resumed_runs_have_the_same_bits(void **state) {
    (void)state;
    tv_small_run p =
        tv_small_run_create("\"steps\": 7, \"batch_size\": 3, \"checkpoint_every\": 2, \"eval_every\": 3");
    char *whole = tv_small_run_path(&p, "whole"), *stopped = tv_small_run_path(&p, "stopped");
    tv_trivium_exits(0, "pretrain", "--quiet", "--tier", "cm-f16", "--config", p.config, "--out", whole);
    tv_trivium_exits(0, "pretrain", "--quiet", "--tier", "cm-f16", "--config", p.config, "--out", stopped,
                     "--stop-after", "3");
    tv_trivium_exits(0, "pretrain", "--quiet", "--out", stopped, "--resume");
    tv_expect_same_run(whole, stopped);
    char *path = tv_small_run_path(&p, "whole/checkpoints/last/trainer_state.json"), *text;
    char *lines = tv_small_run_path(&p, "whole/metrics.jsonl"), *metrics;
    uint64_t size;
    assert_ok(tv_read_file(path, &text, &size));
    assert_non_null(strstr(text, "\"loss_scale\""));
    assert_ok(tv_read_file(lines, &metrics, &size));
    assert_non_null(strstr(metrics, "\"loss_scale\""));
    /* Another tier is said. */
    tv_trivium_says(0, "goes on at fp32", "pretrain", "--quiet", "--tier", "fp32", "--out", stopped,
                    "--resume");
    tv_free_all(whole, stopped, path, lines, text, metrics);
    tv_small_run_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_are_those_of_fp32),
        cmocka_unit_test(curves_stay_within_a_percent),
        cmocka_unit_test(activations_take_fewer_bytes),
        cmocka_unit_test(resumed_runs_have_the_same_bits),
    };
    return cmocka_run_group_tests(tests, open_tier, tv_test_close_device);
}
