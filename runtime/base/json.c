/* Checks around cJSON: see json.h. */
#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/forms.h"

/* cJSON takes 80 bytes for a value, and tokenizers have two million. */
enum { EXCERPT = 20, MOST_VALUES = 8000000 };

/* What stands where the parser gave up. */
static void describe_mistake(const char *at, const char *limit, char *out, uint64_t capacity) {
    static const char *const numbers[] = {"NaN", "nan", "Infinity", "-Infinity", "-NaN", "inf", "-inf"};
    uint64_t left = (uint64_t)(limit - at);
    for (uint64_t i = 0; i < TV_COUNT(numbers); i++)
        if (left >= strlen(numbers[i]) && memcmp(at, numbers[i], strlen(numbers[i])) == 0) {
            snprintf(out, capacity, "%s, which is no number in JSON", numbers[i]);
            return;
        }
    if (left >= 6 && at[0] == '\\' && at[1] == 'u' && (at[2] == 'd' || at[2] == 'D'))
        snprintf(out, capacity, "%.6s, which is half of a character without the other half", at);
    else
        snprintf(out, capacity, "\"%.*s\"%s", (int)tv_min_u64(left, EXCERPT), at,
                 left <= EXCERPT ? ", and then the end" : "");
}

static tv_status mistake(const char *text, uint64_t size, const char *problem, const char *where) {
    char place[64], found[128];
    uint64_t line = 1, column = 1;
    for (const char *c = text; c < problem; c++) {
        column = *c == '\n' ? 1 : column + 1;
        line += *c == '\n';
    }
    describe_mistake(problem, text + size, found, sizeof found);
    if (memchr(text, '\n', size)) /* else `where` may name the line itself */
        snprintf(place, sizeof place, "at line %llu, column %llu", (unsigned long long)line,
                 (unsigned long long)column);
    else
        snprintf(place, sizeof place, "at column %llu", (unsigned long long)column);
    return tv_fail(TV_E_DATA, "%s: expected valid JSON, found a mistake %s: %s", where, place, found);
}

/* Values behind brackets and commas: a tree has about as many. */
static uint64_t count_values(const char *text, uint64_t size) {
    uint64_t count = 1;
    bool in_text = false;
    for (uint64_t i = 0; i < size; i++) {
        char c = text[i];
        if (in_text && c == '\\')
            i++;
        else if (c == '"')
            in_text = !in_text;
        else if (!in_text)
            count += c == ',' || c == '[' || c == '{';
    }
    return count;
}

tv_status tv_json_parse(const char *text, uint64_t size, const char *where, cJSON **root) {
    const char *end = NULL, *form = tv_form_name(text, size);
    uint64_t mark = tv_mark_size(text, size);
    *root = NULL;
    if (form)
        return tv_fail(TV_E_DATA, "%s: expected JSON, found %s", where, form);
    text += mark;
    size -= mark;
    /* A value takes two bytes at least. */
    if (size / 2 > MOST_VALUES && count_values(text, size) > MOST_VALUES)
        return tv_fail(TV_E_DATA, "%s: expected JSON of at most %d million values, found more", where,
                       MOST_VALUES / 1000000);
    *root = cJSON_ParseWithLengthOpts(text, size, &end, false);
    const char *problem = end ? end : text;
    if (*root) {
        const char *limit = text + size;
        while (problem < limit &&
               (*problem == ' ' || *problem == '\n' || *problem == '\r' || *problem == '\t'))
            problem++;
        if (problem == limit || *problem == '\0')
            return TV_OK;
        cJSON_Delete(*root);
        *root = NULL;
    }
    return mistake(text, size, problem, where);
}

tv_status tv_json_read_file(const char *path, cJSON **root) {
    char *text = NULL;
    uint64_t size = 0;
    *root = NULL;
    TV_RETURN_IF_FAILED(tv_read_file(path, &text, &size));
    tv_status status = tv_json_parse(text, size, path, root);
    free(text);
    return status;
}

