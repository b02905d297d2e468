/* Line breaks over utf8proc's widths: see wrap_text.h. */
#include "human/wrap_text.h"

#include <string.h>
#include <utf8proc.h>

#include "text/utf8.h"

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
