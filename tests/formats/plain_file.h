/* Another reader of safetensors, for tests of the one here. */
#ifndef TV_TESTS_PLAIN_FILE_H
#define TV_TESTS_PLAIN_FILE_H

#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"

/* The independent reader: header by cJSON, floats where the offsets say. */
typedef struct plain_file {
    char *text;
    cJSON *header;
    const float *data;
} plain_file;

static plain_file plain_open(const char *path) {
    plain_file file;
    uint64_t size, length;
    assert_ok(tv_read_file(path, &file.text, &size));
    memcpy(&length, file.text, 8);
    file.header = cJSON_ParseWithLength(file.text + 8, length);
    assert_non_null(file.header);
    file.data = (const float *)(const void *)(file.text + 8 + length);
    return file;
}

static void plain_close(plain_file *file) {
    cJSON_Delete(file->header);
    free(file->text);
}

/* The floats of an F32 tensor whose shape is (rows, columns), or (rows) when columns is 0. */
static const float *plain_tensor(const plain_file *file, const char *name, uint64_t rows, uint64_t columns) {
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(file->header, name);
    if (!entry)
        fail_msg("no tensor %s", name);
    const cJSON *shape = cJSON_GetObjectItemCaseSensitive(entry, "shape");
    assert_int_equal(cJSON_GetArraySize(shape), columns ? 2 : 1);
    assert_int_equal(cJSON_GetArrayItem(shape, 0)->valueint, rows);
    if (columns)
        assert_int_equal(cJSON_GetArrayItem(shape, 1)->valueint, columns);
    const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    return file->data + cJSON_GetArrayItem(offsets, 0)->valueint / 4;
}

#endif
