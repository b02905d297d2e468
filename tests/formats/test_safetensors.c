/* model/safetensors: every hostile header, built byte by byte; conversions against exact values; transposes
 * and row ranges against a plain loop; what is written, read back bit for bit. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/safetensors.h"

/* A file of the announced header length, the header's text, and `data_bytes` bytes 0, 1, 2, ... in fresh
 * memory of exactly that size, so that a sanitizer sees any step beyond it. */
static uint8_t *build(uint64_t announced, const char *header, uint64_t data_bytes, uint64_t *size) {
    uint64_t length = strlen(header);
    *size = 8 + length + data_bytes;
    uint8_t *bytes = malloc(*size);
    assert_non_null(bytes);
    memcpy(bytes, &announced, 8);
    for (uint64_t i = 0; i < length; i++)
        bytes[8 + i] = (uint8_t)header[i];
    for (uint64_t i = 0; i < data_bytes; i++)
        bytes[8 + length + i] = (uint8_t)i;
    return bytes;
}

static void hostile_headers_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *header;
        uint64_t data_bytes;
        const char *words; /* in the sentence; NULL: a good file */
    } cases[] = {
        {"{}", 0, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}   ", 8, NULL},
        {"{\"__metadata__\":{\"format\":\"pt\"},\"a\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}"
         "}",
         1, NULL},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[0,0]},\"b\":{\"dtype\":\"BOOL\","
         "\"shape\":[3],\"data_offsets\":[0,3]}}",
         3, NULL},
        {"", 0, "JSON"},
        {"{\"a\":", 0, "JSON"},
        {"{} x", 0, "JSON"},
        {"[]", 0, "JSON object"},
        {"7", 0, "JSON object"},
        {"{\"a\":7}", 0, "object for tensor \"a\""},
        {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "no \"dtype\""},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "no \"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "no \"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"I32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
         "\"dtype\" twice"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown type F33"},
        {"{\"a\":{\"dtype\":\"f32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown type f32"},
        {"{\"a\":{\"dtype\":4,\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "unknown type"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":2,\"data_offsets\":[0,8]}}", 8, "\"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", 8, "\"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2.5],\"data_offsets\":[0,10]}}", 10, "\"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[\"2\"],\"data_offsets\":[0,8]}}", 8, "\"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1e999],\"data_offsets\":[0,8]}}", 8, "\"shape\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,2],\"data_offsets\":[0,8]}}", 8, "dimensions"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
         "overflows"},
        /* 2^62 elements fit 64 bits, their bytes wrap to 0. */
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2147483648,2147483648],\"data_offsets\":[0,0]}}", 0,
         "overflows"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}}", 8, "\"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8, "\"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[-8,0]}}", 8, "\"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[NaN,8]}}", 8, "JSON"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[null,8]}}", 8, "\"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":{\"x\":0,\"y\":8}}}", 8,
         "\"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,18446744073709551616]}}", 8,
         "\"data_offsets\""},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,0]}}", 8, "behind its end"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 7, "cut short"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, "span 4"},
        {"{\"a\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "make 4 bytes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":["
         "4],"
         "\"data_offsets\":[3,7]}}",
         7, "\"a\" and \"b\" overlap"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":["
         "4],"
         "\"data_offsets\":[5,9]}}",
         9, "holes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]}}", 5, "holes"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5, "no rest"},
        {"{}", 1, "no rest"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\",\"shape\":["
         "4],"
         "\"data_offsets\":[4,8]}}",
         8, "\"a\" twice"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"U8\",\"shape\":["
         "4],"
         "\"data_offsets\":[0,4]}}",
         4, "\"a\" twice"},
        {"{\"__metadata__\":[]}", 0, "\"__metadata__\""},
        {"{\"__metadata__\":{\"x\":1}}", 0, "\"__metadata__\""},
        {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "twice"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t size;
        uint8_t *bytes = build(strlen(cases[i].header), cases[i].header, cases[i].data_bytes, &size);
        tv_safetensors *file = NULL;
        tv_status status = tv_safetensors_open_bytes(bytes, size, "m.safetensors", &file);
        if (!cases[i].words) {
            if (status != TV_OK)
                fail_msg("case %zu: %s", i, tv_last_error());
        } else if (status != TV_E_DATA || !strstr(tv_last_error(), cases[i].words) ||
                   !strstr(tv_last_error(), "m.safetensors")) {
            fail_msg("case %zu (%s): status %d, sentence \"%s\"", i, cases[i].header, status,
                     tv_last_error());
        }
        tv_safetensors_close(&file);
        assert_null(file);
        free(bytes);
    }
}

