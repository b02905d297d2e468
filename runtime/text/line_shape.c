/* Shapes of JSON lines: see line_shape.h. */
#include "text/line_shape.h"

#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

const cJSON *tv_line_get(const tv_json_line *line, const char *key) {
    const cJSON *item = tv_json_get(line->root, key);
    return cJSON_IsNull(item) ? NULL : item;
}

static const char *missing_key(const tv_line_shape *shape, const tv_json_line *line) {
    for (size_t i = 0; i < TV_COUNT(shape->keys) && shape->keys[i]; i++)
        if (!tv_line_get(line, shape->keys[i]))
            return shape->keys[i];
    return NULL;
}

static tv_status unknown_shape(const tv_shape_reader *reader, const tv_json_line *line) {
    tv_text shapes = {0}, keys = {0};
    tv_status status;
    for (uint64_t i = 0; i < reader->shape_count; i++) {
        if (i > 0)
            TV_TRY(tv_text_append(&shapes, " or ", 4));
        TV_TRY(tv_text_append(&shapes, reader->shapes[i].name, strlen(reader->shapes[i].name)));
    }
    static const char null[] = " (null)";
    const cJSON *item;
    cJSON_ArrayForEach(item, line->root) {
        uint64_t length = strlen(item->string);
        if (keys.size > 200)
            continue;
        TV_TRY(tv_text_append(&keys, keys.size ? ", " : "", keys.size ? 2 : 0));
        TV_TRY(tv_text_append(&keys, item->string, tv_min_u64(length, 60)));
        if (cJSON_IsNull(item))
            TV_TRY(tv_text_append(&keys, null, sizeof null - 1));
    }
    status = tv_fail(TV_E_DATA, "%s: expected %.*s, found %s%.*s", line->where, (int)shapes.size,
                     (const char *)shapes.data, keys.size ? "the keys " : "an empty object", (int)keys.size,
                     keys.size ? (const char *)keys.data : "");
done:
    tv_text_free(&shapes);
    tv_text_free(&keys);
    return status;
}

tv_status tv_shape_read(tv_shape_reader *reader, const tv_json_line *line) {
    if (reader->file && strcmp(reader->file, line->file) == 0) {
        const tv_line_shape *shape = &reader->shapes[reader->shape];
        const char *key = missing_key(shape, line);
        if (!key)
            return TV_OK;
        return tv_fail(TV_E_DATA, "%s: expected %s as in the file's first line, found %s\"%s\"", line->where,
                       shape->name, tv_json_get(line->root, key) ? "null for " : "no ", key);
    }
    reader->file = tv_arena_copy(reader->arena, line->file, strlen(line->file));
    if (!reader->file)
        return TV_E_MEMORY;
    for (uint64_t i = 0; i < reader->shape_count; i++) {
        if (missing_key(&reader->shapes[i], line))
            continue;
        const char *known_as = reader->known_as ? reader->known_as(line, i) : NULL;
        reader->shape = i;
        tv_info("%s: lines of %s%s%s%s", line->file, reader->shapes[i].name, known_as ? " (" : "",
                known_as ? known_as : "", known_as ? ")" : "");
        return TV_OK;
    }
    return unknown_shape(reader, line);
}
