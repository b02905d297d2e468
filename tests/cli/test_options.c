/* The option parser and the command's frame: tables, mistakes, help, exit codes. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/small_run.h"
#include "support/subprocess.h"
#include "tools/options.h"

typedef struct example {
    bool fast;
    const char *out;
    uint64_t vocab;
    double share;
    int format;
    tv_texts inputs, sets, runs;
    bool share_given;
    tv_common_options common;
} example;

/* Parses one line of words, which must stay alive as long as the result. */
static tv_status parse(example *e, int argc, const char **words) {
    *e = (example){.out = "a.html", .vocab = 256, .format = 1};
    const tv_option options[] = {
        tv_opt_flag("fast", &e->fast, "go fast"),
        tv_opt_short('o', tv_opt_text("out", "FILE", &e->out, "where to")),
        tv_opt_short('k', tv_opt_uint("vocab-size", "N", &e->vocab, 256, 1000, "entries")),
        tv_opt_given(&e->share_given, tv_opt_number("share", "X", &e->share, 0, 1, "part")),
        tv_opt_choice("format", "hf|gguf", &e->format, "form"),
        tv_opt_list("input", "F", &e->inputs, "files"),
        tv_opt_repeated("set", "k=v", &e->sets, "settings"),
        tv_opt_positionals("RUN", &e->runs, "runs"),
    };
    const tv_command_line line = {.command = "example",
                                  .summary = "An example.",
                                  .options = options,
                                  .option_count = TV_COUNT(options),
                                  .common_mask = TV_COMMON_ALL,
                                  .common = &e->common};
    bool done;
    return tv_options_parse(&line, argc, (char **)(uintptr_t)words, &done);
}

static void release(example *e) {
    tv_texts_free(&e->inputs);
    tv_texts_free(&e->sets);
    tv_texts_free(&e->runs);
}

static void every_kind_of_option_arrives(void **state) {
    (void)state;
    example e;
    const char *words[] = {"example",  "run1",    "--out=b.html", "-k",     "300",
                           "--set",    "a=1",     "--input",      "x",      "y",
                           "--fast",   "--share", "-0",           "--set",  "b=--c",
                           "--input",  "z",       "--json",       "--seed", "18446744073709551615",
                           "--format", "hf",      "--",           "--run2"};
    assert_ok(parse(&e, (int)TV_COUNT(words), words));
    assert_true(e.fast && e.common.json && e.common.seed_given && e.share_given && !e.common.dry_run);
    assert_string_equal(e.out, "b.html");
    assert_int_equal(e.vocab, 300);
    assert_int_equal(e.format, 0);
    assert_true(e.common.seed == UINT64_MAX);
    assert_int_equal(e.inputs.count, 3);
    assert_string_equal(e.inputs.items[2], "z");
    assert_int_equal(e.sets.count, 2);
    assert_string_equal(e.sets.items[1], "b=--c");
    assert_int_equal(e.runs.count, 2);
    assert_string_equal(e.runs.items[0], "run1");
    assert_string_equal(e.runs.items[1], "--run2");
    release(&e);
    const char *attached[] = {"example", "-k512", "-", "-oq"};
    assert_ok(parse(&e, (int)TV_COUNT(attached), attached));
    assert_int_equal(e.vocab, 512);
    assert_string_equal(e.out, "q");
    assert_string_equal(e.runs.items[0], "-");
    assert_int_equal(e.format, 1);
    release(&e);
}