static void lying_lengths_are_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t announced;
        const char *words;
    } cases[] = {
        {3, "3 bytes, but only 2"},
        {100000000, "100000000 bytes, but only 2"},
        {100000001, "more than the 100000000"},
        {UINT64_MAX, "more than the 100000000"},
        {UINT64_MAX - 7, "more than the 100000000"},
        {1, "JSON"},
        {0, "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t size;
        uint8_t *bytes = build(cases[i].announced, "{}", 0, &size);
        tv_safetensors *file = NULL;
        assert_int_equal(tv_safetensors_open_bytes(bytes, size, "m", &file), TV_E_DATA);
        if (!strstr(tv_last_error(), cases[i].words))
            fail_msg("case %zu: \"%s\"", i, tv_last_error());
        free(bytes);
    }
    /* Every truncation of a good file is refused. */
    const char *header = "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    uint64_t size;
    uint8_t *whole = build(strlen(header), header, 4, &size);
    for (uint64_t cut = 0; cut < size; cut++) {
        uint8_t *bytes = malloc(cut ? cut : 1);
        assert_non_null(bytes);
        memcpy(bytes, whole, cut);
        tv_safetensors *file = NULL;
        assert_int_equal(tv_safetensors_open_bytes(bytes, cut, "m", &file), TV_E_DATA);
        free(bytes);
    }
    /* A zero byte in the header. */
    whole[9] = 0;
    tv_safetensors *file = NULL;
    assert_fails(tv_safetensors_open_bytes(whole, size, "m", &file), TV_E_DATA, "zero byte");
    free(whole);
}

/* Values exact in every type, so the conversions have no tolerance. */
static void types_convert_exactly(void **state) {
    (void)state;
    const char *header =
        "{\"w\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[0,24]},\"x\":{\"dtype\":\"F32\",\"shape\":"
        "[3],"
        "\"data_offsets\":[24,36]},\"y\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[36,42]},\"z\":{"
        "\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[42,48]},\"i\":{\"dtype\":\"I32\",\"shape\":[1],"
        "\"data_offsets\":[48,52]}}";
    const float expected[3] = {-1.5f, 0.15625f, 3072.0f};
    const double wide[3] = {-1.5, 0.15625, 3072.0};
    const uint16_t half[3] = {0xbe00, 0x3100, 0x6a00}, brain[3] = {0xbfc0, 0x3e20, 0x4540};
    uint64_t size;
    uint8_t *bytes = build(strlen(header), header, 52, &size);
    uint8_t *data = bytes + 8 + strlen(header);
    memcpy(data, wide, 24);
    memcpy(data + 24, expected, 12);
    memcpy(data + 36, half, 6);
    memcpy(data + 42, brain, 6);
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open_bytes(bytes, size, "m", &file));
    const char *const names[] = {"w", "x", "y", "z"};
    for (int i = 0; i < 4; i++) {
        float out[3] = {NAN, NAN, NAN};
        assert_ok(tv_safetensors_read(file, tv_safetensors_find(file, names[i]), 0, 3, false, out));
        assert_memory_equal(out, expected, sizeof out);
        out[0] = out[1] = out[2] = NAN;
        assert_ok(tv_safetensors_read(file, tv_safetensors_find(file, names[i]), 0, 3, true, out));
        assert_memory_equal(out, expected, sizeof out);
    }
    float out[1];
    assert_fails(tv_safetensors_read(file, tv_safetensors_find(file, "i"), 0, 1, false, out), TV_E_DATA,
                 "\"i\" has the type I32");
    assert_int_equal(tv_safetensors_read(file, tv_safetensors_find(file, "x"), 2, 2, false, out), TV_E_USAGE);
    assert_int_equal(tv_safetensors_read(file, tv_safetensors_find(file, "x"), UINT64_MAX, 2, false, out),
                     TV_E_USAGE);
    assert_null(tv_safetensors_find(file, "v"));
    assert_null(tv_safetensors_metadata(file, "format"));
    tv_safetensors_close(&file);
    free(bytes);
}

