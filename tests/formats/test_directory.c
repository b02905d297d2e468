/* model/layout and model/directory: what is written is where transformers looks for it, element by element
 * against a reader of this file's own; it reads back bit for bit; shards, halves and headless names are read;
 * directories that do not fit their config are refused by name. */
#include "formats/plain_file.h"
#include "support/small_config.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/directory.h"
#include "formats/safetensors.h"

static tv_model_config small_gpt2(void) {
    tv_model_config c = tv_test_config(
        TV_ARCH_GPT2,
        (tv_test_sizes){
            .vocab = 23, .layers = 2, .heads = 3, .channels = 18, .head_size = 6, .ffn = 35, .positions = 7});
    c.eos_token_id = 22;
    return c;
}

/* Grouped queries, heads that do not add up to C, biases everywhere, untied. */
static tv_model_config small_llama(void) {
    tv_model_config c = tv_test_config(TV_ARCH_LLAMA, (tv_test_sizes){.vocab = 23,
                                                                      .layers = 2,
                                                                      .heads = 4,
                                                                      .kv_heads = 2,
                                                                      .channels = 18,
                                                                      .head_size = 6,
                                                                      .ffn = 21,
                                                                      .positions = 64});
    c.attention_bias = c.attention_out_bias = c.mlp_bias = true;
    return c;
}

/* Element i of parameter `index`: exact in float and different everywhere. */
static float value_at(uint32_t index, uint64_t i) {
    return (float)(index * 4096 + i) + 0.25f;
}

static tv_status yield_values(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                              tv_dtype dtype, void *out) {
    const tv_parameter_list *list = context;
    uint64_t columns = list->items[index].shape[1];
    float *floats = out;
    assert_int_equal(dtype, TV_F32);
    assert_true(first_row + rows <= list->items[index].shape[0]);
    for (uint64_t i = 0; i < rows * columns; i++)
        floats[i] = value_at(index, first_row * columns + i);
    return TV_OK;
}

static void write_model(const char *path, const tv_model_config *config) {
    tv_parameter_list *list = NULL;
    assert_ok(tv_make_dirs(path));
    assert_ok(tv_parameter_list_create(config, &list));
    assert_ok(tv_model_directory_write(path, list, yield_values, list));
    tv_parameter_list_destroy(&list);
}

/* The published tensor holds rows [first_row, first_row + rows) of the parameter, turned if so marked. */
static void check_tensor(const plain_file *file, const tv_parameter_list *list, tv_parameter_role role,
                         uint32_t layer, uint64_t first_row, uint64_t rows, bool transposed,
                         const char *name) {
    uint32_t index = tv_parameter_index(list, role, layer);
    assert_true(index < list->count);
    const tv_parameter *p = &list->items[index];
    uint64_t columns = p->shape[1];
    const float *found = p->rank == 1 ? plain_tensor(file, name, rows, 0)
                         : transposed ? plain_tensor(file, name, columns, rows)
                                      : plain_tensor(file, name, rows, columns);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < columns; c++)
            assert_near(found[transposed ? c * rows + r : r * columns + c],
                        value_at(index, (first_row + r) * columns + c), 0);
}

static void check_reads_back(const char *path, const tv_parameter_list *list) {
    tv_model_directory *d = NULL;
    assert_ok(tv_model_directory_open(path, &d));
    const tv_parameter_list *found = tv_model_directory_parameters(d);
    assert_int_equal(found->count, list->count);
    float *values = malloc(list->max_elements * sizeof *values);
    assert_non_null(values);
    for (uint32_t i = 0; i < list->count; i++) {
        memset(values, 0xff, list->max_elements * sizeof *values); /* NaN */
        assert_ok(tv_model_directory_read(d, i, values));
        for (uint64_t k = 0; k < list->items[i].count; k++)
            assert_near(values[k], value_at(i, k), 0);
    }
    free(values);
    tv_model_directory_close(&d);
    assert_null(d);
}

