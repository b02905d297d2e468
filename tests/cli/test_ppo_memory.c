/* What `trivium ppo --dry-run` and `trivium grpo --dry-run` advise where a run does not fit: each change's
 * bytes are those that the run with the changed settings plans, over all roles and their arena of
 * activations.
 *
 * Tried on 2026-11-29: the arena left out; the base counted for the reference too; the value model, the
 * reference of grpo or the reward model left as it was, or the rows of drawing: each fails.
 */
#include "support/support.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/subprocess.h"

enum { MOST = 64, LEAST_CHANGES = 8 };

static const char *const shapes[] = {"ppo.prompts=12 ppo.max_new_tokens=90",
                                     "grpo.prompts=3 grpo.answers=4 grpo.max_new_tokens=90 grpo.kl_coef=0.1"};

/* A dry run of ppo or grpo on a device of so many bytes, with settings apart by spaces. */
static tv_child_result dry_run(const tv_answering *place, bool groups, const char *reward, const char *heap,
                               const char *settings) {
    const char *argv[MOST] = {TRIVIUM_COMMAND, groups ? "grpo" : "ppo",
                              "--out",         "never",
                              "--dry-run",     "--quiet",
                              "--model",       place->model,
                              "--reward",      reward,
                              "--prompts",     place->prompts};
    char *words = tv_format("%s %s", shapes[groups], settings);
    size_t count = 12;
    char *rest = words;
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        argv[count++] = "--set";
        argv[count++] = word;
    }
    setenv("TRIVIUM_CAPS_MAX", heap, 1);
    tv_child_result run = tv_child_run(argv);
    unsetenv("TRIVIUM_CAPS_MAX");
    free(words);
    return run;
}

static uint64_t bytes_of(const tv_child_result *run) {
    const char *line = strstr(run->out, "\nbytes ");
    assert_non_null(line);
    return strtoull(line + strlen("\nbytes "), NULL, 10);
}

/* "  KEYS    12.7 MiB" as the list has it. */
static void check_change(const tv_answering *place, bool groups, const char *reward, const char *line,
                         uint64_t now) {
    char keys[200], text[32], end[80];
    const char *gap = strstr(line + 2, "  ");
    assert_non_null(gap);
    snprintf(keys, sizeof keys, "%.*s", (int)(gap - line - 2), line + 2);
    if (strstr(keys, "texts of"))
        return; /* no setting */
    tv_child_result run = dry_run(place, groups, reward, "heap_bytes=10000000000", keys);
    if (run.exit_code != 0)
        fail_msg("%s: exit code %d: %s", keys, run.exit_code, run.err);
    tv_format_bytes(bytes_of(&run), text, sizeof text);
    snprintf(end, sizeof end, "%.70s", gap + strspn(gap, " "));
    if (strncmp(end, text, strlen(text)) != 0 || !(bytes_of(&run) < now))
        fail_msg("%s: advised %s, and planned are %s", keys, end, text);
    tv_child_result_free(&run);
}

/* The list of changes, each checked; what of them is there. */
typedef struct advised {
    int count;
    bool narrower, shared, rows, few_rows;
} advised;

static advised check_advice(const tv_answering *place, bool groups, const char *reward) {
    tv_child_result run = dry_run(place, groups, reward, "heap_bytes=400000", "");
    advised found = {0};
    if (run.exit_code != 2)
        fail_msg("exit code %d: %s", run.exit_code, run.err);
    assert_non_null(strstr(run.err, "training needs"));
    assert_non_null(strstr(run.out, "activations, shared in turn"));
    char *line = strstr(run.out, "what would take less:\n");
    assert_non_null(line);
    for (line = strchr(line, '\n') + 1; strncmp(line, "  ", 2) == 0; found.count++) {
        char *end = strchr(line, '\n');
        *end = '\0';
        found.narrower = found.narrower || strstr(line, "po.reward_weights=");
        found.shared =
            found.shared || (strstr(line, "lora.rank=16") && strstr(line, "ppo.value_init=policy"));
        found.rows = found.rows || strstr(line, groups ? "  grpo.rows=3  " : "  ppo.rows=3  ");
        found.few_rows = found.few_rows || strstr(line, groups ? "  grpo.rows=1  " : "  ppo.rows=1  ");
        check_change(place, groups, reward, line, bytes_of(&run));
        line = end + 1;
    }
    tv_child_result_free(&run);
    return found;
}

static void advice_is_what_a_run_then_takes(void **state) {
    (void)state;
    tv_test_need_device();
    tv_log_set_level(TV_LOG_WARNING);
    tv_answering place = tv_answering_create(TV_ARCH_LLAMA, 1);
    char *reward = tv_planted_reward(&place.planted, "reward", 1);
    advised ppo = check_advice(&place, false, reward), grpo = check_advice(&place, true, reward);
    assert_true(ppo.count >= LEAST_CHANGES && ppo.narrower && ppo.shared && ppo.rows && ppo.few_rows);
    assert_true(grpo.count >= LEAST_CHANGES && grpo.narrower && !grpo.shared && grpo.rows && grpo.few_rows);
    free(reward);
    tv_answering_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(advice_is_what_a_run_then_takes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
