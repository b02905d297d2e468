/* base/: status sentences, number formats, Philox, permutation, files, JSON, configuration. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/config.h"
#include "base/dtype.h"
#include "base/files.h"
#include "base/hash.h"
#include "base/rng.h"

static void status_carries_a_sentence(void **state) {
    (void)state;
    assert_int_equal(tv_fail(TV_E_DATA, "%s is short", "x.bin"), TV_E_DATA);
    assert_string_equal(tv_last_error(), "x.bin is short");
    tv_fail_context(TV_E_DATA, "shard %d", 3);
    assert_string_equal(tv_last_error(), "shard 3: x.bin is short");
    /* A call may be wrapped: it is made once, and success changes no sentence. */
    int calls = 0;
    assert_int_equal(tv_fail_context((calls++, TV_OK), "shard 4"), TV_OK);
    assert_int_equal(calls, 1);
    assert_string_equal(tv_last_error(), "shard 3: x.bin is short");
}

/* Every half round-trips; the neighbours of halves round to even. */
static void half_conversion_is_exact(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float value = tv_half_to_float((uint16_t)h);
        if (isnan(value))
            assert_true(isnan(tv_half_to_float(tv_float_to_half(value))));
        else
            assert_int_equal(tv_float_to_half(value), h);
    }
    assert_int_equal(tv_float_to_half(65519.0f), 0x7bff);
    assert_int_equal(tv_float_to_half(65520.0f), 0x7c00);
    assert_int_equal(tv_float_to_half(0x1p-25f), 0);
    assert_int_equal(tv_float_to_half(0x1.8p-25f), 1);
    assert_int_equal(tv_float_to_half(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(tv_float_to_half(1.0f + 0x3p-11f), 0x3c02);
    assert_int_equal(tv_float_to_bfloat16(1.0f + 0x1p-8f), 0x3f80);
    assert_int_equal(tv_float_to_bfloat16(1.0f + 0x3p-8f), 0x3f82);
}

/* Known answers of the published Random123 test vectors (philox4x32, 10 rounds). */
static void philox_equals_the_published_vectors(void **state) {
    (void)state;
    uint32_t out[4];
    tv_rng zero = {0};
    tv_philox(&zero, 0, out);
    const uint32_t expected_zero[4] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};
    assert_memory_equal(out, expected_zero, sizeof out);
    tv_rng ones = {UINT64_MAX, UINT16_MAX, UINT16_MAX, UINT32_MAX};
    tv_philox(&ones, UINT64_MAX, out);
    const uint32_t expected_ones[4] = {0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu};
    assert_memory_equal(out, expected_ones, sizeof out);
}

/* Every part of an address counts, and streams that are named differ from each other and from those of
 * sources: no draw of one is that of another, at the same place nor one place on. */
static void streams_draw_apart(void **state) {
    (void)state;
    enum { PLACES = 64 };
    static const tv_stream streams[] = {
        TV_STREAM_INIT,  TV_STREAM_SHUFFLE, TV_STREAM_MIX,     TV_STREAM_SAMPLE,     TV_STREAM_SPLIT,
        TV_STREAM_ORDER, TV_STREAM_TEST,    TV_STREAM_PROMPTS, TV_STREAM_SOURCE + 1, TV_STREAM_SOURCE + 2};
    enum { STREAMS = sizeof streams / sizeof *streams, ADDRESSES = STREAMS + 4 };
    tv_rng at[ADDRESSES];
    static uint32_t drawn[ADDRESSES * PLACES][4];
    for (int i = 0; i < ADDRESSES; i++)
        at[i] = (tv_rng){.seed = 1, .stream = (uint16_t)streams[i < STREAMS ? i : 0], .step = 1};
    at[STREAMS].seed = 2;
    at[STREAMS + 1].seed = UINT64_C(1) << 32 | 1;
    at[STREAMS + 2].rank = 1;
    at[STREAMS + 3].step = 2;
    for (uint64_t i = 0; i < ADDRESSES * PLACES; i++)
        tv_philox(&at[i / PLACES], i % PLACES, drawn[i]);
    for (uint64_t i = 0; i < ADDRESSES * PLACES; i++)
        for (uint64_t j = 0; j < i; j++)
            if (memcmp(drawn[i], drawn[j], sizeof drawn[i]) == 0)
                fail_msg("address %d at %d draws what %d does at %d", (int)(i / PLACES), (int)(i % PLACES),
                         (int)(j / PLACES), (int)(j % PLACES));
}

