/* A run's directory from somebody else is data: resuming it runs no program that it names, unless the person
 * gives that program on this command line, or is shown it at a terminal and says yes.
 *
 * Tried: the state's program run unasked (as it once was): the stranger's mark is there in every case.
 */
#include "support/support.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/small_run.h"

typedef struct fixture {
    tv_answering place;
    char *run;     /* one of two iterations is done; its state names the stranger's program */
    char *mark;    /* the file that the stranger's program makes */
    char *program; /* the stranger's */
} fixture;

/* The state as somebody else hands it on: with another program, and no word of what it was. */
static void name_program(const fixture *f, const char *program) {
    char *path = tv_format("%s/checkpoints/step-1/ppo_state.json", f->run);
    char *trainer = tv_format("%s/checkpoints/step-1/trainer_state.json", f->run);
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    assert_true(cJSON_ReplaceItemInObjectCaseSensitive(root, "reward_cmd", cJSON_CreateString(program)));
    assert_ok(tv_json_write_file(path, root));
    cJSON_Delete(root);
    /* Whoever makes a directory makes its checksums too, or leaves them out. */
    assert_ok(tv_json_read_file(trainer, &root));
    cJSON_DeleteItemFromObjectCaseSensitive(root, "checksums");
    assert_ok(tv_json_write_file(trainer, root));
    cJSON_Delete(root);
    free(trainer);
    free(path);
}

static int set_up(void **state) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    f->place = tv_answering_create(TV_ARCH_GPT2, 10);
    f->run = tv_answering_path(&f->place, "given");
    f->mark = tv_answering_path(&f->place, "mark");
    f->program = tv_format("touch %s; while read -r line; do echo 1; done", f->mark);
    tv_child_result run =
        tv_run_trivium("ppo", "--model", f->place.model, "--prompts", f->place.prompts, "--out", f->run,
                       "--reward-cmd", "while read -r line; do echo 1; done", "--quiet", "--set",
                       "ppo.prompts=4", "--set", "ppo.minibatch=2", "--set", "ppo.max_new_tokens=4", "--set",
                       "ppo.epochs=1", "--set", "ppo.iterations=9", "--stop-after", "1");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    name_program(f, f->program);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    fixture *f = *state;
    tv_answering_destroy(&f->place);
    tv_free_all(f->program, f->mark, f->run, f);
    return 0;
}

static void nobody_to_ask_is_a_no(void **state) {
    const fixture *f = *state;
    char *before = tv_tree_text(f->run);
    tv_child_result run = tv_run_trivium("ppo", "--out", f->run, "--resume", "--quiet", "--stop-after", "1");
    tv_expect_exit(&run, 2);
    assert_non_null(strstr(run.err, f->program));
    assert_non_null(strstr(run.err, "ppo_state.json"));
    assert_non_null(strstr(run.err, "--reward-cmd"));
    tv_child_result_free(&run);
    assert_false(tv_path_exists(f->mark));
    char *after = tv_tree_text(f->run);
    assert_string_equal(before, after);
    free(after);
    free(before);
}

static void a_dry_run_shows_it(void **state) {
    const fixture *f = *state;
    tv_child_result run = tv_run_trivium("ppo", "--out", f->run, "--resume", "--quiet", "--dry-run");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, f->program));
    assert_non_null(strstr(run.out, "it fits"));
    tv_child_result_free(&run);
    assert_false(tv_path_exists(f->mark));
}

/* Resumes at a terminal of its own and types `answer` once it is asked; what was shown, for the caller to
 * free. */
static char *resume_at_terminal(const fixture *f, const char *answer, int *exit_code) {
    int terminal, status = 0;
    char *shown = tv_format("%s", "");
    bool answered = false;
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(TRIVIUM_COMMAND, "trivium", "ppo", "--out", f->run, "--resume", "--stop-after", "1",
              (char *)NULL);
        _exit(127);
    }
    for (;;) {
        char bytes[512];
        struct pollfd ready = {.fd = terminal, .events = POLLIN};
        if (poll(&ready, 1, 60000) <= 0) {
            kill(pid, SIGKILL);
            fail_msg("nothing comes any more; shown so far:\n%s", shown);
        }
        ssize_t size = read(terminal, bytes, sizeof bytes);
        if (size <= 0) /* EIO: its end */
            break;
        char *more = tv_format("%s%.*s", shown, (int)size, bytes);
        free(shown);
        shown = more;
        if (!answered && strstr(shown, "[y/N]")) {
            answered = true;
            assert_int_equal(write(terminal, answer, strlen(answer)), strlen(answer));
        }
    }
    close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    *exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (!answered)
        fail_msg("nobody was asked:\n%s", shown);
    return shown;
}

static void a_person_is_shown_it_and_asked(void **state) {
    const fixture *f = *state;
    static const char *const no[] = {"\n", "n\n", "yesterday\n", "\x04"};
    int exit_code;
    char *shown, *command = tv_format("touch %s", f->mark);
    for (size_t i = 0; i < TV_COUNT(no); i++) {
        shown = resume_at_terminal(f, no[i], &exit_code);
        assert_int_equal(exit_code, 2);
        assert_non_null(strstr(shown, command));
        assert_false(tv_path_exists(f->mark));
        free(shown);
    }
    shown = resume_at_terminal(f, "y\n", &exit_code);
    if (exit_code != 0)
        fail_msg("exit code %d:\n%s", exit_code, shown);
    assert_true(tv_path_exists(f->mark));
    free(shown);
    free(command);
}

/* One that does not fit before the question is not asked about: its end could say anything. */
static void one_too_long_to_show_is_refused(void **state) {
    const fixture *f = *state;
    int exit_code, terminal = -1, status = 0;
    char *program = tv_format("true %01200d; touch %s", 0, f->mark);
    assert_ok(tv_remove_tree(f->mark));
    char *last = tv_format("%s/checkpoints/step-2", f->run);
    assert_ok(tv_remove_tree(last));
    name_program(f, program);
    pid_t pid = forkpty(&terminal, NULL, NULL, NULL);
    assert_true(pid >= 0);
    if (pid == 0) {
        execl(TRIVIUM_COMMAND, "trivium", "ppo", "--out", f->run, "--resume", (char *)NULL);
        _exit(127);
    }
    char bytes[512];
    while (read(terminal, bytes, sizeof bytes) > 0)
        continue;
    close(terminal);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    assert_int_equal(exit_code, 2);
    assert_false(tv_path_exists(f->mark));
    free(last);
    free(program);
}

static void one_that_is_given_runs(void **state) {
    const fixture *f = *state;
    tv_trivium_exits(0, "ppo", "--out", f->run, "--resume", "--quiet", "--reward-cmd",
                     "while read -r line; do echo 2; done", "--stop-after", "1");
    assert_false(tv_path_exists(f->mark));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_to_ask_is_a_no),          cmocka_unit_test(a_dry_run_shows_it),
        cmocka_unit_test(a_person_is_shown_it_and_asked), cmocka_unit_test(one_too_long_to_show_is_refused),
        cmocka_unit_test(one_that_is_given_runs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
