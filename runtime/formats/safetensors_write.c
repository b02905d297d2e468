/* Writing safetensors: see safetensors.h. */
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "formats/safetensors.h"
#include "formats/safetensors_types.h"

struct tv_safetensors_writer {
    tv_writer *out;
    char *path;
    uint64_t expected, written; /* bytes of tensors */
};

static bool add_tensor(cJSON *header, const tv_safetensor *tensor, uint64_t begin, uint64_t end) {
    cJSON *entry = cJSON_AddObjectToObject(header, tensor->name);
    cJSON *shape = NULL, *offsets = NULL;
    if (!entry || !tv_json_set_string(entry, "dtype", tensor->dtype) ||
        !(shape = cJSON_AddArrayToObject(entry, "shape")) ||
        !(offsets = cJSON_AddArrayToObject(entry, "data_offsets")))
        return false;
    for (uint32_t d = 0; d < tensor->rank; d++)
        if (!cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[d])))
            return false;
    return cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)begin)) &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
}

/* The header's text, padded with spaces so that the data starts at a multiple of 8, and the data's size. */
static tv_status make_header(const char *path, const tv_safetensor *tensors, uint64_t count, char **text,
                             uint64_t *data_bytes) {
    cJSON *header = cJSON_CreateObject();
    cJSON *metadata = header ? cJSON_AddObjectToObject(header, "__metadata__") : NULL;
    bool done = metadata && tv_json_set_string(metadata, "format", "pt");
    uint64_t offset = 0;
    char *line = NULL;
    tv_status status = TV_OK;
    for (uint64_t i = 0; done && status == TV_OK && i < count; i++) {
        const tv_safetensors_type *type = tv_safetensors_find_type(tensors[i].dtype);
        uint64_t bytes = type ? type->bytes : 0, end = 0;
        bool fits = type && tensors[i].rank <= TV_SAFETENSORS_MAX_RANK;
        for (uint32_t d = 0; fits && d < tensors[i].rank; d++)
            fits = tv_mul_u64(bytes, tensors[i].shape[d], &bytes);
        if (!fits || !tv_add_u64(offset, bytes, &end)) {
            status = tv_fail(TV_E_USAGE, "%s: tensor \"%s\" has a type or shape that the format lacks", path,
                             tensors[i].name);
        } else {
            done = add_tensor(header, &tensors[i], offset, end);
            offset = end;
        }
    }
    if (status == TV_OK && done)
        status = tv_json_print_line(header, &line);
    cJSON_Delete(header);
    if (status != TV_OK)
        return status;
    if (line) {
        uint64_t length = strlen(line);
        *text = tv_format("%-*s", (int)tv_align_up(length, 8), line);
        free(line);
    }
    if (!line || !*text)
        return tv_fail(TV_E_MEMORY, "out of host memory for the header of %s", path);
    *data_bytes = offset;
    return TV_OK;
}

tv_status tv_safetensors_writer_open(const char *path, const tv_safetensor *tensors, uint64_t count,
                                     tv_safetensors_writer **writer) {
    tv_status status;
    char *header = NULL;
    *writer = NULL;
    tv_safetensors_writer *made = calloc(1, sizeof *made);
    if (!made)
        return tv_fail(TV_E_MEMORY, "out of host memory for %s", path);
    TV_TRY_OR_FAIL(make_header(path, tensors, count, &header, &made->expected));
    made->path = tv_format("%s", path);
    if (!made->path) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for %s", path);
        goto fail;
    }
    uint64_t length = strlen(header);
    TV_TRY_OR_FAIL(tv_writer_open(path, &made->out));
    TV_TRY_OR_FAIL(tv_writer_write(made->out, &length, sizeof length));
    TV_TRY_OR_FAIL(tv_writer_write(made->out, header, length));
    free(header);
    *writer = made;
    return TV_OK;
fail:
    free(header);
    tv_safetensors_writer_abort(&made);
    return status;
}

tv_status tv_safetensors_write(tv_safetensors_writer *writer, const void *bytes, uint64_t size) {
    if (size > writer->expected - writer->written)
        return tv_fail(TV_E_USAGE, "%s: more bytes than its header announced", writer->path);
    TV_RETURN_IF_FAILED(tv_writer_write(writer->out, bytes, size));
    writer->written += size;
    return TV_OK;
}

tv_status tv_safetensors_writer_commit(tv_safetensors_writer **writer) {
    tv_safetensors_writer *w = *writer;
    tv_status status =
        w->written == w->expected
            ? tv_writer_commit(&w->out)
            : tv_fail(TV_E_USAGE, "%s: its header announced %llu bytes, but %llu were written", w->path,
                      (unsigned long long)w->expected, (unsigned long long)w->written);
    tv_safetensors_writer_abort(writer);
    return status;
}

void tv_safetensors_writer_abort(tv_safetensors_writer **writer) {
    tv_safetensors_writer *w = *writer;
    if (w) {
        if (w->out)
            tv_writer_abort(&w->out);
        free(w->path);
        free(w);
    }
    *writer = NULL;
}
