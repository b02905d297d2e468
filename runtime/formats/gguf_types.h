/* The element types of GGUF tensors that are read or written: their blocks, and floats from and to them.
 *
 * Promise: decoding is exact in float where the format's own arithmetic is (one scale times one whole number,
 * plus one minimum in Q4_1, Q5_1 and the k-quants); encoding rounds to nearest even (F16, BF16) and as ggml's
 * reference does (Q8_0). Source: ggml-quants.c and ggml-common.h of ggml-org/ggml.
 */
#ifndef TV_FORMATS_GGUF_TYPES_H
#define TV_FORMATS_GGUF_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_gguf_type {
    const char *name;      /* "Q8_0" */
    uint32_t number;       /* in a tensor's entry */
    uint32_t file_type;    /* what general.file_type says of a file that is mostly of it */
    uint32_t block, bytes; /* elements of a block and their bytes */
    void (*decode)(const uint8_t *block, float *out);
    void (*encode)(const float *in, uint8_t *block); /* NULL: only read */
} tv_gguf_type;

/* NULL for one that is not read. */
const tv_gguf_type *tv_gguf_type_of(uint32_t number);
const tv_gguf_type *tv_gguf_type_named(const char *name);
/* What the format calls a number, for sentences; "unknown" beyond its list. */
const char *tv_gguf_type_name(uint32_t number);

/* `count` is a multiple of the block. */
void tv_gguf_decode(const tv_gguf_type *type, const uint8_t *bytes, uint64_t count, float *out);
void tv_gguf_encode(const tv_gguf_type *type, const float *in, uint64_t count, uint8_t *bytes);

#endif
