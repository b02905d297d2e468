/* Operands and result of products on matrix units, as their kernels share them: bindings, how values lie in memory, their way to T
 * (matrix.glsl) and C's epilogue.
 *
 * TYPES says how each lies in memory, as values of tv_dtype: A f32 or T; B f32, f16, bf16, q8_0 or q4_0; C f32 or T. Whatever is not T is
 * rounded to T once. p.lda and its kin, p.first_a and its kin count elements of the type, words for q8_0 and q4_0. Loads are clamped; what
 * they take from beyond a row becomes 0 on the way to T.
 */
#ifndef TV_MATMUL_OPERANDS_GLSL
#define TV_MATMUL_OPERANDS_GLSL
#include "maths.glsl"
#include "matrix.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(constant_id = 4) const uint TYPES = 0;   /* of A, 16 times B's and 256 times C's */
layout(constant_id = 5) const uint ALIGNED = 0; /* 1, 2, 4: all of A, B, C lies so that one load takes what an invocation wants */
layout(constant_id = 6) const bool GELU = false;
layout(std430, binding = 0) readonly buffer A {
    float a[];
};
layout(std430, binding = 0) readonly buffer A4 {
    uvec4 a4[];
};
layout(std430, binding = 0) readonly buffer AHalves {
    uint16_t a_halves[];
};
layout(std430, binding = 0) readonly buffer APairs {
    uvec2 a_pairs[];
};
layout(std430, binding = 1) readonly buffer B {
    float b[];
};
layout(std430, binding = 1) readonly buffer B4 {
    uvec4 b4[];
};
layout(std430, binding = 1) readonly buffer BHalves {
    uint16_t b_halves[];
};
layout(std430, binding = 1) readonly buffer BPairs {
    uvec2 b_pairs[];
};
layout(std430, binding = 1) readonly buffer BWords {
    uint b_words[];
};
layout(std430, binding = 2) readonly buffer Bias {
    float bias[];
};
layout(std430, binding = 3) buffer C {
    float c[];
};
layout(std430, binding = 3) buffer C4 {
    vec4 c4[];
};
layout(std430, binding = 3) buffer CHalves {
    uint16_t c_halves[];
};
layout(std430, binding = 3) buffer CPairs {
    uvec2 c_pairs[];
};
layout(push_constant) uniform Push {
    tv_matmul_push p;
};

const uint F32 = 0, F16 = 1, BF16 = 2, Q8_0 = 7, Q4_0 = 8, BLOCK = 32;
#ifdef TV_MATRIX_BF16
const uint T = BF16;
#else
const uint T = F16;
#endif
const uint TYPE_A = TYPES & 15, TYPE_B = TYPES >> 4 & 15, TYPE_C = TYPES >> 8;
const bool ALIGNED_A = (ALIGNED & 1) != 0, ALIGNED_B = (ALIGNED & 2) != 0, ALIGNED_C = (ALIGNED & 4) != 0;

/* Eight neighbours of a stored row as they lie in memory: 8 floats; 8 halves in x; of blocks 2 words in x.xy and in x.z the one with their
 * scale. And four: 4 floats; 4 halves in xy; a word and the one with its scale. */
struct eight {
    uvec4 x, y;
};

vec4 floats(uvec4 bits) {
    return uintBitsToFloat(bits);
}

/* ---- loads ---- */

eight eight_of_a(uint row, uint column, uint columns) {
    eight raw;
    if (ALIGNED_A) {
        uint at = row + min(column, columns - 8);
        raw.x = a4[TYPE_A == F32 ? at / 4 : at / 8];
        if (TYPE_A == F32)
            raw.y = a4[at / 4 + 1];
    } else if (TYPE_A == F32) {
        [[unroll]] for (uint e = 0; e < 4; e++) {
            raw.x[e] = floatBitsToUint(a[row + min(column + e, columns - 1)]);
            raw.y[e] = floatBitsToUint(a[row + min(column + 4 + e, columns - 1)]);
        }
    } else {
        [[unroll]] for (uint e = 0; e < 4; e++)
            raw.x[e] = uint(a_halves[row + min(column + 2 * e, columns - 1)]) |
                       uint(a_halves[row + min(column + 2 * e + 1, columns - 1)]) << 16;
    }
    return raw;
}

/* The word of a row of blocks that holds the scale of `column`. */
uint scale_word(uint row, uint column, uint columns) {
    return row + (TYPE_B == Q8_0 ? columns / 4 : columns / 8) + column / (2 * BLOCK);
}

uint word_of(uint column) {
    return TYPE_B == Q8_0 ? column / 4 : column / BLOCK * 4 + column % 16 / 4;
}

