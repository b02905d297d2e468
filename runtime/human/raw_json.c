/* A scanner for JSON that is known to be valid: see raw_json.h. */
#include "human/raw_json.h"

#include <string.h>

#include "text/json_text.h"
#include "text/utf8.h"

bool tv_slice_equal(tv_slice a, tv_slice b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool tv_slice_is(tv_slice span, const char *text) {
    return tv_slice_equal(span, (tv_slice){text, strlen(text)});
}

bool tv_slice_is_blank(tv_slice span) {
    for (uint64_t i = 0; i < span.size; i++)
        if (span.data[i] != ' ' && span.data[i] != '\t')
            return false;
    return true;
}

/* cJSON takes every control character for white space, so it is the same here. */
static const char *skip_space(const char *cursor, const char *end) {
    while (cursor < end && (unsigned char)*cursor <= ' ')
        cursor++;
    return cursor;
}

static const char *skip_string(const char *cursor, const char *end) {
    for (cursor++; cursor < end && *cursor != '"'; cursor++)
        cursor += *cursor == '\\' && end - cursor > 1;
    return cursor < end ? cursor + 1 : end;
}

static const char *skip_value(const char *cursor, const char *end) {
    uint64_t depth = 0;
    while (cursor < end) {
        char c = *cursor;
        if (c == '"') {
            cursor = skip_string(cursor, end);
        } else if (c == '{' || c == '[') {
            depth++;
            cursor++;
            continue;
        } else if (c == '}' || c == ']') {
            if (depth == 0)
                return cursor;
            depth--;
            cursor++;
        } else if (depth > 0) {
            cursor++;
            continue;
        } else {
            while (cursor < end && (unsigned char)*cursor > ' ' && !strchr(",]}", *cursor))
                cursor++;
        }
        if (depth == 0)
            return cursor;
    }
    return end;
}

tv_raw_walk tv_raw_begin(tv_slice container) {
    const char *end = container.data + container.size, *cursor = container.data;
    if (container.size)
        cursor = skip_space(cursor, end);
    if (cursor == end || (*cursor != '{' && *cursor != '['))
        return (tv_raw_walk){end, end};
    return (tv_raw_walk){cursor + 1, end};
}

bool tv_raw_next(tv_raw_walk *walk, tv_slice *key, tv_slice *value) {
    const char *cursor = skip_space(walk->cursor, walk->end);
    if (cursor < walk->end && *cursor == ',')
        cursor = skip_space(cursor + 1, walk->end);
    if (cursor == walk->end || *cursor == '}' || *cursor == ']')
        return false;
    const char *start = cursor;
    cursor = skip_value(cursor, walk->end);
    *key = (tv_slice){0};
    const char *colon = skip_space(cursor, walk->end);
    if (colon < walk->end && *colon == ':') {
        *key = (tv_slice){start, (uint64_t)(cursor - start)};
        start = skip_space(colon + 1, walk->end);
        cursor = skip_value(start, walk->end);
    }
    *value = (tv_slice){start, (uint64_t)(cursor - start)};
    walk->cursor = cursor;
    return value->size > 0;
}

tv_slice tv_raw_get(tv_slice object, const char *key) {
    tv_raw_walk walk = tv_raw_begin(object);
    tv_slice found = {0};
    uint64_t length = strlen(key);
    for (tv_slice name, value; tv_raw_next(&walk, &name, &value);)
        if (name.size == length + 2 && memcmp(name.data + 1, key, length) == 0)
            found = value;
    return found;
}

/* The four digits after "\u", or 0xffffffff. */
static uint32_t hex4(const char *digits, const char *end) {
    uint32_t value = 0;
    if (end - digits < 4)
        return UINT32_MAX;
    for (int i = 0; i < 4; i++) {
        char c = digits[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : UINT32_MAX;
        if (digit == UINT32_MAX)
            return UINT32_MAX;
        value = value * 16 + digit;
    }
    return value;
}

/* What follows a backslash; *cursor moves behind it. */
static tv_status unescape(const char **cursor, const char *end, tv_text *out) {
    static const char names[] = "bfnrt\"\\/", bytes[] = "\b\f\n\r\t\"\\/";
    char c = **cursor;
    *cursor += 1;
    if (c != 'u') {
        const char *name = c ? strchr(names, c) : NULL;
        return name ? tv_text_append(out, bytes + (name - names), 1)
                    : tv_fail(TV_E_DATA, "unknown escape in a JSON string");
    }
    uint32_t code = hex4(*cursor, end);
    if (code == UINT32_MAX)
        return tv_fail(TV_E_DATA, "expected four hexadecimal digits in a JSON string");
    *cursor += 4;
    if (code >= 0xd800 && code < 0xdc00 && end - *cursor >= 6 && (*cursor)[0] == '\\' &&
        (*cursor)[1] == 'u') {
        uint32_t low = hex4(*cursor + 2, end);
        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code & 0x3ff) << 10 | (low & 0x3ff));
            *cursor += 6;
        }
    }
    uint8_t utf8[4];
    uint32_t length = tv_utf8_encode(code >= 0xd800 && code < 0xe000 ? 0xfffd : code, utf8);
    return tv_text_append(out, utf8, length);
}

tv_status tv_raw_string(tv_slice string, tv_text *out) {
    if (string.size < 2 || string.data[0] != '"' || string.data[string.size - 1] != '"')
        return tv_fail(TV_E_DATA, "expected a JSON string");
    const char *cursor = string.data + 1, *end = string.data + string.size - 1;
    while (cursor < end) {
        const char *escape = memchr(cursor, '\\', (size_t)(end - cursor));
        const char *plain_end = escape ? escape : end;
        TV_RETURN_IF_FAILED(tv_text_append(out, cursor, (uint64_t)(plain_end - cursor)));
        cursor = plain_end;
        if (cursor < end && ++cursor < end)
            TV_RETURN_IF_FAILED(unescape(&cursor, end, out));
    }
    return TV_OK;
}

bool tv_line_next(tv_line_walk *walk, tv_slice *line) {
    if (walk->cursor == walk->end)
        return false;
    const char *newline = memchr(walk->cursor, '\n', (size_t)(walk->end - walk->cursor));
    const char *stop = newline ? newline : walk->end;
    walk->ended = newline != NULL;
    walk->number++;
    *line = (tv_slice){walk->cursor, (uint64_t)(stop - walk->cursor)};
    if (line->size && line->data[line->size - 1] == '\r')
        line->size--;
    walk->cursor = newline ? newline + 1 : walk->end;
    return true;
}

tv_status tv_raw_append(tv_text *out, const char *before, tv_slice value) {
    TV_RETURN_IF_FAILED(tv_json_append(out, before));
    return tv_text_append(out, value.data, value.size);
}
