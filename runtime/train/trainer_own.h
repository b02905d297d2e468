/* What the files of a trainer share: its slots, tensors and recordings. */
#ifndef TV_TRAIN_TRAINER_OWN_H
#define TV_TRAIN_TRAINER_OWN_H

#include "train/exchange.h"
#include "train/trainer.h"
#include "train/trainer_layout.h"
#include "vk/submit.h"
#include "vk/transfer.h"

enum { TV_TRAINER_SLOTS = 2 };

typedef struct tv_batch_slot {
    tv_span upload;  /* as trainer_layout.h says */
    tv_span outputs; /* readback of a forward pass: the head's outputs */
    tv_recording *train[TV_TRAINER_WIDTHS], *forward[TV_TRAINER_WIDTHS];
    tv_recording *last[TV_TRAINER_WIDTHS]; /* of a group, which hands its gradients to the exchange */
    uint32_t width;                        /* number of the width that it holds */
    uint64_t value;                        /* timeline of its last use */
} tv_batch_slot;

typedef struct tv_step_slot {
    tv_span constants; /* upload */
    tv_span results;   /* readback: tv_step_results */
    tv_recording *begin, *update, *results_copy;
    uint64_t value;
    /* What the host knows of the step in the slot. */
    bool pending;
    uint64_t number, terms, tokens;
    double lr;
    double finished; /* by tv_seconds; 0: not seen yet */
    tv_exchange_wait wait;
} tv_step_slot;

/* Of a step: its results for the host. */
typedef struct tv_step_results {
    struct tv_update_state state;
    float stats[TV_HEAD_STATS];
} tv_step_results;
_Static_assert(sizeof(tv_step_results) <= TV_TENSOR_ALIGNMENT, "a slot reserves one aligned place for them");

struct tv_trainer {
    tv_model *model;
    tv_device *device;
    tv_trainer_options options;
    tv_trainer_layout layout;
    tv_activations *activations;
    tv_device_arena *arena;
    tv_buffer *upload, *readback;
    tv_step_tensors tensors[TV_TRAINER_WIDTHS];
    tv_update_plan *plan; /* NULL without training */
    tv_batch_slot batches[TV_TRAINER_SLOTS];
    tv_step_slot steps[TV_TRAINER_SLOTS];
    tv_recording *group; /* adds a group to the sums; NULL where the model keeps none, or ranks do it */
    /* (several): of each group of this process, where it has several that are rounded: its errors are brought
     * to where the rounding takes them, and kept. */
    tv_recording **bring, **keep;
    uint64_t several;          /* 0: one, or none is rounded */
    tv_recording *norm;        /* own partial sums of the gradient norm, for the exchange; NULL: alone */
    tv_exchange *exchange;     /* NULL: alone */
    uint32_t *host_words;      /* grad_accum micro-batches */
    uint32_t *host_widths;     /* (grad_accum) */
    const tv_trainer *scaling; /* itself, or whose loss scale it takes */
    uint64_t batch_number, step_number, result_number;
    double last_end;
    double flop_budget;
    bool tuned;
};

/* The state that a group's rounding reads; absent where groups are added as they are. */
tv_tensor tv_trainer_rounding(const tv_trainer *trainer);
/* All recordings, anew. No step may be in flight. */
tv_status tv_trainer_record_all(tv_trainer *trainer);
/* Cuts submissions by the measured speed of the device, once: after the first work of a batch, which has
 * ended. */
tv_status tv_trainer_tune(tv_trainer *trainer, tv_recording *recording);

#endif
