/* What templates do to texts: see jinja_text.h. JSON is in jinja_json.c. */
#include "text/jinja_text.h"

#include "base/bytes.h"
#include "text/utf8.h"

/* ---- order ---- */

tv_status tv_jinja_order(tv_jinja_heap *heap, tv_jinja_value a, tv_jinja_value b, bool ignore_case,
                         int *out) {
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
    if (tv_jinja_is_number(a) && tv_jinja_is_number(b)) {
        double x = tv_jinja_number(a), y = tv_jinja_number(b);
        *out = (x > y) - (x < y);
        return TV_OK;
    }
    if (a.kind == TV_JINJA_TEXT && b.kind == TV_JINJA_TEXT) {
        if (ignore_case) {
            TV_RETURN_IF_FAILED(tv_jinja_change_case(heap, a.text, TV_JINJA_LOWER, &a));
            TV_RETURN_IF_FAILED(tv_jinja_change_case(heap, b.text, TV_JINJA_LOWER, &b));
        }
        uint64_t shorter = tv_min_u64(a.text->length, b.text->length);
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, shorter / 64));
        int order = shorter ? memcmp(a.text->bytes, b.text->bytes, shorter) : 0;
        if (order == 0)
            order = (a.text->length > b.text->length) - (a.text->length < b.text->length);
        *out = (order > 0) - (order < 0);
        return TV_OK;
    }
    if (a.kind == TV_JINJA_LIST && b.kind == TV_JINJA_LIST) {
        uint64_t count = tv_min_u64(a.list->count, b.list->count);
        *out = 0;
        TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
        for (uint64_t i = 0; *out == 0 && i < count; i++)
            TV_RETURN_IF_FAILED(tv_jinja_order(heap, a.list->items[i], b.list->items[i], ignore_case, out));
        heap->depth--;
        if (*out == 0)
            *out = (a.list->count > b.list->count) - (a.list->count < b.list->count);
        return TV_OK;
    }
    return tv_jinja_fail(heap, "expected two numbers or two texts to put in order, found %s and %s",
                         tv_jinja_kind_name(a), tv_jinja_kind_name(b));
}

/* ---- characters ---- */

static bool is_space(uint32_t c) {
    return tv_utf8_is_space(c) || (c >= 0x1c && c <= 0x1f);
}

/* The character at `at`; one that is no UTF-8 stands for itself. */
static uint32_t character_at(const tv_jinja_text *text, uint64_t at, uint32_t *used) {
    return tv_utf8_decode((const uint8_t *)text->bytes + at, text->length - at, used);
}

/* Where the character that ends at `end` begins. */
static uint64_t character_before(const tv_jinja_text *text, uint64_t end) {
    uint64_t begin = end - 1;
    uint32_t used;
    while (begin > 0 && end - begin < 4 && ((unsigned char)text->bytes[begin] & 0xc0) == 0x80)
        begin--;
    character_at(text, begin, &used);
    return begin + used == end ? begin : end - 1;
}

static bool in_set(const tv_jinja_text *set, const char *bytes, uint32_t length) {
    for (uint64_t i = 0; i < set->length;) {
        uint32_t used;
        character_at(set, i, &used);
        if (used == length && memcmp(set->bytes + i, bytes, length) == 0)
            return true;
        i += used;
    }
    return false;
}

static bool strips(const tv_jinja_text *text, const tv_jinja_text *set, uint64_t at) {
    uint32_t used, c = character_at(text, at, &used);
    return set ? in_set(set, text->bytes + at, used) : is_space(c);
}

/* ---- case ---- */

