/* From lines to scores: see score_file.h. */
#include "reward/score_file.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "formats/directory.h"
#include "reward/scorer.h"
#include "run/ranks_run.h"
#include "text/line_shape.h"
#include "text/preferences.h"
#include "text/unused_keys.h"
#include "vk/device.h"

/* A response within `ids`. */
typedef struct stretch {
    uint64_t first, length; /* length 0: too long for the model */
} stretch;

typedef struct scoring_file {
    const tv_score_options *options;
    tv_reward_model reward;
    tv_preferences *preferences;
    bool has_shape;
    tv_score_shape shape;
    /* Of the other shapes: the tokens of all responses, and where each lies. */
    tv_ids ids;
    stretch *stretches;
    uint64_t count, capacity, too_long;
    tv_unused_keys unused;
    uint64_t lines; /* of the output: what is too long has one too */
    tv_text text;   /* scratch */
    tv_sequence *sequences;
    float *scores;
    tv_device *device;
    tv_scorer *scorer;
    tv_writer *out;
} scoring_file;

static tv_status no_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for texts to score");
}

static uint64_t positions(const scoring_file *f) {
    return tv_model_directory_parameters(f->reward.directory)->config.max_positions;
}

/* ---- reading ---- */

static const char *const shape_names[] = {"preferences", "a prompt and a \"response\"",
                                          "a prompt and \"responses\""};

static tv_status check_shape(scoring_file *f, const tv_json_line *line) {
    tv_score_shape shape = tv_line_get(line, "responses")  ? TV_SCORE_CANDIDATES
                           : tv_line_get(line, "response") ? TV_SCORE_RESPONSES
                                                           : TV_SCORE_PREFERENCES;
    if (f->has_shape && shape != f->shape)
        return tv_fail(TV_E_DATA, "%s: expected %s, as in the file's first line, found %s", line->where,
                       shape_names[f->shape], shape_names[shape]);
    f->has_shape = true;
    f->shape = shape;
    return TV_OK;
}

/* `text` is the JSON value of a response to the line's prompt. */
static tv_status add_response(scoring_file *f, const tv_json_line *line, const cJSON *text, bool ended) {
    bool is_chat = false;
    uint64_t first = f->ids.size;
    f->text.size = 0;
    TV_RETURN_IF_FAILED(tv_json_line_text(line, text, &f->text));
    TV_RETURN_IF_FAILED(
        tv_prompt_encode(&f->reward.encoder, line, tv_json_get(line->root, "prompt"), &f->ids, &is_chat));
    TV_RETURN_IF_FAILED(tv_answer_encode(&f->reward.encoder, is_chat, f->text.data, f->text.size, &f->ids));
    f->ids.size -= !ended;
    uint64_t length = f->ids.size - first;
    if (length > positions(f)) {
        if (f->too_long++ == 0)
            tv_warn(
                "%s: prompt and response have %llu tokens, and the reward model has positions for %llu: no "
                "score",
                line->where, (unsigned long long)length, (unsigned long long)positions(f));
        f->ids.size = first;
        length = 0;
    }
    TV_RETURN_IF_FAILED(tv_grow((void **)&f->stretches, &f->capacity, f->count + 1, sizeof *f->stretches));
    f->stretches[f->count++] = (stretch){first, length};
    return TV_OK;
}

static tv_status add_candidate(scoring_file *f, const tv_json_line *line, const cJSON *candidate) {
    const cJSON *text = tv_json_get(candidate, "text");
    const char *finish = NULL;
    if (!cJSON_IsString(text))
        return tv_fail(TV_E_DATA, "%s: expected a text for \"text\" of each of \"responses\"", line->where);
    TV_RETURN_IF_FAILED(tv_json_string(candidate, "finish", line->where, "eos", &finish));
    return add_response(f, line, text, strcmp(finish, "length") != 0);
}

/* What preferences have beside theirs is counted where they are read. A file of rankings is one of
 * candidates. */
