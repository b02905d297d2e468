/* model/directory and model/model with a score head: a reward model is written where transformers looks for
 * it and read as transformers writes it; its body comes from a language model or another reward model; what
 * is no reward model is refused by name. */
#include "support/device.h"
#include "support/small_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/load.h"
#include "formats/safetensors.h"
#include "model/model.h"

static tv_model_config small(tv_architecture architecture, tv_model_head head) {
    tv_model_config c = tv_test_config(
        architecture,
        (tv_test_sizes){
            .vocab = 23, .layers = 2, .heads = 2, .channels = 8, .head_size = 4, .ffn = 12, .positions = 16});
    c.head = head;
    c.eos_token_id = 22;
    c.pad_token_id = 21;
    return c;
}

/* Different everywhere, and by `salt` from model to model. */
static float value_at(uint32_t index, uint64_t i, uint32_t salt) {
    return (float)(index * 256 + i) + 0.25f * (float)salt;
}

typedef struct values {
    const tv_parameter_list *list;
    uint32_t salt;
} values;

static tv_status yield_values(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                              tv_dtype dtype, void *out) {
    const values *v = context;
    uint64_t columns = v->list->items[index].shape[1];
    float *floats = out;
    assert_int_equal(dtype, TV_F32);
    for (uint64_t i = 0; i < rows * columns; i++)
        floats[i] = value_at(index, first_row * columns + i, v->salt);
    return TV_OK;
}

static void write_model(const char *path, const tv_model_config *config, uint32_t salt) {
    tv_parameter_list *list = NULL;
    assert_ok(tv_make_dirs(path));
    assert_ok(tv_parameter_list_create(config, &list));
    assert_ok(tv_model_directory_write(path, list, yield_values, &(values){list, salt}));
    tv_parameter_list_destroy(&list);
}

/* Both families: score.weight is (1, C) and there is no lm_head, whatever tie_word_embeddings says; nothing
 * for generation lies beside it. */
static void written_where_transformers_looks(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *weights = tv_format("%s/model.safetensors", dir);
    char *generation = tv_format("%s/generation_config.json", dir), *json = tv_format("%s/config.json", dir);
    for (int i = 0; i < 4; i++) {
        tv_model_config config = small(i % 2 ? TV_ARCH_LLAMA : TV_ARCH_GPT2, TV_MODEL_HEAD_SCORE);
        config.tied = i / 2;
        write_model(dir, &config, 0);
        tv_safetensors *file = NULL;
        assert_ok(tv_safetensors_open(weights, &file));
        const tv_safetensor *score = tv_safetensors_find(file, "score.weight");
        assert_non_null(score);
        assert_true(score->rank == 2 && score->shape[0] == 1 && score->shape[1] == 8);
        assert_null(tv_safetensors_find(file, "lm_head.weight"));
        assert_null(tv_safetensors_find(file, "score.bias"));
        tv_safetensors_close(&file);
        assert_false(tv_path_exists(generation));

        cJSON *root = NULL;
        assert_ok(tv_json_read_file(json, &root));
        assert_string_equal(cJSON_GetStringValue(tv_json_get(root, "architectures")->child),
                            i % 2 ? "LlamaForSequenceClassification" : "GPT2ForSequenceClassification");
        assert_near(cJSON_GetNumberValue(tv_json_get(root, "num_labels")), 1, 0);
        assert_int_equal(cJSON_GetArraySize(tv_json_get(root, "id2label")), 1);
        assert_int_equal(cJSON_GetArraySize(tv_json_get(root, "label2id")), 1);
        assert_near(cJSON_GetNumberValue(tv_json_get(root, "pad_token_id")), 21, 0);
        cJSON_Delete(root);

        tv_model_directory *d = NULL;
        assert_ok(tv_model_directory_open(dir, &d));
        const tv_parameter_list *list = tv_model_directory_parameters(d);
        assert_int_equal(list->config.head, TV_MODEL_HEAD_SCORE);
        float read[8];
        assert_ok(tv_model_directory_read(d, list->count - 1, read));
        for (uint64_t k = 0; k < 8; k++)
            assert_near(read[k], value_at(list->count - 1, k, 0), 0);
        tv_model_directory_close(&d);
    }
    tv_free_all(json, generation, weights);
    tv_test_dir_remove(&dir);
}

