/* Scalar heads: one value per row, `final` times the score weight, with PPO's value loss or with the losses
 * of preferences over groups of responses.
 *
 * The model must have the score weight (TV_PARAMETER_SCORE_WEIGHT). V_t lies at the row that predicts token
 * t; the score of a response at the row of its last token.
 */
#ifndef TV_MODEL_SCORE_HEAD_H
#define TV_MODEL_SCORE_HEAD_H

#include "kernels/ppo.h"
#include "kernels/preference.h"
#include "model/loss_head.h"

typedef struct tv_value_settings {
    double clip;        /* eps_v; 0: not clipped */
    double coefficient; /* c_v */
} tv_value_settings;

enum { TV_VALUE_TARGETS, TV_VALUE_OLD_VALUES, TV_VALUE_RETURNS }; /* inputs, (B, T) each */
enum { TV_VALUE_VALUES };                                         /* output, (B, T): of every row */

/* A tv_head_maker over tv_value_settings. Statistics: enum TV_PPO_VALUE_* of kernels/ppo.h; loss_scale is 1 /
 * response tokens of the step. A forward pass reads no input and no setting (`settings` may be NULL): any
 * model with a score weight is scored so. */
tv_loss_head tv_value_head(const void *settings, uint64_t batch, uint64_t tokens);

typedef struct tv_preference_settings {
    uint64_t group_size; /* K: 2 to TV_PREFERENCE_MEMBERS; B is a multiple of it */
    uint32_t mode;       /* TV_PREFERENCE_PAIRS, _KWISE, _LISTWISE of push_constants.h */
    double center;       /* c of c (r_c + r_r)^2 */
} tv_preference_settings;

/* Inputs for G = B / K groups: members (G, K) rows or TV_IGNORED_TARGET, ranks (G, K), margins (G). */
enum { TV_SCORE_MEMBERS, TV_SCORE_RANKS, TV_SCORE_MARGINS };
enum { TV_SCORE_VALUES, TV_SCORE_STATS }; /* outputs: (B, T), and (G, TV_PREFERENCE_STATS) of each group */

/* A tv_head_maker over tv_preference_settings. Statistics: enum TV_PREFERENCE_* of kernels/preference.h;
 * loss_scale is 1 / groups of the step. */
tv_loss_head tv_preference_head(const void *settings, uint64_t batch, uint64_t tokens);

#endif
