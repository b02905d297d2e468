/* An iteration's line: see line.h. */
#include "stages/policy/line.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/files.h"
#include "run/ranks_run.h"
#include "stages/sampling.h"
#include "text/utf8.h"

enum { SAMPLES_SHOWN = 2 };

/* Prompt and response as text that JSON can hold; the caller frees it. NULL when memory is out. */
static char *sample_text(const tv_run *run, const tv_policy_rollout *rollout, uint64_t sequence) {
    const uint32_t *ids = rollout->ids + sequence * (rollout->tokens + 1);
    tv_text bytes = {0}, text = {0};
    bool ok = true;
    for (uint64_t i = 0; ok && i < rollout->items[sequence].length; i++)
        ok = tv_sampling_decode(run->tokenizer, ids[i], i == 0, &bytes) == TV_OK;
    for (uint64_t i = 0; ok && i < bytes.size;) {
        uint64_t valid = tv_utf8_valid_run(bytes.data + i, bytes.size - i);
        ok = tv_text_append(&text, bytes.data + i, valid) == TV_OK;
        i += valid;
        if (ok && i < bytes.size) {
            ok = tv_text_append(&text, "\xef\xbf\xbd", 3) == TV_OK;
            i++;
        }
    }
    ok = ok && tv_text_append(&text, "", 1) == TV_OK;
    tv_text_free(&bytes);
    if (!ok)
        tv_text_free(&text);
    return (char *)text.data;
}

bool tv_policy_line_measures(const tv_run *run) {
    return tv_run_is_due(run->settings.train.eval_every, run->state.step + 1, run->total_steps);
}

tv_status tv_policy_line_go_on(tv_run *run) {
    TV_RETURN_IF_FAILED(tv_run_check_interrupt(run));
    return run->interrupted ? tv_fail(TV_E_INTERRUPTED, "interrupted between two held-out rollouts") : TV_OK;
}

static void count_iteration(tv_run *run, const tv_policy_line *own, const tv_metrics_line *line,
                            uint64_t tokens) {
    run->state.step = line->step;
    run->state.examples += own->examples;
    run->state.tokens = line->tokens;
    run->state.loss = line->loss;
    run->session_tokens += tokens;
    run->seconds += own->seconds;
    if (line->has_val_loss && line->val_loss < run->state.best_val_loss) {
        run->state.best_val_loss = line->val_loss;
        run->state.best_step = line->step;
    }
}

tv_status tv_policy_line_write(tv_run *run, const tv_policy_rollout *rollout, const tv_policy_line *own) {
    uint64_t tokens = tv_policy_rollout_response_tokens(rollout);
    char *samples[SAMPLES_SHOWN] = {0};
    uint64_t sample_count = 0;
    for (; sample_count < SAMPLES_SHOWN && sample_count < rollout->sequences; sample_count++)
        if (!(samples[sample_count] = sample_text(run, rollout, sample_count)))
            break;
    tv_metrics_line line = {
        .stage = run->stage->name,
        .step = run->state.step + 1,
        .loss = own->loss,
        .grad_norm = own->grad_norm,
        .lr = run->last.lr,
        .tokens = run->state.tokens + tokens,
        .tokens_per_second = own->seconds > 0 ? (double)tokens / own->seconds : 0,
        .extra = own->numbers,
        .extra_count = own->number_count,
        .samples = (const char *const *)samples,
        .sample_count = sample_count,
        .warning = own->warning[0] ? own->warning : NULL,
        .has_val_loss = own->has_val_loss,
        .val_loss = own->val_loss,
        .has_wait = run->options->ranks != NULL,
    };
    tv_status status =
        tv_ranks_compare_waits(run->options->ranks, tv_ranks_waited(run->options->ranks) - run->waited,
                               &line.waited_for, &line.wait_seconds);
    if (status == TV_OK)
        status = tv_run_write_line(run, &line);
    if (status == TV_OK)
        count_iteration(run, own, &line, tokens);
    for (uint64_t i = 0; i < sample_count; i++)
        free(samples[i]);
    return status;
}

tv_status tv_policy_line_end(tv_run *run) {
    const uint64_t step = run->state.step + 1;
    char *sentence = tv_format("%s", tv_last_error());
    const tv_metrics_line line = {.stage = run->stage->name,
                                  .step = step,
                                  .loss = NAN,
                                  .grad_norm = NAN,
                                  .lr = run->last.lr,
                                  .tokens = run->state.tokens,
                                  .warning = sentence ? sentence : "numbers that are not finite"};
    (void)tv_run_write_line(run, &line);
    tv_status status = tv_fail(TV_E_NUMERIC, "iteration %" PRIu64 ": %s", step, line.warning);
    free(sentence);
    return status;
}
