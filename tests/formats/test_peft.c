/* formats/peft: PEFT's names and shapes, written by hand from its source; what is written reads back bit for
 * bit over its base; what is not LoRA of one rank, or of another base, is refused by name.
 *
 * Tried: A and B exchanged in the names, q's B written for k, fan_in_fan_out always false, fields beyond
 * those that are known let through: each fails here.
 */
#include "support/small_config.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "formats/directory.h"
#include "formats/peft.h"
#include "formats/safetensors.h"

static tv_model_config config_of(tv_architecture architecture) {
    tv_model_config c = tv_test_config(
        architecture,
        (tv_test_sizes){
            .vocab = 23, .layers = 2, .heads = 3, .channels = 18, .head_size = 6, .ffn = 20, .positions = 8});
    c.n_kv_head = architecture == TV_ARCH_LLAMA ? 1 : 3;
    c.bos_token_id = c.eos_token_id = c.pad_token_id = -1;
    return c;
}

static tv_status value_at(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                          void *out) {
    const tv_parameter *p = &((const tv_parameter_list *)context)->items[index];
    assert_int_equal(dtype, TV_F32);
    for (uint64_t i = 0; i < rows * p->shape[1]; i++)
        ((float *)out)[i] = (float)index + (float)(p->role == TV_PARAMETER_ADAPTER_B) * 0.5f +
                            (float)(first_row * p->shape[1] + i) * 1e-3f;
    return TV_OK;
}

/* A folder with a base of this architecture and an adapter over it: all its matrices, or `names`. */
typedef struct written {
    char *dir, *base, *adapter;
    tv_parameter_list *list;
} written;

static written write_both(tv_architecture architecture, tv_model_head head, const char *const *names,
                          uint64_t count) {
    written w = {.dir = tv_test_dir()};
    tv_model_config config = config_of(architecture);
    tv_parameter_list *plain = NULL;
    tv_adapter adapter = {.rank = 4, .alpha = 6, .rslora = true};
    w.base = tv_format("%s/base", w.dir);
    w.adapter = tv_format("%s/adapter", w.dir);
    assert_ok(tv_make_dirs(w.base));
    assert_ok(tv_make_dirs(w.adapter));
    assert_ok(tv_parameter_list_create(&config, &plain));
    assert_ok(tv_model_directory_write(w.base, plain, value_at, plain));
    tv_parameter_list_destroy(&plain);
    config.head = head;
    assert_ok(tv_peft_targets(&config, "targets", names, count, &adapter));
    adapter.base = w.base;
    assert_ok(tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &adapter}, &w.list));
    assert_ok(tv_model_directory_write(w.adapter, w.list, value_at, w.list));
    return w;
}

static void remove_both(written *w) {
    tv_parameter_list_destroy(&w->list);
    tv_free_all(w->base, w->adapter);
    tv_test_dir_remove(&w->dir);
}

static const char *const all[] = {"all-linear"};

typedef struct named {
    const char *name;
    uint64_t rows, columns;
    tv_parameter_role role;
    uint32_t layer, target;
    bool b;
} named;

static void expect_tensors(const written *w, const named *tensors, uint64_t count, uint64_t in_all) {
    tv_safetensors *file = NULL;
    char *path = tv_format("%s/adapter_model.safetensors", w->adapter);
    assert_ok(tv_safetensors_open(path, &file));
    assert_int_equal(tv_safetensors_count(file), in_all);
    for (uint64_t i = 0; i < count; i++) {
        const named *n = &tensors[i];
        const tv_safetensor *tensor = tv_safetensors_find(file, n->name);
        if (!tensor)
            fail_msg("no tensor %s", n->name);
        assert_int_equal(tensor->rank, 2);
        assert_int_equal(tensor->shape[0], n->rows);
        assert_int_equal(tensor->shape[1], n->columns);
        float first;
        assert_ok(tv_safetensors_copy(file, tensor, 0, sizeof first, &first));
        uint32_t index = tv_parameter_index(w->list, n->role, n->layer) + 1 + 2 * n->target + n->b;
        assert_near(first, (float)index + (n->b ? 0.5f : 0), 0);
    }
    tv_safetensors_close(&file);
    free(path);
}

