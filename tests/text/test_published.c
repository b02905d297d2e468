/* Published tokenizers on texts of every script, on their own added tokens and on 10 MB of prose: ids and
 * decoded texts are those of @huggingface/tokenizers, random bytes come back, and the speed is said. The
 * cases are made by tests/golden/make_published_cases.mjs; without them the test is skipped. */
#include "text_cases.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/rng.h"
#include "text/pattern.h"
#include "text/tokenizer.h"

typedef struct cases {
    const char *directory;
    char *data;
    uint64_t size, at;
    tv_pattern *unassigned; /* characters that are younger than the tables here */
} cases;

static uint32_t read_count(cases *c) {
    assert_true(c->at + 4 <= c->size);
    const uint8_t *b = (const uint8_t *)c->data + c->at;
    c->at += 4;
    return (uint32_t)b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static const uint8_t *read_bytes(cases *c, uint64_t length) {
    const uint8_t *bytes = (const uint8_t *)c->data + c->at;
    assert_true(length <= c->size - c->at);
    c->at += length;
    return bytes;
}

static void expect_ids(const char *name, uint32_t number, const uint8_t *text, uint64_t length,
                       const tv_ids *ids, const uint8_t *expected, uint32_t count) {
    for (uint32_t i = 0; i < count || i < ids->size; i++) {
        uint32_t id = UINT32_MAX;
        if (i < count)
            memcpy(&id, expected + 4ull * i, 4);
        if (i >= ids->size || id != ids->data[i])
            fail_msg("%s: text %u \"%.*s\": id %u of %llu is %u, expected %u of %u", name, number,
                     (int)tv_min_u64(length, 400), (const char *)text, i, (unsigned long long)ids->size,
                     i < ids->size ? ids->data[i] : 0, id, count);
    }
}

/* Returns the bytes of prose and the seconds that they took. */
static uint64_t compare(cases *c, const char *name, tv_tokenizer *tokenizer, double *seconds) {
    uint32_t special = read_count(c), skipped = 0, number = 0;
    uint64_t bytes = 0;
    tv_ids ids = {0};
    tv_text back = {0};
    for (; c->at < c->size; number++) {
        uint32_t length = read_count(c);
        const uint8_t *text = read_bytes(c, length);
        uint32_t count = read_count(c);
        const uint8_t *expected = read_bytes(c, 4ull * count);
        uint32_t decoded_length = read_count(c);
        const uint8_t *decoded = read_bytes(c, decoded_length);
        tv_pattern_walk walk = {0};
        bool young;
        assert_ok(tv_pattern_next(c->unassigned, text, length, &walk, &young));
        if (young) {
            skipped++;
            continue;
        }
        ids.size = back.size = 0;
        double start = tv_test_cpu_seconds();
        assert_ok(tv_tokenizer_encode(tokenizer, text, length, true, &ids));
        if (number >= special) {
            *seconds += tv_test_cpu_seconds() - start;
            bytes += length;
        }
        expect_ids(name, number, text, length, &ids, expected, count);
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
        if (back.size != decoded_length ||
            (decoded_length && memcmp(back.data, decoded, decoded_length) != 0))
            fail_msg("%s: text %u is decoded as \"%.*s\", expected \"%.*s\"", name, number, (int)back.size,
                     (const char *)back.data, (int)decoded_length, (const char *)decoded);
    }
    if (skipped)
        printf("%s: %u of %u texts have characters that PCRE2 does not know\n", name, skipped, number);
    assert_true(number > 2000 && skipped < number / 4);
    tv_ids_free(&ids);
    tv_text_free(&back);
    return bytes;
}

/* Bytes at random, but for the sign that stands for spaces. Where a normalizer composes characters (NFC),
 * only those bytes come back that are no UTF-8 or ASCII. */
static void random_bytes_come_back(const char *name, tv_tokenizer *tokenizer, bool composes) {
    static uint8_t bytes[4096];
    tv_rng rng = {.seed = 11, .stream = TV_STREAM_TEST};
    tv_ids ids = {0};
    tv_text back = {0};
    for (uint32_t trial = 0; trial < 200; trial++) {
        rng.step = trial;
        uint64_t length = 1 + tv_uniform_below(&rng, 0, sizeof bytes);
        for (uint64_t i = 0; i < length; i++)
            bytes[i] = (uint8_t)tv_uniform_below(&rng, i + 1, 256);
        if (composes)
            for (uint64_t i = 0; i < length; i++)
                bytes[i] = (uint8_t)(bytes[i] < 0xc0 ? bytes[i] : bytes[i] | 0xf8);
        for (uint64_t i = 0; i + 2 < length; i++)
            if (memcmp(bytes + i, "\xe2\x96\x81", 3) == 0)
                bytes[i] = ' ';
        ids.size = back.size = 0;
        assert_ok(tv_tokenizer_encode(tokenizer, bytes, length, false, &ids));
        assert_ok(tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back));
        if (back.size != length || memcmp(back.data, bytes, length) != 0)
            fail_msg("%s: %llu random bytes of trial %u came back as %llu others", name,
                     (unsigned long long)length, trial, (unsigned long long)back.size);
    }
    tv_ids_free(&ids);
    tv_text_free(&back);
}

