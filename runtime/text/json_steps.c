/* Walking through Sequences: see tokenizer_reading.h. */
#include <string.h>

#include "text/tokenizer_reading.h"

enum { MOST_DEPTH = 8 };

static tv_status read_at(const tv_steps *steps, const cJSON *item, int depth) {
    const char *type;
    const cJSON *part;
    TV_RETURN_IF_FAILED(tv_json_string(item, "type", steps->where, "nothing", &type));
    if (strcmp(type, "Sequence") != 0)
        return steps->read(steps->context, item, type);
    if (depth == MOST_DEPTH)
        return tv_fail(TV_E_DATA, "%s: expected sequences at most %d deep in \"%s\", found a deeper one",
                       steps->where, MOST_DEPTH, steps->key);
    cJSON_ArrayForEach(part, tv_json_get(item, steps->parts)) {
        TV_RETURN_IF_FAILED(read_at(steps, part, depth + 1));
    }
    return TV_OK;
}

tv_status tv_read_steps(const tv_steps *steps, const cJSON *item) {
    return !item || cJSON_IsNull(item) ? TV_OK : read_at(steps, item, 0);
}
