/* Forms of files x commands that read text or JSON lines: every command reads a mark of UTF-8, gzip, zstd,
 * CRLF and (where it reads JSON) one array in place of lines to the same result, and refuses UTF-16, pointers
 * of Git LFS, archives and damaged lines by name.
 *
 * Tried: a reader of rankings of its own, a form that is looked for in one reader alone, first keys that win.
 * Each fails.
 */
#include "support/small_model.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "support/small_run.h"
#include "text/buffers.h"

static char *reward;

/* A reward model beside the language model, for score. */
static int set_up(void **state) {
    if (tv_small_model_make(state) != 0)
        return 1;
    const tv_small_model *small = *state;
    char *data = tv_small_model_file(small, "pairs.jsonl",
                                     "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    reward = tv_format("%s/reward", small->dir);
    tv_trivium_exits(0, "reward", "--model", small->model, "--data", data, "--out", reward, "--set",
                     "train.steps=1", "--set", "train.batch_size=1", "--set", "train.warmup_steps=0",
                     "--quiet");
    free(data);
    return 0;
}

static int tear_down(void **state) {
    free(reward);
    return tv_small_model_remove(state);
}

/* ---- commands ---- */

#define RESPONSES "\"responses\": [{\"id\": \"r0\", \"text\": \"x\"}, {\"id\": \"r1\", \"text\": \"y z\"}]"

/* IN and OUT stand for paths; MODEL and REWARD for directories. What is compared is the file OUT, or standard
 * output where there is none. */
typedef struct command {
    const char *name;
    const char *arguments[16];
    const char *items[2]; /* lines of JSON, each with ITEM in it; NULL: text */
    const char *result;   /* a file within OUT, "" for OUT itself; NULL: standard output */
} command;

static const command commands[] = {
    {"sft",
     {"sft", "--model", "MODEL", "--data", "IN", "--out", "OUT", "--set", "train.steps=1", "--set",
      "train.batch_size=1", "--set", "train.warmup_steps=0", "--set", "data.seq_len=64"},
     {"{\"prompt\": \"a\", \"completion\": \"b\"}", "{\"prompt\": \"c\", \"completion\": \"d e\"}"},
     "checkpoints/last/model.safetensors"},
    {"reward",
     {"reward", "--model", "MODEL", "--data", "IN", "--out", "OUT", "--set", "train.steps=1", "--set",
      "train.batch_size=1", "--set", "train.warmup_steps=0"},
     {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}",
      "{\"prompt\": \"d\", \"chosen\": \"e\", \"rejected\": \"f\"}"},
     "checkpoints/last/model.safetensors"},
    {"dpo",
     {"dpo", "--model", "MODEL", "--data", "IN", "--out", "OUT", "--set", "train.steps=1", "--set",
      "train.batch_size=1", "--set", "train.warmup_steps=0"},
     {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}",
      "{\"prompt\": \"d\", \"chosen\": \"e\", \"rejected\": \"f\"}"},
     "checkpoints/last/model.safetensors"},
    {"sample",
     {"sample", "--model", "MODEL", "--prompts", "IN", "--out", "OUT", "-k", "2", "--max-tokens", "4"},
     {"{\"id\": \"a\", \"prompt\": \"a\"}", "{\"id\": \"b\", \"prompt\": \"b\"}"},
     ""},
    {"rank",
     {"rank", "--candidates", "IN", "--out", "OUT", "--judge",
      "sed -u 's/.*/{\"ranking\":[[\"r0\"],[\"r1\"]]}/'", "--json"},
     {"{\"id\": \"a\", \"prompt\": \"p\", " RESPONSES "}",
      "{\"id\": \"b\", \"prompt\": \"q\", " RESPONSES "}"},
     NULL},
    {"prefs",
     {"prefs", "--rankings", "IN", "--out", "OUT"},
     {"{\"id\": \"a\", \"prompt\": \"p\", " RESPONSES ", \"ranking\": [[\"r0\"], [\"r1\"]]}",
      "{\"id\": \"b\", \"prompt\": [{\"role\":\"user\",\"content\":\"q\"}], " RESPONSES
      ", \"ranking\": [[\"r1\"], [\"r0\"]]}"},
     ""},
    {"score of preferences",
     {"score", "--model", "REWARD", "--data", "IN", "--out", "OUT"},
     {"{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}",
      "{\"prompt\": \"d\", \"chosen\": \"e\", \"rejected\": \"f\"}"},
     ""},
    {"score of responses",
     {"score", "--model", "REWARD", "--data", "IN", "--out", "OUT"},
     {"{\"prompt\": \"a\", \"response\": \"b\"}", "{\"prompt\": \"d\", \"response\": \"e f\"}"},
     ""},
    {"eval of JSON lines",
     {"eval", "--model", "MODEL", "--data", "IN"},
     {"{\"text\": \"one two three\"}", "{\"text\": \"four five\"}"},
     NULL},
    {"data pack of JSON lines",
     {"data", "pack", "--tokenizer", "MODEL", "--input", "IN", "--out", "OUT.bin"},
     {"{\"text\": \"one two three\"}", "{\"text\": \"four five\"}"},
     ".bin"},
    {"data pack", {"data", "pack", "--tokenizer", "MODEL", "--input", "IN", "--out", "OUT.bin"}, {0}, ".bin"},
    {"data pack --by-line",
     {"data", "pack", "--tokenizer", "MODEL", "--by-line", "--input", "IN", "--out", "OUT.bin"},
     {0},
     ".bin"},
    {"eval", {"eval", "--model", "MODEL", "--data", "IN"}, {0}, NULL},
    {"tokenizer train",
     {"tokenizer", "train", "--vocab-size", "262", "--input", "IN", "--out", "OUT"},
     {0},
     "tokenizer.json"},
    {"tokenizer encode", {"tokenizer", "encode", "--tokenizer", "MODEL", "--input", "IN"}, {0}, NULL},
};

