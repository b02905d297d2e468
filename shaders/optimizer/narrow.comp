/* weights = master, rounded to nearest even: what the passes read of a trained matrix that is stored narrower than fp32.
 *
 * master: (rows, columns) fp32; weights: rows of 32-bit words (base/dtype.h), overwritten. -DTV_WEIGHT=1: f16, an invocation a
 * word of two elements; 2: bf16, likewise; 7: q8_0, an invocation two neighbouring blocks, whose scales share a word:
 * scale = amax / 127 as f16, quant = round(x / scale). Limits: words of one dispatch below 2^32. Memory bound: 4 bytes read for
 * each element and its own bytes written.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "halves.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
/* As bits: subnormal floats are not flushed on the way. */
layout(std430, binding = 0) readonly buffer Master {
    uint master[];
};
layout(std430, binding = 1) writeonly buffer Weights {
    uint weights[];
};
layout(push_constant) uniform Push {
    tv_narrow_push p;
};

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

void main() {
    uint blocks = p.columns / BLOCK, pairs = (blocks + 1) / 2, at = tv_thread();
    uint row = at / pairs, block = at % pairs * 2;
    if (row >= p.rows)
        return;
    uint from = row * p.columns, to = row * (p.columns / EACH + pairs);
    uint scales = quantise(from + block * BLOCK, to + block * (BLOCK / EACH));
    if (block + 1 < blocks)
        scales |= quantise(from + (block + 1) * BLOCK, to + (block + 1) * (BLOCK / EACH)) << 16;
    weights[to + p.columns / EACH + block / 2] = scales;
}
#else
#if TV_WEIGHT == 1
#define NARROW tv_to_half
#else
#define NARROW tv_to_bfloat16
#endif

void main() {
    uint words = (p.columns + 1) / 2, at = tv_thread(), row = at / words, column = at % words * 2;
    if (row >= p.rows)
        return;
    uint from = row * p.columns + column;
    uint high = column + 1 < p.columns ? NARROW(master[from + 1]) : 0u;
    weights[at] = NARROW(master[from]) | high << 16;
}
#endif