enum { ROWS = 37, COLUMNS = 19 }; /* beyond two blocks of a transpose, and odd */

static void rows_and_transposes(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/x.safetensors", dir);
    float values[ROWS * COLUMNS];
    uint16_t halves[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        values[i] = (float)i;
        halves[i] = tv_float_to_half((float)i);
    }
    const tv_safetensor tensors[] = {
        {.name = "m", .dtype = "F32", .rank = 2, .shape = {ROWS, COLUMNS}},
        {.name = "h", .dtype = "F16", .rank = 2, .shape = {ROWS, COLUMNS}},
    };
    tv_safetensors_writer *writer = NULL;
    assert_ok(tv_safetensors_writer_open(path, tensors, 2, &writer));
    assert_ok(tv_safetensors_write(writer, values, sizeof values));
    assert_ok(tv_safetensors_write(writer, halves, sizeof halves));
    assert_ok(tv_safetensors_writer_commit(&writer));

    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(path, &file));
    const uint64_t ranges[][2] = {{0, ROWS}, {0, 1}, {5, 17}, {36, 1}, {37, 0}};
    for (int t = 0; t < 2; t++) {
        const tv_safetensor *tensor = tv_safetensors_find(file, t ? "h" : "m");
        for (int k = 0; k < 5; k++) {
            uint64_t first = ranges[k][0], rows = ranges[k][1];
            float straight[ROWS * COLUMNS + 1], turned[ROWS * COLUMNS + 1];
            straight[rows * COLUMNS] = turned[rows * COLUMNS] = -7;
            assert_ok(tv_safetensors_read(file, tensor, first, rows, false, straight));
            assert_ok(tv_safetensors_read(file, tensor, first, rows, true, turned));
            for (uint64_t r = 0; r < rows; r++)
                for (uint64_t c = 0; c < COLUMNS; c++) {
                    assert_near(straight[r * COLUMNS + c], (first + r) * COLUMNS + c, 0);
                    assert_near(turned[c * rows + r], (first + r) * COLUMNS + c, 0);
                }
            assert_near(straight[rows * COLUMNS], -7, 0);
            assert_near(turned[rows * COLUMNS], -7, 0);
        }
    }
    tv_safetensors_close(&file);
    free(path);
    tv_test_dir_remove(&dir);
}

/* The bytes on disk are those of the format, whatever this reader makes of them. */
static void written_bytes_are_the_format(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/x.safetensors", dir);
    const tv_safetensor tensors[] = {
        {.name = "b \"quoted\"", .dtype = "F32", .rank = 2, .shape = {1, 2}},
        {.name = "a", .dtype = "I64", .rank = 0},
    };
    const float floats[2] = {1.0f, -2.5f};
    const int64_t number = -3;
    const char *expected = "{\"__metadata__\":{\"format\":\"pt\"},\"b \\\"quoted\\\"\":{\"dtype\":\"F32\","
                           "\"shape\":[1,2],\"data_offsets\":[0,8]},\"a\":{\"dtype\":\"I64\",\"shape\":[],"
                           "\"data_offsets\":[8,16]}}";
    for (int round = 0; round < 2; round++) {
        tv_safetensors_writer *writer = NULL;
        assert_ok(tv_safetensors_writer_open(path, tensors, 2, &writer));
        assert_ok(tv_safetensors_write(writer, floats, 3)); /* pieces need not respect elements */
        assert_ok(tv_safetensors_write(writer, (const char *)floats + 3, 5));
        assert_ok(tv_safetensors_write(writer, &number, 8));
        assert_ok(tv_safetensors_writer_commit(&writer));
        char *text = NULL;
        uint64_t size = 0, length = 0;
        assert_ok(tv_read_file(path, &text, &size));
        memcpy(&length, text, 8);
        assert_int_equal(length % 8, 0);
        assert_int_equal(size, 8 + length + 16);
        assert_true(length >= strlen(expected) && length < strlen(expected) + 8);
        assert_memory_equal(text + 8, expected, strlen(expected));
        for (uint64_t i = strlen(expected); i < length; i++)
            assert_int_equal(text[8 + i], ' ');
        assert_memory_equal(text + 8 + length, floats, 8);
        assert_memory_equal(text + 16 + length, &number, 8);
        free(text);
    }
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_open(path, &file));
    assert_int_equal(tv_safetensors_count(file), 2);
    assert_string_equal(tv_safetensors_at(file, 0)->name, "a");
    assert_string_equal(tv_safetensors_metadata(file, "format"), "pt");
    tv_safetensors_close(&file);
    free(path);
    tv_test_dir_remove(&dir);
}

