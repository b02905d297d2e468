/* The host's copy of one rollout: finished sequences and, token by token, what the updates need of them.
 *
 * Layout: (S, T), one sequence per row, prompt then response from column 0, padding at the right, which
 * causal attention never sees; position t is the t-th real token. Everything per token lies at the row that
 * predicts it: row t of a sequence predicts its token t + 1, so T is one less than the longest sequence.
 */
#ifndef TV_STAGES_POLICY_ROLLOUT_H
#define TV_STAGES_POLICY_ROLLOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "train/trainer.h"

typedef struct tv_policy_sequence {
    uint64_t prompt; /* number in the prompt set */
    uint64_t number; /* of its draws; no other of a rollout has it */
    uint64_t length, prompt_length;
    bool ended;   /* the response ends with an end token */
    bool rated;   /* its old log-probabilities and entropies came with its draws */
    double score; /* of the rewards; NaN: none of them applies to it */
} tv_policy_sequence;

typedef struct tv_policy_rollout {
    uint64_t sequences, tokens; /* S, T */
    tv_policy_sequence *items;  /* (S) */
    uint32_t *ids;              /* (S, T + 1) */
    uint32_t *targets;          /* (S, T): response tokens; TV_IGNORED_TARGET elsewhere */
    float *old_logprobs, *entropies, *ref_logprobs, *values, *advantages, *returns; /* (S, T) */
} tv_policy_rollout;

tv_status tv_policy_rollout_create(uint64_t sequences, uint64_t tokens, tv_policy_rollout *rollout);
void tv_policy_rollout_free(tv_policy_rollout *rollout);

/* Puts a finished sequence, prompt and response, into row `sequence`. */
void tv_policy_rollout_set(tv_policy_rollout *rollout, uint64_t sequence, const uint32_t *ids,
                           uint64_t length, uint64_t prompt_length, bool ended);
/* What the policy said of its tokens when it drew them, in place of a forward pass: old log-probabilities and
 * entropies (length), of which those of the response count. */
void tv_policy_rollout_rate(tv_policy_rollout *rollout, uint64_t sequence, const float *logprobs,
                            const float *entropies);
/* Whether all sequences have them. */
bool tv_policy_rollout_is_rated(const tv_policy_rollout *rollout);
uint64_t tv_policy_rollout_response_tokens(const tv_policy_rollout *rollout);

/* ---- batches over it ---- */

typedef enum tv_policy_batch_kind {
    TV_POLICY_BATCH_FORWARD, /* tokens and targets */
    TV_POLICY_BATCH_POLICY,  /* and old log-probabilities, advantages */
    TV_POLICY_BATCH_VALUE    /* and old values, returns */
} tv_policy_batch_kind;

/* An order for an epoch, of the `count` sequences in `among` (NULL: of the first `count`): drawn by (seed,
 * pass), and within each `minibatch` sequences longest first, so that micro-batches are no wider than they
 * must be. TV_E_MEMORY. */
tv_status tv_policy_rollout_order(const tv_policy_rollout *rollout, const uint64_t *among, uint64_t count,
                                  uint64_t minibatch, uint64_t seed, uint32_t pass, uint64_t *order);

/* A tv_batch_source's context: sequences order[next], order[next + 1], ... up to order[end - 1], none of two
 * minibatches in one micro-batch; rows behind them are empty. */
typedef struct tv_policy_batches {
    const tv_policy_rollout *rollout;
    tv_policy_batch_kind kind;
    uint64_t batch; /* B */
    const uint64_t *order;
    uint64_t minibatch;
    uint64_t next, end;
} tv_policy_batches;
tv_status tv_policy_batches_next(void *batches, tv_micro_batch *batch);
/* Micro-batches from next to end. */
uint64_t tv_policy_batches_left(const tv_policy_batches *batches);

/* A tv_outputs_visitor's context: takes output 0 (and 1) of forward passes over `batches`, a copy of what the
 * source began with. 0 behind a micro-batch's width. */
typedef struct tv_policy_outputs {
    tv_policy_batches batches;
    float *first, *second; /* (S, T) each; NULL: not wanted */
} tv_policy_outputs;
tv_status tv_policy_outputs_take(void *outputs, const tv_micro_batch *batch,
                                 const float *const values[TV_HEAD_TENSORS]);

#endif
