/* A reward model's scores of a file: preferences, prompts with a response each, or candidates.
 *
 * Promise: the shape is found by the keys of the first line, and every line must have it:
 *   preferences                       as text/preferences.h reads them; a response's rank is what counts
 *   {"prompt": p, "response": text}   one score each
 *   {"prompt": p, "responses": [{"text": s, "finish": "eos|length"}, ...]}   candidates of trivium sample
 * A response is scored at its end token; one that was cut at the limit ("finish": "length") at its last
 * token; one that the model has no positions for gets NaN, so that lines and numbers stay together. Scores
 * come in the order of the lines and, of a line, of its responses (of a preference: best first).
 */
#ifndef TV_REWARD_SCORE_FILE_H
#define TV_REWARD_SCORE_FILE_H

#include "reward/model.h"
#include "train/ranks.h"

typedef enum tv_score_shape { TV_SCORE_PREFERENCES, TV_SCORE_RESPONSES, TV_SCORE_CANDIDATES } tv_score_shape;

typedef struct tv_score_options {
    tv_ranks *ranks;     /* that share the responses, a device each; NULL: this process alone */
    const char *model;   /* a reward model's directory, or a run */
    const char *adapter; /* over it; NULL: none */
    const char *data;
    const char *out; /* a file for one number per response, one a line; NULL: none */
    bool normalised; /* in `out`; else raw */
    tv_device_options device;
} tv_score_options;

typedef struct tv_score_result {
    tv_score_shape shape;
    uint64_t responses;
    double mean, deviation, least, most; /* raw */
    tv_reward_scale scale;               /* the model's; samples 0: it has none */
    /* Of preferences: over the groups with an answer that is better than another, the mean share of the
     * pairs in order (equal scores count half), and the mean difference of a pair, raw. */
    uint64_t groups;
    double accuracy, margin;
    uint64_t too_long; /* groups or responses without a score: the model has no positions for them */
} tv_score_result;

/* TV_E_DATA with file and line for what cannot be read, and where everything is too long for the model. */
tv_status tv_score_file(const tv_score_options *options, tv_score_result *result);

#endif
