/* Keys and values of some tokens, from one slot of the caches to another, bit for bit: a prompt that another row has read, or a row that
 * moves.
 *
 * A slot is (heads, max_tokens, D); of each head `tokens` rows of D lie one behind the other, and `stride` elements from those of the next
 * head. The four bindings begin where from and to say; the slots differ. Overwritten: those tokens of `to`, nothing else.
 * 16 bytes per element of k.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"
#include "types.glsl"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) readonly buffer FromK {
    TV_ACT from_k[];
};
layout(std430, binding = 1) readonly buffer FromV {
    TV_ACT from_v[];
};
layout(std430, binding = 2) writeonly buffer ToK {
    TV_ACT to_k[];
};
layout(std430, binding = 3) writeonly buffer ToV {
    TV_ACT to_v[];
};
layout(push_constant) uniform Push {
    tv_cache_copy_push p;
};

void main() {
    uint i = tv_thread(), width = p.tokens * p.head_size;
    if (i >= p.heads * width)
        return;
    uint head = i / width;
    uint at = head * p.stride + (i - head * width);
    to_k[p.to + at] = from_k[p.from + at];
    to_v[p.to + at] = from_v[p.from + at];
}
