/* Warm-up and decay: see schedule.h. */
#include "run/schedule.h"

#include <math.h>

/* The share of the steps after the warm-up that wsd spends at the peak. */
#define WSD_STABLE 0.8

double tv_schedule_lr(const tv_train_settings *train, uint64_t step, uint64_t total) {
    uint64_t warmup = train->warmup_steps;
    if (step < warmup)
        return train->lr * (double)(step + 1) / (double)warmup;
    double p = step < total ? (double)(step - warmup) / (double)(total - warmup) : 1;
    double range = train->lr - train->min_lr;
    switch ((tv_schedule)train->schedule) {
    case TV_SCHEDULE_COSINE:
        return train->min_lr + range * (1 + cos(3.14159265358979323846 * p)) / 2;
    case TV_SCHEDULE_LINEAR:
        return train->min_lr + range * (1 - p);
    case TV_SCHEDULE_CONSTANT:
        return train->lr;
    case TV_SCHEDULE_WSD:
        return p < WSD_STABLE ? train->lr : train->min_lr + range * (1 - p) / (1 - WSD_STABLE);
    }
    return train->lr;
}
