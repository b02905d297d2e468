/* Where a step's time goes: dispatches of profiling recordings, summed by kernel and shape, as a table. */
#ifndef TV_TOOLS_BENCH_PROFILE_H
#define TV_TOOLS_BENCH_PROFILE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "vk/timestamps.h"

typedef struct tv_bench_profile_row {
    char program[64], shape[64];
    double dispatches, milliseconds, flops, bytes; /* of a step */
} tv_bench_profile_row;

/* Zero-initialised it is empty. */
typedef struct tv_bench_profile {
    tv_bench_profile_row *rows;
    uint64_t count;
} tv_bench_profile;

/* `times_per_step`: how often a step does this, over the number of steps that are added. */
tv_status tv_bench_profile_add(tv_bench_profile *profile, const tv_dispatch_time *time,
                               double times_per_step);
/* Adds "kernels", all of them, the longest first; sorts the rows. False when memory is out. */
bool tv_bench_profile_add_json(tv_bench_profile *profile, cJSON *result);
/* The longest first; sorts the rows. */
void tv_bench_profile_print(tv_bench_profile *profile);
void tv_bench_profile_free(tv_bench_profile *profile);

#endif
