/* JSON for the ranking page, written piece by piece: texts of strangers pass byte for byte, invalid UTF-8
 * among them, and only what JSON forbids is escaped.
 *
 * A failure (memory) is kept and asked for once, at the end.
 */
#ifndef TV_HUMAN_PAGE_JSON_H
#define TV_HUMAN_PAGE_JSON_H

#include "base/status.h"
#include "human/raw_json.h"

typedef struct tv_page_json {
    tv_text *text;
    tv_status status;
} tv_page_json;

void tv_page_put(tv_page_json *out, const void *bytes, uint64_t size);
/* Up to 255 bytes. */
void tv_page_put_format(tv_page_json *out, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As a JSON string. */
void tv_page_put_text(tv_page_json *out, const char *text);
/* A part of a JSON string, without its quotation marks. */
void tv_page_put_inside(tv_page_json *out, tv_slice bytes);
/* A JSON string as it was read; another value is shown as the text it is. */
void tv_page_put_raw_string(tv_page_json *out, tv_slice json);

#endif
