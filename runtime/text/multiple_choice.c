/* Lines to endings: see multiple_choice.h. */
#include "text/multiple_choice.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "text/line_shape.h"
#include "text/unused_keys.h"

static const char *const text_keys[] = {"ctx", "query", "prompt", "question"};
static const char *const list_keys[] = {"endings", "choices"};
static const char *const label_keys[] = {"label", "gold", "answer"};

typedef struct reading {
    const tv_multiple_choice_options *options;
    tv_multiple_choice *set;
    uint64_t capacity, ending_capacity;
    tv_text text, ending, whole;
    tv_ids ids, alone;
    const char *file;
    tv_unused_keys unused;
} reading;

/* The first of the keys that the line has. */
static const cJSON *get_any(const tv_json_line *line, const char *const *keys, uint64_t count,
                            const char **key) {
    for (uint64_t i = 0; i < count; i++) {
        const cJSON *found = tv_line_get(line, keys[i]);
        *key = keys[i];
        if (found)
            return found;
    }
    *key = keys[0];
    return NULL;
}
#define GET_ANY(line, keys, key) get_any(line, keys, TV_COUNT(keys), key)

static tv_status read_label(const tv_json_line *line, uint32_t count, uint32_t *right) {
    const char *key;
    const cJSON *item = GET_ANY(line, label_keys, &key);
    double value = -1;
    if (cJSON_IsNumber(item))
        value = item->valuedouble;
    else if (cJSON_IsString(item) && strlen(item->valuestring) <= 2 &&
             strspn(item->valuestring, "0123456789") == strlen(item->valuestring) && item->valuestring[0])
        value = atoi(item->valuestring);
    if (!(value >= 0 && value < count) || value != (uint32_t)value)
        return tv_fail(
            TV_E_DATA,
            "%s: expected the number of the right one of %u endings, from 0, under \"%s\", found %s",
            line->where, count, key,
            !item                  ? "no such key"
            : cJSON_IsNumber(item) ? "another number"
                                   : tv_json_kind(item));
    *right = (uint32_t)value;
    return TV_OK;
}

/* Into r->whole: text, a space where none is, ending. *cut: where the ending's part begins, white space at
 * the text's end included. */
static tv_status join(reading *r, uint64_t *cut) {
    uint64_t size = r->text.size;
    r->whole.size = 0;
    TV_RETURN_IF_FAILED(tv_text_append(&r->whole, r->text.data, size));
    *cut = size;
    while (*cut > 0 && isspace(r->text.data[*cut - 1]))
        --*cut;
    if (size > 0 && *cut == size && !isspace(r->ending.data[0]))
        TV_RETURN_IF_FAILED(tv_text_append(&r->whole, " ", 1));
    return tv_text_append(&r->whole, r->ending.data, r->ending.size);
}

static tv_status encode(reading *r, tv_ids *ids, uint64_t size) {
    ids->size = 0;
    TV_RETURN_IF_FAILED(tv_tokenizer_begin_text(r->options->tokenizer, ids));
    return tv_tokenizer_encode(r->options->tokenizer, r->whole.data, size, false, ids);
}

static tv_status keep(reading *r, const tv_json_line *line, tv_ending ending) {
    tv_multiple_choice *set = r->set;
    uint64_t limit = r->options->max_tokens, from = 0;
    if (limit && r->ids.size > limit) {
        from = r->ids.size - limit;
        if (from >= ending.first)
            return tv_fail(TV_E_FIT, "%s: expected endings of fewer than %llu tokens, found one of %llu",
                           line->where, (unsigned long long)limit,
                           (unsigned long long)(r->ids.size - ending.first));
        set->cut++;
    }
    ending.first -= from;
    ending.length = r->ids.size - from;
    uint32_t *ids = tv_arena_alloc(set->arena, ending.length, sizeof *ids);
    void *endings = set->endings;
    if (!ids)
        return TV_E_MEMORY;
    memcpy(ids, r->ids.data + from, ending.length * sizeof *ids);
    ending.ids = ids;
    TV_RETURN_IF_FAILED(tv_grow(&endings, &r->ending_capacity, set->ending_count + 1, sizeof ending));
    set->endings = endings;
    set->endings[set->ending_count++] = ending;
    set->longest = tv_max_u64(set->longest, ending.length);
    return TV_OK;
}

static tv_status add_ending(reading *r, const tv_json_line *line, const cJSON *item) {
    uint64_t cut;
    r->ending.size = 0;
    if (cJSON_IsString(item))
        TV_RETURN_IF_FAILED(tv_json_line_text(line, item, &r->ending));
    if (r->ending.size == 0)
        return tv_fail(TV_E_DATA, "%s: expected texts that are not empty as endings, found %s", line->where,
                       cJSON_IsString(item) ? "an empty one" : tv_json_kind(item));
    TV_RETURN_IF_FAILED(join(r, &cut));
    TV_RETURN_IF_FAILED(encode(r, &r->alone, cut));
    TV_RETURN_IF_FAILED(encode(r, &r->ids, r->whole.size));
    uint64_t first = r->alone.size;
    if (first == 0) { /* nothing stands before the first token yet, which then nothing would predict */
        uint32_t end = tv_tokenizer_info_of(r->options->tokenizer)->end_of_text;
        if (end == TV_NO_TOKEN)
            return tv_fail(TV_E_DATA,
                           "%s: expected a text before the endings, found none, and the tokenizer has no "
                           "token to begin with",
                           line->where);
        TV_RETURN_IF_FAILED(tv_ids_append(&r->ids, &end, 1));
        memmove(r->ids.data + 1, r->ids.data, (r->ids.size - 1) * sizeof *r->ids.data);
        r->ids.data[0] = end;
        first = 1;
    }
    if (first >= r->ids.size) /* a token that spans the seam: the ending is what the last one is */
        first = r->ids.size - 1;
    if (first == 0)
        return tv_fail(TV_E_DATA, "%s: expected a text before the endings of one token, found none",
                       line->where);
    return keep(r, line, (tv_ending){.first = first, .bytes = r->ending.size});
}