static void count_unused(scoring_file *f, const tv_json_line *line) {
    static const char *const known[] = {"id",         "prompt",  "system",    "response",     "responses",
                                        "order",      "ranking", "annotator", "t_shown",      "t_done",
                                        "confidence", "flags",   "comment",   "tool_version", NULL};
    static const char *const message[] = {"role", "content", NULL};
    if (f->shape == TV_SCORE_PREFERENCES)
        return;
    tv_unused_keys_add(&f->unused, f->options->data, line->root, known);
    tv_unused_keys_add_items(&f->unused, tv_line_get(line, "prompt"), message);
}

static tv_status read_line(void *context, const tv_json_line *line) {
    scoring_file *f = context;
    TV_RETURN_IF_FAILED(check_shape(f, line));
    count_unused(f, line);
    const cJSON *item, *list = tv_line_get(line, "responses"), *text = tv_line_get(line, "response");
    switch (f->shape) {
    case TV_SCORE_PREFERENCES:
        return TV_OK; /* read as a whole below */
    case TV_SCORE_RESPONSES:
        if (!cJSON_IsString(text) || !text->valuestring[0])
            return tv_fail(TV_E_DATA, "%s: expected a text that is not empty for \"response\"", line->where);
        return add_response(f, line, text, true);
    case TV_SCORE_CANDIDATES:
        if (!cJSON_IsArray(list) || !list->child)
            return tv_fail(TV_E_DATA, "%s: expected a list of {\"text\": ...} for \"responses\"",
                           line->where);
        cJSON_ArrayForEach(item, list) {
            TV_RETURN_IF_FAILED(add_candidate(f, line, item));
        }
    }
    return TV_OK;
}

static tv_status list_sequences(scoring_file *f) {
    uint64_t count = f->preferences ? f->preferences->responses : f->count, n = 0;
    f->lines = count;
    f->sequences = calloc(count, sizeof *f->sequences);
    f->scores = calloc(count, sizeof *f->scores);
    if (!f->sequences || !f->scores)
        return no_memory();
    for (uint64_t g = 0; f->preferences && g < f->preferences->count; g++) {
        const tv_preference_group *group = &f->preferences->groups[g];
        for (uint64_t k = 0; k < group->count; k++)
            f->sequences[n++] = (tv_sequence){group->responses[k].ids, group->responses[k].length};
    }
    for (uint64_t i = 0; !f->preferences && i < count; i++)
        if (f->stretches[i].length)
            f->sequences[n++] = (tv_sequence){f->ids.data + f->stretches[i].first, f->stretches[i].length};
    f->count = n;
    return n ? TV_OK
             : tv_fail(TV_E_DATA,
                       "%s: expected responses within the %llu positions of the reward model, found none",
                       f->options->data, (unsigned long long)positions(f));
}

static tv_status read_file(scoring_file *f) {
    TV_RETURN_IF_FAILED(tv_source_read_json(&f->options->data, 1, read_line, f, NULL));
    tv_unused_keys_report(&f->unused);
    if (f->shape == TV_SCORE_PREFERENCES && tv_path_is_stream(f->options->data))
        return tv_fail(TV_E_DATA,
                       "%s: preferences are read twice, which %s does not allow; put them into a file",
                       f->options->data, tv_path_kind(f->options->data));
    if (f->shape == TV_SCORE_PREFERENCES)
        TV_RETURN_IF_FAILED(
            tv_fail_advice(tv_preferences_read(&(tv_preferences_options){.paths = &f->options->data,
                                                                         .path_count = 1,
                                                                         .tokenizer = f->reward.tokenizer,
                                                                         .max_tokens = positions(f)},
                                               &f->preferences),
                           TV_E_USAGE, "`trivium prefs` makes preferences of rankings"));
    return list_sequences(f);
}

/* ---- scores ---- */

static tv_status open_scorer(scoring_file *f) {
    uint64_t longest = 1;
    for (uint64_t i = 0; i < f->count; i++)
        longest = tv_max_u64(longest, f->sequences[i].length);
    TV_RETURN_IF_FAILED(tv_device_open(&f->options->device, &f->device));
    TV_RETURN_IF_FAILED(tv_reward_model_load(&f->reward, f->device, NULL));
    return tv_scorer_create(
        f->reward.model, &(tv_scorer_options){.max_tokens = longest, .ranks = f->options->ranks}, &f->scorer);
}

