/* text/shard: llm.c's format byte for byte, and every way in which a shard can be broken. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "text/shard.h"

static char *dir, *path;

static int set_up(void **state) {
    (void)state;
    dir = tv_test_dir();
    path = tv_format("%s/x.bin", dir);
    return dir && path ? 0 : 1;
}

static int tear_down(void **state) {
    (void)state;
    free(path);
    tv_test_dir_remove(&dir);
    return 0;
}

static void write_shard(uint32_t vocab_size, const uint32_t *ids, uint64_t count) {
    tv_shard_writer *writer = NULL;
    assert_ok(tv_shard_writer_open(path, vocab_size, &writer));
    assert_ok(tv_shard_writer_add(writer, ids, count));
    assert_ok(tv_shard_writer_commit(&writer));
    assert_null(writer);
}

/* The bytes that llm.c's data_common.py writes: header[0..2], then zeros, then the tokens, little-endian. */
static void bytes_are_those_of_llm_c(void **state) {
    (void)state;
    const uint32_t ids[] = {50256, 1, 258};
    char *bytes = NULL;
    uint64_t size = 0;
    uint8_t expected[1024 + 12] = {0x88, 0xd8, 0x34, 0x01, 1, 0, 0, 0, 3, 0, 0, 0};
    const uint8_t narrow[] = {0x50, 0xc4, 1, 0, 2, 1};
    memcpy(expected + 1024, narrow, sizeof narrow);
    write_shard(50257, ids, 3);
    assert_ok(tv_read_file(path, &bytes, &size));
    assert_int_equal(size, 1024 + 6);
    assert_memory_equal(bytes, expected, size);
    free(bytes);
    const uint8_t header[] = {0xa1, 0xd9, 0x34, 0x01, 7, 0, 0, 0, 3, 0, 0, 0};
    const uint8_t wide[] = {0x50, 0xc4, 0, 0, 1, 0, 0, 0, 2, 1, 0, 0};
    memcpy(expected, header, sizeof header);
    memcpy(expected + 1024, wide, sizeof wide);
    write_shard(65536, ids, 3);
    assert_ok(tv_read_file(path, &bytes, &size));
    assert_int_equal(size, 1024 + 12);
    assert_memory_equal(bytes, expected, size);
    free(bytes);
}

static void tokens_come_back(void **state) {
    (void)state;
    enum { COUNT = 100003 };
    uint32_t *ids = malloc(COUNT * sizeof *ids), *back = malloc(COUNT * sizeof *back);
    for (int wide = 0; wide < 2; wide++) {
        uint32_t vocab_size = wide ? 200000 : 65535;
        for (uint32_t i = 0; i < COUNT; i++)
            ids[i] = (uint32_t)(i * UINT64_C(2654435761) % vocab_size);
        write_shard(vocab_size, ids, COUNT);
        tv_shard *shard = NULL;
        assert_ok(tv_shard_open(path, vocab_size, &shard));
        assert_int_equal(tv_shard_count(shard), COUNT);
        assert_ok(tv_shard_read(shard, 7, COUNT - 7, back));
        assert_memory_equal(back, ids + 7, (COUNT - 7) * sizeof *ids);
        tv_shard_close(&shard);
        assert_null(shard);
    }
    free(ids);
    free(back);
}

static void expect_refusal(const uint8_t *bytes, uint64_t size, uint32_t vocab_size, const char *sentence) {
    tv_shard *shard = NULL;
    assert_ok(tv_write_file(path, bytes, size));
    assert_int_equal(tv_shard_open(path, vocab_size, &shard), TV_E_DATA);
    assert_null(shard);
    if (!strstr(tv_last_error(), path) || !strstr(tv_last_error(), sentence))
        fail_msg("\"%s\" lacks \"%s\" or the path", tv_last_error(), sentence);
}

static void broken_shards_are_refused(void **state) {
    (void)state;
    const uint32_t ids[] = {5, 99, 3, 50000};
    tv_shard *shard = NULL;
    char *whole = NULL;
    uint64_t size = 0;
    write_shard(50257, ids, 4);
    assert_ok(tv_read_file(path, &whole, &size));
    uint8_t *bytes = (uint8_t *)whole;
    /* Cut at every length. */
    for (uint64_t cut = 0; cut < size; cut += cut < 1020 ? 51 : 1)
        expect_refusal(bytes, cut, 0, cut < 1024 ? "header" : "cut short");
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
    expect_refusal((const uint8_t *)pointer, sizeof pointer - 1, 0, "found a pointer of Git LFS");
    expect_refusal(bytes, size + 1, 0, "appended");
    expect_refusal(bytes, size, 50000, "token 50000 at position 3 (byte 1030)");
    expect_refusal(bytes, size, 99, "token 99 at position 1 (byte 1026)");
    static const struct {
        int field;
        int32_t value;
        const char *sentence;
    } headers[] = {
        {0, 0, "magic number"},      {0, 20240519, "magic number"},
        {0, 20240801, "version 7"},  {1, 0, "version 1"},
        {1, 7, "version 1"},         {2, 0, "counts 0"},
        {2, -1, "counts -1"},        {2, 5, "cut short"},
        {2, INT32_MAX, "cut short"}, {2, INT32_MIN, "counts"},
        {2, 3, "appended"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        int32_t kept;
        memcpy(&kept, bytes + 4 * headers[i].field, 4);
        memcpy(bytes + 4 * headers[i].field, &headers[i].value, 4);
        expect_refusal(bytes, size, 0, headers[i].sentence);
        memcpy(bytes + 4 * headers[i].field, &kept, 4);
    }
    free(whole);
    assert_int_equal(tv_shard_open("/nonexistent.bin", 0, &shard), TV_E_DATA);
    assert_int_not_equal(tv_shard_open(dir, 0, &shard), TV_OK);
}

static void a_failed_writer_leaves_nothing(void **state) {
    (void)state;
    tv_shard_writer *writer = NULL;
    const uint32_t ids[] = {1, 100};
    assert_ok(tv_remove_tree(path));
    assert_ok(tv_shard_writer_open(path, 100, &writer));
    assert_int_equal(tv_shard_writer_add(writer, ids, 2), TV_E_DATA);
    tv_shard_writer_abort(&writer);
    assert_ok(tv_shard_writer_open(path, 100, &writer));
    assert_fails(tv_shard_writer_add(writer, ids, UINT64_C(1) << 31), TV_E_FIT, "2147483647");
    tv_shard_writer_abort(&writer);
    char **names = NULL;
    uint64_t count = 0;
    assert_ok(tv_list_dir(dir, &names, &count));
    assert_int_equal(count, 0);
    tv_free_names(&names, count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_those_of_llm_c),
        cmocka_unit_test(tokens_come_back),
        cmocka_unit_test(broken_shards_are_refused),
        cmocka_unit_test(a_failed_writer_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
