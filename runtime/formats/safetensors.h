/* Files in the safetensors format: named tensors behind a JSON header.
 *
 * Promise: a file that was opened is whole and consistent: header within the file and valid, names unique,
 * every tensor's bytes equal to its shape times its type, tensors side by side without overlap or hole to the
 * last byte. Anything else is refused with a sentence that names the file and the tensor (TV_E_DATA). What is
 * written is deterministic. Source: the format's README in huggingface/safetensors. Needs a little-endian
 * host, as the format is.
 */
#ifndef TV_FORMATS_SAFETENSORS_H
#define TV_FORMATS_SAFETENSORS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/dtype.h"
#include "base/status.h"

enum { TV_SAFETENSORS_MAX_RANK = 8 };

typedef struct tv_safetensor {
    const char *name;
    const char *dtype; /* as in the file: "F32", "BF16", ... */
    uint32_t rank;
    uint64_t shape[TV_SAFETENSORS_MAX_RANK];
    uint64_t count;         /* elements; 1 for rank 0 */
    uint64_t offset, bytes; /* within the data that follows the header */
} tv_safetensor;

/* Reading. The file stays open until close; tensors and their names live as long as the handle. */
typedef struct tv_safetensors tv_safetensors;
tv_status tv_safetensors_open(const char *path, tv_safetensors **file);
/* The same over bytes that the caller keeps alive; `where` names them in sentences. */
tv_status tv_safetensors_open_bytes(const uint8_t *bytes, uint64_t size, const char *where,
                                    tv_safetensors **file);
void tv_safetensors_close(tv_safetensors **file);

/* As it was opened; for sentences. */
const char *tv_safetensors_where(const tv_safetensors *file);
/* Sorted by name. */
uint64_t tv_safetensors_count(const tv_safetensors *file);
const tv_safetensor *tv_safetensors_at(const tv_safetensors *file, uint64_t index);
/* NULL when there is none of that name. */
const tv_safetensor *tv_safetensors_find(const tv_safetensors *file, const char *name);
/* A text of `__metadata__`, or NULL. */
const char *tv_safetensors_metadata(const tv_safetensors *file, const char *key);
/* Bytes [first, first + size) of the tensor, as they are in the file. TV_E_IO when the file was cut since. */
tv_status tv_safetensors_copy(const tv_safetensors *file, const tv_safetensor *tensor, uint64_t first,
                              uint64_t size, void *out);

/* Rows [first_row, first_row + rows) of the tensor as floats. A row is everything under one index of the
 * first dimension, columns = count / shape[0]. `out` is (rows, columns), or (columns, rows) when
 * `transposed`. F32, F16, BF16 and F64 are converted (F64 to the nearest float); other types fail with
 * TV_E_DATA. */
tv_status tv_safetensors_read(const tv_safetensors *file, const tv_safetensor *tensor, uint64_t first_row,
                              uint64_t rows, bool transposed, float *out);

/* A rectangle of a tensor of shape (shape[0], the rest). */
typedef struct tv_safetensors_part {
    uint64_t first_row, rows, first_column, columns;
} tv_safetensors_part;

/* The part as `dtype` (F32, F16 or BF16; what is as wide or wider in the file is rounded to nearest even):
 * `out` is (rows, columns), or (columns, rows) when `transposed`; its rows begin `stride` bytes apart, 0:
 * dense. Reads in large pieces and holds a few MB beside `out`. */
tv_status tv_safetensors_read_part(const tv_safetensors *file, const tv_safetensor *tensor,
                                   const tv_safetensors_part *part, bool transposed, tv_dtype dtype,
                                   uint64_t stride, void *out);

/* Writing: the header from name, dtype, rank and shape of `tensors`, then the bytes of the tensors in that
 * order, in pieces of any size. Nothing is under `path` before commit, which fails unless exactly the
 * announced bytes came; commit and abort clear the handle. */
typedef struct tv_safetensors_writer tv_safetensors_writer;
tv_status tv_safetensors_writer_open(const char *path, const tv_safetensor *tensors, uint64_t count,
                                     tv_safetensors_writer **writer);
tv_status tv_safetensors_write(tv_safetensors_writer *writer, const void *bytes, uint64_t size);
tv_status tv_safetensors_writer_commit(tv_safetensors_writer **writer);
void tv_safetensors_writer_abort(tv_safetensors_writer **writer);

#endif
