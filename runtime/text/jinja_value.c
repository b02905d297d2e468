/* Values of templates: see jinja_value.h. */
#include "text/jinja_value.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "text/utf8.h"

tv_status(tv_jinja_fail)(const tv_jinja_heap *heap, const char *format, ...) {
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return tv_fail(TV_E_DATA, "chat template line %u: %s", heap->line, text);
}

tv_status tv_jinja_alloc(tv_jinja_heap *heap, uint64_t count, uint64_t item_bytes, void **out) {
    uint64_t bytes;
    if (!tv_mul_u64(count, item_bytes, &bytes) || bytes > heap->memory)
        return tv_jinja_fail(heap, "expected a template that needs memory in proportion to the conversation, "
                                   "found one that grows without end");
    heap->memory -= bytes;
    *out = tv_arena_alloc(heap->arena, count, item_bytes);
    return *out ? TV_OK : TV_E_MEMORY;
}

tv_status tv_jinja_spend(tv_jinja_heap *heap, uint64_t steps) {
    if (steps > heap->steps)
        return tv_jinja_fail(heap, "expected a template that ends after steps in proportion to the "
                                   "conversation, found one that goes on without end");
    heap->steps -= steps;
    return TV_OK;
}

tv_status tv_jinja_enter(tv_jinja_heap *heap) {
    if (heap->depth >= TV_JINJA_MOST_DEPTH)
        return tv_jinja_fail(heap,
                             "expected a template that calls itself at most %d deep, found deeper calls",
                             TV_JINJA_MOST_DEPTH);
    heap->depth++;
    return tv_jinja_spend(heap, 1);
}

/* Moves `count` items to an array of `more`. */
static tv_status grow(tv_jinja_heap *heap, void **items, uint64_t count, uint64_t more, uint64_t item_bytes) {
    void *moved;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, more, item_bytes, &moved));
    if (count)
        memcpy(moved, *items, count * item_bytes);
    *items = moved;
    return TV_OK;
}

/* ---- text ---- */

tv_status tv_jinja_text_of(tv_jinja_heap *heap, const char *bytes, uint64_t length, uint32_t origin,
                           tv_jinja_value *out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof(tv_jinja_text), &place));
    tv_jinja_text *text = place;
    *text = (tv_jinja_text){.bytes = bytes, .length = length, .origin = origin};
    *out = (tv_jinja_value){.kind = TV_JINJA_TEXT, .text = text};
    return TV_OK;
}

tv_status tv_jinja_literal(tv_jinja_heap *heap, const char *text, tv_jinja_value *out) {
    return tv_jinja_text_of(heap, text, strlen(text), 0, out);
}

tv_status tv_jinja_part(tv_jinja_heap *heap, const tv_jinja_text *text, uint64_t begin, uint64_t end,
                        tv_jinja_value *out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof(tv_jinja_text), &place));
    tv_jinja_text *part = place;
    *part = (tv_jinja_text){.bytes = text->bytes + begin,
                            .length = end - begin,
                            .origins = text->origins ? text->origins + begin : NULL,
                            .origin = text->origin};
    *out = (tv_jinja_value){.kind = TV_JINJA_TEXT, .text = part};
    return TV_OK;
}

static tv_status reserve(tv_jinja_heap *heap, tv_jinja_buffer *buffer, uint64_t length) {
    uint64_t needed;
    if (!tv_add_u64(buffer->size, length, &needed))
        return tv_jinja_fail(heap, "expected a text that fits memory, found a longer one");
    if (buffer->bytes && needed <= buffer->capacity)
        return TV_OK;
    uint64_t more = tv_max_u64(needed, tv_max_u64(64, 2 * buffer->capacity));
    void *bytes = buffer->bytes, *origins = buffer->origins;
    TV_RETURN_IF_FAILED(grow(heap, &bytes, buffer->size, more, 1));
    TV_RETURN_IF_FAILED(grow(heap, &origins, buffer->size, more, sizeof(uint32_t)));
    buffer->bytes = bytes;
    buffer->origins = origins;
    buffer->capacity = more;
    return TV_OK;
}

