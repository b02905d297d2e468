/* trivium chat before a person: a pseudo-terminal on which keys are pressed. What was said is read from the
 * file that /save writes.
 *
 * Seen to fail with: the terminal's own line editing, Ctrl-C as a signal there, a locale without UTF-8,
 * interrupts that were not forgotten, a row that Ctrl-C says instead of dropping.
 */
#include "support/small_model.h"

#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/os.h"

static const double patience = 60; /* seconds: machines are shared */

typedef struct person {
    int terminal;
    pid_t pid;
    char *seen;          /* all that was shown */
    size_t size, looked; /* how far expect() has looked */
} person;

/* Answers of 3,000 tokens that no end token ends: room to press Ctrl-C in. */
static int set_up(void **state) {
    if (tv_small_model_make(state) != 0)
        return -1;
    const tv_small_model *small = *state;
    char *path = tv_format("%s/config.json", small->model);
    cJSON *config = NULL;
    assert_ok(tv_json_read_file(path, &config));
    assert_true(tv_json_set_number(config, "max_position_embeddings", 4096));
    assert_ok(tv_json_write_file(path, config));
    cJSON_Delete(config);
    free(path);
    return 0;
}

static person sit_down(const tv_small_model *small, const char *max_tokens) {
    person p = {.seen = calloc(1, 1 << 20)};
    assert_non_null(p.seen);
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    p.pid = forkpty(&p.terminal, NULL, NULL, &size);
    assert_true(p.pid >= 0);
    if (p.pid == 0) {
        setenv("TERM", "xterm", 1);
        setenv("LC_ALL", "C", 1);
        setenv("HOME", small->dir, 1);
        execl(TRIVIUM_COMMAND, TRIVIUM_COMMAND, "chat", "--model", small->model, "--temperature", "0",
              "--max-tokens", max_tokens, (char *)NULL);
        _exit(127);
    }
    return p;
}

static void press(person *p, const char *keys) {
    size_t size = strlen(keys);
    assert_int_equal(write(p->terminal, keys, size), (ssize_t)size);
}

static const char *last_of(const person *p) {
    return p->seen + (p->size > 300 ? p->size - 300 : 0);
}

/* Reads what is shown until `text` is there, behind what was expected before; NULL: until the end, pressing
 * `keys` (NULL: none) again and again: what is typed while libedit takes the terminal over, behind its
 * prompt, is lost. */
static void expect_pressing(person *p, const char *text, const char *keys) {
    double end = tv_seconds() + patience, pressed = 0;
    for (;;) {
        if (keys && tv_seconds() - pressed > 0.5) {
            (void)!write(p->terminal, keys, strlen(keys)); /* it may have ended meanwhile */
            pressed = tv_seconds();
        }
        char *found = text ? strstr(p->seen + p->looked, text) : NULL;
        if (found) {
            p->looked = (size_t)(found - p->seen) + strlen(text);
            return;
        }
        struct pollfd ready = {.fd = p->terminal, .events = POLLIN};
        ssize_t got = 0;
        if (poll(&ready, 1, 100) > 0) {
            got = read(p->terminal, p->seen + p->size, (1 << 20) - 1 - p->size);
            if (got <= 0 && !text)
                return;
            if (got <= 0)
                fail_msg("it ended before \"%s\"; shown at the end: %s", text, last_of(p));
        }
        for (ssize_t i = 0; i < got; i++) /* texts that were drawn hold no zeros */
            p->size += p->seen[p->size] ? 1 : 0;
        if (tv_seconds() > end)
            fail_msg("waited for \"%s\"; shown at the end: %s", text ? text : "the end", last_of(p));
    }
}

static void expect(person *p, const char *text) {
    expect_pressing(p, text, NULL);
}

/* Behind its prompt libedit takes the terminal over: a key that is pressed before that is the terminal's own.
 */
static void wait_for_editor(const person *p) {
    struct termios mode = {0};
    const double end = tv_seconds() + patience;
    for (;;) {
        assert_int_equal(tcgetattr(p->terminal, &mode), 0);
        if (!(mode.c_lflag & ICANON))
            return;
        if (tv_seconds() > end)
            fail_msg("libedit did not take the terminal over; shown at the end: %s", last_of(p));
        tv_sleep(1e-3);
    }
}

/* Ctrl-D behind Ctrl-U: one that comes while libedit takes the terminal over becomes a character of the line,
 * and behind a character Ctrl-D ends nothing. */
static const char end_of_input[] = "\x15\x04";

