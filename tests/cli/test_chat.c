/* trivium chat through a pipe, on a small published model that speaks noise: control characters included.
 *
 * Seen to fail with: answers left out of the conversation, the turn's number not set back by /reset, and
 * control characters printed as they are.
 */
#include "support/small_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "text/visible_text.h"

/* What chat makes of these lines; the options are one text for the shell. */
static tv_child_result chat(const tv_small_model *small, const char *lines, const char *options) {
    char *input = tv_small_model_file(small, "lines", lines);
    char *command = tv_format("exec %s chat --model %s --max-tokens 12 %s < %s", TRIVIUM_COMMAND,
                              small->model, options, input);
    const char *const argv[] = {"/bin/sh", "-c", command, NULL};
    tv_child_result run = tv_child_run(argv);
    free(command);
    free(input);
    return run;
}

static void assert_done(const tv_child_result *run) {
    if (run->exit_code != 0)
        fail_msg("exit %d: %s", run->exit_code, run->err);
}

/* Answers may hold line ends of their own, so they are cut out by what stands before them. */
static void conversations_are_kept_until_reset(void **state) {
    const tv_small_model *small = *state;
    tv_child_result one = chat(small, "It was\n", "--temperature 0"),
                    two = chat(small, "It was\nand\n", "--temperature 0"),
                    alone = chat(small, "and\n", "--temperature 0"),
                    again = chat(small, "and\n/reset\nIt was\n\nand", "--temperature 0"),
                    quit = chat(small, "It was\n/quit\nand\n", "--temperature 0 --quiet");
    assert_done(&one);
    assert_done(&two);
    assert_done(&alone);
    assert_done(&again);
    assert_done(&quit);
    /* The second answer comes behind the first, and is not what the message alone is answered with. */
    size_t first = strlen(one.out);
    assert_int_equal(strncmp(two.out, one.out, first), 0);
    assert_true(strlen(two.out) > first);
    assert_string_not_equal(two.out + first, alone.out);
    /* After /reset the conversation is the one above; an empty line says nothing and the last needs no end.
     */
    size_t before = strlen(alone.out);
    assert_int_equal(strncmp(again.out, alone.out, before), 0);
    assert_string_equal(again.out + before, two.out);
    assert_string_equal(quit.out, one.out);
    assert_string_equal(quit.err, "");
    /* How many tokens and how fast, behind each answer. */
    const char *speed = strstr(two.err, " tokens/s\n");
    assert_non_null(speed);
    assert_non_null(strstr(speed + 1, " tokens/s\n"));
    while (speed > two.err && speed[-1] != ' ')
        speed--;
    assert_true(strtod(speed, NULL) > 0);
    assert_null(strstr(one.out, "tokens/s"));
    /* Answers count too: behind a shorter one the same message is answered in another way. */
    tv_child_result cut = chat(small, "It was\n", "--temperature 0 --max-tokens 3"),
                    after = chat(small, "It was\nand\n", "--temperature 0 --max-tokens 3");
    assert_done(&after);
    assert_non_null(strstr(cut.err, "\n3 tokens, "));
    const char *second = after.out + strlen(cut.out);
    assert_true(strlen(second) > 1);
    assert_int_not_equal(strncmp(two.out + first, second, strlen(second) - 1), 0);
    tv_child_result_free(&cut);
    tv_child_result_free(&after);
    assert_non_null(strstr(again.err, "begins anew"));
    assert_non_null(strstr(one.err, "turns end with <|im_end|>"));
    tv_child_result_free(&one);
    tv_child_result_free(&two);
    tv_child_result_free(&alone);
    tv_child_result_free(&again);
    tv_child_result_free(&quit);
}

static void seeds_decide_and_system_messages_count(void **state) {
    const tv_small_model *small = *state;
    tv_child_result a = chat(small, "It was\n/reset\nIt was\n", "--seed 3"),
                    b = chat(small, "It was\n", "--seed 3"), c = chat(small, "It was\n", "--seed 4"),
                    d = chat(small, "It was\n", "--seed 3 --system 'Be brief.'");
    assert_done(&a);
    assert_done(&d);
    /* The same draws after /reset. */
    size_t length = strlen(b.out);
    assert_int_equal(strlen(a.out), 2 * length);
    assert_int_equal(strncmp(a.out, b.out, length), 0);
    assert_string_equal(a.out + length, b.out);
    assert_string_not_equal(b.out, c.out);
    assert_string_not_equal(b.out, d.out);
    tv_child_result_free(&a);
    tv_child_result_free(&b);
    tv_child_result_free(&c);
    tv_child_result_free(&d);
}

