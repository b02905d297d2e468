/* Losses and gradient norms of twenty AdamW steps against PyTorch (tests/golden/README.md), for a
 * GPT-2 and a Llama with grouped queries.
 *
 * Tolerances: PyTorch's own fp32 differs from its fp64 by at most 2.4e-7 of a loss and 3.4e-7 of a norm over
 * these steps. Loss 2e-6 and norm 1e-5 are eight and thirty times that, for another order of summation and a
 * device's exp and tanh (a few units in the last place); they still see every mistake of the README's table,
 * such as eps 1e-7 or GELU by erf.
 *
 * Tried on 2026-11-22: the residual's gradient not added in backward.c, decay on vectors too, the loss scaled
 * by 1/(targets + 1): each fails at the first or second step.
 */
#include "support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/directory.h"
#include "formats/load.h"
#include "run/schedule.h"
#include "text/loader.h"
#include "train/step.h"
#include "train/trainer.h"

enum { BATCH = 4, TOKENS = 64, STEPS = 20 };
/* Relative. At a matrix tier operands have 11 bits or 8, and each step's deviation is in the next one's
 * parameters. */
static double loss_tolerance = 2e-6, norm_tolerance = 1e-5;

static int open_device(void **state) {
    int failed = tv_test_open_device(state);
    tv_tier tier = failed ? TV_TIER_FP32 : tv_device_caps(*state)->tier;
    if (tier != TV_TIER_FP32) {
        loss_tolerance = tier == TV_TIER_CM_F16 ? 2e-4 : 16e-4;
        norm_tolerance = tier == TV_TIER_CM_F16 ? 4e-3 : 32e-3;
    }
    return failed;
}

typedef struct golden {
    cJSON *figures;
    tv_model_directory *directory;
    tv_parameter_list *list;
    tv_model *model;
    tv_loader *loader;
    tv_trainer *trainer;
} golden;

static tv_status next_batch(void *loader, tv_micro_batch *batch) {
    return tv_loader_next(loader, &(tv_batch){batch->tokens, batch->targets, batch->doc_start});
}

static golden open_golden(tv_device *device, const char *name, uint64_t batch, uint64_t grad_accum,
                          bool recompute, tv_optimizer optimizer) {
    golden g = {0};
    char *figures = tv_test_golden_path(name, ".json"), *model = tv_test_golden_path(name, ""),
         *shard = tv_test_golden_path("tokens", ".bin");
    assert_ok(tv_json_read_file(figures, &g.figures));
    assert_ok(tv_model_directory_open(model, &g.directory));
    assert_ok(tv_parameter_list_create_chosen(&tv_model_directory_parameters(g.directory)->config,
                                              &(tv_parameter_choice){.optimizer = optimizer}, &g.list));
    assert_ok(tv_model_create(device, g.list, true, &g.model));
    assert_ok(tv_model_load(g.model, g.directory));
    tv_loader_source source = {shard, 0};
    assert_ok(tv_loader_create(
        &(tv_loader_options){
            .sources = &source, .source_count = 1, .batch_size = (uint32_t)batch, .seq_len = TOKENS},
        &g.loader));
    assert_ok(tv_trainer_create(g.model,
                                &(tv_trainer_options){.stage = "golden",
                                                      .batch = batch,
                                                      .tokens = TOKENS,
                                                      .grad_accum = grad_accum,
                                                      .recompute = recompute,
                                                      .train = true},
                                &g.trainer));
    tv_free_all(figures, model, shard);
    return g;
}

static void close_golden(golden *g) {
    tv_trainer_destroy(&g->trainer);
    tv_loader_destroy(&g->loader);
    tv_model_destroy(&g->model);
    tv_parameter_list_destroy(&g->list);
    tv_model_directory_close(&g->directory);
    cJSON_Delete(g->figures);
}

static double figure(const cJSON *object, const char *key, int index) {
    const cJSON *item = cJSON_GetArrayItem(tv_json_get(object, key), index);
    assert_non_null(item);
    return item->valuedouble;
}

static struct tv_step_constants constants_of(const cJSON *settings, double grad_clip, uint64_t step) {
    const tv_train_settings train = {.lr = tv_json_get(settings, "lr")->valuedouble,
                                     .min_lr = tv_json_get(settings, "min_lr")->valuedouble,
                                     .warmup_steps = 5,
                                     .schedule = TV_SCHEDULE_COSINE};
    struct tv_step_constants constants =
        tv_step_constants_make(tv_schedule_lr(&train, step, STEPS), 0.1, 0.9, 0.95, 1e-8, grad_clip);
    constants.momentum = 0.95f;
    constants.muon_rms = 0.2f;
    return constants;
}

static void compare_step(const char *name, const cJSON *expected, const tv_step_result *result) {
    int step = (int)result->number;
    double loss = figure(expected, "loss", step), norm = figure(expected, "grad_norm", step);
    double loss_error = fabs(result->loss - loss) / loss, norm_error = fabs(result->grad_norm - norm) / norm;
    if (!(loss_error <= loss_tolerance) || !(norm_error <= norm_tolerance))
        fail_msg("%s step %d: loss %.9g (expected %.9g, off by %.2g), norm %.9g (expected %.9g, off by %.2g)",
                 name, step + 1, result->loss, loss, loss_error, result->grad_norm, norm, norm_error);
}

