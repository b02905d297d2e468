/* Steps that trivium bench pipelines lays out and records: pretraining and decoding, as a run and a decoder
 * would.
 *
 * Promise: on a hollow device (vk/device.h) nothing is computed and nobody waits for a result; the host's
 * time of a step is what it takes to fill and hand over a batch, or to go on drawing.
 */
#ifndef TV_TOOLS_BENCH_RECORD_H
#define TV_TOOLS_BENCH_RECORD_H

#include "formats/directory.h"
#include "model/parameters.h"
#include "run/settings.h"

typedef struct tv_recorded_step {
    const char *name; /* "pretraining" */
    uint64_t dispatches, command_buffers, barriers;
    double record_ms, host_ms; /* to record it once; of each replay, the median. NAN: not timed */
} tv_recorded_step;

enum { TV_RECORDED_STEPS = 8 };
typedef struct tv_recorded_steps {
    tv_recorded_step rows[TV_RECORDED_STEPS];
    uint64_t count;
} tv_recorded_steps;

typedef struct tv_record_options {
    uint64_t rows; /* that are decoded side by side */
    bool timed;    /* replays steps too */
} tv_record_options;

/* Records the steps of a configuration's model (not its weights, which nobody reads) on `device`; `where`
 * names the settings in sentences. */
tv_status tv_bench_record(tv_device *device, const tv_run_settings *settings, const char *where,
                          const tv_record_options *options, tv_recorded_steps *steps);

#endif