static void gpt2_is_where_transformers_looks(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/m", dir), *weights = tv_format("%s/m/model.safetensors", dir);
    tv_model_config config = small_gpt2();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    write_model(path, &config);
    plain_file file = plain_open(weights);
    assert_int_equal(cJSON_GetArraySize(file.header), 1 + list->count);
    check_tensor(&file, list, TV_PARAMETER_EMBEDDING, 0, 0, 23, false, "transformer.wte.weight");
    check_tensor(&file, list, TV_PARAMETER_POSITIONS, 0, 0, 7, false, "transformer.wpe.weight");
    check_tensor(&file, list, TV_PARAMETER_FINAL_NORM_GAIN, 0, 0, 18, false, "transformer.ln_f.weight");
    check_tensor(&file, list, TV_PARAMETER_FINAL_NORM_BIAS, 0, 0, 18, false, "transformer.ln_f.bias");
    static const struct {
        const char *name;
        uint64_t rows;
        tv_parameter_role role;
        bool transposed;
    } in_layer[] = {
        {"ln_1.weight", 18, TV_PARAMETER_NORM1_GAIN, false},
        {"ln_1.bias", 18, TV_PARAMETER_NORM1_BIAS, false},
        {"attn.c_attn.weight", 54, TV_PARAMETER_QKV_WEIGHT, true},
        {"attn.c_attn.bias", 54, TV_PARAMETER_QKV_BIAS, false},
        {"attn.c_proj.weight", 18, TV_PARAMETER_ATTN_OUT_WEIGHT, true},
        {"attn.c_proj.bias", 18, TV_PARAMETER_ATTN_OUT_BIAS, false},
        {"ln_2.weight", 18, TV_PARAMETER_NORM2_GAIN, false},
        {"ln_2.bias", 18, TV_PARAMETER_NORM2_BIAS, false},
        {"mlp.c_fc.weight", 35, TV_PARAMETER_MLP_IN_WEIGHT, true},
        {"mlp.c_fc.bias", 35, TV_PARAMETER_MLP_IN_BIAS, false},
        {"mlp.c_proj.weight", 18, TV_PARAMETER_MLP_OUT_WEIGHT, true},
        {"mlp.c_proj.bias", 18, TV_PARAMETER_MLP_OUT_BIAS, false},
    };
    for (uint32_t layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < sizeof in_layer / sizeof *in_layer; i++) {
            char *name = tv_format("transformer.h.%u.%s", layer, in_layer[i].name);
            check_tensor(&file, list, in_layer[i].role, layer, 0, in_layer[i].rows, in_layer[i].transposed,
                         name);
            free(name);
        }
    plain_close(&file);
    check_reads_back(path, list);
    char *generation = tv_format("%s/generation_config.json", path);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(generation, &root));
    assert_near(cJSON_GetNumberValue(tv_json_get(root, "eos_token_id")), 22, 0);
    assert_null(tv_json_get(root, "pad_token_id"));
    cJSON_Delete(root);
    free(generation);
    tv_parameter_list_destroy(&list);
    free(path);
    free(weights);
    tv_test_dir_remove(&dir);
}