/* cJSON prints 15 digits of a number where that is right within an epsilon, so the last bits can get lost.
 * Gives such numbers of a tree, and their siblings', as text with all 17. False when memory is out. */
static bool spell_numbers_out(cJSON *item) {
    for (; item; item = item->next) {
        if (!spell_numbers_out(item->child))
            return false;
        char digits[32];
        if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
            continue;
        snprintf(digits, sizeof digits, "%.15g", item->valuedouble);
        if (strtod(digits, NULL) == item->valuedouble)
            continue;
        snprintf(digits, sizeof digits, "%.17g", item->valuedouble);
        item->valuestring = tv_format("%s", digits);
        if (!item->valuestring)
            return false;
        item->type = (item->type & ~0xff) | cJSON_Raw;
    }
    return true;
}

static char *print(const cJSON *root, bool indented) {
    cJSON *exact = cJSON_Duplicate(root, true);
    char *text = NULL;
    if (exact && spell_numbers_out(exact))
        text = indented ? cJSON_Print(exact) : cJSON_PrintUnformatted(exact);
    cJSON_Delete(exact);
    return text;
}

tv_status tv_json_print_file(const cJSON *root, char **text) {
    char *lines = print(root, true);
    *text = lines ? tv_format("%s\n", lines) : NULL;
    cJSON_free(lines);
    return *text ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory while printing JSON");
}

tv_status tv_json_write_file(const char *path, const cJSON *root) {
    char *text = NULL;
    TV_RETURN_IF_FAILED(tv_json_print_file(root, &text));
    tv_status status = tv_write_file(path, text, strlen(text));
    free(text);
    return status;
}

tv_status tv_json_print_line(const cJSON *root, char **line) {
    *line = print(root, false);
    return *line ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory while printing JSON");
}

const cJSON *tv_json_get(const cJSON *object, const char *key) {
    const cJSON *last = NULL, *item;
    cJSON_ArrayForEach(item, object) {
        if (item->string && strcmp(item->string, key) == 0)
            last = item;
    }
    return last;
}

static int by_key(const void *a, const void *b) {
    const cJSON *const *x = a, *const *y = b;
    return strcmp((*x)->string, (*y)->string);
}

/* Sorted, because a stranger's object may have a million of them. */
static tv_status expect_keys_once(const cJSON *object, const char *where) {
    const cJSON *item, *again = NULL;
    uint64_t count = 0;
    cJSON_ArrayForEach(item, object)
        count++;
    const cJSON **keys = malloc((count + 1) * sizeof *keys);
    if (!keys)
        return tv_fail(TV_E_MEMORY, "out of host memory for the keys of %s", where);
    count = 0;
    cJSON_ArrayForEach(item, object)
        keys[count++] = item;
    qsort(keys, count, sizeof *keys, by_key);
    for (uint64_t i = 1; i < count && !again; i++)
        again = strcmp(keys[i - 1]->string, keys[i]->string) == 0 ? keys[i] : NULL;
    free(keys);
    return again ? tv_fail(TV_E_DATA, "%s: expected each key once, found \"%s\" again", where, again->string)
                 : TV_OK;
}

tv_status tv_json_expect_each_once(const cJSON *root, const char *where) {
    const cJSON *item;
    if (cJSON_IsObject(root))
        TV_RETURN_IF_FAILED(expect_keys_once(root, where));
    if (cJSON_IsObject(root) || cJSON_IsArray(root))
        cJSON_ArrayForEach(item, root)
            TV_RETURN_IF_FAILED(tv_json_expect_each_once(item, where));
    return TV_OK;
}

