/* Demonstrations put to a language model: the loss of their answers, which sft learns.
 *
 * Promise: what is a target is what text/examples.h says, each example in a row of its own, in the order of
 * the file.
 */
#ifndef TV_RUN_EVALUATE_EXAMPLES_H
#define TV_RUN_EVALUATE_EXAMPLES_H

#include "text/examples.h"
#include "train/trainer.h"

/* Whether the first line of a file of JSON lines is a demonstration. */
bool tv_examples_found(const char *path);

typedef struct tv_example_batches {
    const tv_examples *examples;
    uint64_t next; /* the first of the next batch */
} tv_example_batches;

/* The trainer that evaluates: of forward passes over `batch` rows of up to `tokens` tokens. */
tv_trainer_options tv_examples_trainer(uint64_t tokens, uint64_t batch);
/* A tv_batch_source; rows behind the last example are empty. */
tv_status tv_examples_next(void *batches, tv_micro_batch *batch);
/* Of the longest example as inputs. */
uint64_t tv_examples_longest(const tv_examples *examples);

#endif