static tv_status write_scores(scoring_file *f) {
    if (!f->out)
        return TV_OK;
    for (uint64_t i = 0, next = 0; i < f->lines; i++) {
        bool scored = f->preferences || f->stretches[i].length;
        double score = scored ? (double)f->scores[next++] : (double)NAN;
        char line[40];
        int length = snprintf(line, sizeof line, "%.9g\n",
                              f->options->normalised ? tv_reward_normalise(&f->reward.scale, score) : score);
        TV_RETURN_IF_FAILED(tv_writer_write(f->out, line, (uint64_t)length));
    }
    return tv_writer_commit(&f->out);
}

/* The share of a group's strict pairs in order, and their mean difference; false without such a pair. */
static bool judge_group(const tv_preference_group *group, const float *scores, double *accuracy,
                        double *margin) {
    uint64_t pairs = 0;
    *accuracy = *margin = 0;
    for (uint64_t i = 0; i < group->count; i++)
        for (uint64_t j = i + 1; j < group->count; j++) {
            if (group->responses[i].rank == group->responses[j].rank)
                continue;
            double difference = (double)scores[i] - (double)scores[j];
            *accuracy += difference > 0 ? 1 : difference < 0 ? 0 : 0.5;
            *margin += difference;
            pairs++;
        }
    if (pairs == 0)
        return false;
    *accuracy /= (double)pairs;
    *margin /= (double)pairs;
    return true;
}

static void describe(const scoring_file *f, tv_score_result *result) {
    tv_reward_scale own = tv_reward_scale_of(f->scores, f->count);
    *result = (tv_score_result){.shape = f->shape,
                                .responses = f->count,
                                .mean = own.mean,
                                .deviation = own.deviation,
                                .least = INFINITY,
                                .most = -INFINITY,
                                .scale = f->reward.scale};
    for (uint64_t i = 0; i < f->count; i++) {
        result->least = fmin(result->least, (double)f->scores[i]);
        result->most = fmax(result->most, (double)f->scores[i]);
    }
    result->too_long = f->too_long;
    if (!f->preferences)
        return;
    const float *scores = f->scores;
    result->too_long = f->preferences->too_long;
    for (uint64_t g = 0; g < f->preferences->count; g++) {
        const tv_preference_group *group = &f->preferences->groups[g];
        double accuracy, margin;
        if (judge_group(group, scores, &accuracy, &margin)) {
            result->accuracy += accuracy;
            result->margin += margin;
            result->groups++;
        }
        scores += group->count;
    }
    result->accuracy /= (double)result->groups;
    result->margin /= (double)result->groups;
}

static void release(scoring_file *f) {
    tv_writer_abort(&f->out);
    tv_scorer_destroy(&f->scorer);
    tv_preferences_destroy(&f->preferences);
    tv_reward_model_close(&f->reward);
    tv_device_close(&f->device);
    tv_ids_free(&f->ids);
    tv_text_free(&f->text);
    free(f->stretches);
    free(f->sequences);
    free(f->scores);
}

/* Of this rank alone. */
static tv_status open_all(scoring_file *f) {
    const tv_score_options *options = f->options;
    TV_RETURN_IF_FAILED(tv_reward_model_open(options->model, options->adapter, &f->reward));
    TV_RETURN_IF_FAILED(read_file(f));
    if (options->out && tv_ranks_leads(options->ranks))
        TV_RETURN_IF_FAILED(tv_writer_open_named(options->out, &f->out));
    return open_scorer(f);
}

tv_status tv_score_file(const tv_score_options *options, tv_score_result *result) {
    scoring_file f = {.options = options};
    tv_status status = tv_ranks_agree(options->ranks, open_all(&f));
    if (status != TV_OK)
        goto done;
    TV_TRY(tv_ranks_say_devices(options->ranks, f.device));
    TV_TRY(tv_scorer_score(f.scorer, f.sequences, f.count, f.scores));
    TV_TRY(write_scores(&f));
    describe(&f, result);
done:
    release(&f);
    return status;
}
