/* Patterns of train.trainable: what each names, and what is refused with which words. */
#include "formats/trainable.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

static tv_parameter_list *list_of(tv_architecture architecture, tv_model_head head) {
    tv_model_config config = tv_model_config_defaults(architecture);
    tv_parameter_list *list = NULL;
    config.vocab_size = 100;
    config.n_layer = 12;
    config.n_head = config.n_kv_head = 2;
    config.head_size = 8;
    config.channels = 16;
    config.ffn = 24;
    config.max_positions = 32;
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    config.head = head;
    assert_ok(tv_parameter_list_create(&config, &list));
    return list;
}

/* How many parameters are named. */
static uint32_t named(const tv_parameter_list *list, const char *pattern, bool *trainable) {
    uint32_t count = 0;
    if (tv_trainable_parse(pattern, "train.trainable", list, trainable) != TV_OK)
        fail_msg("\"%s\": %s", pattern, tv_last_error());
    for (uint32_t i = 0; i < list->count; i++)
        count += trainable[i];
    return count;
}

static void patterns_name_what_they_say(void **state) {
    (void)state;
    tv_parameter_list *llama = list_of(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE),
                      *gpt2 = list_of(TV_ARCH_GPT2, TV_MODEL_HEAD_LANGUAGE),
                      *reward = list_of(TV_ARCH_LLAMA, TV_MODEL_HEAD_SCORE);
    bool t[256];
    const struct {
        const tv_parameter_list *list;
        const char *pattern;
        uint32_t count;
        tv_parameter_role role; /* one that is named */
        uint32_t layer;
    } cases[] = {
        {llama, "all", llama->count, TV_PARAMETER_EMBEDDING, 0},
        {llama, "layers.10-", 12, TV_PARAMETER_QKV_WEIGHT, 11},
        {llama, "layers.-1", 12, TV_PARAMETER_QKV_WEIGHT, 1},
        {llama, "layers.3", 6, TV_PARAMETER_NORM1_GAIN, 3},
        {llama, "layers.3-3, layers.5", 12, TV_PARAMETER_NORM1_GAIN, 5},
        {llama, "qkv", 12, TV_PARAMETER_QKV_WEIGHT, 0},
        {llama, "q_proj,k_proj,v_proj", 12, TV_PARAMETER_QKV_WEIGHT, 0},
        {llama, "mlp.down_proj", 12, TV_PARAMETER_MLP_OUT_WEIGHT, 7},
        {llama, "mlp.*", 24, TV_PARAMETER_MLP_IN_WEIGHT, 7},
        {llama, "model.layers.3.self_attn.o_proj.weight", 1, TV_PARAMETER_ATTN_OUT_WEIGHT, 3},
        {llama, "*norm*", 25, TV_PARAMETER_FINAL_NORM_GAIN, 0},
        {llama, "layer 4 qkv weight", 1, TV_PARAMETER_QKV_WEIGHT, 4},
        {llama, "lora", 0, TV_PARAMETER_ROLES, 0},
        {gpt2, "qkv bias", 12, TV_PARAMETER_QKV_BIAS, 2},
        {gpt2, "qkv", 24, TV_PARAMETER_QKV_BIAS, 2},
        {gpt2, "c_proj", 48, TV_PARAMETER_MLP_OUT_BIAS, 2},
        {gpt2, "wte", 1, TV_PARAMETER_EMBEDDING, 0},
        {reward, "lora", 1, TV_PARAMETER_SCORE_WEIGHT, 0},
        {reward, "layers.11", 7, TV_PARAMETER_SCORE_WEIGHT, 0},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        uint32_t count = named(cases[i].list, cases[i].pattern, t);
        if (count != cases[i].count)
            fail_msg("\"%s\" names %u parameters, expected %u", cases[i].pattern, count, cases[i].count);
        if (cases[i].role != TV_PARAMETER_ROLES)
            assert_true(t[tv_parameter_index(cases[i].list, cases[i].role, cases[i].layer)]);
    }
    tv_parameter_list_destroy(&llama);
    tv_parameter_list_destroy(&gpt2);
    tv_parameter_list_destroy(&reward);
}

static void nonsense_is_refused(void **state) {
    (void)state;
    tv_parameter_list *list = list_of(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE);
    bool t[256];
    const struct {
        const char *pattern, *word;
    } cases[] = {
        {"", "names no parameter"},
        {"qkv,", "names no parameter"},
        {"attention", "embedding, norm1, qkv, attn out, norm2, mlp in, mlp out, final norm, head"},
        {"qkv bias", "names no parameter"},
        {"layers.12", "0 to 11"},
        {"layers.5-3", "0 to 11"},
        {"layers.4294967296-", "0 to 11"},
        {"layers.99999999999999999999", "names no parameter"},
        {"layers.-", "names no parameter"},
        {"layers.1-2-3", "names no parameter"},
        {"q_proj", "k_proj"},
        {"gate_proj", "up_proj"},
        {"ALL", "names no parameter"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        assert_int_equal(tv_trainable_parse(cases[i].pattern, "train.trainable", list, t), TV_E_CONFIG);
        if (!strstr(tv_last_error(), cases[i].word) ||
            strncmp(tv_last_error(), "train.trainable: ", strlen("train.trainable: ")) != 0)
            fail_msg("\"%s\" gave: %s", cases[i].pattern, tv_last_error());
    }
    tv_parameter_list_destroy(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_name_what_they_say),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
