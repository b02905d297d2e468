/* A rollout as a file of a checkpoint that is made in the middle of an iteration's updates: what was drawn,
 * what it scored, and what the roles said of it before the first update. What follows from that is not in it:
 * targets, advantages, returns.
 *
 * Promise: reading gives what was written, bit for bit; a file that does not fit the run (other sizes, a
 * token beyond the vocabulary, a prompt that is not there, an answer longer than its row, a number of an
 * answer's token that is not finite) is TV_E_DATA with a sentence.
 */
#ifndef TV_STAGES_POLICY_ROLLOUT_FILE_H
#define TV_STAGES_POLICY_ROLLOUT_FILE_H

#include "stages/policy/rollout.h"
#include "text/prompts.h"

/* Into the directory of a checkpoint that is being written. */
tv_status tv_policy_rollout_write(const char *directory, const tv_policy_rollout *rollout);
/* Into a rollout of the sizes that it was written with. */
tv_status tv_policy_rollout_read(const char *directory, const tv_prompts *prompts, uint64_t vocab,
                                 tv_policy_rollout *rollout);

#endif
