/* trivium tokenizer and trivium data pack as a person runs them: results, help, mistakes and exit codes. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/command_result.h"
#include "support/subprocess.h"
#include "text/shard.h"
#include "text/tokenizer_json.h"

#define DATA TRIVIUM_SOURCE_DIR "/tests/text/data"
static const char EXCERPT[] = DATA "/excerpt.txt", TOKENIZER[] = DATA "/trained";
static void training_writes_both_files(void **state) {
    (void)state;
    char *out = tv_format("%s/new/tokenizer", tv_test_folder), *made = tv_format("%s/tokenizer.json", out);
    tv_child_result run = tv_run_trivium("tokenizer", "train", "--input", EXCERPT, "--vocab-size", "512",
                                         "--out", out, "--json");
    cJSON *result = tv_result_of(&run);
    assert_near(tv_result_number(result, "vocab_size"), 512, 0);
    assert_near(tv_result_number(result, "merges"), 512 - 260, 0);
    assert_near(tv_result_number(result, "bytes"), 12000, 0);
    char *text = NULL, *expected = NULL;
    assert_ok(tv_read_file(made, &text, NULL));
    assert_ok(tv_read_file(DATA "/trained/tokenizer.json", &expected, NULL));
    assert_string_equal(text, expected);
    free(text);
    free(expected);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    free(out);
    free(made);
}

static void ids_and_back(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("tokenizer", "encode", "--tokenizer", TOKENIZER, "--text",
                                         "Caf\xc3\xa9 <|im_end|>", "--special", "--json");
    cJSON *result = tv_result_of(&run);
    const cJSON *ids = tv_json_get(result, "ids"), *tokens = tv_json_get(result, "tokens");
    assert_int_equal(cJSON_GetArraySize(ids), cJSON_GetArraySize(tokens));
    assert_int_equal(cJSON_GetArrayItem(ids, cJSON_GetArraySize(ids) - 1)->valueint, 2);
    assert_string_equal(cJSON_GetArrayItem(tokens, 0)->valuestring, "C");
    tv_child_result back = tv_run_trivium("tokenizer", "decode", "--tokenizer", TOKENIZER, "--text", run.out);
    assert_int_equal(back.exit_code, 0);
    assert_string_equal(back.out, "Caf\xc3\xa9 <|im_end|>");
    tv_child_result_free(&back);
    back = tv_run_trivium("tokenizer", "decode", "--tokenizer", TOKENIZER, "--text", run.out,
                          "--skip-special", "--json");
    cJSON *decoded = tv_result_of(&back);
    assert_string_equal(tv_json_get(decoded, "text")->valuestring, "Caf\xc3\xa9 ");
    cJSON_Delete(decoded);
    cJSON_Delete(result);
    tv_child_result_free(&back);
    tv_child_result_free(&run);

    /* Through files and plain ids, the whole excerpt. */
    char *ids_path = tv_format("%s/ids", tv_test_folder), *expected = NULL;
    run = tv_run_trivium("tokenizer", "encode", "--tokenizer", TOKENIZER, "--input", EXCERPT);
    assert_ok(tv_write_file(ids_path, run.out, strlen(run.out)));
    back = tv_run_trivium("tokenizer", "decode", "--tokenizer", TOKENIZER, "--input", ids_path);
    assert_ok(tv_read_file(EXCERPT, &expected, NULL));
    assert_string_equal(back.out, expected);
    free(expected);
    free(ids_path);
    tv_child_result_free(&back);
    tv_child_result_free(&run);
}

/* The shard's tokens as text; document ends as <|endoftext|>. */
static char *shard_text(const char *path) {
    tv_shard *shard = NULL;
    tv_tokenizer *tokenizer = NULL;
    tv_text text = {0};
    assert_ok(tv_tokenizer_load(TOKENIZER, &tokenizer));
    assert_ok(tv_shard_open(path, 512, &shard));
    uint64_t count = tv_shard_count(shard);
    uint32_t *ids = malloc(count * sizeof *ids);
    assert_ok(tv_shard_read(shard, 0, count, ids));
    assert_ok(tv_tokenizer_decode(tokenizer, ids, count, false, &text));
    assert_ok(tv_text_append(&text, "", 1));
    free(ids);
    tv_shard_close(&shard);
    tv_tokenizer_destroy(&tokenizer);
    return (char *)text.data;
}