#define LLAMA(layer, module) "base_model.model.model.layers." #layer "." module ".weight"
#define GPT2(layer, module)  "base_model.model.transformer.h." #layer "." module ".weight"

static void tensors_have_the_names_of_peft(void **state) {
    (void)state;
    static const named of_llama[] = {
        {LLAMA(0, "self_attn.q_proj.lora_A"), 4, 18, TV_PARAMETER_QKV_WEIGHT, 0, 0, false},
        {LLAMA(1, "self_attn.q_proj.lora_B"), 18, 4, TV_PARAMETER_QKV_WEIGHT, 1, 0, true},
        {LLAMA(0, "self_attn.k_proj.lora_B"), 6, 4, TV_PARAMETER_QKV_WEIGHT, 0, 1, true},
        {LLAMA(1, "self_attn.v_proj.lora_A"), 4, 18, TV_PARAMETER_QKV_WEIGHT, 1, 2, false},
        {LLAMA(0, "self_attn.o_proj.lora_A"), 4, 18, TV_PARAMETER_ATTN_OUT_WEIGHT, 0, 0, false},
        {LLAMA(0, "mlp.gate_proj.lora_B"), 20, 4, TV_PARAMETER_MLP_IN_WEIGHT, 0, 0, true},
        {LLAMA(1, "mlp.up_proj.lora_B"), 20, 4, TV_PARAMETER_MLP_IN_WEIGHT, 1, 1, true},
        {LLAMA(0, "mlp.down_proj.lora_A"), 4, 20, TV_PARAMETER_MLP_OUT_WEIGHT, 0, 0, false},
    };
    written w = write_both(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE, all, 1);
    expect_tensors(&w, of_llama, TV_COUNT(of_llama), 2 * 2 * 7);
    remove_both(&w);
    static const named of_gpt2[] = {
        {GPT2(0, "attn.c_attn.lora_A"), 4, 18, TV_PARAMETER_QKV_WEIGHT, 0, 0, false},
        {GPT2(1, "attn.c_attn.lora_B"), 54, 4, TV_PARAMETER_QKV_WEIGHT, 1, 0, true},
        {GPT2(0, "attn.c_proj.lora_B"), 18, 4, TV_PARAMETER_ATTN_OUT_WEIGHT, 0, 0, true},
        {GPT2(0, "mlp.c_fc.lora_B"), 20, 4, TV_PARAMETER_MLP_IN_WEIGHT, 0, 0, true},
        {GPT2(1, "mlp.c_proj.lora_A"), 4, 20, TV_PARAMETER_MLP_OUT_WEIGHT, 1, 0, false},
    };
    w = write_both(TV_ARCH_GPT2, TV_MODEL_HEAD_LANGUAGE, all, 1);
    expect_tensors(&w, of_gpt2, TV_COUNT(of_gpt2), 2 * 2 * 4);
    remove_both(&w);
    /* The head of a reward model is the adapter's, under modules_to_save's name. */
    static const named of_score[] = {
        {"base_model.model.score.weight", 1, 18, TV_PARAMETER_SCORE_WEIGHT, 0, 0, false}};
    w = write_both(TV_ARCH_LLAMA, TV_MODEL_HEAD_SCORE, all, 1);
    tv_safetensors *file = NULL;
    char *path = tv_format("%s/adapter_model.safetensors", w.adapter);
    assert_ok(tv_safetensors_open(path, &file));
    assert_non_null(tv_safetensors_find(file, of_score[0].name));
    tv_safetensors_close(&file);
    free(path);
    remove_both(&w);
}

static cJSON *read_config(const written *w) {
    char *path = tv_format("%s/adapter_config.json", w->adapter);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    free(path);
    return root;
}

