/* Best of n: of the answers that a policy gave to each prompt, those that a reward model likes, as data to
 * learn from.
 *
 *     {"prompt","completion","score"}                          TV_KEEP_BEST, as sft reads it
 *     {"prompt","answers":[{"answer","rank","score"}, ...]}    TV_KEEP_RANKED, as reward and dpo do
 *
 * Promise: a line depends on its candidates and the reward model alone; prompts and texts are handed on as
 * they stand in the candidates. An answer that the reward model has no positions for takes no part. Best: the
 * highest score, of equal ones the answer that was drawn first; an empty answer is never the best, because
 * nothing can be learned from it. Ranked: best first, equal scores share a rank, a text that was drawn twice
 * stands once; answers that are all one text, or all as good, give no line. Answers that were cut at a limit
 * count as they were scored.
 */
#ifndef TV_STAGES_KEEP_ANSWERS_H
#define TV_STAGES_KEEP_ANSWERS_H

#include "reward/score_texts.h"
#include "text/buffers.h"

/* Values are pinned by "best|ranked" of `trivium sample --keep`. */
typedef enum tv_keep { TV_KEEP_BEST, TV_KEEP_RANKED } tv_keep;

typedef struct tv_keep_options {
    const char *candidates; /* of tv_stage_sample */
    const char *out;        /* replaced as a whole */
    tv_keep keep;
    tv_score_texts_options reward;
} tv_keep_options;

typedef struct tv_keep_result {
    uint64_t prompts, answers; /* read */
    uint64_t lines;            /* written */
    uint64_t too_long;         /* answers without a score */
    uint64_t cut;              /* best answers that a limit ended */
    uint64_t same;             /* answers left out because their text stood there already */
    double mean;               /* of all scores, raw */
    double best;               /* mean of each prompt's highest score */
} tv_keep_result;

/* TV_E_DATA for candidates that cannot be read, and where no prompt gives a line; nothing is written then. */
tv_status tv_keep_answers(const tv_keep_options *options, tv_keep_result *result);

/* A prompt with the scores of its answers. */
typedef struct tv_scored_answer {
    const char *json; /* the text as JSON; equal texts are spelled alike */
    bool empty, cut;
    double score; /* NaN: none */
} tv_scored_answer;
typedef struct tv_scored_prompt {
    const char *json; /* a text or a list of messages, as JSON */
    const tv_scored_answer *answers;
    uint64_t count;
} tv_scored_prompt;
/* The part of it behind the scores: appends the prompt's line with its newline, or nothing, and adds to all
 * counts of `result` but `prompts` and `answers`. */
tv_status tv_keep_line(const tv_scored_prompt *prompt, tv_keep keep, tv_text *line, tv_keep_result *result);

#endif