tv_status tv_jinja_put(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const char *bytes, uint64_t length,
                       uint32_t origin) {
    if (length == 0)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, length / 64));
    TV_RETURN_IF_FAILED(reserve(heap, buffer, length));
    memcpy(buffer->bytes + buffer->size, bytes, length);
    for (uint64_t i = 0; i < length; i++)
        buffer->origins[buffer->size + i] = origin;
    buffer->size += length;
    return TV_OK;
}

tv_status tv_jinja_put_text(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const tv_jinja_text *text,
                            uint64_t begin, uint64_t end) {
    TV_RETURN_IF_FAILED(tv_jinja_put(heap, buffer, text->bytes + begin, end - begin, text->origin));
    if (text->origins && end > begin)
        memcpy(buffer->origins + buffer->size - (end - begin), text->origins + begin,
               (end - begin) * sizeof(uint32_t));
    return TV_OK;
}

static tv_status put_literal(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const char *text) {
    return tv_jinja_put(heap, buffer, text, strlen(text), 0);
}

/* The shortest digits that are read as the same number, as Python's repr. */
static void print_float(double number, char out[40]) {
    if (isnan(number) || isinf(number)) {
        snprintf(out, 40, "%s", isnan(number) ? "nan" : number < 0 ? "-inf" : "inf");
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(out, 40, "%.*g", digits, number);
        double back = strtod(out, NULL);
        if (!(back < number || back > number))
            break;
    }
    double size = fabs(number);
    if (size >= 1e16 || (size > 0 && size < 1e-4))
        return;
    if (strchr(out, 'e'))
        snprintf(out, 40, "%.0f", number);
    if (!strchr(out, '.'))
        strcat(out, ".0");
}

/* As Python's repr, for texts within lists. */
static tv_status put_quoted(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const tv_jinja_text *text) {
    const char *quote =
        memchr(text->bytes, '\'', text->length) && !memchr(text->bytes, '"', text->length) ? "\"" : "'";
    TV_RETURN_IF_FAILED(put_literal(heap, buffer, quote));
    for (uint64_t i = 0; i < text->length; i++) {
        char c = text->bytes[i], escape[8] = "";
        if (c == '\\' || c == *quote)
            snprintf(escape, sizeof escape, "\\%c", c);
        else if (c == '\n' || c == '\r' || c == '\t')
            snprintf(escape, sizeof escape, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if ((unsigned char)c < 0x20 || c == 0x7f)
            snprintf(escape, sizeof escape, "\\x%02x", (unsigned)(unsigned char)c);
        if (*escape)
            TV_RETURN_IF_FAILED(tv_jinja_put(heap, buffer, escape, strlen(escape), tv_jinja_origin(text, i)));
        else
            TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, buffer, text, i, i + 1));
    }
    return put_literal(heap, buffer, quote);
}

static tv_status put_repr(tv_jinja_heap *heap, tv_jinja_buffer *buffer, tv_jinja_value value);

static tv_status put_list(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const tv_jinja_list *list) {
    TV_RETURN_IF_FAILED(put_literal(heap, buffer, list->tuple ? "(" : "["));
    for (uint64_t i = 0; i < list->count; i++) {
        TV_RETURN_IF_FAILED(put_literal(heap, buffer, i ? ", " : ""));
        TV_RETURN_IF_FAILED(put_repr(heap, buffer, list->items[i]));
    }
    return put_literal(heap, buffer, !list->tuple ? "]" : list->count == 1 ? ",)" : ")");
}

static tv_status put_dict(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const tv_jinja_dict *dict) {
    TV_RETURN_IF_FAILED(put_literal(heap, buffer, "{"));
    for (uint64_t i = 0; i < dict->count; i++) {
        TV_RETURN_IF_FAILED(put_literal(heap, buffer, i ? ", " : ""));
        TV_RETURN_IF_FAILED(put_repr(heap, buffer, dict->keys[i]));
        TV_RETURN_IF_FAILED(put_literal(heap, buffer, ": "));
        TV_RETURN_IF_FAILED(put_repr(heap, buffer, dict->values[i]));
    }
    return put_literal(heap, buffer, "}");
}

