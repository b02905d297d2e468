/* Programs that answer questions: which question an answer belongs to, and lines that belong to none.
 *
 * Tried: no look at what waits before a question, at unread questions, or at what is left at the end; ids
 * taken for granted; several questions out without ids; the second answer to a question. Each fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/dialogue.h"
#include "base/files.h"
#include "base/os.h"

enum { MOST = 4 };

static tv_dialogue *start(const char *command) {
    tv_dialogue *d = NULL;
    assert_ok(tv_dialogue_start(command, MOST, &d));
    return d;
}

/* Question number n is {"id":n}. */
static tv_status ask(tv_dialogue *d, uint64_t n) {
    char *id = tv_format("%llu", (unsigned long long)n), *line = tv_format("{\"id\":%s}", id);
    tv_status status = tv_dialogue_ask(d, n, id, line, strlen(line));
    free(line);
    free(id);
    return status;
}

/* All of `count` questions, as many at a time as the dialogue takes; bit n: question n was answered with the
 * number n. `most` is how many were out at once. */
static tv_status talk(const char *command, uint64_t count, uint64_t *answered, uint64_t *most) {
    tv_dialogue *d = start(command);
    tv_status status = TV_OK;
    uint64_t asked = 0;
    *answered = *most = 0;
    for (uint64_t taken = 0; taken < count; taken++) {
        for (; asked < count && tv_dialogue_takes_more(d); asked++)
            TV_TRY(ask(d, asked));
        *most = tv_max_u64(*most, tv_dialogue_outstanding(d));
        tv_answer answer;
        TV_TRY(tv_dialogue_answer(d, &answer));
        int64_t said = -1;
        if (answer.object)
            assert_ok(tv_json_integer(answer.object, "n", "answer", 0, 63, -1, &said));
        else
            said = strtoll(answer.line, NULL, 10);
        if (said == (int64_t)answer.question)
            *answered |= UINT64_C(1) << said;
    }
    TV_TRY(tv_dialogue_finish(d));
done:
    tv_dialogue_close(&d);
    return status;
}

/* A shell program in a file: `n` is the number of the question that was read. */
static char *program(const char *before, const char *answer, const char *after) {
    static int number;
    char *path = tv_format("%s/%d.sh", tv_test_folder, number++);
    char *script = tv_format("%s\nwhile read -r line; do n=${line#*:}; n=${n%%\\}}; %s\ndone\n%s\n", before,
                             answer, after);
    char *command = tv_format("exec sh %s", path);
    assert_ok(tv_write_file(path, script, strlen(script)));
    free(script);
    free(path);
    return command;
}

static void without_ids_one_question_is_out(void **state) {
    (void)state;
    char *command = program("", "echo $n", "");
    uint64_t answered, most;
    assert_ok(talk(command, 9, &answered, &most));
    assert_int_equal(answered, 0x1ff);
    assert_int_equal(most, 1);
    free(command);
}

/* The first question alone, then four at a time, answered the last one first. */
static void ids_permit_any_order(void **state) {
    (void)state;
    static const char answers[] =
        "if [ $n = 0 ]; then echo '{\"n\":0,\"id\":0}'; else all=\"$n $all\"; fi; if [ $((n % 4)) = 0 ]; "
        "then "
        "for m in $all; do echo \"{\\\"id\\\":\\\"$m\\\",\\\"n\\\":$m}\"; done; all=; fi";
    char *command = program("", answers, "");
    uint64_t answered, most;
    assert_ok(talk(command, 9, &answered, &most));
    assert_int_equal(answered, 0x1ff);
    assert_int_equal(most, MOST);
    free(command);
}

/* One that names no id any more gets one question at a time again. */
static void ids_may_end(void **state) {
    (void)state;
    char *command = program("", "if [ $n = 0 ]; then echo '{\"id\":0,\"n\":0}'; else echo $n; fi", "");
    uint64_t answered, most;
    tv_status status = talk(command, 2, &answered, &most);
    assert_int_equal(status, TV_OK);
    assert_int_equal(answered, 3);
    status = talk(command, 9, &answered, &most);
    assert_fails(status, TV_E_DATA, "expected the \"id\" of one of them");
    free(command);
}

static const char once[] = "expected one line for each question";

/* A line more than there are questions is said, wherever it stands, and however slow the program is; where a
 * clock decides, the sentence may be that of another place. */
