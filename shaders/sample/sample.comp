/* Draws one token per row: temperature, top-k, top-p, Philox; or the largest logit.
 *
 * logits: (rows, V). sequences, positions: (rows), the draw's address. tokens: (rows), overwritten. logprobs: (rows), overwritten with
 * log softmax(logits / temperature)[token] over the whole vocabulary, temperature 1 when greedy.
 *
 * One workgroup per row, and nothing of a row depends on another. Floats are compared as ordered integers, so ties are exact and what is
 * not a number still yields a token of the vocabulary. Top-k and top-p are thresholds on these integers, found two bits at a time:
 * three candidates per pass, 16 passes, fewer where exactly as many tokens are found as top-k asks for. All sums have a fixed order, so a
 * larger set never has a smaller sum and the search is consistent.
 * The draw walks a cumulative sum in the order of the vocabulary: 64 segments first, then the one segment that holds it.
 * -DTV_TEXELS=1, for V a multiple of 4: the logits are bound as texels of four, which CPU devices load as fast as single ones.
 * Limits: V below 2^24, so that counts are exact in fp32; rows * V below 2^31.
 * Per row: 3 passes over V (temperature alone), at most 16 more with top-k, 17 more with top-p; the row stays in a GPU's cache.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "grid.glsl"
#include "philox.glsl"
#include "push_constants.h"

#if TV_TEXELS
layout(binding = 0) uniform samplerBuffer logits;
#else
layout(std430, binding = 0) readonly buffer Logits {
    float logits[];
};
#endif
layout(std430, binding = 1) readonly buffer Settings {
    tv_sample_settings settings;
};
layout(std430, binding = 2) readonly buffer Sequences {
    uint sequences[];
};
layout(std430, binding = 3) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 4) writeonly buffer Tokens {
    uint tokens[];
};
layout(std430, binding = 5) writeonly buffer Logprobs {
    float logprobs[];
};
layout(push_constant) uniform Push {
    tv_sample_push p;
};

const uint segments = 64;
const uint none = 0xffffffffu;

/* On GPUs a loop over the segments stays one: unrolled, 64 sums each stand in registers of their own, more than 1,024 invocations have. */
#if TV_TEXELS
#define SEGMENT_LOOP
#else
#define SEGMENT_LOOP [[dont_unroll]]
#endif

/* 256 subgroups are the most a workgroup has: 1,024 invocations, 4 lanes. */
shared uint partial_uint[256];
shared vec3 partial_sum[256];
shared float kept_mass[segments], whole_mass[segments];

uint group_max(uint value) {
    uint largest = subgroupMax(value);
    if (gl_NumSubgroups == 1)
        return largest;
    barrier();
    if (subgroupElect())
        partial_uint[gl_SubgroupID] = largest;
    barrier();
    largest = partial_uint[0];
    for (uint i = 1; i < gl_NumSubgroups; i++)
        largest = max(largest, partial_uint[i]);
    return largest;
}

vec3 group_sum(vec3 value) {
    vec3 sum = subgroupAdd(value);
    if (gl_NumSubgroups == 1)
        return sum;
    barrier();
    if (subgroupElect())
        partial_sum[gl_SubgroupID] = sum;
    barrier();
    sum = partial_sum[0];
    for (uint i = 1; i < gl_NumSubgroups; i++)
        sum += partial_sum[i];
    return sum;
}

/* Of the row: */
uint start;         /* its first logit */
float top_logit;    /* its largest */
float inverse_temperature;
uint kept_order = 0; /* the tokens of this order and above may be drawn */

/* Logits are read in groups of WIDTH neighbours. */
#if TV_TEXELS
#define WIDTH 4
#define PART(group, c) (group)[c]
#define tv_floats vec4
#define tv_orders uvec4

vec4 group_at(uint i) {
    return texelFetch(logits, int(start / 4 + i));
}

float logit_of(uint token) {
    return group_at(token / 4)[token % 4];
}
#else
#define WIDTH 1
#define PART(group, c) (group)
#define tv_floats float
#define tv_orders uint

