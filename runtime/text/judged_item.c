/* Judged items of other programs: see judged_item.h. */
#include "text/judged_item.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "text/json_text.h"
#include "text/judged_argilla.h"
#include "text/judged_parts.h"
#include "text/line_shape.h"

/* ---- which form ---- */

static bool has(const tv_json_line *line, const char *key) {
    return tv_line_get(line, key) != NULL;
}

tv_judged_form tv_judged_form_of(const tv_json_line *line) {
    if (has(line, "response1") && has(line, "response2") && has(line, "annotator1"))
        return TV_JUDGED_PANDALM;
    if (has(line, "instruction") && cJSON_IsArray(tv_line_get(line, "completions")))
        return TV_JUDGED_ULTRAFEEDBACK;
    if (has(line, "instruction") && has(line, "chosen_response") && has(line, "rejected_response"))
        return TV_JUDGED_ULTRAFEEDBACK_PAIRS;
    return tv_argilla_form_of(line);
}

const char *tv_judged_form_name(tv_judged_form form) {
    static const char *const names[] = {
        [TV_JUDGED_NONE] = "no form of judged items",
        [TV_JUDGED_PANDALM] = ("PandaLM, {\"instruction\", \"input\", \"response1\", \"response2\", "
                               "\"annotator1\", ...}"),
        [TV_JUDGED_ULTRAFEEDBACK] =
            "UltraFeedback, {\"instruction\", \"completions\": [{\"response\", score}]}",
        [TV_JUDGED_ULTRAFEEDBACK_PAIRS] =
            "UltraFeedback as pairs, {\"instruction\", \"chosen_response\", \"rejected_response\"}",
        [TV_JUDGED_ARGILLA] = "Argilla's records, {\"fields\", \"responses\"}",
        [TV_JUDGED_ARGILLA_FLAT] = "Argilla's flat records, {FIELD, \"QUESTION.responses\"}",
        [TV_JUDGED_ARGILLA_QUESTIONS] =
            "Argilla's records of version 1, {FIELD, QUESTION: [{\"value\", \"user_id\"}]}"};
    return names[form];
}

const char *const *tv_judged_form_keys(tv_judged_form form) {
    static const char *const pandalm[] = {"id",         "idx",        "instruction", "input",
                                          "response1",  "response2",  "annotator1",  "annotator2",
                                          "annotator3", "annotator4", "annotator5",  "annotator6",
                                          "annotator7", "annotator8", "annotator9",  NULL};
    static const char *const completions[] = {"id", "instruction", "completions", NULL};
    static const char *const pairs[] = {"id", "instruction", "chosen_response", "rejected_response", NULL};
    static const char *const *const keys[] = {[TV_JUDGED_PANDALM] = pandalm,
                                              [TV_JUDGED_ULTRAFEEDBACK] = completions,
                                              [TV_JUDGED_ULTRAFEEDBACK_PAIRS] = pairs,
                                              [TV_JUDGED_ARGILLA_QUESTIONS] = NULL}; /* and those between */
    return keys[form];
}

/* ---- PandaLM ---- */

static tv_status read_pandalm(const tv_json_line *line, tv_judged_item *item) {
    TV_RETURN_IF_FAILED(tv_judged_set_id(item, line, tv_line_get(line, "id") ? "id" : "idx"));
    TV_RETURN_IF_FAILED(tv_judged_set_prompt(item, line, "instruction", tv_line_get(line, "instruction"),
                                             tv_line_get(line, "input")));
    TV_RETURN_IF_FAILED(tv_judged_add_answer(item, line, "response1", tv_line_get(line, "response1")));
    TV_RETURN_IF_FAILED(tv_judged_add_answer(item, line, "response2", tv_line_get(line, "response2")));
    for (unsigned number = 1;; number++) {
        char key[32];
        uint8_t *ranks;
        snprintf(key, sizeof key, "annotator%u", number);
        const cJSON *said = tv_json_get(line->root, key);
        if (!said)
            return TV_OK;
        if (cJSON_IsNull(said))
            continue;
        double value = cJSON_IsNumber(said) ? said->valuedouble : -1;
        if (value != 0 && value != 1 && value != 2)
            return tv_fail(
                TV_E_DATA,
                "%s: expected 1 or 2, the better response, or 0, a tie, for \"%s\", found something else",
                line->where, key);
        TV_RETURN_IF_FAILED(tv_judged_next_verdict(item, line, &ranks));
        ranks[0] = value == 2;
        ranks[1] = value == 1;
        TV_RETURN_IF_FAILED(tv_judged_name_text(item, key, &item->annotators[item->verdict_count++]));
    }
}

