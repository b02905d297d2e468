/* Text of a model as JSON: see json_text.h. */
#include "tools/json_text.h"

#include <stdio.h>

#include "text/utf8.h"

/* With a terminating zero. */
static tv_status json_string(const tv_text *text, tv_text *out) {
    TV_RETURN_IF_FAILED(tv_text_append(out, "\"", 1));
    for (uint64_t i = 0; i < text->size;) {
        uint64_t valid = tv_utf8_valid_run(text->data + i, text->size - i);
        for (uint64_t end = i + valid; i < end; i++) {
            uint8_t byte = text->data[i];
            char escape[8];
            if (byte >= 0x20 && byte != '"' && byte != '\\') {
                TV_RETURN_IF_FAILED(tv_text_append(out, &byte, 1));
                continue;
            }
            int length = byte < 0x20 ? snprintf(escape, sizeof escape, "\\u%04x", byte)
                                     : snprintf(escape, sizeof escape, "\\%c", byte);
            TV_RETURN_IF_FAILED(tv_text_append(out, escape, (uint64_t)length));
        }
        if (i < text->size) {
            TV_RETURN_IF_FAILED(tv_text_append(out, "\\ufffd", 6));
            i++;
        }
    }
    return tv_text_append(out, "\"", 2);
}

tv_status tv_json_add_text(cJSON *object, const char *key, const tv_text *text) {
    tv_text escaped = {0};
    tv_status status = json_string(text, &escaped);
    if (status == TV_OK && !cJSON_AddRawToObject(object, key, (const char *)escaped.data))
        status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
    tv_text_free(&escaped);
    return status;
}
