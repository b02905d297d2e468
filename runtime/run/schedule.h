/* The learning rate of each step.
 *
 * Promise: a pure function of the settings and the step, so that a resumed run continues it exactly.
 */
#ifndef TV_RUN_SCHEDULE_H
#define TV_RUN_SCHEDULE_H

#include "run/settings.h"

/* `step` counts from 0, `total` is the number of steps of the whole schedule. For step < warmup_steps:
 * lr * (step + 1) / warmup_steps; after that, with p = (step - warmup_steps) / (total - warmup_steps):
 * cosine min_lr + (lr - min_lr) (1 + cos(pi p)) / 2, linear min_lr + (lr - min_lr) (1 - p), constant lr, wsd
 * lr while p < 0.8 and then linear to min_lr at p = 1. Beyond `total` p stays 1. */
double tv_schedule_lr(const tv_train_settings *train, uint64_t step, uint64_t total);

#endif
