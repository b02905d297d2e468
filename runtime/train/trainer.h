/* Replaying recorded steps with two in flight.
 *
 * Promise: while the device runs a step the host fills the next one; results come back in order, at most two
 * steps late. A slot (parameters, batch, readback) is reused when its timeline value is reached. An update
 * whose gradient is not finite is skipped and counted on the device; a stage ends its run, with a checkpoint,
 * after TV_SKIPS_IN_ROW of them. The loss of a step is the sum over the terms of the whole accumulated batch
 * (valid targets, pairs) divided by their number. What is trained is the business of a loss head. Gradients
 * and statistics of a step are sums of groups of micro-batches, added one by one in the order of the groups;
 * within a group each micro-batch adds to what is there.
 */
#ifndef TV_TRAIN_TRAINER_H
#define TV_TRAIN_TRAINER_H

#include "model/loss_head.h"
#include "push_constants.h"
#include "train/ranks.h"

typedef struct tv_trainer tv_trainer;

/* Skipped updates after which nothing but more of them is to be expected. */
enum { TV_SKIPS_IN_ROW = 10 };

/* The head for micro-batches of (B, T): a function, because memory reports ask for other sizes too. */
typedef tv_loss_head (*tv_head_maker)(const void *settings, uint64_t batch, uint64_t tokens);

typedef struct tv_trainer_options {
    const char *stage;      /* "pretrain", for labels */
    uint64_t batch, tokens; /* B, T of a micro-batch */
    uint64_t context;       /* of the longest sequence that the model is used for besides; 0: T */
    uint64_t grad_accum;    /* micro-batches in a step */
    uint64_t groups;        /* of micro-batches, whose gradients are summed apart and then added in their
                               order; divides grad_accum; 0: 1 */
    tv_dtype group_type; /* what they are added in: TV_F32, as they are, or TV_BF16: rounded, with the error
                            of each group kept for its next step (kernels/group_add.h) */
    tv_ranks *ranks;     /* that share the groups, of which each has as many; NULL: this process alone.
                            Every rank draws every micro-batch, and computes those of its groups. Forward
                            passes are by all too: of their batches each computes every Nth */
    tv_head_maker head;  /* NULL: the next token's cross-entropy */
    const void *head_settings; /* outlives the trainer */
    bool document_mask;        /* doc_start is filled and used */
    bool positions;            /* positions are filled and used; else a row's are 0, 1, 2, ... */
    bool narrow;               /* sources may fill narrower micro-batches */
    bool more_rows;            /* those have as many more rows, so that all have about B T tokens */
    bool recompute;
    uint64_t head_rows; /* the most rows of a chunk of logits (activations.h); 0: as device and plan allow */
    bool train;         /* false: only forward passes */
    /* What gradients are scaled with on their way through 16 bits: a power of two. 0: as the tier asks,
     * which is a scale that moves from 65,536 on with f16, as PyTorch's GradScaler, and none besides. */
    float loss_scale;
    uint32_t
        loss_scale_growth; /* beside a loss_scale: it moves, and doubles after so many updates; 0: fixed */
    const tv_trainer
        *scaled_as; /* of a trainer that accumulates: the one that updates, whose scale it takes */
    tv_activation_arena *shared; /* whose activations it borrows (activations.h); NULL: it has its own */
    bool profile;                /* timestamps around every kernel; serialises a GPU */
} tv_trainer_options;

/* The terms of a micro-batch's loss are the valid ones among its targets. */
#define TV_TERMS_ARE_TARGETS UINT64_MAX

/* T is a multiple where a stage chooses it, for kernels that take four columns at a time. */
enum { TV_WIDTH_STEP = 8 };

/* One micro-batch, to be filled by the caller. What the options do not ask for is NULL. */
typedef struct tv_micro_batch {
    const uint64_t *widths, *rows_at; /* that it may have, rising up to T, and the rows of each */
    /* (R, W); preset to (B, T). tv_micro_batch_narrow before anything is filled. R is B but for more_rows. */
    uint64_t rows, width;
    uint32_t *tokens, *positions, *doc_start; /* (R, W) */
    void *inputs[TV_HEAD_TENSORS];            /* of the head, its input_words each */
    uint32_t *targets;                        /* inputs[0] of heads that predict tokens: (R, W), may be
                                                 TV_IGNORED_TARGET */
    uint64_t terms; /* what the loss is the mean of; preset to TV_TERMS_ARE_TARGETS */
    uint64_t used;  /* tokens that are no padding, for the speed; preset to TV_TERMS_ARE_TARGETS: as terms */
    bool end;       /* of a forward pass: nothing was filled, there is no more */
} tv_micro_batch;
/* W becomes the least width that takes `longest` tokens. Without tv_trainer_options.narrow there is but T. */
void tv_micro_batch_narrow(tv_micro_batch *batch, uint64_t longest);
/* That width, for those who plan. */
uint64_t tv_trainer_width(const tv_trainer_options *options, uint64_t longest);
/* Fills the next micro-batch. Whatever it leaves untouched holds the values of an earlier one. */
typedef tv_status (*tv_batch_source)(void *context, tv_micro_batch *batch);

