/* Bytes as JSON: any text, also one that a model wrote, becomes a valid string. */
#ifndef TV_TEXT_JSON_TEXT_H
#define TV_TEXT_JSON_TEXT_H

#include "text/buffers.h"

/* Appends the string with its quotes: zero bytes are kept as escapes, which cJSON's own strings cannot, and
 * invalid UTF-8 becomes U+FFFD. */
tv_status tv_json_append_string(const void *bytes, uint64_t size, tv_text *out);

/* Appends what stands between the values of a line, or a value that is JSON already. */
tv_status tv_json_append(tv_text *out, const char *json);

#endif