static void llama_is_where_transformers_looks(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/m", dir), *weights = tv_format("%s/m/model.safetensors", dir);
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    write_model(path, &config);
    plain_file file = plain_open(weights);
    assert_int_equal(cJSON_GetArraySize(file.header), 1 + 3 + 2 * 16);
    check_tensor(&file, list, TV_PARAMETER_EMBEDDING, 0, 0, 23, false, "model.embed_tokens.weight");
    check_tensor(&file, list, TV_PARAMETER_FINAL_NORM_GAIN, 0, 0, 18, false, "model.norm.weight");
    check_tensor(&file, list, TV_PARAMETER_HEAD_WEIGHT, 0, 0, 23, false, "lm_head.weight");
    static const struct {
        const char *name;
        tv_parameter_role role;
        uint64_t first_row, rows;
    } in_layer[] = {
        {"input_layernorm.weight", TV_PARAMETER_NORM1_GAIN, 0, 18},
        {"self_attn.q_proj.weight", TV_PARAMETER_QKV_WEIGHT, 0, 24},
        {"self_attn.k_proj.weight", TV_PARAMETER_QKV_WEIGHT, 24, 12},
        {"self_attn.v_proj.weight", TV_PARAMETER_QKV_WEIGHT, 36, 12},
        {"self_attn.q_proj.bias", TV_PARAMETER_QKV_BIAS, 0, 24},
        {"self_attn.k_proj.bias", TV_PARAMETER_QKV_BIAS, 24, 12},
        {"self_attn.v_proj.bias", TV_PARAMETER_QKV_BIAS, 36, 12},
        {"self_attn.o_proj.weight", TV_PARAMETER_ATTN_OUT_WEIGHT, 0, 18},
        {"self_attn.o_proj.bias", TV_PARAMETER_ATTN_OUT_BIAS, 0, 18},
        {"post_attention_layernorm.weight", TV_PARAMETER_NORM2_GAIN, 0, 18},
        {"mlp.gate_proj.weight", TV_PARAMETER_MLP_IN_WEIGHT, 0, 21},
        {"mlp.up_proj.weight", TV_PARAMETER_MLP_IN_WEIGHT, 21, 21},
        {"mlp.gate_proj.bias", TV_PARAMETER_MLP_IN_BIAS, 0, 21},
        {"mlp.up_proj.bias", TV_PARAMETER_MLP_IN_BIAS, 21, 21},
        {"mlp.down_proj.weight", TV_PARAMETER_MLP_OUT_WEIGHT, 0, 18},
        {"mlp.down_proj.bias", TV_PARAMETER_MLP_OUT_BIAS, 0, 18},
    };
    for (uint32_t layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < sizeof in_layer / sizeof *in_layer; i++) {
            char *name = tv_format("model.layers.%u.%s", layer, in_layer[i].name);
            check_tensor(&file, list, in_layer[i].role, layer, in_layer[i].first_row, in_layer[i].rows, false,
                         name);
            free(name);
        }
    plain_close(&file);
    check_reads_back(path, list);
    tv_parameter_list_destroy(&list);
    free(path);
    free(weights);
    tv_test_dir_remove(&dir);
}

/* One change to a file of weights. */
typedef enum change { KEEP, DROP, RENAME, RESHAPE, RETYPE, REPEAT } change;
typedef struct edit {
    change change;
    const char *name;
    const char *text;  /* RENAME, REPEAT: the new name; RETYPE: the type */
    uint64_t shape[2]; /* RESHAPE */
} edit;

/* What follows the header of a file that the caller frees as *whole. */
static const uint8_t *data_of(const char *path, char **whole) {
    uint64_t header;
    assert_ok(tv_read_file(path, whole, NULL));
    memcpy(&header, *whole, sizeof header);
    return (const uint8_t *)*whole + sizeof header + header;
}

