/* Tracing one step of a run (vk/trace.h): the third of the invocation, when what happens once has happened,
 * or the last where there are fewer. That step alone is recorded for profiling. */
#ifndef TV_RUN_TRACE_STEP_H
#define TV_RUN_TRACE_STEP_H

#include "run/run.h"

/* Whether step number `step`, from 0, is the one that the options ask to trace, in an invocation that ends
 * after `last` steps. */
bool tv_trace_step_is(const tv_run *run, uint64_t step, uint64_t last);
/* No step may be in flight, neither here nor at the end. */
tv_status tv_trace_step_begin(tv_run *run);
/* Writes options->trace. */
tv_status tv_trace_step_end(tv_run *run, uint64_t step);

#endif