static void mistakes_are_named(void **state) {
    (void)state;
    const struct {
        const char *words[3];
        const char *sentence;
    } cases[] = {
        {{"--inptu", "x", "r"}, "--input"},
        {{"--vocab-size", "255", "r"}, "from 256 to 1000"},
        {{"--vocab-size", "1001", "r"}, "from 256 to 1000"},
        {{"--vocab-size", "3e2", "r"}, "3e2"},
        {{"--vocab-size", "-300", "r"}, "-300"},
        {{"--vocab-size", "", "r"}, "whole number"},
        {{"--seed", "18446744073709551616", "r"}, "whole number"},
        {{"--share", "nan", "r"}, "from 0 to 1"},
        {{"--share", "0.5x", "r"}, "0.5x"},
        {{"--format", "h", "r"}, "hf|gguf"},
        {{"--format", "hf|gguf", "r"}, "one of"},
        {{"--out", "--json", "r"}, "--out=--json"},
        {{"r", "--input", "--json"}, "at least one"},
        {{"r", "--fast=1", "--json"}, "takes no value"},
        {{"r", "--json", "--out"}, "end of the line"},
        {{"", "--json", "--fast"}, "RUN is empty: runs"},
        {{"r", "-x", "--json"}, "-x"},
        {{"--fast", "--json", "--quiet"}, "RUN is missing"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        const char *words[] = {"example", cases[i].words[0], cases[i].words[1], cases[i].words[2]};
        example e;
        tv_status status = parse(&e, 4, words);
        if (status != TV_E_USAGE || !strstr(tv_last_error(), cases[i].sentence) ||
            !strstr(tv_last_error(), "trivium example --help"))
            fail_msg("case %zu: status %d, \"%s\"", i, (int)status, tv_last_error());
        assert_null(e.runs.items);
        assert_null(e.inputs.items);
    }
}

static void the_frame_keeps_its_exit_codes(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("--version");
    assert_int_equal(run.exit_code, 0);
    assert_memory_equal(run.out, "trivium ", 8);
    tv_child_result_free(&run);
    run = tv_run_trivium("--help");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "usage: trivium COMMAND"));
    assert_string_equal(run.err, "");
    tv_child_result_free(&run);
    run = tv_child_run((const char *const[]){TRIVIUM_COMMAND, NULL});
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "trivium: "));
    tv_child_result_free(&run);
    run = tv_run_trivium("sft", "--out", "");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "--out is empty: the run's directory"));
    tv_child_result_free(&run);
    run = tv_run_trivium("frobnicate");
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "frobnicate"));
    assert_string_equal(run.out, "");
    tv_child_result_free(&run);
}

/* A result that did not arrive is none, however long it was and whenever it was written. */
static void what_did_not_arrive_is_no_success(void **state) {
    (void)state;
    static const char *const words[] = {"--version", "--help", "settings", "settings --json", "sft --help"};
    for (size_t i = 0; i < TV_COUNT(words); i++) {
        char *command = tv_format("exec %s %s > /dev/full", TRIVIUM_COMMAND, words[i]);
        tv_child_result run = tv_child_run((const char *const[]){"/bin/sh", "-c", command, NULL});
        tv_expect_sentence(&run, 1, "cannot write to standard output", words[i]);
        tv_child_result_free(&run);
        free(command);
    }
}

/* No prose is wider than the rest of the help, and nothing is parted by more than one blank line. */
static void check_layout(const char *help) {
    if (strstr(help, "\n\n\n"))
        fail_msg("two blank lines together in\n%s", help);
    while (*help) {
        size_t width = strcspn(help, "\n");
        if (*help != ' ' && width > 96)
            fail_msg("wider than 96 columns: %s", help);
        help += width + (help[width] == '\n');
    }
}

/* Runs "trivium WORDS... --help" and, where that lists commands, the same for each of them. */
static void check_help(const char *const *words, size_t count) {
    const char *argv[8] = {TRIVIUM_COMMAND};
    for (size_t i = 0; i < count; i++)
        argv[1 + i] = words[i];
    argv[1 + count] = "--help";
    tv_child_result run = tv_child_run(argv);
    if (run.exit_code != 0 || strncmp(run.out, "usage: trivium", 14) != 0 || run.err[0])
        fail_msg("%s --help: exit code %d, %s", count ? words[count - 1] : "", run.exit_code, run.err);
    check_layout(run.out);
    argv[1 + count] = "--no-such-option";
    tv_child_result wrong = tv_child_run(argv);
    if (wrong.exit_code != 2 || wrong.out[0] || strncmp(wrong.err, "trivium", 7) != 0)
        fail_msg("%s --no-such-option: exit code %d, %s", count ? words[count - 1] : "", wrong.exit_code,
                 wrong.err);
    tv_child_result_free(&wrong);
    char *list = strstr(run.out, "\ncommands:\n");
    char *end = list ? strstr(list + 2, "\n\n") : NULL;
    if (end)
        *end = '\0';
    char *rest = NULL;
    for (char *row = list ? strtok_r(list + 11, "\n", &rest) : NULL; row; row = strtok_r(NULL, "\n", &rest)) {
        /* Rows start after two spaces; what is deeper is a wrapped summary. */
        if (strlen(row) < 3 || row[2] == ' ' || count == 2)
            continue;
        row[2 + strcspn(row + 2, " ")] = '\0';
        const char *deeper[3] = {count ? words[0] : row + 2, count ? row + 2 : NULL};
        check_help(deeper, count + 1);
    }
    tv_child_result_free(&run);
}

static void every_command_has_help(void **state) {
    (void)state;
    check_help(NULL, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_option_arrives),   cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(the_frame_keeps_its_exit_codes), cmocka_unit_test(what_did_not_arrive_is_no_success),
        cmocka_unit_test(every_command_has_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