tv_status tv_jinja_change_case(tv_jinja_heap *heap, const tv_jinja_text *text, tv_jinja_case how,
                               tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    bool begins = true; /* a word, or the text */
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, text->length / 16));
    for (uint64_t i = 0; i < text->length;) {
        uint32_t used, c = character_at(text, i, &used);
        bool upper = how == TV_JINJA_UPPER || (how != TV_JINJA_LOWER && begins);
        uint32_t changed = !upper                  ? tv_utf8_to_lower(c)
                           : how == TV_JINJA_UPPER ? tv_utf8_to_upper(c)
                                                   : tv_utf8_to_title(c);
        uint8_t utf8[4];
        if (c == 0xdf && upper) /* the one in common use whose capital is two letters */
            TV_RETURN_IF_FAILED(tv_jinja_put(heap, &buffer, how == TV_JINJA_UPPER ? "SS" : "Ss", 2,
                                             tv_jinja_origin(text, i)));
        else if (changed == c)
            TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, text, i, i + used));
        else
            TV_RETURN_IF_FAILED(tv_jinja_put(heap, &buffer, (const char *)utf8, tv_utf8_encode(changed, utf8),
                                             tv_jinja_origin(text, i)));
        begins = how == TV_JINJA_TITLE && !tv_utf8_is_cased(c);
        i += used;
    }
    return tv_jinja_finish(heap, &buffer, out);
}

/* ---- parts ---- */

tv_status tv_jinja_strip(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *set, bool left,
                         bool right, tv_jinja_value *out) {
    uint64_t begin = 0, end = text->length;
    uint64_t cost = set ? 1 + set->length : 1;
    while (left && begin < end && strips(text, set, begin)) {
        uint32_t used;
        character_at(text, begin, &used);
        begin += used;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, cost / 8));
    }
    while (right && end > begin && strips(text, set, character_before(text, end))) {
        end = character_before(text, end);
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, cost / 8));
    }
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, (text->length - (end - begin)) / 16));
    return tv_jinja_part(heap, text, begin, end, out);
}

static tv_status add_part(tv_jinja_heap *heap, tv_jinja_list *list, const tv_jinja_text *text, uint64_t begin,
                          uint64_t end) {
    tv_jinja_value part;
    TV_RETURN_IF_FAILED(tv_jinja_part(heap, text, begin, end, &part));
    return tv_jinja_add(heap, list, part);
}

static void reverse(tv_jinja_list *list) {
    for (uint64_t i = 0; i < list->count / 2; i++) {
        tv_jinja_value item = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = item;
    }
}

static uint64_t skip_space(const tv_jinja_text *text, uint64_t at, uint64_t end, bool space) {
    while (at < end) {
        uint32_t used, c = character_at(text, at, &used);
        if (is_space(c) != space)
            break;
        at += used;
    }
    return at;
}

static uint64_t skip_space_back(const tv_jinja_text *text, uint64_t end, bool space) {
    while (end > 0) {
        uint64_t begin = character_before(text, end);
        uint32_t used, c = character_at(text, begin, &used);
        if (is_space(c) != space)
            break;
        end = begin;
    }
    return end;
}

static tv_status split_words(tv_jinja_heap *heap, const tv_jinja_text *text, int64_t most, bool from_right,
                             tv_jinja_list *list) {
    uint64_t begin = 0, end = text->length;
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, text->length / 16));
    for (;; most--) {
        begin = from_right ? 0 : skip_space(text, begin, end, true);
        end = from_right ? skip_space_back(text, end, true) : end;
        if (begin == end)
            return TV_OK;
        if (most == 0) /* what is left, without the blanks at its far end */
            return from_right ? add_part(heap, list, text, skip_space(text, 0, end, true), end)
                              : add_part(heap, list, text, begin, skip_space_back(text, end, true));
        uint64_t edge = from_right ? skip_space_back(text, end, false) : skip_space(text, begin, end, false);
        TV_RETURN_IF_FAILED(from_right ? add_part(heap, list, text, edge, end)
                                       : add_part(heap, list, text, begin, edge));
        begin = from_right ? 0 : edge;
        end = from_right ? edge : end;
    }
}

/* The last place of `part` that ends at or before `end`, or UINT64_MAX. */
static uint64_t find_last(const tv_jinja_text *text, const tv_jinja_text *part, uint64_t end) {
    for (uint64_t i = end; i >= part->length; i--)
        if (memcmp(text->bytes + i - part->length, part->bytes, part->length) == 0)
            return i - part->length;
    return UINT64_MAX;
}

