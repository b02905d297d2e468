/* formats/directory, weights in several files: cut where huggingface_hub cuts them, with an index whose total
 * is the sum of its tensors; read back bit for bit in any order; an index that lies, or leads out of its
 * directory, is one sentence; a checkpoint's checksums cover every shard and the index.
 *
 * Tried: a shard closed after the tensor that passed the limit; the total taken of the last shard; the checks
 * of tensors that the index does not name, or names elsewhere, left out; a leading dot allowed; an earlier
 * model's single file left; the index not hashed; rows read from the tensor's first one. Each fails.
 */
#include "support/small_config.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "formats/checksums.h"
#include "formats/directory.h"
#include "formats/safetensors.h"

static tv_model_config small_llama(void) {
    tv_model_config c = tv_test_config(TV_ARCH_LLAMA, (tv_test_sizes){.vocab = 23,
                                                                      .layers = 2,
                                                                      .heads = 4,
                                                                      .kv_heads = 2,
                                                                      .channels = 18,
                                                                      .head_size = 6,
                                                                      .ffn = 21,
                                                                      .positions = 64});
    return c;
}

/* Exact in bf16 and f16. */
static float element(uint32_t index, uint64_t i) {
    return (float)((index * 97 + i * 13) % 255) - 127;
}

static tv_status yield_elements(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                                tv_dtype dtype, void *out) {
    const tv_parameter_list *list = context;
    const uint64_t columns = list->items[index].shape[1];
    float *values = out;
    assert_int_equal(dtype, TV_F32);
    for (uint64_t i = 0; i < rows * columns; i++)
        values[i] = element(index, first_row * columns + i);
    return TV_OK;
}

static void check_reads_back(const char *path, const tv_parameter_list *list) {
    tv_model_directory *d = NULL;
    assert_ok(tv_model_directory_open(path, &d));
    float *values = malloc(list->max_elements * sizeof *values);
    uint16_t *halves = malloc(2 * list->max_elements * sizeof *halves);
    assert_non_null(values);
    assert_non_null(halves);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        assert_ok(tv_model_directory_read(d, i, values));
        for (uint64_t k = 0; k < p->count; k++)
            assert_near(values[k], element(i, k), 0);
        /* From the second row on, in halves: rows of several tensors where they are fused. */
        const uint64_t rows = p->shape[0] - 1;
        assert_ok(tv_model_directory_read_rows(d, i, 1, rows, TV_BF16, halves));
        const uint64_t columns = p->shape[1], stride = tv_dtype_row_bytes(TV_BF16, columns) / sizeof *halves;
        for (uint64_t k = 0; k < rows * columns; k++)
            assert_near(tv_bfloat16_to_float(halves[k / columns * stride + k % columns]),
                        element(i, columns + k), 0);
    }
    free(halves);
    free(values);
    tv_model_directory_close(&d);
}

static uint64_t bytes_of(const tv_safetensors *file) {
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < tv_safetensors_count(file); i++)
        bytes += tv_safetensors_at(file, i)->bytes;
    return bytes;
}

/* The largest prefix of what is left that stays within the limit, but one tensor at least. */
static void check_cuts(const char *dir, uint64_t limit, uint64_t total, uint64_t shards) {
    char *index = tv_format("%s/%s", dir, TV_INDEX_NAME), *single = tv_format("%s/%s", dir, TV_WEIGHTS_NAME);
    cJSON *root = NULL;
    assert_false(tv_path_exists(single));
    assert_ok(tv_json_read_file(index, &root));
    assert_near(cJSON_GetNumberValue(tv_json_get(tv_json_get(root, "metadata"), "total_size")), total, 0);
    const cJSON *map = tv_json_get(root, "weight_map");
    uint64_t sum = 0, named = 0, before = 0;
    for (uint64_t s = 0; s < shards; s++) {
        char *name = tv_format("model-%05llu-of-%05llu.safetensors", (unsigned long long)s + 1,
                               (unsigned long long)shards);
        char *path = tv_format("%s/%s", dir, name);
        tv_safetensors *file = NULL;
        assert_ok(tv_safetensors_open(path, &file));
        const uint64_t bytes = bytes_of(file);
        assert_true(bytes <= limit || tv_safetensors_count(file) == 1);
        for (uint64_t i = 0; i < tv_safetensors_count(file); i++) {
            const tv_safetensor *t = tv_safetensors_at(file, i);
            assert_string_equal(cJSON_GetStringValue(tv_json_get(map, t->name)), name);
            /* The shard's first tensor would not have fitted the one before. */
            if (t->offset == 0 && s)
                assert_true(before + t->bytes > limit);
        }
        named += tv_safetensors_count(file);
        sum += bytes;
        before = bytes;
        tv_safetensors_close(&file);
        free(path);
        free(name);
    }
    assert_int_equal(named, cJSON_GetArraySize(map));
    assert_int_equal(sum, total);
    cJSON_Delete(root);
    free(single);
    free(index);
}