/* Its exit code; 128 + signal. `keys` (NULL: none) are pressed until it ends. */
static int leave(person *p, const char *keys) {
    expect_pressing(p, NULL, keys);
    int status = 0;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    close(p->terminal);
    free(p->seen);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Number `number` of the saved conversation; the caller frees. */
static char *message(const char *path, int number, const char *role) {
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    const cJSON *item = cJSON_GetArrayItem(tv_json_get(root, "messages"), number);
    assert_non_null(item);
    assert_string_equal(tv_json_get(item, "role")->valuestring, role);
    char *content = tv_format("%s", tv_json_get(item, "content")->valuestring);
    cJSON_Delete(root);
    return content;
}

static void save(person *p, const char *path) {
    char *line = tv_format("/save %s\r", path);
    press(p, line);
    expect(p, "as `trivium sft");
    expect(p, "> ");
    free(line);
}

static void expect_message(const char *path, int number, const char *text) {
    char *content = message(path, number, "user");
    assert_string_equal(content, text);
    free(content);
}

static void lines_are_edited_and_called_back(void **state) {
    const tv_small_model *small = *state;
    char *path = tv_format("%s/edited.jsonl", small->dir);
    char longer[3001];
    memset(longer, 'q', 3000);
    longer[3000] = '\0';
    person p = sit_down(small, "2");
    expect(&p, "> ");
    /* Three to the left, a letter of two bytes taken back; then the beginning of the line. */
    wait_for_editor(&p);
    press(&p, "\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 wrld\x1b[D\x1b[D\x1b[D\xc3\xb3\x7f\xc3\xb6\x01- \r");
    expect(&p, "\n> ");
    press(&p, longer);
    wait_for_editor(&p);
    press(&p, "\x01"
              "a\r"); /* before a line of many rows */
    expect(&p, "\n> ");
    wait_for_editor(&p);
    press(&p, "\x1b[A\x1b[A!\r"); /* the one before the last */
    expect(&p, "\n> ");
    save(&p, path);
    expect_message(path, 0, "- \xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 w\xc3\xb6rld");
    expect_message(path, 4, "- \xc5\xbc\xc3\xb3\xc5\x82\xc4\x87 w\xc3\xb6rld!");
    char *content = message(path, 2, "user");
    assert_int_equal(strlen(content), 3001);
    assert_int_equal(content[0], 'a');
    assert_string_equal(content + 1, longer);
    free(content);
    assert_int_equal(leave(&p, end_of_input), 0);
    free(path);
}

static void interrupts_stop_the_answer_and_not_the_program(void **state) {
    const tv_small_model *small = *state;
    char *path = tv_format("%s/stopped.jsonl", small->dir);
    person p = sit_down(small, "3000");
    expect(&p, "> ");
    press(&p, "never said");
    expect(&p, "said");
    wait_for_editor(&p);
    press(&p, "\x03");
    expect(&p, "^C");
    expect(&p, "> ");
    wait_for_editor(&p);
    char *line = tv_format("/save %s\r", path);
    press(&p, line);
    free(line);
    expect(&p, "nothing was said yet");
    expect(&p, "> ");
    /* Twice, since what was caught the first time must not count any more. */
    for (int i = 0; i < 2; i++) {
        press(&p, i ? "and\r" : "It was\r");
        expect(&p, "\n");
        expect(&p, "\\x"); /* the model says bytes that are no text */
        press(&p, "\x03");
        expect(&p, "stopped after ");
        expect(&p, " tokens/s; what was said");
        expect(&p, "> ");
    }
    save(&p, path);
    /* What does not fit beside an answer is forgotten, so the last turn is what is left for sure. */
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    int count = cJSON_GetArraySize(tv_json_get(root, "messages"));
    cJSON_Delete(root);
    assert_true(count >= 2);
    expect_message(path, count - 2, "and");
    char *content = message(path, count - 1, "assistant");
    assert_true(strlen(content) > 0);
    free(content);
    press(&p, "/reset\r");
    expect(&p, "anew");
    expect(&p, "> ");
    assert_int_equal(leave(&p, end_of_input), 0);
    free(path);
}

/* Somebody who ends the program from outside finds no one in the way. */
static void a_termination_ends_it(void **state) {
    person p = sit_down(*state, "3000");
    expect(&p, "> ");
    press(&p, "It was\r");
    expect(&p, "\\x");
    kill(p.pid, SIGTERM);
    assert_int_equal(leave(&p, NULL), 128 + SIGTERM);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_edited_and_called_back),
        cmocka_unit_test(interrupts_stop_the_answer_and_not_the_program),
        cmocka_unit_test(a_termination_ends_it),
    };
    return cmocka_run_group_tests(tests, set_up, tv_small_model_remove);
}
