/* Many texts from few rows: what sampling and PPO draw with.
 *
 * Rows of a decoder are refilled from the waiting requests whenever the end flags are read back, every few
 * tokens; the last texts go on in smaller steps (model/decoder.h). Each text is addressed by the seed and its
 * sequence number, and no bit of it depends on the rows, on the order of the requests or on what runs beside
 * it. Where the caller says how many answers each prompt gets, prompts stand in the caches once for their
 * answers. A run that has more prompts side by side than were said draws fewer answers at a time.
 */
#ifndef TV_STAGES_ROLLOUT_H
#define TV_STAGES_ROLLOUT_H

#include "model/decoder.h"

typedef struct tv_rollout tv_rollout;

typedef struct tv_rollout_options {
    uint64_t rows;       /* texts side by side */
    uint64_t max_tokens; /* of a text, prompt included; at least 2, at most the model's max_positions */
    /* Different prompts of a run, with so many answers each, one behind the other, of up to so many tokens,
     * so that tv_decoder_options may share them; 0: each row has its own. */
    uint64_t prompts, answers, prompt_tokens, max_new;
    uint64_t capture_step;       /* of tv_decoder_capture */
    tv_activation_arena *shared; /* as tv_decoder_options has them, like the next: */
    float inverse_temperature;
} tv_rollout_options;

/* What a rollout takes on a device of these caps; fails as tv_decoder_measure does. */
tv_status tv_rollout_measure(const tv_parameter_list *list, const tv_caps *caps,
                             const tv_rollout_options *options, tv_decoder_bytes *bytes);

/* The model is kept by reference and may be trained on between runs. */
tv_status tv_rollout_create(const tv_model *model, const tv_rollout_options *options, tv_rollout **rollout);
void tv_rollout_destroy(tv_rollout **rollout);

typedef struct tv_rollout_request {
    const uint32_t *tokens; /* the prompt, each below V */
    uint64_t length;        /* at least 1 and below max_tokens */
    uint32_t sequence;      /* number of the sequence, for the address of its draws */
} tv_rollout_request;

/* Gets each text once, in the order in which they end; `row` lasts until it returns. Its failure stops the
 * run and is returned. */
typedef tv_status (*tv_rollout_sink)(void *context, uint64_t index, const tv_decoder_row *row);

/* What is called each time that the end flags were read back, behind the sink, from now on; NULL: nothing. It
 * fails as a sink does. */
void tv_rollout_look(tv_rollout *rollout, tv_status (*look)(void *context), void *context);

/* Draws at most max_new tokens behind each prompt. Fails with TV_E_DATA or TV_E_USAGE for a prompt that the
 * comments above exclude, before the first step. */
tv_status tv_rollout_run(tv_rollout *rollout, const tv_rollout_request *requests, uint64_t count,
                         const tv_decoder_settings *settings, uint64_t max_new, tv_rollout_sink sink,
                         void *context);

/* Of the last run, also of one that a sink stopped. */
typedef struct tv_rollout_totals {
    uint64_t texts, ended;          /* handed to the sink; of them, by an end token */
    uint64_t prompt_tokens, tokens; /* of those texts: given, drawn */
    uint64_t shared;                /* tokens of prompts that were not read, because another row had */
    uint64_t steps, rows;           /* steps; their rows and the tokens of passes: what the run cost */
    double seconds;
} tv_rollout_totals;
tv_rollout_totals tv_rollout_totals_of(const tv_rollout *rollout);
/* Of the same, for a run's metrics: drawn tokens a second, and the share of prompts' tokens that were not
 * read again; 0 where nothing was drawn. */
void tv_rollout_rates(const tv_rollout *rollout, double *tokens_per_second, double *shared);

#endif