static void count_unused(reading *r, const tv_json_line *line, const char *text, const char *list,
                         const char *label) {
    const char *const known[] = {text, list, label, "id", "ind", NULL};
    tv_unused_keys_add(&r->unused, r->file, line->root, known);
}

static tv_status add_question(void *context, const tv_json_line *line) {
    reading *r = context;
    tv_multiple_choice *set = r->set;
    const char *text_key, *list_key, *label_key;
    const cJSON *text = GET_ANY(line, text_keys, &text_key), *list = GET_ANY(line, list_keys, &list_key),
                *item;
    tv_question question = {.first = set->ending_count};
    void *questions = set->questions;
    if (!cJSON_IsString(text))
        return tv_fail(TV_E_DATA, "%s: expected a text under \"%s\", found %s", line->where, text_key,
                       text ? tv_json_kind(text) : "no such key");
    int count = cJSON_IsArray(list) ? cJSON_GetArraySize(list) : 0;
    if (count < 2 || count > TV_MOST_ENDINGS)
        return tv_fail(TV_E_DATA, "%s: expected a list of 2 to %d texts under \"%s\", found %s", line->where,
                       TV_MOST_ENDINGS, list_key,
                       !list                  ? "no such key"
                       : !cJSON_IsArray(list) ? tv_json_kind(list)
                       : count < 2            ? "a shorter one"
                                              : "a longer one");
    question.count = (uint32_t)count;
    TV_RETURN_IF_FAILED(read_label(line, question.count, &question.right));
    (void)GET_ANY(line, label_keys, &label_key);
    count_unused(r, line, text_key, list_key, label_key);
    r->text.size = 0;
    TV_RETURN_IF_FAILED(tv_json_line_text(line, text, &r->text));
    cJSON_ArrayForEach(item, list) {
        TV_RETURN_IF_FAILED(add_ending(r, line, item));
    }
    TV_RETURN_IF_FAILED(tv_grow(&questions, &r->capacity, set->count + 1, sizeof question));
    set->questions = questions;
    set->questions[set->count++] = question;
    return TV_OK;
}

static tv_status read_questions(const char *path, const uint8_t *bytes, uint64_t size,
                                const tv_multiple_choice_options *options, tv_multiple_choice **out) {
    tv_status status;
    reading r = {.options = options, .file = path};
    *out = r.set = calloc(1, sizeof *r.set);
    if (!r.set)
        return tv_fail(TV_E_MEMORY, "out of host memory for questions");
    TV_TRY(tv_arena_create(&r.set->arena));
    if (bytes)
        TV_TRY(tv_source_read_json_bytes(bytes, size, path, add_question, &r));
    else
        TV_TRY(tv_source_read_json(&path, 1, add_question, &r, NULL));
    tv_unused_keys_report(&r.unused);
    if (r.set->cut)
        tv_warn("%llu of %llu endings have a text that lost its beginning: with it they are longer than %llu "
                "tokens",
                (unsigned long long)r.set->cut, (unsigned long long)r.set->ending_count,
                (unsigned long long)options->max_tokens);
done:
    tv_text_free(&r.text);
    tv_text_free(&r.ending);
    tv_text_free(&r.whole);
    tv_ids_free(&r.ids);
    tv_ids_free(&r.alone);
    if (status != TV_OK)
        tv_multiple_choice_destroy(out);
    return status;
}

tv_status tv_multiple_choice_read(const char *path, const tv_multiple_choice_options *options,
                                  tv_multiple_choice **questions) {
    return read_questions(path, NULL, 0, options, questions);
}

tv_status tv_multiple_choice_read_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                        const tv_multiple_choice_options *options,
                                        tv_multiple_choice **questions) {
    return read_questions(name, bytes ? bytes : (const uint8_t *)"", size, options, questions);
}

void tv_multiple_choice_destroy(tv_multiple_choice **questions) {
    if (!questions || !*questions)
        return;
    tv_arena_destroy(&(*questions)->arena);
    free((*questions)->questions);
    free((*questions)->endings);
    free(*questions);
    *questions = NULL;
}

/* ---- what a file is ---- */

static tv_status look(void *context, const tv_json_line *line) {
    const char *key;
    *(bool *)context = GET_ANY(line, list_keys, &key) && GET_ANY(line, text_keys, &key);
    return TV_E_INTERRUPTED; /* one line is enough */
}

bool tv_multiple_choice_found(const char *path) {
    return tv_source_first_line(path, look);
}
