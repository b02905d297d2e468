/* An iteration's line: see line.h. */
#include "stages/ppo/line.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "base/files.h"
#include "stages/sampling.h"
#include "text/utf8.h"

enum { SAMPLES_SHOWN = 2 };

/* Prompt and response as text that JSON can hold; the caller frees it. NULL when memory is out. */
static char *sample_text(const tv_run *run, const tv_ppo_rollout *rollout, uint64_t sequence) {
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

tv_status tv_ppo_line_write(tv_run *run, const tv_ppo_rollout *rollout, const tv_ppo_line *own) {
    uint64_t tokens = tv_ppo_rollout_response_tokens(rollout);
    char *samples[SAMPLES_SHOWN] = {0};
    uint64_t sample_count = 0;
    for (; sample_count < SAMPLES_SHOWN && sample_count < rollout->sequences; sample_count++)
        if (!(samples[sample_count] = sample_text(run, rollout, sample_count)))
            break;
    run->state.step++;
    run->state.examples += rollout->sequences;
    run->state.tokens += tokens;
    run->session_tokens += tokens;
    run->seconds += own->seconds;
    tv_metrics_line line = {
        .stage = run->stage->name,
        .step = run->state.step,
        .loss = own->loss,
        .grad_norm = own->grad_norm,
        .lr = run->last.lr,
        .tokens = run->state.tokens,
        .tokens_per_second = own->seconds > 0 ? (double)tokens / own->seconds : 0,
        .extra = own->numbers,
        .extra_count = own->number_count,
        .samples = (const char *const *)samples,
        .sample_count = sample_count,
        .warning = own->warning[0] ? own->warning : NULL,
    };
    run->state.loss = line.loss;
    tv_status status = TV_OK;
    if (own->evaluate && tv_run_is_due(run->settings.train.eval_every, run->state.step, run->total_steps))
        status = own->evaluate(own->context, &line);
    if (status == TV_OK)
        status = tv_run_write_line(run, &line);
    for (uint64_t i = 0; i < sample_count; i++)
        free(samples[i]);
    return status;
}

tv_status tv_ppo_line_end(tv_run *run, uint64_t step) {
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
