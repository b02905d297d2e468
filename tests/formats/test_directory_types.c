/* formats/directory_read: any rows of any parameter in every type that weights are stored in, as a device has
 * them (padded rows, blocks), straight and turned, are what the conversions of base/dtype make of its floats;
 * the type that a parameter is published in is told, F32 where its tensors differ.
 *
 * Tried: rows of halves without their padding; blocks made of the first rows for every piece; the last
 * tensor's type told of a mixed matrix; a NaN let through in halves. Each fails.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/directory.h"

static tv_status yield_drawn(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                             void *out) {
    assert_int_equal(dtype, TV_F32);
    tv_parameter_initialise(context, index, 5, first_row, rows, out);
    return TV_OK;
}

/* Odd rows and rows of whole blocks: 33 channels and 64 of the MLP's, or 64 and 96. */
static tv_model_config config_of(tv_architecture architecture) {
    tv_model_config c = tv_model_config_defaults(architecture);
    bool gpt2 = architecture == TV_ARCH_GPT2;
    c.vocab_size = 37;
    c.n_layer = 1;
    c.n_head = c.n_kv_head = gpt2 ? 3 : 4;
    c.channels = gpt2 ? 33 : 64;
    c.head_size = gpt2 ? 11 : 16;
    c.ffn = gpt2 ? 64 : 96;
    c.max_positions = 9;
    return c;
}

static void check_rows(const tv_model_directory *d, uint32_t index, uint64_t first, uint64_t rows,
                       tv_dtype dtype) {
    const tv_parameter *p = &tv_model_directory_parameters(d)->items[index];
    const uint64_t bytes = rows * tv_dtype_row_bytes(dtype, p->shape[1]);
    float *floats = malloc(p->count * sizeof *floats);
    uint8_t *expected = calloc(1, bytes + 8), *found = malloc(bytes + 8);
    assert_true(floats && expected && found);
    assert_ok(tv_model_directory_read(d, index, floats));
    tv_dtype_from_f32(dtype, p->shape[1], rows, floats + first * p->shape[1], expected);
    memset(found, 0xa5, bytes + 8);
    memset(expected + bytes, 0xa5, 8);
    assert_ok(tv_model_directory_read_rows(d, index, first, rows, dtype, found));
    if (memcmp(found, expected, bytes + 8) != 0)
        fail_msg("%s, %llu rows from %llu as %s differ", p->name, (unsigned long long)rows,
                 (unsigned long long)first, tv_dtype_name(dtype));
    free(found);
    free(expected);
    free(floats);
}

static void rows_of_every_type(void **state) {
    (void)state;
    static const tv_dtype dtypes[] = {TV_F32, TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};
    for (int architecture = TV_ARCH_GPT2; architecture <= TV_ARCH_LLAMA; architecture++)
        for (size_t written = 0; written < 3; written++) {
            char *dir = tv_test_dir();
            tv_model_config config = config_of((tv_architecture)architecture);
            tv_parameter_list *list = NULL;
            tv_model_directory *d = NULL;
            uint64_t blocks = 0;
            assert_ok(tv_parameter_list_create(&config, &list));
            assert_ok(tv_model_directory_write_as(dir, list, dtypes[written], 0, yield_drawn, list));
            assert_ok(tv_model_directory_open(dir, &d));
            for (uint32_t i = 0; i < list->count; i++) {
                const tv_parameter *p = &list->items[i];
                assert_int_equal(tv_model_directory_dtype(d, i), dtypes[written]);
                for (size_t t = 0; t < TV_COUNT(dtypes); t++) {
                    if (!tv_dtype_takes(dtypes[t], p->shape[1]))
                        continue;
                    blocks += tv_dtype_is_blocks(dtypes[t]);
                    check_rows(d, i, 0, p->shape[0], dtypes[t]);
                    check_rows(d, i, p->shape[0] / 3, p->shape[0] / 2, dtypes[t]);
                }
            }
            assert_true(blocks > 0);
            tv_model_directory_close(&d);
            tv_parameter_list_destroy(&list);
            tv_test_dir_remove(&dir);
        }
}