tv_status tv_jinja_split(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *separator,
                         int64_t most, bool from_right, tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    if (!separator) {
        TV_RETURN_IF_FAILED(split_words(heap, text, most, from_right, out->list));
    } else if (separator->length == 0) {
        return tv_jinja_fail(heap, "expected a text to split at, found an empty one");
    } else if (from_right) {
        uint64_t end = text->length, at;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, text->length * (1 + separator->length / 64) / 16));
        for (; most != 0 && (at = find_last(text, separator, end)) != UINT64_MAX; most--) {
            TV_RETURN_IF_FAILED(add_part(heap, out->list, text, at + separator->length, end));
            end = at;
        }
        TV_RETURN_IF_FAILED(add_part(heap, out->list, text, 0, end));
    } else {
        uint64_t begin = 0, at;
        for (; most != 0; most--) {
            TV_RETURN_IF_FAILED(tv_jinja_find(heap, text, separator, begin, &at));
            if (at == UINT64_MAX)
                break;
            TV_RETURN_IF_FAILED(add_part(heap, out->list, text, begin, at));
            begin = at + separator->length;
        }
        TV_RETURN_IF_FAILED(add_part(heap, out->list, text, begin, text->length));
    }
    if (from_right)
        reverse(out->list);
    return TV_OK;
}

/* The length of what ends a line at `at`, as in Python's splitlines, or 0. */
static uint64_t line_break(const tv_jinja_text *text, uint64_t at) {
    uint32_t used, c = character_at(text, at, &used);
    if (c == '\r')
        return at + 1 < text->length && text->bytes[at + 1] == '\n' ? 2 : 1;
    bool ends =
        (c >= '\n' && c <= '\f') || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 || c == 0x2029;
    return ends ? used : 0;
}

/* Where the line from `begin` ends, and how long what ends it is: 0 at the end of the text. */
static uint64_t line_end(const tv_jinja_text *text, uint64_t begin, uint64_t *length) {
    for (*length = 0; begin < text->length; begin++)
        if ((*length = line_break(text, begin)) > 0)
            break;
    return begin;
}

tv_status tv_jinja_split_lines(tv_jinja_heap *heap, const tv_jinja_text *text, tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, text->length / 16));
    for (uint64_t begin = 0, length; begin < text->length;) {
        uint64_t end = line_end(text, begin, &length);
        TV_RETURN_IF_FAILED(add_part(heap, out->list, text, begin, end));
        begin = end + length;
    }
    return TV_OK;
}

/* ---- putting together ---- */

tv_status tv_jinja_replace(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *old,
                           const tv_jinja_text *new, int64_t most, tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    uint64_t begin = 0, at;
    for (; most != 0 && begin <= text->length; most--) {
        TV_RETURN_IF_FAILED(tv_jinja_find(heap, text, old, begin, &at));
        if (at == UINT64_MAX)
            break;
        TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, text, begin, at));
        TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, new, 0, new->length));
        begin = at + old->length;
        if (old->length == 0) { /* between all characters */
            uint32_t used = 1;
            if (at < text->length) {
                character_at(text, at, &used);
                TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, text, at, at + used));
            }
            begin = at + used;
        }
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
    }
    if (begin < text->length)
        TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, text, begin, text->length));
    return tv_jinja_finish(heap, &buffer, out);
}

tv_status tv_jinja_join(tv_jinja_heap *heap, const tv_jinja_list *list, const tv_jinja_text *separator,
                        tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    for (uint64_t i = 0; i < list->count; i++) {
        if (i && separator)
            TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, separator, 0, separator->length));
        TV_RETURN_IF_FAILED(tv_jinja_put_value(heap, &buffer, list->items[i]));
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
    }
    return tv_jinja_finish(heap, &buffer, out);
}

tv_status tv_jinja_indent(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *by, bool first,
                          bool blank, tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, text->length / 16));
    for (uint64_t begin = 0, length = 1; length > 0;) {
        uint64_t end = line_end(text, begin, &length);
        if ((begin || first) && (end > begin || blank))
            TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, by, 0, by->length));
        TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, text, begin, end));
        if (length) /* whatever ended the line */
            TV_RETURN_IF_FAILED(tv_jinja_put(heap, &buffer, "\n", 1, tv_jinja_origin(text, end)));
        begin = end + length;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
    }
    return tv_jinja_finish(heap, &buffer, out);
}

