/* Reward programs are asked while answers are drawn: in the order of the rollout, as soon as an answer and
 * all before it stand there, and what comes out is what they say about each.
 *
 * No test measures time: a program writes down what it has read, and that is waited for while the rest of the
 * questions do not exist yet.
 *
 * Tried on 2026-11-29, each fails: questions given to the program only when all are there; drawing that tells
 * nobody; answers told of as they end, not in their order; no look for further questions while an answer is
 * out; a failure that shows only at the end; a thread that is not given up.
 */
#include "support/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "stages/policy/drawing.h"
#include "stages/policy/program.h"
#include "stages/sampling.h"
#include "support/answering.h"
#include "support/open_model.h"
#include "text/json_text.h"
#include "text/tokenizer_json.h"

enum { PROMPTS = 4, ANSWERS = 3, SEQUENCES = PROMPTS * ANSWERS, MAX_NEW = 6, MOST = 64 };
static const double patience = 60;

static tv_answering place;
static char *noted; /* where programs write what they have read */

static int set_up(void **state) {
    (void)state;
    tv_test_need_device();
    place = tv_answering_create(TV_ARCH_GPT2, 60);
    noted = tv_answering_path(&place, "noted");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    free(noted);
    tv_answering_destroy(&place);
    return 0;
}

static uint64_t lines_noted(void) {
    char *text = NULL;
    uint64_t size, count = 0;
    if (!tv_path_exists(noted))
        return 0;
    assert_ok(tv_read_file(noted, &text, &size));
    for (uint64_t i = 0; i < size; i++)
        count += text[i] == '\n';
    free(text);
    return count;
}

static void wait_for_lines(uint64_t count) {
    const double begin = tv_seconds();
    while (lines_noted() < count) {
        if (tv_seconds() - begin > patience)
            fail_msg("the program has read %llu lines, expected %llu", (unsigned long long)lines_noted(),
                     (unsigned long long)count);
        tv_sleep(2e-3);
    }
}

/* `script` with NOTE for a command that writes $line down. */
static tv_reward_program *start(const char *script, uint64_t batch, double timeout) {
    tv_reward_program *program = NULL;
    char *command = tv_format("note() { printf '%%s\\n' \"$1\" >>'%s'; }; %s", noted, script);
    const tv_reward_program_options options = {.command = command, .batch = batch, .timeout = timeout};
    (void)remove(noted);
    assert_ok(tv_reward_program_start(&options, &program));
    free(command); /* the shell has it */
    return program;
}

/* Question number n has the id 10 + n. */
static tv_status ask(tv_reward_program *program, uint64_t n) {
    char line[32];
    snprintf(line, sizeof line, "{\"id\":%llu}", 10 + (unsigned long long)n);
    return tv_reward_program_ask(program, &(tv_reward_question){10 + n, "p", line, strlen(line)});
}

static void each_is_asked_at_once(void **state) {
    (void)state;
    double scores[3];
    tv_reward_program *program =
        start("n=0; while read -r line; do note \"$line\"; echo $n.5; n=$((n + 1)); done", 1, 0);
    for (int rollout = 0; rollout < 2; rollout++) {
        assert_ok(tv_reward_program_begin(program, 3));
        for (uint64_t i = 0; i < 3; i++) {
            assert_ok(ask(program, i));
            wait_for_lines((uint64_t)rollout * 3 + i + 1);
        }
        assert_ok(tv_reward_program_scores(program, scores));
        for (int i = 0; i < 3; i++)
            assert_near(scores[i], rollout * 3 + i + 0.5, 0);
    }
    assert_ok(tv_reward_program_finish(program));
    tv_reward_program_close(&program);
}

/* The first names its id, so that the next three may be out at once: none is answered before all are read. */
static void more_are_asked_while_answers_are_out(void **state) {
    (void)state;
    double scores[4];
    tv_reward_program *program =
        start("get() { read -r line; note \"$line\"; }; get; echo '{\"id\":10,\"score\":1}'; get; "
              "get; get; for i in 3 1 2; do echo \"{\\\"id\\\":1$i,\\\"score\\\":1$i}\"; done; cat",
              1, 0);
    assert_ok(tv_reward_program_begin(program, 4));
    for (uint64_t i = 0; i < 4; i++) {
        assert_ok(ask(program, i));
        wait_for_lines(i + 1);
    }
    assert_ok(tv_reward_program_scores(program, scores));
    for (int i = 0; i < 4; i++)
        assert_near(scores[i], i ? 10 + i : 1, 0);
    tv_reward_program_close(&program);
}

static void a_list_is_asked_when_it_is_full(void **state) {
    (void)state;
    double scores[7];
    tv_reward_program *program = start("while read -r line; do note \"$line\"; case $line in *,*) echo '[1, "
                                       "2, 3]';; *) echo '[7]';; esac; done",
                                       3, 0);
    assert_ok(tv_reward_program_begin(program, 7));
    for (uint64_t i = 0; i < 7; i++) {
        assert_ok(ask(program, i));
        wait_for_lines((i + 1) / 3 + (i == 6));
    }
    assert_ok(tv_reward_program_scores(program, scores));
    for (int i = 0; i < 7; i++)
        assert_near(scores[i], i == 6 ? 7 : 1 + i % 3, 0);
    assert_int_equal(lines_noted(), 3);
    tv_reward_program_close(&program);
}

