/* text/source: files, lines, folders, JSON lines, gzip and zstd (written by zlib and zstd themselves), broken
 * inputs. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "text/buffers.h"
#include "text/source.h"

static int set_up(void **state) {
    tv_log_set_level(TV_LOG_ERROR);
    return tv_test_folder_make(state);
}

/* Each document between brackets. */
static tv_status collect(void *context, const uint8_t *bytes, uint64_t length) {
    assert_true(length > 0);
    assert_ok(tv_text_append(context, "[", 1));
    assert_ok(tv_text_append(context, bytes, length));
    return tv_text_append(context, "]", 1);
}

static char *put(const char *name, const void *bytes, uint64_t size) {
    char *path = tv_format("%s/%s", tv_test_folder, name);
    assert_ok(tv_write_file(path, bytes, size));
    return path;
}

static void expect_documents(const char *path, bool by_line, const char *expected, uint64_t expected_size) {
    tv_text all = {0};
    tv_source_totals totals;
    assert_ok(tv_source_read(&path, 1, by_line, collect, &all, &totals));
    if (all.size != expected_size || memcmp(all.data, expected, expected_size) != 0)
        fail_msg("%s: %.*s, expected %s", path, (int)all.size, (const char *)all.data, expected);
    assert_int_equal(totals.bytes + 2 * totals.documents, all.size);
    tv_text_free(&all);
}

static void expect_refusal(const char *path, const char *sentence) {
    tv_text all = {0};
    assert_int_equal(tv_source_read(&path, 1, false, collect, &all, NULL), TV_E_DATA);
    if (!strstr(tv_last_error(), sentence) || !strstr(tv_last_error(), path))
        fail_msg("\"%s\" lacks \"%s\" or the path", tv_last_error(), sentence);
    tv_text_free(&all);
}

static void a_file_is_a_document_or_its_lines(void **state) {
    (void)state;
    const char text[] = "one\r\ntwo\n\n  \nthr\0ee\xff\nlast";
    char *path = put("a.txt", text, sizeof text - 1);
    expect_documents(path, false, "[one\r\ntwo\n\n  \nthr\0ee\xff\nlast]", sizeof text + 1);
    expect_documents(path, true, "[one][two][  ][thr\0ee\xff][last]", 29);
    free(path);
}

static void json_lines_give_their_text(void **state) {
    (void)state;
    const char lines[] = "{\"text\": \"one\\ntwo\", \"id\": 3}\n\n  \n{\"text\":\"\"}\r\n"
                         "{\"text\": \"\\u00e9\\ud83d\\ude00 \\\\u0000 \\u0000\\u0000 \xef\xb7\x90\"}";
    char *path = put("a.jsonl", lines, sizeof lines - 1);
    const char expected[] = "[one\ntwo][\xc3\xa9\xf0\x9f\x98\x80 \\u0000 \0\0 \xef\xb7\x90]";
    expect_documents(path, false, expected, sizeof expected - 1);
    free(path);
    static const struct {
        const char *lines, *sentence;
    } broken[] = {
        {"{\"text\": \"a\"}\n{\"text\": \"b\"", "line 2"},
        {"{\"txt\": \"a\"}", "without \"text\""},
        {"{\"text\": 1}", "a number under \"text\""},
        {"[\"text\"]", "found a text"},
        {"{\"text\": \"a\"} x", "line 1"},
        {"plain text", "line 1"},
        {"{\"text\": \"\"}", "expected text"},
    };
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        path = put("broken.jsonl", broken[i].lines, strlen(broken[i].lines));
        expect_refusal(path, broken[i].sentence);
        free(path);
    }
}

static tv_text gzip(const void *bytes, uint64_t size);

/* What each line says, where it stands, and its values back as JSON. */
static tv_status collect_line(void *context, const tv_json_line *line) {
    char *begin = tv_format("[%s|%llu|", strrchr(line->file, '/') + 1, (unsigned long long)line->line);
    assert_ok(tv_text_append(context, begin, strlen(begin)));
    free(begin);
    assert_non_null(strstr(line->where, line->file));
    const cJSON *text = tv_json_get(line->root, "t");
    if (text)
        assert_ok(tv_json_line_text(line, text, context));
    assert_ok(tv_json_line_print(line, line->root, context));
    return tv_text_append(context, "]", 1);
}

