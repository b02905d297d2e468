/* Preference data: see preferences.h. */
#include "text/preferences.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "text/line_shape.h"
#include "text/prompts.h"
#include "text/unused_keys.h"

typedef enum shape { ANSWERS, PAIR, IMPLICIT, UNPAIRED } shape;

static const tv_line_shape SHAPES[] = {
    [ANSWERS] = {"{\"prompt\", \"answers\": [{\"answer\", \"rank\"}]}", {"prompt", "answers"}},
    [PAIR] = {"{\"prompt\", \"chosen\", \"rejected\"}", {"prompt", "chosen", "rejected"}},
    [IMPLICIT] = {"{\"chosen\", \"rejected\"} with the prompt in both", {"chosen", "rejected"}},
    [UNPAIRED] = {"{\"prompt\", \"completion\", \"label\"}", {"prompt", "completion", "label"}},
};

static bool begins_with(const cJSON *text, const char *beginning) {
    return cJSON_IsString(text) && strncmp(text->valuestring, beginning, strlen(beginning)) == 0;
}

/* The world's names for the shapes. */
static const char *known_as(const tv_json_line *line, uint64_t number) {
    const cJSON *chosen = tv_line_get(line, "chosen");
    if (number == ANSWERS)
        return NULL;
    if (number == UNPAIRED)
        return "KTO";
    if (begins_with(chosen, "\n\nHuman:"))
        return "HH-RLHF";
    if (tv_line_get(line, "score_chosen") || tv_line_get(line, "chosen-rating"))
        return "UltraFeedback, binarized";
    if (number == PAIR)
        return cJSON_IsArray(chosen) ? "TRL, explicit prompt, conversational" : "TRL, explicit prompt";
    return cJSON_IsArray(chosen) ? "TRL, implicit prompt, conversational" : "TRL, implicit prompt";
}

/* An answer of the line; its bytes lie in reading.contents. */
typedef struct answer {
    uint64_t offset, length, number;
    double rank;
} answer;

typedef struct reading {
    const tv_preferences_options *options;
    tv_preferences *set;
    uint64_t capacity, lines;
    tv_shape_reader shape;
    tv_judged_form form; /* of the file; NONE: one of the shapes */
    tv_judged_item item;
    tv_text judged; /* lines made of it */
    tv_prompt_encoder encoder;
    answer *answers;
    uint64_t count, answers_capacity;
    tv_text contents;
    uint64_t lists;        /* answers that are lists of messages */
    tv_messages list;      /* one of them */
    tv_messages beginning; /* what stands in them before the answer; empty: nothing */
    tv_messages prompt;
    tv_ids ids;
    tv_unused_keys unused;
} reading;

/* "system" is read where there is a conversation. */
static void count_unused(reading *r, const tv_json_line *line) {
    static const char *const line_keys[] = {"id",  "prompt", "answers",    "chosen", "rejected", "margin",
                                            "tie", "system", "completion", "label",  NULL};
    static const char *const text_keys[] = {"id",     "prompt", "answers",    "chosen", "rejected",
                                            "margin", "tie",    "completion", "label",  NULL};
    static const char *const message[] = {"role", "content", NULL};
    static const char *const answer_keys[] = {"answer", "rank", "score", NULL};
    const cJSON *prompt = tv_line_get(line, "prompt");
    tv_unused_keys_add(&r->unused, r->shape.file, line->root,
                       r->lists || cJSON_IsArray(prompt) ? line_keys : text_keys);
    tv_unused_keys_add_items(&r->unused, prompt, message);
    tv_unused_keys_add_items(&r->unused, tv_line_get(line, "chosen"), message);
    tv_unused_keys_add_items(&r->unused, tv_line_get(line, "rejected"), message);
    tv_unused_keys_add_items(&r->unused, tv_line_get(line, "answers"), answer_keys);
}

static bool same_messages(const tv_message *a, const tv_message *b, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (a[i].role != b[i].role || a[i].length != b[i].length ||
            (a[i].length && memcmp(a[i].content, b[i].content, a[i].length) != 0))
            return false;
    return true;
}

static tv_status copy_messages(const tv_messages *from, uint64_t count, tv_messages *to) {
    to->count = to->contents.size = 0;
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(
            tv_messages_add(to, from->items[i].role, from->items[i].content, from->items[i].length));
    return TV_OK;
}

