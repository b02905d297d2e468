/* The bookkeeping behind one decoding step, on the device: prompts are forced, drawn tokens recorded, rows
 * ended. */
#ifndef TV_KERNELS_DECODE_H
#define TV_KERNELS_DECODE_H

#include "kernels/launch.h"
#include "push_constants.h"

/* Tokens that end a text, at most; a buffer of them holds their count, then the ids. */
enum { TV_DECODE_MAX_ENDS = 8, TV_DECODE_ENDS_WORDS = 1 + TV_DECODE_MAX_ENDS };

/* A drawn token as the device keeps it. */
typedef struct tv_decode_drawn {
    uint32_t token;
    float logprob, entropy;
} tv_decode_drawn;
enum { TV_DECODE_DRAWN_WORDS = sizeof(tv_decode_drawn) / sizeof(uint32_t) };

typedef struct tv_decode_advance {
    uint64_t rows, max_tokens;
    tv_tensor tokens; /* (rows) uint32: the drawn tokens, overwritten with those to feed next */
    tv_tensor drawn;  /* fp32: log-probabilities (rows) of the drawn tokens; from element entropies_at on,
                         where  that is not 0, entropies (rows) of what they were drawn from */
    uint64_t entropies_at;
    tv_tensor bounds;    /* (rows, 2) uint32: length of the prompt (at least 1), length at which the row stops
                            (at most max_tokens) */
    tv_tensor ends;      /* (TV_DECODE_ENDS_WORDS) uint32 */
    tv_tensor positions; /* (rows) uint32: of the token that was fed, then of the one to feed next */
    tv_tensor finished;  /* (rows) uint32: TV_DECODE_RUNNING, _END_OF_TEXT or _LENGTH (push_constants.h); a
                            finished row changes nothing more */
    tv_tensor prompts;   /* (rows, max_tokens) uint32, as far as bounds say */
    tv_tensor recent;    /* (rows, TV_DECODE_RECENT) tv_decode_drawn: the token at position t of a sequence,
                            where it is    a drawn one, in element t mod TV_DECODE_RECENT */
} tv_decode_advance;
tv_status tv_decode_advance_record(tv_recorder *recorder, const tv_decode_advance *advance);

#endif
