/* What a person sees: sentences with hostile names in them, and texts on a terminal (a pseudo-terminal here),
 * go through one sanitizer; what a program or a file gets keeps its bytes.
 *
 * Tried: log lines, the last sentence, generate's prompt and the tokenizer's texts printed as they are. Each
 * fails.
 */
#include "support/small_model.h"

#include <pty.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "support/small_run.h"

/* An escape sequence, a bell, a right-to-left override, C1's way of saying "escape [", a line of its own. */
#define HOSTILE                                                                                              \
    "\x1b[31m\x07\xe2\x80\xae\xc2\x9b"                                                                       \
    "2J\nerror: x"
#define SHOWN "\\x1b[31m\\x07\\u202e\\u009b2J"

static int set_up(void **state) {
    return tv_small_model_make(state);
}

static void expect_clean(const char *text, const char *what) {
    for (const char *at = text; *at; at++)
        if (((unsigned char)*at < 0x20 && *at != '\n') || *at == 0x7f)
            fail_msg("%s: a control character \\x%02x in: %s", what, (unsigned char)*at, text);
    if (strstr(text, "\xe2\x80\xae") || strstr(text, "\xc2\x9b"))
        fail_msg("%s: a hidden character in: %s", what, text);
}

/* Names of files, keys and values come from strangers too. */
static void sentences_and_log_lines_are_clean(void **state) {
    const tv_small_model *small = *state;
    static const struct {
        const char *data, *what;
    } cases[] = {
        {"{\"prompt\": \"a\", \"" HOSTILE "\": 1}\n", "a key"},
        {"{\"prompt\": \"a\", \"completion\": \"b\"}\n{\"messages\": \"\\u001b[2J\\u202e\\u0007\"}\n",
         "a value"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *data = tv_small_model_file(small, "bad.jsonl", cases[i].data);
        tv_child_result run =
            tv_run_trivium("sft", "--model", small->model, "--data", data, "--out", "/nonexistent/x");
        tv_expect_exit(&run, 2);
        expect_clean(run.err, cases[i].what);
        tv_child_result_free(&run);
        free(data);
    }
    const char *const commands[][3] = {{"sft", "--model", HOSTILE},    {"prefs", "--rankings", HOSTILE},
                                       {HOSTILE, "--model", HOSTILE},  {"sft", "--" HOSTILE, "x"},
                                       {"generate", "--prompt", NULL}, {"data", "pack", HOSTILE}};
    for (size_t i = 0; i < TV_COUNT(commands); i++) {
        tv_child_result run = tv_run_trivium(commands[i][0], commands[i][1], commands[i][2]);
        tv_expect_exit(&run, 2);
        expect_clean(run.err, commands[i][0]);
        tv_child_result_free(&run);
    }
    /* And a log line: the name of a file that is read. */
    char *data = tv_small_model_file(small, HOSTILE ".jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    tv_child_result run =
        tv_run_trivium("sft", "--model", small->model, "--data", data, "--out", small->dir, "--dry-run");
    expect_clean(run.err, "a log line");
    if (!strstr(run.err, SHOWN "\\x0aerror: x.jsonl"))
        fail_msg("the name is not shown: %s", run.err);
    tv_child_result_free(&run);
    free(data);
}

/* What the command prints on a terminal, both streams; the caller frees. */
static char *on_terminal(const char *const *argv) {
    int terminal = -1;
    const struct winsize size = {.ws_row = 24, .ws_col = 200};
    pid_t pid = forkpty(&terminal, NULL, NULL, &size);
    assert_true(pid >= 0);
    if (pid == 0) {
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    size_t used = 0;
    /* Reading ends with EIO once the program has gone. */
    for (ssize_t got; used + 1 < 1 << 16 && (got = read(terminal, text + used, (1 << 16) - 1 - used)) > 0;)
        used += (size_t)got;
    close(terminal);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail_msg("%s %s: %s", argv[0], argv[1], text);
    /* The terminal itself ends lines with CR LF. */
    size_t kept = 0;
    for (size_t i = 0; i < used; i++)
        if (text[i] != '\r' || text[i + 1] != '\n')
            text[kept++] = text[i];
    text[kept] = '\0';
    return text;
}
#define ON_TERMINAL(...) on_terminal((const char *const[]){TRIVIUM_COMMAND, __VA_ARGS__, NULL})

static void texts_are_clean_on_a_terminal_and_whole_elsewhere(void **state) {
    const tv_small_model *small = *state;
    static const char hostile[] = "a\x1b[31m\x07\xe2\x80\xaez";
    char *text = ON_TERMINAL("generate", "--model", small->model, "--prompt", hostile, "--max-tokens", "60",
                             "--temperature", "2", "--quiet");
    expect_clean(text, "generate");
    if (strncmp(text, "a\\x1b[31m\\x07\\u202ez", 19) != 0)
        fail_msg("the prompt is not shown: %s", text);
    free(text);
    tv_child_result run = tv_run_trivium("generate", "--model", small->model, "--prompt", hostile,
                                         "--max-tokens", "1", "--quiet");
    tv_expect_exit(&run, 0);
    assert_int_equal(strncmp(run.out, hostile, sizeof hostile - 1), 0);
    tv_child_result_free(&run);

    run = tv_run_trivium("tokenizer", "encode", "--tokenizer", small->model, "--text", hostile);
    tv_expect_exit(&run, 0);
    text = ON_TERMINAL("tokenizer", "decode", "--tokenizer", small->model, "--text", run.out);
    assert_string_equal(text, "a\\x1b[31m\\x07\\u202ez");
    free(text);
    text = ON_TERMINAL("tokenizer", "decode", "--tokenizer", small->model, "--text", run.out, "--json");
    expect_clean(text, "tokenizer decode --json");
    free(text);
    tv_child_result decoded =
        tv_run_trivium("tokenizer", "decode", "--tokenizer", small->model, "--text", run.out);
    assert_string_equal(decoded.out, hostile);
    tv_child_result_free(&decoded);
    tv_child_result_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentences_and_log_lines_are_clean),
        cmocka_unit_test(texts_are_clean_on_a_terminal_and_whole_elsewhere),
    };
    return cmocka_run_group_tests(tests, set_up, tv_small_model_remove);
}
