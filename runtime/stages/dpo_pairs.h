/* Pairs of responses for DPO: which they are, what the reference says of them, and how they lie in a
 * micro-batch.
 *
 * Promise: a group of ranked answers gives a pair for every two of them of which one is better; a tie of two
 * is one pair with the soft target 1/2, ties among more give none. A pair lies in two rows of a micro-batch,
 * chosen above rejected, each from column 0; row t predicts token t + 1, so a response of n tokens takes n
 * rows of T, the last one its last token's. Pair number i of all passes is a pure function of the seed and i.
 */
#ifndef TV_STAGES_DPO_PAIRS_H
#define TV_STAGES_DPO_PAIRS_H

#include "model/dpo_head.h"
#include "stages/preference_sets.h"
#include "train/trainer.h"

typedef struct tv_dpo_item {
    const tv_preference_response *chosen, *rejected;
    float target;        /* 1, or 1/2 for a tie */
    float references[2]; /* log-probabilities of chosen and rejected under the reference */
} tv_dpo_item;

typedef struct tv_dpo_pairs {
    tv_dpo_item *items;
    tv_preference_response *made; /* (count) of kto_examples.h, with ids of their own; NULL: none */
    uint64_t count;
    uint64_t tokens; /* T */
    bool shuffle;
    uint64_t seed;
    uint64_t end;  /* pairs behind this number, over all passes, are absent */
    uint64_t next; /* the next pair */
} tv_dpo_pairs;

/* The pairs of a list, which outlives them; `end` starts as endless. Free also after a failure. */
tv_status tv_dpo_pairs_create(const tv_preference_list *list, uint64_t tokens, tv_dpo_pairs *pairs);
void tv_dpo_pairs_free(tv_dpo_pairs *pairs);

/* Number `i` of all passes. */
const tv_dpo_item *tv_dpo_pairs_at(const tv_dpo_pairs *pairs, uint64_t i);

/* Puts one response into row `row` of a narrowed micro-batch; the rows of the head that predict it are
 * [*first, *first + *count). */
void tv_dpo_put_response(const tv_preference_response *response, uint64_t row, tv_micro_batch *batch,
                         uint32_t *first, uint32_t *count);

/* Fills the next `batch_pairs` pairs; terms are the pairs that are there. */
void tv_dpo_pairs_fill(tv_dpo_pairs *pairs, uint64_t batch_pairs, tv_micro_batch *batch);

/* The longest response of pairs [first, first + batch_pairs) of all passes. */
uint64_t tv_dpo_pairs_longest(const tv_dpo_pairs *pairs, uint64_t first, uint64_t batch_pairs);

/* Pairs of a filled micro-batch, for those who visit its outputs. */
uint64_t tv_dpo_pairs_there(const tv_micro_batch *batch, uint64_t batch_pairs);

/* Sets the references of every pair from the model in the trainer as it is. `pairs` stands at 0 afterwards.
 */
tv_status tv_dpo_pairs_score(tv_dpo_pairs *pairs, uint64_t batch_pairs, tv_trainer *trainer);

/* The references of several lists as one file, and back: refused where it was made of other pairs. */
tv_status tv_dpo_references_write(const char *path, const tv_dpo_pairs *const *lists, uint32_t count);
tv_status tv_dpo_references_read(const char *path, tv_dpo_pairs *const *lists, uint32_t count);

#endif
