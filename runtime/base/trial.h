/* Work tried in a process of its own, which may crash or hang without harm to this one: for drivers that may
 * do either.
 *
 * Promise: the work sees a copy of this process's memory in which only the calling thread lives on, and
 * changes nothing here; what it prints is dropped, and no core is dumped. After `seconds` it is killed.
 */
#ifndef TV_BASE_TRIAL_H
#define TV_BASE_TRIAL_H

typedef enum tv_trial {
    TV_TRIAL_ANSWERED, /* the work returned */
    TV_TRIAL_CRASHED,  /* a signal or a library ended it */
    TV_TRIAL_HUNG,     /* the time was up */
    TV_TRIAL_NOT_MADE, /* the system gave no process */
} tv_trial;

/* *answer is what the work returned, 0 to 63; untouched unless TV_TRIAL_ANSWERED. */
tv_trial tv_try_apart(int (*work)(void *context), void *context, double seconds, int *answer);

#endif
