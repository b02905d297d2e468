/* Every family against transformers: logits of a padded batch under its own weights, and under every kind of
 * rotary positions (tests/golden/README.md, make_families.py).
 *
 * Tolerance 1e-4 on logits of size 1 to 5 that transformers gives in float64. Sums of at most 50 products in
 * fp32 over 3 layers err by some 1e-6; its cosines come from float32 angles, which are off by 80 * 6e-8 =
 * 5e-6 at the last position. Measured on lavapipe, 2026-11-29: at most 7e-6.
 */
#include "support/language_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "model/forward.h"
#include "model/heads.h"
#include "support/open_model.h"
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

/* `expected` holds lists of V logits for the rows of `figures`' logits_at. */
static void compare_logits(tv_device *device, const char *path, const char *name, const cJSON *figures,
                           const cJSON *expected) {
    tv_model_directory *directory = NULL;
    tv_model *model = NULL;
    tv_test_open_model(device, path, false, &directory, &model);
    const cJSON *lengths = tv_json_get(figures, "lengths"), *at = tv_json_get(figures, "logits_at")->child,
                *row;
    uint64_t longest, vocab = tv_model_list(model)->config.vocab_size;
    uint32_t *tokens = read_tokens(lengths, &longest);
    float *logits = tv_test_all_logits(model, tokens, (uint64_t)cJSON_GetArraySize(lengths), longest);
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

/* The score of a sequence is the last hidden state times the score weight; padding behind it changes nothing.
 */
static void scores_equal_transformers(void **state) {
    tv_device *device = *state;
    cJSON *figures = read_figures("family_scores");
    const cJSON *figure;
    cJSON_ArrayForEach(figure, tv_json_get(figures, "models")) {
        const char *name = tv_json_get(figure, "name")->valuestring;
        char *path = tv_format(GOLDEN "%s", name);
        tv_model_directory *directory = NULL;
        tv_model *model = NULL;
        tv_activations *activations = NULL;
        tv_test_open_model(device, path, false, &directory, &model);
        const tv_parameter_list *list = tv_model_directory_parameters(directory);
        assert_int_equal(list->config.head, TV_MODEL_HEAD_SCORE);
        enum { ROWS = 2, TOKENS = 30 };
        uint32_t tokens[ROWS * TOKENS], count = 0;
        const cJSON *row, *token;
        cJSON_ArrayForEach(row, tv_json_get(figure, "tokens"))
            cJSON_ArrayForEach(token, row)
                tokens[count++] = (uint32_t)token->valueint;
        assert_int_equal(count, ROWS * TOKENS);
        assert_ok(tv_model_need_context(model, TOKENS));
        assert_ok(tv_activations_create(device, tv_device_caps(device), list,
                                        &(tv_activations_options){.batch = ROWS, .tokens = TOKENS},
                                        &activations));
        tv_test_tensor in = tv_test_uints(device, ROWS * TOKENS, tokens);
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_forward(recorder, model, activations, &(tv_model_inputs){.tokens = in.tensor}));
        tv_test_run(device, recorder);
        uint64_t channels = list->config.channels;
        float *final = calloc(ROWS * TOKENS * channels, sizeof *final),
              *weight = calloc(channels, sizeof *weight);
        assert_ok(
            tv_download(device, activations->final.span, final, ROWS * TOKENS * channels * sizeof *final));
        assert_ok(tv_download(device, tv_model_parameter(model, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER).span,
                              weight, channels * sizeof *weight));
        for (int r = 0; r < ROWS; r++) {
            int last = cJSON_GetArrayItem(tv_json_get(figure, "lengths"), r)->valueint - 1;
            double score = 0;
            for (uint64_t c = 0; c < channels; c++)
                score += (double)weight[c] * (double) final[(uint64_t)(r * TOKENS + last) * channels + c];
            double off = score - cJSON_GetArrayItem(tv_json_get(figure, "scores"), r)->valuedouble;
            if (!(fabs(off) <= 1e-5))
                fail_msg("%s: the score of sequence %d is off by %g", name, r, off);
        }
        tv_free_all(final, weight, path);
        tv_test_free(&in);
        tv_activations_destroy(&activations);
        tv_model_destroy(&model);
        tv_model_directory_close(&directory);
    }
    cJSON_Delete(figures);
}

/* Every key that transformers writes for these models stands in what is saved, with its value; but for what
 * says the same in other words, or nothing about the arithmetic. tests/golden/check_export.py has
 * transformers open saved directories. */
static void saved_configs_have_the_keys_of_transformers(void **state) {
    (void)state;
    const char *const names[] = {"mistral_25k", "qwen2_25k",    "qwen2_window_25k", "qwen3_25k",
                                 "gemma3_25k",  "score_gemma3", "score_qwen3"};
    const char *const others[] = {"rope_parameters",   "transformers_version",    "dtype",    "use_cache",
                                  "attention_dropout", "_sliding_window_pattern", "label2id", "id2label",
                                  "max_window_layers"};
    for (size_t i = 0; i < TV_COUNT(names); i++) {
        char *path = tv_format(GOLDEN "%s/config.json", names[i]);
        tv_model_config config;
        cJSON *theirs = NULL, *ours = NULL;
        assert_ok(tv_json_read_file(path, &theirs));
        assert_ok(tv_model_config_read_file(path, &config));
        assert_ok(tv_model_config_tree(&config, &ours));
        const cJSON *item;
        int compared = 0;
        cJSON_ArrayForEach(item, theirs) {
            bool other = false;
            for (size_t k = 0; k < TV_COUNT(others); k++)
                other = other || strcmp(item->string, others[k]) == 0;
            const cJSON *own = tv_json_get(ours, item->string);
            bool none = cJSON_IsNull(item) || (cJSON_IsBool(item) && !cJSON_IsTrue(item));
            if (other || (!own && none))
                continue;
            if (!own || !cJSON_Compare(item, own, true))
                fail_msg("%s: \"%s\" is not what transformers writes", names[i], item->string);
            compared++;
        }
        assert_true(compared >= 14);
        assert_near(tv_json_get(ours, "rope_theta")->valuedouble, config.rotary.theta, 0);
        cJSON_Delete(theirs);
        cJSON_Delete(ours);
        free(path);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_equal_transformers),
        cmocka_unit_test(rotary_kinds_equal_transformers),
        cmocka_unit_test(scores_equal_transformers),
        cmocka_unit_test(saved_configs_have_the_keys_of_transformers),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