static void expect_targets(const cJSON *root, const char *expected) {
    char *line = NULL;
    assert_ok(tv_json_print_line(tv_json_get(root, "target_modules"), &line));
    assert_string_equal(line, expected);
    free(line);
}

static void the_config_is_of_peft(void **state) {
    (void)state;
    static const char *const attention[] = {"c_attn", "attn.c_proj"}, *const values[] = {"v_proj"};
    written w = write_both(TV_ARCH_GPT2, TV_MODEL_HEAD_LANGUAGE, all, 1);
    cJSON *root = read_config(&w);
    assert_string_equal(tv_json_get(root, "peft_type")->valuestring, "LORA");
    assert_string_equal(tv_json_get(root, "task_type")->valuestring, "CAUSAL_LM");
    assert_string_equal(tv_json_get(root, "bias")->valuestring, "none");
    assert_string_equal(tv_json_get(root, "base_model_name_or_path")->valuestring, w.base);
    assert_near(tv_json_get(root, "r")->valuedouble, 4, 0);
    assert_near(tv_json_get(root, "lora_alpha")->valuedouble, 6, 0);
    assert_true(cJSON_IsTrue(tv_json_get(root, "use_rslora")));
    assert_true(cJSON_IsTrue(tv_json_get(root, "fan_in_fan_out")));
    expect_targets(root, "[\"c_attn\",\"c_proj\",\"c_fc\"]");
    cJSON_Delete(root);
    remove_both(&w);
    /* A name that would also match the MLP's matrix gets the word before it. */
    w = write_both(TV_ARCH_GPT2, TV_MODEL_HEAD_LANGUAGE, attention, 2);
    root = read_config(&w);
    expect_targets(root, "[\"c_attn\",\"attn.c_proj\"]");
    cJSON_Delete(root);
    remove_both(&w);
    w = write_both(TV_ARCH_LLAMA, TV_MODEL_HEAD_SCORE, values, 1);
    root = read_config(&w);
    expect_targets(root, "[\"v_proj\"]");
    assert_true(cJSON_IsFalse(tv_json_get(root, "fan_in_fan_out")));
    assert_string_equal(tv_json_get(root, "task_type")->valuestring, "SEQ_CLS");
    assert_string_equal(tv_json_get(root, "modules_to_save")->child->valuestring, "score");
    cJSON_Delete(root);
    remove_both(&w);
}

static void expect_same_values(const written *w, const tv_model_directory *directory) {
    const tv_parameter_list *found = tv_model_directory_parameters(directory);
    assert_int_equal(found->count, w->list->count);
    float *values = calloc(found->max_elements, sizeof *values),
          *expected = calloc(found->max_elements, sizeof *values);
    for (uint32_t i = 0; i < found->count; i++) {
        const tv_parameter *p = &found->items[i];
        assert_ok(tv_model_directory_read(directory, i, values));
        assert_ok(value_at(w->list, i, 0, p->shape[0], TV_F32, expected));
        if (!tv_parameter_is_of_adapter(p) && p->role != TV_PARAMETER_SCORE_WEIGHT) {
            /* The base's values were made of its own positions. */
            const tv_parameter_list *base = tv_model_directory_parameters(tv_model_directory_base(directory));
            assert_ok(value_at((void *)(uintptr_t)base, tv_parameter_index(base, p->role, p->layer), 0,
                               p->shape[0], TV_F32, expected));
        }
        assert_memory_equal(values, expected, p->count * sizeof *values);
        assert_int_equal(p->trainable, tv_parameter_is_of_adapter(p) || p->role == TV_PARAMETER_SCORE_WEIGHT);
    }
    tv_free_all(values, expected);
}

