/* AdamW with moments of 8 bits (after Dettmers et al. 2022, "8-bit Optimizers via Block-wise Quantization"; moments.glsl says what is
 * different here): adamw.comp's arithmetic, on moments that are read and written as codes.
 *
 * First moment: a sign, 4 bits of exponent, 3 of mantissa. Second: its square root, 4 bits of exponent, 4 of mantissa, and never code 0,
 * so that no step is divided by nothing. Both lie in pieces of 4,096 elements: 1,024 words of codes, then the exponents of
 * its 16 blocks. A step uses the moments as computed; what the next one finds is rounded, by bits of Philox at (number of the parameter,
 * t, element). All segments of a dispatch (segments.glsl) at once; counts are multiples of 4, pieces begin at multiples of 4,096.
 *
 * A workgroup takes a piece, block by block; -DTV_LOCAL_SIZE divides 64. 90 FLOPs per 20.06 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x = TV_LOCAL_SIZE) in;

#include "grid.glsl"
#include "maths.glsl"
#include "moments.glsl"
#include "philox.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "sizes.h"

layout(std430, binding = 0) buffer Parameter {
    vec4 parameter[];
};
layout(std430, binding = 1) buffer Gradient {
    vec4 gradient[];
};
layout(std430, binding = 2) buffer FirstMoment {
    uint first_moment[];
};
layout(std430, binding = 3) buffer SecondMoment {
    uint second_moment[];
};
layout(std430, binding = 4) readonly buffer Step {
    tv_step_constants constants;
};
layout(std430, binding = 5) readonly buffer State {
    tv_update_state state;
};
layout(push_constant) uniform Push {
    tv_segments_push p;
};

#define TV_SEGMENTS_BINDING 6
#include "segments.glsl"

const uint block_vectors = TV_MOMENT_BLOCK / 4, blocks = TV_MOMENT_PIECE / TV_MOMENT_BLOCK;
const uint vectors = block_vectors / TV_LOCAL_SIZE;
const uint m_bits = 3, s_bits = 4;

vec4 decode_m(uint word, uint exponent) {
    vec4 m;
    for (uint e = 0; e < 4; e++) {
        uint code = word >> 8 * e & 0xffu;
        float size = tv_moment_decode(code & 0x7fu, exponent, m_bits);
        m[e] = code > 0x7fu ? -size : size;
    }
    return m;
}

vec4 decode_s(uint word, uint exponent) {
    vec4 s;
    for (uint e = 0; e < 4; e++)
        s[e] = tv_moment_decode(word >> 8 * e & 0xffu, exponent, s_bits);
    return s;
}

float largest_of(vec4 x) {
    return max(max(x.x, x.y), max(x.z, x.w));
}

void main() {
    uint group = tv_group();
    tv_update_segment segment = tv_segment_of(group, p.first, p.segments);
    uint piece = group - segment.first_group, lane = gl_LocalInvocationIndex;
    uint begin = piece * (TV_MOMENT_PIECE / 4), end = min(begin + TV_MOMENT_PIECE / 4, segment.count / 4);
    uint gradient_at = segment.gradient / 4, parameter_at = segment.parameter / 4;
    if (begin >= end)
        return;
    if (state.finite == 0) {
        for (uint i = begin + lane; i < end; i += TV_LOCAL_SIZE)
            gradient[gradient_at + i] = vec4(0.0);
        return;
    }
    float t = float(state.applied);
    float rate1 = -tv_expm1(constants.log_beta1), rate2 = -tv_expm1(constants.log_beta2);
    float step_size = constants.lr / -tv_expm1(t * constants.log_beta1);
    float correction2 = inversesqrt(-tv_expm1(t * constants.log_beta2));
    float keep = segment.decay != 0 ? 1.0 - constants.lr * constants.weight_decay : 1.0;
    float clip_scale = state.clip_scale, beta2 = constants.beta2, eps = constants.eps;
    uint m_at = segment.m + piece * TV_MOMENT_WORDS, v_at = segment.v + piece * TV_MOMENT_WORDS;
    for (uint b = 0; b < blocks && begin + b * block_vectors < end; b++) {
        uint m_exponent_at = m_at + TV_MOMENT_PIECE / 4 + b, v_exponent_at = v_at + TV_MOMENT_PIECE / 4 + b;
        uint m_exponent = first_moment[m_exponent_at], v_exponent = second_moment[v_exponent_at];
        vec4 ms[vectors], roots[vectors];
        float largest_m = 0.0, largest_root = 0.0;
        for (uint k = 0; k < vectors; k++) {
            uint in_piece = b * block_vectors + k * TV_LOCAL_SIZE + lane, i = begin + in_piece;
            ms[k] = roots[k] = vec4(0.0);
            if (i >= end)
                continue;
            vec4 g = clip_scale * gradient[gradient_at + i];
            vec4 m = decode_m(first_moment[m_at + in_piece], m_exponent);
            m += rate1 * (g - m);
            vec4 root = decode_s(second_moment[v_at + in_piece], v_exponent);
            root = sqrt(beta2 * (root * root) + rate2 * (g * g));
            parameter[parameter_at + i] =
                keep * parameter[parameter_at + i] - step_size * (m / (root * correction2 + eps));
            gradient[gradient_at + i] = vec4(0.0);
            largest_m = max(largest_m, largest_of(abs(m)));
            largest_root = max(largest_root, largest_of(root));
            ms[k] = m;
            roots[k] = root;
        }
        m_exponent = tv_moment_exponent(floatBitsToUint(tv_group_max(largest_m)), m_bits);
        v_exponent = tv_moment_exponent(floatBitsToUint(tv_group_max(largest_root)), s_bits);
        for (uint k = 0; k < vectors; k++) {
            uint in_piece = b * block_vectors + k * TV_LOCAL_SIZE + lane;
            if (begin + in_piece >= end)
                continue;
            uvec4 random = tv_philox(uvec2(segment.number, 0), TV_STREAM_MOMENTS, state.applied,
                                     uvec2(segment.first_vector + begin + in_piece, 0));
            uint m_word = 0, v_word = 0;
            for (uint e = 0; e < 4; e++) {
                uint m_random = random[e] & 0xffffu, v_random = random[e] >> 16, bits = floatBitsToUint(ms[k][e]);
                uint m_code = tv_moment_encode(bits & 0x7fffffffu, m_exponent, m_bits, m_random);
                uint v_code = tv_moment_encode(floatBitsToUint(roots[k][e]), v_exponent, s_bits, v_random);
                m_word |= (m_code | bits >> 24 & 0x80u) << 8 * e;
                v_word |= max(v_code, 1u) << 8 * e;
            }
            first_moment[m_at + in_piece] = m_word;
            second_moment[v_at + in_piece] = v_word;
        }
        if (lane == 0) {
            first_moment[m_exponent_at] = m_exponent;
            second_moment[v_exponent_at] = v_exponent;
        }
    }
}
