/* Partial sums for the gains of head_norm_forward.comp over one chunk of rows: partials[0][chunk][d] = sum over rows and query heads of
 * d x rstd (with has_q), partials[last][chunk][d] of the key heads (with has_k).
 *
 * d_qkv: (rows, row_stride), before head_norm_backward.comp; raw: (rows, (H + Hkv) D); rstd: (rows, H + Hkv); partials: (has_q + has_k, chunks,
 * D), overwritten. An invocation owns one column of one chunk and adds rows, in them heads, in ascending order. 8 bytes per element at fp32.
 * -DTV_HALVES: d_qkv and raw are halves.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "pairs.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer DQkv {
    TV_PAIRS d_qkv[];
};
layout(std430, binding = 1) readonly buffer Raw {
    TV_PAIRS raw[];
};
layout(std430, binding = 2) readonly buffer Rstd {
    float head_rstd[];
};
layout(std430, binding = 3) writeonly buffer Partials {
    float partials[];
};
layout(push_constant) uniform Push {
    tv_head_norm_push p;
};

void main() {
    uint thread = tv_thread(), columns = 2 * p.head_size;
    uint chunk = thread / columns, column = thread % columns, d = column % p.head_size;
    bool keys = column >= p.head_size;
    if (chunk * p.rows_per_chunk >= p.rows || (keys ? p.has_k : p.has_q) == 0)
        return;
    uint both = p.heads + p.kv_heads;
    uint first_head = keys ? p.heads : 0, end_head = keys ? both : p.heads;
    uint end = min((chunk + 1) * p.rows_per_chunk, p.rows);
    float sum = 0.0;
    for (uint row = chunk * p.rows_per_chunk; row < end; row++)
        for (uint head = first_head; head < end_head; head++)
            sum += TV_ONE_OF(d_qkv, row * p.row_stride + head * p.head_size + d) *
                   (TV_ONE_OF(raw, (row * both + head) * p.head_size + d) * head_rstd[row * both + head]);
    uint place = keys ? p.has_q * p.chunks : 0;
    partials[(place + p.first_chunk + chunk) * p.head_size + d] = sum;
}
