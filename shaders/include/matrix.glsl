/* Matrix units: a subgroup's cooperative matrices of f16 (-DTV_MATRIX_F16) or bf16 (-DTV_MATRIX_BF16) operands, in this page T, with fp32
 * sums.
 *
 * The shape of a matrix and the lanes of a subgroup are the device's, as caps.h has them: constants 0 to 3, which tv_matrix_constants of
 * kernels/launch.h sets; a kernel's own begin at TV_MATRIX_CONSTANTS. Four values of T lie in a uvec2, so that no 16-bit arithmetic is asked
 * for: shared tiles are arrays of uvec2, and coopMatLoad's offset and stride count those.
 */
#ifndef TV_MATRIX_GLSL
#define TV_MATRIX_GLSL

#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#ifdef TV_MATRIX_BF16
#extension GL_EXT_bfloat16 : require
#define TV_T bfloat16_t
#else
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define TV_T float16_t
#endif

layout(constant_id = 0) const uint TV_MATRIX_M = 16;
layout(constant_id = 1) const uint TV_MATRIX_N = 16;
layout(constant_id = 2) const uint TV_MATRIX_K = 16;
layout(constant_id = 3) const uint TV_MATRIX_LANES = 32;
#define TV_MATRIX_CONSTANTS 4

#define TV_MATRIX_A coopmat<TV_T, gl_ScopeSubgroup, TV_MATRIX_M, TV_MATRIX_K, gl_MatrixUseA>
#define TV_MATRIX_B coopmat<TV_T, gl_ScopeSubgroup, TV_MATRIX_K, TV_MATRIX_N, gl_MatrixUseB>
#define TV_MATRIX_C coopmat<float, gl_ScopeSubgroup, TV_MATRIX_M, TV_MATRIX_N, gl_MatrixUseAccumulator>

/* Two f16 or bf16 of a word, low half first. Rounded to nearest even where that is the device's way for f16; NaN stays NaN. */
uint tv_f16_pack(vec2 values) {
#ifdef TV_MATRIX_BF16
    return packHalf2x16(values);
#else
    return packFloat2x16(f16vec2(values));
#endif
}

vec2 tv_f16_unpack(uint word) {
    return unpackHalf2x16(word);
}

uint tv_bf16_pack(vec2 values) {
    uvec2 bits = floatBitsToUint(values);
    uvec2 even = bits + 0x7fffu + (bits >> 16 & 1u);
    bits = mix(even, bits | 0x400000u, greaterThan(bits & 0x7fffffffu, uvec2(0x7f800000u)));
    return bits.x >> 16 | (bits.y & 0xffff0000u);
}

vec2 tv_bf16_unpack(uint word) {
    return uintBitsToFloat(uvec2(word << 16, word & 0xffff0000u));
}

/* The same for T. */
uint tv_pack2(vec2 values) {
#ifdef TV_MATRIX_BF16
    return tv_bf16_pack(values);
#else
    return tv_f16_pack(values);
#endif
}

vec2 tv_unpack2(uint word) {
#ifdef TV_MATRIX_BF16
    return tv_bf16_unpack(word);
#else
    return tv_f16_unpack(word);
#endif
}

uvec2 tv_pack4(vec4 values) {
    return uvec2(tv_pack2(values.xy), tv_pack2(values.zw));
}

vec4 tv_unpack4(uvec2 words) {
    return vec4(tv_unpack2(words.x), tv_unpack2(words.y));
}

#endif
