/* Bytes as JSON strings: see json_text.h. */
#include "text/json_text.h"

#include <stdio.h>
#include <string.h>

#include "text/utf8.h"

tv_status tv_json_append_string(const void *bytes, uint64_t size, tv_text *out) {
    const uint8_t *text = bytes;
    TV_RETURN_IF_FAILED(tv_text_append(out, "\"", 1));
    for (uint64_t i = 0; i < size;) {
        uint64_t valid = tv_utf8_valid_run(text + i, size - i);
        for (uint64_t end = i + valid; i < end; i++) {
            char escape[8];
            if (text[i] >= 0x20 && text[i] != '"' && text[i] != '\\') {
                TV_RETURN_IF_FAILED(tv_text_append(out, text + i, 1));
                continue;
            }
            int length = text[i] < 0x20 ? snprintf(escape, sizeof escape, "\\u%04x", text[i])
                                        : snprintf(escape, sizeof escape, "\\%c", text[i]);
            TV_RETURN_IF_FAILED(tv_text_append(out, escape, (uint64_t)length));
        }
        if (i < size) {
            TV_RETURN_IF_FAILED(tv_text_append(out, "\\ufffd", 6));
            i++;
        }
    }
    return tv_text_append(out, "\"", 1);
}

tv_status tv_json_append(tv_text *out, const char *json) {
    return tv_text_append(out, json, strlen(json));
}
