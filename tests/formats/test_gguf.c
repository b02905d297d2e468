/* formats/gguf: every hostile header, built byte by byte in memory of exactly its size; what is written, read
 * back; blocks of each type against the format's description in double precision. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/gguf.h"

/* ---- files byte by byte ---- */

typedef struct bytes {
    uint8_t data[4096];
    uint64_t size;
} bytes;

static void put(bytes *b, const void *what, uint64_t size) {
    assert_true(b->size + size <= sizeof b->data);
    memcpy(b->data + b->size, what, size);
    b->size += size;
}

static void put32(bytes *b, uint32_t value) {
    put(b, &value, sizeof value);
}

static void put64(bytes *b, uint64_t value) {
    put(b, &value, sizeof value);
}

static void put_text(bytes *b, const char *text) {
    put64(b, strlen(text));
    put(b, text, strlen(text));
}

static void put_header(bytes *b, uint32_t version, uint64_t tensors, uint64_t keys) {
    put(b, "GGUF", 4);
    put32(b, version);
    put64(b, tensors);
    put64(b, keys);
}

static void put_tensor(bytes *b, const char *name, uint32_t rank, const uint64_t *reversed, uint32_t type,
                       uint64_t offset) {
    put_text(b, name);
    put32(b, rank);
    for (uint32_t i = 0; i < rank; i++)
        put64(b, reversed[i]);
    put32(b, type);
    put64(b, offset);
}

static void put_data(bytes *b, uint64_t alignment, uint64_t size) {
    while (b->size % alignment)
        put(b, "", 1);
    for (uint64_t i = 0; i < size; i++)
        put(b, &(uint8_t){(uint8_t)i}, 1);
}

/* Opens a copy of exactly the file's size; words must be in the sentence, NULL: it is a good file. */
static void expect(const bytes *b, const char *words) {
    uint8_t *exact = malloc(b->size ? b->size : 1);
    assert_non_null(exact);
    memcpy(exact, b->data, b->size);
    tv_gguf *file = NULL;
    tv_status status = tv_gguf_open_bytes(exact, b->size, "test", &file);
    if (!words) {
        assert_ok(status);
        tv_gguf_close(&file);
    } else {
        if (status != TV_E_DATA || !strstr(tv_last_error(), words) || !strstr(tv_last_error(), "test"))
            fail_msg("expected \"%s\", found %s: %s", words, tv_status_name(status), tv_last_error());
        assert_null(file);
    }
    free(exact);
}

#define BUILD(name, words, ...)                                                                              \
    do {                                                                                                     \
        bytes name = {0};                                                                                    \
        __VA_ARGS__;                                                                                         \
        expect(&name, words);                                                                                \
    } while (0)

#define HUGE (UINT64_C(1) << 60)

