/* The bookkeeping behind one decoding step, so that many steps run without the host: which token each row feeds next.
 *
 * A row at position t has fed sequence[t] and drawn a token for t + 1. Within its prompt, prompt[t + 1] is fed whatever was drawn
 * (teacher forcing, so the same recorded step reads the prompt); behind it the drawn token is, and is kept with its
 * log-probability and entropy until TV_DECODE_RECENT more have come, so that the host reads a few words a row and not whole texts. A drawn end-of-text token finishes the row with 1, reaching the row's limit with 2; a finished row keeps its state.
 *
 * tokens (rows): the drawn ones, overwritten with the ones to feed. drawn: log-probabilities of `first` rows and these, then entropies. bounds (rows, 2): length of the prompt, length at which the row
 * stops; the prompt is at least 1 long and the limit at most max_tokens. ends: count, then ids. positions, finished (rows): updated.
 * prompts (rows, max_tokens). recent (rows, TV_DECODE_RECENT): element (t + 1) mod TV_DECODE_RECENT takes a drawn token, its
 * log-probability, and the entropy of what it was drawn from (0 where none is given).
 * A handful of words per row: only the launch counts.
 */
#version 460
#extension GL_GOOGLE_include_directive : require
#include "grid.glsl"
#include "push_constants.h"

layout(local_size_x = TV_LOCAL_SIZE) in;
layout(std430, binding = 0) buffer Tokens {
    uint tokens[];
};
layout(std430, binding = 1) readonly buffer Drawn {
    float drawn[];
};
layout(std430, binding = 2) readonly buffer Bounds {
    uvec2 bounds[];
};
layout(std430, binding = 3) readonly buffer Ends {
    uint ends[];
};
layout(std430, binding = 4) buffer Positions {
    uint positions[];
};
layout(std430, binding = 5) buffer Finished {
    uint finished[];
};
layout(std430, binding = 6) readonly buffer Prompts {
    uint prompts[];
};
struct kept_token {
    uint token;
    float logprob, entropy;
};
layout(std430, binding = 7) writeonly buffer Recent {
    kept_token recent[];
};
layout(push_constant) uniform Push {
    tv_decode_advance_push p;
};

void main() {
    uint row = tv_thread();
    if (row >= p.rows || finished[row] != TV_DECODE_RUNNING)
        return;
    uint next = positions[row] + 1, prompt = bounds[row].x, limit = bounds[row].y;
    uint state = TV_DECODE_RUNNING;
    if (next < prompt) {
        tokens[row] = prompts[row * p.max_tokens + next];
    } else {
        uint token = tokens[row];
        float entropy = p.entropies_at != 0 ? drawn[p.entropies_at + p.first + row] : 0.0;
        recent[row * TV_DECODE_RECENT + next % TV_DECODE_RECENT] = kept_token(token, drawn[p.first + row], entropy);
        for (uint i = 0; i < ends[0]; i++)
            if (token == ends[1 + i])
                state = TV_DECODE_END_OF_TEXT;
    }
    if (state == TV_DECODE_RUNNING && next + 1 >= limit)
        state = TV_DECODE_LENGTH;
    positions[row] = next;
    finished[row] = state;
}
