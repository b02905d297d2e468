/* Files in the GGUF format: typed metadata and named tensors in one file, as llama.cpp reads it.
 *
 * Promise: a file that was opened is consistent: version 2 or 3, keys and names unique and whole texts, every
 * count and size checked before memory is asked for, every tensor of a known type, aligned, within the file
 * and apart from the others. Anything else is refused with a sentence that names the file and the key or
 * tensor (TV_E_DATA). What is written is version 3, deterministic and under its name only when it is whole.
 * Source: docs/gguf.md of ggml-org/ggml. Needs a little-endian host, as the format is.
 */
#ifndef TV_FORMATS_GGUF_H
#define TV_FORMATS_GGUF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "formats/gguf_types.h"

enum { TV_GGUF_MAX_RANK = 4, TV_GGUF_ALIGNMENT = 32 };

/* Numbers are the format's. */
typedef enum tv_gguf_kind {
    TV_GGUF_UINT8 = 0,
    TV_GGUF_INT8 = 1,
    TV_GGUF_UINT16 = 2,
    TV_GGUF_INT16 = 3,
    TV_GGUF_UINT32 = 4,
    TV_GGUF_INT32 = 5,
    TV_GGUF_FLOAT32 = 6,
    TV_GGUF_BOOL = 7,
    TV_GGUF_STRING = 8,
    TV_GGUF_ARRAY = 9,
    TV_GGUF_UINT64 = 10,
    TV_GGUF_INT64 = 11,
    TV_GGUF_FLOAT64 = 12
} tv_gguf_kind;

/* One key. A scalar is an array of one; texts end with a zero and hold no other. */
typedef struct tv_gguf_value {
    const char *key;
    tv_gguf_kind kind; /* of an element */
    bool array;
    uint64_t count;
    const void *bytes; /* count elements as in the file; NULL for texts */
    const char *const *texts;
} tv_gguf_value;

typedef struct tv_gguf_tensor {
    const char *name;
    const tv_gguf_type *type;
    uint32_t rank;
    uint64_t
        shape[TV_GGUF_MAX_RANK]; /* the longest stride first, as everywhere here; the file has it reversed */
    uint64_t rows, columns;      /* columns = shape[rank - 1], rows all others */
    uint64_t count;              /* elements */
    uint64_t offset, bytes;      /* within the data */
} tv_gguf_tensor;

/* ---- reading; the file stays open until close; what it hands out lives as long ---- */

typedef struct tv_gguf tv_gguf;
tv_status tv_gguf_open(const char *path, tv_gguf **file);
/* The same over bytes that the caller keeps alive; `where` names them in sentences. */
tv_status tv_gguf_open_bytes(const uint8_t *bytes, uint64_t size, const char *where, tv_gguf **file);
void tv_gguf_close(tv_gguf **file);
/* Whether the file begins as a GGUF does; false where it cannot be read. */
bool tv_gguf_is_one(const char *path);
const char *tv_gguf_where(const tv_gguf *file);

/* Sorted by key. */
uint64_t tv_gguf_value_count(const tv_gguf *file);
const tv_gguf_value *tv_gguf_value_at(const tv_gguf *file, uint64_t index);
/* NULL when there is none of that name. */
const tv_gguf_value *tv_gguf_find(const tv_gguf *file, const char *key);
/* Keys that are missing leave *value as it is and are TV_OK; another kind, or a number out of range, is
 * TV_E_DATA. Any kind of whole number will do for a uint, any number for a number. */
tv_status tv_gguf_uint(const tv_gguf *file, const char *key, uint64_t maximum, uint64_t *value);
tv_status tv_gguf_number(const tv_gguf *file, const char *key, double *value);
tv_status tv_gguf_bool(const tv_gguf *file, const char *key, bool *value);
tv_status tv_gguf_text(const tv_gguf *file, const char *key, const char **value);
/* An array of this kind; *value is NULL when it is missing. */
tv_status tv_gguf_array(const tv_gguf *file, const char *key, tv_gguf_kind kind, const tv_gguf_value **value);
/* Element of a value that is a number or a flag. */
double tv_gguf_element(const tv_gguf_value *value, uint64_t index);

/* Sorted by name. */
uint64_t tv_gguf_tensor_count(const tv_gguf *file);
const tv_gguf_tensor *tv_gguf_tensor_at(const tv_gguf *file, uint64_t index);
const tv_gguf_tensor *tv_gguf_tensor_find(const tv_gguf *file, const char *name);
/* Bytes [first, first + size) of the tensor as they are in the file. TV_E_IO when the file was cut since. */
tv_status tv_gguf_copy(const tv_gguf *file, const tv_gguf_tensor *tensor, uint64_t first, uint64_t size,
                       void *out);
/* Rows [first_row, first_row + rows) as floats: `out` is (rows, columns). */
tv_status tv_gguf_read(const tv_gguf *file, const tv_gguf_tensor *tensor, uint64_t first_row, uint64_t rows,
                       float *out);

/* ---- writing: keys and tensors are announced, then `begin`, then the tensors' bytes in their order ---- */

typedef struct tv_gguf_writer tv_gguf_writer;
tv_status tv_gguf_writer_create(const char *path, tv_gguf_writer **writer);
/* A failure is kept, and `begin` returns it; so keys are set without a check each. */
void tv_gguf_set_uint32(tv_gguf_writer *writer, const char *key, uint64_t value);
void tv_gguf_set_float32(tv_gguf_writer *writer, const char *key, double value);
void tv_gguf_set_bool(tv_gguf_writer *writer, const char *key, bool value);
void tv_gguf_set_text(tv_gguf_writer *writer, const char *key, const char *value);
void tv_gguf_set_texts(tv_gguf_writer *writer, const char *key, const char *const *values, uint64_t count);
/* `kind` is one of a fixed size. */
void tv_gguf_set_array(tv_gguf_writer *writer, const char *key, tv_gguf_kind kind, const void *values,
                       uint64_t count);
/* `shape` as in tv_gguf_tensor. */
void tv_gguf_add_tensor(tv_gguf_writer *writer, const char *name, const tv_gguf_type *type, uint32_t rank,
                        const uint64_t *shape);
tv_status tv_gguf_writer_begin(tv_gguf_writer *writer);
/* The next `size` bytes of the tensor at hand, in pieces of any size that end where it ends. */
tv_status tv_gguf_write(tv_gguf_writer *writer, const void *bytes, uint64_t size);
/* Fails unless exactly the announced bytes came; commit and abort clear the handle. */
tv_status tv_gguf_writer_commit(tv_gguf_writer **writer);
void tv_gguf_writer_abort(tv_gguf_writer **writer);

#endif
