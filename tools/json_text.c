/* Text of a model as JSON: see json_text.h. */
#include "tools/json_text.h"

#include "text/json_text.h"

tv_status tv_json_add_text(cJSON *object, const char *key, const tv_text *text) {
    tv_text escaped = {0};
    tv_status status;
    TV_TRY(tv_json_append_string(text->data, text->size, &escaped));
    TV_TRY(tv_text_append(&escaped, "", 1));
    if (!cJSON_AddRawToObject(object, key, (const char *)escaped.data))
        status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
done:
    tv_text_free(&escaped);
    return status;
}