tv_status tv_jinja_put_value(tv_jinja_heap *heap, tv_jinja_buffer *buffer, tv_jinja_value value) {
    char digits[40];
    tv_status status = TV_OK;
    switch (value.kind) {
    case TV_JINJA_UNDEFINED:
        return TV_OK;
    case TV_JINJA_NONE:
        return put_literal(heap, buffer, "None");
    case TV_JINJA_BOOL:
        return put_literal(heap, buffer, value.truth ? "True" : "False");
    case TV_JINJA_INTEGER:
        snprintf(digits, sizeof digits, "%lld", (long long)value.integer);
        return put_literal(heap, buffer, digits);
    case TV_JINJA_FLOAT:
        print_float(value.number, digits);
        return put_literal(heap, buffer, digits);
    case TV_JINJA_TEXT:
        return tv_jinja_put_text(heap, buffer, value.text, 0, value.text->length);
    case TV_JINJA_LIST:
    case TV_JINJA_DICT:
    case TV_JINJA_NAMESPACE:
        TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
        status = value.kind == TV_JINJA_LIST ? put_list(heap, buffer, value.list)
                                             : put_dict(heap, buffer, value.dict);
        heap->depth--;
        return status;
    case TV_JINJA_LOOP:
    case TV_JINJA_CALLABLE:
        break;
    }
    return tv_jinja_fail(heap, "expected a value that can be written, found %s", tv_jinja_kind_name(value));
}

static tv_status put_repr(tv_jinja_heap *heap, tv_jinja_buffer *buffer, tv_jinja_value value) {
    if (value.kind == TV_JINJA_TEXT)
        return put_quoted(heap, buffer, value.text);
    if (value.kind == TV_JINJA_UNDEFINED)
        return put_literal(heap, buffer, "Undefined");
    return tv_jinja_put_value(heap, buffer, value);
}

tv_status tv_jinja_finish(tv_jinja_heap *heap, const tv_jinja_buffer *buffer, tv_jinja_value *out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof(tv_jinja_text), &place));
    tv_jinja_text *text = place;
    *text = (tv_jinja_text){.bytes = buffer->size ? buffer->bytes : "",
                            .length = buffer->size,
                            .origins = buffer->size ? buffer->origins : NULL};
    *out = (tv_jinja_value){.kind = TV_JINJA_TEXT, .text = text};
    return TV_OK;
}

tv_status tv_jinja_to_text(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_text **out) {
    if (value.kind != TV_JINJA_TEXT) {
        tv_jinja_buffer buffer = {0};
        TV_RETURN_IF_FAILED(tv_jinja_put_value(heap, &buffer, value));
        TV_RETURN_IF_FAILED(tv_jinja_finish(heap, &buffer, &value));
    }
    *out = value.text;
    return TV_OK;
}

/* ---- lists and dicts ---- */

tv_status tv_jinja_new_list(tv_jinja_heap *heap, uint64_t capacity, tv_jinja_value *out) {
    void *place, *items = NULL;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof(tv_jinja_list), &place));
    if (capacity)
        TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, capacity, sizeof(tv_jinja_value), &items));
    tv_jinja_list *list = place;
    *list = (tv_jinja_list){.items = items, .capacity = capacity};
    *out = (tv_jinja_value){.kind = TV_JINJA_LIST, .list = list};
    return TV_OK;
}

tv_status tv_jinja_add(tv_jinja_heap *heap, tv_jinja_list *list, tv_jinja_value item) {
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
    if (list->count == list->capacity) {
        uint64_t more = tv_max_u64(8, 2 * list->capacity);
        void *items = list->items;
        TV_RETURN_IF_FAILED(grow(heap, &items, list->count, more, sizeof item));
        list->items = items;
        list->capacity = more;
    }
    list->items[list->count++] = item;
    return TV_OK;
}

tv_status tv_jinja_new_dict(tv_jinja_heap *heap, tv_jinja_value *out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof(tv_jinja_dict), &place));
    *out = (tv_jinja_value){.kind = TV_JINJA_DICT, .dict = place};
    return TV_OK;
}

tv_status tv_jinja_get(tv_jinja_heap *heap, const tv_jinja_dict *dict, tv_jinja_value key,
                       tv_jinja_value **found) {
    *found = NULL;
    for (uint64_t i = 0; i < dict->count; i++) {
        bool same;
        TV_RETURN_IF_FAILED(tv_jinja_equal(heap, dict->keys[i], key, &same));
        if (same) {
            *found = &dict->values[i];
            break;
        }
    }
    return TV_OK;
}