tv_status tv_jinja_repeat(tv_jinja_heap *heap, const tv_jinja_text *text, int64_t times,
                          tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    for (int64_t i = 0; i < times && text->length; i++) {
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
        TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, text, 0, text->length));
    }
    return tv_jinja_finish(heap, &buffer, out);
}

/* ---- slices ---- */

tv_status tv_jinja_length(tv_jinja_heap *heap, const tv_jinja_text *text, int64_t *out) {
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, text->length / 16));
    *out = 0;
    for (uint64_t i = 0; i < text->length; ++*out) {
        uint32_t used;
        character_at(text, i, &used);
        i += used;
    }
    return TV_OK;
}

/* A bound of a slice, or `otherwise`; below 0 it counts from the end. */
static tv_status bound(tv_jinja_heap *heap, tv_jinja_value value, int64_t count, int64_t low, int64_t high,
                       int64_t otherwise, int64_t *out) {
    *out = otherwise;
    if (value.kind == TV_JINJA_NONE || value.kind == TV_JINJA_UNDEFINED)
        return TV_OK;
    if (value.kind != TV_JINJA_INTEGER)
        return tv_jinja_fail(heap, "expected a whole number as the bound of a slice, found %s",
                             tv_jinja_kind_name(value));
    int64_t at = value.integer;
    at = at < -count ? low : at < 0 ? at + count : at;
    *out = at < low ? low : at > high ? high : at;
    return TV_OK;
}

/* Of a text, one character after another. */
static tv_status slice_text(tv_jinja_heap *heap, const tv_jinja_text *text, tv_jinja_value begin,
                            tv_jinja_value end, tv_jinja_value *out) {
    int64_t count, from, to;
    uint64_t first = 0;
    TV_RETURN_IF_FAILED(tv_jinja_length(heap, text, &count));
    TV_RETURN_IF_FAILED(bound(heap, begin, count, 0, count, 0, &from));
    TV_RETURN_IF_FAILED(bound(heap, end, count, 0, count, count, &to));
    uint64_t at = 0;
    for (int64_t i = 0; i < to; i++) {
        uint32_t used;
        first = i == from ? at : first;
        character_at(text, at, &used);
        at += used;
    }
    return tv_jinja_part(heap, text, from < to ? first : 0, from < to ? at : 0, out);
}

tv_status tv_jinja_slice(tv_jinja_heap *heap, tv_jinja_value value, tv_jinja_value begin, tv_jinja_value end,
                         tv_jinja_value step, tv_jinja_value *out) {
    const tv_jinja_list *items;
    tv_jinja_value list;
    int64_t from, to, by;
    if (value.kind != TV_JINJA_LIST && value.kind != TV_JINJA_TEXT)
        return tv_jinja_fail(heap, "expected a list or a text to slice, found %s", tv_jinja_kind_name(value));
    if (value.kind == TV_JINJA_TEXT && (step.kind != TV_JINJA_INTEGER || step.integer == 1))
        return slice_text(heap, value.text, begin, end, out);
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, value, &items));
    int64_t count = (int64_t)items->count;
    TV_RETURN_IF_FAILED(bound(heap, step, 0, INT64_MIN / 2, INT64_MAX / 2, 1, &by));
    if (step.kind == TV_JINJA_INTEGER)
        by = step.integer < -count ? -count - 1 : step.integer > count ? count + 1 : step.integer;
    if (by == 0)
        return tv_jinja_fail(heap, "expected a step of a slice other than 0, found 0");
    TV_RETURN_IF_FAILED(bound(heap, begin, count, by > 0 ? 0 : -1, by > 0 ? count : count - 1,
                              by > 0 ? 0 : count - 1, &from));
    TV_RETURN_IF_FAILED(
        bound(heap, end, count, by > 0 ? 0 : -1, by > 0 ? count : count - 1, by > 0 ? count : -1, &to));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, &list));
    for (int64_t i = from; by > 0 ? i < to : i > to; i += by)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, list.list, items->items[i]));
    list.list->tuple = value.kind == TV_JINJA_LIST && value.list->tuple;
    if (value.kind == TV_JINJA_TEXT)
        return tv_jinja_join(heap, list.list, NULL, out);
    *out = list;
    return TV_OK;
}
