/* formats/safetensors_read and formats/directory in pieces: any rectangle of a tensor, straight or turned, in
 * any type of weights, is what its elements are one by one; tensors of more than a piece, and turned ones of
 * more than the writer turns at once, come back whole.
 *
 * Tried: a turned tile stored at the place of a straight one; a turned block made without its first column;
 * halves cut instead of rounded. Each fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/directory.h"
#include "formats/safetensors.h"

/* Exact in every type. */
static float element(uint64_t row, uint64_t column) {
    return (float)((row * 31 + column * 7) % 257) - 128;
}

typedef struct shape {
    uint64_t rows, columns;
} shape;

static const char *const types[] = {"F32", "F16", "BF16", "F64"};
static const uint64_t sizes[] = {4, 2, 2, 8};

static void put(const char *type, float value, uint8_t *out) {
    double wide = value;
    uint16_t half = strcmp(type, "F16") == 0 ? tv_float_to_half(value) : tv_float_to_bfloat16(value);
    if (strcmp(type, "F32") == 0)
        memcpy(out, &value, 4);
    else if (strcmp(type, "F64") == 0)
        memcpy(out, &wide, 8);
    else
        memcpy(out, &half, 2);
}

static float taken(tv_dtype dtype, const uint8_t *in) {
    float value;
    uint16_t half;
    memcpy(&half, in, sizeof half);
    if (dtype != TV_F32)
        return dtype == TV_F16 ? tv_half_to_float(half) : tv_bfloat16_to_float(half);
    memcpy(&value, in, sizeof value);
    return value;
}

static void check_part(const tv_safetensors *file, const tv_safetensor *tensor, tv_safetensors_part part,
                       bool transposed, tv_dtype dtype, uint64_t padding) {
    const uint64_t size = tv_dtype_bytes(dtype);
    const uint64_t rows = transposed ? part.columns : part.rows,
                   columns = transposed ? part.rows : part.columns;
    const uint64_t stride = columns * size + padding, bytes = rows * stride;
    uint8_t *out = malloc(bytes + 8);
    assert_non_null(out);
    memset(out, 0xff, bytes + 8);
    assert_ok(tv_safetensors_read_part(file, tensor, &part, transposed, dtype, padding ? stride : 0, out));
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < columns; c++) {
            float expected =
                element(part.first_row + (transposed ? c : r), part.first_column + (transposed ? r : c));
            float found = taken(dtype, out + r * stride + c * size);
            if (!(found == expected))
                fail_msg("%s as type %d%s, row %llu column %llu: %g, expected %g", tensor->dtype, dtype,
                         transposed ? ", turned" : "", (unsigned long long)r, (unsigned long long)c,
                         (double)found, (double)expected);
        }
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t k = 0; k < padding; k++)
            assert_int_equal(out[r * stride + columns * size + k], 0xff);
    for (uint64_t k = 0; k < 8; k++)
        assert_int_equal(out[bytes + k], 0xff);
    free(out);
}

static void every_part_of_every_type(void **state) {
    (void)state;
    /* Beyond a tile in rows, beyond one in columns, and small and odd. */
    static const shape shapes[] = {{7, 5}, {700, 401}, {33, 8200}};
    static const tv_dtype wanted[] = {TV_F32, TV_F16, TV_BF16};
    char *dir = tv_test_dir(), *path = tv_format("%s/x.safetensors", dir);
    for (size_t s = 0; s < TV_COUNT(shapes); s++)
        for (size_t t = 0; t < TV_COUNT(types); t++) {
            const shape all = shapes[s];
            const tv_safetensor tensor = {
                .name = "x", .dtype = types[t], .rank = 2, .shape = {all.rows, all.columns}};
            uint8_t *bytes = malloc(all.rows * all.columns * sizes[t]);
            assert_non_null(bytes);
            for (uint64_t r = 0; r < all.rows; r++)
                for (uint64_t c = 0; c < all.columns; c++)
                    put(types[t], element(r, c), bytes + (r * all.columns + c) * sizes[t]);
            tv_safetensors_writer *writer = NULL;
            tv_safetensors *file = NULL;
            assert_ok(tv_safetensors_writer_open(path, &tensor, 1, &writer));
            assert_ok(tv_safetensors_write(writer, bytes, all.rows * all.columns * sizes[t]));
            assert_ok(tv_safetensors_writer_commit(&writer));
            assert_ok(tv_safetensors_open(path, &file));
            const tv_safetensors_part parts[] = {
                {0, all.rows, 0, all.columns},         {all.rows / 3, all.rows / 2, 0, all.columns},
                {1, all.rows - 3, 2, all.columns - 3}, {all.rows - 1, 1, all.columns - 2, 2},
                {all.rows, 0, all.columns, 0},
            };
            for (size_t p = 0; p < TV_COUNT(parts); p++)
                for (size_t w = 0; w < TV_COUNT(wanted); w++)
                    for (int kind = 0; kind < 4; kind++)
                        check_part(file, tv_safetensors_at(file, 0), parts[p], kind & 1, wanted[w],
                                   kind & 2 ? 6 : 0);
            const tv_safetensors_part beyond = {0, 1, 1, all.columns};
            assert_int_equal(
                tv_safetensors_read_part(file, tv_safetensors_at(file, 0), &beyond, false, TV_F32, 0, bytes),
                TV_E_USAGE);
            tv_safetensors_close(&file);
            free(bytes);
        }
    free(path);
    tv_test_dir_remove(&dir);
}