/* Without --seed answers differ from one beginning to the next, and the log tells how to have one again. */
static void seeds_are_new_unless_given(void **state) {
    const tv_small_model *small = *state;
    tv_child_result run = chat(small, "It was\n/reset\nIt was\n", "--temperature 1"),
                    other = chat(small, "It was\n", "--temperature 1");
    assert_done(&run);
    assert_done(&other);
    const char *first = strstr(run.err, "--seed "), *second = first ? strstr(first + 1, "--seed ") : NULL;
    assert_non_null(second);
    char *seeds[2], *texts[2];
    for (int i = 0; i < 2; i++) {
        seeds[i] = tv_format("--temperature 1 --seed %llu", strtoull((i ? second : first) + 7, NULL, 10));
        tv_child_result again = chat(small, "It was\n", seeds[i]);
        assert_done(&again);
        texts[i] = tv_format("%s", again.out);
        tv_child_result_free(&again);
        free(seeds[i]);
    }
    char *both = tv_format("%s%s", texts[0], texts[1]);
    assert_string_equal(run.out, both);
    assert_string_not_equal(texts[0], texts[1]);
    assert_string_not_equal(texts[0], other.out);
    for (int i = 0; i < 2; i++)
        free(texts[i]);
    free(both);
    tv_child_result_free(&run);
    tv_child_result_free(&other);
}

static void commands_do_what_they_say(void **state) {
    const tv_small_model *small = *state;
    char *path = tv_format("%s/saved.jsonl", small->dir);
    char *lines =
        tv_format("/save %s\n/system\n/system  Be brief.\n/system\nIt was\n//quit\n/save %s\n/save %s\n"
                  "/sytem x\n/save\n/save %s/config.json\n/help\n/system -\nand\n/quit\nnever\n",
                  path, path, path, small->model);
    tv_child_result run = chat(small, lines, "--temperature 0 --max-tokens 2"),
                    plain =
                        chat(small, "It was\n/quit\n", "--temperature 0 --max-tokens 2 --system 'Be brief.'"),
                    bare = chat(small, "and\n", "--temperature 0 --max-tokens 2");
    assert_done(&run);
    assert_done(&plain);
    assert_done(&bare);
    assert_int_equal(strncmp(run.out, plain.out, strlen(plain.out)), 0);
    assert_true(strlen(run.out) > strlen(bare.out));
    assert_string_equal(run.out + strlen(run.out) - strlen(bare.out), bare.out);
    const char *const said[] = {"nothing was said yet",
                                "no system message",
                                "message is: Be brief.",
                                "5 messages",
                                "5 messages",
                                "nearest known one is /system",
                                "name of a file",
                                "config.json: expected the name of a new file",
                                "/reset",
                                "without a system"};
    const char *at = run.err;
    for (size_t i = 0; i < sizeof said / sizeof *said; i++) {
        at = strstr(at, said[i]);
        if (!at)
            fail_msg("not said, or not in order: %s: %s", said[i], run.err);
        at++;
    }
    static const struct {
        const char *role, *content;
    } messages[] = {{"system", "Be brief."},
                    {"user", "It was"},
                    {"assistant", NULL},
                    {"user", "/quit"},
                    {"assistant", NULL}};
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    assert_int_equal(cJSON_GetArraySize(tv_json_get(root, "messages")), TV_COUNT(messages));
    for (int i = 0; i < (int)TV_COUNT(messages); i++) {
        const cJSON *item = cJSON_GetArrayItem(tv_json_get(root, "messages"), i);
        assert_string_equal(tv_json_get(item, "role")->valuestring, messages[i].role);
        if (messages[i].content)
            assert_string_equal(tv_json_get(item, "content")->valuestring, messages[i].content);
    }
    cJSON_Delete(root);
    tv_child_result_free(&run);
    tv_child_result_free(&plain);
    tv_child_result_free(&bare);
    free(lines);
    free(path);
}

