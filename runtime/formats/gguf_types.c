/* Blocks of GGUF tensors: see gguf_types.h. A comment before each decoder is the block's layout in the file.
 */
#include "formats/gguf_types.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "base/bytes.h"

enum { SMALL = 32, SUPER = 256 };

static uint16_t load16(const uint8_t *bytes) {
    return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static float half_at(const uint8_t *bytes) {
    return tv_half_to_float(load16(bytes));
}

static void store16(uint16_t value, uint8_t *bytes) {
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static void decode_f32(const uint8_t *block, float *out) {
    memcpy(out, block, sizeof *out);
}

static void encode_f32(const float *in, uint8_t *block) {
    memcpy(block, in, sizeof *in);
}

static void decode_f16(const uint8_t *block, float *out) {
    *out = half_at(block);
}

static void encode_f16(const float *in, uint8_t *block) {
    store16(tv_float_to_half(*in), block);
}

static void decode_bf16(const uint8_t *block, float *out) {
    *out = tv_bfloat16_to_float(load16(block));
}

static void encode_bf16(const float *in, uint8_t *block) {
    store16(tv_float_to_bfloat16(*in), block);
}

/* f16 scale, 32 int8 */
static void decode_q8_0(const uint8_t *block, float *out) {
    float scale = half_at(block);
    for (int i = 0; i < SMALL; i++)
        out[i] = scale * (float)(int8_t)block[2 + i];
}

static void encode_q8_0(const float *in, uint8_t *block) {
    float largest = 0;
    for (int i = 0; i < SMALL; i++)
        largest = fmaxf(largest, fabsf(in[i]));
    float scale = largest / 127, inverse = scale > 0 ? 1 / scale : 0;
    store16(tv_float_to_half(scale), block);
    for (int i = 0; i < SMALL; i++)
        block[2 + i] = (uint8_t)(int8_t)roundf(in[i] * inverse);
}

/* f16 scale, 16 bytes: the low nibbles are elements 0 to 15, the high ones 16 to 31 */
static void decode_q4_0(const uint8_t *block, float *out) {
    float scale = half_at(block);
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)((block[2 + i] & 15) - 8);
        out[16 + i] = scale * (float)((block[2 + i] >> 4) - 8);
    }
}

/* f16 scale, f16 minimum, nibbles as in Q4_0 */
static void decode_q4_1(const uint8_t *block, float *out) {
    float scale = half_at(block), minimum = half_at(block + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = scale * (float)(block[4 + i] & 15) + minimum;
        out[16 + i] = scale * (float)(block[4 + i] >> 4) + minimum;
    }
}

/* The whole numbers of Q5_0 and Q5_1: 4 bytes of fifth bits, bit i that of element i, and nibbles as in Q4_0
 */
static void five_bits(const uint8_t *packed, int out[SMALL]) {
    for (int i = 0; i < SMALL; i++) {
        uint8_t nibbles = packed[4 + i % 16];
        out[i] = (i < 16 ? nibbles & 15 : nibbles >> 4) | (packed[i / 8] >> i % 8 & 1) << 4;
    }
}

/* f16 scale, five bits */
static void decode_q5_0(const uint8_t *block, float *out) {
    int whole[SMALL];
    five_bits(block + 2, whole);
    for (int i = 0; i < SMALL; i++)
        out[i] = half_at(block) * (float)(whole[i] - 16);
}

/* f16 scale, f16 minimum, five bits */
static void decode_q5_1(const uint8_t *block, float *out) {
    int whole[SMALL];
    five_bits(block + 4, whole);
    for (int i = 0; i < SMALL; i++)
        out[i] = half_at(block) * (float)whole[i] + half_at(block + 2);
}

/* Scale and minimum `index` of the eight of Q4_K and Q5_K, 6 bits each in 12 bytes: the first four lie in the
 * low 6 bits of bytes 0 to 3 and 4 to 7, the last four have their low nibbles in bytes 8 to 11 and their high
 * two bits on top of the first four. */
static void scale_and_minimum(const uint8_t *packed, int index, int *scale, int *minimum) {
    if (index < 4) {
        *scale = packed[index] & 63;
        *minimum = packed[index + 4] & 63;
        return;
    }
    *scale = (packed[index + 4] & 15) | packed[index - 4] >> 6 << 4;
    *minimum = packed[index + 4] >> 4 | packed[index] >> 6 << 4;
}

/* f16 scale of scales, f16 scale of minimums, 12 bytes of both, 128 bytes: each 32 of them hold 64 elements,
 * low nibbles first */
