/* The first step against PyTorch: see golden.h. */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/layout.h"
#include "formats/load.h"
#include "formats/safetensors.h"
#include "text/loader.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { BATCH = 4, TOKENS = 64 };
static const double loss_tolerance = 2e-6, norm_tolerance = 1e-5, gradient_tolerance = 5e-6,
                    zero_tolerance = 1e-7;

char *tv_test_golden_path(const char *name, const char *suffix) {
    char *path = tv_format("%s/tests/golden/%s%s", TRIVIUM_SOURCE_DIR, name, suffix);
    assert_non_null(path);
    return path;
}

static double first_figure(const cJSON *figures, const char *key) {
    const cJSON *item = cJSON_GetArrayItem(tv_json_get(figures, key), 0);
    assert_non_null(item);
    return item->valuedouble;
}

tv_test_golden_model tv_test_golden_open(const char *name) {
    tv_test_golden_model golden = {.name = name};
    char *figures_path = tv_test_golden_path(name, ".json"), *model = tv_test_golden_path(name, ""),
         *shard = tv_test_golden_path("tokens", ".bin");
    cJSON *figures = NULL;
    assert_ok(tv_json_read_file(figures_path, &figures));
    golden.loss = first_figure(figures, "loss");
    golden.grad_norm = first_figure(figures, "grad_norm");
    cJSON_Delete(figures);
    assert_ok(tv_model_directory_open(model, &golden.directory));
    tv_loader_source source = {shard, 0};
    tv_loader *loader = NULL;
    assert_ok(tv_loader_create(
        &(tv_loader_options){.sources = &source, .source_count = 1, .batch_size = BATCH, .seq_len = TOKENS},
        &loader));
    assert_ok(tv_loader_next(loader, &(tv_batch){golden.tokens, golden.targets, NULL}));
    tv_loader_destroy(&loader);
    tv_free_all(figures_path, model, shard);
    return golden;
}

void tv_test_golden_close(tv_test_golden_model *golden) {
    tv_model_directory_close(&golden->directory);
}

static void compare_rows(const char *how, const char *name, const float *actual, const float *expected,
                         uint64_t count) {
    double norm = 0, difference = 0;
    for (uint64_t i = 0; i < count; i++) {
        double d = (double)actual[i] - (double)expected[i];
        norm += (double)expected[i] * (double)expected[i];
        difference += d * d;
    }
    norm = sqrt(norm);
    difference = sqrt(difference);
    if (!(difference <= (norm < 1e-9 ? zero_tolerance : gradient_tolerance * norm)))
        fail_msg("%s: gradient of %s is off by %.3g, its norm is %.6g", how, name, difference, norm);
}

/* Every tensor of the file, in the file's names and the model's layout; a GPT-2's qkv bias by its thirds. */
static void compare_gradients(const tv_test_golden_model *golden, const tv_parameter_list *list,
                              const char *how, const float *flat) {
    char *path = tv_test_golden_path(golden->name, "_grads.safetensors");
    tv_safetensors *file = NULL;
    tv_layout *layout = NULL;
    assert_ok(tv_safetensors_open(path, &file));
    assert_ok(tv_layout_create(list, &layout));
    float *expected = calloc(list->max_elements, sizeof *expected);
    assert_non_null(expected);
    assert_int_equal(tv_safetensors_count(file), layout->count);
    for (uint64_t i = 0; i < layout->count; i++) {
        const tv_layout_entry *entry = &layout->entries[i];
        const tv_parameter *parameter = &list->items[entry->parameter];
        const tv_safetensor *tensor = tv_safetensors_find(file, entry->name);
        assert_non_null(tensor);
        assert_int_equal(tensor->count, entry->rows * parameter->shape[1]);
        assert_ok(tv_safetensors_read(file, tensor, 0, entry->shape[0], entry->transposed, expected));
        const float *actual =
            flat + tv_test_flat_offset(list, entry->parameter) + entry->first_row * parameter->shape[1];
        uint64_t parts = parameter->role == TV_PARAMETER_QKV_BIAS ? 3 : 1, count = tensor->count / parts;
        for (uint64_t p = 0; p < parts; p++)
            compare_rows(how, entry->name, actual + p * count, expected + p * count, count);
    }
    free(expected);
    tv_layout_destroy(&layout);
    tv_safetensors_close(&file);
    free(path);
}

static void compare_figure(const char *how, const char *what, double actual, double expected,
                           double tolerance) {
    if (!(fabs(actual - expected) <= tolerance * expected))
        fail_msg("%s: %s %.9g, expected %.9g (off by %.3g)", how, what, actual, expected,
                 fabs(actual - expected) / expected);
}

static tv_status first_batch(void *context, tv_micro_batch *batch) {
    const tv_test_golden_model *golden = context;
    memcpy(batch->tokens, golden->tokens, sizeof golden->tokens);
    memcpy(batch->targets, golden->targets, sizeof golden->targets);
    return TV_OK;
}

static void step_of_trainer(const tv_test_golden_model *golden, tv_model *model, const char *how,
                            bool recompute) {
    tv_trainer *trainer = NULL;
    tv_step_result result;
    bool has_result;
    assert_ok(tv_trainer_create(model,
                                &(tv_trainer_options){.stage = "golden",
                                                      .batch = BATCH,
                                                      .tokens = TOKENS,
                                                      .grad_accum = 1,
                                                      .recompute = recompute,
                                                      .train = true},
                                &trainer));
    const struct tv_step_constants constants = {.grad_clip = 1};
    tv_test_golden_model copy = *golden;
    assert_ok(tv_trainer_step(trainer, &constants, first_batch, &copy, &result, &has_result));
    assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_true(has_result);
    compare_figure(how, "the trainer's loss", result.loss, golden->loss, loss_tolerance);
    compare_figure(how, "gradient norm", result.grad_norm, golden->grad_norm, norm_tolerance);
    tv_trainer_destroy(&trainer);
}

void tv_test_golden_first_step(tv_device *device, const tv_test_golden_model *golden, const char *how,
                               bool recompute) {
    const tv_parameter_list *list = tv_model_directory_parameters(golden->directory);
    const tv_test_batch batch = {
        .batch = BATCH, .tokens = TOKENS, .token = golden->tokens, .target = golden->targets};
    char *what = tv_format("%s, %s", golden->name, how);
    float *flat = calloc(list->elements, sizeof *flat);
    assert_non_null(what);
    assert_non_null(flat);
    tv_test_language_model lm = tv_test_language_model_create(device, list, &batch, recompute);
    assert_ok(tv_model_load(lm.model, golden->directory));
    compare_figure(what, "loss", tv_test_loss(&lm, NULL), golden->loss, loss_tolerance);
    tv_test_gradients(&lm, flat);
    compare_gradients(golden, list, what, flat);
    for (uint32_t i = 0; i < list->count; i++)
        assert_ok(tv_clear(device, tv_model_gradient_at(lm.model, i).span));
    step_of_trainer(golden, lm.model, what, recompute);
    tv_test_language_model_free(&lm);
    free(flat);
    free(what);
}
