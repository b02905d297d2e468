/* Escaping and nothing else: see page_json.h. */
#include "human/page_json.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void tv_page_put(tv_page_json *out, const void *bytes, uint64_t size) {
    if (out->status == TV_OK)
        out->status = tv_text_append(out->text, bytes, size);
}

void tv_page_put_format(tv_page_json *out, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    tv_page_put(out, text, length > 0 && (size_t)length < sizeof text ? (uint64_t)length : 0);
}

/* A control character must be escaped in JSON; everything above passes as it is, invalid UTF-8 too. */
static void put_byte(tv_page_json *out, char byte) {
    if ((unsigned char)byte < 0x20)
        tv_page_put_format(out, "\\u%04x", (unsigned)byte);
    else
        tv_page_put(out, &byte, 1);
}

void tv_page_put_inside(tv_page_json *out, tv_slice bytes) {
    for (uint64_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] == '"' || bytes.data[i] == '\\')
            tv_page_put(out, "\\", 1);
        put_byte(out, bytes.data[i]);
    }
}

static void put_string(tv_page_json *out, tv_slice bytes) {
    tv_page_put(out, "\"", 1);
    tv_page_put_inside(out, bytes);
    tv_page_put(out, "\"", 1);
}

void tv_page_put_text(tv_page_json *out, const char *text) {
    put_string(out, (tv_slice){text, strlen(text)});
}

/* cJSON takes control characters that stand in a string as they are, browsers do not. */
void tv_page_put_raw_string(tv_page_json *out, tv_slice json) {
    if (json.size == 0 || json.data[0] != '"') {
        put_string(out, json);
        return;
    }
    for (uint64_t i = 0; i < json.size; i++)
        put_byte(out, json.data[i]);
}
