/* Best of n: see keep_answers.h. */
#include "stages/keep_answers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/output.h"
#include "text/json_text.h"
#include "text/line_shape.h"
#include "text/source.h"

/* ---- one prompt ---- */

static tv_status add_text(const tv_scored_prompt *prompt, const tv_scored_answer *answer, tv_text *line) {
    const bool messages = prompt->json[0] == '[';
    TV_RETURN_IF_FAILED(tv_json_append(line, messages ? "[{\"role\":\"assistant\",\"content\":" : ""));
    TV_RETURN_IF_FAILED(tv_json_append(line, answer->json));
    return tv_json_append(line, messages ? "}]" : "");
}

static tv_status add_score(double score, const char *behind, tv_text *line) {
    char text[64];
    snprintf(text, sizeof text, ",\"score\":%.9g%s", score, behind);
    return tv_json_append(line, text);
}

static tv_status begin(const tv_scored_prompt *prompt, tv_text *line) {
    TV_RETURN_IF_FAILED(tv_json_append(line, "{\"prompt\":"));
    return tv_json_append(line, prompt->json);
}

static tv_status keep_best(const tv_scored_prompt *prompt, tv_text *line, tv_keep_result *result) {
    const tv_scored_answer *best = NULL;
    for (uint64_t i = 0; i < prompt->count; i++) {
        const tv_scored_answer *answer = &prompt->answers[i];
        if (isfinite(answer->score) && !answer->empty && (!best || answer->score > best->score))
            best = answer;
    }
    if (!best)
        return TV_OK;
    TV_RETURN_IF_FAILED(begin(prompt, line));
    TV_RETURN_IF_FAILED(tv_json_append(line, ",\"completion\":"));
    TV_RETURN_IF_FAILED(add_text(prompt, best, line));
    TV_RETURN_IF_FAILED(add_score(best->score, "}\n", line));
    result->cut += best->cut;
    result->lines++;
    return TV_OK;
}

typedef struct placed {
    const tv_scored_answer *answer;
    uint64_t number;
} placed;

static int by_score(const void *a, const void *b) {
    const placed *left = a, *right = b;
    if (left->answer->score > right->answer->score || left->answer->score < right->answer->score)
        return left->answer->score > right->answer->score ? -1 : 1;
    return left->number < right->number ? -1 : left->number > right->number;
}

static bool stands_there(const placed *sorted, uint64_t count, const tv_scored_answer *answer) {
    for (uint64_t i = 0; i < count; i++)
        if (strcmp(sorted[i].answer->json, answer->json) == 0)
            return true;
    return false;
}

static tv_status write_ranked(const tv_scored_prompt *prompt, const placed *sorted, uint64_t count,
                              tv_text *line, tv_keep_result *result) {
    TV_RETURN_IF_FAILED(begin(prompt, line));
    for (uint64_t i = 0, rank = 1; i < count; i++) {
        char text[40];
        rank += i > 0 && sorted[i].answer->score < sorted[i - 1].answer->score;
        snprintf(text, sizeof text, ",\"rank\":%llu", (unsigned long long)rank);
        TV_RETURN_IF_FAILED(tv_json_append(line, i ? ",{\"answer\":" : ",\"answers\":[{\"answer\":"));
        TV_RETURN_IF_FAILED(add_text(prompt, sorted[i].answer, line));
        TV_RETURN_IF_FAILED(tv_json_append(line, text));
        TV_RETURN_IF_FAILED(add_score(sorted[i].answer->score, "}", line));
        result->cut += rank == 1 && sorted[i].answer->cut;
    }
    result->lines++;
    return tv_json_append(line, "]}\n");
}

