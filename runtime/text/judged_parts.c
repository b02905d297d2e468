/* Pieces of a judged item: see judged_parts.h. */
#include "text/judged_parts.h"

#include <string.h>

#include "text/json_text.h"
#include "text/line_shape.h"

static tv_judged_part part_from(const tv_judged_item *item, uint64_t at) {
    return (tv_judged_part){at, item->json.size - at};
}

static bool is_scalar(const cJSON *value) {
    return cJSON_IsNumber(value) || cJSON_IsBool(value);
}

/* A text as it stands, or a number or truth value as its text. */
static tv_status print_text(tv_judged_item *item, const tv_json_line *line, const cJSON *value) {
    const char *quote = is_scalar(value) ? "\"" : "";
    TV_RETURN_IF_FAILED(tv_json_append(&item->json, quote));
    TV_RETURN_IF_FAILED(tv_json_line_print(line, value, &item->json));
    return tv_json_append(&item->json, quote);
}

tv_status tv_judged_name_text(tv_judged_item *item, const char *text, tv_judged_part *part) {
    uint64_t at = item->json.size;
    TV_RETURN_IF_FAILED(tv_json_append_string(text, strlen(text), &item->json));
    *part = part_from(item, at);
    return TV_OK;
}

tv_status tv_judged_add_answer(tv_judged_item *item, const tv_json_line *line, const char *key,
                               const cJSON *value) {
    if (item->answer_count == TV_JUDGED_ANSWERS)
        return tv_fail(TV_E_DATA, "%s: expected at most %d answers to a prompt, found more", line->where,
                       TV_JUDGED_ANSWERS);
    if (!cJSON_IsString(value) && !is_scalar(value) && !cJSON_IsArray(value))
        return tv_fail(TV_E_DATA,
                       "%s: expected an answer, a text or a list of messages, for \"%.80s\", found %s",
                       line->where, key, value ? tv_json_kind(value) : "no such key");
    TV_RETURN_IF_FAILED(tv_judged_name_text(item, key, &item->names[item->answer_count]));
    uint64_t at = item->json.size;
    TV_RETURN_IF_FAILED(print_text(item, line, value));
    item->answers[item->answer_count++] = part_from(item, at);
    return TV_OK;
}

tv_status tv_judged_set_prompt(tv_judged_item *item, const tv_json_line *line, const char *key,
                               const cJSON *prompt, const cJSON *below) {
    static const char before[] = "[{\"role\":\"user\",\"content\":";
    uint64_t at = item->json.size;
    if (cJSON_IsArray(prompt)) {
        TV_RETURN_IF_FAILED(tv_json_line_print(line, prompt, &item->json));
        item->prompt = part_from(item, at);
        return TV_OK;
    }
    if (!cJSON_IsString(prompt))
        return tv_fail(TV_E_DATA, "%s: expected a text or a list of messages for \"%s\", found %s",
                       line->where, key, prompt ? tv_json_kind(prompt) : "no such key");
    if (below && !cJSON_IsString(below))
        return tv_fail(TV_E_DATA, "%s: expected a text below \"%s\", found %s", line->where, key,
                       tv_json_kind(below));
    TV_RETURN_IF_FAILED(tv_json_append(&item->json, before));
    TV_RETURN_IF_FAILED(tv_json_line_print(line, prompt, &item->json));
    if (below && below->valuestring[0]) {
        uint64_t quote = item->json.size - 1, rest = item->json.size;
        TV_RETURN_IF_FAILED(tv_json_line_print(line, below, &item->json));
        /* Both are quoted: the first one's end and the second one's beginning become the blank line. */
        static const char between[] = "\\n\\n";
        TV_RETURN_IF_FAILED(tv_json_append(&item->json, "  ")); /* room for what is longer than two quotes */
        memmove(item->json.data + quote + sizeof between - 1, item->json.data + rest + 1,
                item->json.size - 2 - rest - 1);
        memcpy(item->json.data + quote, between, sizeof between - 1);
    }
    TV_RETURN_IF_FAILED(tv_json_append(&item->json, "}]"));
    item->prompt = part_from(item, at);
    return TV_OK;
}

tv_status tv_judged_set_id(tv_judged_item *item, const tv_json_line *line, const char *key) {
    const cJSON *id = tv_line_get(line, key);
    if (!cJSON_IsNumber(id) && !(cJSON_IsString(id) && id->valuestring[0]))
        return TV_OK;
    uint64_t at = item->json.size;
    TV_RETURN_IF_FAILED(tv_json_line_print(line, id, &item->json));
    item->id = part_from(item, at);
    return TV_OK;
}

tv_status tv_judged_next_verdict(tv_judged_item *item, const tv_json_line *line, uint8_t **ranks) {
    if (item->verdict_count == TV_JUDGED_VERDICTS)
        return tv_fail(TV_E_DATA, "%s: expected at most %d annotators of an item, found more", line->where,
                       TV_JUDGED_VERDICTS);
    *ranks = item->ranks[item->verdict_count];
    memset(*ranks, 0, TV_JUDGED_ANSWERS);
    return TV_OK;
}

void tv_judged_rank_scores(const double *scores, uint32_t count, uint8_t *ranks) {
    for (uint32_t i = 0; i < count; i++) {
        uint8_t above = 0;
        /* Different scores above one's own. */
        for (uint32_t j = 0; j < count; j++) {
            bool counted = !(scores[j] > scores[i]);
            for (uint32_t k = 0; k < j && !counted; k++)
                counted = scores[k] == scores[j];
            above = (uint8_t)(above + !counted);
        }
        ranks[i] = above;
    }
}
