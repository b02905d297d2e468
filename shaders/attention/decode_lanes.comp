/* Attention of one decoding step, for CPUs: the new k and v go into the cache at positions(row), and the query attends to
 * [0, positions(row)].
 *
 * qkv: (rows, (H + 2 Hkv) D); caches: (rows, Hkv, max_tokens, D), one position written; output: (rows, H D), overwritten.
 * A workgroup is 8 lanes for one query head; lane l takes the keys l, l + 8, ... with an online softmax of its own, and the lanes
 * are merged at the end. The step's own k and v are read from qkv, so no workgroup reads what another one writes.
 * -DTV_TEXELS=1, for D a multiple of 4: loads decide there, and a texel of four channels costs hardly more than one channel, so
 * the caches are bound once more as texels. What is read of them was written by earlier steps. The sums are the same.
 * 4 D FLOPs per key and query head; bytes at least the filled part of the caches, once per query head.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#extension GL_KHR_shader_subgroup_ballot : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = 8) in;
layout(std430, binding = 0) readonly buffer Qkv {
    TV_ACT qkv[];
};
layout(std430, binding = 1) readonly buffer Positions {
    uint positions[];
};
layout(std430, binding = 2) buffer KCache {
    TV_ACT k_cache[];
};
layout(std430, binding = 3) buffer VCache {
    TV_ACT v_cache[];
};
layout(std430, binding = 4) writeonly buffer Output {
    TV_ACT y[];
};
#if TV_TEXELS
layout(binding = 5) uniform samplerBuffer k_texels;
layout(binding = 6) uniform samplerBuffer v_texels;
#endif
layout(push_constant) uniform Push {
    tv_attention_decode_push p;
};
#include "lanes.glsl"

/* Lane l gets the sum over all lanes of o[first + l] * scale: 7 exchanges in place of 8 sums. At each step a lane keeps the
 * half of the channels that its own number says, and gets the other lane's part of it. */
float sum_to_lanes(float o[MAX_D], uint first, float scale, uint lane) {
    float four[4], two[2];
    bool high = (lane & 4) != 0;
    [[unroll]] for (uint c = 0; c < 4; c++) {
        float low_part = o[first + c] * scale, high_part = o[first + c + 4] * scale;
        four[c] = (high ? high_part : low_part) + subgroupShuffleXor(high ? low_part : high_part, 4);
    }
    high = (lane & 2) != 0;
    [[unroll]] for (uint c = 0; c < 2; c++)
        two[c] = (high ? four[c + 2] : four[c]) + subgroupShuffleXor(high ? four[c] : four[c + 2], 2);
    high = (lane & 1) != 0;
    return (high ? two[1] : two[0]) + subgroupShuffleXor(high ? two[0] : two[1], 1);
}

void main() {
    uint group = tv_group();
    if (group >= p.rows * p.heads * parts)
        return;
    uint d0 = group % parts * part_chunks * 8; /* first channel of the part */
    group /= parts;
    uint row = group / p.heads, h = group % p.heads;
    uint group_heads = p.heads / p.kv_heads;
    uint kv_head = h / group_heads;
    uint lane = gl_SubgroupInvocationID;
    uint position = min(positions[p.first_row + row], p.max_tokens - 1);
    uint row_base = row * (p.heads + 2 * p.kv_heads) * head_size;
    uint k_new = row_base + (p.heads + kv_head) * head_size;
    uint v_new = k_new + p.kv_heads * head_size;
    uint cache_base = (row * p.kv_heads + kv_head) * p.max_tokens * head_size;

    float q[MAX_D], o[MAX_D];
    float own_score = 0.0;
    uint q_base = row_base + h * head_size;
    [[unroll]] for (uint d = 0; d < part_chunks * 8; d++) {
        q[d] = !wide && d < head_size ? float(qkv[q_base + d]) : 0.0;
        o[d] = 0.0;
    }
    if (wide) {
        for (uint d = 0; d < head_size; d++)
            own_score += float(qkv[q_base + d]) * float(qkv[k_new + d]);
    } else {
        [[unroll]] for (uint d = 0; d < head_size; d++)
            own_score += q[d] * float(qkv[k_new + d]);
    }
    own_score *= p.scale * log2_e;
    float top = lowest, sum = 0.0;
    for (uint j0 = 0; j0 < position; j0 += LANES) {
        uint j = cache_base + min(j0 + lane, position - 1) * head_size;
        float s = 0.0;
#if TV_TEXELS
        if (wide) {
            for (uint d = 0; d < head_size; d += 4) {
                vec4 k = texelFetch(k_texels, int((j + d) / 4));
                [[unroll]] for (uint c = 0; c < 4; c++)
                    s += float(qkv[q_base + d + c]) * k[c];
            }
        } else {
            [[unroll]] for (uint d = 0; d < head_size; d += 4) {
                vec4 k = texelFetch(k_texels, int((j + d) / 4));
                [[unroll]] for (uint c = 0; c < 4; c++)
                    s += q[d + c] * k[c];
            }
        }
#else
        if (wide) {
            for (uint d = 0; d < head_size; d++)
                s += float(qkv[q_base + d]) * float(k_cache[j + d]);
        } else {
            [[unroll]] for (uint d = 0; d < head_size; d++)
                s += q[d] * float(k_cache[j + d]);
        }
#endif
        s *= p.scale * log2_e;
        s = j0 + lane < position ? s : lowest;
        float new_top = max(top, s);
        float shrink = exp2(top - new_top);
        top = new_top;
        float prob = s == lowest ? 0.0 : exp2(s - top);
        sum = sum * shrink + prob;
#if TV_TEXELS
        [[unroll]] for (uint d = 0; d < part_chunks * 8; d += 4) {
            vec4 v = texelFetch(v_texels, int((j + min(d0 + d, head_size - 4)) / 4));
            [[unroll]] for (uint c = 0; c < 4; c++)
                o[d + c] = o[d + c] * shrink + prob * v[c];
        }
#else
        [[unroll]] for (uint d = 0; d < part_chunks * 8; d++)
            o[d] = o[d] * shrink + prob * float(v_cache[j + min(d0 + d, head_size - 1)]);
#endif
    }
    /* The step's own key comes last, in every lane alike. */
    float all_top = max(subgroupMax(top), own_score);
    float shrink = exp2(top - all_top);
    float own_prob = exp2(own_score - all_top);
    float scale = 1.0 / (subgroupAdd(sum * shrink) + own_prob);
    /* A store costs as much as eight: lanes write neighbouring channels at once. */
    [[unroll]] for (uint chunk = 0; chunk < part_chunks; chunk++) {
        float merged = sum_to_lanes(o, chunk * LANES, shrink, lane);
        uint d = d0 + chunk * LANES + lane;
        if (d < head_size)
            y[(row * p.heads + h) * head_size + d] = TV_ACT((merged + own_prob * float(qkv[v_new + d])) * scale);
    }
    if (h % group_heads == 0 && d0 == 0) {
        for (uint d = lane; d < head_size; d += LANES) {
            k_cache[cache_base + position * head_size + d] = qkv[k_new + d];
            v_cache[cache_base + position * head_size + d] = qkv[v_new + d];
        }
    }
}
