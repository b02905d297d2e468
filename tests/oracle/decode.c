/* Reference of the bookkeeping behind a decoding step: see decode.h. */
#include "oracle/decode.h"

/* Grows the sequence token by token; a length of n means that token n - 1 is fed next. */
oracle_decode_row oracle_decode(uint32_t steps, uint32_t prompt, uint32_t limit, const uint32_t *ends,
                                uint32_t end_count, const uint32_t *drawn, const float *logprobs,
                                uint32_t *sequence, float *sequence_logprobs) {
    uint32_t length = 1, finished = 0;
    for (uint32_t s = 0; s < steps && !finished; s++) {
        length++;
        if (length >= limit)
            finished = 2;
        if (length <= prompt)
            continue;
        sequence[length - 1] = drawn[s];
        sequence_logprobs[length - 1] = logprobs[s];
        for (uint32_t e = 0; e < end_count; e++)
            if (ends[e] == drawn[s])
                finished = 1;
    }
    return (oracle_decode_row){sequence[length - 1], length - 1, finished};
}
