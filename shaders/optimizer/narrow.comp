/* weights = master, rounded to nearest even: what the passes read of a trained matrix that is stored narrower than fp32.
 *
 * Of each segment of a dispatch (segments.glsl): master (rows, columns) fp32; weights: rows of 32-bit words (base/dtype.h), overwritten.
 * -DTV_WEIGHT=1: f16, words of two elements; 2: bf16, likewise; 7: q8_0, pairs of neighbouring blocks, whose scales share a word: scale = amax
 * / 127 as f16, quant = round(x / scale). An invocation makes TV_NARROW_EACH of them, a workgroup apart. Limits: words of one dispatch below
 * 2^32. Memory bound: 4 bytes read for each element and its own bytes written.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "halves.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
/* As bits: subnormal floats are not flushed on the way. */
layout(std430, binding = 0) readonly buffer Master {
    uint master[];
};
layout(std430, binding = 1) writeonly buffer Weights {
    uint weights[];
};
layout(push_constant) uniform Push {
    tv_segments_push p;
};

#define TV_SEGMENTS_BINDING 2
#include "segments.glsl"

#if TV_WEIGHT == 7
const uint BLOCK = 32, EACH = 4;

/* Writes the quants of one block; its scale as half. */
uint quantise(uint from, uint to) {
    uint largest = 0;
    for (uint i = 0; i < BLOCK; i++)
        largest = max(largest, master[from + i] & 0x7fffffffu);
    bool finite = largest < 0x7f800000u;
    float scale = uintBitsToFloat(largest) / 127.0, inverse = scale > 0.0 ? 1.0 / scale : 0.0;
    for (uint w = 0; w < BLOCK / EACH; w++) {
        uint word = 0;
        for (uint e = 0; e < EACH; e++) {
            float x = uintBitsToFloat(master[from + w * EACH + e]) * inverse;
            /* Halves away from 0, as the host does. */
            int quant = finite ? int(clamp(sign(x) * floor(abs(x) + 0.5), -127.0, 127.0)) : 1;
            word |= uint(quant & 0xff) << 8 * e;
        }
        weights[to + w] = word;
    }
    return finite ? tv_to_half(floatBitsToUint(scale)) : 0x7e00u;
}

uint units_of_row(uint columns) {
    return (columns / BLOCK + 1) / 2;
}

void make(tv_update_segment s, uint row, uint unit) {
    uint blocks = s.columns / BLOCK, pairs = (blocks + 1) / 2, block = 2 * unit;
    uint from = s.parameter + row * s.columns, to = s.weights + row * (s.columns / EACH + pairs);
    uint scales = quantise(from + block * BLOCK, to + block * (BLOCK / EACH));
    if (block + 1 < blocks)
        scales |= quantise(from + (block + 1) * BLOCK, to + (block + 1) * (BLOCK / EACH)) << 16;
    weights[to + s.columns / EACH + unit] = scales;
}
#else
#if TV_WEIGHT == 1
#define NARROW tv_to_half
#else
#define NARROW tv_to_bfloat16
#endif

uint units_of_row(uint columns) {
    return (columns + 1) / 2;
}

void make(tv_update_segment s, uint row, uint unit) {
    uint from = s.parameter + row * s.columns + 2 * unit;
    uint high = 2 * unit + 1 < s.columns ? NARROW(master[from + 1]) : 0u;
    weights[s.weights + row * units_of_row(s.columns) + unit] = NARROW(master[from]) | high << 16;
}
#endif

void main() {
    uint group = tv_group();
    tv_update_segment s = tv_segment_of(group, p.first, p.segments);
    uint units = units_of_row(s.columns), rows = s.count / s.columns;
    uint at = (group - s.first_group) * gl_WorkGroupSize.x * TV_NARROW_EACH + gl_LocalInvocationIndex;
    for (uint i = 0; i < TV_NARROW_EACH; i++, at += gl_WorkGroupSize.x) {
        uint row = at / units;
        if (row < rows)
            make(s, row, at % units);
    }
}