static void unfinished_files_do_not_appear(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/x.safetensors", dir);
    const tv_safetensor tensor = {.name = "a", .dtype = "F32", .rank = 1, .shape = {2}};
    const float floats[3] = {0};
    tv_safetensors_writer *writer = NULL;
    assert_ok(tv_safetensors_writer_open(path, &tensor, 1, &writer));
    assert_ok(tv_safetensors_write(writer, floats, 4));
    assert_int_equal(tv_safetensors_writer_commit(&writer), TV_E_USAGE);
    assert_null(writer);
    assert_ok(tv_safetensors_writer_open(path, &tensor, 1, &writer));
    assert_int_equal(tv_safetensors_write(writer, floats, 12), TV_E_USAGE);
    tv_safetensors_writer_abort(&writer);
    assert_null(writer);
    tv_safetensors_writer_abort(&writer);
    const tv_safetensor odd = {.name = "a", .dtype = "F33", .rank = 1, .shape = {2}};
    assert_int_equal(tv_safetensors_writer_open(path, &odd, 1, &writer), TV_E_USAGE);
    assert_null(writer);
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    assert_int_equal(count, 0);
    tv_free_names(&names, count);
    tv_safetensors *file = NULL;
    assert_int_equal(tv_safetensors_open(path, &file), TV_E_IO);
    free(path);
    tv_test_dir_remove(&dir);
}

/* Where a mapping would end the process. */
static void a_file_that_is_cut_while_it_is_open(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/cut.safetensors", dir);
    const tv_safetensor tensor = {.name = "t", .dtype = "F16", .rank = 2, .shape = {64, 32}};
    static const uint16_t halves[64 * 32];
    static float out[64 * 32];
    tv_safetensors_writer *writer = NULL;
    tv_safetensors *file = NULL;
    assert_ok(tv_safetensors_writer_open(path, &tensor, 1, &writer));
    assert_ok(tv_safetensors_write(writer, halves, sizeof halves));
    assert_ok(tv_safetensors_writer_commit(&writer));
    assert_ok(tv_safetensors_open(path, &file));
    const tv_safetensor *found = tv_safetensors_at(file, 0);
    assert_ok(tv_safetensors_read(file, found, 0, 64, true, out));
    assert_int_equal(truncate(path, 1000), 0);
    for (int transposed = 0; transposed < 2; transposed++) {
        assert_fails(tv_safetensors_read(file, found, 0, 64, transposed, out), TV_E_IO,
                     "cut.safetensors was cut short");
    }
    tv_safetensors_close(&file);
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(lying_lengths_are_refused),
        cmocka_unit_test(types_convert_exactly),
        cmocka_unit_test(rows_and_transposes),
        cmocka_unit_test(written_bytes_are_the_format),
        cmocka_unit_test(a_file_that_is_cut_while_it_is_open),
        cmocka_unit_test(unfinished_files_do_not_appear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