/* Copies the tensors of `from` whose place in the file is in [first, last) to `to`, with one edit. */
static void copy_weights(const char *from, const char *to, uint64_t first, uint64_t last, edit e) {
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(from, &file));
    uint64_t count = 0, all = tv_safetensors_count(file);
    tv_safetensor *tensors = calloc(all + 1, sizeof *tensors);
    const uint8_t **bytes = calloc(all + 1, sizeof *bytes);
    char *whole = NULL;
    const uint8_t *data = data_of(from, &whole);
    assert_non_null(tensors);
    assert_non_null(bytes);
    bool met = e.change == KEEP;
    for (uint64_t i = first; i < last && i < all; i++) {
        const tv_safetensor *t = tv_safetensors_at(file, i);
        bool here = e.change != KEEP && strcmp(t->name, e.name) == 0;
        met = met || here;
        if (here && e.change == DROP)
            continue;
        tensors[count] = *t;
        bytes[count] = data + t->offset;
        if (here && e.change == RENAME)
            tensors[count].name = e.text;
        if (here && e.change == RETYPE)
            tensors[count].dtype = e.text;
        if (here && e.change == RESHAPE) {
            tensors[count].rank = e.shape[1] ? 2 : 1;
            memcpy(tensors[count].shape, e.shape, sizeof e.shape);
        }
        if (here && e.change == REPEAT) {
            tensors[count + 1] = tensors[count];
            bytes[count + 1] = bytes[count];
            tensors[++count].name = e.text;
        }
        count++;
    }
    assert_true(met);
    tv_safetensors_writer *writer = NULL;
    assert_ok(tv_safetensors_writer_open(to, tensors, count, &writer));
    for (uint64_t i = 0; i < count; i++)
        assert_ok(tv_safetensors_write(writer, bytes[i], tensors[i].bytes));
    assert_ok(tv_safetensors_writer_commit(&writer));
    tv_free_all(tensors, bytes, whole);
    tv_safetensors_close(&file);
}

static void check_refused(const char *path, const char *words) {
    tv_model_directory *d = NULL;
    tv_status status = tv_model_directory_open(path, &d);
    assert_null(d);
    if (status != TV_E_DATA || !strstr(tv_last_error(), words))
        fail_msg("expected a sentence with \"%s\", found status %d, \"%s\"", words, status, tv_last_error());
}