static void what_is_written_reads_back(void **state) {
    (void)state;
    static const char *const some[] = {"mlp.up_proj", "k_proj", "o_proj"};
    for (int i = 0; i < 4; i++) {
        written w = write_both(i == 1 ? TV_ARCH_GPT2 : TV_ARCH_LLAMA,
                               i == 2 ? TV_MODEL_HEAD_SCORE : TV_MODEL_HEAD_LANGUAGE, i == 3 ? some : all,
                               i == 3 ? 3 : 1);
        tv_model_directory *directory = NULL;
        assert_ok(tv_model_directory_open(w.adapter, &directory));
        const tv_parameter_list *list = tv_model_directory_parameters(directory);
        assert_int_equal(list->adapter.rank, 4);
        assert_near(tv_adapter_scale(&list->adapter), 3, 0);
        assert_int_equal(list->config.head, i == 2 ? TV_MODEL_HEAD_SCORE : TV_MODEL_HEAD_LANGUAGE);
        expect_same_values(&w, directory);
        tv_model_directory_close(&directory);
        /* Over another directory of the same sizes, which it does not name. */
        char *moved = tv_format("%s/moved", w.dir);
        assert_ok(tv_rename_durable(w.base, moved));
        assert_fails(tv_model_directory_open(w.adapter, &directory), TV_E_DATA, "no directory here");
        assert_ok(tv_model_directory_open_adapted(moved, w.adapter, &directory));
        expect_same_values(&w, directory);
        tv_model_directory_close(&directory);
        free(moved);
        remove_both(&w);
    }
}

/* The config with one member replaced (`json` NULL: removed). */
static void change_config(const written *w, const char *key, const char *json) {
    cJSON *root = read_config(w);
    cJSON_DeleteItemFromObjectCaseSensitive(root, key);
    if (json)
        cJSON_AddItemToObject(root, key, cJSON_Parse(json));
    char *path = tv_format("%s/adapter_config.json", w->adapter);
    assert_ok(tv_json_write_file(path, root));
    free(path);
    cJSON_Delete(root);
}

static void other_kinds_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *key, *json;
        tv_status status; /* TV_OK: it is read */
        const char *word;
    } cases[] = {
        {"use_dora", "true", TV_E_CONFIG, "use_dora"},
        {"peft_type", "\"LOHA\"", TV_E_CONFIG, "LOHA"},
        {"bias", "\"all\"", TV_E_CONFIG, "bias"},
        {"rank_pattern", "{\"q_proj\": 8}", TV_E_CONFIG, "rank_pattern"},
        {"alpha_pattern", "{\"q_proj\": 8}", TV_E_CONFIG, "alpha_pattern"},
        {"layers_to_transform", "[0]", TV_E_CONFIG, "layers_to_transform"},
        {"layer_replication", "[[0, 1]]", TV_E_CONFIG, "layer_replication"},
        {"modules_to_save", "[\"lm_head\"]", TV_E_CONFIG, "modules_to_save"},
        {"modules_to_save", "[\"classifier\", \"score\"]", TV_OK, ""},
        {"init_lora_weights", "\"pissa\"", TV_E_CONFIG, "init_lora_weights"},
        {"init_lora_weights", "\"gaussian\"", TV_OK, ""},
        {"use_qalora", "true", TV_E_CONFIG, "use_qalora"},
        {"invented_since", "0.5", TV_E_CONFIG, "invented_since"},
        {"invented_since", "false", TV_OK, ""},
        {"lora_bias", "true", TV_E_CONFIG, "lora_bias"},
        {"lora_dropout", "0.1", TV_OK, ""},
        {"target_modules", "\".*_proj\"", TV_OK, ""},
        {"r", "0", TV_E_DATA, "\"r\""},
        {"r", "\"4\"", TV_E_DATA, "\"r\""},
        {"r", NULL, TV_E_DATA, "\"r\""},
        {"r", "8", TV_E_DATA, "expected (8, 18)"},
        {"lora_alpha", "-1", TV_E_DATA, "lora_alpha"},
        {"base_model_name_or_path", "\"org/name\"", TV_E_DATA, "\"org/name\""},
        {"base_model_name_or_path", NULL, TV_E_DATA, "does not name the base"},
        {"base_model_name_or_path", "\"../base\"", TV_OK, ""},
        {"base_model_name_or_path", "\".\"", TV_E_DATA, "is an adapter too"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        written w = write_both(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE, all, 1);
        tv_model_directory *directory = NULL;
        change_config(&w, cases[i].key, cases[i].json);
        if (strcmp(cases[i].word, "is an adapter too") == 0) {
            char *own = tv_format("\"%s\"", w.adapter);
            change_config(&w, cases[i].key, own);
            free(own);
        }
        tv_status status = tv_model_directory_open(w.adapter, &directory);
        if (status != cases[i].status || (status != TV_OK && !strstr(tv_last_error(), cases[i].word)))
            fail_msg("%s %s: status %d, \"%s\"", cases[i].key, cases[i].json, (int)status,
                     status == TV_OK ? "" : tv_last_error());
        tv_model_directory_close(&directory);
        remove_both(&w);
    }
}