/* ---- UltraFeedback ---- */

static tv_status read_ultrafeedback(const tv_json_line *line, tv_judged_item *item) {
    const cJSON *list = tv_line_get(line, "completions"), *completion;
    double scores[TV_JUDGED_ANSWERS] = {0};
    uint8_t *ranks;
    TV_RETURN_IF_FAILED(tv_judged_set_id(item, line, "id"));
    TV_RETURN_IF_FAILED(
        tv_judged_set_prompt(item, line, "instruction", tv_line_get(line, "instruction"), NULL));
    cJSON_ArrayForEach(completion, list) {
        /* The mean of the aspects: the overall score of the published file is often wrong by a factor of ten.
         */
        const cJSON *score = tv_json_get(completion, "fine-grained_score");
        char name[32];
        snprintf(name, sizeof name, "completion %u", item->answer_count + 1);
        if (!score || cJSON_IsNull(score))
            score = tv_json_get(completion, "overall_score");
        if (!cJSON_IsNumber(score) || !isfinite(score->valuedouble))
            return tv_fail(
                TV_E_DATA,
                "%s: expected a number for \"fine-grained_score\" or \"overall_score\" of %s, found %s",
                line->where, name, score ? tv_json_kind(score) : "neither");
        TV_RETURN_IF_FAILED(tv_judged_add_answer(item, line, name, tv_json_get(completion, "response")));
        scores[item->answer_count - 1] = score->valuedouble;
    }
    if (item->answer_count < 2) {
        item->verdict_count = 0;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_judged_next_verdict(item, line, &ranks));
    tv_judged_rank_scores(scores, item->answer_count, ranks);
    return tv_judged_name_text(item, "scores", &item->annotators[item->verdict_count++]);
}

static tv_status read_ultrafeedback_pair(const tv_json_line *line, tv_judged_item *item) {
    uint8_t *ranks;
    TV_RETURN_IF_FAILED(tv_judged_set_id(item, line, "id"));
    TV_RETURN_IF_FAILED(
        tv_judged_set_prompt(item, line, "instruction", tv_line_get(line, "instruction"), NULL));
    TV_RETURN_IF_FAILED(
        tv_judged_add_answer(item, line, "chosen_response", tv_line_get(line, "chosen_response")));
    TV_RETURN_IF_FAILED(
        tv_judged_add_answer(item, line, "rejected_response", tv_line_get(line, "rejected_response")));
    TV_RETURN_IF_FAILED(tv_judged_next_verdict(item, line, &ranks));
    ranks[1] = 1;
    return tv_judged_name_text(item, "scores", &item->annotators[item->verdict_count++]);
}

/* ---- all of them ---- */

tv_status tv_judged_item_read(tv_judged_form form, const tv_json_line *line, tv_judged_item *item) {
    item->json.size = 0;
    item->answer_count = item->verdict_count = 0;
    item->id = item->prompt = (tv_judged_part){0};
    if (form == TV_JUDGED_PANDALM)
        return read_pandalm(line, item);
    if (form == TV_JUDGED_ULTRAFEEDBACK)
        return read_ultrafeedback(line, item);
    if (form == TV_JUDGED_ULTRAFEEDBACK_PAIRS)
        return read_ultrafeedback_pair(line, item);
    return tv_argilla_read(form, line, item);
}

