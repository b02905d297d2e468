/* Reward model directories: see model.h. */
#include "reward/model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "formats/load.h"
#include "formats/model_tokenizer.h"
#include "run/checkpoint.h"
#include "run/parameter_choice.h"
#include "text/tokenizer_json.h"

static const char scale_name[] = "reward.json";

/* ---- scale ---- */

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for a reward model");
}

static tv_status read_scale(const cJSON *root, const char *path, tv_reward_scale *scale) {
    int64_t samples = 0;
    TV_RETURN_IF_FAILED(tv_json_number(root, "mean", path, NAN, &scale->mean));
    TV_RETURN_IF_FAILED(tv_json_number(root, "deviation", path, NAN, &scale->deviation));
    TV_RETURN_IF_FAILED(tv_json_integer(root, "samples", path, 1, INT64_MAX, 0, &samples));
    if (!isfinite(scale->mean) || !isfinite(scale->deviation) || scale->deviation < 0 || samples < 1)
        return tv_fail(
            TV_E_DATA,
            "%s: expected the numbers \"mean\", \"deviation\" (0 or more) and \"samples\" of the "
            "model's scores, which trivium reward writes; remove the file to read scores as they are",
            path);
    scale->samples = (uint64_t)samples;
    return TV_OK;
}

tv_status tv_reward_scale_read(const char *directory, tv_reward_scale *scale) {
    *scale = (tv_reward_scale){.mean = 0, .deviation = 1, .samples = 0};
    cJSON *root = NULL;
    tv_status status = TV_OK;
    char *path = tv_format("%s/%s", directory, scale_name);
    if (!path)
        return no_memory();
    if (tv_path_exists(path)) {
        TV_TRY(tv_json_read_file(path, &root));
        TV_TRY(read_scale(root, path, scale));
    }
done:
    cJSON_Delete(root);
    free(path);
    return status;
}

tv_status tv_reward_scale_write(const char *directory, const tv_reward_scale *scale) {
    char *path = tv_format("%s/%s", directory, scale_name);
    cJSON *root = cJSON_CreateObject();
    bool built = path && root && tv_json_set_number(root, "mean", scale->mean) &&
                 tv_json_set_number(root, "deviation", scale->deviation) &&
                 tv_json_set_number(root, "samples", (double)scale->samples);
    tv_status status = built ? tv_json_write_file(path, root) : no_memory();
    cJSON_Delete(root);
    free(path);
    return status;
}

tv_reward_scale tv_reward_scale_of(const float *scores, uint64_t count) {
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)scores[i];
    double mean = count ? sum / (double)count : 0;
    for (uint64_t i = 0; i < count; i++)
        squares += ((double)scores[i] - mean) * ((double)scores[i] - mean);
    return (tv_reward_scale){mean, count ? sqrt(squares / (double)count) : 0, count};
}

double tv_reward_normalise(const tv_reward_scale *scale, double score) {
    return (score - scale->mean) / (scale->deviation > 0 ? scale->deviation : 1);
}

/* ---- directory ---- */

tv_status tv_reward_model_open(const char *given, const char *adapter, tv_reward_model *reward) {
    *reward = (tv_reward_model){0};
    tv_status status;
    TV_TRY_OR_FAIL(tv_model_given_open(given, adapter, &reward->path, &reward->directory));
    TV_TRY_OR_FAIL(
        tv_fail_advice(tv_model_config_expect_head(&tv_model_directory_parameters(reward->directory)->config,
                                                   TV_MODEL_HEAD_SCORE, reward->path),
                       TV_E_DATA, "`trivium reward` trains one from it"));
    TV_TRY_OR_FAIL(tv_model_tokenizer_load(tv_model_tokenizer_path(reward->directory), &reward->tokenizer));
    TV_TRY_OR_FAIL(tv_tokenizer_expect_vocab(
        reward->tokenizer, tv_model_directory_parameters(reward->directory)->config.vocab_size,
        reward->path));
    TV_TRY_OR_FAIL(tv_reward_scale_read(reward->path, &reward->scale));
    reward->encoder.tokenizer = reward->tokenizer;
    return TV_OK;
fail:
    tv_reward_model_close(reward);
    return status;
}