tv_status tv_jinja_set(tv_jinja_heap *heap, tv_jinja_dict *dict, tv_jinja_value key, tv_jinja_value value) {
    tv_jinja_value *found;
    if (key.kind == TV_JINJA_LIST ? !key.list->tuple : key.kind > TV_JINJA_LIST)
        return tv_jinja_fail(heap, "expected a key that does not change, found %s", tv_jinja_kind_name(key));
    TV_RETURN_IF_FAILED(tv_jinja_get(heap, dict, key, &found));
    if (found) {
        *found = value;
        return TV_OK;
    }
    if (dict->count == dict->capacity) {
        uint64_t more = tv_max_u64(4, 2 * dict->capacity);
        void *keys = dict->keys, *values = dict->values;
        TV_RETURN_IF_FAILED(grow(heap, &keys, dict->count, more, sizeof key));
        TV_RETURN_IF_FAILED(grow(heap, &values, dict->count, more, sizeof key));
        dict->keys = keys;
        dict->values = values;
        dict->capacity = more;
    }
    dict->keys[dict->count] = key;
    dict->values[dict->count++] = value;
    return TV_OK;
}

tv_status tv_jinja_set_named(tv_jinja_heap *heap, tv_jinja_dict *dict, const char *name,
                             tv_jinja_value value) {
    tv_jinja_value key;
    TV_RETURN_IF_FAILED(tv_jinja_literal(heap, name, &key));
    return tv_jinja_set(heap, dict, key, value);
}

static tv_status characters_of(tv_jinja_heap *heap, const tv_jinja_text *text, tv_jinja_list *list) {
    for (uint64_t i = 0; i < text->length;) {
        uint32_t used;
        tv_jinja_value item;
        tv_utf8_decode((const uint8_t *)text->bytes + i, text->length - i, &used);
        TV_RETURN_IF_FAILED(tv_jinja_part(heap, text, i, i + used, &item));
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, list, item));
        i += used;
    }
    return TV_OK;
}

tv_status tv_jinja_items_of(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_list **out) {
    tv_jinja_value made;
    if (value.kind == TV_JINJA_LIST) {
        *out = value.list;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, &made));
    *out = made.list;
    switch (value.kind) {
    case TV_JINJA_UNDEFINED:
        return TV_OK;
    case TV_JINJA_TEXT:
        return characters_of(heap, value.text, made.list);
    case TV_JINJA_DICT:
        for (uint64_t i = 0; i < value.dict->count; i++)
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, made.list, value.dict->keys[i]));
        return TV_OK;
    case TV_JINJA_LIST:
    case TV_JINJA_NONE:
    case TV_JINJA_BOOL:
    case TV_JINJA_INTEGER:
    case TV_JINJA_FLOAT:
    case TV_JINJA_NAMESPACE:
    case TV_JINJA_LOOP:
    case TV_JINJA_CALLABLE:
        break;
    }
    return tv_jinja_fail(heap, "expected a list to go through, found %s", tv_jinja_kind_name(value));
}

/* ---- comparing ---- */

bool tv_jinja_truth(tv_jinja_value value) {
    switch (value.kind) {
    case TV_JINJA_UNDEFINED:
    case TV_JINJA_NONE:
        return false;
    case TV_JINJA_BOOL:
        return value.truth;
    case TV_JINJA_INTEGER:
        return value.integer != 0;
    case TV_JINJA_FLOAT:
        return value.number < 0 || value.number > 0 || isnan(value.number);
    case TV_JINJA_TEXT:
        return value.text->length > 0;
    case TV_JINJA_LIST:
        return value.list->count > 0;
    case TV_JINJA_DICT:
        return value.dict->count > 0;
    case TV_JINJA_NAMESPACE:
    case TV_JINJA_LOOP:
    case TV_JINJA_CALLABLE:
        break;
    }
    return true;
}

const char *tv_jinja_kind_name(tv_jinja_value value) {
    static const char *const names[] = {[TV_JINJA_UNDEFINED] = "what is undefined",
                                        [TV_JINJA_NONE] = "none",
                                        [TV_JINJA_BOOL] = "true or false",
                                        [TV_JINJA_INTEGER] = "a whole number",
                                        [TV_JINJA_FLOAT] = "a number",
                                        [TV_JINJA_TEXT] = "a text",
                                        [TV_JINJA_LIST] = "a list",
                                        [TV_JINJA_DICT] = "a dict",
                                        [TV_JINJA_NAMESPACE] = "a namespace",
                                        [TV_JINJA_LOOP] = "a loop",
                                        [TV_JINJA_CALLABLE] = "a function"};
    return names[value.kind];
}

