/* A group's gradients rounded to bf16, with what rounding takes away kept for the next step (error feedback: Seide et al. 2014, "1-Bit
 * Stochastic Gradient Descent"; Karimireddy et al. 2019, "Error Feedback Fixes SignSGD"): x = group + error, given = bf16(x),
 * error = x - given, and the group starts at zero again.
 *
 * group: (count) fp32, read and written; error: (count) bf16, read and written; given: (count) bf16, overwritten. count a multiple of 4.
 * -DTV_SUM: what is given is added to sum (count) fp32 instead, as tv_group_add would add it elsewhere.
 * The difference is exact in fp32; kept in bf16 it loses 2^-18 of x at most. Gradients carry the state's loss scale, a power of two that may
 * be another in the next step, and errors do not. Where the last update was not applied its errors count as 0, as its gradients did; where x
 * is no finite number, or its bf16 is none, the error becomes 0. Rounding is to nearest even, on bits, so that no driver has a say.
 * Memory bound: 14 bytes an element (20 with TV_SUM), 4 FLOPs.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "halves.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) buffer Group {
    vec4 group[];
};
layout(std430, binding = 1) buffer Error {
    uvec2 error[];
};
layout(std430, binding = 2) readonly buffer State {
    tv_update_state state;
};
#ifdef TV_SUM
layout(std430, binding = 3) buffer Sum {
    vec4 sum[];
};
#else
layout(std430, binding = 3) writeonly buffer Given {
    uvec2 given[];
};
#endif
layout(push_constant) uniform Push {
    tv_count_push p;
};

uvec4 to_bfloat16(vec4 v) {
    uvec4 bits = floatBitsToUint(v);
    return uvec4(tv_to_bfloat16(bits.x), tv_to_bfloat16(bits.y), tv_to_bfloat16(bits.z), tv_to_bfloat16(bits.w));
}

vec4 to_float(uvec4 halves) {
    return uintBitsToFloat(halves << 16);
}

uvec2 pack(uvec4 halves) {
    return halves.xz | halves.yw << 16;
}

uvec4 unpack(uvec2 words) {
    return uvec4(words.x & 0xffffu, words.x >> 16, words.y & 0xffffu, words.y >> 16);
}

void main() {
    uint i = tv_thread();
    if (i >= p.count / 4)
        return;
    float scale = state.loss_scale > 0.0 ? state.loss_scale : 1.0;
    float inverse = uintBitsToFloat(0x7f000000u - floatBitsToUint(scale)); /* of a power of two, exact; a division need not be */
    uvec2 kept = state.finite != 0 ? error[i] : uvec2(0);
    precise vec4 scaled = to_float(unpack(kept)) * scale;
    precise vec4 x = group[i] + scaled;
    uvec4 rounded = to_bfloat16(x);
    precise vec4 lost = x - to_float(rounded);
    precise vec4 rest = lost * inverse;
    bvec4 finite = notEqual(rounded & 0x7f80u, uvec4(0x7f80u));
    error[i] = pack(mix(uvec4(0), to_bfloat16(rest), finite));
#ifdef TV_SUM
    sum[i] += to_float(rounded);
#else
    given[i] = pack(rounded);
#endif
    group[i] = vec4(0);
}