static const cJSON *get_present(const cJSON *object, const char *key) {
    const cJSON *item = tv_json_get(object, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static tv_status wrong_type(const cJSON *item, const char *where, const char *key, const char *expected) {
    char *found = cJSON_PrintUnformatted(item);
    tv_status status = tv_fail(TV_E_DATA, "%s: expected %s for \"%s\", found %.80s", where, expected, key,
                               found ? found : "something else");
    cJSON_free(found);
    return status;
}

const char *tv_json_kind(const cJSON *item) {
    if (!item)
        return "nothing";
    switch (item->type & 0xff) {
    case cJSON_False:
        return "false";
    case cJSON_True:
        return "true";
    case cJSON_NULL:
        return "null";
    case cJSON_Number:
        return "a number";
    case cJSON_String:
        return item->valuestring[0] ? "a text" : "an empty text";
    case cJSON_Array:
        return item->child ? "an array" : "an empty array";
    case cJSON_Object:
        return "an object";
    default:
        return "something else";
    }
}

tv_status tv_json_string(const cJSON *object, const char *key, const char *where, const char *fallback,
                         const char **value) {
    const cJSON *item = get_present(object, key);
    *value = fallback;
    if (!item)
        return TV_OK;
    if (!cJSON_IsString(item))
        return wrong_type(item, where, key, "a text");
    *value = item->valuestring;
    return TV_OK;
}

tv_status tv_json_integer(const cJSON *object, const char *key, const char *where, int64_t minimum,
                          int64_t maximum, int64_t fallback, int64_t *value) {
    const cJSON *item = get_present(object, key);
    *value = fallback;
    if (!item)
        return TV_OK;
    char expected[96];
    snprintf(expected, sizeof expected, "a whole number from %lld to %lld", (long long)minimum,
             (long long)maximum);
    double number = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    /* Doubles hold whole numbers exactly up to 2^53. */
    if (!(fabs(number) <= 0x1p53) || number != floor(number) || number < (double)minimum ||
        number > (double)maximum)
        return wrong_type(item, where, key, expected);
    *value = (int64_t)number;
    return TV_OK;
}

tv_status tv_json_number(const cJSON *object, const char *key, const char *where, double fallback,
                         double *value) {
    const cJSON *item = get_present(object, key);
    *value = fallback;
    if (!item)
        return TV_OK;
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        return wrong_type(item, where, key, "a finite number");
    *value = item->valuedouble;
    return TV_OK;
}

tv_status tv_json_bool(const cJSON *object, const char *key, const char *where, bool fallback, bool *value) {
    const cJSON *item = get_present(object, key);
    *value = fallback;
    if (!item)
        return TV_OK;
    if (!cJSON_IsBool(item))
        return wrong_type(item, where, key, "true or false");
    *value = cJSON_IsTrue(item);
    return TV_OK;
}

static bool set_member(cJSON *object, const char *key, cJSON *item) {
    if (!item)
        return false;
    /* Of several of that name the last counts, and cJSON replaces the first. */
    for (cJSON *first; (first = cJSON_GetObjectItemCaseSensitive(object, key)) != tv_json_get(object, key);)
        cJSON_Delete(cJSON_DetachItemViaPointer(object, first));
    if (tv_json_get(object, key))
        return cJSON_ReplaceItemInObjectCaseSensitive(object, key, item);
    return cJSON_AddItemToObject(object, key, item);
}

bool tv_json_set_number(cJSON *object, const char *key, double value) {
    return set_member(object, key, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

bool tv_json_set_string(cJSON *object, const char *key, const char *value) {
    return set_member(object, key, cJSON_CreateString(value));
}

bool tv_json_set_bool(cJSON *object, const char *key, bool value) {
    return set_member(object, key, cJSON_CreateBool(value));
}

bool tv_json_overlay(cJSON *base, const cJSON *over) {
    const cJSON *item;
    if (!cJSON_IsObject(base) || !cJSON_IsObject(over))
        return true;
    cJSON_ArrayForEach(item, over) {
        cJSON *there = cJSON_GetObjectItemCaseSensitive(base, item->string);
        if (cJSON_IsObject(there) && cJSON_IsObject(item)) {
            if (!tv_json_overlay(there, item))
                return false;
            continue;
        }
        cJSON_DeleteItemFromObjectCaseSensitive(base, item->string);
        cJSON *copy = cJSON_Duplicate(item, true);
        if (!copy || !cJSON_AddItemToObject(base, item->string, copy)) {
            cJSON_Delete(copy);
            return false;
        }
    }
    return true;
}