/* What is wrong shows at a later question, long before the last. */
static void a_failure_ends_the_asking(void **state) {
    (void)state;
    const double begin = tv_seconds();
    tv_reward_program *program = start("read -r line; exit 4", 1, 0);
    tv_status status = TV_OK;
    assert_ok(tv_reward_program_begin(program, 1 << 20));
    for (uint64_t i = 0; i < 1 << 20 && status == TV_OK && tv_seconds() - begin < patience; i++) {
        status = ask(program, i);
        tv_sleep(2e-3);
    }
    assert_fails(status, TV_E_DATA, "--reward-cmd: for a response to prompt p: the program");
    assert_non_null(strstr(tv_last_error(), "ended with exit code 4"));
    assert_fails(ask(program, 0), TV_E_USAGE, "expects none");
    tv_reward_program_close(&program);
}

static void a_limit_holds_while_others_are_drawn(void **state) {
    (void)state;
    double scores[2];
    tv_reward_program *program = start("read -r line; note \"$line\"; sleep 30", 1, 0.2);
    assert_ok(tv_reward_program_begin(program, 2));
    assert_ok(ask(program, 0));
    wait_for_lines(1);
    tv_sleep(0.5);
    tv_status status = ask(program, 1);
    if (status == TV_OK) /* on a slow machine the limit is over only now */
        status = tv_reward_program_scores(program, scores);
    assert_fails(status, TV_E_DATA, "gave no answer within 0.2 seconds");
    tv_reward_program_close(&program);
}

/* Neither an answer nor a question comes. */
static void what_nobody_wants_is_given_up(void **state) {
    (void)state;
    double scores[2];
    const double begin = tv_seconds();
    tv_reward_program *program = start("read -r line; note \"$line\"; sleep 30", 1, 0);
    tv_reward_program_abandon(program);
    for (uint64_t asked = 0; asked < 2; asked++) {
        assert_ok(tv_reward_program_begin(program, 3));
        if (asked)
            assert_ok(ask(program, 0));
        wait_for_lines(asked);
        tv_reward_program_abandon(program);
        assert_fails(tv_reward_program_scores(program, scores), TV_E_USAGE, "not asked");
    }
    tv_reward_program_close(&program);
    assert_true(tv_seconds() - begin < patience);
}

/* ---- a rollout ---- */

typedef struct drawn {
    tv_model_directory *directory;
    tv_model *model;
    tv_tokenizer *tokenizer;
    tv_prompts *prompts;
    tv_rollout *drawer;
    tv_policy_rollout rollout;
    tv_decoder_settings settings;
} drawn;

static void open_drawn(tv_device *device, drawn *d) {
    const char *path = place.prompts;
    char *model = tv_format("%s/checkpoints/last", place.model);
    *d = (drawn){0};
    tv_test_open_model(device, model, false, &d->directory, &d->model);
    assert_ok(tv_tokenizer_load(model, &d->tokenizer));
    assert_ok(tv_prompts_read(
        &(tv_prompts_options){.paths = &path, .path_count = 1, .tokenizer = d->tokenizer}, &d->prompts));
    /* Rows are refilled as answers end, which they do at different lengths. */
    assert_ok(tv_rollout_create(d->model, &(tv_rollout_options){.rows = 5, .max_tokens = MOST}, &d->drawer));
    assert_ok(tv_policy_rollout_create(SEQUENCES, MOST - 1, &d->rollout));
    for (uint64_t s = 0; s < SEQUENCES; s++)
        d->rollout.items[s].prompt = s / ANSWERS;
    const tv_sampling sampling = {3, 1, 0, 1};
    d->settings = tv_sampling_settings(&sampling, &tv_model_list(d->model)->config, d->tokenizer, NULL);
    free(model);
}

static void close_drawn(drawn *d) {
    tv_policy_rollout_free(&d->rollout);
    tv_rollout_destroy(&d->drawer);
    tv_prompts_destroy(&d->prompts);
    tv_tokenizer_destroy(&d->tokenizer);
    tv_model_destroy(&d->model);
    tv_model_directory_close(&d->directory);
}

static tv_policy_rewards *open_rewards(const drawn *d, const tv_policy_sources *sources) {
    tv_policy_rewards *rewards = NULL;
    assert_ok(tv_policy_rewards_open(&(tv_policy_rewards_options){.sources = sources,
                                                                  .tokenizer = d->tokenizer,
                                                                  .max_tokens = MOST,
                                                                  .sequences = SEQUENCES,
                                                                  .batch = 1},
                                     &rewards));
    assert_ok(tv_policy_rewards_start(rewards, d->model));
    return rewards;
}

static tv_status draw(const drawn *d, tv_policy_rewards *rewards, tv_policy_rollout *rollout) {
    const tv_policy_drawing drawing = {
        .drawer = d->drawer, .settings = &d->settings, .max_new_tokens = MAX_NEW, .rewards = rewards};
    return tv_policy_draw(&drawing, d->prompts, 100, rollout);
}

