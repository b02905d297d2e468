/* The loss of a model on given tokens or text.
 *
 * Promise: every token of the stream but the first is a target exactly once, whatever the window and the
 * stride. A text gives the same stream as the shard that `trivium data pack` makes of it: each document, then
 * the end-of-text token. Questions with several endings are recognised by their first line. The numbers of
 * several ranks are the bits of one, and the first of them writes.
 */
#ifndef TV_RUN_EVALUATE_H
#define TV_RUN_EVALUATE_H

#include <stdbool.h>
#include <stdint.h>

#include "train/ranks.h"
#include "vk/device.h"

typedef struct tv_evaluate_options {
    tv_ranks *ranks;     /* that share the batches, a device each; NULL: this process alone */
    const char *model;   /* a model directory, or a run's */
    const char *adapter; /* over it; NULL: none */
    /* A token shard; a text, {"text"} lines or a folder, which need the model's tokenizer; questions with
     * endings (text/multiple_choice.h) or demonstrations (text/examples.h), of which the answers are
     * measured; both need it too and take neither `tokens` nor `stride`. */
    const char *data;
    uint64_t tokens; /* T of a window; 0: the model's positions, at most 1,024 */
    uint64_t stride; /* windows begin this far apart and all but the first count their last `stride` targets
                        only, so that each has T - stride tokens before it; at most T; 0: T */
    uint64_t batch;  /* windows side by side; 0: chosen */
    /* A file for one log-probability per target, or ending, in order, one a line; NULL: none. */
    const char *logprobs;
    tv_device_options device;
} tv_evaluate_options;

typedef struct tv_evaluate_result {
    double loss; /* nats per target, the mean over all */
    double perplexity;
    uint64_t tokens;         /* targets */
    uint64_t bytes;          /* of text; 0 for a shard */
    double bits_per_byte;    /* of text: all targets, and the first token, where it is text, at log2 of the
                                vocabulary */
    uint64_t seq_len, batch; /* as resolved */
    /* Of questions with endings, where the above but for the last two is 0; otherwise 0. */
    uint64_t questions, endings;
    double accuracy,
        accuracy_norm; /* shares of the questions: by log-probability, by that over the ending's bytes */
} tv_evaluate_result;

/* TV_E_DATA for tokens outside the vocabulary and for fewer than two of them, TV_E_CONFIG for a window that
 * the model has no positions for, TV_E_NUMERIC where the model's loss is not finite. */
tv_status tv_evaluate(const tv_evaluate_options *options, tv_evaluate_result *result);

#endif