static void permutation_hits_everything_once(void **state) {
    (void)state;
    tv_rng rng = {.seed = 5, .stream = TV_STREAM_TEST};
    const uint64_t sizes[] = {1, 2, 3, 17, 1000, 4096};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        unsigned char *seen = calloc(sizes[s], 1);
        uint64_t fixed = 0;
        for (uint64_t i = 0; i < sizes[s]; i++) {
            uint64_t j = tv_permute(&rng, i, sizes[s]);
            assert_true(j < sizes[s] && !seen[j]);
            seen[j] = 1;
            fixed += i == j;
        }
        /* A random permutation has one fixed point in the mean. */
        assert_true(sizes[s] < 10 || fixed < 10);
        free(seen);
    }
}

static void files_appear_whole(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/a/b/file", dir), *parent = tv_format("%s/a/b", dir);
    assert_ok(tv_make_dirs(parent));
    tv_writer *writer = NULL;
    assert_ok(tv_writer_open(path, &writer));
    assert_ok(tv_writer_write(writer, "half", 4));
    assert_false(tv_path_exists(path));
    tv_writer_abort(&writer);
    assert_null(writer);
    assert_ok(tv_write_file(path, "whole", 5));
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(parent, &names, &count));
    assert_int_equal(count, 1);
    tv_free_names(&names, count);
    char *text = NULL;
    uint64_t size = 0;
    assert_ok(tv_read_file(path, &text, &size));
    assert_int_equal(size, 5);
    assert_string_equal(text, "whole");
    free(text);
    tv_file *file = NULL;
    assert_int_equal(tv_file_open("/nonexistent", &file), TV_E_IO);
    /* A file that another program cuts. */
    tv_reader *reader = NULL;
    char part[3];
    uint64_t got;
    assert_ok(tv_file_open(path, &file));
    assert_ok(tv_reader_open(path, &reader));
    assert_ok(tv_reader_read(reader, part, sizeof part, &got));
    assert_int_equal(got, sizeof part);
    assert_int_equal(truncate(path, 3), 0);
    assert_fails(tv_reader_read(reader, part, sizeof part, &got), TV_E_IO,
                 "had 5 bytes, and byte 3 is not there");
    assert_ok(tv_file_read_at(file, 0, part, 3));
    assert_int_equal(tv_file_read_at(file, 2, part, 3), TV_E_IO);
    tv_reader_close(&reader);
    tv_file_close(&file);
    free(path);
    free(parent);
    tv_test_dir_remove(&dir);
}

static void json_names_the_place_of_a_mistake(void **state) {
    (void)state;
    cJSON *root = NULL;
    const char *text = "{\"a\": 1,\n \"b\": }";
    assert_fails(tv_json_parse(text, strlen(text), "x.json", &root), TV_E_DATA, "x.json");
    assert_non_null(strstr(tv_last_error(), "line 2"));
    assert_int_equal(tv_json_parse("{} x", 4, "x.json", &root), TV_E_DATA);
    assert_null(root);
    assert_int_equal(tv_json_parse("", 0, "x.json", &root), TV_E_DATA);
}

/* Written and read again, doubles of every size keep their bits. */
static void json_keeps_every_bit_of_a_double(void **state) {
    (void)state;
    tv_rng rng = {.seed = 6, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < 4000; i++) {
        double value = ldexp(1 + tv_uniform(&rng, 2 * i) + ldexp(tv_uniform(&rng, 2 * i + 1), -24),
                             (int)(i % 200) - 100);
        cJSON *root = cJSON_CreateObject(), *inner = cJSON_AddObjectToObject(root, "inner"), *back = NULL;
        char *line = NULL;
        assert_true(tv_json_set_number(inner, "x", value) && tv_json_set_number(root, "n", 7));
        assert_ok(tv_json_print_line(root, &line));
        assert_ok(tv_json_parse(line, strlen(line), "line", &back));
        assert_true(tv_json_get(tv_json_get(back, "inner"), "x")->valuedouble == value);
        assert_non_null(strstr(line, "\"n\":7"));
        free(line);
        cJSON_Delete(root);
        cJSON_Delete(back);
    }
}

typedef struct example_config {
    uint64_t steps;
    double lr;
    int schedule;
} example_config;

static const tv_config_field example_fields[] = {
    {"steps", TV_CONFIG_UINT, offsetof(example_config, steps), 1, 1e9, NULL},
    {"lr", TV_CONFIG_NUMBER, offsetof(example_config, lr), 0, 10, NULL},
    {"schedule", TV_CONFIG_CHOICE, offsetof(example_config, schedule), 0, 0, "cosine|linear|constant"},
};