/* That the line asks about this answer: its number, and what it says. */
static void expect_question(const drawn *d, uint64_t sequence, const char *line) {
    const tv_policy_sequence *item = &d->rollout.items[sequence];
    const tv_decoder_row row = {.tokens = d->rollout.ids + sequence * (d->rollout.tokens + 1),
                                .length = item->length,
                                .prompt_length = item->prompt_length,
                                .finished = item->ended ? TV_DECODE_END_OF_TEXT : TV_DECODE_LENGTH};
    tv_text response = {0}, end = {0};
    char begin[32];
    snprintf(begin, sizeof begin, "{\"id\":%llu,", 100 + (unsigned long long)sequence);
    assert_ok(tv_sampling_text(d->tokenizer, &row, false, &response));
    assert_ok(tv_json_append(&end, ",\"response\":"));
    assert_ok(tv_json_append_string(response.data, response.size, &end));
    assert_ok(tv_text_append(&end, "}\n", 3));
    if (strncmp(line, begin, strlen(begin)) != 0 ||
        strncmp(strchr(line, '\n') + 2 - end.size, (const char *)end.data, end.size - 1) != 0)
        fail_msg("line %llu is %.200s; expected %s... %s", (unsigned long long)sequence, line, begin,
                 (const char *)end.data);
    tv_text_free(&response);
    tv_text_free(&end);
}

/* Nobody asks for scores, and the program has read every answer, in the order of the rollout. */
static void drawing_tells_in_order(void **state) {
    drawn d;
    char *command = tv_format(
             "n=0; while read -r line; do printf '%%s\\n' \"$line\" >>'%s'; echo $n; n=$((n + 1)); done",
             noted),
         *text = NULL;
    const tv_policy_sources sources = {
        .rewards = {{TV_REWARD_PROGRAM, command, "one", 1}, {TV_REWARD_CHECK, "length:1:9", "two", 0}},
        .count = 2};
    uint64_t size, order = 0;
    open_drawn(*state, &d);
    tv_policy_rewards *rewards = open_rewards(&d, &sources);
    (void)remove(noted);
    assert_ok(draw(&d, rewards, &d.rollout));
    wait_for_lines(SEQUENCES);
    assert_ok(tv_read_file(noted, &text, &size));
    for (char *line = text; order < SEQUENCES; line = strchr(line, '\n') + 1, order++)
        expect_question(&d, order, line);
    assert_ok(tv_policy_rewards_score(rewards, d.prompts, &d.rollout, true));
    for (uint64_t s = 0; s < SEQUENCES; s++)
        assert_near(d.rollout.items[s].score, s, 0);
    /* Lengths differ, or answers would end in their order anyway. */
    uint64_t shortest = MOST, longest = 0;
    for (uint64_t s = 0; s < SEQUENCES; s++) {
        const tv_policy_sequence *item = &d.rollout.items[s];
        shortest = tv_min_u64(shortest, item->length - item->prompt_length);
        longest = tv_max_u64(longest, item->length - item->prompt_length);
    }
    assert_true(shortest < longest);
    tv_policy_rewards_close(&rewards);
    close_drawn(&d);
    tv_free_all(command, text);
}

/* What stops the drawing leaves no program with questions, and the next rollout is scored whole. */
static void a_drawing_that_fails_asks_no_further(void **state) {
    drawn d;
    char *command = tv_format("while read -r line; do printf '%%s\\n' \"$line\" >>'%s'; echo 2; done", noted);
    const tv_policy_sources sources = {.rewards = {{TV_REWARD_PROGRAM, command, "one", 1}}, .count = 1};
    open_drawn(*state, &d);
    tv_policy_rewards *rewards = open_rewards(&d, &sources);
    (void)remove(noted);
    const tv_prompt whole = d.prompts->items[0];
    d.prompts->items[0].length = 0;
    assert_fails(draw(&d, rewards, &d.rollout), TV_E_USAGE, "");
    d.prompts->items[0] = whole;
    assert_ok(draw(&d, rewards, &d.rollout));
    assert_ok(tv_policy_rewards_score(rewards, d.prompts, &d.rollout, true));
    assert_int_equal(lines_noted(), SEQUENCES);
    assert_ok(tv_policy_rewards_finish(rewards));
    tv_policy_rewards_close(&rewards);
    close_drawn(&d);
    free(command);
}

static int open_device(void **state) {
    set_up(state);
    return tv_test_open_device(state);
}

static int close_device(void **state) {
    tear_down(state);
    return tv_test_close_device(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_asked_at_once),
        cmocka_unit_test(more_are_asked_while_answers_are_out),
        cmocka_unit_test(a_list_is_asked_when_it_is_full),
        cmocka_unit_test(a_failure_ends_the_asking),
        cmocka_unit_test(a_limit_holds_while_others_are_drawn),
        cmocka_unit_test(what_nobody_wants_is_given_up),
        cmocka_unit_test(drawing_tells_in_order),
        cmocka_unit_test(a_drawing_that_fails_asks_no_further),
    };
    return cmocka_run_group_tests(tests, open_device, close_device);
}
