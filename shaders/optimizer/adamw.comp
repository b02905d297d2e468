/* AdamW (Loshchilov and Hutter 2019, algorithm 2), with the arithmetic of PyTorch's:
 *
 *   p *= 1 - lr weight_decay (with `decay`)
 *   m += (1 - beta1) (g - m),  v = beta2 v + (1 - beta2) g^2,  g = clip_scale * gradient
 *   p -= lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps),  t = state.applied
 *
 * p, m, v: updated. gradient: set to 0. When state.finite is 0 only the gradient is touched. All segments of a dispatch
 * (segments.glsl) at once; their counts and places are multiples of TV_WIDTH. 1 - beta^t comes from the logarithm of beta: 1 - 0.999 in fp32 has four good digits left.
 * Four vectors per invocation, a workgroup apart, spread the cost of the corrections. 16 FLOPs per 32 bytes: memory bound.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "maths.glsl"
#include "push_constants.h"
#include "sizes.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) buffer Parameter {
    TV_VECTOR parameter[];
};
layout(std430, binding = 1) buffer Gradient {
    TV_VECTOR gradient[];
};
layout(std430, binding = 2) buffer FirstMoment {
    TV_VECTOR first_moment[];
};
layout(std430, binding = 3) buffer SecondMoment {
    TV_VECTOR second_moment[];
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

const uint vectors = TV_ADAMW_VECTORS;

void main() {
    uint group = tv_group();
    tv_update_segment s = tv_segment_of(group, p.first, p.segments);
    uint begin = (group - s.first_group) * gl_WorkGroupSize.x * vectors + gl_LocalInvocationIndex;
    uint stride = gl_WorkGroupSize.x, end = min(begin + vectors * stride, s.count / TV_WIDTH);
    uint gradient_at = s.gradient / TV_WIDTH;
    if (state.finite == 0) {
        for (uint i = begin; i < end; i += stride)
            gradient[gradient_at + i] = TV_VECTOR(0.0);
        return;
    }
    uint parameter_at = s.parameter / TV_WIDTH, m_at = s.m / TV_WIDTH, v_at = s.v / TV_WIDTH;
    float t = float(state.applied);
    float rate1 = -tv_expm1(constants.log_beta1), rate2 = -tv_expm1(constants.log_beta2);
    float step_size = constants.lr / -tv_expm1(t * constants.log_beta1);
    float correction2 = inversesqrt(-tv_expm1(t * constants.log_beta2));
    float keep = s.decay != 0 ? 1.0 - constants.lr * constants.weight_decay : 1.0;
    float clip_scale = state.clip_scale, beta2 = constants.beta2, eps = constants.eps;
    for (uint i = begin; i < end; i += stride) {
        TV_VECTOR g = clip_scale * gradient[gradient_at + i];
        TV_VECTOR m = first_moment[m_at + i];
        m += rate1 * (g - m);
        TV_VECTOR v = beta2 * second_moment[v_at + i] + rate2 * (g * g);
        parameter[parameter_at + i] = keep * parameter[parameter_at + i] - step_size * (m / (sqrt(v) * correction2 + eps));
        first_moment[m_at + i] = m;
        second_moment[v_at + i] = v;
        gradient[gradient_at + i] = TV_VECTOR(0.0);
    }
}