void tv_judged_item_free(tv_judged_item *item) {
    tv_text_free(&item->json);
}

int tv_verdict_of_most(uint64_t first, uint64_t second, uint64_t ties) {
    if (first > second && first > ties)
        return -1;
    return second > first && second > ties ? 1 : 0;
}

/* ---- as preferences ---- */

static tv_status append_part(const tv_judged_item *item, const char *before, tv_judged_part part,
                             tv_text *out) {
    TV_RETURN_IF_FAILED(tv_json_append(out, before));
    return tv_text_append(out, item->json.data + part.at, part.size);
}

static tv_status print_order(const tv_judged_item *item, const uint8_t *ranks, tv_text *lines) {
    char rank[32];
    TV_RETURN_IF_FAILED(append_part(item, "{\"prompt\":", item->prompt, lines));
    for (uint32_t i = 0; i < item->answer_count; i++) {
        TV_RETURN_IF_FAILED(
            append_part(item, i ? ",{\"answer\":" : ",\"answers\":[{\"answer\":", item->answers[i], lines));
        snprintf(rank, sizeof rank, ",\"rank\":%u}", ranks[i] + 1u);
        TV_RETURN_IF_FAILED(tv_json_append(lines, rank));
    }
    return tv_json_append(lines, "]}\n");
}

static tv_status print_pair(const tv_judged_item *item, uint32_t chosen, uint32_t rejected, tv_text *lines) {
    TV_RETURN_IF_FAILED(append_part(item, "{\"prompt\":", item->prompt, lines));
    TV_RETURN_IF_FAILED(append_part(item, ",\"chosen\":", item->answers[chosen], lines));
    TV_RETURN_IF_FAILED(append_part(item, ",\"rejected\":", item->answers[rejected], lines));
    return tv_json_append(lines, "}\n");
}

static tv_status print_verdict(const tv_judged_item *item, const uint8_t *ranks, tv_text *lines,
                               uint64_t *ties) {
    bool strict = false;
    for (uint32_t i = 1; i < item->answer_count; i++)
        strict = strict || ranks[i] != ranks[0];
    if (!strict) {
        *ties += (uint64_t)item->answer_count * (item->answer_count - 1) / 2;
        return TV_OK;
    }
    if (item->answer_count == 2)
        return print_pair(item, ranks[0] > ranks[1], ranks[0] < ranks[1], lines);
    return print_order(item, ranks, lines);
}

static tv_status print_majority(const tv_judged_item *item, tv_text *lines, uint64_t *ties) {
    for (uint32_t i = 0; i < item->answer_count; i++)
        for (uint32_t j = i + 1; j < item->answer_count; j++) {
            uint64_t first = 0, second = 0, equal = 0;
            for (uint32_t v = 0; v < item->verdict_count; v++) {
                first += item->ranks[v][i] < item->ranks[v][j];
                second += item->ranks[v][i] > item->ranks[v][j];
                equal += item->ranks[v][i] == item->ranks[v][j];
            }
            int most = tv_verdict_of_most(first, second, equal);
            if (most == 0)
                ++*ties;
            else
                TV_RETURN_IF_FAILED(print_pair(item, most < 0 ? i : j, most < 0 ? j : i, lines));
        }
    return TV_OK;
}

tv_status tv_judged_item_print(const tv_judged_item *item, tv_verdicts verdicts, tv_text *lines,
                               uint64_t *ties) {
    if (item->verdict_count > 1 && verdicts == TV_VERDICTS_MAJORITY)
        return print_majority(item, lines, ties);
    for (uint32_t v = 0; v < item->verdict_count; v++)
        TV_RETURN_IF_FAILED(print_verdict(item, item->ranks[v], lines, ties));
    return TV_OK;
}
