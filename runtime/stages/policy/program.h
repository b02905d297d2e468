/* A reward program, asked about the answers of a rollout while the others are still being drawn.
 *
 * Promise: it reads the lines that it would read if it were asked at the end, in the same order, and an
 * answer is given to the question it belongs to (base/dialogue.h), so that no score depends on when it was
 * asked. A thread of its own speaks with it, from tv_reward_program_begin to tv_reward_program_scores; the
 * program has the next question as soon as it may have it, however busy the caller is. One that dies, takes
 * too long or answers anything but numbers and null is TV_E_DATA with the line it wrote, at
 * tv_reward_program_scores.
 */
#ifndef TV_STAGES_POLICY_PROGRAM_H
#define TV_STAGES_POLICY_PROGRAM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_reward_program tv_reward_program;

typedef struct tv_reward_program_options {
    const char *command; /* of the shell */
    const char *name;    /* for sentences; NULL: it is the only one */
    uint64_t batch;      /* questions in a line; 1: no list */
    double timeout;      /* seconds for an answer; 0: no limit */
    bool late;           /* a failure waits for tv_reward_program_scores, where other ranks learn of it too */
} tv_reward_program_options;

typedef struct tv_reward_question {
    uint64_t id;        /* as it stands in the line */
    const char *prompt; /* for sentences; outlives the rollout */
    const char *line;   /* copied */
    uint64_t length;
} tv_reward_question;

/* The name outlives it. */
tv_status tv_reward_program_start(const tv_reward_program_options *options, tv_reward_program **program);
/* Of a rollout, `count` questions come. */
tv_status tv_reward_program_begin(tv_reward_program *program, uint64_t count);
/* The next of them. Where one before has failed, and failures are not late, it fails as
 * tv_reward_program_scores would, and nothing is begun any more. */
tv_status tv_reward_program_ask(tv_reward_program *program, const tv_reward_question *question);
/* When all are asked: waits for the answers and writes scores (count); NaN where it answered null, that its
 * reward does not apply. TV_E_INTERRUPTED after Ctrl-C. */
tv_status tv_reward_program_scores(tv_reward_program *program, double *scores);
/* Ends without answers what was begun, if anything; nothing more is asked then. */
void tv_reward_program_abandon(tv_reward_program *program);
/* After the last rollout: TV_E_DATA when it still has something to say. */
tv_status tv_reward_program_finish(tv_reward_program *program);
void tv_reward_program_close(tv_reward_program **program);

#endif
