/* Heads: what turns the final hidden states into a loss, and the loss into their gradient.
 *
 * The language head goes through the rows in chunks, so that the logits of a whole batch are never stored.
 */
#ifndef TV_MODEL_HEADS_H
#define TV_MODEL_HEADS_H

#include "model/loss_head.h"

/* logits (rows, V) = final (rows, C) W^T for the rows of `final` from `first` on, at most
 * activations->head_rows and a multiple of them apart. *logits lies in activations->logits until the next
 * chunk. */
tv_status tv_language_logits(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                             uint64_t first, uint64_t rows, tv_tensor *logits);

/* The way back for the same rows, from the gradient of their logits, which lies where they lay: d_W (V, C) +=
 * d_logits^T final; the rows of d_narrow = d_logits W. */
tv_status tv_language_logits_backward(tv_recorder *recorder, const tv_model *model,
                                      const tv_activations *activations, uint64_t first, uint64_t rows);

typedef struct tv_language_loss {
    tv_tensor targets; /* (B, T) uint32, TV_IGNORED_TARGET counts for nothing */
    tv_tensor losses;  /* (B, T) fp32, overwritten */
    tv_tensor hits; /* (B, T) fp32, overwritten with 1 where the target is the likeliest token; or absent */
    tv_tensor step; /* struct tv_step_constants: loss_scale */
    bool gradient;  /* write the gradient of `final` into d_narrow and add the head weight's; else only the
                       losses */
} tv_language_loss;

/* Cross-entropy of the next token, per row. */
tv_status tv_language_head(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                           const tv_language_loss *loss);

/* The same as a loss head. Input 0: targets (B, T). */
enum { TV_LANGUAGE_LOSSES, TV_LANGUAGE_HITS }; /* outputs, (B, T) each; statistics: their sums */
tv_loss_head tv_language_loss_head(uint64_t batch, uint64_t tokens);
/* With the hits, which mean token accuracy is made of. A tv_head_maker without settings. */
tv_loss_head tv_language_accuracy_head(const void *settings, uint64_t batch, uint64_t tokens);

/* No loss: only forward passes are recorded, and their output 0 is the logits (B, T, V), all at once. A
 * tv_head_maker whose settings are the model's tv_model_config. */
tv_loss_head tv_language_logits_head(const void *config, uint64_t batch, uint64_t tokens);

#endif