/* generate --chat prints the bytes of the same answer. */
static void the_first_answer_is_that_of_generate(void **state) {
    const tv_small_model *small = *state;
    tv_child_result run = chat(small, "It was\n", "--seed 6 --temperature 1");
    tv_child_result generated =
        tv_run_trivium("generate", "--model", small->model, "--prompt", "It was", "--chat", "--max-tokens",
                       "12", "--seed", "6", "--temperature", "1", "--quiet");
    assert_done(&run);
    assert_done(&generated);
    tv_text shown = {0};
    assert_ok(tv_visible_text(generated.out, strlen(generated.out), &shown));
    assert_ok(tv_text_append(&shown, "", 1));
    assert_string_equal(run.out, (const char *)shown.data);
    /* A vocabulary of bytes: without escapes the test would show nothing. */
    assert_non_null(strstr(run.out, "\\x"));
    tv_text_free(&shown);
    tv_child_result plain =
        tv_run_trivium("generate", "--model", small->model, "--prompt", "It was", "--max-tokens", "12",
                       "--seed", "6", "--temperature", "1", "--quiet");
    assert_int_equal(strncmp(plain.out, "It was", 6), 0);
    assert_string_not_equal(plain.out + 6, generated.out);
    tv_child_result_free(&plain);
    tv_child_result_free(&generated);
    tv_child_result_free(&run);
}

static void a_full_context_forgets_the_oldest(void **state) {
    const tv_small_model *small = *state;
    tv_child_result run = chat(small, "one two\nthree four\nfive six\nseven\n", "--context 64");
    assert_done(&run);
    assert_non_null(strstr(run.err, "the oldest 1 turns are forgotten"));
    tv_child_result_free(&run);
    char line[400];
    memset(line, 'q', sizeof line);
    memcpy(line + sizeof line - 5, "\nhi\n", 5);
    run = chat(small, line, "--temperature 0 --quiet");
    tv_child_result small_one = chat(small, "hi\n", "--temperature 0 --quiet");
    assert_done(&run);
    assert_non_null(strstr(run.err, "it was left out"));
    assert_string_equal(run.out, small_one.out);
    tv_child_result_free(&run);
    tv_child_result_free(&small_one);
}

static void controls_are_shown(void **state) {
    (void)state;
    const char bytes[] = "a\x1b[2J\tb\n\xc3\xa9\xc2\x9b\xff\x7f\x00z\r";
    tv_text out = {0};
    assert_ok(tv_visible_text(bytes, sizeof bytes - 1, &out));
    assert_ok(tv_text_append(&out, "", 1));
    assert_string_equal((const char *)out.data, "a\\x1b[2J    b\n\xc3\xa9\\u009b\\xff\\x7f\\x00z\\x0d");
    tv_text_free(&out);
}

static void mistakes_give_exit_code_2(void **state) {
    const tv_small_model *small = *state;
    const char *const cases[][2] = {{"--model", "/nonexistent"}, {"--temperature", "-1"}, {"--contxt", "64"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_child_result run = tv_run_trivium("chat", "--model", small->model, cases[i][0], cases[i][1]);
        assert_int_equal(run.exit_code, 2);
        assert_int_equal(strncmp(run.err, "trivium chat: ", 14), 0);
        tv_child_result_free(&run);
    }
}

static int make(void **state) {
    return tv_small_model_make(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(conversations_are_kept_until_reset),
        cmocka_unit_test(seeds_decide_and_system_messages_count),
        cmocka_unit_test(seeds_are_new_unless_given),
        cmocka_unit_test(commands_do_what_they_say),
        cmocka_unit_test(the_first_answer_is_that_of_generate),
        cmocka_unit_test(a_full_context_forgets_the_oldest),
        cmocka_unit_test(controls_are_shown),
        cmocka_unit_test(mistakes_give_exit_code_2),
    };
    return cmocka_run_group_tests(tests, make, tv_small_model_remove);
}
