/* A thread between a rollout and a program: see program.h. */
#include "stages/policy/program.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/dialogue.h"
#include "base/os.h"
#include "text/json_text.h"

/* Questions that a program may have in hand, so that it never waits for us. */
enum { QUESTIONS_OUT = 32, SHOWN_BYTES = 120 };
/* How often the thread looks for further questions while answers are out. */
static const double look_seconds = 0.02;

typedef struct question {
    uint64_t id, length;
    const char *prompt;
    char *line;
} question;

struct tv_reward_program {
    tv_reward_program_options options;
    tv_dialogue *dialogue;
    tv_mutex *mutex;
    tv_condition *more;
    tv_thread *thread;
    uint64_t count; /* of the rollout */
    question *questions;
    double *scores;
    /* Under the mutex: */
    uint64_t ready; /* questions that stand there */
    bool abandoned, failed;
    /* The thread's, read when it has ended: */
    tv_status status;
    char *sentence;
};

/* "--reward-cmd", and which of several. */
static tv_status of_program(const tv_reward_program *p, tv_status status) {
    if (status != TV_E_DATA)
        return status;
    return p->options.name ? tv_fail_context(status, "--reward-cmd (%s)", p->options.name)
                           : tv_fail_context(status, "--reward-cmd");
}

/* ---- on the thread ---- */

/* How many questions stand there, after waiting for so many; TV_E_INTERRUPTED where nobody wants the answers.
 */
static tv_status wait_for(tv_reward_program *p, uint64_t wanted, uint64_t *ready) {
    tv_mutex_lock(p->mutex);
    while (p->ready < wanted && !p->abandoned)
        tv_condition_wait(p->more, p->mutex);
    const bool abandoned = p->abandoned;
    *ready = p->ready;
    tv_mutex_unlock(p->mutex);
    return abandoned ? tv_fail(TV_E_INTERRUPTED, "the rollout was given up") : TV_OK;
}

/* A finite number or null, which is NaN. */
static bool read_item(const cJSON *item, double *value) {
    *value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    return cJSON_IsNull(item) || isfinite(*value);
}

/* It alone, or the "score" of an object. */
static bool read_score(const tv_answer *answer, double *value) {
    if (answer->object)
        return read_item(tv_json_get(answer->object, "score"), value);
    static const char none[] = "null";
    const bool is_null = strncmp(answer->line, none, sizeof none - 1) == 0;
    char *end = (char *)answer->line + (is_null ? sizeof none - 1 : 0);
    *value = is_null ? NAN : strtod(answer->line, &end);
    while (*end == ' ' || *end == '\t' || *end == '\r')
        end++;
    return end != answer->line && *end == '\0' && (is_null || isfinite(*value));
}

static tv_status take_answer(tv_reward_program *p) {
    tv_answer answer;
    double value;
    tv_status status = tv_dialogue_answer(p->dialogue, &answer);
    const char *prompt = p->questions[answer.question].prompt;
    if (status != TV_OK)
        return tv_fail_context(status, "for a response to prompt %s", prompt);
    if (!read_score(&answer, &value))
        return tv_fail(
            TV_E_DATA,
            "answered \"%.*s\" for a response to prompt %s; expected one finite number a line, "
            "or {\"id\": the question's, \"score\": a finite number}; null where this reward does not "
            "apply",
            SHOWN_BYTES, answer.line, prompt);
    p->scores[answer.question] = value;
    return TV_OK;
}

static tv_status ask_one(tv_reward_program *p, uint64_t number) {
    const question *q = &p->questions[number];
    char id[24];
    snprintf(id, sizeof id, "%" PRIu64, q->id);
    return tv_dialogue_ask(p->dialogue, number, id, q->line, q->length);
}

static tv_status one_by_one(tv_reward_program *p) {
    uint64_t asked = 0, ready;
    for (uint64_t taken = 0; taken < p->count;) {
        bool came;
        TV_RETURN_IF_FAILED(wait_for(p, tv_dialogue_outstanding(p->dialogue) ? 0 : asked + 1, &ready));
        while (asked < ready && tv_dialogue_takes_more(p->dialogue))
            TV_RETURN_IF_FAILED(ask_one(p, asked++));
        /* What ends a wait ends the next one too, which says for which prompt. */
        if (tv_dialogue_await(p->dialogue, look_seconds, &came) == TV_OK && !came)
            continue;
        TV_RETURN_IF_FAILED(take_answer(p));
        taken++;
    }
    return TV_OK;
}

/* A list of as many numbers as there were questions. */
static tv_status take_list(const tv_answer *answer, uint64_t count, double *scores) {
    cJSON *list = NULL;
    const cJSON *item;
    uint64_t taken = 0;
    (void)tv_json_parse(answer->line, answer->length, "an answer", &list);
    cJSON_ArrayForEach(item, list) {
        if (taken == count || !read_item(item, &scores[taken]))
            break;
        taken++;
    }
    bool good = cJSON_IsArray(list) && !item && taken == count;
    cJSON_Delete(list);
    return good ? TV_OK
                : tv_fail(TV_E_DATA,
                          "answered \"%.*s\" to a list of %" PRIu64 " questions (rewards.batch); expected "
                          "a list of %" PRIu64 " finite numbers or nulls, such as [1, 0.5, null], in a line",
                          SHOWN_BYTES, answer->line, count, count);
}

static tv_status ask_list(tv_reward_program *p, uint64_t first, uint64_t count, tv_text *line) {
    line->size = 0;
    for (uint64_t i = 0; i < count; i++) {
        TV_RETURN_IF_FAILED(tv_json_append(line, i ? "," : "["));
        TV_RETURN_IF_FAILED(
            tv_text_append(line, p->questions[first + i].line, p->questions[first + i].length));
    }
    TV_RETURN_IF_FAILED(tv_json_append(line, "]"));
    return tv_dialogue_ask(p->dialogue, first, "", (const char *)line->data, line->size);
}