/* One tensor of a file that this test writes byte for byte: F32, its elements first, first + 1, ... */
typedef struct foreign {
    const char *name, *shape;
    uint64_t count;
} foreign;

/* A LlamaForSequenceClassification as safetensors' own library lays it out: metadata, names sorted. */
static const foreign llama_tensors[] = {
    {"model.embed_tokens.weight", "[6,4]", 24},
    {"model.layers.0.input_layernorm.weight", "[4]", 4},
    {"model.layers.0.mlp.down_proj.weight", "[4,5]", 20},
    {"model.layers.0.mlp.gate_proj.weight", "[5,4]", 20},
    {"model.layers.0.mlp.up_proj.weight", "[5,4]", 20},
    {"model.layers.0.post_attention_layernorm.weight", "[4]", 4},
    {"model.layers.0.self_attn.k_proj.weight", "[2,4]", 8},
    {"model.layers.0.self_attn.o_proj.weight", "[4,4]", 16},
    {"model.layers.0.self_attn.q_proj.weight", "[4,4]", 16},
    {"model.layers.0.self_attn.v_proj.weight", "[2,4]", 8},
    {"model.norm.weight", "[4]", 4},
    {"score.weight", "[1,4]", 4},
};
static const char llama_config[] =
    "{\n  \"architectures\": [\n    \"LlamaForSequenceClassification\"\n  ],\n  \"attention_bias\": false,\n"
    "  \"attention_dropout\": 0.0,\n  \"bos_token_id\": 1,\n  \"eos_token_id\": 2,\n  \"head_dim\": 2,\n"
    "  \"hidden_act\": \"silu\",\n  \"hidden_size\": 4,\n  \"id2label\": {\n    \"0\": \"LABEL_0\"\n  },\n"
    "  \"initializer_range\": 0.02,\n  \"intermediate_size\": 5,\n  \"label2id\": {\n    \"LABEL_0\": 0\n  "
    "},\n"
    "  \"max_position_embeddings\": 32,\n  \"mlp_bias\": false,\n  \"model_type\": \"llama\",\n"
    "  \"num_attention_heads\": 2,\n  \"num_hidden_layers\": 1,\n  \"num_key_value_heads\": 1,\n"
    "  \"pad_token_id\": 3,\n  \"pretraining_tp\": 1,\n  \"rms_norm_eps\": 1e-06,\n  \"rope_scaling\": "
    "null,\n"
    "  \"rope_theta\": 10000.0,\n  \"tie_word_embeddings\": false,\n  \"torch_dtype\": \"float32\",\n"
    "  \"transformers_version\": \"4.52.4\",\n  \"use_cache\": true,\n  \"vocab_size\": 6\n}\n";

/* Writes the tensors with `score_shape` for the last, named `score_name`; NULL leaves it out. */
static void write_foreign(const char *dir, const char *score_name, const char *score_shape) {
    enum { TENSORS = TV_COUNT(llama_tensors) };
    char header[4096];
    int used = snprintf(header, sizeof header, "{\"__metadata__\":{\"format\":\"pt\"}");
    uint64_t offset = 0;
    float data[256];
    for (int i = 0; i < TENSORS; i++) {
        const foreign *t = &llama_tensors[i];
        bool last = i + 1 == TENSORS;
        if (last && !score_name)
            break;
        used += snprintf(header + used, sizeof header - (size_t)used,
                         ",\"%s\":{\"dtype\":\"F32\",\"shape\":%s,\"data_offsets\":[%llu,%llu]}",
                         last ? score_name : t->name, last ? score_shape : t->shape,
                         (unsigned long long)offset * 4, (unsigned long long)(offset + t->count) * 4);
        for (uint64_t k = 0; k < t->count; k++)
            data[offset + k] = (float)(100 * i) + (float)k;
        offset += t->count;
    }
    used += snprintf(header + used, sizeof header - (size_t)used, "}");
    uint64_t length = (uint64_t)used;
    char *weights = tv_format("%s/model.safetensors", dir), *json = tv_format("%s/config.json", dir);
    tv_writer *writer = NULL;
    assert_ok(tv_writer_open(weights, &writer));
    assert_ok(tv_writer_write(writer, &length, sizeof length));
    assert_ok(tv_writer_write(writer, header, length));
    assert_ok(tv_writer_write(writer, data, offset * sizeof *data));
    assert_ok(tv_writer_commit(&writer));
    assert_ok(tv_write_file(json, llama_config, sizeof llama_config - 1));
    free(json);
    free(weights);
}

