/* The iterations of a run: see loop.h. */
#include "stages/policy/loop.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/files.h"
#include "base/os.h"
#include "run/ranks_run.h"
#include "run/trace_step.h"
#include "vk/capture.h"
#include "vk/marks.h"

static tv_status one_iteration(tv_policy_loop *l) {
    tv_run *run = l->run;
    bool capture = run->options->capture_step == run->state.step + 1;
    if (capture)
        TV_RETURN_IF_FAILED(tv_capture_begin(run->device, l->what));
    uint64_t step = run->state.step;
    run->waited = tv_ranks_waited(run->options->ranks);
    bool trace = tv_trace_step_is(run, step, tv_run_last_step(run));
    if (trace)
        TV_RETURN_IF_FAILED(tv_trace_step_begin(run));
    double begin = tv_mark_begin(run->device);
    tv_status status = l->iterate(l->context);
    tv_mark_end(run->device, begin, "host", l->what);
    if (trace && status == TV_OK)
        status = tv_trace_step_end(run, step);
    if (capture && status == TV_OK)
        status = tv_capture_end(run->device);
    return status;
}

static tv_status say_not_finite(const tv_policy_loop *l) {
    char *sentence = tv_format("%s", tv_last_error());
    const char *what = sentence ? sentence : "numbers are not finite", *directory = l->run->options->run;
    tv_status status =
        l->good_step
            ? tv_fail(
                  TV_E_NUMERIC,
                  "%s, so nothing more is saved; %s/checkpoints/step-%" PRIu64
                  " is the last checkpoint whose numbers are finite: start again from it (--model) with %s",
                  what, directory, l->good_step, l->advice)
            : tv_fail(TV_E_NUMERIC,
                      "%s, so nothing is saved, and no checkpoint stands before it; start again with %s, and "
                      "check --model",
                      what, l->advice);
    free(sentence);
    return status;
}

/* A model that gives no finite numbers takes no checkpoint's place. */
static tv_status save_checkpoint(tv_policy_loop *l) {
    tv_status status = l->check(l->context);
    if (status == TV_E_NUMERIC)
        return say_not_finite(l);
    TV_RETURN_IF_FAILED(status);
    TV_RETURN_IF_FAILED(tv_run_save(l->run));
    l->good_step = l->run->state.step;
    return TV_OK;
}

/* What was done stays, also when a reward program dies on the way. */
static tv_status save_after_failure(tv_policy_loop *l, tv_status failure) {
    tv_run *run = l->run;
    const tv_policy_models models = l->within->models;
    if (failure == TV_E_NUMERIC)
        return say_not_finite(l);
    /* Saving is a matter of all ranks, and they do not know of what failed here alone. */
    if (failure == TV_E_DEVICE_LOST || !tv_ranks_agreed(run->options->ranks) ||
        (models != TV_POLICY_SETTLED && run->state.step == run->first_step))
        return failure;
    char *sentence = tv_format("%s", tv_last_error());
    tv_status saved = models == TV_POLICY_SETTLED     ? tv_run_save_within(run)
                      : models == TV_POLICY_UNTOUCHED ? save_checkpoint(l)
                                                      : failure;
    /* Of several ranks one says it. */
    const bool says = !sentence || sentence[0];
    char *again = tv_run_resume_command(run);
    tv_status status = !says ? tv_fail(failure, "%s", "")
                             : tv_fail(failure, "%s (%" PRIu64 " iterations%s are %s; continue with: %s)",
                                       sentence ? sentence : "failed", run->state.step,
                                       models == TV_POLICY_SETTLED ? " and the updates of the next one" : "",
                                       saved == TV_OK ? "saved" : "done and not saved",
                                       again ? again : "the same command and --resume");
    free(again);
    free(sentence);
    return status;
}

/* What the policy begins as. It is no candidate for the best checkpoint: none has it. */
static tv_status measure_beginning(tv_policy_loop *l) {
    tv_run *run = l->run;
    tv_metrics_line line = {.stage = run->stage->name};
    if (!l->measure || run->state.step > 0 || run->within || run->interrupted)
        return TV_OK;
    TV_RETURN_IF_FAILED(l->measure(l->context, &line));
    return tv_run_write_line(run, &line);
}

tv_status tv_policy_loop_run(tv_policy_loop *l) {
    tv_run *run = l->run;
    uint64_t end = tv_run_last_step(run), every = run->settings.train.checkpoint_every;
    const bool whole = run->resumed && !run->within; /* a checkpoint is of run->first_step */
    const tv_ranks_since begin = tv_ranks_now(run->options->ranks);
    tv_catch_interrupts();
    TV_RETURN_IF_FAILED(tv_run_check_interrupt(run));
    tv_status measured = measure_beginning(l);
    run->interrupted = run->interrupted || measured == TV_E_INTERRUPTED;
    if (measured != TV_OK && measured != TV_E_INTERRUPTED)
        return save_after_failure(l, measured);
    while (run->state.step < end && !run->interrupted && !run->diverged) {
        tv_status status = one_iteration(l);
        run->interrupted = status == TV_E_INTERRUPTED;
        if (run->interrupted && l->within->models == TV_POLICY_SETTLED)
            TV_RETURN_IF_FAILED(tv_run_save_within(run));
        if (run->interrupted)
            break;
        if (status != TV_OK)
            return save_after_failure(l, status);
        run->within = false;
        tv_policy_within_restart(l->within);
        /* The iteration began with what the checkpoint holds. */
        if (!l->good_step && whole)
            l->good_step = run->first_step;
        /* The best one is on disk as soon as it is known. */
        if (tv_run_is_due(every, run->state.step, run->total_steps) ||
            run->state.best_step == run->state.step)
            TV_RETURN_IF_FAILED(save_checkpoint(l));
        TV_RETURN_IF_FAILED(tv_run_check_interrupt(run));
    }
    if (run->state.step > run->first_step && !run->within)
        TV_RETURN_IF_FAILED(save_checkpoint(l));
    return tv_ranks_say_waits(run->options->ranks, begin);
}
