/* Escapes and line breaks over utf8proc: see visible_text.h. */
#include "human/visible_text.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

/* Real scripts stack no more marks on one letter; hundreds of them would cover the lines around. */
enum { MOST_MARKS = 4, TAB_COLUMNS = 4 };
enum { ZERO_WIDTH_NON_JOINER = 0x200c, ZERO_WIDTH_JOINER = 0x200d };

static bool is_hidden(uint32_t c) {
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CF: /* many scripts and emoji are spelled with the two joiners */
        return c != ZERO_WIDTH_JOINER && c != ZERO_WIDTH_NON_JOINER;
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return true;
    default:
        return false;
    }
}

static bool is_mark(uint32_t c) {
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
}

static tv_status append_escape(uint32_t c, bool byte, tv_text *out) {
    char escape[16];
    const char *format = byte || c < 0x80 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
    int length = snprintf(escape, sizeof escape, format, c);
    return tv_text_append(out, escape, (uint64_t)length);
}

tv_status tv_visible_text(tv_slice text, tv_text *out) {
    const uint8_t *bytes = (const uint8_t *)text.data;
    uint32_t length, marks = 0;
    for (uint64_t i = 0; i < text.size; i += length) {
        uint32_t c = tv_utf8_decode(bytes + i, text.size - i, &length);
        bool invalid = c == 0 && bytes[i] != 0;
        bool line_end = c == '\r' && i + 1 < text.size && bytes[i + 1] == '\n';
        marks = !invalid && is_mark(c) ? marks + 1 : 0;
        if (line_end)
            continue;
        if (c == '\t')
            TV_RETURN_IF_FAILED(tv_text_append(out, "    ", TAB_COLUMNS));
        else if (c == '\n')
            TV_RETURN_IF_FAILED(tv_text_append(out, "\n", 1));
        else if (invalid || is_hidden(c) || marks > MOST_MARKS)
            TV_RETURN_IF_FAILED(append_escape(invalid ? bytes[i] : c, invalid, out));
        else
            TV_RETURN_IF_FAILED(tv_text_append(out, bytes + i, length));
    }
    return TV_OK;
}

/* Bytes of `line` that fit; *next is where the next line begins. */
static uint64_t fit(tv_slice line, uint32_t columns, uint64_t *next) {
    const uint8_t *bytes = (const uint8_t *)line.data;
    uint64_t i = 0, after_space = 0, before_space = 0;
    uint32_t used = 0, length;
    bool word = false; /* spaces at the start are an indentation and no place to break */
    for (; i < line.size; i += length) {
        uint32_t c = tv_utf8_decode(bytes + i, line.size - i, &length);
        int wide = utf8proc_charwidth((utf8proc_int32_t)c);
        uint32_t width = wide > 0 ? (uint32_t)wide : 0;
        if (c == ' ') {
            if (word && (i == 0 || bytes[i - 1] != ' '))
                before_space = i;
            after_space = i + 1;
        }
        word = word || c != ' ';
        if (used + width > columns && i > 0 && !(c == ' ' && before_space > 0))
            break;
        used += width;
    }
    *next = i;
    if (i == line.size) {
        while (i > 0 && bytes[i - 1] == ' ')
            i--;
        return i;
    }
    if (before_space > 0) {
        *next = after_space;
        return before_space;
    }
    return i;
}

tv_status tv_wrap_text(tv_slice visible, uint32_t columns, const char *first, const char *indent,
                       tv_text *out) {
    tv_line_walk walk = {.cursor = visible.data, .end = visible.data + visible.size};
    const char *start = first;
    tv_slice line;
    if (visible.size == 0) {
        TV_RETURN_IF_FAILED(tv_text_append(out, first, strlen(first)));
        return tv_text_append(out, "\n", 1);
    }
    while (tv_line_next(&walk, &line)) {
        do {
            uint64_t next, length = fit(line, columns, &next);
            TV_RETURN_IF_FAILED(tv_text_append(out, start, strlen(start)));
            TV_RETURN_IF_FAILED(tv_text_append(out, line.data, length));
            TV_RETURN_IF_FAILED(tv_text_append(out, "\n", 1));
            start = indent;
            line.data += next;
            line.size -= next;
        } while (line.size > 0);
    }
    return TV_OK;
}
