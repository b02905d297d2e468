/* Writer of GGUF: see gguf.h. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/gguf.h"
#include "text/buffers.h"

struct tv_gguf_writer {
    char *path;
    tv_writer *out;          /* NULL before begin */
    tv_text values, tensors; /* as they go into the file */
    uint64_t value_count, tensor_count;
    uint64_t *sizes; /* bytes of each tensor, in order */
    uint64_t sizes_capacity;
    uint64_t data_bytes;      /* of all announced, each aligned */
    uint64_t at, tensor_left; /* the tensor that is being written, and what is missing of it */
    tv_status failed;
};

static void put(tv_gguf_writer *w, tv_text *text, const void *bytes, uint64_t size) {
    if (w->failed == TV_OK)
        w->failed = tv_text_append(text, bytes, size);
}

static void put32(tv_gguf_writer *w, tv_text *text, uint32_t value) {
    put(w, text, &value, sizeof value);
}

static void put64(tv_gguf_writer *w, tv_text *text, uint64_t value) {
    put(w, text, &value, sizeof value);
}

static void put_text(tv_gguf_writer *w, tv_text *text, const char *value) {
    put64(w, text, strlen(value));
    put(w, text, value, strlen(value));
}

static void put_key(tv_gguf_writer *w, const char *key, tv_gguf_kind kind) {
    put_text(w, &w->values, key);
    put32(w, &w->values, kind);
    w->value_count++;
}

tv_status tv_gguf_writer_create(const char *path, tv_gguf_writer **writer) {
    tv_gguf_writer *w = calloc(1, sizeof *w);
    *writer = w;
    if (w && (w->path = tv_format("%s", path)))
        return TV_OK;
    tv_gguf_writer_abort(writer);
    return tv_fail(TV_E_MEMORY, "out of host memory for %s", path);
}

void tv_gguf_set_uint32(tv_gguf_writer *writer, const char *key, uint64_t value) {
    put_key(writer, key, TV_GGUF_UINT32);
    put32(writer, &writer->values, (uint32_t)value);
    if (value > UINT32_MAX && writer->failed == TV_OK)
        writer->failed = tv_fail(TV_E_CONFIG, "%s: %llu is too large for key \"%s\" of a GGUF file",
                                 writer->path, (unsigned long long)value, key);
}

void tv_gguf_set_float32(tv_gguf_writer *writer, const char *key, double value) {
    put_key(writer, key, TV_GGUF_FLOAT32);
    put32(writer, &writer->values, tv_float_to_bits((float)value));
}

void tv_gguf_set_bool(tv_gguf_writer *writer, const char *key, bool value) {
    put_key(writer, key, TV_GGUF_BOOL);
    put(writer, &writer->values, &(uint8_t){value}, 1);
}

void tv_gguf_set_text(tv_gguf_writer *writer, const char *key, const char *value) {
    put_key(writer, key, TV_GGUF_STRING);
    put_text(writer, &writer->values, value);
}

static void put_array(tv_gguf_writer *w, const char *key, tv_gguf_kind kind, uint64_t count) {
    put_key(w, key, TV_GGUF_ARRAY);
    put32(w, &w->values, kind);
    put64(w, &w->values, count);
}

void tv_gguf_set_texts(tv_gguf_writer *writer, const char *key, const char *const *values, uint64_t count) {
    put_array(writer, key, TV_GGUF_STRING, count);
    for (uint64_t i = 0; i < count; i++)
        put_text(writer, &writer->values, values[i]);
}

void tv_gguf_set_array(tv_gguf_writer *writer, const char *key, tv_gguf_kind kind, const void *values,
                       uint64_t count) {
    uint64_t size = kind == TV_GGUF_UINT8 || kind == TV_GGUF_INT8 || kind == TV_GGUF_BOOL        ? 1
                    : kind == TV_GGUF_UINT16 || kind == TV_GGUF_INT16                            ? 2
                    : kind == TV_GGUF_UINT32 || kind == TV_GGUF_INT32 || kind == TV_GGUF_FLOAT32 ? 4
                                                                                                 : 8;
    put_array(writer, key, kind, count);
    put(writer, &writer->values, values, count * size);
}

