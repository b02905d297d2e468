/* Types of elements: see dtype.h. */
#include "base/dtype.h"

#include <math.h>
#include <string.h>

#include "base/bytes.h"

enum { BLOCK = TV_DTYPE_BLOCK, SCALE_BYTES = 2 };

/* ---- sizes ---- */

bool tv_dtype_is_blocks(tv_dtype dtype) {
    return dtype == TV_Q8_0 || dtype == TV_Q4_0;
}

uint64_t tv_dtype_bytes(tv_dtype dtype) {
    switch (dtype) {
    case TV_F16:
    case TV_BF16:
        return 2;
    case TV_F64:
    case TV_I64:
        return 8;
    case TV_F32:
    case TV_U32:
    case TV_I32:
        return 4;
    case TV_Q8_0:
    case TV_Q4_0:
        return 0;
    }
    return 4;
}

static uint64_t quant_bytes(tv_dtype dtype, uint64_t columns) {
    return dtype == TV_Q8_0 ? columns : columns / 2;
}

uint64_t tv_dtype_row_bytes(tv_dtype dtype, uint64_t columns) {
    uint64_t bytes = tv_dtype_is_blocks(dtype) ? quant_bytes(dtype, columns) + columns / BLOCK * SCALE_BYTES
                                               : columns * tv_dtype_bytes(dtype);
    return tv_align_up(bytes, sizeof(uint32_t));
}

bool tv_dtype_takes(tv_dtype dtype, uint64_t columns) {
    return !tv_dtype_is_blocks(dtype) || columns % BLOCK == 0;
}

const char *tv_dtype_name(tv_dtype dtype) {
    static const char *const names[] = {"f32", "f16", "bf16", "u32", "i32", "f64", "i64", "q8_0", "q4_0"};
    return (uint32_t)dtype < TV_COUNT(names) ? names[dtype] : "unknown";
}

/* ---- halves ---- */

float tv_half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = (half >> 10) & 0x1fu;
    uint32_t mantissa = half & 0x3ffu;
    if (exponent == 31)
        return tv_bits_to_float(sign | 0x7f800000u | mantissa << 13);
    if (exponent == 0) {
        float magnitude = (float)mantissa * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    return tv_bits_to_float(sign | (exponent + 112) << 23 | mantissa << 13);
}

uint16_t tv_float_to_half(float value) {
    uint32_t bits = tv_float_to_bits(value);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u)
        return (uint16_t)(sign | 0x7e00u);
    /* 65520 is the first value that rounds to infinity. */
    if (magnitude >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u);
    /* Below the smallest normal half, adding 0.5 lets the float unit round at the subnormal's last bit. */
    if (magnitude < 0x38800000u) {
        float shifted = tv_bits_to_float(magnitude) + 0.5f;
        return (uint16_t)(sign | (tv_float_to_bits(shifted) - 0x3f000000u));
    }
    uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

float tv_bfloat16_to_float(uint16_t value) {
    return tv_bits_to_float((uint32_t)value << 16);
}