/* What an optimizer step left behind. */
typedef struct tv_step_result {
    uint64_t number;        /* of tv_trainer_step calls, from 0 */
    double loss, grad_norm; /* mean over the terms; norm before clipping */
    double lr;
    uint64_t terms, tokens;      /* as the micro-batches said: their terms and used tokens */
    double stats[TV_HEAD_STATS]; /* the head's sums over the step */
    struct tv_update_state state;
    double seconds; /* since the end of the step before, or since the call, with none in flight */
    /* Of several ranks: the one that the others waited for, and how much longer than it the one that waited
     * longest. */
    uint32_t waited_for;
    double wait_seconds;
} tv_step_result;

/* Bytes of device memory by purpose. */
enum { TV_MORE_BYTES = 8 };
typedef struct tv_trainer_bytes {
    tv_model_bytes model;
    uint64_t sums;     /* of groups' gradients; 0 with one group */
    uint64_t errors;   /* of rounded groups; 0 in fp32 */
    uint64_t exchange; /* between ranks; 0 alone */
    uint64_t activations;
    uint64_t tables; /* of positions */
    bool shared;     /* they are of all who share an arena, counted once by whoever has it; 0 until then */
    uint64_t muon;   /* what it makes updates orthogonal in; 0 without it */
    uint64_t buffers, total;
    /* What a stage keeps on the device besides, such as its reference; part of the total. */
    struct {
        const char *name;
        uint64_t bytes;
    } more[TV_MORE_BYTES];
    uint32_t more_count;
    /* Who measures a stage's further roles with a changed step (run/memory_advice.h); NULL: they stay. */
    const struct tv_memory_roles *roles;
} tv_trainer_bytes;
/* The arena of shared activations, once. */
void tv_trainer_bytes_set_shared(tv_trainer_bytes *bytes, uint64_t activations);
/* Adds a row to them. */
void tv_trainer_bytes_add(tv_trainer_bytes *bytes, const char *name, uint64_t more);
tv_status tv_trainer_measure(const tv_parameter_list *list, const tv_caps *caps,
                             const tv_trainer_options *options, tv_trainer_bytes *bytes);

/* What a model of such a trainer keeps between steps besides moments, so that a checkpoint can be read into
 * it before the trainer is there; tv_trainer_create does it too. */
tv_status tv_trainer_prepare(tv_model *model, const tv_trainer_options *options);
/* `model` outlives the trainer. */
tv_status tv_trainer_create(tv_model *model, const tv_trainer_options *options, tv_trainer **trainer);
void tv_trainer_destroy(tv_trainer **trainer);

/* Rows of a chunk of logits: what a run keeps, so that it goes on to the same bits elsewhere. */
uint64_t tv_trainer_head_rows(const tv_trainer *trainer);

/* Continues AdamW's count, the skip counters and a loss scale that moves, for resuming. */
tv_status tv_trainer_set_state(tv_trainer *trainer, const struct tv_update_state *state);

/* Submits one optimizer step: draws grad_accum micro-batches from `source`; `constants->loss_scale` is set
 * here. When a result is ready *has_result is true. */
tv_status tv_trainer_step(tv_trainer *trainer, const struct tv_step_constants *constants,
                          tv_batch_source source, void *context, tv_step_result *result, bool *has_result);
/* The same without the update: gradients of `scale` times the mean loss are added to what the next
 * tv_trainer_step of any trainer of this model applies. The trainer's results are its own. */
tv_status tv_trainer_accumulate(tv_trainer *trainer, double scale, tv_batch_source source, void *context,
                                tv_step_result *result, bool *has_result);
/* The next result of a step in flight, waiting for it; *has_result is false when none is in flight. */
tv_status tv_trainer_drain(tv_trainer *trainer, tv_step_result *result, bool *has_result);

/* By all ranks. `batches` micro-batches forward only, fewer where the source says `end`; `visit` gets each
 * with the head's outputs, in order, on every rank; of its batch, terms and used are not set. No step may be
 * in flight. */
typedef tv_status (*tv_outputs_visitor)(void *context, const tv_micro_batch *batch,
                                        const float *const outputs[TV_HEAD_TENSORS]);
tv_status tv_trainer_forward(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                             tv_outputs_visitor visit, void *visit_context);
/* The same by this rank alone, where the others do something else. */
tv_status tv_trainer_forward_alone(tv_trainer *trainer, uint64_t batches, tv_batch_source source,
                                   void *context, tv_outputs_visitor visit, void *visit_context);

/* tv_trainer_forward for the next token's cross-entropy: sum of the losses and number of valid targets.
 * `visit` (may be NULL) is called with the row losses of each batch, (R, W), and its targets. */
typedef tv_status (*tv_losses_visitor)(void *context, const float *losses, const uint32_t *targets,
                                       uint64_t count);
tv_status tv_trainer_evaluate(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                              tv_losses_visitor visit, void *visit_context, double *loss_sum,
                              uint64_t *targets);

/* Records all work again, with timestamps around every kernel or without. No step may be in flight. */
tv_status tv_trainer_set_profile(tv_trainer *trainer, bool profile);

/* The recordings of the last step, for profiles: the micro-batch and the update. */
tv_recording *tv_trainer_micro_batch_recording(tv_trainer *trainer);
tv_recording *tv_trainer_update_recording(tv_trainer *trainer);

#endif
