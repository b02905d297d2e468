/* trivium sft over every shape of data: the log names shape and template, lines that do not fit end with exit
 * code 2, and the chat template travels from the model's tokenizer into the checkpoint. */
#include "support/support.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "support/small_model.h"
#include "support/small_run.h"

static int set_up(void **state) {
    return tv_small_model_make(state);
}

static tv_child_result fine_tune(const tv_small_model *small, const char *data, const char *out) {
    return tv_run_trivium("sft", "--model", small->model, "--data", data, "--out", out, "--set",
                          "train.steps=1", "--set", "train.batch_size=1", "--set", "train.warmup_steps=0",
                          "--set", "data.seq_len=64");
}

static void every_shape_trains(void **state) {
    const tv_small_model *small = *state;
    static const struct {
        const char *line, *shape;
        bool chat;
    } cases[] = {
        {"{\"prompt\": \"2+2=\", \"completion\": \"4\"}\n", "lines of {\"prompt\", \"completion\"}", false},
        {"{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}], \"completion\": [{\"role\": "
         "\"assistant\", "
         "\"content\": \"b\"}]}\n",
         "lines of {\"prompt\", \"completion\"}", true},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"assistant\", \"content\": "
         "\"b\"}]}\n",
         "lines of {\"messages\"}", true},
        {"{\"instruction\": \"Add.\", \"input\": \"2 2\", \"output\": \"4\"}\n",
         "lines of {\"instruction\", \"input\", \"output\"}", true},
        {"{\"conversations\": [{\"from\": \"human\", \"value\": \"a\"}, {\"from\": \"gpt\", \"value\": "
         "\"b\"}]}\n",
         "lines of {\"conversations\"}", true},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *data = tv_small_model_file(small, "data.jsonl", cases[i].line);
        char *out = tv_format("%s/run%zu", small->dir, i);
        tv_child_result run = fine_tune(small, data, out);
        tv_expect_exit(&run, 0);
        if (!strstr(run.err, cases[i].shape) ||
            !!strstr(run.err, "chat template: the tokenizer's own") != cases[i].chat)
            fail_msg("case %zu: %s", i, run.err);
        /* With turns the configuration says where they end (test_end_tokens.c). */
        static const char *const files[] = {"tokenizer.json", "tokenizer_config.json"};
        char *last = tv_format("%s/checkpoints/last", out);
        for (size_t f = 0; f < (cases[i].chat ? 1 : TV_COUNT(files)); f++)
            tv_expect_same_file(small->model, last, files[f]);
        free(last);
        tv_child_result_free(&run);
        free(data);
        free(out);
    }
}

static void lines_that_do_not_fit_end_it(void **state) {
    const tv_small_model *small = *state;
    static const struct {
        const char *lines, *sentence;
    } cases[] = {
        {"{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": \"\"}\n",
         "data.jsonl line 2: "},
        {"{\"prompt\": \"a\", \"completion\": \"b\"}\n\n{\"prompt\": \"a\"}\n", "data.jsonl line 3: "},
        {"{\"text\": \"a\"}\n", "found the keys text"},
        {"{\"prompt\": null, \"completion\": \"b\"}\n", "found the keys prompt (null), completion"},
        {"{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"prompt\": \"a\", \"completion\": null}\n",
         "data.jsonl line 2: expected {\"prompt\", \"completion\"} as in the file's first line, found null "
         "for \"completion\""},
        {"{\"prompt\": \"a\", \"completion\": true}\n",
         "found a text for \"prompt\" and true for \"completion\""},
        {"[{\"prompt\": \"a\", \"completion\": \"b\"}\n", "the file was cut short"},
        {"{\n\"prompt\": \"a\", \"completion\": \"b\"}\n", "`jq -c .` writes lines"},
        {"no JSON\n", "data.jsonl line 1: "},
        {"", "data.jsonl: "},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *data = tv_small_model_file(small, "data.jsonl", cases[i].lines);
        char *out = tv_format("%s/refused", small->dir);
        tv_child_result run = fine_tune(small, data, out);
        tv_expect_exit(&run, 2);
        if (!strstr(run.err, cases[i].sentence))
            fail_msg("case %zu: \"%s\" lacks \"%s\"", i, run.err, cases[i].sentence);
        tv_child_result_free(&run);
        free(data);
        free(out);
    }
}

/* Once for each file, with how often; what is read, empty or an id is not. */
static void keys_that_nothing_reads_are_named(void **state) {
    const tv_small_model *small = *state;
    static const char lines[] =
        "{\"prompt\": \"a\", \"completion\": \"b\", \"id\": 1, \"input\": \"x\", \"history\": []}\n"
        "{\"prompt\": \"a\", \"completion\": \"b\", \"input\": {\"y\": 1}, \"tools\": null, \"system\": "
        "\"be\"}\n"
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"a\", \"na\\u001bme\": 0}], \"completion\": "
        "[{\"role\": "
        "\"assistant\", \"content\": \"b\", \"weight\": 1}], \"system\": \"be\"}\n";
    char *data = tv_small_model_file(small, "data.jsonl", lines), *out = tv_format("%s/unused", small->dir);
    tv_child_result run = fine_tune(small, data, out);
    tv_expect_exit(&run, 0);
    const char *found =
        strstr(run.err, "data.jsonl: keys that nothing reads: \"input\" of 2 lines, \"system\" of 1 "
                        "line, \"na");
    if (!found || !strstr(found, "me\" of 1 list item; docs/data.md") || strchr(run.err, 27))
        fail_msg("%s", run.err);
    assert_null(strstr(found + sizeof "data.jsonl: ", "keys that nothing reads"));
    tv_child_result_free(&run);
    free(out);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_trains),
        cmocka_unit_test(lines_that_do_not_fit_end_it),
        cmocka_unit_test(keys_that_nothing_reads_are_named),
    };
    return cmocka_run_group_tests(tests, set_up, tv_small_model_remove);
}