static void weights_that_do_not_fit_are_refused(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/m", dir), *weights = tv_format("%s/m/model.safetensors", dir);
    char *good = tv_format("%s/good.safetensors", dir);
    tv_model_config config = small_gpt2();
    write_model(path, &config);
    copy_weights(weights, good, 0, UINT64_MAX, (edit){KEEP, NULL, NULL, {0}});
    static const struct {
        edit edit;
        const char *words;
    } cases[] = {
        {{DROP, "transformer.h.1.ln_2.bias", NULL, {0}},
         "tensor \"transformer.h.1.ln_2.bias\" with the shape (18) is missing"},
        {{RENAME, "transformer.wpe.weight", "transformer.wxe.weight", {0}},
         "tensor \"transformer.wpe.weight\" with the shape (7, 18) is missing"},
        {{RESHAPE, "transformer.h.0.attn.c_attn.weight", NULL, {54, 18}},
         "\"transformer.h.0.attn.c_attn.weight\": expected the shape (18, 54) from config.json, found (54, "
         "18)"},
        {{RESHAPE, "transformer.h.0.ln_1.bias", NULL, {1, 18}},
         "expected the shape (18) from config.json, found "
         "(1, 18)"},
        {{RETYPE, "transformer.h.0.ln_1.bias", "I32", {0}}, "\"transformer.h.0.ln_1.bias\" has the type I32"},
        {{REPEAT, "transformer.h.0.ln_1.bias", "transformer.h.2.ln_1.bias", {0}},
         "\"transformer.h.2.ln_1.bias\" has no place"},
        {{REPEAT, "transformer.h.0.ln_1.bias", "lm_head.weight", {0}},
         "\"lm_head.weight\" differs from \"transformer.wte.weight\""},
        {{REPEAT, "transformer.wte.weight", "wte.weight", {0}}, "\"wte.weight\" has no place"},
        {{REPEAT, "transformer.wte.weight", "score.weight", {0}}, "\"score.weight\" has no place"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        copy_weights(good, weights, 0, UINT64_MAX, cases[i].edit);
        check_refused(path, cases[i].words);
    }
    /* A repeated head that equals the embedding, and the buffers of older files, are fine. */
    tv_model_directory *d = NULL;
    copy_weights(good, weights, 0, UINT64_MAX,
                 (edit){REPEAT, "transformer.wte.weight", "lm_head.weight", {0}});
    assert_ok(tv_model_directory_open(path, &d));
    tv_model_directory_close(&d);
    copy_weights(good, weights, 0, UINT64_MAX,
                 (edit){REPEAT, "transformer.wpe.weight", "transformer.h.0.attn.bias", {0}});
    assert_ok(tv_model_directory_open(path, &d));
    tv_model_directory_close(&d);

    char *config_path = tv_format("%s/config.json", path);
    assert_ok(tv_write_file(weights, "", 0));
    check_refused(path, "only 0 bytes");
    static const char pointer[] =
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 548105171\n";
    assert_ok(tv_write_file(weights, pointer, sizeof pointer - 1));
    check_refused(path, "model.safetensors: expected a safetensors file, found a pointer of Git LFS");
    assert_ok(tv_write_file(weights, "PK\x03\x04 and so on", 14));
    check_refused(path, "found a zip archive");
    assert_ok(tv_remove_tree(weights));
    check_refused(path, "found neither");
    static const char *const others[] = {"adapter_model.safetensors", "pytorch_model.bin"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char *other = tv_format("%s/%s", path, others[i]), *sentence = tv_format("found %s: a", others[i]);
        assert_ok(tv_write_file(other, "", 0));
        check_refused(path, sentence);
        free(sentence);
        free(other);
    }
    assert_ok(tv_remove_tree(config_path));
    check_refused(path, "config.json, found none");
    assert_ok(tv_remove_tree(path));
    check_refused(path, "found no directory");
    tv_free_all(config_path, good, weights, path);
    tv_test_dir_remove(&dir);
}

/* The headless model's names, and bfloat16: 16 bits of the values, by the conversion of base/bytes. */
static void other_forms_are_read(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/m", dir), *weights = tv_format("%s/m/model.safetensors", dir);
    tv_model_config config = small_gpt2();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    write_model(path, &config);

    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(weights, &file));
    uint64_t count = tv_safetensors_count(file);
    tv_safetensor *tensors = calloc(count, sizeof *tensors);
    assert_non_null(tensors);
    for (uint64_t i = 0; i < count; i++) {
        tensors[i] = *tv_safetensors_at(file, i);
        tensors[i].name += strlen("transformer.");
        tensors[i].dtype = "BF16";
    }
    tv_safetensors_writer *writer = NULL;
    char *whole = NULL;
    const uint8_t *data = data_of(weights, &whole);
    assert_ok(tv_safetensors_writer_open(weights, tensors, count, &writer));
    for (uint64_t i = 0; i < count; i++) {
        const uint8_t *bytes = data + tv_safetensors_at(file, i)->offset;
        for (uint64_t k = 0; k < tensors[i].count; k++) {
            float value;
            memcpy(&value, bytes + 4 * k, 4);
            uint16_t brain = tv_float_to_bfloat16(value);
            assert_ok(tv_safetensors_write(writer, &brain, sizeof brain));
        }
    }
    assert_ok(tv_safetensors_writer_commit(&writer));
    tv_safetensors_close(&file);
    free(whole);
    free(tensors);

    tv_model_directory *d = NULL;
    assert_ok(tv_model_directory_open(path, &d));
    float *values = malloc(list->max_elements * sizeof *values);
    assert_non_null(values);
    for (uint32_t i = 0; i < list->count; i++) {
        assert_ok(tv_model_directory_read(d, i, values));
        for (uint64_t k = 0; k < list->items[i].count; k++)
            assert_near(values[k], tv_bfloat16_to_float(tv_float_to_bfloat16(value_at(i, k))), 0);
    }
    free(values);
    tv_model_directory_close(&d);
    tv_parameter_list_destroy(&list);
    free(weights);
    free(path);
    tv_test_dir_remove(&dir);
}