/* ---- forms ---- */

static void add(tv_text *text, const char *bytes) {
    assert_ok(tv_text_append(text, bytes, strlen(bytes)));
}

static void make_plain(const command *c, const char *end, tv_text *out) {
    if (!c->items[0])
        add(out, "one two three one two three\nfour five\n");
    for (int i = 0; c->items[0] && i < 2; i++) {
        add(out, c->items[i]);
        add(out, end);
    }
}

static void make_array(const command *c, tv_text *out) {
    add(out, "\n[\n");
    for (int i = 0; i < 2; i++) {
        /* Its values on lines of their own, as programs indent them. */
        for (const char *at = c->items[i]; *at; at++) {
            assert_ok(tv_text_append(out, at, 1));
            if (*at == ',' && at[1] == ' ')
                add(out, "\r\n   ");
        }
        add(out, i == 0 ? "\n,  \n" : "\n]\n");
    }
}

static void make_gzip(const tv_text *plain, tv_text *out) {
    static uint8_t packed[1 << 18];
    z_stream stream = {.next_in = plain->data,
                       .avail_in = (uInt)plain->size,
                       .next_out = packed,
                       .avail_out = sizeof packed};
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    assert_ok(tv_text_append(out, packed, stream.total_out));
    deflateEnd(&stream);
}

static void make_zstd(const tv_text *plain, tv_text *out) {
    uint8_t packed[4096];
    size_t size = ZSTD_compress(packed, sizeof packed, plain->data, plain->size, 1);
    assert_false(ZSTD_isError(size));
    assert_ok(tv_text_append(out, packed, size));
}

static void make_utf16(const tv_text *plain, bool mark, tv_text *out) {
    if (mark)
        assert_ok(tv_text_append(out, "\xff\xfe", 2));
    for (uint64_t i = 0; i < plain->size; i++)
        assert_ok(tv_text_append(out, (const uint8_t[]){plain->data[i], 0}, 2));
}

/* ---- runs ---- */

typedef struct outcome {
    tv_child_result run;
    char *bytes; /* of the result; NULL where it ended with a failure */
    uint64_t size;
} outcome;

static void outcome_free(outcome *o) {
    tv_child_result_free(&o->run);
    free(o->bytes);
}

static outcome run_on(const tv_small_model *small, const command *c, const tv_text *input) {
    char *in = tv_format("%s/in.%s", small->dir, c->items[0] ? "jsonl" : "txt");
    char *out = tv_format("%s/out", small->dir), *packed = tv_format("%s.bin", out);
    const char *argv[20] = {TRIVIUM_COMMAND};
    outcome o = {0};
    assert_ok(tv_remove_tree(out));
    assert_ok(tv_remove_tree(packed));
    assert_ok(tv_write_file(in, input->data, input->size));
    for (int i = 0; c->arguments[i]; i++) {
        const char *word = c->arguments[i];
        argv[i + 1] = strcmp(word, "IN") == 0        ? in
                      : strcmp(word, "OUT") == 0     ? out
                      : strcmp(word, "OUT.bin") == 0 ? packed
                      : strcmp(word, "MODEL") == 0   ? small->model
                      : strcmp(word, "REWARD") == 0  ? reward
                                                     : word;
    }
    o.run = tv_child_run(argv);
    if (o.run.exit_code == 0 && !c->result) {
        o.bytes = tv_format("%s", o.run.out);
        o.size = strlen(o.bytes);
    } else if (o.run.exit_code == 0) {
        char *result = tv_format("%s%s%s", out, c->result[0] && c->result[0] != '.' ? "/" : "", c->result);
        assert_ok(tv_read_file(result, &o.bytes, &o.size));
        free(result);
    }
    tv_free_all(packed, out, in);
    return o;
}

