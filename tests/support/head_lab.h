/* A small model under a loss head, with all that a trainer would make for it: for tests of heads by
 * themselves. */
#ifndef TV_TESTS_HEAD_LAB_H
#define TV_TESTS_HEAD_LAB_H

#include "model/loss_head.h"
#include "support/language_model.h"

typedef struct tv_head_lab {
    tv_test_language_model lm; /* device, list, model and activations of it */
    tv_loss_head head;
    tv_test_tensor tokens, step, stats;
    tv_test_tensor inputs[TV_HEAD_TENSORS], outputs[TV_HEAD_TENSORS], scratch[TV_HEAD_TENSORS];
    float *out[TV_HEAD_TENSORS]; /* what the last run gave out */
    float sums[TV_HEAD_STATS];
    uint64_t rows;
} tv_head_lab;

/* Of `terms` terms; tokens are drawn below the model's vocabulary. */
tv_head_lab tv_head_lab_create(tv_device *device, const tv_parameter_list *list, tv_loss_head head,
                               uint64_t batch, uint64_t tokens, double terms);
void tv_head_lab_free(tv_head_lab *l);
void tv_head_lab_input(const tv_head_lab *l, int input, const void *words);
/* A forward pass, or with `gradient` one that adds to statistics and to the gradients of every parameter. */
void tv_head_lab_run_on(tv_head_lab *l, bool gradient);
/* The same from 0. */
void tv_head_lab_run(tv_head_lab *l, bool gradient);

#endif
