/* Generation with a key-value cache: recorded steps, replayed without the host in between.
 *
 * A step feeds one token of every row, draws the next and keeps the books on the device; within a prompt the
 * drawn token is ignored and the prompt's is fed, so the same step reads prompts. Where the prompts of new
 * rows have more tokens than a step has rows, passes over many of their tokens at once read them first, to
 * the same bits, and the first step feeds their last ones. What prompts have in common at their beginning is
 * read once: its keys and values are copied from where they are, be it a row that runs, one that has ended or
 * one that is filled beside it. Between two runs, rows that ended can be filled with new prompts while the
 * others go on. Where at most half of the rows still run, the decoder moves them
 * together and goes on in a step of half as many rows, and so on down to one, so that stragglers do not cost
 * full rows. The log-probabilities equal those of the full forward pass within the tier's tolerance; logits
 * to the bit where tv_decoder_has_training_bits, and with them log-probabilities that are asked for as
 * training's heads compute them. Draws are addressed by (seed,
 * the row's sequence number, the position of the token that was fed), and no bit of a row depends on the rows
 * beside it or on their number: the same seed gives the same text in any batch, order and company.
 */
#ifndef TV_MODEL_DECODER_H
#define TV_MODEL_DECODER_H

#include "kernels/decode.h"
#include "model/activation_arena.h"
#include "model/model.h"
#include "vk/timestamps.h"

typedef struct tv_decoder tv_decoder;

typedef struct tv_decoder_options {
    uint64_t rows;       /* sequences side by side */
    uint64_t max_tokens; /* of a row, prompt included; at least 2, at most the model's max_positions */
    /* Where `prompts` is not 0 and caches take at most half so, prompts stand in them once for all rows that
     * draw behind them: so many different ones side by side, of up to prompt_tokens, with answers of up to
     * max_new. Else each row has all of its text. */
    uint64_t prompts, prompt_tokens, max_new;
    tv_activation_arena *shared; /* whose activations it borrows (activations.h); NULL: it has its own */
    /* 1 / tau as training's heads over log-probabilities have it: those of drawn tokens are theirs under
     * softmax(logits / tau), by the same kernel (kernels/logprobs.h), with the entropy of each. 0: they come
     * with the draw, without entropies. */
    float inverse_temperature;
} tv_decoder_options;

/* Bytes of memory by purpose: device memory, and what the host reads back through. The model's tables of
 * positions (tv_model_table_bytes of max_tokens) come beside them. */
typedef struct tv_decoder_bytes {
    uint64_t cache;       /* keys and values: 2 L rows Hkv max_tokens D elements, */
    uint64_t shared;      /* or so many bytes less where prompts stand once */
    uint64_t activations; /* of one step, logits included; 0 where they are shared */
    uint64_t state;       /* tokens, positions, sequences, log-probabilities, on both sides */
} tv_decoder_bytes;

/* What a decoder takes on a device of these caps. TV_E_CONFIG for max_tokens out of range, TV_E_FIT when one
 * tensor is larger than any buffer. */
tv_status tv_decoder_measure(const tv_parameter_list *list, const tv_caps *caps,
                             const tv_decoder_options *options, tv_decoder_bytes *bytes);

/* Whether logits of a step are, to the bit, those of a training pass over the same text from its first column
 * on: attention has one order of sums there, and no self-test found that matrix units keep to none. */
bool tv_decoder_has_training_bits(const tv_model *model);

/* The model is kept by reference and may be trained on between runs. */
tv_status tv_decoder_create(const tv_model *model, const tv_decoder_options *options, tv_decoder **decoder);
void tv_decoder_destroy(tv_decoder **decoder);

typedef struct tv_decoder_prompt {
    const uint32_t *tokens; /* each below V */
    uint64_t length;        /* at least 1 and below the decoder's max_tokens */
    uint64_t max_new;       /* tokens to draw at most, at least 1; a row also stops at max_tokens */
    uint32_t sequence;      /* number of the sequence, for the address of its draws */
} tv_decoder_prompt;

