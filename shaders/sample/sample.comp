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
 * Limits: V below 2^24, so that counts are exact in fp32; rows * V below 2^31.
 * Per row: 3 passes over V (temperature alone), at most 16 more with top-k, 17 more with top-p; the row stays in a GPU's cache.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_arithmetic : require

layout(local_size_x_id = 0) in;

#include "grid.glsl"
#include "philox.glsl"
#include "push_constants.h"

layout(std430, binding = 0) readonly buffer Logits {
    float logits[];
};
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

/* Unsigned integers in the order of the floats; both zeros are one. NaN sorts outside the infinities. */
uint order(float value) {
    uint bits = floatBitsToUint(value);
    if (bits == 0x80000000u)
        bits = 0;
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

/* Of the row: */
uint start;         /* its first logit */
float top_logit;    /* its largest */
float inverse_temperature;
uint kept_order = 0; /* the tokens of this order and above may be drawn */

float weight(float logit) {
    return exp((logit - top_logit) * inverse_temperature);
}

float kept_weight(float logit) {
    return order(logit) >= kept_order ? weight(logit) : 0.0;
}

/* The largest order at and above which the logits still measure `goal`: their number, or (by_mass) the weight of the kept. */
uint search(float goal, bool by_mass) {
    uint found = 0, lanes = gl_WorkGroupSize.x;
    for (int shift = 30; shift >= 0; shift -= 2) {
        uvec3 candidates = found + (uvec3(1, 2, 3) << shift);
        vec3 sums = vec3(0.0);
        if (by_mass) {
            for (uint i = gl_LocalInvocationIndex; i < p.vocab; i += lanes) {
                float logit = logits[start + i];
                sums += mix(vec3(0.0), vec3(kept_weight(logit)), greaterThanEqual(uvec3(order(logit)), candidates));
            }
        } else {
            for (uint i = gl_LocalInvocationIndex; i < p.vocab; i += lanes)
                sums += mix(vec3(0.0), vec3(1.0), greaterThanEqual(uvec3(order(logits[start + i])), candidates));
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
    for (uint s = 0; s < segments; s++)
        whole += kept_mass[s];
    float goal = u * whole, passed = 0.0, before = 0.0;
    uint segment = none;
    for (uint s = 0; s < segments; s++) {
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
        float mass = i < end ? kept_weight(logits[start + i]) : 0.0;
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
    uint best = 0, best_at = none;
    for (uint i = gl_LocalInvocationIndex; i < p.vocab; i += gl_WorkGroupSize.x) {
        uint candidate = order(logits[start + i]);
        if (candidate > best) {
            best = candidate;
            best_at = i;
        }
    }
    uint top_order = group_max(best);
    /* The lowest id of those: the largest of the complements. A row of the lowest NaN alone has none. */
    uint top = min(~group_max(best == top_order ? ~best_at : 0), p.vocab - 1);
    top_logit = logits[start + top];

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
            for (uint i = gl_LocalInvocationIndex; i < p.vocab; i += gl_WorkGroupSize.x)
                whole += kept_weight(logits[start + i]);
            kept_order = max(kept_order, min(search(settings.top_p * group_sum(whole).x, true), top_order));
        }
    }

    /* Lanes are counted and not taken from gl_SubgroupSize: a subgroup need not be full. */
    uint lanes = subgroupAdd(1), lane = subgroupExclusiveAdd(1);
    uint segment_size = (p.vocab + segments - 1) / segments;
    for (uint s = gl_SubgroupID; s < segments; s += gl_NumSubgroups) {
        uint end = min((s + 1) * segment_size, p.vocab);
        vec2 mass = vec2(0.0);
        for (uint i = s * segment_size + lane; i < end; i += lanes) {
            float logit = logits[start + i], w = weight(logit);
            mass += vec2(order(logit) >= kept_order ? w : 0.0, w);
        }
        mass = subgroupAdd(mass);
        if (subgroupElect()) {
            kept_mass[s] = mass.x;
            whole_mass[s] = mass.y;
        }
    }
    barrier();
    if (gl_SubgroupID != 0)
        return;
    uint token = top;
    if (!greedy) {
        float u = tv_uniform(uvec2(settings.seed_low, settings.seed_high), TV_STREAM_SAMPLE, sequences[p.first + row],
                             uvec2(positions[p.first + row], 0));
        token = draw(u, segment_size, lane, lanes, top);
    }
    float whole = 0.0;
    for (uint s = 0; s < segments; s++)
        whole += whole_mass[s];
    if (subgroupElect()) {
        tokens[p.first + row] = token;
        if (p.has_logprobs != 0)
            logprobs[p.first + row] = (logits[start + token] - top_logit) * inverse_temperature - log(whole);
    }
}
