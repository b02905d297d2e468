/* Stage 3a: k answers of a policy to each prompt of a set, as candidates that people rank.
 *
 *     {"id","prompt","responses":[{"id","text","tokens","policy","policy_fingerprint","seed","temperature","top_k","top_p","finish"}]}
 *
 * Promise: one line per prompt, in the order of the prompts, each written durably as soon as its answers and
 * those before it are there. A file that is already there is continued behind its last whole line, with the
 * lines that an uninterrupted run would have written, and refused where it came from other prompts or
 * settings, or from another model under the same name, unless that is accepted. An answer depends on the
 * seed, its prompt's number and its own number, and on nothing else: not on k, rows, the number of ranks or
 * what was drawn before. Of several ranks each draws every Nth prompt, and the first one writes what all have
 * drawn, a block of prompts at a time.
 */
#ifndef TV_STAGES_SAMPLE_H
#define TV_STAGES_SAMPLE_H

#include "stages/sampling.h"
#include "train/ranks.h"

/* The number of a sequence is the prompt's times this, plus the candidate's. */
enum { TV_MAX_CANDIDATES = 256 };

typedef struct tv_stage_sample_options {
    tv_ranks *ranks; /* that draw together, a device each; NULL: this process alone */
    const tv_model *model;
    tv_tokenizer *tokenizer;
    const char *policy;             /* what a line calls the model */
    const char *policy_fingerprint; /* by which another one of that name is noticed (run/inputs.h) */
    const char *const *prompts;
    uint64_t prompt_paths;
    uint64_t candidates; /* k, from 1 to TV_MAX_CANDIDATES */
    const char *out;
    uint64_t max_new; /* tokens of an answer; the model's context ends it too */
    uint64_t rows;    /* answers side by side; never more than there are to draw */
    tv_sampling sampling;
    uint64_t capture_step; /* of tv_decoder_capture */
    bool accept_changes;   /* go on behind answers of another model or of other settings */
    bool dry_run;          /* print what it takes of the device's memory and stop */
} tv_stage_sample_options;

typedef struct tv_stage_sample_result {
    uint64_t prompts, resumed;      /* lines of the file; of them, already there */
    uint64_t responses, ended;      /* drawn now; of them, by an end token */
    uint64_t tokens, prompt_tokens; /* drawn, and read, for them */
    double seconds;
} tv_stage_sample_result;

/* TV_E_DATA for mistakes in prompts or in a file that is continued; TV_E_FIT when rows or model are too
 * large; TV_E_INTERRUPTED after Ctrl-C (tv_catch_interrupts): what was written stands. */
tv_status tv_stage_sample(const tv_stage_sample_options *options, tv_stage_sample_result *result);

#endif