/* `expected` holds the arrays loss and grad_norm. */
static void run_steps(golden *g, const char *name, const cJSON *expected, double grad_clip) {
    const cJSON *settings = tv_json_get(g->figures, "settings");
    tv_step_result result;
    bool has_result;
    const uint64_t steps = tv_test_once() ? 2 : STEPS;
    uint64_t seen = 0;
    for (uint64_t step = 0; step < steps; step++) {
        struct tv_step_constants constants = constants_of(settings, grad_clip, step);
        assert_ok(tv_trainer_step(g->trainer, &constants, next_batch, g->loader, &result, &has_result));
        if (has_result)
            compare_step(name, expected, &result);
        seen += has_result;
    }
    for (;;) {
        assert_ok(tv_trainer_drain(g->trainer, &result, &has_result));
        if (!has_result)
            break;
        compare_step(name, expected, &result);
        seen++;
    }
    assert_int_equal(seen, steps);
}

static void twenty_steps(tv_device *device, const char *name, bool recompute) {
    golden g = open_golden(device, name, BATCH, 1, recompute, TV_OPTIMIZER_ADAMW);
    run_steps(&g, name, g.figures, 1);
    close_golden(&g);
}

static void gpt2_equals_pytorch(void **state) {
    twenty_steps(*state, "gpt2_100k", false);
}

static void llama_equals_pytorch(void **state) {
    twenty_steps(*state, "llama_100k", false);
}

/* Biases on q, k, v alone; windows; norms of heads; Gemma's norms, gate, gains, embedding and two bases. */
static const char *const families[] = {"mistral_25k", "qwen2_25k", "qwen2_window_25k", "qwen3_25k",
                                       "gemma3_25k"};
enum { FAMILIES = sizeof families / sizeof *families };

static void families_equal_transformers(void **state) {
    for (int i = 0; i < FAMILIES; i++)
        twenty_steps(*state, families[i], false);
}

static void families_recomputed(void **state) {
    for (int i = 0; i < FAMILIES; i++)
        twenty_steps(*state, families[i], true);
}

static void recomputation_changes_nothing(void **state) {
    twenty_steps(*state, "gpt2_100k", true);
    twenty_steps(*state, "llama_100k", true);
}

/* The figures' other settings: a clip that only some steps exceed, and two micro-batches per step. */
static void variants_equal_pytorch(void **state) {
    const char *const names[] = {"gpt2_100k", "llama_100k"};
    for (int n = 0; n < 2; n++) {
        for (int v = 0; v < 2; v++) {
            char *path = tv_test_golden_path(names[n], ".json");
            cJSON *figures = NULL;
            assert_ok(tv_json_read_file(path, &figures));
            const cJSON *variant = cJSON_GetArrayItem(tv_json_get(figures, "variants"), v);
            const cJSON *changed = tv_json_get(variant, "settings");
            const cJSON *clip = tv_json_get(changed, "grad_clip"),
                        *accum = tv_json_get(changed, "grad_accum");
            golden g = open_golden(*state, names[n], BATCH, accum ? (uint64_t)accum->valueint : 1, false,
                                   TV_OPTIMIZER_ADAMW);
            run_steps(&g, names[n], variant, clip ? clip->valuedouble : 1);
            close_golden(&g);
            cJSON_Delete(figures);
            free(path);
        }
    }
}

/* torch.optim.Muon for the hidden matrices (make_muon.py), q, k and v of both models apart. */
static void muon_steps(tv_device *device) {
    const char *const names[] = {"gpt2_100k", "llama_100k"};
    char *path = tv_test_golden_path("muon", ".json");
    cJSON *figures = NULL;
    assert_ok(tv_json_read_file(path, &figures));
    for (int n = 0; n < 2; n++) {
        golden g = open_golden(device, names[n], BATCH, 1, false, TV_OPTIMIZER_MUON);
        run_steps(&g, names[n], tv_json_get(figures, names[n]), 1);
        close_golden(&g);
    }
    cJSON_Delete(figures);
    free(path);
}

static void muon_equals_pytorch(void **state) {
    muon_steps(*state);
}

/* Every binding at most 1 MiB, every grid folded at 64 workgroups: the same figures. */
static void small_limits_change_nothing(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=1048576,group_count_x=64");
    twenty_steps(device, "gpt2_100k", false);
    twenty_steps(device, "llama_100k", false);
    twenty_steps(device, "gemma3_25k", false);
    muon_steps(device);
    tv_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_equals_pytorch),           cmocka_unit_test(llama_equals_pytorch),
        cmocka_unit_test(recomputation_changes_nothing), cmocka_unit_test(variants_equal_pytorch),
        cmocka_unit_test(families_equal_transformers),   cmocka_unit_test(families_recomputed),
        cmocka_unit_test(muon_equals_pytorch),           cmocka_unit_test(small_limits_change_nothing),
    };
    return cmocka_run_group_tests(tests, open_device, tv_test_close_device);
}