static void config_names_the_nearest_key(void **state) {
    (void)state;
    cJSON *root = cJSON_CreateObject();
    assert_ok(tv_config_set(root, "train.lr=1e-3"));
    assert_ok(tv_config_set(root, "train.schedule=linear"));
    example_config config = {.steps = 7};
    assert_ok(tv_config_read(tv_json_get(root, "train"), "train", example_fields, 3, &config));
    assert_int_equal(config.steps, 7);
    assert_near(config.lr, 1e-3, 0);
    assert_int_equal(config.schedule, 1);
    assert_ok(tv_config_set(root, "train.stesp=4"));
    assert_fails(tv_config_read(tv_json_get(root, "train"), "train", example_fields, 3, &config), TV_E_CONFIG,
                 "\"steps\"");
    cJSON_Delete(root);
    /* What the assignment came from is the caller's to say. */
    root = cJSON_CreateObject();
    assert_ok(tv_config_set(root, "train.lr=1"));
    assert_int_equal(tv_config_set(root, "nothing"), TV_E_USAGE);
    assert_string_equal(tv_last_error(), "expected KEY=VALUE, found \"nothing\"");
    assert_int_equal(tv_config_set(root, "train.lr.x=1"), TV_E_USAGE);
    assert_string_equal(tv_last_error(), "train.lr.x=1: \"lr\" is a value and has no keys below it");
    cJSON_Delete(root);
    root = cJSON_CreateObject();
    const char *const bad[] = {"steps=0", "steps=1.5",  "steps=\"x\"",
                               "lr=11",   "schedule=3", "schedule=cosin"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON *one = cJSON_CreateObject();
        assert_ok(tv_config_set(one, bad[i]));
        assert_int_equal(tv_config_read(one, "train", example_fields, 3, &config), TV_E_CONFIG);
        cJSON_Delete(one);
    }
    cJSON_Delete(root);
}

static void arena_refuses_what_cannot_exist(void **state) {
    (void)state;
    tv_arena *arena = NULL;
    assert_ok(tv_arena_create(&arena));
    assert_null(tv_arena_alloc(arena, UINT64_MAX / 2, 16));
    unsigned char *big = tv_arena_alloc(arena, 100000, 3);
    assert_non_null(big);
    assert_int_equal(big[299999], 0);
    assert_string_equal(tv_arena_format(arena, "%d", 12), "12");
    tv_arena_destroy(&arena);
    assert_null(arena);
}

/* The values of xxhsum -H2; in parts, from memory and from a file they are the same. */
static void hashes_equal_published_ones(void **state) {
    (void)state;
    static const char *const texts[] = {"", "abc"};
    static const char *const expected[] = {"99aa06d3014798d86001c324468d497f",
                                           "06b05ab6733a618578af5f94892f3950"};
    char text[TV_HASH_TEXT], *dir = tv_test_dir(), *path = tv_format("%s/bytes", dir);
    for (size_t i = 0; i < TV_COUNT(texts); i++) {
        tv_hash *hash = NULL;
        assert_ok(tv_hash_create(&hash));
        for (size_t c = 0; c < strlen(texts[i]); c++)
            tv_hash_add(hash, &texts[i][c], 1);
        tv_hash_print(hash, text);
        assert_string_equal(text, expected[i]);
        assert_ok(tv_write_file(path, texts[i], strlen(texts[i])));
        assert_ok(tv_hash_file(path, text));
        assert_string_equal(text, expected[i]);
        tv_hash_destroy(&hash);
    }
    assert_ok(tv_remove_tree(path));
    assert_int_equal(tv_hash_file(path, text), TV_E_IO);
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_carries_a_sentence),
        cmocka_unit_test(half_conversion_is_exact),
        cmocka_unit_test(philox_equals_the_published_vectors),
        cmocka_unit_test(streams_draw_apart),
        cmocka_unit_test(permutation_hits_everything_once),
        cmocka_unit_test(files_appear_whole),
        cmocka_unit_test(hashes_equal_published_ones),
        cmocka_unit_test(json_names_the_place_of_a_mistake),
        cmocka_unit_test(json_keeps_every_bit_of_a_double),
        cmocka_unit_test(config_names_the_nearest_key),
        cmocka_unit_test(arena_refuses_what_cannot_exist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