uint16_t tv_float_to_bfloat16(float value) {
    uint32_t bits = tv_float_to_bits(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

/* ---- blocks ---- */

/* What both block types need of 32 values: the one that is largest, with its sign; false where one is no
 * finite number. */
static bool largest_of(const float *values, float *largest) {
    bool finite = true;
    *largest = 0;
    for (int i = 0; i < BLOCK; i++) {
        finite &= isfinite(values[i]) != 0;
        if (fabsf(values[i]) > fabsf(*largest))
            *largest = values[i];
    }
    return finite;
}

static int clamp(float value, int low, int high) {
    return value < (float)low ? low : value > (float)high ? high : (int)value;
}

static const uint16_t half_nan = 0x7e00;

static uint16_t to_q8_0(const float *values, int8_t *quants) {
    float largest;
    bool finite = largest_of(values, &largest);
    float scale = fabsf(largest) / 127.0f, inverse = scale > 0 ? 1.0f / scale : 0;
    for (int i = 0; i < BLOCK; i++)
        quants[i] = (int8_t)(finite ? clamp(roundf(values[i] * inverse), -127, 127) : 1);
    return finite ? tv_float_to_half(scale) : half_nan;
}

static uint16_t to_q4_0(const float *values, uint8_t *quants) {
    float largest;
    bool finite = largest_of(values, &largest);
    float scale = largest / -8.0f, inverse = scale != 0 ? 1.0f / scale : 0;
    for (int i = 0; i < BLOCK / 2; i++) {
        int low = finite ? clamp(values[i] * inverse + 8.5f, 0, 15) : 0;
        int high = finite ? clamp(values[i + BLOCK / 2] * inverse + 8.5f, 0, 15) : 0;
        quants[i] = (uint8_t)(low | high << 4);
    }
    return finite ? tv_float_to_half(scale) : half_nan;
}

static void from_q8_0(const int8_t *quants, float scale, float *values) {
    for (int i = 0; i < BLOCK; i++)
        values[i] = scale * (float)quants[i];
}

static void from_q4_0(const uint8_t *quants, float scale, float *values) {
    for (int i = 0; i < BLOCK / 2; i++) {
        values[i] = scale * (float)((quants[i] & 15) - 8);
        values[i + BLOCK / 2] = scale * (float)((quants[i] >> 4) - 8);
    }
}

/* ---- rows ---- */

static void halves_to_f32(tv_dtype dtype, uint64_t columns, const uint8_t *row, float *to) {
    for (uint64_t c = 0; c < columns; c++) {
        uint16_t half;
        memcpy(&half, row + c * sizeof half, sizeof half);
        to[c] = dtype == TV_F16 ? tv_half_to_float(half) : tv_bfloat16_to_float(half);
    }
}

static void halves_from_f32(tv_dtype dtype, uint64_t columns, const float *from, uint8_t *row) {
    for (uint64_t c = 0; c < columns; c++) {
        uint16_t half = dtype == TV_F16 ? tv_float_to_half(from[c]) : tv_float_to_bfloat16(from[c]);
        memcpy(row + c * sizeof half, &half, sizeof half);
    }
}

static void blocks_to_f32(tv_dtype dtype, uint64_t columns, const uint8_t *row, float *to) {
    const uint8_t *scales = row + quant_bytes(dtype, columns);
    for (uint64_t b = 0; b < columns / BLOCK; b++) {
        uint16_t scale;
        memcpy(&scale, scales + b * SCALE_BYTES, sizeof scale);
        if (dtype == TV_Q8_0)
            from_q8_0((const int8_t *)row + b * BLOCK, tv_half_to_float(scale), to + b * BLOCK);
        else
            from_q4_0(row + b * BLOCK / 2, tv_half_to_float(scale), to + b * BLOCK);
    }
}

static void blocks_from_f32(tv_dtype dtype, uint64_t columns, const float *from, uint8_t *row) {
    uint8_t *scales = row + quant_bytes(dtype, columns);
    for (uint64_t b = 0; b < columns / BLOCK; b++) {
        uint16_t scale = dtype == TV_Q8_0 ? to_q8_0(from + b * BLOCK, (int8_t *)row + b * BLOCK)
                                          : to_q4_0(from + b * BLOCK, row + b * BLOCK / 2);
        memcpy(scales + b * SCALE_BYTES, &scale, sizeof scale);
    }
}

void tv_dtype_to_f32(tv_dtype dtype, uint64_t columns, uint64_t rows, const void *from, float *to) {
    const uint64_t row_bytes = tv_dtype_row_bytes(dtype, columns);
    const uint8_t *row = from;
    for (uint64_t r = 0; r < rows; r++, row += row_bytes, to += columns) {
        if (dtype == TV_F32)
            memcpy(to, row, row_bytes);
        else if (tv_dtype_is_blocks(dtype))
            blocks_to_f32(dtype, columns, row, to);
        else
            halves_to_f32(dtype, columns, row, to);
    }
}

/* Clears what pads a row, so that equal values are equal bytes. */
static void clear_end(tv_dtype dtype, uint64_t columns, uint8_t *row, uint64_t row_bytes) {
    uint64_t used = tv_dtype_is_blocks(dtype) ? quant_bytes(dtype, columns) + columns / BLOCK * SCALE_BYTES
                                              : columns * tv_dtype_bytes(dtype);
    memset(row + used, 0, row_bytes - used);
}

void tv_dtype_from_f32(tv_dtype dtype, uint64_t columns, uint64_t rows, const float *from, void *to) {
    const uint64_t row_bytes = tv_dtype_row_bytes(dtype, columns);
    uint8_t *row = to;
    for (uint64_t r = 0; r < rows; r++, row += row_bytes, from += columns) {
        if (dtype == TV_F32)
            memcpy(row, from, row_bytes);
        else if (tv_dtype_is_blocks(dtype))
            blocks_from_f32(dtype, columns, from, row);
        else
            halves_from_f32(dtype, columns, from, row);
        clear_end(dtype, columns, row, row_bytes);
    }
}

/* ---- a file's blocks ---- */

void tv_dtype_from_blocks(tv_dtype dtype, uint64_t columns, uint64_t rows, const void *blocks, void *to) {
    const uint64_t row_bytes = tv_dtype_row_bytes(dtype, columns), each = quant_bytes(dtype, BLOCK);
    const uint8_t *block = blocks;
    uint8_t *row = to;
    for (uint64_t r = 0; r < rows; r++, row += row_bytes) {
        uint8_t *scales = row + quant_bytes(dtype, columns);
        for (uint64_t b = 0; b < columns / BLOCK; b++, block += SCALE_BYTES + each) {
            memcpy(scales + b * SCALE_BYTES, block, SCALE_BYTES);
            memcpy(row + b * each, block + SCALE_BYTES, each);
        }
        clear_end(dtype, columns, row, row_bytes);
    }
}
