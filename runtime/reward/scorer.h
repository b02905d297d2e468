/* Scores of finished sequences: one number for each, read at its last token.
 *
 * Promise: a sequence's score depends on its tokens alone, never on its neighbours in a batch or on padding:
 * the same bits. Sequences are batched by length, longest first, in rows of up to eight widths and more rows
 * of the narrow ones, so that at most the last batch of a call is not full. Everything on the device is made
 * at creation, and tv_scorer_measure says how much.
 */
#ifndef TV_REWARD_SCORER_H
#define TV_REWARD_SCORER_H

#include "train/trainer.h"

typedef struct tv_scorer tv_scorer;

enum { TV_SCORER_BATCH_TOKENS = 4096 }; /* the default */

typedef struct tv_scorer_options {
    uint64_t max_tokens;   /* of the longest sequence; at most the model's positions */
    uint64_t batch_tokens; /* tokens side by side, rounded up to whole rows; 0: the default */
    tv_ranks *ranks;       /* that share the sequences, each called with all of them; NULL: this process */
    tv_activation_arena *shared; /* whose activations it borrows (activations.h); NULL: it has its own */
} tv_scorer_options;

typedef struct tv_sequence {
    const uint32_t *ids; /* prompt, response, end token where there is one */
    uint64_t length;     /* 1 to max_tokens */
} tv_sequence;

/* Bytes of device memory besides the model's own and what is shared. */
tv_status tv_scorer_measure(const tv_parameter_list *list, const tv_caps *caps,
                            const tv_scorer_options *options, uint64_t *bytes);

/* `model` has a score head and outlives the scorer; it may be trained between calls. */
tv_status tv_scorer_create(tv_model *model, const tv_scorer_options *options, tv_scorer **scorer);
void tv_scorer_destroy(tv_scorer **scorer);

/* Raw scores, in the order of the sequences. Blocks. A sequence that is empty or too long is TV_E_DATA, a
 * score that is not finite TV_E_NUMERIC. */
tv_status tv_scorer_score(tv_scorer *scorer, const tv_sequence *sequences, uint64_t count, float *scores);

#endif