static tv_status in_lists(tv_reward_program *p) {
    tv_text line = {0};
    tv_status status = TV_OK;
    for (uint64_t first = 0, count, ready; first < p->count; first += count) {
        tv_answer answer;
        count = tv_min_u64(p->options.batch, p->count - first);
        TV_TRY(wait_for(p, first + count, &ready));
        TV_TRY(ask_list(p, first, count, &line));
        for (bool came = false; !came;) {
            TV_TRY(wait_for(p, 0, &ready));
            TV_TRY(tv_dialogue_await(p->dialogue, look_seconds, &came));
        }
        TV_TRY(tv_dialogue_answer(p->dialogue, &answer));
        TV_TRY(take_list(&answer, count, p->scores + first));
    }
done:
    tv_text_free(&line);
    return status;
}

/* A sentence is its thread's own. */
static void speak(void *context) {
    tv_reward_program *p = context;
    p->status = of_program(p, p->options.batch > 1 ? in_lists(p) : one_by_one(p));
    if (p->status == TV_OK)
        return;
    p->sentence = tv_format("%s", tv_last_error());
    tv_mutex_lock(p->mutex);
    p->failed = true;
    tv_mutex_unlock(p->mutex);
}

/* ---- on the caller's ---- */

tv_status tv_reward_program_start(const tv_reward_program_options *options, tv_reward_program **out) {
    tv_status status;
    tv_reward_program *p = calloc(1, sizeof *p);
    *out = NULL;
    if (!p)
        return tv_fail(TV_E_MEMORY, "out of host memory for a program");
    p->options = *options;
    TV_TRY_OR_FAIL(tv_mutex_create(&p->mutex));
    TV_TRY_OR_FAIL(tv_condition_create(&p->more));
    TV_TRY_OR_FAIL(tv_dialogue_start(options->command, QUESTIONS_OUT, &p->dialogue));
    tv_dialogue_set_limit(p->dialogue, options->timeout);
    *out = p;
    return TV_OK;
fail:
    tv_reward_program_close(&p);
    return status;
}

tv_status tv_reward_program_begin(tv_reward_program *p, uint64_t count) {
    tv_reward_program_abandon(p);
    p->count = count;
    p->ready = 0;
    p->abandoned = p->failed = false;
    p->status = TV_OK;
    p->questions = calloc(count + 1, sizeof *p->questions);
    p->scores = calloc(count + 1, sizeof *p->scores);
    tv_status status = p->questions && p->scores
                           ? tv_thread_start(&p->thread, speak, p)
                           : tv_fail(TV_E_MEMORY, "out of host memory for %" PRIu64 " questions", count);
    if (status != TV_OK)
        tv_reward_program_abandon(p);
    return status;
}

/* What a rollout had, when the thread has ended. */
static void forget(tv_reward_program *p) {
    for (uint64_t i = 0; p->questions && i < p->ready; i++)
        free(p->questions[i].line);
    free(p->questions);
    free(p->scores);
    free(p->sentence);
    p->questions = NULL;
    p->scores = NULL;
    p->sentence = NULL;
    p->ready = 0;
}

/* Waits for the thread and says what it ended with. */
static tv_status end(tv_reward_program *p, double *scores) {
    tv_thread_join(&p->thread);
    if (p->status == TV_OK && scores)
        memcpy(scores, p->scores, p->count * sizeof *scores);
    const tv_status status =
        p->status == TV_OK ? TV_OK : tv_fail(p->status, "%s", p->sentence ? p->sentence : "a program failed");
    forget(p);
    return status;
}

tv_status tv_reward_program_ask(tv_reward_program *p, const tv_reward_question *given) {
    if (!p->thread || p->ready == p->count)
        return tv_fail(TV_E_USAGE, "a question to a program that expects none");
    char *line = malloc(given->length + 1);
    if (!line)
        return tv_fail(TV_E_MEMORY, "out of host memory for a question");
    memcpy(line, given->line, given->length);
    p->questions[p->ready] = (question){given->id, given->length, given->prompt, line};
    tv_mutex_lock(p->mutex);
    p->ready++;
    const bool failed = p->failed;
    tv_condition_signal_all(p->more);
    tv_mutex_unlock(p->mutex);
    return failed && !p->options.late ? end(p, NULL) : TV_OK;
}

tv_status tv_reward_program_scores(tv_reward_program *p, double *scores) {
    return p->thread && p->ready == p->count
               ? end(p, scores)
               : tv_fail(TV_E_USAGE, "the scores of questions that were not asked");
}

void tv_reward_program_abandon(tv_reward_program *p) {
    if (p->thread) {
        tv_mutex_lock(p->mutex);
        p->abandoned = true;
        tv_condition_signal_all(p->more);
        tv_mutex_unlock(p->mutex);
        tv_thread_join(&p->thread);
    }
    forget(p);
}

tv_status tv_reward_program_finish(tv_reward_program *p) {
    return tv_dialogue_outstanding(p->dialogue) > 0 ? TV_OK : of_program(p, tv_dialogue_finish(p->dialogue));
}

void tv_reward_program_close(tv_reward_program **handle) {
    if (!handle || !*handle)
        return;
    tv_reward_program *p = *handle;
    tv_reward_program_abandon(p);
    tv_dialogue_close(&p->dialogue);
    tv_condition_destroy(&p->more);
    tv_mutex_destroy(&p->mutex);
    free(p);
    *handle = NULL;
}