/* The last of the list is the answer; what stands before it must be the same in all lists. */
static tv_status take_list(reading *r, const tv_json_line *line, const cJSON *item, const char *key) {
    TV_RETURN_IF_FAILED(tv_messages_from_json(line, item, key, TV_ROLE_CONTENT, &r->list));
    uint64_t before = r->list.count - 1;
    const tv_message *last = &r->list.items[before];
    if (last->role != TV_ASSISTANT)
        return tv_fail(TV_E_DATA, "%s: expected \"%s\" to end with a message of the assistant, found another",
                       line->where, key);
    if (r->lists++ == 0)
        TV_RETURN_IF_FAILED(copy_messages(&r->list, before, &r->beginning));
    else if (before != r->beginning.count || !same_messages(r->list.items, r->beginning.items, before))
        return tv_fail(TV_E_DATA,
                       "%s: expected the same messages before the last one of each answer, found others in "
                       "\"%s\"; only the last answer is compared",
                       line->where, key);
    return tv_text_append(&r->contents, last->content, last->length);
}

static tv_status take_answer(reading *r, const tv_json_line *line, const cJSON *item, const char *key,
                             double rank) {
    answer taken = {.offset = r->contents.size, .number = r->count, .rank = rank};
    if (cJSON_IsArray(item))
        TV_RETURN_IF_FAILED(take_list(r, line, item, key));
    else if (cJSON_IsString(item))
        TV_RETURN_IF_FAILED(tv_json_line_text(line, item, &r->contents));
    else
        return tv_fail(TV_E_DATA, "%s: expected a text or a list of messages for \"%s\", found %s",
                       line->where, key, item ? tv_json_kind(item) : "no such key");
    taken.length = r->contents.size - taken.offset;
    void *answers = r->answers;
    TV_RETURN_IF_FAILED(tv_grow(&answers, &r->answers_capacity, r->count + 1, sizeof taken));
    r->answers = answers;
    r->answers[r->count++] = taken;
    return TV_OK;
}

static tv_status take_pair(reading *r, const tv_json_line *line, double *margin) {
    bool tie;
    TV_RETURN_IF_FAILED(tv_json_number(line->root, "margin", line->where, 0, margin));
    TV_RETURN_IF_FAILED(tv_json_bool(line->root, "tie", line->where, false, &tie));
    TV_RETURN_IF_FAILED(take_answer(r, line, tv_line_get(line, "chosen"), "chosen", 0));
    return take_answer(r, line, tv_line_get(line, "rejected"), "rejected", tie ? 0 : 1);
}

static tv_status take_labelled(reading *r, const tv_json_line *line, bool *desirable) {
    const cJSON *label = tv_line_get(line, "label");
    double value = cJSON_IsNumber(label) ? label->valuedouble : cJSON_IsTrue(label);
    if (!r->options->unpaired)
        return tv_fail(TV_E_USAGE, "%s: expected answers that are compared, found one with a label (KTO)",
                       line->where);
    if (!(cJSON_IsBool(label) || cJSON_IsNumber(label)) || (value != 0 && value != 1))
        return tv_fail(TV_E_DATA, "%s: expected true or false for \"label\", found another %s", line->where,
                       tv_json_kind(label));
    *desirable = value > 0;
    return take_answer(r, line, tv_line_get(line, "completion"), "completion", 0);
}

static tv_status take_answers(reading *r, const tv_json_line *line) {
    const cJSON *list = tv_line_get(line, "answers"), *item;
    if (!cJSON_IsArray(list) || !list->child || !list->child->next)
        return tv_fail(TV_E_DATA, "%s: expected a list of at least two answers for \"answers\", found %s",
                       line->where, cJSON_IsArray(list) ? "a shorter one" : tv_json_kind(list));
    cJSON_ArrayForEach(item, list) {
        const cJSON *rank = tv_json_get(item, "rank");
        if (!cJSON_IsNumber(rank) || !isfinite(rank->valuedouble))
            return tv_fail(
                TV_E_DATA, "%s: expected a number for \"rank\" of answer %llu in \"answers\", found %s",
                line->where, (unsigned long long)r->count + 1, rank ? tv_json_kind(rank) : "no such key");
        TV_RETURN_IF_FAILED(take_answer(r, line, tv_json_get(item, "answer"), "answer", rank->valuedouble));
    }
    return TV_OK;
}