static tv_status keep_ranked(const tv_scored_prompt *prompt, tv_text *line, tv_keep_result *result) {
    placed *sorted = calloc(prompt->count + 1, sizeof *sorted);
    uint64_t count = 0;
    tv_status status = TV_OK;
    if (!sorted)
        return tv_fail(TV_E_MEMORY, "out of host memory for answers in their order");
    for (uint64_t i = 0; i < prompt->count; i++) {
        const tv_scored_answer *answer = &prompt->answers[i];
        if (!isfinite(answer->score))
            continue;
        if (stands_there(sorted, count, answer))
            result->same++;
        else
            sorted[count++] = (placed){answer, i};
    }
    qsort(sorted, count, sizeof *sorted, by_score);
    if (count > 1 && sorted[0].answer->score > sorted[count - 1].answer->score)
        status = write_ranked(prompt, sorted, count, line, result);
    free(sorted);
    return status;
}

tv_status tv_keep_line(const tv_scored_prompt *prompt, tv_keep keep, tv_text *line, tv_keep_result *result) {
    for (uint64_t i = 0; i < prompt->count; i++)
        result->too_long += isfinite(prompt->answers[i].score) ? 0 : 1;
    return keep == TV_KEEP_BEST ? keep_best(prompt, line, result) : keep_ranked(prompt, line, result);
}

/* ---- a file ---- */

typedef struct keeping {
    const tv_keep_options *options;
    tv_keep_result *result;
    tv_arena *arena; /* what prompts and answers point into */
    tv_scored_prompt *prompts;
    tv_scored_answer *answers;
    tv_reward_text *texts;
    float *scores;
    uint64_t prompt_capacity, answer_capacity, text_capacity;
    tv_text scratch, line;
    tv_writer *out;
} keeping;

static tv_status print(keeping *k, const tv_json_line *line, const cJSON *value, char **json) {
    k->scratch.size = 0;
    TV_RETURN_IF_FAILED(tv_json_line_print(line, value, &k->scratch));
    *json = tv_arena_copy(k->arena, (const char *)k->scratch.data, k->scratch.size);
    return *json ? TV_OK : TV_E_MEMORY;
}

static tv_status read_answer(keeping *k, const tv_json_line *line, const char *prompt,
                             const cJSON *response) {
    const cJSON *text = tv_json_get(response, "text"), *finish = tv_json_get(response, "finish");
    uint64_t count = k->result->answers;
    void *answers = k->answers, *texts = k->texts;
    char *json, *bytes;
    if (!cJSON_IsString(text))
        return tv_fail(TV_E_DATA, "%s: expected a text for \"text\" of each response, found %s", line->where,
                       tv_json_kind(text));
    TV_RETURN_IF_FAILED(print(k, line, text, &json));
    k->scratch.size = 0;
    TV_RETURN_IF_FAILED(tv_json_line_text(line, text, &k->scratch));
    const uint64_t length = k->scratch.size;
    if (!(bytes = tv_arena_copy(k->arena, length ? (const char *)k->scratch.data : "", length)))
        return TV_E_MEMORY;
    TV_RETURN_IF_FAILED(tv_grow(&answers, &k->answer_capacity, count + 1, sizeof *k->answers));
    k->answers = answers;
    TV_RETURN_IF_FAILED(tv_grow(&texts, &k->text_capacity, count + 1, sizeof *k->texts));
    k->texts = texts;
    const bool cut = cJSON_IsString(finish) && strcmp(finish->valuestring, "length") == 0;
    k->answers[count] = (tv_scored_answer){.json = json, .empty = length == 0, .cut = cut, .score = NAN};
    k->texts[count] = (tv_reward_text){prompt, bytes, length, !cut};
    k->result->answers++;
    return TV_OK;
}