typedef struct tv_decoder_settings {
    uint64_t seed;
    float temperature; /* 0: greedy */
    uint32_t top_k;    /* 0: all */
    float top_p;       /* 1: all */
    uint32_t end_count;
    uint32_t ends[TV_DECODE_MAX_ENDS]; /* tokens that end a text */
} tv_decoder_settings;

/* Empties every row and puts `count` (at most rows) prompts into the first ones. The model stays what it is
 * until the next start. TV_E_DATA for a token outside the vocabulary, TV_E_USAGE for what the comments above
 * exclude. */
tv_status tv_decoder_start(tv_decoder *decoder, const tv_decoder_prompt *prompts, uint64_t count,
                           const tv_decoder_settings *settings);

/* Puts a prompt, which is copied, into a row that has ended or is empty, under the settings of the last
 * start; the other rows go on with the next run. Fails as tv_decoder_start does, and with TV_E_USAGE for a
 * row that runs and without tv_decoder_has_room. */
tv_status tv_decoder_fill(tv_decoder *decoder, uint64_t row, const tv_decoder_prompt *prompt);

/* Whether there is room for it beside the prompts of the rows that run: always, unless prompts are shared. */
bool tv_decoder_has_room(const tv_decoder *decoder, const tv_decoder_prompt *prompt);

/* The same in a decoder of one row, whose model is what it was at its last run, also one before the last
 * start: the prompt is read from where it differs from the text that the row held, as the turns of a
 * conversation go on from each other. */
tv_status tv_decoder_continue(tv_decoder *decoder, const tv_decoder_prompt *prompt);

/* Whether the decoder takes this prompt, called `number` in the sentence; fails as tv_decoder_start does. */
tv_status tv_decoder_check(const tv_decoder *decoder, uint64_t number, const tv_decoder_prompt *prompt);

/* Reads prompts, runs `steps` steps, in looks of at most TV_DECODE_RECENT: submits a look's steps at once,
 * waits, reads back what they drew. *running: rows that have not ended; without any no further look is taken.
 * Rows that end on the way cost as much as the others until the look's end. TV_E_NUMERIC when a token was
 * drawn from logits that are not finite. */
tv_status tv_decoder_run(tv_decoder *decoder, uint64_t steps, uint64_t *running);

/* RenderDoc captures the run in which step number `step` lies, from 1, since the decoder's creation; 0: none.
 */
void tv_decoder_capture(tv_decoder *decoder, uint64_t step);

/* What cost goes by: rows that the last run's steps computed, and since the decoder's creation tokens that
 * passes over prompts have read, and those that were not read again because they were there. */
uint64_t tv_decoder_step_rows(const tv_decoder *decoder);
uint64_t tv_decoder_tokens_read(const tv_decoder *decoder);
uint64_t tv_decoder_tokens_shared(const tv_decoder *decoder);

/* A row as the last run left it; pointers last until the next run, start or fill. */
typedef struct tv_decoder_row {
    const uint32_t *tokens; /* (length) the prompt as far as it was fed, then the drawn tokens, an end token
                               included */
    const float *logprobs;  /* (length) of the drawn tokens, under the model at this temperature (1 when
                               greedy) or as the options say; 0 in the prompt */
    const float *entropies; /* (length) likewise, of what they were drawn from before top-k and top-p; NULL
                               without inverse_temperature */
    uint64_t length, prompt_length; /* 0 for a row without a prompt */
    uint32_t finished;              /* TV_DECODE_RUNNING, TV_DECODE_END_OF_TEXT, TV_DECODE_LENGTH */
} tv_decoder_row;
tv_decoder_row tv_decoder_read(const tv_decoder *decoder, uint64_t row);

/* logits (V) of the last step of a decoder of one row: those that its last token was drawn from. TV_E_USAGE
 * where another user of shared activations has written over them. */
tv_status tv_decoder_logits(const tv_decoder *decoder, float *logits);

/* Runs one step more and tells what each of its dispatches took; the caller frees *times with free(). Texts
 * in them last until the next call or the decoder's end. */
tv_status tv_decoder_profile(tv_decoder *decoder, tv_dispatch_time **times, uint32_t *count);

#endif
