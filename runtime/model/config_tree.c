/* config.json, written: see config.h. */
#include "base/bytes.h"
#include "model/config_keys.h"

static bool set_token(cJSON *root, const char *key, int64_t id) {
    return id >= 0 ? tv_json_set_number(root, key, (double)id) : cJSON_AddNullToObject(root, key) != NULL;
}

static bool set_eos(cJSON *root, const tv_model_config *config) {
    if (config->more_eos_token_ids[0] < 0)
        return set_token(root, "eos_token_id", config->eos_token_id);
    cJSON *list = cJSON_AddArrayToObject(root, "eos_token_id");
    bool done = list && cJSON_AddItemToArray(list, cJSON_CreateNumber((double)config->eos_token_id));
    for (int i = 0; done && i < TV_MAX_MORE_EOS && config->more_eos_token_ids[i] >= 0; i++)
        done = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)config->more_eos_token_ids[i]));
    return done;
}

/* id2label is what transformers writes and counts; num_labels is what people look for. */
static bool set_one_label(cJSON *root) {
    cJSON *names = cJSON_AddObjectToObject(root, "id2label");
    cJSON *numbers = cJSON_AddObjectToObject(root, "label2id");
    return names && numbers && tv_json_set_string(names, "0", "LABEL_0") &&
           tv_json_set_number(numbers, "LABEL_0", 0) && tv_json_set_number(root, "num_labels", 1);
}

tv_status tv_model_config_tree(const tv_model_config *config, cJSON **root) {
    const tv_family *family = tv_family_of(config->architecture);
    tv_model_config copy = *config;
    cJSON *tree = cJSON_CreateObject();
    cJSON *list = tree ? cJSON_AddArrayToObject(tree, "architectures") : NULL;
    bool done = list &&
                cJSON_AddItemToArray(list, cJSON_CreateString(tv_model_config_architecture(config))) &&
                tv_json_set_string(tree, "model_type", family->model_type);
    for (uint64_t i = 0; done && i < family->size_count; i++)
        done =
            tv_json_set_number(tree, family->sizes[i].key, (double)*tv_size_slot(&copy, &family->sizes[i]));
    done = done && tv_json_set_number(tree, family->norm_eps_key, config->norm_eps) &&
           tv_json_set_number(tree, "initializer_range", config->initializer_range) &&
           tv_json_set_bool(tree, "tie_word_embeddings", config->tied) &&
           set_token(tree, "bos_token_id", config->bos_token_id) && set_eos(tree, config) &&
           set_token(tree, "pad_token_id", config->pad_token_id) &&
           tv_json_set_string(tree, "torch_dtype", "float32");
    /* Newer transformers still read rope_theta and torch_dtype; older ones do not know rope_parameters and
     * dtype. GPT2Config's dropout would be 0.1 unless told. */
    for (uint64_t i = 0; i < TV_COUNT(family->fixed) && family->fixed[i].key; i++)
        if (family->fixed[i].texts[0])
            done = done && tv_json_set_string(tree, family->fixed[i].key, family->fixed[i].texts[0]);
    if (config->architecture == TV_ARCH_GPT2)
        done = done && tv_json_set_number(tree, "attn_pdrop", 0) &&
               tv_json_set_number(tree, "embd_pdrop", 0) && tv_json_set_number(tree, "resid_pdrop", 0);
    if (family->attention_bias_key)
        done = done && tv_json_set_bool(tree, family->attention_bias_key, config->attention_bias);
    if (family->mlp_bias_key)
        done = done && tv_json_set_bool(tree, family->mlp_bias_key, config->mlp_bias);
    if (family->query_scalar_key)
        done = done && tv_json_set_number(tree, family->query_scalar_key, config->query_scalar);
    done = done && tv_window_write(tree, family, config) && tv_rotary_write(tree, family, config);
    if (config->head == TV_MODEL_HEAD_SCORE)
        done = done && set_one_label(tree);
    if (!done) {
        cJSON_Delete(tree);
        return tv_fail(TV_E_MEMORY, "out of host memory for a model's configuration");
    }
    *root = tree;
    return TV_OK;
}