static void json_lines_keep_file_and_line(void **state) {
    (void)state;
    char *folder = tv_format("%s/lines", tv_test_folder);
    assert_ok(tv_make_dirs(folder));
    static const char first[] = "{\"t\": \"a\\u0000\xef\xb7\x90\xff\", \"n\": [1.5, null]}\n\n \t\n{}\r\n";
    free(put("lines/b.jsonl", first, sizeof first - 1));
    tv_text packed = gzip("\n{\"t\": \"zipped\"}", 16);
    tv_free_all(put("lines/a.ndjson.gz", packed.data, packed.size), put("lines/readme.txt", "{}", 2),
                put("lines/one.json", "{}", 2));
    char *other = put("named.txt", "{}", 2);
    const char *paths[] = {folder, other};
    tv_text all = {0};
    tv_source_totals totals;
    assert_ok(tv_source_read_json(paths, 2, collect_line, &all, &totals));
    static const char expected[] = "[a.ndjson.gz|2|zipped{\"t\":\"zipped\"}]"
                                   "[b.jsonl|1|a\0\xef\xb7\x90\xff{\"t\":\"a\\u0000\xef\xb7\x90\xff\","
                                   "\"n\":[1.5,null]}][b.jsonl|4|{}][named.txt|1|{}]";
    if (all.size != sizeof expected - 1 || memcmp(all.data, expected, all.size) != 0)
        fail_msg("%.*s, expected %s", (int)all.size, (const char *)all.data, expected);
    assert_int_equal(totals.documents, 4);
    assert_int_equal(totals.files, 3);
    assert_int_equal(totals.skipped, 2);
    tv_text_free(&all);
    tv_text_free(&packed);

    char *empty = tv_format("%s/no_lines", tv_test_folder);
    assert_ok(tv_make_dirs(empty));
    const char *nothing[] = {empty};
    assert_fails(tv_source_read_json(nothing, 1, collect_line, &all, NULL), TV_E_DATA,
                 "expected JSON lines, found none: there is no *.jsonl in it");
    static const struct {
        const char *bytes;
        uint64_t size;
        const char *sentence;
    } broken[] = {{"{}\n{\"a\": \"\0\"}", 13, "line 2: expected valid JSON, found a byte 0"},
                  {"{}\n\n[]", 6, "line 3: expected a JSON object, found an empty array"},
                  {"{}\n[\n{}\n]", 8, "line 2: expected one JSON object a line, found a \"[\""},
                  {"{}\n{\"a\":", 8, "line 2: expected valid JSON"},
                  {"", 0, "expected JSON lines, found none"}};
    for (size_t i = 0; i < TV_COUNT(broken); i++) {
        assert_int_equal(tv_source_read_json_bytes((const uint8_t *)broken[i].bytes, broken[i].size, "x/name",
                                                   collect_line, &all),
                         TV_E_DATA);
        if (!strstr(tv_last_error(), broken[i].sentence))
            fail_msg("\"%s\" lacks \"%s\"", tv_last_error(), broken[i].sentence);
    }
    tv_text_free(&all);
    tv_free_all(folder, other, empty);
}

static void folders_are_read_in_order(void **state) {
    (void)state;
    static const char *const folders[] = {"tree/b/deep", "tree/.git", "tree/empty"};
    for (int i = 0; i < 3; i++) {
        char *folder = tv_format("%s/%s", tv_test_folder, folders[i]);
        assert_ok(tv_make_dirs(folder));
        free(folder);
    }
    free(put("tree/c.txt", "C", 1));
    free(put("tree/b/x.c", "int x;", 6));
    tv_free_all(put("tree/b/deep/y.json", "{}", 2), put("tree/a.jsonl", "{\"text\": \"A\"}", 13),
                put("tree/.git/config", "hidden", 6), put("tree/.hidden", "hidden", 6),
                put("tree/z.png", "\x89PNG\0\0", 6), put("tree/nothing", "", 0));
    char *tree = tv_format("%s/tree", tv_test_folder), *link = tv_format("%s/tree/b/loop", tv_test_folder);
    assert_ok(tv_replace_link("..", link));
    expect_documents(tree, false, "[A][{}][int x;][C]", 18);
    expect_documents(tree, true, "[A][{}][int x;][C]", 18);
    char *empty = tv_format("%s/tree/empty", tv_test_folder);
    expect_refusal(empty, "no file");
    tv_free_all(tree, link, empty);
}

static tv_text gzip(const void *bytes, uint64_t size) {
    tv_text out = {.data = malloc(size + 1000)};
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)bytes,
                       .avail_in = (uInt)size,
                       .next_out = out.data,
                       .avail_out = (uInt)size + 1000};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.size = stream.total_out;
    deflateEnd(&stream);
    return out;
}

static tv_text zstd(const void *bytes, uint64_t size) {
    uint64_t bound = ZSTD_compressBound(size);
    tv_text out = {.data = malloc(bound)};
    out.size = ZSTD_compress(out.data, bound, bytes, size, 3);
    assert_false(ZSTD_isError(out.size));
    return out;
}

