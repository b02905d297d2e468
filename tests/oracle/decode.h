/* Reference of the bookkeeping behind a decoding step, told as a whole run of one row. */
#ifndef TV_ORACLE_DECODE_H
#define TV_ORACLE_DECODE_H

#include <stdint.h>

typedef struct oracle_decode_row {
    uint32_t fed, position, finished;
} oracle_decode_row;

/* What a row looks like after `steps` steps in which step s drew drawn[s] with logprobs[s]. `sequence` and
 * `sequence_logprobs` (max_tokens) hold the prompt and are updated. */
oracle_decode_row oracle_decode(uint32_t steps, uint32_t prompt, uint32_t limit, const uint32_t *ends,
                                uint32_t end_count, const uint32_t *drawn, const float *logprobs,
                                uint32_t *sequence, float *sequence_logprobs);

#endif