static void documents_end_with_end_of_text(void **state) {
    (void)state;
    char *input = tv_format("%s/lines.txt", tv_test_folder),
         *out = tv_format("%s/packs/lines", tv_test_folder), *shard = tv_format("%s.bin", out);
    assert_ok(tv_write_file(input, "one\n\ntwo <|im_end|>\n", 20));
    tv_child_result run = tv_run_trivium("data", "pack", "--tokenizer", TOKENIZER, "--input", input, "--out",
                                         shard, "--by-line", "--json");
    cJSON *result = tv_result_of(&run);
    assert_string_equal(tv_json_get(result, "train")->valuestring, shard);
    assert_near(tv_result_number(result, "documents"), 2, 0);
    char *text = shard_text(shard);
    assert_string_equal(text, "one<|endoftext|>two <|im_end|><|endoftext|>");
    free(text);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    run = tv_run_trivium("data", "pack", "--tokenizer", TOKENIZER, "--input", input, "--out", out, "--quiet");
    assert_int_equal(run.exit_code, 0);
    assert_string_equal(run.err, "");
    text = shard_text(shard);
    assert_string_equal(text, "one\n\ntwo <|im_end|>\n<|endoftext|>");
    free(text);
    tv_child_result_free(&run);
    tv_free_all(input, out, shard);
}

/* What stands beside "text" is said once for each path that was named, though the text is read twice. */
static void keys_beside_the_text_are_said(void **state) {
    (void)state;
    char *input = tv_format("%s/meta.jsonl", tv_test_folder), *folder = tv_format("%s/more", tv_test_folder),
         *below = tv_format("%s/more/below.jsonl", tv_test_folder),
         *out = tv_format("%s/meta", tv_test_folder);
    static const char lines[] = "{\"text\": \"one\", \"meta\": {\"url\": 1}, \"id\": 0}\n"
                                "{\"text\": \"two\", \"meta\": {\"url\": 2}, \"id\": null}\n";
    assert_ok(tv_make_dirs(folder));
    assert_ok(tv_write_file(input, lines, sizeof lines - 1));
    assert_ok(tv_write_file(below, lines, sizeof lines - 1));
    tv_child_result run = tv_run_trivium("data", "pack", "--tokenizer", TOKENIZER, "--input", input, folder,
                                         "--out", out, "--val-fraction", "0.4");
    assert_int_equal(run.exit_code, 0);
    const char *paths[] = {input, folder};
    for (int i = 0; i < 2; i++) {
        char *said =
            tv_format("%s: keys that nothing reads: \"meta\" of 2 lines, \"id\" of 1 line;", paths[i]);
        const char *found = strstr(run.err, said);
        if (!found || strstr(found + 1, said))
            fail_msg("expected once: %s\nit said: %s", said, run.err);
        free(said);
    }
    tv_child_result_free(&run);
    tv_free_all(input, folder, below, out);
}