static tv_status equal_items(tv_jinja_heap *heap, tv_jinja_value a, tv_jinja_value b, bool *out) {
    if (a.kind == TV_JINJA_LIST) {
        *out = a.list->count == b.list->count && a.list->tuple == b.list->tuple;
        for (uint64_t i = 0; *out && i < a.list->count; i++)
            TV_RETURN_IF_FAILED(tv_jinja_equal(heap, a.list->items[i], b.list->items[i], out));
        return TV_OK;
    }
    *out = a.dict->count == b.dict->count;
    for (uint64_t i = 0; *out && i < a.dict->count; i++) {
        tv_jinja_value *other;
        TV_RETURN_IF_FAILED(tv_jinja_get(heap, b.dict, a.dict->keys[i], &other));
        *out = other != NULL;
        if (other)
            TV_RETURN_IF_FAILED(tv_jinja_equal(heap, a.dict->values[i], *other, out));
    }
    return TV_OK;
}

tv_status tv_jinja_equal(tv_jinja_heap *heap, tv_jinja_value a, tv_jinja_value b, bool *out) {
    *out = false;
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
    if (a.kind == TV_JINJA_INTEGER && b.kind == TV_JINJA_INTEGER) {
        *out = a.integer == b.integer;
    } else if (tv_jinja_is_number(a) && tv_jinja_is_number(b)) {
        double x = tv_jinja_number(a), y = tv_jinja_number(b);
        *out = x <= y && x >= y;
    } else if (a.kind != b.kind) {
        return TV_OK;
    } else if (a.kind == TV_JINJA_TEXT) {
        *out = a.text->length == b.text->length;
        if (*out && a.text->length) {
            TV_RETURN_IF_FAILED(tv_jinja_spend(heap, a.text->length / 64));
            *out = memcmp(a.text->bytes, b.text->bytes, a.text->length) == 0;
        }
    } else if (a.kind == TV_JINJA_NONE || a.kind == TV_JINJA_UNDEFINED) {
        *out = true;
    } else if (a.kind == TV_JINJA_LIST || a.kind == TV_JINJA_DICT) {
        TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
        tv_status status = equal_items(heap, a, b, out);
        heap->depth--;
        return status;
    } else {
        *out = a.dict == b.dict; /* the same namespace, loop or function */
    }
    return TV_OK;
}

tv_status tv_jinja_find(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *part,
                        uint64_t from, uint64_t *at) {
    uint64_t i = from, last = text->length - part->length;
    *at = UINT64_MAX;
    if (part->length == 0) {
        *at = from <= text->length ? from : UINT64_MAX;
        return TV_OK;
    }
    for (; part->length <= text->length && i <= last; i++) {
        const char *hit = memchr(text->bytes + i, part->bytes[0], last - i + 1);
        i = hit ? (uint64_t)(hit - text->bytes) : last;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, hit ? part->length / 64 : 0));
        if (hit && memcmp(hit, part->bytes, part->length) == 0) {
            *at = i;
            break;
        }
    }
    return tv_jinja_spend(heap, i > from ? (i - from) / 16 : 0);
}

tv_status tv_jinja_contains(tv_jinja_heap *heap, tv_jinja_value container, tv_jinja_value item, bool *out) {
    *out = false;
    if (container.kind == TV_JINJA_TEXT) {
        uint64_t at;
        if (item.kind != TV_JINJA_TEXT)
            return tv_jinja_fail(heap, "expected a text to look for in a text, found %s",
                                 tv_jinja_kind_name(item));
        TV_RETURN_IF_FAILED(tv_jinja_find(heap, container.text, item.text, 0, &at));
        *out = at != UINT64_MAX;
        return TV_OK;
    }
    if (container.kind == TV_JINJA_DICT) {
        tv_jinja_value *found;
        TV_RETURN_IF_FAILED(tv_jinja_get(heap, container.dict, item, &found));
        *out = found != NULL;
        return TV_OK;
    }
    const tv_jinja_list *list;
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, container, &list));
    for (uint64_t i = 0; !*out && i < list->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_equal(heap, list->items[i], item, out));
    return TV_OK;
}