static void write_index(const char *path, const char *weights, const char *first_shard,
                        const char *second_shard, uint64_t split, const char *extra) {
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(weights, &file));
    cJSON *root = cJSON_CreateObject(), *map = cJSON_AddObjectToObject(root, "weight_map");
    for (uint64_t i = 0; i < tv_safetensors_count(file); i++)
        assert_non_null(cJSON_AddStringToObject(map, tv_safetensors_at(file, i)->name,
                                                i < split ? first_shard : second_shard));
    if (extra)
        assert_non_null(cJSON_AddStringToObject(map, extra, first_shard));
    assert_ok(tv_json_write_file(path, root));
    cJSON_Delete(root);
    tv_safetensors_close(&file);
}

static void shards_are_read_by_their_index(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/m", dir), *weights = tv_format("%s/m/model.safetensors", dir);
    char *good = tv_format("%s/good.safetensors", dir);
    char *index = tv_format("%s/m/model.safetensors.index.json", dir);
    const char *a = "model-00001-of-00002.safetensors", *b = "model-00002-of-00002.safetensors";
    char *path_a = tv_format("%s/m/%s", dir, a), *path_b = tv_format("%s/m/%s", dir, b);
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    write_model(path, &config);
    const edit none = {KEEP, NULL, NULL, {0}};
    copy_weights(weights, good, 0, UINT64_MAX, none);
    assert_ok(tv_remove_tree(weights));
    copy_weights(good, path_a, 0, 13, none);
    copy_weights(good, path_b, 13, UINT64_MAX, none);
    write_index(index, good, a, b, 13, NULL);
    check_reads_back(path, list);

    write_index(index, good, a, b, 14, NULL);
    check_refused(path, "is missing; ");
    write_index(index, good, a, b, 13, "model.norm.weight");
    check_refused(path, "\"model.norm.weight\"");
    write_index(index, good, "../good.safetensors", b, 13, NULL);
    check_refused(path, "name of a file beside it");
    write_index(index, good, "/good.safetensors", b, 13, NULL);
    check_refused(path, "name of a file beside it");
    const char *odd = "{\"weight_map\": {\"lm_head.weight\": 7}}";
    assert_ok(tv_write_file(index, odd, strlen(odd)));
    check_refused(path, "name of a file beside it");
    odd = "{\"weight_map\": []}";
    assert_ok(tv_write_file(index, odd, strlen(odd)));
    check_refused(path, "\"weight_map\"");
    odd = "{\"weight_map\": {}}";
    assert_ok(tv_write_file(index, odd, strlen(odd)));
    check_refused(path, "is missing from the model's weights");

    tv_parameter_list_destroy(&list);
    tv_free_all(path_a, path_b, index, good, weights, path);
    tv_test_dir_remove(&dir);
}

static tv_status yield_nothing(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                               tv_dtype dtype, void *out) {
    (void)context;
    (void)first_row;
    (void)rows;
    (void)dtype;
    (void)out;
    return index < 3 ? TV_OK : tv_fail(TV_E_DEVICE_LOST, "the device stopped");
}

static void failures_of_the_source_leave_no_weights(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *weights = tv_format("%s/model.safetensors", dir);
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_int_equal(tv_model_directory_write(dir, list, yield_nothing, NULL), TV_E_DEVICE_LOST);
    assert_false(tv_path_exists(weights));
    tv_parameter_list_destroy(&list);
    /* Switches that no published layout has. */
    config.norm = TV_NORM_LAYER;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_int_equal(tv_model_directory_write(dir, list, yield_values, list), TV_E_CONFIG);
    tv_parameter_list_destroy(&list);
    free(weights);
    tv_test_dir_remove(&dir);
}

static tv_status yield_stored(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                              tv_dtype dtype, void *out) {
    return tv_model_directory_read_rows(context, index, first_row, rows, dtype, out);
}