/* One text is cut near its end; many documents are drawn by seed. Nothing is lost and nothing is in both. */
static void validation_is_held_out(void **state) {
    (void)state;
    char *out = tv_format("%s/split", tv_test_folder), *train = tv_format("%s_train.bin", out),
         *val = tv_format("%s_val.bin", out), *expected = NULL;
    tv_child_result run = tv_run_trivium("data", "pack", "--tokenizer", TOKENIZER, "--input", EXCERPT,
                                         "--out", out, "--val-fraction", "0.1", "--json");
    cJSON *result = tv_result_of(&run);
    char *first = shard_text(train), *second = shard_text(val), *joined = tv_format("%s%s", first, second);
    assert_ok(tv_read_file(EXCERPT, &expected, NULL));
    assert_memory_equal(joined, expected, 12000);
    assert_string_equal(joined + 12000, "<|endoftext|>");
    assert_near(strlen(first), 12000 * 0.9, 3);
    tv_child_result_free(&run);
    cJSON_Delete(result);
    tv_free_all(first, second, joined, expected);

    char *lines = tv_format("%s/many.txt", tv_test_folder), many[8000];
    uint64_t size = 0;
    for (int i = 0; i < 1000; i++)
        size += (uint64_t)snprintf(many + size, sizeof many - size, "%d\n", i);
    assert_ok(tv_write_file(lines, many, size));
    char *kept = NULL;
    for (int seed = 1; seed < 3; seed++) {
        run =
            tv_run_trivium("data", "pack", "--tokenizer", TOKENIZER, "--input", lines, "--out", out,
                           "--by-line", "--val-fraction", "0.05", "--seed", seed == 1 ? "1" : "2", "--json");
        result = tv_result_of(&run);
        char seen[1000] = {0};
        int counts[2] = {0};
        for (int part = 0; part < 2; part++) {
            char *text = shard_text(part ? val : train);
            for (char *at = text; *at; at = strstr(at, "<|endoftext|>") + 13) {
                long value = strtol(at, NULL, 10);
                assert_true(value >= 0 && value < 1000 && !seen[value]);
                seen[value] = 1;
                counts[part]++;
            }
            if (part && kept)
                assert_string_not_equal(kept, text);
            if (part && !kept)
                kept = text;
            else
                free(text);
        }
        assert_int_equal(counts[0], 950);
        assert_int_equal(counts[1], 50);
        tv_child_result_free(&run);
        cJSON_Delete(result);
    }
    tv_free_all(kept, lines, out, train, val);
}

/* One sentence that names the place, exit code 2, and no file. */
static void mistakes_give_exit_code_2(void **state) {
    (void)state;
    char *empty = tv_format("%s/empty.txt", tv_test_folder),
         *out = tv_format("%s/mistakes/out", tv_test_folder),
         *folder = tv_format("%s/mistakes", tv_test_folder),
         *broken = tv_format("%s/broken.jsonl", tv_test_folder);
    assert_ok(tv_write_file(empty, "", 0));
    assert_ok(tv_write_file(broken, "{\"text\": \"a\"}\n{\"tex\": 1}\n", 25));
    const struct {
        const char *words[10], *sentence;
    } cases[] = {
        {{"data", "pack", "--tokenizer", TOKENIZER, "--input", empty, "--out", out},
         "expected text, found none"},
        {{"data", "pack", "--tokenizer", TOKENIZER, "--input", "/nonexistent", "--out", out}, "/nonexistent"},
        {{"data", "pack", "--tokenizer", TOKENIZER, "--input", broken, "--out", out}, "broken.jsonl line 2"},
        {{"data", "pack", "--tokenizer", tv_test_folder, "--input", EXCERPT, "--out", out}, "tokenizer.json"},
        {{"data", "pack", "--tokenizer", TOKENIZER, "--out", out}, "--input"},
        {{"data", "pack", "--tokenizer", TOKENIZER, "--input", EXCERPT, "--out", out, "--val-fraction", "1"},
         "val-fraction"},
        {{"data", "pak"}, "pack"},
        {{"tokenizer", "train", "--input", empty, "--vocab-size", "300", "--out", out}, "expected text"},
        {{"tokenizer", "train", "--input", EXCERPT, "--vocab-size", "100", "--out", out}, "vocab-size"},
        {{"tokenizer", "train", "--input", "/nonexistent", "--vocab-size", "300", "--out", out},
         "/nonexistent"},
        {{"tokenizer", "encode", "--tokenizer", TOKENIZER, "--input", "/nonexistent"}, "/nonexistent"},
        {{"tokenizer", "encode", "--tokenizer", TOKENIZER, "--input", EXCERPT, "--text", "x"}, "both"},
        {{"tokenizer", "encode", "--text", "x"}, "--tokenizer"},
        {{"tokenizer", "decode", "--tokenizer", TOKENIZER, "--text", "5 512"}, "512"},
        {{"tokenizer", "decode", "--tokenizer", TOKENIZER, "--text", "5 x"}, "byte 2"},
        {{"tokenizer", "decode", "--tokenizer", TOKENIZER, "--text", "{\"ids\": [1.5]}"}, "ids"},
        {{"tokenizer", "decode", "--tokenizer", TOKENIZER, "--text", "99999999999999999999"}, "byte 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *argv[12] = {TRIVIUM_COMMAND};
        for (int word = 0; word < 10; word++)
            argv[word + 1] = cases[i].words[word];
        tv_child_result run = tv_child_run(argv);
        if (run.exit_code != 2 || !strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: exit code %d, \"%s\" lacks \"%s\"", i, run.exit_code, run.err,
                     cases[i].sentence);
        char *newline = strchr(run.err, '\n');
        assert_true(newline && newline[1] == '\0');
        tv_child_result_free(&run);
    }
    if (tv_path_exists(folder)) {
        char **names = NULL;
        uint64_t count = 0;
        assert_ok(tv_list_dir(folder, &names, &count));
        assert_int_equal(count, 0);
        tv_free_names(&names, count);
    }
    tv_free_all(empty, out, folder, broken);
}

static void help_lists_options(void **state) {
    (void)state;
    const struct {
        const char *command, *subcommand, *word;
    } cases[] = {
        {"tokenizer", "--help", "encode"},
        {"data", "--help", "pack"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run = tv_run_trivium(cases[i].command, cases[i].subcommand);
        assert_int_equal(run.exit_code, 0);
        assert_non_null(strstr(run.out, cases[i].word));
        tv_child_result_free(&run);
    }
    tv_child_result run = tv_run_trivium("data", "pack", "--help");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "PREFIX_train.bin and PREFIX_val.bin"));
    tv_child_result_free(&run);
}