tv_status tv_reward_model_store(tv_reward_model *reward, tv_weights weights) {
    const tv_parameter_list *published = tv_model_directory_parameters(reward->directory);
    tv_parameter_list_destroy(&reward->stored);
    return weights == TV_WEIGHTS_AUTO
               ? TV_OK
               : tv_parameter_list_freeze(published, published, weights, &reward->stored);
}

const tv_parameter_list *tv_reward_model_list(const tv_reward_model *reward) {
    return reward->stored ? reward->stored : tv_model_directory_parameters(reward->directory);
}

tv_status tv_reward_model_load(tv_reward_model *reward, tv_device *device, const tv_model *store) {
    const tv_parameter_list *list = tv_reward_model_list(reward);
    TV_RETURN_IF_FAILED(store ? tv_model_create_over(store, list, false, &reward->model)
                              : tv_model_create(device, list, false, &reward->model));
    return tv_model_load(reward->model, reward->directory);
}

void tv_reward_model_close(tv_reward_model *reward) {
    tv_model_destroy(&reward->model);
    tv_parameter_list_destroy(&reward->stored);
    tv_prompt_encoder_free(&reward->encoder);
    tv_tokenizer_destroy(&reward->tokenizer);
    tv_model_directory_close(&reward->directory);
    free(reward->path);
    *reward = (tv_reward_model){0};
}

/* ---- text ---- */

static bool same_token(const tv_token *a, const tv_token *b) {
    if (!a || !b)
        return a == b;
    return a->spelling_length == b->spelling_length && a->special == b->special &&
           memcmp(a->spelling, b->spelling, a->spelling_length) == 0;
}

bool tv_reward_model_same_tokenizer(const tv_reward_model *reward, const tv_tokenizer *tokenizer) {
    const tv_tokenizer *own = reward->tokenizer;
    uint32_t vocab = tv_tokenizer_vocab_size(own);
    uint64_t merges = tv_tokenizer_merge_count(own);
    if (tv_tokenizer_vocab_size(tokenizer) != vocab || tv_tokenizer_merge_count(tokenizer) != merges)
        return false;
    for (uint32_t id = 0; id < vocab; id++)
        if (!same_token(tv_tokenizer_token(own, id), tv_tokenizer_token(tokenizer, id)))
            return false;
    const tv_merge *a = tv_tokenizer_merges(own), *b = tv_tokenizer_merges(tokenizer);
    for (uint64_t i = 0; i < merges; i++)
        if (a[i].left != b[i].left || a[i].right != b[i].right || a[i].merged != b[i].merged)
            return false;
    return true;
}

typedef struct encoding {
    tv_reward_model *reward;
    const tv_reward_text *text;
    tv_ids *ids;
} encoding;

static tv_status encode_line(void *context, const tv_json_line *line) {
    encoding *e = context;
    bool is_chat = false;
    uint64_t first = e->ids->size;
    TV_RETURN_IF_FAILED(
        tv_prompt_encode(&e->reward->encoder, line, tv_json_get(line->root, "prompt"), e->ids, &is_chat));
    TV_RETURN_IF_FAILED(
        tv_answer_encode(&e->reward->encoder, is_chat, e->text->response, e->text->length, e->ids));
    if (!e->text->ended)
        e->ids->size--;
    if (e->ids->size == first)
        return tv_fail(TV_E_DATA, "%s: prompt and response are empty, so there is no token to score",
                       line->where);
    return TV_OK;
}

tv_status tv_reward_model_encode(tv_reward_model *reward, const tv_reward_text *text, tv_ids *ids) {
    /* As a line of JSON, so that zero bytes within texts survive as they do in files. */
    char *line = tv_format("{\"prompt\": %s}", text->prompt);
    if (!line)
        return no_memory();
    encoding e = {reward, text, ids};
    tv_status status =
        tv_source_read_json_bytes((const uint8_t *)line, strlen(line), "prompt", encode_line, &e);
    free(line);
    return status;
}