static bool is_blank(uint8_t c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

/* Where the prompt ends that two texts begin with: behind the last "\n\nAssistant:" (hh-rlhf), otherwise
 * before the white space in front of the first word in which they differ, so that no word is cut and neither
 * answer is empty. */
static uint64_t common_prompt(const uint8_t *a, uint64_t a_length, const uint8_t *b, uint64_t b_length) {
    static const char assistant[] = "\n\nAssistant:";
    const uint64_t size = sizeof assistant - 1;
    uint64_t shorter = tv_min_u64(a_length, b_length), common = 0;
    while (common < shorter && a[common] == b[common])
        common++;
    for (uint64_t end = tv_min_u64(common, shorter ? shorter - 1 : 0); end >= size; end--)
        if (memcmp(a + end - size, assistant, size) == 0)
            return end;
    common = tv_min_u64(common, shorter ? shorter - 1 : 0);
    while (common > 0 && !(is_blank(a[common]) && !is_blank(a[common - 1])))
        common--;
    return common;
}

/* Texts without a prompt of their own: it is cut off from both. */
static tv_status split_texts(reading *r) {
    answer *a = &r->answers[0], *b = &r->answers[1];
    const uint8_t *text = r->contents.data;
    uint64_t prompt = text ? common_prompt(text + a->offset, a->length, text + b->offset, b->length) : 0;
    TV_RETURN_IF_FAILED(tv_prompt_encode_text(&r->encoder, text ? text + a->offset : text, prompt, &r->ids));
    for (int i = 0; i < 2; i++) {
        r->answers[i].offset += prompt;
        r->answers[i].length -= prompt;
    }
    return TV_OK;
}

/* The tokens of the prompt into r->ids. */
static tv_status encode_prompt(reading *r, const tv_json_line *line, bool *is_chat) {
    const cJSON *prompt = tv_line_get(line, "prompt");
    *is_chat = r->lists > 0 || (prompt && cJSON_IsArray(prompt));
    if (r->lists > 0 && r->lists < r->count)
        return tv_fail(TV_E_DATA, "%s: expected answers that are all texts or all lists, found both",
                       line->where);
    if (r->shape.shape == IMPLICIT) {
        if (!*is_chat)
            return split_texts(r);
        return tv_prompt_encode_messages(&r->encoder, line, &r->beginning, &r->ids);
    }
    if (r->lists == 0)
        return tv_prompt_encode(&r->encoder, line, prompt, &r->ids, is_chat);
    r->prompt.count = r->prompt.contents.size = 0;
    if (cJSON_IsArray(prompt)) {
        TV_RETURN_IF_FAILED(tv_messages_from_json(line, prompt, "prompt", TV_ROLE_CONTENT, &r->prompt));
        if (r->beginning.count && (r->beginning.count != r->prompt.count ||
                                   !same_messages(r->beginning.items, r->prompt.items, r->prompt.count)))
            return tv_fail(TV_E_DATA,
                           "%s: expected answers that are one message or begin with those of \"prompt\", "
                           "found others before them",
                           line->where);
        return tv_prompt_encode_messages(&r->encoder, line, &r->prompt, &r->ids);
    }
    if (r->beginning.count) /* the prompt is there twice, as a text and as messages: these say more */
        return tv_prompt_encode_messages(&r->encoder, line, &r->beginning, &r->ids);
    if (!cJSON_IsString(prompt))
        return tv_fail(TV_E_DATA, "%s: expected a text or a list of messages for \"prompt\", found %s",
                       line->where, tv_json_kind(prompt));
    tv_text *text = &r->encoder.text;
    text->size = 0;
    TV_RETURN_IF_FAILED(tv_json_line_text(line, prompt, text));
    TV_RETURN_IF_FAILED(tv_messages_add(&r->prompt, TV_USER, text->data, text->size));
    return tv_prompt_encode_messages(&r->encoder, line, &r->prompt, &r->ids);
}

static int best_first(const void *a, const void *b) {
    const answer *left = a, *right = b;
    if (left->rank < right->rank || left->rank > right->rank)
        return left->rank < right->rank ? -1 : 1;
    return left->number < right->number ? -1 : 1;
}

static bool over_limit(const reading *r, uint64_t length) {
    return r->options->max_tokens && length > r->options->max_tokens;
}

static bool same_response(const tv_preference_response *a, const tv_preference_response *b) {
    return a->length == b->length && memcmp(a->ids, b->ids, a->length * sizeof *a->ids) == 0;
}

/* The answers behind the prompt in r->ids as a group, or dropped. */
static tv_status keep(reading *r, const tv_json_line *line, bool is_chat, double margin, bool desirable) {
    tv_preferences *set = r->set;
    uint64_t prompt_length = r->ids.size, longest = 0;
    tv_preference_group group = {.count = r->count,
                                 .margin = margin,
                                 .desirable = desirable,
                                 .file = r->shape.file,
                                 .line = line->line};
    if (over_limit(r, prompt_length)) {
        set->too_long++;
        return TV_OK;
    }
    group.prompt_hash = tv_hash_bytes(r->ids.data, prompt_length * sizeof *r->ids.data, 0);
    group.responses = tv_arena_alloc(set->arena, r->count, sizeof *group.responses);
    if (!group.responses)
        return TV_E_MEMORY;
    qsort(r->answers, r->count, sizeof *r->answers, best_first);
    for (uint64_t i = 0; i < r->count; i++) {
        const answer *a = &r->answers[i];
        tv_preference_response *response = &group.responses[i];
        r->ids.size = prompt_length;
        TV_RETURN_IF_FAILED(
            tv_answer_encode(&r->encoder, is_chat, r->contents.data + a->offset, a->length, &r->ids));
        if (over_limit(r, r->ids.size)) {
            set->too_long++;
            return TV_OK;
        }
        uint32_t *ids = tv_arena_alloc(set->arena, r->ids.size, sizeof *ids);
        if (!ids)
            return TV_E_MEMORY;
        memcpy(ids, r->ids.data, r->ids.size * sizeof *ids);
        *response = (tv_preference_response){ids, r->ids.size, prompt_length, 0};
        if (i > 0)
            response->rank = response[-1].rank + (a->rank > r->answers[i - 1].rank);
        longest = tv_max_u64(longest, r->ids.size);
    }
    if (r->shape.shape != ANSWERS && r->count == 2 &&
        same_response(&group.responses[0], &group.responses[1])) {
        set->same++;
        return TV_OK;
    }
    void *groups = set->groups;
    TV_RETURN_IF_FAILED(tv_grow(&groups, &r->capacity, set->count + 1, sizeof group));
    set->groups = groups;
    set->groups[set->count++] = group;
    set->responses += group.count;
    set->most = tv_max_u64(set->most, group.count);
    set->longest = tv_max_u64(set->longest, longest);
    return TV_OK;
}

static tv_status take_group(reading *r, const tv_json_line *line) {
    double margin = 0;
    bool is_chat, desirable = false;
    r->count = r->contents.size = r->lists = r->ids.size = 0;
    r->beginning.count = r->beginning.contents.size = 0;
    TV_RETURN_IF_FAILED(r->shape.shape == ANSWERS    ? take_answers(r, line)
                        : r->shape.shape == UNPAIRED ? take_labelled(r, line, &desirable)
                                                     : take_pair(r, line, &margin));
    if (!r->form)
        count_unused(r, line);
    TV_RETURN_IF_FAILED(encode_prompt(r, line, &is_chat));
    return keep(r, line, is_chat, margin, desirable);
}

/* ---- judged items ---- */

static tv_status begin_file(reading *r, const tv_json_line *line) {
    if (r->shape.file && strcmp(r->shape.file, line->file) == 0)
        return TV_OK;
    r->form = tv_judged_form_of(line);
    if (!r->form)
        return TV_OK;
    r->shape.file = tv_arena_copy(r->set->arena, line->file, strlen(line->file));
    if (!r->shape.file)
        return TV_E_MEMORY;
    tv_info("%s: %s", line->file, tv_judged_form_name(r->form));
    return TV_OK;
}

static tv_status take_made(void *context, const tv_json_line *line) {
    reading *r = context;
    r->shape.shape = tv_json_get(line->root, "answers") ? ANSWERS : PAIR;
    return take_group(r, line);
}

/* As the lines that it would be in a file of preferences. */
static tv_status take_judged(reading *r, const tv_json_line *line) {
    const char *const *keys = tv_judged_form_keys(r->form);
    if (keys)
        tv_unused_keys_add(&r->unused, r->shape.file, line->root, keys);
    r->judged.size = 0;
    TV_RETURN_IF_FAILED(tv_judged_item_read(r->form, line, &r->item));
    if (r->item.verdict_count == 0)
        r->set->undecided++;
    TV_RETURN_IF_FAILED(tv_judged_item_print(&r->item, r->options->verdicts, &r->judged, &r->set->undecided));
    for (uint64_t at = 0, size; at < r->judged.size; at += size + 1) {
        const uint8_t *made = r->judged.data + at;
        size = (uint64_t)((const uint8_t *)memchr(made, '\n', r->judged.size - at) - made);
        TV_RETURN_IF_FAILED(tv_json_line_again(line, made, size, take_made, r));
    }
    return TV_OK;
}

static tv_status add_group(void *context, const tv_json_line *line) {
    reading *r = context;
    if (tv_line_get(line, "ranking"))
        return tv_fail(TV_E_USAGE, "%s: expected preferences, found a ranking", line->where);
    r->lines++;
    TV_RETURN_IF_FAILED(begin_file(r, line));
    if (r->form)
        return take_judged(r, line);
    TV_RETURN_IF_FAILED(tv_shape_read(&r->shape, line));
    return take_group(r, line);
}

static tv_status report(const reading *r) {
    const tv_preferences *set = r->set;
    unsigned long long limit = r->options->max_tokens, lines = r->lines, too_long = set->too_long,
                       same = set->same, undecided = set->undecided;
    if (set->count == 0)
        return tv_fail(too_long ? TV_E_FIT : TV_E_DATA,
                       "%s: expected preferences, found none to learn from: of %llu lines %llu are longer "
                       "than %llu tokens, %llu have the same answer twice, and %llu pairs are undecided",
                       r->shape.file ? r->shape.file : "no input", lines, too_long, limit, same, undecided);
    tv_info("%llu groups of preferences, %llu answers, the longest with its prompt %llu tokens",
            (unsigned long long)set->count, (unsigned long long)set->responses,
            (unsigned long long)set->longest);
    if (too_long)
        tv_warn("%llu groups were dropped: an answer with its prompt is longer than %llu tokens", too_long,
                limit);
    if (same)
        tv_warn("%llu pairs were dropped: both answers are the same", same);
    if (undecided)
        tv_warn("%llu pairs were dropped: annotators took them for equal, or no verdict leads", undecided);
    return TV_OK;
}

static tv_status read_preferences(const tv_preferences_options *options, const uint8_t *bytes, uint64_t size,
                                  const char *name, tv_preferences **out) {
    tv_status status;
    reading r = {.options = options, .encoder.tokenizer = options->tokenizer};
    *out = r.set = calloc(1, sizeof *r.set);
    if (!r.set)
        return tv_fail(TV_E_MEMORY, "out of host memory for preferences");
    TV_TRY(tv_arena_create(&r.set->arena));
    TV_TRY(tv_text_append(&r.contents, "", 1)); /* so that no answer is NULL */
    r.shape = (tv_shape_reader){
        .shapes = SHAPES, .shape_count = TV_COUNT(SHAPES), .known_as = known_as, .arena = r.set->arena};
    if (name)
        TV_TRY(tv_source_read_json_bytes(bytes, size, name, add_group, &r));
    else
        TV_TRY(tv_source_read_json(options->paths, options->path_count, add_group, &r, NULL));
    tv_unused_keys_report(&r.unused);
    r.set->ends = tv_prompt_ends(&r.encoder);
    TV_TRY(report(&r));
done:
    tv_prompt_encoder_free(&r.encoder);
    free(r.answers);
    tv_text_free(&r.contents);
    tv_messages_free(&r.list);
    tv_messages_free(&r.beginning);
    tv_messages_free(&r.prompt);
    tv_ids_free(&r.ids);
    tv_judged_item_free(&r.item);
    tv_text_free(&r.judged);
    if (status != TV_OK)
        tv_preferences_destroy(out);
    return status;
}

tv_status tv_preferences_read(const tv_preferences_options *options, tv_preferences **set) {
    return read_preferences(options, NULL, 0, NULL, set);
}

tv_status tv_preferences_read_bytes(const tv_preferences_options *options, const uint8_t *bytes,
                                    uint64_t size, const char *name, tv_preferences **set) {
    return read_preferences(options, bytes, size, name, set);
}

void tv_preferences_destroy(tv_preferences **set) {
    if (!set || !*set)
        return;
    tv_arena_destroy(&(*set)->arena);
    free((*set)->groups);
    free(*set);
    *set = NULL;
}
