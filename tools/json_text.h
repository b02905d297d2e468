/* Text of a model as JSON: any bytes become a valid string. */
#ifndef TV_TOOLS_JSON_TEXT_H
#define TV_TOOLS_JSON_TEXT_H

#include "base/json.h"
#include "text/buffers.h"

/* Adds a member: zero bytes are kept, which cJSON's own strings cannot, and invalid UTF-8 becomes U+FFFD. */
tv_status tv_json_add_text(cJSON *object, const char *key, const tv_text *text);

#endif