static void a_published_tokenizer(void **state) {
    cases *c = *state;
    const char *name = strrchr(c->directory, '/') + 1;
    char *path = tv_format("%s/cases.bin", c->directory), *out = tv_test_dir(), *saved, *before, *after;
    tv_tokenizer *tokenizer = NULL;
    double start = tv_test_cpu_seconds(), seconds = 0;
    assert_ok(tv_tokenizer_load(c->directory, &tokenizer));
    double loaded = tv_test_cpu_seconds() - start;
    assert_ok(tv_read_file(path, &c->data, &c->size));
    assert_ok(tv_pattern_create("\\p{Cn}", "test", &c->unassigned));
    uint64_t bytes = compare(c, name, tokenizer, &seconds);
    printf("%s: loaded in %.2f s; %.1f MB of prose at %.1f MB/s\n", name, loaded, (double)bytes * 1e-6,
           (double)bytes * 1e-6 / seconds);
    random_bytes_come_back(name, tokenizer, strncmp(name, "qwen", 4) == 0);
    /* What is saved is the file that was read. */
    assert_ok(tv_tokenizer_save(tokenizer, out));
    saved = tv_format("%s/tokenizer.json", out);
    free(path);
    path = tv_format("%s/tokenizer.json", c->directory);
    assert_ok(tv_read_file(path, &before, NULL));
    assert_ok(tv_read_file(saved, &after, NULL));
    assert_string_equal(before, after);
    free(before);
    free(after);
    free(saved);
    free(path);
    tv_test_dir_remove(&out);
    tv_pattern_destroy(&c->unassigned);
    free(c->data);
    tv_tokenizer_destroy(&tokenizer);
}

int main(void) {
    const char *folder = getenv("TRIVIUM_TOKENIZERS_DIR");
    DIR *listing = folder ? opendir(folder) : NULL;
    if (!listing) {
        puts("skipped: TRIVIUM_TOKENIZERS_DIR names no folder made by tests/golden/make_published_cases.mjs");
        return TV_TEST_SKIPPED;
    }
    int failed = 0;
    for (struct dirent *entry; (entry = readdir(listing));) {
        if (entry->d_name[0] == '.')
            continue;
        char *directory = tv_format("%s/%s", folder, entry->d_name);
        cases c = {.directory = directory};
        const struct CMUnitTest tests[] = {
            {.name = entry->d_name, .test_func = a_published_tokenizer, .initial_state = &c}};
        failed += cmocka_run_group_tests(tests, NULL, NULL);
        free(directory);
    }
    closedir(listing);
    return failed;
}
