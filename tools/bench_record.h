/* Steps that trivium bench pipelines lays out and records: pretraining, decoding and PPO, as runs make them.
 *
 * Promise: on a hollow device (vk/device.h) nothing is computed and nobody waits for a result; weights are
 * laid out and not drawn. A step is counted as it is submitted, and the host's time is that of a replay:
 * filling the batch (with zeros, so what draws batches is not in it), handing it over, submitting, reading
 * results.
 */
#ifndef TV_TOOLS_BENCH_RECORD_H
#define TV_TOOLS_BENCH_RECORD_H

#include "run/settings.h"
#include "vk/submit.h"

typedef struct tv_recorded_step {
    const char *name; /* "pretraining" */
    double dispatches, barriers, command_buffers;
    double record_ms, host_ms; /* to make and record it, once; of a step, the median */
} tv_recorded_step;

enum { TV_RECORDED_STEPS = 3 };
typedef struct tv_recorded_steps {
    tv_recorded_step rows[TV_RECORDED_STEPS];
    uint64_t count;
} tv_recorded_steps;

/* Records the steps of the model and settings of a configuration, `rows` texts side by side in the decoder;
 * `where` names the settings in sentences, which get what follows from the model. PPO has the defaults of its
 * own settings. */
tv_status tv_bench_record(tv_device *device, tv_run_settings *settings, const char *where, uint64_t rows,
                          tv_recorded_steps *steps);

#endif
