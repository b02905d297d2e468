/* Escapes over utf8proc: see visible.h. */
#include "base/visible.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Real scripts stack no more marks on one letter; hundreds of them would cover the lines around. */
enum { MOST_MARKS = 4 };
enum { ZERO_WIDTH_NON_JOINER = 0x200c, ZERO_WIDTH_JOINER = 0x200d };

static bool is_hidden(utf8proc_int32_t c) {
    switch (utf8proc_category(c)) {
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

static bool is_mark(utf8proc_int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME;
}

static uint32_t put(char shown[TV_VISIBLE_BYTES], const char *text, uint64_t size) {
    memcpy(shown, text, size);
    return (uint32_t)size;
}

static uint32_t escape(char shown[TV_VISIBLE_BYTES], bool byte, unsigned code) {
    const char *format = byte || code < 0x80 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x";
    return (uint32_t)snprintf(shown, TV_VISIBLE_BYTES, format, code);
}

uint64_t tv_visible_next(tv_visible *visible, const char *text, uint64_t size, char shown[TV_VISIBLE_BYTES],
                         uint32_t *length) {
    static const char tab[] = "    ";
    utf8proc_int32_t c = 0;
    utf8proc_ssize_t used = utf8proc_iterate((const uint8_t *)text, (utf8proc_ssize_t)size, &c);
    bool invalid = used <= 0;
    uint64_t taken = invalid ? 1 : (uint64_t)used;
    visible->marks = !invalid && is_mark(c) ? visible->marks + 1 : 0;
    if (c == '\r' && size > 1 && text[1] == '\n')
        *length = 0;
    else if (c == '\t')
        *length = put(shown, tab, sizeof tab - 1);
    else if (c == '\n' && !visible->one_line)
        *length = put(shown, text, 1);
    else if (invalid)
        *length = escape(shown, true, (unsigned char)text[0]);
    else if (is_hidden(c) || visible->marks > MOST_MARKS)
        *length = escape(shown, false, (unsigned)c);
    else
        *length = put(shown, text, taken);
    return taken;
}

char *tv_visible_line(const char *text, char *out, uint64_t capacity) {
    tv_visible visible = {.one_line = true};
    uint64_t size = strlen(text), used = 0;
    char shown[TV_VISIBLE_BYTES];
    uint32_t length;
    for (uint64_t at = 0; at < size; used += length) {
        at += tv_visible_next(&visible, text + at, size - at, shown, &length);
        if (used + length >= capacity)
            break;
        memcpy(out + used, shown, length);
    }
    out[used] = '\0';
    return out;
}