/* All pairs of a command and a form; where each path is looked at once, a third of them, every command and
 * every form among them. */
static bool is_taken(const command *c, const char *form) {
    return !tv_test_once() || (uint64_t)(c - commands + form[0]) % 3 == 0;
}

static void expect_same(const tv_small_model *small, const command *c, const char *form, const tv_text *input,
                        const outcome *plain) {
    if (!is_taken(c, form))
        return;
    outcome o = run_on(small, c, input);
    if (o.run.exit_code != 0)
        fail_msg("%s, %s: %s", c->name, form, o.run.err);
    if (o.size != plain->size || memcmp(o.bytes, plain->bytes, o.size) != 0)
        fail_msg("%s, %s: another result than plain lines give: %s", c->name, form, o.bytes);
    outcome_free(&o);
}

static void expect_refused(const tv_small_model *small, const command *c, const char *form,
                           const tv_text *input, const char *sentence) {
    if (!is_taken(c, form))
        return;
    outcome o = run_on(small, c, input);
    char *what = tv_format("%s, %s", c->name, form);
    if (o.run.exit_code != 2 || !strstr(o.run.err, sentence))
        fail_msg("%s: exit code %d, expected 2 and \"%s\"; it said:\n%s", what, o.run.exit_code, sentence,
                 o.run.err);
    if (!strstr(o.run.err, "/in."))
        fail_msg("%s: the file is not named: %s", what, o.run.err);
    free(what);
    outcome_free(&o);
}

static void every_command_reads_every_form(void **state) {
    const tv_small_model *small = *state;
    for (size_t i = 0; i < TV_COUNT(commands); i++) {
        const command *c = &commands[i];
        tv_text plain = {0}, form = {0};
        make_plain(c, "\n", &plain);
        outcome expected = run_on(small, c, &plain);
        if (expected.run.exit_code != 0)
            fail_msg("%s: %s", c->name, expected.run.err);
        add(&form, "\xef\xbb\xbf");
        assert_ok(tv_text_append(&form, plain.data, plain.size));
        expect_same(small, c, "a mark of UTF-8", &form, &expected);
        form.size = 0;
        make_gzip(&plain, &form);
        expect_same(small, c, "gzip", &form, &expected);
        form.size = 0;
        make_zstd(&plain, &form);
        expect_same(small, c, "zstd", &form, &expected);
        if (c->items[0]) {
            form.size = 0;
            make_plain(c, "\r\n", &form);
            expect_same(small, c, "CRLF", &form, &expected);
            form.size = 0;
            make_array(c, &form);
            expect_same(small, c, "an array", &form, &expected);
        }
        outcome_free(&expected);
        tv_text_free(&plain);
        tv_text_free(&form);
    }
}

static void every_command_refuses_by_name(void **state) {
    const tv_small_model *small = *state;
    static const struct {
        const char *form, *bytes, *sentence;
        bool json; /* of JSON alone */
    } bad[] = {
        {"LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "a pointer of Git LFS",
         false},
        {"zip", "PK\x03\x04 and so on", "a zip archive", false},
        {"NaN", "{\"prompt\": NaN}", "line 3: expected valid JSON, found a mistake at column 12: NaN", true},
        {"half a character", "{\"prompt\": \"\\ud800\"}",
         "line 3: expected valid JSON, found a mistake at column 13: \\ud800, which is half", true},
        {"an open array", "[\n{}\n", "closed", true},
        {"no object", "17", "line 3: expected ", true},
    };
    for (size_t i = 0; i < TV_COUNT(commands); i++) {
        const command *c = &commands[i];
        tv_text plain = {0}, form = {0};
        make_plain(c, "\n", &plain);
        make_utf16(&plain, true, &form);
        expect_refused(small, c, "UTF-16", &form, "UTF-16 text; save it as UTF-8");
        form.size = 0;
        make_utf16(&plain, false, &form);
        expect_refused(small, c, "UTF-16 without a mark", &form, "UTF-16 text; save it as UTF-8");
        for (size_t k = 0; k < TV_COUNT(bad); k++) {
            if (bad[k].json && !c->items[0])
                continue;
            form.size = 0;
            if (strstr(bad[k].sentence, "line 3"))
                assert_ok(tv_text_append(&form, plain.data, plain.size));
            add(&form, bad[k].bytes);
            expect_refused(small, c, bad[k].form, &form, bad[k].sentence);
        }
        tv_text_free(&plain);
        tv_text_free(&form);
    }
}