static uint64_t count_shards(const char *dir) {
    char **names = NULL;
    uint64_t count = 0, shards = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        shards += strncmp(names[i], "model-", 6) == 0;
    tv_free_names(&names, count);
    return shards;
}

static void shards_are_cut_and_read_back(void **state) {
    (void)state;
    static const struct {
        tv_dtype dtype;
        uint64_t limit;
        const char *config_type;
    } cases[] = {{TV_F32, 3000, "float32"}, {TV_BF16, 1700, "bfloat16"}, {TV_F16, 100, "float16"}};
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *dir = tv_test_dir(), *json = tv_format("%s/config.json", dir);
        /* What lies there already is another model's. */
        char *stale = tv_format("%s/%s", dir, TV_WEIGHTS_NAME);
        assert_ok(tv_write_file(stale, "old", 3));
        assert_ok(
            tv_model_directory_write_as(dir, list, cases[i].dtype, cases[i].limit, yield_elements, list));
        uint64_t shards = count_shards(dir);
        assert_true(shards > 2);
        check_cuts(dir, cases[i].limit, list->elements * tv_dtype_bytes(cases[i].dtype), shards);
        check_reads_back(dir, list);
        cJSON *root = NULL;
        assert_ok(tv_json_read_file(json, &root));
        assert_string_equal(cJSON_GetStringValue(tv_json_get(root, "torch_dtype")), cases[i].config_type);
        cJSON_Delete(root);
        /* One file again: its index is gone with it. */
        char *index = tv_format("%s/%s", dir, TV_INDEX_NAME);
        assert_ok(tv_model_directory_write_as(dir, list, cases[i].dtype, 0, yield_elements, list));
        assert_false(tv_path_exists(index));
        check_reads_back(dir, list);
        free(index);
        free(stale);
        free(json);
        tv_test_dir_remove(&dir);
    }
    tv_parameter_list_destroy(&list);
}

static tv_status yield_large(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                             void *out) {
    assert_ok(yield_elements(context, index, first_row, rows, dtype, out));
    *(float *)out = index == 3 ? 65536 : 1;
    return TV_OK;
}

static void what_f16_cannot_hold_is_said(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    tv_model_directory *d = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_int_equal(tv_model_directory_write_as(dir, list, TV_F16, 0, yield_large, list), TV_E_DATA);
    assert_non_null(strstr(tv_last_error(), "f16 ends at 65504"));
    assert_int_equal(tv_model_directory_write_as(dir, list, TV_U32, 0, yield_large, list), TV_E_USAGE);
    assert_ok(tv_model_directory_write_as(dir, list, TV_BF16, 0, yield_large, list));
    assert_ok(tv_model_directory_open(dir, &d));
    uint16_t *halves = malloc(2 * list->max_elements * sizeof *halves);
    assert_non_null(halves);
    assert_int_equal(tv_model_directory_read_rows(d, 3, 0, list->items[3].shape[0], TV_F16, halves),
                     TV_E_DATA);
    assert_non_null(strstr(tv_last_error(), "a value that f16 cannot hold"));
    assert_ok(tv_model_directory_read_rows(d, 3, 0, list->items[3].shape[0], TV_BF16, halves));
    free(halves);
    tv_model_directory_close(&d);
    tv_parameter_list_destroy(&list);
    tv_test_dir_remove(&dir);
}

/* ---- hostile ---- */

static void refused(const char *path, const char *words) {
    tv_model_directory *d = NULL;
    tv_status status = tv_model_directory_open(path, &d);
    assert_null(d);
    if (status != TV_E_DATA || !strstr(tv_last_error(), words) || strchr(tv_last_error(), '\n'))
        fail_msg("expected a sentence with \"%s\", found status %d, \"%s\"", words, status, tv_last_error());
}

/* The index with one entry pointed elsewhere: `to` NULL removes it. */
static void point(const char *index, const char *good, const char *tensor, const char *to) {
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(good, &root));
    cJSON *map = cJSON_GetObjectItemCaseSensitive(root, "weight_map");
    cJSON_DeleteItemFromObjectCaseSensitive(map, tensor);
    if (to)
        assert_non_null(cJSON_AddStringToObject(map, tensor, to));
    assert_ok(tv_json_write_file(index, root));
    cJSON_Delete(root);
}

static void copy(const char *from, const char *to) {
    char *text = NULL;
    uint64_t size;
    assert_ok(tv_read_file(from, &text, &size));
    assert_ok(tv_write_file(to, text, size));
    free(text);
}