/* Longer than a chunk, so that lines cross chunks; twice in a row, as two members or frames. */
static void compressed_is_read_as_plain(void **state) {
    (void)state;
    tv_text plain = {0};
    for (int i = 0; i < 40000; i++) {
        char *line = tv_format("{\"text\": \"line %d of the text, %x\"}\n", i, (unsigned)i * 2654435u);
        assert_ok(tv_text_append(&plain, line, strlen(line)));
        free(line);
    }
    uint64_t once = plain.size;
    for (int kind = 0; kind < 2; kind++) {
        tv_text packed = kind ? zstd(plain.data, once) : gzip(plain.data, once);
        tv_text twice = {0}, expected = {0};
        assert_ok(tv_text_append(&twice, packed.data, packed.size));
        assert_ok(tv_text_append(&twice, packed.data, packed.size));
        static const char *const names[] = {"c.jsonl.gz", "c.ndjson.zst", "c.txt.gz", "c"};
        for (int name = 0; name < 4; name++) {
            char *raw = put(name < 2 ? "raw.jsonl" : "raw.txt", plain.data, once);
            const char *raws[] = {raw, raw};
            expected.size = 0;
            assert_ok(tv_source_read(raws, 2, name == 3, collect, &expected, NULL));
            char *path = put(names[name], twice.data, twice.size);
            if (name == 2) {
                /* One file, one document. */
                expected.size = 0;
                assert_ok(tv_text_append(&expected, "[", 1));
                assert_ok(tv_text_append(&expected, plain.data, once));
                assert_ok(tv_text_append(&expected, plain.data, once));
                assert_ok(tv_text_append(&expected, "]", 1));
            }
            expect_documents(path, name == 3, (const char *)expected.data, expected.size);
            free(path);
            free(raw);
        }
        for (uint64_t cut = 20; cut < packed.size; cut += packed.size / 7) {
            char *path = put("cut.jsonl.gz", packed.data, cut);
            expect_refusal(path, "cut short");
            free(path);
        }
        char *path = put("cut.txt", twice.data, packed.size - 1);
        expect_refusal(path, "cut short");
        free(path);
        packed.data[packed.size / 2] ^= 0xff;
        path = put("damaged.txt", packed.data, packed.size);
        tv_text all = {0};
        assert_int_equal(tv_source_read((const char *const *)&path, 1, false, collect, &all, NULL),
                         TV_E_DATA);
        tv_text_free(&all);
        free(path);
        assert_ok(tv_text_append(&twice, "tail", 4));
        path = put("tail.txt", twice.data, twice.size);
        assert_int_equal(tv_source_read((const char *const *)&path, 1, false, collect, &all, NULL),
                         TV_E_DATA);
        tv_text_free(&all);
        free(path);
        tv_text_free(&packed);
        tv_text_free(&twice);
        tv_text_free(&expected);
    }
    tv_text_free(&plain);
}

static void missing_and_empty_give_sentences(void **state) {
    (void)state;
    expect_refusal("/nonexistent.txt", "found nothing of that name");
    char *empty = put("empty.txt", "", 0);
    expect_refusal(empty, "expected text, found none");
    char *full = put("full.txt", "x", 1);
    /* A wrong last name is found before anything is read; an empty file among others is no failure. */
    const char *paths[] = {full, empty, "/nonexistent.txt"};
    tv_text all = {0};
    assert_int_equal(tv_source_read(paths, 3, false, collect, &all, NULL), TV_E_DATA);
    assert_int_equal(all.size, 0);
    assert_ok(tv_source_read(paths, 2, false, collect, &all, NULL));
    assert_int_equal(all.size, 3);
    tv_text_free(&all);
    free(empty);
    free(full);
}

typedef struct cutting {
    const char *path;
    uint64_t documents;
} cutting;

static tv_status cut_at_the_first(void *context, const uint8_t *bytes, uint64_t length) {
    cutting *c = context;
    (void)bytes;
    (void)length;
    if (c->documents++ == 0)
        assert_int_equal(truncate(c->path, 100), 0);
    return TV_OK;
}

/* Where a mapping would end the process; and lines that are missing are not passed over in silence. */
static void a_file_that_is_cut_while_it_is_read(void **state) {
    (void)state;
    static const char line[] = "{\"text\": \"of the thousand and one nights\"}\n";
    tv_text all = {0};
    while (all.size < 4 << 20)
        assert_ok(tv_text_append(&all, line, sizeof line - 1));
    char *path = put("cut.jsonl", all.data, all.size);
    const char *paths[] = {path};
    cutting c = {.path = path};
    assert_fails(tv_source_read(paths, 1, false, cut_at_the_first, &c, NULL), TV_E_IO,
                 "cut.jsonl was cut short by another program");
    assert_true(c.documents > 0);
    tv_text_free(&all);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_that_is_cut_while_it_is_read),
        cmocka_unit_test(a_file_is_a_document_or_its_lines),
        cmocka_unit_test(json_lines_give_their_text),
        cmocka_unit_test(folders_are_read_in_order),
        cmocka_unit_test(compressed_is_read_as_plain),
        cmocka_unit_test(missing_and_empty_give_sentences),
        cmocka_unit_test(json_lines_keep_file_and_line),
    };
    return cmocka_run_group_tests(tests, set_up, tv_test_folder_remove);
}