/* Each document begins with the token that the tokenizer's files put before a text, and the log names it; the
 * part behind a cut within a document does not. */
static void documents_begin_as_the_tokenizer_says(void **state) {
    (void)state;
    static const char config[] =
        "{\"add_bos_token\": true, \"bos_token\": \"<|im_start|>\", \"eos_token\": \"<|endoftext|>\"}";
    char *begins = tv_format("%s/begins", tv_test_folder),
         *at = tv_format("%s/tokenizer_config.json", begins);
    char *out = tv_format("%s/begun", tv_test_folder), *shard = tv_format("%s.bin", out);
    char *val = tv_format("%s_val.bin", out), *lines = tv_format("%s/two.txt", tv_test_folder);
    tv_tokenizer *tokenizer = NULL;
    assert_ok(tv_tokenizer_load(TOKENIZER, &tokenizer));
    assert_ok(tv_tokenizer_save(tokenizer, begins));
    tv_tokenizer_destroy(&tokenizer);
    assert_ok(tv_write_file(at, config, sizeof config - 1));
    assert_ok(tv_write_file(lines, "the\nof\n", 7));
    tv_child_result run =
        tv_run_trivium("data", "pack", "--tokenizer", begins, "--input", lines, "--out", out, "--by-line");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.err, "begins: texts begin with <|im_start|> (add_bos_token"));
    char *text = shard_text(shard);
    assert_string_equal(text, "<|im_start|>the<|endoftext|><|im_start|>of<|endoftext|>");
    tv_child_result_free(&run);
    free(text);
    run = tv_run_trivium("data", "pack", "--tokenizer", begins, "--input", lines, "--out", out,
                         "--val-fraction", "0.5");
    assert_int_equal(run.exit_code, 0);
    text = shard_text(val);
    assert_string_equal(text, "\nof\n<|endoftext|>");
    tv_child_result_free(&run);
    tv_free_all(text, lines, val, shard, out, at, begins);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training_writes_both_files),
        cmocka_unit_test(ids_and_back),
        cmocka_unit_test(documents_end_with_end_of_text),
        cmocka_unit_test(keys_beside_the_text_are_said),
        cmocka_unit_test(validation_is_held_out),
        cmocka_unit_test(mistakes_give_exit_code_2),
        cmocka_unit_test(help_lists_options),
        cmocka_unit_test(documents_begin_as_the_tokenizer_says),
    };
    return cmocka_run_group_tests(tests, tv_test_folder_make, tv_test_folder_remove);
}
