/* Every family against transformers: logits of a padded batch under its own weights, and under every kind of
 * rotary positions (tests/golden/README.md, make_families.py).
 *
 * Tolerance 1e-4 on logits of size 1 to 5 that transformers gives in float64. Sums of at most 50 products in
 * fp32 over 3 layers err by some 1e-6; its cosines come from float32 angles, which are off by 80 * 6e-8 =
 * 5e-6 at the last position. Measured on lavapipe, 2026-11-29: at most 7e-6.
 */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/load.h"
#include "model/forward.h"
#include "model/heads.h"
#include "vk/transfer.h"

#define GOLDEN TRIVIUM_SOURCE_DIR "/tests/golden/"
static const double tolerance = 1e-4;

enum { FIRST_OF_SEQUENCE = 1000 /* in tokens.bin, sequence i begins at so many times i */ };

/* The batch of the figures: rows of `longest` tokens, filled up with token 0. */
static uint32_t *read_tokens(const cJSON *lengths, uint64_t *longest) {
    uint64_t rows = (uint64_t)cJSON_GetArraySize(lengths), row = 0;
    *longest = (uint64_t)cJSON_GetArrayItem(lengths, 0)->valueint;
    uint32_t *tokens = calloc(rows * *longest, sizeof *tokens);
    FILE *file = fopen(GOLDEN "tokens.bin", "rb");
    assert_true(tokens && file);
    const cJSON *length;
    cJSON_ArrayForEach(length, lengths) {
        uint16_t word;
        assert_int_equal(fseek(file, (long)(1024 + 2 * FIRST_OF_SEQUENCE * row), SEEK_SET), 0);
        for (int t = 0; t < length->valueint; t++) {
            assert_int_equal(fread(&word, sizeof word, 1, file), 1);
            tokens[row * *longest + (uint64_t)t] = word;
        }
        row++;
    }
    fclose(file);
    return tokens;
}

/* Logits of all rows of the batch: (rows, V); the caller frees. */
static float *all_logits(tv_device *device, const tv_model *model, const uint32_t *tokens, uint64_t batch,
                         uint64_t length) {
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    tv_activations *activations = NULL;
    assert_ok(tv_activations_create(device, tv_device_caps(device), tv_model_list(model),
                                    &(tv_activations_options){.batch = batch, .tokens = length},
                                    &activations));
    tv_test_tensor in = tv_test_uints(device, batch * length, tokens);
    tv_recorder *recorder = tv_test_begin(device);
    tv_tensor chunk;
    assert_ok(tv_forward(recorder, model, activations, &(tv_model_inputs){.tokens = in.tensor}));
    assert_ok(tv_language_logits(recorder, model, activations, 0, batch * length, &chunk));
    tv_test_run(device, recorder);
    float *logits = calloc(batch * length * vocab, sizeof *logits);
    assert_ok(tv_download(device, chunk.span, logits, batch * length * vocab * sizeof *logits));
    tv_test_free(&in);
    tv_activations_destroy(&activations);
    return logits;
}

/* `expected` holds lists of V logits for the rows of `figures`' logits_at. */
static void compare_logits(tv_device *device, const char *path, const char *name, const cJSON *figures,
                           const cJSON *expected) {
    tv_model_directory *directory = NULL;
    tv_model *model = NULL;
    assert_ok(tv_model_directory_open(path, &directory));
    assert_ok(tv_model_create(device, tv_model_directory_parameters(directory), false, &model));
    assert_ok(tv_model_load(model, directory));
    const cJSON *lengths = tv_json_get(figures, "lengths"), *at = tv_json_get(figures, "logits_at")->child,
                *row;
    uint64_t longest, vocab = tv_model_list(model)->config.vocab_size;
    uint32_t *tokens = read_tokens(lengths, &longest);
    float *logits = all_logits(device, model, tokens, (uint64_t)cJSON_GetArraySize(lengths), longest);
    double worst = 0;
    cJSON_ArrayForEach(row, expected) {
        uint64_t b = (uint64_t)at->child->valueint, t = (uint64_t)at->child->next->valueint, v = 0;
        const cJSON *item;
        cJSON_ArrayForEach(item, row) {
            double off = fabs((double)logits[(b * longest + t) * vocab + v++] - item->valuedouble);
            if (!(off <= tolerance))
                fail_msg("%s: logit %d of sequence %d, position %d is off by %g", name, (int)v - 1, (int)b,
                         (int)t, off);
            worst = fmax(worst, off);
        }
        assert_int_equal(v, vocab);
        at = at->next;
    }
    print_message("%s: logits are off by at most %.2g\n", name, worst);
    free(logits);
    free(tokens);
    tv_model_destroy(&model);
    tv_model_directory_close(&directory);
}

static cJSON *read_figures(const char *name) {
    cJSON *figures = NULL;
    char *path = tv_format(GOLDEN "%s.json", name);
    assert_ok(tv_json_read_file(path, &figures));
    free(path);
    return figures;
}

static void logits_equal_transformers(void **state) {
    const char *const names[] = {"mistral_25k", "qwen2_25k", "qwen2_window_25k", "qwen3_25k", "gemma3_25k"};
    for (size_t i = 0; i < TV_COUNT(names); i++) {
        cJSON *figures = read_figures(names[i]);
        char *path = tv_format(GOLDEN "%s", names[i]);
        compare_logits(*state, path, names[i], figures, tv_json_get(figures, "logits"));
        free(path);
        cJSON_Delete(figures);
    }
}

/* The same weights under a config.json with other positions. `old`: in the older spelling. */
static void write_variant(const char *dir, const cJSON *positions, bool old) {
    cJSON *config = NULL;
    char *path = tv_format("%s/config.json", dir), *weights = tv_format("%s/model.safetensors", dir);
    assert_ok(tv_json_read_file(GOLDEN "qwen2_25k/config.json", &config));
    cJSON_DeleteItemFromObjectCaseSensitive(config, "rope_parameters");
    cJSON *copy = cJSON_Duplicate(positions, true);
    if (old) {
        cJSON *theta = cJSON_DetachItemFromObjectCaseSensitive(copy, "rope_theta");
        assert_true(cJSON_AddItemToObject(config, "rope_theta", theta));
    }
    assert_true(cJSON_AddItemToObject(config, old ? "rope_scaling" : "rope_parameters", copy));
    assert_ok(tv_json_write_file(path, config));
    char *bytes = NULL;
    uint64_t size;
    assert_ok(tv_read_file(GOLDEN "qwen2_25k/model.safetensors", &bytes, &size));
    assert_ok(tv_write_file(weights, bytes, size));
    free(bytes);
    cJSON_Delete(config);
    free(path);
    free(weights);
}

static void rotary_kinds_equal_transformers(void **state) {
    cJSON *figures = read_figures("rotary");
    const cJSON *variant;
    bool old = false;
    cJSON_ArrayForEach(variant, tv_json_get(figures, "variants")) {
        char *dir = tv_test_dir();
        write_variant(dir, tv_json_get(variant, "rope_parameters"), old);
        compare_logits(*state, dir, tv_json_get(variant, "name")->valuestring, figures,
                       tv_json_get(variant, "logits"));
        tv_test_dir_remove(&dir);
        old = !old;
    }
    cJSON_Delete(figures);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_transformers),
        cmocka_unit_test(rotary_kinds_equal_transformers),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
