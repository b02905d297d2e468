/* formats/gguf_types: blocks of every type against what the Python package gguf makes of the same bytes
 * (tests/golden/gguf_blocks.json, written by make_gguf_blocks.py), to the last bit. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "formats/gguf_types.h"

static int load(void **state) {
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(TRIVIUM_SOURCE_DIR "/tests/golden/gguf_blocks.json", &root));
    *state = root;
    return 0;
}

static int unload(void **state) {
    cJSON_Delete(*state);
    return 0;
}

static uint8_t *bytes_of(const cJSON *object, const char *key, uint64_t *size) {
    const char *hex = cJSON_GetStringValue(tv_json_get(object, key));
    assert_non_null(hex);
    *size = strlen(hex) / 2;
    uint8_t *bytes = malloc(*size);
    assert_non_null(bytes);
    for (uint64_t i = 0; i < *size; i++) {
        unsigned value;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &value), 1);
        bytes[i] = (uint8_t)value;
    }
    return bytes;
}

static void blocks_decode_as_in_gguf_py(void **state) {
    static const char *const names[] = {"Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"};
    for (size_t n = 0; n < TV_COUNT(names); n++) {
        const cJSON *golden = tv_json_get(*state, names[n]);
        const tv_gguf_type *type = tv_gguf_type_named(names[n]);
        uint64_t size, wanted_size;
        assert_non_null(type);
        assert_ptr_equal(tv_gguf_type_of(type->number), type);
        assert_string_equal(tv_gguf_type_name(type->number), names[n]);
        uint8_t *blocks = bytes_of(golden, "bytes", &size),
                *wanted = bytes_of(golden, "values", &wanted_size);
        const uint64_t count = size / type->bytes * type->block;
        assert_int_equal(count, 2 * type->block);
        assert_int_equal(wanted_size, count * sizeof(float));
        float *values = malloc(wanted_size);
        assert_non_null(values);
        memset(values, 0xff, wanted_size);
        tv_gguf_decode(type, blocks, count, values);
        for (uint64_t i = 0; i < count; i++) {
            float expected;
            memcpy(&expected, wanted + i * sizeof expected, sizeof expected);
            if (!(fabsf(values[i] - expected) <= 0))
                fail_msg("%s element %d: expected %.9g, found %.9g", names[n], (int)i, (double)expected,
                         (double)values[i]);
        }
        tv_free_all(blocks, wanted, values);
    }
}

static void q8_0_encodes_as_in_gguf_py(void **state) {
    const cJSON *golden = tv_json_get(*state, "encode Q8_0");
    uint64_t size, wanted_size;
    uint8_t *floats = bytes_of(golden, "values", &size), *wanted = bytes_of(golden, "bytes", &wanted_size);
    float values[64];
    uint8_t blocks[68], zeros[34];
    assert_int_equal(size, sizeof values);
    assert_int_equal(wanted_size, sizeof blocks);
    memcpy(values, floats, sizeof values);
    tv_gguf_encode(tv_gguf_type_named("Q8_0"), values, 64, blocks);
    assert_memory_equal(blocks, wanted, sizeof blocks);
    /* A block of zeros has no scale to divide by. */
    memset(values, 0, sizeof values);
    memset(zeros, 0, sizeof zeros);
    tv_gguf_encode(tv_gguf_type_named("Q8_0"), values, 32, blocks);
    assert_memory_equal(blocks, zeros, sizeof zeros);
    tv_free_all(floats, wanted);
}

static void encoding_what_was_decoded_changes_nothing(void **state) {
    static const float exact[8] = {0, -0.0F, 1, -2.5F, 0x1p-14F, 240, -0.0078125F, 3};
    const char *const names[] = {"F32", "F16", "BF16"};
    uint64_t size;
    uint8_t *blocks = bytes_of(tv_json_get(*state, "Q8_0"), "bytes", &size), again[34];
    float values[32];
    for (size_t n = 0; n < TV_COUNT(names); n++) {
        const tv_gguf_type *type = tv_gguf_type_named(names[n]);
        tv_gguf_encode(type, exact, 8, again);
        tv_gguf_decode(type, again, 8, values);
        assert_memory_equal(values, exact, sizeof exact);
    }
    /* What the encoder makes has a 127 and no -128 in each block and a scale above 0; random bytes need not.
     */
    blocks[1] &= 0x3f;
    blocks[2] = 127;
    for (int i = 3; i < 34; i++)
        blocks[i] = blocks[i] == 0x80 ? 0x81 : blocks[i];
    tv_gguf_decode(tv_gguf_type_named("Q8_0"), blocks, 32, values);
    tv_gguf_encode(tv_gguf_type_named("Q8_0"), values, 32, again);
    assert_memory_equal(again, blocks, sizeof again);
    assert_null(tv_gguf_type_of(9));
    assert_string_equal(tv_gguf_type_name(9), "Q8_1");
    assert_string_equal(tv_gguf_type_name(4), "unknown");
    assert_string_equal(tv_gguf_type_name(UINT32_MAX), "unknown");
    free(blocks);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_decode_as_in_gguf_py),
        cmocka_unit_test(q8_0_encodes_as_in_gguf_py),
        cmocka_unit_test(encoding_what_was_decoded_changes_nothing),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
