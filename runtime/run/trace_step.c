/* The trainer recorded again for one step: see trace_step.h. */
#include "run/trace_step.h"

#include <inttypes.h>

#include "base/bytes.h"
#include "base/log.h"
#include "vk/trace.h"

enum { STEPS_BEFORE = 2 };

bool tv_trace_step_is(const tv_run *run, uint64_t step, uint64_t last) {
    return run->options->trace && step + 1 == tv_min_u64(run->first_step + STEPS_BEFORE + 1, last);
}

tv_status tv_trace_step_begin(tv_run *run) {
    TV_RETURN_IF_FAILED(tv_trainer_set_profile(run->trainer, true));
    return tv_trace_begin(run->device);
}

tv_status tv_trace_step_end(tv_run *run, uint64_t step) {
    TV_RETURN_IF_FAILED(tv_trace_end(run->device, run->options->trace));
    tv_info("%s: a trace of step %" PRIu64 ", which ui.perfetto.dev opens", run->options->trace, step + 1);
    return tv_trainer_set_profile(run->trainer, false);
}
