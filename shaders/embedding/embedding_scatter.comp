/* d_table[ids[r]] += scale d_output[r] over all rows, without atomics: each row of the table has one writer.
 *
 * ids: (rows); d_output: (rows, C); d_table: (table_count, C) fp32, the chunk of the table from table_first on, accumulated. Ids outside of
 * the chunk are skipped. One workgroup a row r scans all ids, block by block. It ends at the first before r that equals ids[r], for
 * then another workgroup is the writer. The writer lists each further block's rows of its id, sums their gradients and adds the sum
 * to the table. Partition and order are functions of the ids and of the workgroup's size alone.
 * Work: distinct ids * rows comparisons, ids in the cache, and each gradient read once; nothing depends on the size of the table.
 * Limits: rows * C of one dispatch and the chunk below 2^32. Floor: 4 bytes per element of d_output, 8 per element of a row
 * of the table that is touched.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#include "grid.glsl"
#include "push_constants.h"
#include "reduce.glsl"
#include "vector.glsl"

layout(local_size_x_id = 0) in;
layout(std430, binding = 0) readonly buffer Ids {
    uint ids[];
};
layout(std430, binding = 0) readonly buffer Ids4 {
    uvec4 ids4[];
};
layout(std430, binding = 1) readonly buffer DOutput {
    TV_ACTS d_output[];
};
layout(std430, binding = 2) buffer DTable {
    tv_vec d_table[];
};
layout(push_constant) uniform Push {
    tv_embedding_scatter_push p;
};

/* Ids that a workgroup compares at a time: as many as the list holds (8 KiB of shared memory), and at most 32 an invocation, which
 * keeps one bit of a word for each. At least 8 an invocation, since a workgroup has at most 256.
 */
#define BLOCK 2048
shared uint list[BLOCK];
shared uint subgroup_counts[256];

/* Where the id of bit 4 k + j stands in a block: an invocation takes four in a row. */
uint place_of(uint bit) {
    return 4 * (bit / 4 * gl_WorkGroupSize.x + gl_LocalInvocationIndex) + bit % 4;
}

uint bits_of(bvec4 hit) {
    return uint(hit.x) | uint(hit.y) << 1 | uint(hit.z) << 2 | uint(hit.w) << 3;
}

/* Which of this invocation's `each` ids of the block at `first` equal `id`. */
uint matches(uint id, uint first, uint each) {
    uint mask = 0, lanes = gl_WorkGroupSize.x;
    if (first + each * lanes <= p.rows) {
        uint at = first / 4 + gl_LocalInvocationIndex;
        for (uint k = 0; k < each / 4; k += 2)
            mask |= (bits_of(equal(ids4[at + k * lanes], uvec4(id))) | bits_of(equal(ids4[at + (k + 1) * lanes], uvec4(id))) << 4)
                    << 4 * k;
    } else {
        for (uint bit = 0; bit < each; bit++)
            if (first + place_of(bit) < p.rows)
                mask |= uint(ids[first + place_of(bit)] == id) << bit;
    }
    return mask;
}

/* The bits of this invocation's ids before `end`. */
uint bits_before(uint end, uint first) {
    uint start = first + place_of(0), round = 4 * gl_WorkGroupSize.x;
    uint rest = end > start ? end - start : 0;
    uint bits = rest / round * 4 + min(rest % round, 4);
    return bits >= 32 ? 0xffffffffu : (1u << bits) - 1;
}

/* The sum of `count` over the invocations before this one, and over all. */
uint offset_in_group(uint count, out uint total) {
    uint before = subgroupExclusiveAdd(count), sum = subgroupAdd(count);
    total = sum;
    if (gl_NumSubgroups == 1)
        return before;
    barrier();
    if (subgroupElect())
        subgroup_counts[gl_SubgroupID] = sum;
    barrier();
    total = 0;
    for (uint i = 0; i < gl_NumSubgroups; i++) {
        before += i < gl_SubgroupID ? subgroup_counts[i] : 0;
        total += subgroup_counts[i];
    }
    return before;
}

void group_barrier() {
    if (gl_NumSubgroups == 1)
        subgroupBarrier();
    else
        barrier();
}

void main() {
    uint row = tv_group();
    if (row >= p.rows)
        return;
    uint id = ids[row], table_row = id - p.table_first;
    if (table_row >= p.table_count)
        return;
    uint lane = gl_LocalInvocationIndex, lanes = gl_WorkGroupSize.x;
    uint each = min(32, BLOCK / lanes), block = each * lanes;
    uint width = p.channels / TV_WIDTH;
    for (uint first = 0; first < p.rows; first += block) {
        uint mask = matches(id, first, each);
        if (first < row) {
            bool earlier = (mask & bits_before(row, first)) != 0;
            if (tv_group_max(earlier ? 1.0 : 0.0) > 0.0)
                return;
            if (first + block <= row)
                continue;
        }
        uint count;
        uint place = offset_in_group(bitCount(mask), count);
        if (count == 0)
            continue;
        /* The list of the block before has been read by all. */
        group_barrier();
        for (; mask != 0; mask &= mask - 1)
            list[place++] = first + place_of(findLSB(mask));
        group_barrier();
        for (uint c = lane; c < width; c += lanes) {
            tv_vec sum = tv_vec(0);
            uint i = 0;
            /* Four loads in flight for each invocation. */
            for (; i + 4 <= count; i += 4) {
                tv_vec a = tv_vec(d_output[list[i] * width + c]), b = tv_vec(d_output[list[i + 1] * width + c]);
                tv_vec e = tv_vec(d_output[list[i + 2] * width + c]), f = tv_vec(d_output[list[i + 3] * width + c]);
                sum += (a + b) + (e + f);
            }
            for (; i < count; i++)
                sum += tv_vec(d_output[list[i] * width + c]);
            d_table[table_row * width + c] += p.scale * sum;
        }
    }
}
