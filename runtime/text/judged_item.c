/* Judged items of other programs: see judged_item.h. */
#include "text/judged_item.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "text/json_text.h"
#include "text/line_shape.h"

/* While a verdict is read: not named yet. */
enum { UNNAMED = 0xff };

/* ---- which form ---- */

static bool has(const tv_json_line *line, const char *key) {
    return tv_line_get(line, key) != NULL;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), size = strlen(end);
    return length > size && strcmp(text + length - size, end) == 0;
}

/* A question's answers as Argilla's first version wrote them beside the fields. */
static bool is_question(const cJSON *item) {
    const cJSON *first = item && cJSON_IsArray(item) ? item->child : NULL;
    return tv_json_get(first, "value") && tv_json_get(first, "user_id");
}

tv_judged_form tv_judged_form_of(const tv_json_line *line) {
    if (has(line, "response1") && has(line, "response2") && has(line, "annotator1"))
        return TV_JUDGED_PANDALM;
    if (has(line, "instruction") && cJSON_IsArray(tv_line_get(line, "completions")))
        return TV_JUDGED_ULTRAFEEDBACK;
    if (has(line, "instruction") && has(line, "chosen_response") && has(line, "rejected_response"))
        return TV_JUDGED_ULTRAFEEDBACK_PAIRS;
    if (cJSON_IsObject(tv_line_get(line, "fields")) && cJSON_IsObject(tv_line_get(line, "responses")))
        return TV_JUDGED_ARGILLA;
    const cJSON *member;
    cJSON_ArrayForEach(member,
                       line->root) if (ends_with(member->string, ".responses")) return TV_JUDGED_ARGILLA_FLAT;
    cJSON_ArrayForEach(member, line->root) if (is_question(member)) return TV_JUDGED_ARGILLA_QUESTIONS;
    return TV_JUDGED_NONE;
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

/* ---- pieces ---- */

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

static tv_status name_text(tv_judged_item *item, const char *text, tv_judged_part *part) {
    uint64_t at = item->json.size;
    TV_RETURN_IF_FAILED(tv_json_append_string(text, strlen(text), &item->json));
    *part = part_from(item, at);
    return TV_OK;
}

static tv_status add_answer(tv_judged_item *item, const tv_json_line *line, const char *key,
                            const cJSON *value) {
    if (item->answer_count == TV_JUDGED_ANSWERS)
        return tv_fail(TV_E_DATA, "%s: expected at most %d answers to a prompt, found more", line->where,
                       TV_JUDGED_ANSWERS);
    if (!cJSON_IsString(value) && !is_scalar(value) && !cJSON_IsArray(value))
        return tv_fail(TV_E_DATA,
                       "%s: expected an answer, a text or a list of messages, for \"%.80s\", found %s",
                       line->where, key, value ? tv_json_kind(value) : "no such key");
    TV_RETURN_IF_FAILED(name_text(item, key, &item->names[item->answer_count]));
    uint64_t at = item->json.size;
    TV_RETURN_IF_FAILED(print_text(item, line, value));
    item->answers[item->answer_count++] = part_from(item, at);
    return TV_OK;
}

/* What the user says: a text, and below it another one that is not empty; or a list of messages. */
static tv_status set_prompt(tv_judged_item *item, const tv_json_line *line, const char *key,
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

static tv_status set_id(tv_judged_item *item, const tv_json_line *line, const char *key) {
    const cJSON *id = tv_line_get(line, key);
    if (!cJSON_IsNumber(id) && !(cJSON_IsString(id) && id->valuestring[0]))
        return TV_OK;
    uint64_t at = item->json.size;
    TV_RETURN_IF_FAILED(tv_json_line_print(line, id, &item->json));
    item->id = part_from(item, at);
    return TV_OK;
}

/* Ranks for the next verdict. */
static tv_status next_verdict(tv_judged_item *item, const tv_json_line *line, uint8_t **ranks) {
    if (item->verdict_count == TV_JUDGED_VERDICTS)
        return tv_fail(TV_E_DATA, "%s: expected at most %d annotators of an item, found more", line->where,
                       TV_JUDGED_VERDICTS);
    *ranks = item->ranks[item->verdict_count];
    memset(*ranks, 0, TV_JUDGED_ANSWERS);
    return TV_OK;
}

/* ---- PandaLM ---- */

static tv_status read_pandalm(const tv_json_line *line, tv_judged_item *item) {
    TV_RETURN_IF_FAILED(set_id(item, line, tv_line_get(line, "id") ? "id" : "idx"));
    TV_RETURN_IF_FAILED(
        set_prompt(item, line, "instruction", tv_line_get(line, "instruction"), tv_line_get(line, "input")));
    TV_RETURN_IF_FAILED(add_answer(item, line, "response1", tv_line_get(line, "response1")));
    TV_RETURN_IF_FAILED(add_answer(item, line, "response2", tv_line_get(line, "response2")));
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
        TV_RETURN_IF_FAILED(next_verdict(item, line, &ranks));
        ranks[0] = value == 2;
        ranks[1] = value == 1;
        TV_RETURN_IF_FAILED(name_text(item, key, &item->annotators[item->verdict_count++]));
    }
}

/* ---- UltraFeedback ---- */

/* By falling scores. */
static void rank_scores(const double *scores, uint32_t count, uint8_t *ranks) {
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

static tv_status read_ultrafeedback(const tv_json_line *line, tv_judged_item *item) {
    const cJSON *list = tv_line_get(line, "completions"), *completion;
    double scores[TV_JUDGED_ANSWERS] = {0};
    uint8_t *ranks;
    TV_RETURN_IF_FAILED(set_id(item, line, "id"));
    TV_RETURN_IF_FAILED(set_prompt(item, line, "instruction", tv_line_get(line, "instruction"), NULL));
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
        TV_RETURN_IF_FAILED(add_answer(item, line, name, tv_json_get(completion, "response")));
        scores[item->answer_count - 1] = score->valuedouble;
    }
    if (item->answer_count < 2) {
        item->verdict_count = 0;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(next_verdict(item, line, &ranks));
    rank_scores(scores, item->answer_count, ranks);
    return name_text(item, "scores", &item->annotators[item->verdict_count++]);
}

static tv_status read_ultrafeedback_pair(const tv_json_line *line, tv_judged_item *item) {
    uint8_t *ranks;
    TV_RETURN_IF_FAILED(set_id(item, line, "id"));
    TV_RETURN_IF_FAILED(set_prompt(item, line, "instruction", tv_line_get(line, "instruction"), NULL));
    TV_RETURN_IF_FAILED(add_answer(item, line, "chosen_response", tv_line_get(line, "chosen_response")));
    TV_RETURN_IF_FAILED(add_answer(item, line, "rejected_response", tv_line_get(line, "rejected_response")));
    TV_RETURN_IF_FAILED(next_verdict(item, line, &ranks));
    ranks[1] = 1;
    return name_text(item, "scores", &item->annotators[item->verdict_count++]);
}

/* ---- Argilla ---- */

/* One question of a record and what was answered to it, wherever the form has them. */
typedef struct question {
    const char *name;
    uint64_t name_length;
    const cJSON *answers, *users, *statuses; /* lists; users and statuses only in flat records */
} question;

static const cJSON *fields_of(tv_judged_form form, const tv_json_line *line) {
    return form == TV_JUDGED_ARGILLA ? tv_line_get(line, "fields") : line->root;
}

/* The field that a value names; NULL: none, or it holds nothing. */
static const cJSON *field_named(const cJSON *fields, const cJSON *name) {
    const cJSON *field = cJSON_IsString(name) ? tv_json_get(fields, name->valuestring) : NULL;
    return cJSON_IsNull(field) || is_question(field) ? NULL : field;
}

static bool is_tie(const cJSON *value) {
    static const char *const names[] = {"tie", "equal", "both", "same", "draw"};
    for (size_t i = 0; cJSON_IsString(value) && i < TV_COUNT(names); i++)
        if (strcmp(value->valuestring, names[i]) == 0)
            return true;
    return false;
}

/* An entry of a ranking: the field's name, or {"value": name, "rank": number}. */
static const cJSON *entry_name(const cJSON *entry) {
    return cJSON_IsObject(entry) ? tv_json_get(entry, "value") : entry;
}

/* Whether a value ranks or chooses fields. */
static bool names_fields(const cJSON *fields, const cJSON *value) {
    const cJSON *entry;
    if (!cJSON_IsArray(value))
        return field_named(fields, value) != NULL;
    cJSON_ArrayForEach(entry, value) if (!field_named(fields, entry_name(entry))) return false;
    return value->child && value->child->next;
}

static const cJSON *value_of(const cJSON *answer, bool flat) {
    return flat ? answer : tv_json_get(answer, "value");
}

/* The question among several whose answers name fields. */
static bool ranks_fields(const cJSON *fields, const question *q, bool flat) {
    const cJSON *answer;
    cJSON_ArrayForEach(answer, q->answers) if (names_fields(fields, value_of(answer, flat))) return true;
    return false;
}

static tv_status keep_question(const tv_json_line *line, const cJSON *fields, const question *q, bool flat,
                               question *kept) {
    if (!ranks_fields(fields, q, flat))
        return TV_OK;
    if (kept->name)
        return tv_fail(
            TV_E_DATA,
            "%s: expected one question that compares answers, found two, \"%.*s\" and \"%.*s\"; leave "
            "one of them out",
            line->where, (int)tv_min_u64(kept->name_length, 60), kept->name,
            (int)tv_min_u64(q->name_length, 60), q->name);
    *kept = *q;
    return TV_OK;
}

static tv_status find_question(tv_judged_form form, const tv_json_line *line, question *found) {
    const cJSON *fields = fields_of(form, line), *member;
    const bool flat = form == TV_JUDGED_ARGILLA_FLAT;
    const cJSON *among = form == TV_JUDGED_ARGILLA ? tv_line_get(line, "responses") : line->root;
    static const char end[] = ".responses";
    *found = (question){0};
    cJSON_ArrayForEach(member, among) {
        question q = {member->string, strlen(member->string), member, NULL, NULL};
        if (!cJSON_IsArray(member) || (flat && !ends_with(q.name, end)) ||
            (form == TV_JUDGED_ARGILLA_QUESTIONS && !is_question(member)))
            continue;
        if (flat) {
            char key[200];
            snprintf(key, sizeof key, "%s.users", q.name);
            q.users = tv_json_get(among, key);
            snprintf(key, sizeof key, "%s.status", q.name);
            q.statuses = tv_json_get(among, key);
            q.name_length -= sizeof end - 1;
        }
        TV_RETURN_IF_FAILED(keep_question(line, fields, &q, flat, found));
    }
    return TV_OK;
}

/* The answer that a field is, added where no value named it before. */
static tv_status answer_of_field(tv_judged_item *item, const tv_json_line *line, const cJSON *fields,
                                 const cJSON *name, const char **named, uint32_t *number) {
    for (*number = 0; *number < item->answer_count; ++*number)
        if (named[*number] && strcmp(named[*number], name->valuestring) == 0)
            return TV_OK;
    const cJSON *field = field_named(fields, name);
    TV_RETURN_IF_FAILED(add_answer(item, line, name->valuestring, field));
    named[*number] = name->valuestring;
    return TV_OK;
}

static bool was_submitted(const question *q, const cJSON *answer, int number) {
    const cJSON *status =
        q->statuses ? cJSON_GetArrayItem(q->statuses, number) : tv_json_get(answer, "status");
    return !cJSON_IsString(status) || strcmp(status->valuestring, "submitted") == 0;
}

/* Ranks as a value gives them: by "rank", else by the place in the list; a choice is above all others. */
static tv_status read_value(tv_judged_item *item, const tv_json_line *line, const cJSON *fields,
                            const cJSON *value, const question *q, const char **named, uint8_t *ranks) {
    const cJSON *entry;
    double places[TV_JUDGED_ANSWERS];
    for (int i = 0; i < TV_JUDGED_ANSWERS; i++)
        places[i] = NAN;
    uint32_t place = 0, number;
    if (is_tie(value))
        return TV_OK;
    cJSON_ArrayForEach(entry, value) {
        const cJSON *name = entry_name(entry),
                    *rank = cJSON_IsObject(entry) ? tv_json_get(entry, "rank") : NULL;
        if (!field_named(fields, name) || (rank && !(cJSON_IsNumber(rank) && isfinite(rank->valuedouble))))
            return tv_fail(TV_E_DATA,
                           "%s: expected names of fields in the answers to \"%.*s\", found another value",
                           line->where, (int)tv_min_u64(q->name_length, 60), q->name);
        TV_RETURN_IF_FAILED(answer_of_field(item, line, fields, name, named, &number));
        if (!isnan(places[number]))
            return tv_fail(TV_E_DATA, "%s: an answer to \"%.*s\" names the field \"%.60s\" twice",
                           line->where, (int)tv_min_u64(q->name_length, 60), q->name, name->valuestring);
        places[number] = rank ? rank->valuedouble : place;
        place++;
    }
    if (cJSON_IsString(value)) {
        TV_RETURN_IF_FAILED(answer_of_field(item, line, fields, value, named, &number));
        places[number] = 0;
    }
    /* Scores rise where places fall; what was not named is below all that was. */
    for (uint32_t i = 0; i < TV_JUDGED_ANSWERS; i++)
        places[i] = isnan(places[i]) ? -INFINITY : -places[i];
    rank_scores(places, item->answer_count, ranks);
    return TV_OK;
}

/* All answers are to be known before the first verdict is ranked. */
static tv_status name_answers(tv_judged_item *item, const tv_json_line *line, const cJSON *fields,
                              const question *q, bool flat, const char **named) {
    const cJSON *answer, *entry;
    uint32_t number;
    cJSON_ArrayForEach(answer, q->answers) {
        const cJSON *value = value_of(answer, flat);
        if (field_named(fields, value))
            TV_RETURN_IF_FAILED(answer_of_field(item, line, fields, value, named, &number));
        else if (cJSON_IsArray(value))
            cJSON_ArrayForEach(entry, value) if (field_named(fields, entry_name(entry)))
                TV_RETURN_IF_FAILED(answer_of_field(item, line, fields, entry_name(entry), named, &number));
    }
    return TV_OK;
}

/* One who answered always with the same field says nothing of what the others are: the second one is the
 * other field whose name is alike but for its last character. */
static tv_status name_other_answer(tv_judged_item *item, const tv_json_line *line, const cJSON *fields,
                                   const char **named) {
    const cJSON *field;
    if (item->answer_count != 1 || !named[0] || !named[0][0])
        return TV_OK;
    const size_t length = strlen(named[0]);
    cJSON_ArrayForEach(field, fields) {
        if (!field->string || strlen(field->string) != length ||
            strncmp(field->string, named[0], length - 1) != 0 || strcmp(field->string, named[0]) == 0 ||
            cJSON_IsNull(field))
            continue;
        named[1] = field->string;
        return add_answer(item, line, field->string, field);
    }
    return TV_OK;
}

static tv_status read_argilla_prompt(const tv_json_line *line, const cJSON *fields, tv_judged_item *item) {
    static const char *const prompts[] = {"prompt", "instruction", "question", "query"};
    static const char *const contexts[] = {"input", "context"};
    const cJSON *prompt = NULL, *context = NULL;
    const char *name = "prompt";
    for (size_t i = 0; i < TV_COUNT(prompts) && !prompt; i++)
        if ((prompt = tv_json_get(fields, prompts[i])))
            name = prompts[i];
    for (size_t i = 0; i < TV_COUNT(contexts) && !context; i++)
        context = tv_json_get(fields, contexts[i]);
    return set_prompt(item, line, name, prompt, cJSON_IsNull(context) ? NULL : context);
}

static tv_status read_argilla(tv_judged_form form, const tv_json_line *line, tv_judged_item *item) {
    const cJSON *fields = fields_of(form, line), *answer;
    const bool flat = form == TV_JUDGED_ARGILLA_FLAT;
    const char *named[TV_JUDGED_ANSWERS] = {NULL};
    question q;
    int number = 0;
    TV_RETURN_IF_FAILED(set_id(item, line, tv_line_get(line, "id") ? "id" : "external_id"));
    TV_RETURN_IF_FAILED(find_question(form, line, &q));
    if (!q.name) /* nobody compared these answers */
        return TV_OK;
    TV_RETURN_IF_FAILED(read_argilla_prompt(line, fields, item));
    TV_RETURN_IF_FAILED(name_answers(item, line, fields, &q, flat, named));
    TV_RETURN_IF_FAILED(name_other_answer(item, line, fields, named));
    if (item->answer_count < 2)
        return tv_fail(TV_E_DATA, "%s: expected answers to \"%.*s\" that compare two fields, found one field",
                       line->where, (int)tv_min_u64(q.name_length, 60), q.name);
    cJSON_ArrayForEach(answer, q.answers) {
        const int at = number++;
        const cJSON *value = value_of(answer, flat),
                    *user = flat ? cJSON_GetArrayItem(q.users, at) : tv_json_get(answer, "user_id");
        uint8_t *ranks;
        char unnamed[32];
        if (!was_submitted(&q, answer, at) || !value || cJSON_IsNull(value))
            continue;
        if (!is_tie(value) && !names_fields(fields, value))
            return tv_fail(
                TV_E_DATA,
                "%s: expected names of fields, best first, one of them, or \"tie\" in the answers to "
                "\"%.*s\", found another value",
                line->where, (int)tv_min_u64(q.name_length, 60), q.name);
        TV_RETURN_IF_FAILED(next_verdict(item, line, &ranks));
        TV_RETURN_IF_FAILED(read_value(item, line, fields, value, &q, named, ranks));
        snprintf(unnamed, sizeof unnamed, "user %d", at + 1);
        const char *name = cJSON_IsString(user) && user->valuestring[0] ? user->valuestring : unnamed;
        TV_RETURN_IF_FAILED(name_text(item, name, &item->annotators[item->verdict_count++]));
    }
    return TV_OK;
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
    return read_argilla(form, line, item);
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