/* More floats than are held at once on the way to blocks. */
static void blocks_of_a_large_matrix(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    tv_model_config config = config_of(TV_ARCH_LLAMA);
    tv_parameter_list *list = NULL;
    tv_model_directory *d = NULL;
    config.vocab_size = 40001; /* times 64: 2.4 million */
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write_as(dir, list, TV_BF16, 0, yield_drawn, list));
    assert_ok(tv_model_directory_open(dir, &d));
    check_rows(d, 0, 0, 40001, TV_Q8_0);
    tv_model_directory_close(&d);
    tv_parameter_list_destroy(&list);
    tv_test_dir_remove(&dir);
}

/* A shard for each tensor, q's taken from a model of floats. */
static void mixed_matrices_are_floats(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *brain = tv_format("%s/brain", dir), *floats = tv_format("%s/floats", dir);
    tv_model_config config = config_of(TV_ARCH_LLAMA);
    tv_parameter_list *list = NULL;
    tv_model_directory *d = NULL;
    assert_ok(tv_make_dirs(brain));
    assert_ok(tv_make_dirs(floats));
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write_as(brain, list, TV_BF16, 1, yield_drawn, list));
    assert_ok(tv_model_directory_write_as(floats, list, TV_F32, 1, yield_drawn, list));
    uint64_t q = 0, size;
    char **names = NULL, *text = NULL;
    uint64_t count;
    assert_ok(tv_list_dir(brain, &names, &count));
    for (uint64_t i = 0; i < count; i++)
        if (strstr(names[i], "model-00003-of-")) /* behind the embedding and the first norm */
            q = i;
    char *from = tv_format("%s/%s", floats, names[q]), *to = tv_format("%s/%s", brain, names[q]);
    assert_ok(tv_read_file(from, &text, &size));
    assert_ok(tv_write_file(to, text, size));
    assert_ok(tv_model_directory_open(brain, &d));
    for (uint32_t i = 0; i < list->count; i++) {
        bool mixed = list->items[i].role == TV_PARAMETER_QKV_WEIGHT;
        assert_int_equal(tv_model_directory_dtype(d, i), mixed ? TV_F32 : TV_BF16);
    }
    tv_model_directory_close(&d);
    tv_parameter_list_destroy(&list);
    tv_free_names(&names, count);
    free(text);
    free(from);
    free(to);
    free(floats);
    free(brain);
    tv_test_dir_remove(&dir);
}

static tv_status yield_nan(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out) {
    const tv_parameter_list *list = context;
    TV_RETURN_IF_FAILED(yield_drawn(context, index, first_row, rows, dtype, out));
    ((float *)out)[rows * list->items[index].shape[1] - 1] = NAN;
    return TV_OK;
}

static void what_is_no_number_is_refused_in_every_type(void **state) {
    (void)state;
    static const tv_dtype dtypes[] = {TV_F32, TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};
    char *dir = tv_test_dir();
    tv_model_config config = config_of(TV_ARCH_GPT2);
    tv_parameter_list *list = NULL;
    tv_model_directory *d = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write_as(dir, list, TV_BF16, 0, yield_nan, list));
    assert_ok(tv_model_directory_open(dir, &d));
    for (uint32_t i = 0; i < list->count; i++)
        for (size_t t = 0; t < TV_COUNT(dtypes); t++) {
            const tv_parameter *p = &list->items[i];
            if (!tv_dtype_takes(dtypes[t], p->shape[1]))
                continue;
            void *out = malloc(p->shape[0] * tv_dtype_row_bytes(dtypes[t], p->shape[1]));
            assert_non_null(out);
            assert_int_equal(tv_model_directory_read_rows(d, i, 0, p->shape[0], dtypes[t], out), TV_E_DATA);
            free(out);
        }
    tv_model_directory_close(&d);
    tv_parameter_list_destroy(&list);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_every_type),
        cmocka_unit_test(blocks_of_a_large_matrix),
        cmocka_unit_test(mixed_matrices_are_floats),
        cmocka_unit_test(what_is_no_number_is_refused_in_every_type),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