eight eight_of_b(uint row, uint column, uint columns) {
    eight raw;
    if (TYPE_B == Q8_0 || TYPE_B == Q4_0) {
        uint within = min(column, columns - 8);
        raw.x = uvec4(b_words[row + word_of(within)], b_words[row + word_of(within) + 1],
                      b_words[scale_word(row, within, columns)], 0);
    } else if (ALIGNED_B) {
        uint at = row + min(column, columns - 8);
        raw.x = b4[TYPE_B == F32 ? at / 4 : at / 8];
        if (TYPE_B == F32)
            raw.y = b4[at / 4 + 1];
    } else if (TYPE_B == F32) {
        [[unroll]] for (uint e = 0; e < 4; e++) {
            raw.x[e] = floatBitsToUint(b[row + min(column + e, columns - 1)]);
            raw.y[e] = floatBitsToUint(b[row + min(column + 4 + e, columns - 1)]);
        }
    } else {
        [[unroll]] for (uint e = 0; e < 4; e++)
            raw.x[e] = uint(b_halves[row + min(column + 2 * e, columns - 1)]) |
                       uint(b_halves[row + min(column + 2 * e + 1, columns - 1)]) << 16;
    }
    return raw;
}

/* ---- what was loaded, as T ---- */

vec2 pair_of_b(uint word) {
    return TYPE_B == F16 ? tv_f16_unpack(word) : tv_bf16_unpack(word);
}

/* A scale: subnormal ones by hand, because devices may flush them, and small weights have such. */
float scale_of(uint bits) {
    float small = float(bits & 0x3ffu) * uintBitsToFloat(0x33800000u);
    return (bits & 0x7c00u) != 0 ? tv_f16_unpack(bits & 0xffffu).x : (bits & 0x8000u) != 0 ? -small : small;
}

/* Values of a word of blocks; `within` is the column of the first one. */
vec4 quants(uint word, uint scale_pair, uint within) {
    float scale = scale_of(scale_pair >> 16 * (within / BLOCK % 2));
    ivec4 values;
    [[unroll]] for (int e = 0; e < 4; e++)
        values[e] = TYPE_B == Q8_0 ? bitfieldExtract(int(word), 8 * e, 8)
                                   : int(word >> (8 * e + 4 * (within % BLOCK / 16)) & 15u) - 8;
    return scale * vec4(values);
}

/* A pair of T words of the eight values from `column` on; none from `columns` on. */
uvec4 within_eight(uvec4 words, bool aligned, uint column, uint columns) {
    if (aligned)
        return column < columns ? words : uvec4(0);
    [[unroll]] for (uint e = 0; e < 4; e++) {
        uint first = column + 2 * e;
        words[e] = first + 1 < columns ? words[e] : first < columns ? words[e] & 0xffffu : 0u;
    }
    return words;
}

uvec4 packed_a(eight raw, uint column, uint columns) {
    uvec4 words = TYPE_A == T ? raw.x : uvec4(tv_pack4(floats(raw.x)), tv_pack4(floats(raw.y)));
    return within_eight(words, ALIGNED_A, column, columns);
}

uvec4 packed_b(eight raw, uint column, uint columns) {
    uvec4 words;
    if (TYPE_B == T) {
        words = raw.x;
    } else if (TYPE_B == F32) {
        words = uvec4(tv_pack4(floats(raw.x)), tv_pack4(floats(raw.y)));
    } else if (TYPE_B == Q8_0 || TYPE_B == Q4_0) {
        uint within = min(column, columns - 8);
        words = uvec4(tv_pack4(quants(raw.x.x, raw.x.z, within)), tv_pack4(quants(raw.x.y, raw.x.z, within + 4)));
    } else {
        [[unroll]] for (uint e = 0; e < 4; e++)
            words[e] = tv_pack2(pair_of_b(raw.x[e]));
    }
    return within_eight(words, ALIGNED_B || TYPE_B == Q8_0 || TYPE_B == Q4_0, column, columns);
}

/* ---- the result ---- */

void put(uint base_c, uint row, uint column, vec4 total) {
    if (row >= p.m || column >= p.n)
        return;
    uint at = base_c + row * p.ldc + column;
    vec4 before = vec4(0.0);
    if (p.has_bias != 0) {
        [[unroll]] for (uint e = 0; e < 4; e++)
            before[e] = bias[p.first_bias + min(column + e, p.n - 1)];
    }
    if (p.accumulate != 0 && TYPE_C == F32) {
        if (ALIGNED_C)
            before = c4[at / 4];
        else
            [[unroll]] for (uint e = 0; e < 4; e++)
                if (column + e < p.n)
                    before[e] = c[at + e];
    }
    vec4 value = fma(vec4(p.scale), total, before);
    if (GELU) {
        /* Of what is stored where GELU is a kernel of its own. Nothing accumulates to T, and what a compiler does not know keeps it from
         * leaving both conversions out. */
        if (TYPE_C != F32)
            value = tv_unpack4(tv_pack4(value) ^ p.accumulate);
        value /= 1.0 + tv_gelu_exp(value);
    }
    if (TYPE_C == F32) {
        if (ALIGNED_C)
            c4[at / 4] = value;
        else
            [[unroll]] for (uint e = 0; e < 4; e++)
                if (column + e < p.n)
                    c[at + e] = value[e];
    } else {
        uvec2 words = tv_pack4(value);
        if (ALIGNED_C)
            c_pairs[at / 4] = words;
        else
            [[unroll]] for (uint e = 0; e < 4; e++)
                if (column + e < p.n)
                    c_halves[at + e] = uint16_t(words[e / 2] >> 16 * (e % 2));
    }
}

#endif