static void hostile_headers_are_refused(void **state) {
    (void)state;
    const uint64_t four[4] = {4, 2, 1, 1}, wide[2] = {HUGE, HUGE}, none[1] = {0}, odd[1] = {33};
    BUILD(b, NULL, put_header(&b, 3, 0, 0));
    BUILD(b, NULL, put_header(&b, 2, 0, 0));
    BUILD(b, "something else", put(&b, "GGUX", 4));
    BUILD(b, "something else", (void)b);
    BUILD(b, "its version", put(&b, "GGUF", 4));
    BUILD(b, "version 1", put_header(&b, 1, 0, 0));
    BUILD(b, "big-endian", put_header(&b, 3 << 24, 0, 0));
    BUILD(b, "cut short", put(&b, "GGUF\3\0\0\0\0\0\0\0", 12));
    BUILD(b, "claims", put_header(&b, 3, HUGE, 0));
    BUILD(b, "claims", put_header(&b, 3, 0, HUGE));
    BUILD(b, "claims", put_header(&b, 3, 1, 1));
    /* keys */
    BUILD(b, NULL, put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, TV_GGUF_UINT32), put32(&b, 7));
    BUILD(b, "18446744073709551615 bytes", put_header(&b, 3, 0, 1), put64(&b, UINT64_MAX),
          put_data(&b, 1, 64));
    BUILD(b, "1 to 65535", put_header(&b, 3, 0, 1), put64(&b, 0), put_data(&b, 1, 64));
    BUILD(b, "the type 13", put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, 13), put32(&b, 7));
    BUILD(b, "the type 9", put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, TV_GGUF_ARRAY),
          put32(&b, TV_GGUF_ARRAY), put64(&b, 1));
    BUILD(b, "elements", put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, TV_GGUF_ARRAY),
          put32(&b, TV_GGUF_FLOAT64), put64(&b, HUGE));
    BUILD(b, "texts", put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, TV_GGUF_ARRAY),
          put32(&b, TV_GGUF_STRING), put64(&b, HUGE));
    BUILD(b, "holds a text of", put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, TV_GGUF_STRING),
          put64(&b, HUGE));
    BUILD(b, "byte 0", put_header(&b, 3, 0, 1), put_text(&b, "k"), put32(&b, TV_GGUF_STRING), put64(&b, 3),
          put(&b, "a\0b", 3));
    BUILD(b, "twice", put_header(&b, 3, 0, 2), put_text(&b, "k"), put32(&b, TV_GGUF_UINT8), put(&b, "x", 1),
          put_text(&b, "k"), put32(&b, TV_GGUF_UINT8), put(&b, "x", 1));
    BUILD(b, "ends within", put_header(&b, 3, 0, 1), put_text(&b, "key"), put(&b, "\0\0", 2));
    BUILD(b, "power of two", put_header(&b, 3, 0, 1), put_text(&b, "general.alignment"),
          put32(&b, TV_GGUF_UINT32), put32(&b, 24));
    BUILD(b, "power of two", put_header(&b, 3, 0, 1), put_text(&b, "general.alignment"),
          put32(&b, TV_GGUF_UINT32), put32(&b, 0));
    BUILD(b, "whole number", put_header(&b, 3, 0, 1), put_text(&b, "general.alignment"),
          put32(&b, TV_GGUF_STRING), put_text(&b, "32"));
    /* tensors */
    BUILD(b, NULL, put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, four, 0, 0), put_data(&b, 32, 32));
    BUILD(b, NULL, put_header(&b, 3, 1, 1), put_text(&b, "general.alignment"), put32(&b, TV_GGUF_UINT32),
          put32(&b, 64), put_tensor(&b, "t", 2, four, 0, 64), put_data(&b, 64, 96));
    BUILD(b, "cut short", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, four, 0, 0), put_data(&b, 32, 31));
    BUILD(b, "0 dimensions", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 0, four, 0, 0),
          put_data(&b, 32, 64));
    BUILD(b, "5 dimensions", put_header(&b, 3, 1, 0), put_text(&b, "t"), put32(&b, 5), put_data(&b, 32, 64));
    BUILD(b, "overflows", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, wide, 0, 0), put_data(&b, 32, 64));
    BUILD(b, "overflows", put_header(&b, 3, 1, 0),
          put_tensor(&b, "t", 1, &(uint64_t){UINT64_C(1) << 63}, 0, 0), put_data(&b, 32, 64));
    BUILD(b, "empty", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 1, none, 0, 0), put_data(&b, 32, 64));
    BUILD(b, "blocks of Q8_0", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 1, odd, 8, 0),
          put_data(&b, 32, 64));
    BUILD(b, "IQ2_XXS (16)", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, four, 16, 0),
          put_data(&b, 32, 64));
    BUILD(b, "unknown (4711)", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, four, 4711, 0),
          put_data(&b, 32, 64));
    BUILD(b, "no multiple of 32", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, four, 0, 8),
          put_data(&b, 32, 64));
    BUILD(b, "cut short", put_header(&b, 3, 1, 0), put_tensor(&b, "t", 2, four, 0, HUGE),
          put_data(&b, 32, 64));
    BUILD(b, "overlap", put_header(&b, 3, 2, 0), put_tensor(&b, "t", 2, four, 0, 0),
          put_tensor(&b, "u", 2, four, 0, 0), put_data(&b, 32, 64));
    BUILD(b, "tensor \"t\" twice", put_header(&b, 3, 2, 0), put_tensor(&b, "t", 2, four, 0, 0),
          put_tensor(&b, "t", 2, four, 0, 32), put_data(&b, 32, 64));
    BUILD(b, "1 to 255", put_header(&b, 3, 1, 0), put64(&b, 300), put_data(&b, 1, 400));
}

/* Every length of a good file but its own is refused, and none reads beyond it. */
static void every_cut_is_refused(void **state) {
    (void)state;
    const uint64_t shape[2] = {4, 2};
    bytes whole = {0};
    put_header(&whole, 3, 1, 2);
    put_text(&whole, "a");
    put32(&whole, TV_GGUF_ARRAY);
    put32(&whole, TV_GGUF_STRING);
    put64(&whole, 2);
    put_text(&whole, "one");
    put_text(&whole, "");
    put_text(&whole, "b");
    put32(&whole, TV_GGUF_FLOAT32);
    put32(&whole, 0);
    put_tensor(&whole, "t", 2, shape, 0, 0);
    put_data(&whole, 32, 32);
    expect(&whole, NULL);
    for (uint64_t size = 0; size < whole.size; size++) {
        bytes cut = whole;
        cut.size = size;
        expect(&cut, "test");
    }
}

/* ---- written and read ---- */