/* {"K": wrong, ..., "K": right}: what counts is the last, for each key. */
static void the_last_of_two_keys_counts(void **state) {
    const tv_small_model *small = *state;
    for (size_t i = 0; i < TV_COUNT(commands); i++) {
        const command *c = &commands[i];
        if (!c->items[0])
            continue;
        tv_text plain = {0}, form = {0};
        make_plain(c, "\n", &plain);
        outcome expected = run_on(small, c, &plain);
        for (int item = 0; item < 2; item++) {
            static const char *const keys[] = {"id",   "prompt",   "completion", "chosen", "rejected",
                                               "text", "response", "responses",  "ranking"};
            add(&form, "{");
            for (size_t k = 0; k < TV_COUNT(keys); k++) {
                char *member = tv_format("\"%s\":", keys[k]);
                if (strstr(c->items[item], member)) {
                    add(&form, member);
                    add(&form, k % 2 ? "false," : "\"x\",");
                }
                free(member);
            }
            add(&form, c->items[item] + 1);
            add(&form, "\n");
        }
        expect_same(small, c, "two of a key", &form, &expected);
        outcome_free(&expected);
        tv_text_free(&plain);
        tv_text_free(&form);
    }
}

/* What a line without end, a word without end and a line of nothing but numbers take: a sentence, not memory.
 */
static void what_has_no_end_is_a_sentence(void **state) {
    const tv_small_model *small = *state;
    static const struct {
        const char *form, *begin, *more, *sentence;
        uint64_t megabytes;
        bool json;
    } bad[] = {
        {"a line", "{\"id\":\"", "a", " line 1: expected records of at most 64 MiB", 70, true},
        {"an item", "[{\"id\":\"", "a", " line 1: expected records of at most 64 MiB", 70, true},
        {"numbers", "{\"id\":[0", ",0", " line 1: expected JSON of at most 8 million values", 40, true},
        {"a word", "", "a", "expected words of at most 16 MiB", 17, false},
    };
    static char block[1 << 16];
    for (size_t k = 0; k < TV_COUNT(bad); k++) {
        tv_text plain = {0}, form = {0};
        add(&plain, bad[k].begin);
        for (size_t i = 0; i < sizeof block; i++)
            block[i] = bad[k].more[i % strlen(bad[k].more)];
        while (plain.size < bad[k].megabytes << 20)
            assert_ok(tv_text_append(&plain, block, sizeof block));
        if (strchr(bad[k].begin, '0'))
            add(&plain, "]}");
        make_gzip(&plain, &form);
        for (size_t i = 0; i < TV_COUNT(commands); i++) {
            if (bad[k].json != !!commands[i].items[0] || strcmp(commands[i].name, "tokenizer train") == 0 ||
                !is_taken(&commands[i], bad[k].form + 2))
                continue;
            outcome o = run_on(small, &commands[i], &form);
            if (o.run.exit_code != 2 || !strstr(o.run.err, bad[k].sentence) || !strstr(o.run.err, "/in."))
                fail_msg("%s, %s without end: exit code %d: %s", commands[i].name, bad[k].form,
                         o.run.exit_code, o.run.err);
            if (!(o.run.peak_rss_bytes <= UINT64_C(600) << 20))
                fail_msg("%s, %s without end: %llu MB of memory", commands[i].name, bad[k].form,
                         (unsigned long long)o.run.peak_rss_bytes >> 20);
            outcome_free(&o);
        }
        tv_text_free(&plain);
        tv_text_free(&form);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_command_reads_every_form),
        cmocka_unit_test(every_command_refuses_by_name),
        cmocka_unit_test(the_last_of_two_keys_counts),
        cmocka_unit_test(what_has_no_end_is_a_sentence),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