static void transformers_files_are_read(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    write_foreign(dir, "score.weight", "[1,4]");
    tv_model_directory *d = NULL;
    assert_ok(tv_model_directory_open(dir, &d));
    const tv_parameter_list *list = tv_model_directory_parameters(d);
    assert_int_equal(list->elements, 148);
    float read[64];
    uint32_t score = tv_parameter_index(list, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER);
    assert_ok(tv_model_directory_read(d, score, read));
    for (int k = 0; k < 4; k++)
        assert_near(read[k], 1100 + k, 0);
    /* q, k, v: the rows of tensors 8, 6, 9. */
    assert_ok(tv_model_directory_read(d, tv_parameter_index(list, TV_PARAMETER_QKV_WEIGHT, 0), read));
    for (int k = 0; k < 32; k++)
        assert_near(read[k], k < 16 ? 800 + k : k < 24 ? 600 + k - 16 : 900 + k - 24, 0);
    tv_model_directory_close(&d);

    static const struct {
        const char *name, *shape, *words;
    } refused[] = {
        {NULL, NULL, "tensor \"score.weight\" with the shape (1, 4) is missing"},
        {"score.weight", "[2,2]", "expected the shape (1, 4) from config.json, found (2, 2)"},
        {"score.weight", "[4]", "expected the shape (1, 4) from config.json, found (4)"},
        {"score.bias", "[4]", "tensor \"score.weight\""},
        {"lm_head.weight", "[1,4]", "tensor \"score.weight\""},
        {"model.score.weight", "[1,4]", "tensor \"score.weight\""},
    };
    for (size_t i = 0; i < TV_COUNT(refused); i++) {
        write_foreign(dir, refused[i].name, refused[i].shape);
        tv_status status = tv_model_directory_open(dir, &d);
        if (status != TV_E_DATA || !strstr(tv_last_error(), refused[i].words))
            fail_msg("case %zu: status %d, \"%s\"", i, status, tv_last_error());
    }
    tv_test_dir_remove(&dir);
}

/* Parameter by parameter: as the directory's, or drawn by the seed where it is a head. */
static void check_body(tv_model *model, uint32_t salt, uint64_t seed) {
    const tv_parameter_list *list = tv_model_list(model);
    float *found = malloc(list->max_elements * sizeof *found),
          *drawn = malloc(list->max_elements * sizeof *drawn);
    assert_non_null(found);
    assert_non_null(drawn);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        assert_ok(tv_model_source(model, i, 0, p->shape[0], TV_F32, found));
        tv_parameter_initialise(list, i, seed, 0, p->shape[0], drawn);
        bool head = p->role == TV_PARAMETER_SCORE_WEIGHT || p->role == TV_PARAMETER_HEAD_WEIGHT;
        for (uint64_t k = 0; k < p->count; k++)
            assert_near(found[k], head ? drawn[k] : value_at(i, k, salt), 0);
    }
    free(drawn);
    free(found);
}

/* A reward model from a language model, tied and untied, and a value model from a reward model, each with a
 * head of its own; whole from a reward model with its head. Tried: reading the language model's parameters
 * by the reward model's positions plus one fails check_body. */