static void what_is_written_comes_back(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/a.gguf", dir);
    static const char *const texts[] = {"a", "", "\xe2\x96\x81the"};
    static const int32_t numbers[] = {-1, 0, INT32_MAX};
    const uint64_t row[1] = {3}, matrix[2] = {2, 64};
    float values[128], out[128];
    uint8_t packed[136];
    for (int i = 0; i < 128; i++)
        values[i] = (float)(i - 40) / 7;
    const tv_gguf_type *f32 = tv_gguf_type_named("F32"), *q8_0 = tv_gguf_type_named("Q8_0");
    tv_gguf_writer *writer = NULL;
    assert_ok(tv_gguf_writer_create(path, &writer));
    tv_gguf_set_text(writer, "general.architecture", "llama");
    tv_gguf_set_uint32(writer, "u", 7);
    tv_gguf_set_float32(writer, "f", 0.1);
    tv_gguf_set_bool(writer, "yes", true);
    tv_gguf_set_texts(writer, "texts", texts, 3);
    tv_gguf_set_array(writer, "numbers", TV_GGUF_INT32, numbers, 3);
    tv_gguf_add_tensor(writer, "z", f32, 1, row);
    tv_gguf_add_tensor(writer, "m", q8_0, 2, matrix);
    assert_ok(tv_gguf_writer_begin(writer));
    assert_false(tv_path_exists(path)); /* not before it is whole */
    tv_gguf_encode(q8_0, values, 128, packed);
    assert_ok(tv_gguf_write(writer, values, 4));
    assert_ok(tv_gguf_write(writer, values + 1, 8));
    assert_ok(tv_gguf_write(writer, packed, sizeof packed));
    assert_int_equal(tv_gguf_write(writer, packed, 1), TV_E_USAGE);
    assert_ok(tv_gguf_writer_commit(&writer));
    assert_null(writer);
    assert_true(tv_gguf_is_one(path));

    tv_gguf *file = NULL;
    assert_ok(tv_gguf_open(path, &file));
    uint64_t whole = 0;
    double number = 0;
    bool yes = false;
    const char *text = NULL;
    const tv_gguf_value *list;
    assert_ok(tv_gguf_uint(file, "u", 7, &whole));
    assert_int_equal(whole, 7);
    assert_int_equal(tv_gguf_uint(file, "u", 6, &whole), TV_E_DATA);
    assert_int_equal(tv_gguf_uint(file, "f", 9, &whole), TV_E_DATA);
    assert_ok(tv_gguf_uint(file, "missing", 9, &whole));
    assert_int_equal(whole, 7);
    assert_ok(tv_gguf_number(file, "f", &number));
    assert_near(number, 0.1, 0); /* the decimal, not the float */
    assert_ok(tv_gguf_bool(file, "yes", &yes));
    assert_true(yes);
    assert_ok(tv_gguf_text(file, "general.architecture", &text));
    assert_string_equal(text, "llama");
    assert_ok(tv_gguf_array(file, "texts", TV_GGUF_STRING, &list));
    assert_int_equal(list->count, 3);
    for (int i = 0; i < 3; i++)
        assert_string_equal(list->texts[i], texts[i]);
    assert_ok(tv_gguf_array(file, "numbers", TV_GGUF_INT32, &list));
    for (uint64_t i = 0; i < 3; i++)
        assert_near(tv_gguf_element(list, i), numbers[i], 0);
    assert_int_equal(tv_gguf_array(file, "numbers", TV_GGUF_STRING, &list), TV_E_DATA);
    assert_int_equal(tv_gguf_tensor_count(file), 2);
    const tv_gguf_tensor *z = tv_gguf_tensor_find(file, "z"), *m = tv_gguf_tensor_find(file, "m");
    assert_non_null(z);
    assert_int_equal(z->rank, 1);
    assert_int_equal(z->rows, 1);
    assert_int_equal(z->columns, 3);
    assert_ok(tv_gguf_read(file, z, 0, 1, out));
    assert_memory_equal(out, values, 12);
    assert_int_equal(m->rows, 2);
    assert_int_equal(m->columns, 64);
    assert_ok(tv_gguf_read(file, m, 1, 1, out));
    for (int i = 0; i < 64; i++) /* half a step of the block's scale, and the scale's own rounding */
        assert_near(out[i], values[64 + i], 88.0 / 7 / 127 * 0.51 + 88.0 / 7 / 2048);
    assert_int_equal(tv_gguf_read(file, m, 1, 2, out), TV_E_USAGE);
    tv_gguf_close(&file);

    /* A writer that is left half-way leaves nothing. */
    assert_ok(tv_remove_tree(path));
    assert_ok(tv_gguf_writer_create(path, &writer));
    tv_gguf_add_tensor(writer, "z", f32, 1, row);
    assert_ok(tv_gguf_writer_begin(writer));
    assert_int_equal(tv_gguf_writer_commit(&writer), TV_E_USAGE);
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    assert_int_equal(count, 0);
    tv_free_names(&names, count);
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(what_is_written_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