/* Directories that PyTorch wrote: the size is the one it counted, and what is written from the internal
 * layout is again every tensor of the file, bit for bit. */
static void golden_models_pass_through(void **state) {
    (void)state;
    static const char *const names[] = {"gpt2_100k", "llama_100k"};
    char *dir = tv_test_dir();
    char *written = tv_format("%s/model.safetensors", dir);
    for (int m = 0; m < 2; m++) {
        char *path = tv_format(TRIVIUM_SOURCE_DIR "/tests/golden/%s", names[m]);
        char *figures = tv_format("%s.json", path), *weights = tv_format("%s/model.safetensors", path);
        tv_model_directory *d = NULL;
        cJSON *root = NULL;
        assert_ok(tv_model_directory_open(path, &d));
        assert_ok(tv_json_read_file(figures, &root));
        const tv_parameter_list *list = tv_model_directory_parameters(d);
        assert_near(cJSON_GetNumberValue(tv_json_get(root, "parameters")), list->elements, 0);
        assert_ok(tv_model_directory_write(dir, list, yield_stored, d));

        plain_file before = plain_open(weights), after = plain_open(written);
        assert_int_equal(cJSON_GetArraySize(before.header), cJSON_GetArraySize(after.header));
        const cJSON *entry;
        uint64_t compared = 0;
        cJSON_ArrayForEach(entry, before.header) {
            if (strcmp(entry->string, "__metadata__") == 0)
                continue;
            const cJSON *shape = tv_json_get(entry, "shape"), *second = cJSON_GetArrayItem(shape, 1);
            uint64_t rows = (uint64_t)cJSON_GetArrayItem(shape, 0)->valueint;
            uint64_t columns = second ? (uint64_t)second->valueint : 0,
                     count = rows * (columns ? columns : 1);
            assert_memory_equal(plain_tensor(&before, entry->string, rows, columns),
                                plain_tensor(&after, entry->string, rows, columns), count * sizeof(float));
            compared += count;
        }
        assert_int_equal(compared, list->elements);
        plain_close(&before);
        plain_close(&after);
        cJSON_Delete(root);
        tv_model_directory_close(&d);
        tv_free_all(weights, figures, path);
    }
    free(written);
    tv_test_dir_remove(&dir);
}

/* y = x W^T of the internal layout is y = x W of GPT-2's Conv1D. */
static void golden_transposes_are_elementwise(void **state) {
    (void)state;
    tv_model_directory *d = NULL;
    assert_ok(tv_model_directory_open(TRIVIUM_SOURCE_DIR "/tests/golden/gpt2_100k", &d));
    plain_file file = plain_open(TRIVIUM_SOURCE_DIR "/tests/golden/gpt2_100k/model.safetensors");
    const tv_parameter_list *list = tv_model_directory_parameters(d);
    uint32_t index = tv_parameter_index(list, TV_PARAMETER_QKV_WEIGHT, 1);
    const float *stored = plain_tensor(&file, "transformer.h.1.attn.c_attn.weight", 64, 192);
    float *values = malloc(list->items[index].count * sizeof *values);
    assert_non_null(values);
    assert_ok(tv_model_directory_read(d, index, values));
    for (uint64_t out = 0; out < 192; out++)
        for (uint64_t in = 0; in < 64; in++)
            assert_near(values[out * 64 + in], stored[in * 192 + out], 0);
    free(values);
    plain_close(&file);
    tv_model_directory_close(&d);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_is_where_transformers_looks),
        cmocka_unit_test(llama_is_where_transformers_looks),
        cmocka_unit_test(weights_that_do_not_fit_are_refused),
        cmocka_unit_test(other_forms_are_read),
        cmocka_unit_test(shards_are_read_by_their_index),
        cmocka_unit_test(failures_of_the_source_leave_no_weights),
        cmocka_unit_test(golden_models_pass_through),
        cmocka_unit_test(golden_transposes_are_elementwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