static void indexes_that_lie_are_refused(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *model = tv_format("%s/m", dir), *good = tv_format("%s/good.json", dir);
    char *index = tv_format("%s/%s", model, TV_INDEX_NAME), *outside = tv_format("%s/x.safetensors", dir);
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    assert_ok(tv_make_dirs(model));
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write_as(model, list, TV_F32, 3000, yield_elements, list));
    uint64_t shards = count_shards(model);
    char *first = tv_format("%s/model-00001-of-%05llu.safetensors", model, (unsigned long long)shards);
    char *second = tv_format("%s/model-00002-of-%05llu.safetensors", model, (unsigned long long)shards);
    const char *second_name = strrchr(second, '/') + 1;
    copy(index, good);
    copy(first, outside);

    static const char embedding[] = "model.embed_tokens.weight";
    static const char *const leaving[] = {
        "../x.safetensors", "/etc/passwd",   "sub/x.safetensors", "..", ".", "",
        "./x.safetensors",  ".x.safetensors"};
    for (size_t i = 0; i < TV_COUNT(leaving); i++) {
        point(index, good, embedding, leaving[i]);
        refused(model, "expected the name of a file beside it for \"model.embed_tokens.weight\"");
    }
    point(index, good, embedding, "model-00099-of-00099.safetensors");
    refused(model, "model-00099-of-00099.safetensors is missing; ");
    point(index, good, embedding, second_name);
    refused(model, "tensor \"model.embed_tokens.weight\" is missing; ");
    point(index, good, embedding, NULL);
    refused(model, "tensor \"model.embed_tokens.weight\" is in this shard, but ");
    /* The index itself as a shard. */
    point(index, good, embedding, TV_INDEX_NAME);
    refused(model, "safetensors");

    /* A shard that was not fetched, is cut, is a pointer; then all is well again. */
    copy(good, index);
    copy(second, outside);
    assert_ok(tv_remove_tree(second));
    refused(model, " is missing; ");
    static const char pointer[] =
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 548105171\n";
    assert_ok(tv_write_file(second, pointer, sizeof pointer - 1));
    refused(model, "found a pointer of Git LFS");
    char *text = NULL;
    uint64_t size;
    assert_ok(tv_read_file(outside, &text, &size));
    assert_ok(tv_write_file(second, text, size - 1));
    refused(model, "it may be cut short");
    free(text);
    copy(outside, second);
    check_reads_back(model, list);

    tv_parameter_list_destroy(&list);
    free(first);
    free(second);
    free(outside);
    free(index);
    free(good);
    free(model);
    tv_test_dir_remove(&dir);
}

static void a_tensor_of_two_shards_is_refused(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *index = tv_format("%s/%s", dir, TV_INDEX_NAME);
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    /* All weights in one file, and the same file again under another name, of which the index takes one
     * tensor. */
    assert_ok(tv_model_directory_write(dir, list, yield_elements, list));
    char *single = tv_format("%s/%s", dir, TV_WEIGHTS_NAME), *a = tv_format("%s/a.safetensors", dir);
    char *b = tv_format("%s/b.safetensors", dir);
    tv_safetensors *file = NULL;
    copy(single, a);
    copy(single, b);
    assert_ok(tv_safetensors_open(single, &file));
    cJSON *root = cJSON_CreateObject(), *map = cJSON_AddObjectToObject(root, "weight_map");
    for (uint64_t i = tv_safetensors_count(file); i-- > 0;)
        assert_non_null(cJSON_AddStringToObject(map, tv_safetensors_at(file, i)->name,
                                                i == 4 ? "b.safetensors" : "a.safetensors"));
    tv_safetensors_close(&file);
    assert_ok(tv_json_write_file(index, root));
    assert_ok(tv_remove_tree(single));
    refused(dir, "is also in ");
    cJSON_Delete(root);
    tv_parameter_list_destroy(&list);
    free(b);
    free(a);
    free(single);
    free(index);
    tv_test_dir_remove(&dir);
}

static void checksums_cover_shards_and_index(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/%s", dir, TV_STATE_NAME);
    tv_model_config config = small_llama();
    tv_parameter_list *list = NULL;
    cJSON *sealed = cJSON_CreateObject();
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write_as(dir, list, TV_BF16, 1700, yield_elements, list));
    assert_ok(tv_checksums_seal(sealed, dir));
    assert_ok(tv_json_write_file(path, sealed));
    assert_ok(tv_checksums_check_weights(dir));
    char *second =
        tv_format("%s/model-00002-of-%05llu.safetensors", dir, (unsigned long long)count_shards(dir));
    char *files[] = {second, tv_format("%s/%s", dir, TV_INDEX_NAME)};
    for (int i = 0; i < 2; i++) {
        char *text = NULL;
        uint64_t size;
        assert_ok(tv_read_file(files[i], &text, &size));
        text[size - 2] ^= 1;
        assert_ok(tv_write_file(files[i], text, size));
        assert_int_equal(tv_checksums_check_weights(dir), TV_E_DATA);
        assert_non_null(strstr(tv_last_error(), files[i]));
        text[size - 2] ^= 1;
        assert_ok(tv_write_file(files[i], text, size));
        assert_ok(tv_checksums_check_weights(dir));
        free(text);
        free(files[i]);
    }
    cJSON_Delete(sealed);
    tv_parameter_list_destroy(&list);
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards_are_cut_and_read_back),
        cmocka_unit_test(what_f16_cannot_hold_is_said),
        cmocka_unit_test(indexes_that_lie_are_refused),
        cmocka_unit_test(a_tensor_of_two_shards_is_refused),
        cmocka_unit_test(checksums_cover_shards_and_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
