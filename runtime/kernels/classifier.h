/* Softmax and cross-entropy over logits, with the gradient written in place.
 *
 * The whole-vocabulary logits of a batch are never stored: model/heads.c calls this per chunk of rows,
 * between the matrix products that make the logits and consume their gradient.
 */
#ifndef TV_KERNELS_CLASSIFIER_H
#define TV_KERNELS_CLASSIFIER_H

#include "base/tokens.h"
#include "kernels/launch.h"

typedef struct tv_cross_entropy {
    uint64_t rows, vocab;
    bool gradient;     /* overwrite logits with (softmax - onehot) * scale; else leave them */
    tv_tensor logits;  /* (rows, V) */
    tv_tensor targets; /* (rows) uint32, below V or TV_IGNORED_TARGET; another one makes its row NaN */
    tv_tensor losses;  /* (rows) fp32 out: -log softmax(logits)[target], 0 where ignored */
    tv_tensor hits;    /* (rows) fp32 out: 1 where the target's logit is the row's maximum, else 0; may be
                          absent */
    tv_tensor step;    /* struct tv_step_constants (push_constants.h): loss_scale is read on the device */
} tv_cross_entropy;
tv_status tv_cross_entropy_record(tv_recorder *recorder, const tv_cross_entropy *loss);

#endif
