/* Many texts from few rows: see rollout.h. */
#include "stages/rollout.h"

#include <stdlib.h>

#include "base/os.h"

/* Steps between two looks at the end flags: a row that ends in between costs half of them for nothing, and a
 * look costs a wait for the device. */
enum { STEPS_PER_LOOK = 4 };

static const uint64_t NO_REQUEST = UINT64_MAX;

struct tv_rollout {
    tv_decoder *decoder;
    uint64_t rows;
    uint64_t *request_of; /* (rows); NO_REQUEST: the row is free */
    tv_status (*look)(void *context);
    void *look_context;
    tv_rollout_totals totals;
};

/* Prompts side by side, for each that the rows hold with all of its answers: the last answers to one may be
 * long, and the rows of its others go on with the next prompt. */
enum { PROMPTS_AT_ONCE = 2 };

static tv_decoder_options decoder_options(const tv_rollout_options *options) {
    const uint64_t answers = tv_max_u64(options->answers, 1);
    return (tv_decoder_options){
        .rows = options->rows,
        .max_tokens = options->max_tokens,
        .prompts = tv_min_u64(options->prompts, PROMPTS_AT_ONCE * tv_div_up(options->rows, answers)),
        .prompt_tokens = options->prompt_tokens,
        .max_new = options->max_new,
        .shared = options->shared,
        .inverse_temperature = options->inverse_temperature};
}

tv_status tv_rollout_measure(const tv_parameter_list *list, const tv_caps *caps,
                             const tv_rollout_options *options, tv_decoder_bytes *bytes) {
    const tv_decoder_options decoder = decoder_options(options);
    return tv_decoder_measure(list, caps, &decoder, bytes);
}

tv_status tv_rollout_create(const tv_model *model, const tv_rollout_options *options, tv_rollout **out) {
    *out = NULL;
    tv_status status;
    const tv_decoder_options decoder = decoder_options(options);
    tv_rollout *rollout = calloc(1, sizeof *rollout);
    if (!rollout)
        return tv_fail(TV_E_MEMORY, "out of host memory for a rollout");
    rollout->rows = options->rows;
    TV_TRY_OR_FAIL(tv_decoder_create(model, &decoder, &rollout->decoder));
    tv_decoder_capture(rollout->decoder, options->capture_step);
    rollout->request_of = calloc(options->rows, sizeof *rollout->request_of);
    if (!rollout->request_of) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a rollout");
        goto fail;
    }
    *out = rollout;
    return TV_OK;
fail:
    tv_rollout_destroy(&rollout);
    return status;
}

void tv_rollout_destroy(tv_rollout **handle) {
    if (!handle || !*handle)
        return;
    tv_decoder_destroy(&(*handle)->decoder);
    free((*handle)->request_of);
    free(*handle);
    *handle = NULL;
}

/* Hands out the texts that have ended. */
static tv_status deliver(tv_rollout *rollout, tv_rollout_sink sink, void *context) {
    for (uint64_t r = 0; r < rollout->rows; r++) {
        tv_decoder_row row = tv_decoder_read(rollout->decoder, r);
        uint64_t request = rollout->request_of[r];
        if (request == NO_REQUEST || row.finished == TV_DECODE_RUNNING)
            continue;
        rollout->request_of[r] = NO_REQUEST;
        rollout->totals.texts++;
        rollout->totals.ended += row.finished == TV_DECODE_END_OF_TEXT;
        rollout->totals.prompt_tokens += row.prompt_length;
        rollout->totals.tokens += row.length - row.prompt_length;
        TV_RETURN_IF_FAILED(sink(context, request, &row));
    }
    return TV_OK;
}

/* Free rows take the next requests, as long as there is room for their prompts. */
static tv_status refill(tv_rollout *rollout, const tv_rollout_request *requests, uint64_t count,
                        uint64_t max_new, uint64_t *next) {
    bool busy = false;
    for (uint64_t r = 0; r < rollout->rows; r++)
        busy = busy || rollout->request_of[r] != NO_REQUEST;
    for (uint64_t r = 0; r < rollout->rows && *next < count; r++) {
        if (rollout->request_of[r] != NO_REQUEST)
            continue;
        const tv_rollout_request *request = &requests[*next];
        const tv_decoder_prompt prompt = {.tokens = request->tokens,
                                          .length = request->length,
                                          .max_new = max_new,
                                          .sequence = request->sequence};
        if (busy && !tv_decoder_has_room(rollout->decoder, &prompt))
            break;
        TV_RETURN_IF_FAILED(tv_decoder_fill(rollout->decoder, r, &prompt));
        rollout->request_of[r] = (*next)++;
        busy = true;
    }
    return TV_OK;
}

static tv_status run(tv_rollout *rollout, const tv_rollout_request *requests, uint64_t count,
                     uint64_t max_new, tv_rollout_sink sink, void *context) {
    uint64_t next = 0, running = 0;
    do {
        uint64_t read = tv_decoder_tokens_read(rollout->decoder),
                 shared = tv_decoder_tokens_shared(rollout->decoder);
        TV_RETURN_IF_FAILED(refill(rollout, requests, count, max_new, &next));
        TV_RETURN_IF_FAILED(tv_decoder_run(rollout->decoder, STEPS_PER_LOOK, &running));
        rollout->totals.steps += STEPS_PER_LOOK;
        rollout->totals.rows += STEPS_PER_LOOK * tv_decoder_step_rows(rollout->decoder) +
                                tv_decoder_tokens_read(rollout->decoder) - read;
        rollout->totals.shared += tv_decoder_tokens_shared(rollout->decoder) - shared;
        TV_RETURN_IF_FAILED(deliver(rollout, sink, context));
        if (rollout->look)
            TV_RETURN_IF_FAILED(rollout->look(rollout->look_context));
    } while (running > 0 || next < count);
    return TV_OK;
}

void tv_rollout_look(tv_rollout *rollout, tv_status (*look)(void *context), void *context) {
    rollout->look = look;
    rollout->look_context = context;
}

tv_status tv_rollout_run(tv_rollout *rollout, const tv_rollout_request *requests, uint64_t count,
                         const tv_decoder_settings *settings, uint64_t max_new, tv_rollout_sink sink,
                         void *context) {
    rollout->totals = (tv_rollout_totals){0};
    for (uint64_t r = 0; r < rollout->rows; r++)
        rollout->request_of[r] = NO_REQUEST;
    TV_RETURN_IF_FAILED(tv_decoder_start(rollout->decoder, NULL, 0, settings));
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(tv_decoder_check(rollout->decoder, i,
                                             &(tv_decoder_prompt){.tokens = requests[i].tokens,
                                                                  .length = requests[i].length,
                                                                  .max_new = max_new}));
    if (count == 0)
        return TV_OK;
    double start = tv_seconds();
    tv_status status = run(rollout, requests, count, max_new, sink, context);
    rollout->totals.seconds = tv_seconds() - start;
    return status;
}

tv_rollout_totals tv_rollout_totals_of(const tv_rollout *rollout) {
    return rollout->totals;
}

void tv_rollout_rates(const tv_rollout *rollout, double *tokens_per_second, double *shared) {
    const tv_rollout_totals *t = &rollout->totals;
    *tokens_per_second = t->seconds > 0 ? (double)t->tokens / t->seconds : 0;
    *shared = t->prompt_tokens > 0 ? (double)t->shared / (double)t->prompt_tokens : 0;
}