static void a_line_too_many_is_found(void **state) {
    (void)state;
    static const struct {
        const char *before, *answer, *after, *words;
    } cases[] = {
        {"echo 0", "echo $n", "", once},
        {"echo 0", "sleep 0.05; echo $n", "", once},
        {"sleep 0.2; echo 0", "sleep 0.05; echo $n", "", once},
        {"", "echo $n; [ $n = 2 ] && echo 3", "", once},
        {"", "echo $n; [ $n = 2 ] && sleep 0.05 && echo 3", "", once},
        {"", "echo $n; [ $n = 5 ] && echo 6", "", "after its last answer"},
        {"", "echo $n; [ $n = 5 ] && sleep 0.1 && echo 6", "", "after its last answer"},
        {"", "echo $n", "printf bye", "wrote \"bye\" after its last answer"},
        {"", "echo $n", "echo", "after its last answer"},
        {"", "echo \"{\\\"id\\\":$n,\\\"n\\\":$n}\"; [ $n = 2 ] && echo '{\"id\":2,\"n\":2}'", "",
         "answered a question \"2\", which is not out"},
        {"", "echo \"{\\\"id\\\":$n,\\\"n\\\":$n}\"; [ $n = 2 ] && echo '{\"id\":7,\"n\":7}'", "",
         "answered a question \"7\", which is not out"},
        {"", "echo \"{\\\"id\\\":[$n]}\"", "", "found neither text nor number"},
        {"", "echo \"{\\\"id\\\":$n,\\\"n\\\":$n}\"; [ $n = 5 ] && echo '{\"id\":5}'", "",
         "after its last answer"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        char *command = program(cases[i].before, cases[i].answer, cases[i].after);
        uint64_t answered, most;
        tv_status status = talk(command, 6, &answered, &most);
        if (status != TV_E_DATA || !strstr(tv_last_error(), cases[i].words))
            fail_msg("case %zu: status %d, expected \"%s\", found \"%s\"", i, status, cases[i].words,
                     tv_last_error());
        free(command);
    }
}

/* What lies in the pipe before a question is asked, and an answer to a question that was not read: no clock
 * decides. */
static void an_answer_comes_after_its_question(void **state) {
    (void)state;
    tv_dialogue *d = start("read -r line; printf '0\\nearly\\n'; read -r line");
    tv_answer answer;
    assert_ok(ask(d, 0));
    assert_ok(tv_dialogue_answer(d, &answer));
    assert_fails(ask(d, 1), TV_E_DATA, "wrote \"early\" before it was asked");
    tv_dialogue_close(&d);
    char *dir = tv_test_dir(), *asked = tv_format("%s/asked", dir),
         *command = tv_format("while [ ! -e '%s' ]; do sleep 0.01; done; echo early; sleep 30", asked);
    d = start(command);
    assert_ok(ask(d, 0));
    assert_ok(tv_write_file(asked, "", 0));
    assert_fails(tv_dialogue_answer(d, &answer), TV_E_DATA,
                 "wrote \"early\" before it had read the question");
    tv_dialogue_close(&d);
    tv_test_dir_remove(&dir);
    tv_free_all(asked, command);
}

static void the_question_that_waits_is_named(void **state) {
    (void)state;
    char *command = program("", "[ $n = 3 ] && exit 4; echo \"{\\\"id\\\":$n}\"", "");
    tv_dialogue *d = start(command);
    tv_answer answer;
    tv_status status = TV_OK;
    uint64_t asked = 0;
    while (status == TV_OK && asked < 20) {
        for (; tv_dialogue_takes_more(d); asked++)
            assert_ok(ask(d, asked));
        status = tv_dialogue_answer(d, &answer);
    }
    assert_int_equal(status, TV_E_DATA);
    assert_int_equal(answer.question, 3);
    assert_non_null(strstr(tv_last_error(), "ended with exit code 4"));
    tv_dialogue_close(&d);
    assert_null(d);
    tv_dialogue_close(&d);
    free(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_ids_one_question_is_out),
        cmocka_unit_test(ids_permit_any_order),
        cmocka_unit_test(ids_may_end),
        cmocka_unit_test(a_line_too_many_is_found),
        cmocka_unit_test(an_answer_comes_after_its_question),
        cmocka_unit_test(the_question_that_waits_is_named),
    };
    return cmocka_run_group_tests(tests, tv_test_folder_make, tv_test_folder_remove);
}