void tv_gguf_add_tensor(tv_gguf_writer *writer, const char *name, const tv_gguf_type *type, uint32_t rank,
                        const uint64_t *shape) {
    uint64_t bytes = type->bytes;
    bool fits = shape[rank - 1] % type->block == 0;
    put_text(writer, &writer->tensors, name);
    put32(writer, &writer->tensors, rank);
    for (uint32_t i = rank; i-- > 0;) {
        put64(writer, &writer->tensors, shape[i]);
        fits = fits && tv_mul_u64(bytes, i == rank - 1 ? shape[i] / type->block : shape[i], &bytes);
    }
    put32(writer, &writer->tensors, type->number);
    put64(writer, &writer->tensors, writer->data_bytes);
    void *sizes = writer->sizes;
    if (writer->failed == TV_OK)
        writer->failed =
            tv_grow(&sizes, &writer->sizes_capacity, writer->tensor_count + 1, sizeof *writer->sizes);
    writer->sizes = sizes;
    if (writer->failed == TV_OK && (!fits || bytes > INT64_MAX - writer->data_bytes - TV_GGUF_ALIGNMENT))
        writer->failed = tv_fail(TV_E_USAGE, "%s: tensor \"%s\" has a shape that %s lacks", writer->path,
                                 name, type->name);
    if (writer->failed != TV_OK)
        return;
    writer->sizes[writer->tensor_count++] = bytes;
    writer->data_bytes += tv_align_up(bytes, TV_GGUF_ALIGNMENT);
}

static tv_status pad(tv_gguf_writer *w, uint64_t written) {
    static const uint8_t zeros[TV_GGUF_ALIGNMENT];
    return tv_writer_write(w->out, zeros, tv_align_up(written, TV_GGUF_ALIGNMENT) - written);
}

tv_status tv_gguf_writer_begin(tv_gguf_writer *w) {
    const uint32_t magic_and_version[2] = {0x46554747, 3};
    const uint64_t counts[2] = {w->tensor_count, w->value_count};
    TV_RETURN_IF_FAILED(w->failed);
    TV_RETURN_IF_FAILED(tv_writer_open_named(w->path, &w->out));
    TV_RETURN_IF_FAILED(tv_writer_write(w->out, magic_and_version, sizeof magic_and_version));
    TV_RETURN_IF_FAILED(tv_writer_write(w->out, counts, sizeof counts));
    TV_RETURN_IF_FAILED(tv_writer_write(w->out, w->values.data, w->values.size));
    TV_RETURN_IF_FAILED(tv_writer_write(w->out, w->tensors.data, w->tensors.size));
    w->tensor_left = w->tensor_count ? w->sizes[0] : 0;
    return pad(w, sizeof magic_and_version + sizeof counts + w->values.size + w->tensors.size);
}

tv_status tv_gguf_write(tv_gguf_writer *w, const void *bytes, uint64_t size) {
    if (w->at >= w->tensor_count || size > w->tensor_left)
        return tv_fail(TV_E_USAGE, "%s: more bytes than its header announced for tensor %llu", w->path,
                       (unsigned long long)w->at);
    TV_RETURN_IF_FAILED(tv_writer_write(w->out, bytes, size));
    w->tensor_left -= size;
    if (w->tensor_left)
        return TV_OK;
    TV_RETURN_IF_FAILED(pad(w, w->sizes[w->at]));
    w->at++;
    w->tensor_left = w->at < w->tensor_count ? w->sizes[w->at] : 0;
    return TV_OK;
}

tv_status tv_gguf_writer_commit(tv_gguf_writer **writer) {
    tv_gguf_writer *w = *writer;
    tv_status status =
        w->at == w->tensor_count
            ? tv_writer_commit(&w->out)
            : tv_fail(TV_E_USAGE, "%s: its header announced %llu tensors, but %llu were written", w->path,
                      (unsigned long long)w->tensor_count, (unsigned long long)w->at);
    tv_gguf_writer_abort(writer);
    return status;
}

void tv_gguf_writer_abort(tv_gguf_writer **writer) {
    tv_gguf_writer *w = *writer;
    if (w) {
        if (w->out)
            tv_writer_abort(&w->out);
        tv_text_free(&w->values);
        tv_text_free(&w->tensors);
        free(w->sizes);
        free(w->path);
        free(w);
    }
    *writer = NULL;
}