static void narrowing_rounds_to_nearest_even(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/x.safetensors", dir);
    const float values[] = {1 + 0x1p-8f,   1 + 3 * 0x1p-8f,   1 + 0x1.8p-8f,
                            -1 - 0x1p-11f, -1 - 3 * 0x1p-11f, 65519};
    const float brain[] = {1, 1 + 0x1p-6f, 1 + 0x1p-7f, -1, -1, 65536};
    const float half[] = {1 + 0x1p-8f, 1 + 3 * 0x1p-8f, 1 + 0x1.8p-8f, -1, -1 - 0x1p-9f, 65504};
    const tv_safetensor tensor = {.name = "x", .dtype = "F32", .rank = 1, .shape = {TV_COUNT(values)}};
    tv_safetensors_writer *writer = NULL;
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_writer_open(path, &tensor, 1, &writer));
    assert_ok(tv_safetensors_write(writer, values, sizeof values));
    assert_ok(tv_safetensors_writer_commit(&writer));
    assert_ok(tv_safetensors_open(path, &file));
    uint16_t out[TV_COUNT(values)];
    const tv_safetensors_part all = {0, TV_COUNT(values), 0, 1};
    assert_ok(tv_safetensors_read_part(file, tv_safetensors_at(file, 0), &all, false, TV_BF16, 0, out));
    for (size_t i = 0; i < TV_COUNT(values); i++)
        assert_near(tv_bfloat16_to_float(out[i]), brain[i], 0);
    assert_ok(tv_safetensors_read_part(file, tv_safetensors_at(file, 0), &all, false, TV_F16, 0, out));
    for (size_t i = 0; i < TV_COUNT(values); i++)
        assert_near(tv_half_to_float(out[i]), half[i], 0);
    tv_safetensors_close(&file);
    free(path);
    tv_test_dir_remove(&dir);
}

/* ---- parameters larger than a piece ---- */

static tv_status yield_elements(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                                tv_dtype dtype, void *out) {
    const tv_parameter_list *list = context;
    const tv_parameter *p = &list->items[index];
    float *values = out;
    assert_int_equal(dtype, TV_F32);
    assert_true(first_row + rows <= p->shape[0]);
    assert_true(rows * p->shape[1] * sizeof *values <= TV_PIECE_BYTES);
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < p->shape[1]; c++)
            values[r * p->shape[1] + c] = element(first_row + r + index, c);
    return TV_OK;
}

static void large_parameters_come_in_pieces(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    tv_model_config config = tv_model_config_defaults(TV_ARCH_GPT2);
    config.vocab_size = 9;
    config.n_layer = 1;
    config.n_head = config.n_kv_head = 1;
    config.channels = config.head_size = 64;
    config.ffn = 131077; /* 33.5 MB: three pieces, and two turns */
    config.max_positions = 4;
    tv_parameter_list *list = NULL;
    tv_model_directory *d = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write(dir, list, yield_elements, list));
    assert_ok(tv_model_directory_open(dir, &d));
    float *values = malloc(tv_parameter_piece_elements(list) * sizeof *values);
    assert_non_null(values);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        uint64_t piece = tv_parameter_piece_rows(p);
        for (uint64_t first = 0, rows; first < p->shape[0]; first += rows) {
            rows = tv_min_u64(piece, p->shape[0] - first);
            assert_ok(tv_model_directory_read_rows(d, i, first, rows, TV_F32, values));
            for (uint64_t r = 0; r < rows; r++)
                for (uint64_t c = 0; c < p->shape[1]; c++)
                    if (values[r * p->shape[1] + c] != element(first + r + i, c))
                        fail_msg("%s, row %llu, column %llu: %g", p->name, (unsigned long long)(first + r),
                                 (unsigned long long)c, (double)values[r * p->shape[1] + c]);
        }
    }
    free(values);
    tv_model_directory_close(&d);
    tv_parameter_list_destroy(&list);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_part_of_every_type),
        cmocka_unit_test(narrowing_rounds_to_nearest_even),
        cmocka_unit_test(large_parameters_come_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
