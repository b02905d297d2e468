/* Argilla's records: see judged_argilla.h. */
#include "text/judged_argilla.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "text/judged_parts.h"
#include "text/line_shape.h"

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), size = strlen(end);
    return length > size && strcmp(text + length - size, end) == 0;
}

/* A question's answers as Argilla's first version wrote them beside the fields. */
static bool is_question(const cJSON *item) {
    const cJSON *first = item && cJSON_IsArray(item) ? item->child : NULL;
    return tv_json_get(first, "value") && tv_json_get(first, "user_id");
}

tv_judged_form tv_argilla_form_of(const tv_json_line *line) {
    const cJSON *member;
    if (cJSON_IsObject(tv_line_get(line, "fields")) && cJSON_IsObject(tv_line_get(line, "responses")))
        return TV_JUDGED_ARGILLA;
    cJSON_ArrayForEach(member, line->root) {
        if (ends_with(member->string, ".responses"))
            return TV_JUDGED_ARGILLA_FLAT;
    }
    cJSON_ArrayForEach(member, line->root) {
        if (is_question(member))
            return TV_JUDGED_ARGILLA_QUESTIONS;
    }
    return TV_JUDGED_NONE;
}

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
    cJSON_ArrayForEach(entry, value)
        if (!field_named(fields, entry_name(entry)))
            return false;
    return value->child && value->child->next;
}

static const cJSON *value_of(const cJSON *answer, bool flat) {
    return flat ? answer : tv_json_get(answer, "value");
}

/* The question among several whose answers name fields. */
static bool ranks_fields(const cJSON *fields, const question *q, bool flat) {
    const cJSON *answer;
    cJSON_ArrayForEach(answer, q->answers)
        if (names_fields(fields, value_of(answer, flat)))
            return true;
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
    TV_RETURN_IF_FAILED(tv_judged_add_answer(item, line, name->valuestring, field));
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
    tv_judged_rank_scores(places, item->answer_count, ranks);
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
            cJSON_ArrayForEach(entry, value)
                if (field_named(fields, entry_name(entry)))
                    TV_RETURN_IF_FAILED(
                        answer_of_field(item, line, fields, entry_name(entry), named, &number));
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
        return tv_judged_add_answer(item, line, field->string, field);
    }
    return TV_OK;
}

static tv_status read_prompt(const tv_json_line *line, const cJSON *fields, tv_judged_item *item) {
    static const char *const prompts[] = {"prompt", "instruction", "question", "query"};
    static const char *const contexts[] = {"input", "context"};
    const cJSON *prompt = NULL, *context = NULL;
    const char *name = "prompt";
    for (size_t i = 0; i < TV_COUNT(prompts) && !prompt; i++)
        if ((prompt = tv_json_get(fields, prompts[i])))
            name = prompts[i];
    for (size_t i = 0; i < TV_COUNT(contexts) && !context; i++)
        context = tv_json_get(fields, contexts[i]);
    return tv_judged_set_prompt(item, line, name, prompt, cJSON_IsNull(context) ? NULL : context);
}

tv_status tv_argilla_read(tv_judged_form form, const tv_json_line *line, tv_judged_item *item) {
    const cJSON *fields = fields_of(form, line), *answer;
    const bool flat = form == TV_JUDGED_ARGILLA_FLAT;
    const char *named[TV_JUDGED_ANSWERS] = {NULL};
    question q;
    int number = 0;
    TV_RETURN_IF_FAILED(tv_judged_set_id(item, line, tv_line_get(line, "id") ? "id" : "external_id"));
    TV_RETURN_IF_FAILED(find_question(form, line, &q));
    if (!q.name) /* nobody compared these answers */
        return TV_OK;
    TV_RETURN_IF_FAILED(read_prompt(line, fields, item));
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
        TV_RETURN_IF_FAILED(tv_judged_next_verdict(item, line, &ranks));
        TV_RETURN_IF_FAILED(read_value(item, line, fields, value, &q, named, ranks));
        snprintf(unnamed, sizeof unnamed, "user %d", at + 1);
        const char *name = cJSON_IsString(user) && user->valuestring[0] ? user->valuestring : unnamed;
        TV_RETURN_IF_FAILED(tv_judged_name_text(item, name, &item->annotators[item->verdict_count++]));
    }
    return TV_OK;
}
