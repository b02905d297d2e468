/* Element types of tensors, in files and on devices: sizes, and conversions on the host.
 *
 * Promise: sizes and roundings of types stand here and nowhere else. Rounding is to nearest even; NaN stays
 * NaN. Hosts are little-endian.
 *
 * A weight matrix on a device is rows of tv_dtype_row_bytes, a multiple of 4 bytes each, so that a shader
 * reads them as 32-bit words and a matrix can be cut between rows:
 *   f32   columns floats
 *   bf16, f16  columns halves, padded to 4 bytes
 *   q8_0  columns int8, then columns / 32 f16 scales, padded: value = scale * int8 (ggml's Q8_0)
 *   q4_0  columns / 2 bytes, then columns / 32 f16 scales, padded: value = scale * (nibble - 8) (ggml's
 *         Q4_0); byte i of a block of 16 holds values i (low nibble) and i + 16
 */
#ifndef TV_BASE_DTYPE_H
#define TV_BASE_DTYPE_H

#include <stdbool.h>
#include <stdint.h>

/* Values are pinned: they are stored in caches. */
typedef enum tv_dtype {
    TV_F32 = 0,
    TV_F16 = 1,
    TV_BF16 = 2,
    TV_U32 = 3,
    TV_I32 = 4,
    TV_F64 = 5,
    TV_I64 = 6,
    TV_Q8_0 = 7,
    TV_Q4_0 = 8
} tv_dtype;

/* Elements that share a scale in the block types. */
#define TV_DTYPE_BLOCK 32
/* Bytes of a block in a GGUF: the f16 scale, then the quants. */
#define TV_Q8_0_BLOCK_BYTES 34
#define TV_Q4_0_BLOCK_BYTES 18

/* Of one element; 0 for the block types, whose elements have no bytes of their own. */
uint64_t tv_dtype_bytes(tv_dtype dtype);
/* Of one row of a weight matrix on a device. */
uint64_t tv_dtype_row_bytes(tv_dtype dtype, uint64_t columns);
/* Whether rows of so many elements can be stored as this type: multiples of 32 for the block types. */
bool tv_dtype_takes(tv_dtype dtype, uint64_t columns);
bool tv_dtype_is_blocks(tv_dtype dtype);
/* "f32", "bf16", "q8_0": as settings and people write it. */
const char *tv_dtype_name(tv_dtype dtype);

/* `rows` rows, one after another, of a type that weights are stored in, to dense floats and back. A row of a
 * block type with a value that is no finite number becomes NaN in its whole block. */
void tv_dtype_to_f32(tv_dtype dtype, uint64_t columns, uint64_t rows, const void *from, float *to);
void tv_dtype_from_f32(tv_dtype dtype, uint64_t columns, uint64_t rows, const float *from, void *to);

/* A GGUF's blocks, each with its scale before it, as device rows. */
void tv_dtype_from_blocks(tv_dtype dtype, uint64_t columns, uint64_t rows, const void *blocks, void *to);

/* IEEE half and bfloat16; overflow becomes infinity. */
float tv_half_to_float(uint16_t half);
uint16_t tv_float_to_half(float value);
float tv_bfloat16_to_float(uint16_t value);
uint16_t tv_float_to_bfloat16(float value);

#endif