static void bodies_come_from_either_kind(void **state) {
    tv_device *device = *state;
    char *dir = tv_test_dir();
    for (int i = 0; i < 4; i++) {
        tv_architecture architecture = i % 2 ? TV_ARCH_LLAMA : TV_ARCH_GPT2;
        tv_model_config from = small(architecture, i / 2 ? TV_MODEL_HEAD_SCORE : TV_MODEL_HEAD_LANGUAGE);
        tv_model_config to = from;
        to.head = TV_MODEL_HEAD_SCORE;
        to.pad_token_id = -1;
        write_model(dir, &from, 1);
        tv_model_directory *d = NULL;
        tv_parameter_list *list = NULL;
        tv_model *model = NULL;
        assert_ok(tv_model_directory_open(dir, &d));
        assert_ok(tv_parameter_list_create(&to, &list));
        assert_ok(tv_model_create(device, list, false, &model));
        assert_ok(tv_model_load_body(model, d, 5));
        check_body(model, 1, 5);
        if (from.head == TV_MODEL_HEAD_SCORE) {
            float read[8];
            assert_ok(tv_model_load(model, d));
            assert_ok(tv_model_source(model, list->count - 1, 0, 1, TV_F32, read));
            for (uint64_t k = 0; k < 8; k++)
                assert_near(read[k], value_at(list->count - 1, k, 1), 0);
        }
        tv_model_destroy(&model);
        tv_parameter_list_destroy(&list);
        tv_model_directory_close(&d);
    }
    tv_test_dir_remove(&dir);
}

/* Each change alone makes another body; what only the head or the text's ends use does not. */
static void other_bodies_are_refused(void **state) {
    tv_device *device = *state;
    char *dir = tv_test_dir();
    tv_model_config base = small(TV_ARCH_LLAMA, TV_MODEL_HEAD_SCORE);
    write_model(dir, &base, 1);
    tv_model_directory *d = NULL;
    assert_ok(tv_model_directory_open(dir, &d));
    for (int i = 0; i < 9; i++) {
        tv_model_config c = base;
        c.vocab_size += i == 0;
        c.n_layer += i == 1;
        c.n_kv_head -= i == 2;
        c.ffn += i == 3;
        c.norm_eps *= i == 4 ? 2 : 1;
        c.rotary.theta *= i == 5 ? 2 : 1;
        c.attention_bias = c.attention_out_bias = i == 6;
        c.mlp_bias = i == 7;
        if (i == 8) {
            c.n_head = c.n_kv_head = 4;
            c.head_size = 2;
        }
        tv_parameter_list *list = NULL;
        tv_model *model = NULL;
        assert_ok(tv_parameter_list_create(&c, &list));
        assert_ok(tv_model_create(device, list, false, &model));
        assert_false(tv_model_config_same_body(&base, &c));
        assert_fails(tv_model_load_body(model, d, 5), TV_E_CONFIG, dir);
        tv_model_destroy(&model);
        tv_parameter_list_destroy(&list);
    }
    tv_model_directory_close(&d);
    tv_model_config c = base;
    c.head = TV_MODEL_HEAD_LANGUAGE;
    c.tied = !c.tied;
    c.max_positions *= 2;
    c.eos_token_id = -1;
    assert_true(tv_model_config_same_body(&base, &c));
    base = c = small(TV_ARCH_GPT2, TV_MODEL_HEAD_SCORE);
    c.max_positions *= 2;
    assert_false(tv_model_config_same_body(&base, &c));
    tv_test_dir_remove(&dir);
}

static void kinds_are_told_apart(void **state) {
    (void)state;
    tv_model_config language = small(TV_ARCH_LLAMA, TV_MODEL_HEAD_LANGUAGE),
                    score = small(TV_ARCH_GPT2, TV_MODEL_HEAD_SCORE);
    assert_ok(tv_model_config_expect_head(&language, TV_MODEL_HEAD_LANGUAGE, "a"));
    assert_ok(tv_model_config_expect_head(&score, TV_MODEL_HEAD_SCORE, "a"));
    assert_int_equal(tv_model_config_expect_head(&score, TV_MODEL_HEAD_LANGUAGE, "runs/r"), TV_E_DATA);
    assert_string_equal(tv_last_error(), "runs/r: expected a language model, found a reward model "
                                         "(GPT2ForSequenceClassification), which gives scores and no text");
    assert_int_equal(tv_model_config_expect_head(&language, TV_MODEL_HEAD_SCORE, "runs/r"), TV_E_DATA);
    assert_string_equal(tv_last_error(),
                        "runs/r: expected a reward model (LlamaForSequenceClassification), found a language "
                        "model (LlamaForCausalLM)");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_where_transformers_looks),
        cmocka_unit_test(transformers_files_are_read),
        cmocka_unit_test(bodies_come_from_either_kind),
        cmocka_unit_test(other_bodies_are_refused),
        cmocka_unit_test(kinds_are_told_apart),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