static tv_status read_prompt(void *context, const tv_json_line *line) {
    keeping *k = context;
    const cJSON *prompt = tv_line_get(line, "prompt"), *responses = tv_line_get(line, "responses"), *response;
    void *prompts = k->prompts;
    char *json;
    if (!prompt || !cJSON_IsArray(responses) || !responses->child)
        return tv_fail(TV_E_DATA, "%s: expected {\"prompt\", \"responses\": [{\"text\"}, ...]} of a policy",
                       line->where);
    TV_RETURN_IF_FAILED(print(k, line, prompt, &json));
    const uint64_t first = k->result->answers;
    cJSON_ArrayForEach(response, responses) {
        TV_RETURN_IF_FAILED(read_answer(k, line, json, response));
    }
    TV_RETURN_IF_FAILED(tv_grow(&prompts, &k->prompt_capacity, k->result->prompts + 1, sizeof *k->prompts));
    k->prompts = prompts;
    k->prompts[k->result->prompts++] = (tv_scored_prompt){.json = json, .count = k->result->answers - first};
    return TV_OK;
}

static tv_status score(keeping *k) {
    const uint64_t count = k->result->answers;
    uint64_t scored = 0;
    double sum = 0;
    k->scores = calloc(count + 1, sizeof *k->scores);
    if (!k->scores)
        return tv_fail(TV_E_MEMORY, "out of host memory for scores");
    for (uint64_t i = 0; i < count; i++)
        k->scores[i] = NAN;
    TV_RETURN_IF_FAILED(tv_score_texts(&k->options->reward, k->texts, count, k->scores));
    for (uint64_t i = 0; i < count; i++) {
        k->answers[i].score = (double)k->scores[i];
        if (isfinite(k->answers[i].score)) {
            sum += k->answers[i].score;
            scored++;
        }
    }
    k->result->mean = scored ? sum / (double)scored : NAN;
    return TV_OK;
}

static tv_status write_lines(keeping *k) {
    uint64_t first = 0, with_score = 0;
    double sum = 0;
    for (uint64_t i = 0; i < k->result->prompts; i++) {
        tv_scored_prompt *prompt = &k->prompts[i];
        double best = -INFINITY;
        prompt->answers = k->answers + first;
        first += prompt->count;
        for (uint64_t a = 0; a < prompt->count; a++)
            best = isfinite(prompt->answers[a].score) ? fmax(best, prompt->answers[a].score) : best;
        if (isfinite(best)) {
            sum += best;
            with_score++;
        }
        k->line.size = 0;
        TV_RETURN_IF_FAILED(tv_keep_line(prompt, k->options->keep, &k->line, k->result));
        TV_RETURN_IF_FAILED(tv_writer_write(k->out, k->line.data, k->line.size));
    }
    k->result->best = with_score ? sum / (double)with_score : NAN;
    return TV_OK;
}

static tv_status say_nothing_is_kept(const keeping *k) {
    const tv_keep_result *r = k->result;
    return tv_fail(
        TV_E_DATA,
        "%s: expected answers to keep, found none: of %llu answers to %llu prompts %llu are too long "
        "for the reward model, and %s; nothing was written",
        k->options->candidates, (unsigned long long)r->answers, (unsigned long long)r->prompts,
        (unsigned long long)r->too_long,
        k->options->keep == TV_KEEP_BEST ? "the rest is empty"
                                         : "no prompt has two different ones of different scores");
}

tv_status tv_keep_answers(const tv_keep_options *options, tv_keep_result *result) {
    *result = (tv_keep_result){0};
    keeping k = {.options = options, .result = result};
    tv_status status;
    TV_TRY(tv_arena_create(&k.arena));
    TV_TRY(tv_source_read_json(&options->candidates, 1, read_prompt, &k, NULL));
    TV_TRY(score(&k));
    TV_TRY(tv_writer_open_named(options->out, &k.out));
    TV_TRY(write_lines(&k));
    if (result->lines == 0) {
        status = say_nothing_is_kept(&k);
        goto done;
    }
    TV_TRY(tv_writer_commit(&k.out));
done:
    tv_writer_abort(&k.out);
    tv_arena_destroy(&k.arena);
    tv_text_free(&k.scratch);
    tv_text_free(&k.line);
    free(k.prompts);
    free(k.answers);
    free(k.texts);
    free(k.scores);
    return status;
}