/* The base's config.json with one size changed, and its weights rewritten for it. */
static void write_other_base(const written *w, const char *what) {
    tv_model_config config = config_of(TV_ARCH_LLAMA);
    if (strcmp(what, "ffn") == 0)
        config.ffn = 24;
    else if (strcmp(what, "layers") == 0)
        config.n_layer = 3;
    else
        config.channels = 24;
    tv_parameter_list *plain = NULL;
    assert_ok(tv_remove_tree(w->base));
    assert_ok(tv_make_dirs(w->base));
    assert_ok(tv_parameter_list_create(&config, &plain));
    assert_ok(tv_model_directory_write(w->base, plain, value_at, plain));
    tv_parameter_list_destroy(&plain);
}

static void another_base_is_refused(void **state) {
    (void)state;
    static const char *const sizes[] = {"ffn", "layers", "channels"};
    for (int own_config = 0; own_config < 2; own_config++)
        for (size_t i = 0; i < TV_COUNT(sizes); i++) {
            written w = write_both(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE, all, 1);
            char *config = tv_format("%s/config.json", w.adapter);
            write_other_base(&w, sizes[i]);
            if (!own_config) /* as PEFT alone writes it */
                assert_ok(tv_remove_tree(config));
            tv_model_directory *directory = NULL;
            assert_fails(tv_model_directory_open(w.adapter, &directory), TV_E_DATA,
                         own_config ? "model of other sizes"
                         : i == 1   ? "layers.2.self_attn.q_proj.lora_A.weight\" is missing"
                                    : "adapter for another model");
            free(config);
            remove_both(&w);
        }
    /* Tensors that the base has no matrix for. */
    written w = write_both(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE, all, 1),
            other = write_both(TV_ARCH_GPT2, TV_MODEL_HEAD_LANGUAGE, all, 1);
    tv_model_directory *directory = NULL;
    char *config = tv_format("%s/config.json", w.adapter);
    assert_ok(tv_remove_tree(config));
    assert_fails(tv_model_directory_open_adapted(other.base, w.adapter, &directory), TV_E_DATA,
                 "found none of layer 0");
    free(config);
    remove_both(&w);
    remove_both(&other);
}

static void unknown_targets_are_refused(void **state) {
    (void)state;
    const tv_model_config config = config_of(TV_ARCH_LLAMA);
    static const char *const bad[] = {"lm_head", "proj", "c_attn", "", "embed_tokens"};
    tv_adapter adapter = {.rank = 4, .alpha = 4};
    for (size_t i = 0; i < TV_COUNT(bad); i++)
        assert_fails(tv_peft_targets(&config, "lora", &bad[i], 1, &adapter), TV_E_CONFIG, "self_attn.q_proj");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_have_the_names_of_peft), cmocka_unit_test(the_config_is_of_peft),
        cmocka_unit_test(what_is_written_reads_back),     cmocka_unit_test(other_kinds_are_refused_by_name),
        cmocka_unit_test(another_base_is_refused),        cmocka_unit_test(unknown_targets_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