static void decode_q4_k(const uint8_t *block, float *out) {
    float scales = half_at(block), minimums = half_at(block + 2);
    const uint8_t *quants = block + 16;
    for (int part = 0; part < 8; part++) {
        int scale, minimum;
        scale_and_minimum(block + 4, part, &scale, &minimum);
        float d = scales * (float)scale, m = minimums * (float)minimum;
        const uint8_t *from = quants + part / 2 * 32;
        for (int i = 0; i < 32; i++)
            out[part * 32 + i] = d * (float)(part % 2 ? from[i] >> 4 : from[i] & 15) - m;
    }
}

/* As Q4_K, with 32 bytes of fifth bits between scales and nibbles: bit `part` of byte i */
static void decode_q5_k(const uint8_t *block, float *out) {
    float scales = half_at(block), minimums = half_at(block + 2);
    const uint8_t *high = block + 16, *quants = block + 48;
    for (int part = 0; part < 8; part++) {
        int scale, minimum;
        scale_and_minimum(block + 4, part, &scale, &minimum);
        float d = scales * (float)scale, m = minimums * (float)minimum;
        const uint8_t *from = quants + part / 2 * 32;
        for (int i = 0; i < 32; i++) {
            int low = part % 2 ? from[i] >> 4 : from[i] & 15;
            out[part * 32 + i] = d * (float)(low | (high[i] >> part & 1) << 4) - m;
        }
    }
}

/* 128 bytes of low nibbles, 64 bytes of high two bits, 16 int8 scales (one for 16 elements), f16 scale of
 * scales; each half of 128 elements is four runs of 32: nibbles low, low, high, high of bytes 0 to 31, 32 to
 * 63 */
static void decode_q6_k(const uint8_t *block, float *out) {
    float scales = half_at(block + 208);
    for (int i = 0; i < SUPER; i++) {
        int half = i / 128, run = i % 128 / 32, at = i % 32;
        uint8_t nibbles = block[half * 64 + run % 2 * 32 + at];
        int low = run < 2 ? nibbles & 15 : nibbles >> 4;
        int high = block[128 + half * 32 + at] >> 2 * run & 3;
        float scale = scales * (float)(int8_t)block[192 + i / 16];
        out[i] = scale * (float)((low | high << 4) - 32);
    }
}

static const tv_gguf_type types[] = {
    {"F32", 0, 0, 1, 4, decode_f32, encode_f32},         {"F16", 1, 1, 1, 2, decode_f16, encode_f16},
    {"Q4_0", 2, 2, SMALL, 18, decode_q4_0, NULL},        {"Q4_1", 3, 3, SMALL, 20, decode_q4_1, NULL},
    {"Q5_0", 6, 8, SMALL, 22, decode_q5_0, NULL},        {"Q5_1", 7, 9, SMALL, 24, decode_q5_1, NULL},
    {"Q8_0", 8, 7, SMALL, 34, decode_q8_0, encode_q8_0}, {"Q4_K", 12, 15, SUPER, 144, decode_q4_k, NULL},
    {"Q5_K", 13, 17, SUPER, 176, decode_q5_k, NULL},     {"Q6_K", 14, 18, SUPER, 210, decode_q6_k, NULL},
    {"BF16", 30, 32, 1, 2, decode_bf16, encode_bf16},
};

const tv_gguf_type *tv_gguf_type_of(uint32_t number) {
    for (size_t i = 0; i < TV_COUNT(types); i++)
        if (types[i].number == number)
            return &types[i];
    return NULL;
}

const tv_gguf_type *tv_gguf_type_named(const char *name) {
    for (size_t i = 0; i < TV_COUNT(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}

const char *tv_gguf_type_name(uint32_t number) {
    /* Gaps are types that were removed from the format. */
    static const char *const names[] = {
        "F32",    "F16",   "Q4_0",  "Q4_1",   NULL,    NULL,    "Q5_0",    "Q5_1",   "Q8_0",    "Q8_1",
        "Q2_K",   "Q3_K",  "Q4_K",  "Q5_K",   "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
        "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",     "I64",    "F64",     "IQ1_M",
        "BF16",   NULL,    NULL,    NULL,     "TQ1_0", "TQ2_0", NULL,      NULL,     NULL,      "MXFP4"};
    return number < TV_COUNT(names) && names[number] ? names[number] : "unknown";
}

void tv_gguf_decode(const tv_gguf_type *type, const uint8_t *bytes, uint64_t count, float *out) {
    for (uint64_t i = 0; i < count / type->block; i++)
        type->decode(bytes + i * type->bytes, out + i * type->block);
}

void tv_gguf_encode(const tv_gguf_type *type, const float *in, uint64_t count, uint8_t *bytes) {
    for (uint64_t i = 0; i < count / type->block; i++)
        type->encode(in + i * type->block, bytes + i * type->bytes);
}