float group_at(uint i) {
    return logits[start + i];
}

float logit_of(uint token) {
    return logits[start + token];
}
#endif

/* Unsigned integers in the order of the floats; both zeros are one. NaN sorts outside the infinities. */
uint order(float value) {
    uint bits = floatBitsToUint(value);
    if (bits == 0x80000000u)
        bits = 0;
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

uvec4 order(vec4 values) {
    uvec4 bits = floatBitsToUint(values);
    bits = mix(bits, uvec4(0), equal(bits, uvec4(0x80000000u)));
    return mix(bits | 0x80000000u, ~bits, notEqual(bits & 0x80000000u, uvec4(0)));
}

/* The sum of those values whose order is at least `bound`. */
float sum_from(uint orders, uint bound, float values) {
    return orders >= bound ? values : 0.0;
}

float sum_from(uvec4 orders, uint bound, vec4 values) {
    vec4 kept = mix(vec4(0.0), values, greaterThanEqual(orders, uvec4(bound)));
    return (kept.x + kept.y) + (kept.z + kept.w);
}

float weight(float logit) {
    return exp((logit - top_logit) * inverse_temperature);
}

vec4 weight(vec4 group) {
    return exp((group - top_logit) * inverse_temperature);
}

float kept_weight_of(uint token) {
    float logit = logit_of(token);
    return sum_from(order(logit), kept_order, weight(logit));
}

/* The largest order at and above which the logits still measure `goal`: their number, or (by_mass) their weight. Where that is less
 * than the weight of the kept, the order is one of theirs. */
uint search(float goal, bool by_mass) {
    uint found = 0, groups = p.vocab / WIDTH;
    for (int shift = 30; shift >= 0; shift -= 2) {
        uvec3 candidates = found + (uvec3(1, 2, 3) << shift);
        vec3 sums = vec3(0.0);
        for (uint i = gl_LocalInvocationIndex; i < groups; i += gl_WorkGroupSize.x) {
            tv_floats group = group_at(i);
            tv_orders orders = order(group);
            tv_floats values = tv_floats(1.0);
            if (by_mass)
                values = weight(group);
            [[unroll]] for (uint c = 0; c < 3; c++)
                sums[c] += sum_from(orders, candidates[c], values);
        }
        sums = group_sum(sums);
        bvec3 enough = greaterThanEqual(sums, vec3(goal));
        found = enough.z ? candidates.z : enough.y ? candidates.y : enough.x ? candidates.x : found;
        /* Exactly so many: what is left of the bits would choose the same ones. */
        if (!by_mass && (enough.z ? sums.z : enough.y ? sums.y : sums.x) == goal)
            break;
    }
    return found;
}

/* The first token, in the order of the vocabulary, at which the cumulative weight of the kept passes u times the whole. For subgroup 0;
 * kept_mass is ready. `fallback` where nothing has weight. */
uint draw(float u, uint segment_size, uint lane, uint lanes, uint fallback) {
    float whole = 0.0;
    SEGMENT_LOOP for (uint s = 0; s < segments; s++)
        whole += kept_mass[s];
    float goal = u * whole, passed = 0.0, before = 0.0;
    uint segment = none;
    SEGMENT_LOOP for (uint s = 0; s < segments; s++) {
        float next = passed + kept_mass[s];
        /* Without one that passes the goal, which rounding can do, the last that has weight. */
        if (kept_mass[s] > 0.0 && passed <= goal) {
            segment = s;
            before = passed;
        }
        passed = next;
    }
    if (segment == none)
        return fallback;
    goal -= before;
    passed = 0.0;
    uint token = fallback, end = min((segment + 1) * segment_size, p.vocab);
    for (uint first = segment * segment_size; first < end; first += lanes) {
        uint i = first + lane;
        float mass = i < end ? kept_weight_of(i) : 0.0;
        float upto = passed + subgroupInclusiveAdd(mass);
        uint hit = subgroupMin(mass > 0.0 && upto > goal ? i : none);
        if (hit != none)
            return hit;
        uint last = subgroupMax(mass > 0.0 ? i + 1 : 0);
        token = last > 0 ? last - 1 : token;
        passed += subgroupAdd(mass);
    }
    return token;
}

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    start = row * p.vocab;
    uint best = 0, best_at = none, groups = p.vocab / WIDTH;
    for (uint i = gl_LocalInvocationIndex; i < groups; i += gl_WorkGroupSize.x) {
        tv_orders candidates = order(group_at(i));
        [[unroll]] for (uint c = 0; c < WIDTH; c++)
            if (PART(candidates, c) > best) {
                best = PART(candidates, c);
                best_at = i * WIDTH + c;
            }
    }
    uint top_order = group_max(best);
    /* The lowest id of those: the largest of the complements. A row of the lowest NaN alone has none. */
    uint top = min(~group_max(best == top_order ? ~best_at : 0), p.vocab - 1);
    top_logit = logit_of(top);

    bool greedy = !(settings.temperature > 0.0);
    inverse_temperature = greedy ? 1.0 : 1.0 / settings.temperature;
    if (greedy && p.has_logprobs == 0) {
        if (gl_LocalInvocationIndex == 0)
            tokens[p.first + row] = top;
        return;
    }
    if (!greedy) {
        if (settings.top_k > 0 && settings.top_k < p.vocab)
            kept_order = search(float(settings.top_k), false);
        if (settings.top_p < 1.0) {
            /* The whole is summed by the search's own order, so that nothing is left out at top_p near 1. */
            vec3 whole = vec3(0.0);
            for (uint i = gl_LocalInvocationIndex; i < groups; i += gl_WorkGroupSize.x) {
                tv_floats group = group_at(i);
                whole += sum_from(order(group), kept_order, weight(group));
            }
            kept_order = max(kept_order, min(search(settings.top_p * group_sum(whole).x, true), top_order));
        }
    }

    /* Lanes are counted and not taken from gl_SubgroupSize: a subgroup need not be full. */
    uint lanes = subgroupAdd(1), lane = subgroupExclusiveAdd(1);
    uint segment_groups = (groups + segments - 1) / segments;
#if TV_TEXELS
    /* A lane for a segment. */
    for (uint s = gl_LocalInvocationIndex; s < segments; s += gl_WorkGroupSize.x) {
        uint end = min((s + 1) * segment_groups, groups);
        vec2 mass = vec2(0.0);
        for (uint i = s * segment_groups; i < end; i++) {
            vec4 group = group_at(i), w = weight(group);
            mass += vec2(sum_from(order(group), kept_order, w), sum_from(uvec4(0), 0, w));
        }
        kept_mass[s] = mass.x;
        whole_mass[s] = mass.y;
    }
#else
    for (uint s = gl_SubgroupID; s < segments; s += gl_NumSubgroups) {
        uint end = min((s + 1) * segment_groups, groups);
        vec2 mass = vec2(0.0);
        for (uint i = s * segment_groups + lane; i < end; i += lanes) {
            float logit = group_at(i), w = weight(logit);
            mass += vec2(sum_from(order(logit), kept_order, w), w);
        }
        mass = subgroupAdd(mass);
        if (subgroupElect()) {
            kept_mass[s] = mass.x;
            whole_mass[s] = mass.y;
        }
    }
#endif
    barrier();
    if (gl_SubgroupID != 0)
        return;
    uint token = top;
    if (!greedy) {
        float u = tv_uniform(uvec2(settings.seed_low, settings.seed_high), TV_STREAM_SAMPLE, sequences[p.first + row],
                             uvec2(positions[p.first + row], 0));
        token = draw(u, segment_groups * WIDTH, lane, lanes, top);
    }
    float whole = 0.0;
    SEGMENT_LOOP for (uint s = 0; s < segments; s++)
        whole += whole_mass[s];
    if (subgroupElect()) {
        tokens[p.first + row] = token;
        if (p.has_logprobs != 0)
            logprobs[p.first + row] = (logit_of(token) - top_logit) * inverse_temperature - log(whole);
    }
}
