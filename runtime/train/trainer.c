/* Slots, replay and results: see trainer.h. */
#include "train/trainer.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"
#include "base/tokens.h"
#include "train/shared_forward.h"
#include "train/trainer_own.h"
#include "vk/marks.h"
#include "vk/trace.h"

/* Of f16, as PyTorch's GradScaler has them. */
enum { FIRST_LOSS_SCALE = 65536, LOSS_SCALE_GROWTH = 2000 };

/* ---- sizes ---- */

/* Of a slot: the batch and the constants. */
static uint64_t upload_bytes(const tv_trainer_layout *layout) {
    return tv_trainer_layout_upload_offset(layout, TV_UPLOAD_COUNT) * sizeof(uint32_t) + TV_TENSOR_ALIGNMENT;
}

/* Of a slot: the outputs of a forward pass and the results of a step. */
static uint64_t readback_bytes(const tv_trainer_layout *layout) {
    return tv_trainer_layout_output_offset(layout, TV_HEAD_TENSORS) * sizeof(float) + TV_TENSOR_ALIGNMENT;
}

static tv_activations_options activations_options(const tv_trainer_options *options, const tv_caps *caps) {
    return (tv_activations_options){.batch = options->batch,
                                    .tokens = options->tokens,
                                    .dtype = tv_tier_dtype(caps->tier),
                                    .backward = options->train,
                                    .recompute = options->recompute,
                                    .head_rows = options->head_rows,
                                    .shared = options->shared};
}

/* Of this process. */
static uint64_t own_groups(const tv_trainer_options *options) {
    return tv_max_u64(1, options->groups) / tv_ranks_count(options->ranks);
}

static uint64_t context_of(const tv_trainer_options *options) {
    return tv_max_u64(options->tokens, options->context);
}

tv_status tv_trainer_measure(const tv_parameter_list *given, const tv_caps *caps,
                             const tv_trainer_options *options, tv_trainer_bytes *bytes) {
    *bytes = (tv_trainer_bytes){0};
    tv_parameter_list own = *given, *list = &own;
    if (options->train && options->ranks)
        own.owners = (tv_owners){tv_ranks_own(options->ranks), tv_ranks_count(options->ranks)};
    tv_status status;
    tv_memory_plan plan = {0};
    tv_activations *activations = NULL;
    tv_activations_options planned = activations_options(options, caps);
    tv_trainer_layout layout = tv_trainer_layout_make(list, options);
    TV_TRY(tv_model_measure(list, caps, options->train, &bytes->model));
    TV_TRY(tv_activations_create(NULL, caps, list, &planned, &activations));
    TV_TRY(tv_trainer_layout_plan(&layout, caps, &plan));
    bytes->shared = options->shared != NULL;
    bytes->activations = bytes->shared ? 0 : activations->bytes;
    bytes->sums = options->train && options->groups > 1 ? bytes->model.sums : 0;
    if (options->train && options->group_type == TV_BF16)
        bytes->errors = tv_model_error_bytes(&bytes->model, own_groups(options));
    if (options->train && options->ranks)
        TV_TRY(tv_exchange_measure(list, options->group_type, &bytes->exchange));
    bytes->tables = tv_model_table_bytes(&list->config, context_of(options));
    bytes->muon = tv_trainer_layout_muon_bytes(&layout);
    bytes->buffers =
        plan.total_bytes - bytes->muon + TV_TRAINER_SLOTS * (upload_bytes(&layout) + readback_bytes(&layout));
    bytes->total = bytes->model.parameters + bytes->model.masters + bytes->model.gradients + bytes->sums +
                   bytes->errors + bytes->exchange + bytes->model.moments + bytes->tables +
                   bytes->activations + bytes->buffers + bytes->muon;
done:
    tv_memory_plan_free(&plan);
    tv_activations_destroy(&activations);
    return status;
}

void tv_trainer_bytes_set_shared(tv_trainer_bytes *bytes, uint64_t activations) {
    bytes->total += activations - bytes->activations;
    bytes->activations = activations;
}

void tv_trainer_bytes_add(tv_trainer_bytes *bytes, const char *name, uint64_t more) {
    if (more == 0 || bytes->more_count == TV_MORE_BYTES)
        return;
    bytes->more[bytes->more_count].name = name;
    bytes->more[bytes->more_count++].bytes = more;
    bytes->total += more;
}

/* ---- life ---- */

static tv_status create_buffers(tv_trainer *trainer) {
    const tv_trainer_options *options = &trainer->options;
    tv_memory_plan plan = {0};
    TV_RETURN_IF_FAILED(tv_trainer_layout_plan(&trainer->layout, tv_device_caps(trainer->device), &plan));
    tv_status status =
        tv_device_arena_create(trainer->device, &plan, TV_MEMORY_DEVICE, "step", &trainer->arena);
    tv_memory_plan_free(&plan);
    TV_RETURN_IF_FAILED(status);
    uint64_t up = upload_bytes(&trainer->layout), back = readback_bytes(&trainer->layout);
    TV_RETURN_IF_FAILED(tv_buffer_create(trainer->device, TV_TRAINER_SLOTS * up, TV_MEMORY_UPLOAD, "batches",
                                         &trainer->upload));
    TV_RETURN_IF_FAILED(tv_buffer_create(trainer->device, TV_TRAINER_SLOTS * back, TV_MEMORY_READBACK,
                                         "results", &trainer->readback));
    for (uint64_t s = 0; s < TV_TRAINER_SLOTS; s++) {
        tv_span upload = tv_span_part(tv_buffer_span(trainer->upload), s * up, up);
        tv_span readback = tv_span_part(tv_buffer_span(trainer->readback), s * back, back);
        trainer->batches[s].upload = tv_span_part(upload, 0, up - TV_TENSOR_ALIGNMENT);
        trainer->batches[s].outputs = tv_span_part(readback, 0, back - TV_TENSOR_ALIGNMENT);
        trainer->steps[s].constants =
            tv_span_part(upload, up - TV_TENSOR_ALIGNMENT, sizeof(struct tv_step_constants));
        trainer->steps[s].results =
            tv_span_part(readback, back - TV_TENSOR_ALIGNMENT, sizeof(tv_step_results));
    }
    for (uint32_t w = 0; w < trainer->layout.count; w++)
        trainer->tensors[w] = tv_trainer_layout_tensors(&trainer->layout, w, trainer->arena);
    uint64_t words = tv_trainer_layout_upload_offset(&trainer->layout, TV_UPLOAD_COUNT);
    trainer->host_words = calloc(options->grad_accum * words, sizeof *trainer->host_words);
    trainer->host_widths = calloc(options->grad_accum, sizeof *trainer->host_widths);
    return trainer->host_words && trainer->host_widths
               ? TV_OK
               : tv_fail(TV_E_MEMORY, "out of host memory for a batch");
}

/* The table stays on the device for the trainer's life. */
static tv_status plan_update(tv_trainer *trainer) {
    TV_RETURN_IF_FAILED(tv_step_plan(trainer->model, &trainer->plan));
    uint64_t bytes = trainer->plan->segment_count * sizeof *trainer->plan->table;
    for (uint32_t w = 0; w < trainer->layout.count; w++)
        trainer->tensors[w].plan = trainer->plan;
    if (bytes == 0)
        return TV_OK;
    return tv_upload(trainer->device, tv_span_part(trainer->tensors[0].table.span, 0, bytes),
                     trainer->plan->table, bytes);
}

static tv_status create_exchange(tv_trainer *trainer) {
    const tv_step_tensors *tensors = &trainer->tensors[0];
    return tv_exchange_create(trainer->options.ranks, trainer->model,
                              &(tv_exchange_tensors){tensors->head.stats, tensors->stat_sums,
                                                     tensors->partials, tv_trainer_rounding(trainer)},
                              &trainer->exchange);
}

static tv_status check_groups(const tv_trainer *trainer) {
    const uint64_t groups = trainer->options.groups;
    const tv_parameter_list *list = tv_model_list(trainer->model);
    const uint32_t ranks = tv_ranks_count(trainer->options.ranks);
    if (trainer->options.grad_accum % groups)
        return tv_fail(TV_E_USAGE, "%llu micro-batches are no multiple of %llu groups",
                       (unsigned long long)trainer->options.grad_accum, (unsigned long long)groups);
    if (trainer->options.group_type != TV_F32 && (groups < 2 || trainer->options.group_type != TV_BF16))
        return tv_fail(TV_E_USAGE, "%llu groups of %s: several are rounded, to bf16",
                       (unsigned long long)groups, tv_dtype_name(trainer->options.group_type));
    if (trainer->options.train && groups % ranks)
        return tv_fail(TV_E_USAGE, "%llu groups are no multiple of %u ranks", (unsigned long long)groups,
                       ranks);
    if (trainer->options.train &&
        (tv_owners_count(list) != ranks || list->owners.own != tv_ranks_own(trainer->options.ranks)))
        return tv_fail(TV_E_USAGE, "a model of owner %u of %u cannot be trained by rank %u of %u",
                       list->owners.own, tv_owners_count(list), tv_ranks_own(trainer->options.ranks), ranks);
    return TV_OK;
}

tv_status tv_trainer_prepare(tv_model *model, const tv_trainer_options *options) {
    return options->train && options->group_type == TV_BF16 ? tv_model_keep_errors(model, options->groups)
                                                            : TV_OK;
}

static tv_status keep_errors(tv_trainer *trainer) {
    const uint64_t count = own_groups(&trainer->options);
    TV_RETURN_IF_FAILED(tv_trainer_prepare(trainer->model, &trainer->options));
    if (count == 1 || !tv_model_error_groups(trainer->model))
        return TV_OK;
    trainer->bring = calloc(count, sizeof(tv_recording *));
    trainer->keep = calloc(count, sizeof(tv_recording *));
    if (!trainer->bring || !trainer->keep)
        return tv_fail(TV_E_MEMORY, "out of host memory for a trainer");
    trainer->several = count;
    return TV_OK;
}

tv_status tv_trainer_create(tv_model *model, const tv_trainer_options *options, tv_trainer **out) {
    *out = NULL;
    tv_status status;
    tv_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer)
        return tv_fail(TV_E_MEMORY, "out of host memory for a trainer");
    trainer->model = model;
    trainer->device = tv_model_device(model);
    trainer->options = *options;
    trainer->options.grad_accum = tv_max_u64(1, options->grad_accum);
    trainer->options.groups = tv_max_u64(1, options->groups);
    TV_TRY_OR_FAIL(check_groups(trainer));
    if (options->train && trainer->options.groups > 1)
        TV_TRY_OR_FAIL(tv_model_keep_sums(model));
    if (options->train && options->group_type == TV_BF16)
        TV_TRY_OR_FAIL(keep_errors(trainer));
    if (!(trainer->options.loss_scale > 0) &&
        tv_tier_dtype(tv_device_caps(trainer->device)->tier) == TV_F16) {
        trainer->options.loss_scale = FIRST_LOSS_SCALE;
        trainer->options.loss_scale_growth = LOSS_SCALE_GROWTH;
    }
    trainer->scaling = options->scaled_as ? options->scaled_as : trainer;
    trainer->layout = tv_trainer_layout_make(tv_model_list(model), &trainer->options);
    tv_activations_options planned = activations_options(options, tv_device_caps(trainer->device));
    TV_TRY_OR_FAIL(tv_model_need_context(model, context_of(options)));
    TV_TRY_OR_FAIL(tv_activations_create(trainer->device, tv_device_caps(trainer->device),
                                         tv_model_list(model), &planned, &trainer->activations));
    TV_TRY_OR_FAIL(create_buffers(trainer));
    if (options->train) {
        TV_TRY_OR_FAIL(plan_update(trainer));
        TV_TRY_OR_FAIL(tv_trainer_set_state(trainer, &(struct tv_update_state){0}));
    }
    if (options->train && options->ranks)
        TV_TRY_OR_FAIL(create_exchange(trainer));
    TV_TRY_OR_FAIL(tv_trainer_record_all(trainer));
    if (trainer->exchange) /* masters were loaded */
        TV_TRY_OR_FAIL(tv_exchange_weights(trainer->exchange));
    tv_device_save_pipelines(trainer->device);
    *out = trainer;
    return TV_OK;
fail:
    tv_trainer_destroy(&trainer);
    return status;
}

uint64_t tv_trainer_head_rows(const tv_trainer *trainer) {
    return trainer->activations->head_rows;
}

void tv_trainer_destroy(tv_trainer **handle) {
    if (!handle || !*handle)
        return;
    tv_trainer *trainer = *handle;
    for (int s = 0; s < TV_TRAINER_SLOTS; s++) {
        for (uint32_t w = 0; w < TV_TRAINER_WIDTHS; w++) {
            tv_recording_destroy(&trainer->batches[s].train[w]);
            tv_recording_destroy(&trainer->batches[s].last[w]);
            tv_recording_destroy(&trainer->batches[s].forward[w]);
        }
        tv_recording_destroy(&trainer->steps[s].begin);
        tv_recording_destroy(&trainer->steps[s].update);
        tv_recording_destroy(&trainer->steps[s].results_copy);
    }
    for (uint64_t n = 0; n < trainer->several; n++) {
        tv_recording_destroy(&trainer->bring[n]);
        tv_recording_destroy(&trainer->keep[n]);
    }
    free(trainer->bring);
    free(trainer->keep);
    tv_recording_destroy(&trainer->group);
    tv_recording_destroy(&trainer->norm);
    tv_exchange_destroy(&trainer->exchange);
    tv_buffer_destroy(&trainer->upload);
    tv_buffer_destroy(&trainer->readback);
    tv_device_arena_destroy(&trainer->arena);
    tv_activations_destroy(&trainer->activations);
    tv_update_plan_destroy(&trainer->plan);
    free(trainer->host_words);
    free(trainer->host_widths);
    free(trainer);
    *handle = NULL;
}

tv_status tv_trainer_set_state(tv_trainer *trainer, const struct tv_update_state *state) {
    const tv_trainer_options *options = &trainer->options;
    struct tv_update_state own = *state;
    own.finite = 1; /* errors of an update that was skipped are not handed on */
    if (options->loss_scale_growth == 0 || !(own.loss_scale > 0)) {
        own.loss_scale = options->loss_scale;
        own.good_steps = 0;
    }
    return tv_upload(trainer->device, trainer->tensors[0].state.span, &own, sizeof own);
}

/* ---- steps ---- */

/* A micro-batch of the full width as it lies in `words`, the host's copy or a slot's upload. */
static tv_micro_batch view_batch(const tv_trainer *trainer, uint32_t *words) {
    const tv_trainer_layout *layout = &trainer->layout;
    tv_micro_batch batch = {.widths = layout->widths,
                            .rows_at = layout->rows,
                            .rows = trainer->options.batch,
                            .width = trainer->options.tokens,
                            .terms = TV_TERMS_ARE_TARGETS,
                            .used = TV_TERMS_ARE_TARGETS};
    uint32_t *parts[TV_UPLOAD_COUNT];
    for (uint32_t i = 0; i < TV_UPLOAD_COUNT; i++)
        parts[i] = tv_trainer_layout_upload_words(layout, layout->count - 1, i)
                       ? words + tv_trainer_layout_upload_offset(layout, i)
                       : NULL;
    batch.tokens = parts[TV_UPLOAD_TOKENS];
    batch.positions = parts[TV_UPLOAD_POSITIONS];
    batch.doc_start = parts[TV_UPLOAD_DOC_START];
    for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++)
        batch.inputs[i] = parts[TV_UPLOAD_INPUTS + i];
    batch.targets = parts[TV_UPLOAD_INPUTS];
    return batch;
}

void tv_micro_batch_narrow(tv_micro_batch *batch, uint64_t longest) {
    uint32_t which = 0;
    while (batch->widths[which] < longest && batch->widths[which] < batch->width)
        which++;
    batch->width = batch->widths[which];
    batch->rows = batch->rows_at[which];
}

static uint32_t *host_batch(const tv_trainer *trainer, uint64_t number) {
    return trainer->host_words + number * tv_trainer_layout_upload_offset(&trainer->layout, TV_UPLOAD_COUNT);
}

/* Lets the source fill host batch `number`. */
static tv_status draw_batch(tv_trainer *trainer, uint64_t number, tv_batch_source source, void *context,
                            tv_micro_batch *batch) {
    double begin = tv_mark_begin(trainer->device);
    *batch = view_batch(trainer, host_batch(trainer, number));
    TV_RETURN_IF_FAILED(source(context, batch));
    tv_mark_end(trainer->device, begin, "host", "draw a batch");
    uint32_t width = 0;
    while (trainer->layout.widths[width] < batch->width)
        width++;
    trainer->host_widths[number] = width;
    return TV_OK;
}

static uint64_t terms_of(const tv_micro_batch *batch) {
    if (batch->terms != TV_TERMS_ARE_TARGETS || !batch->targets)
        return batch->terms;
    uint64_t valid = 0;
    for (uint64_t i = 0; i < batch->rows * batch->width; i++)
        valid += batch->targets[i] != TV_IGNORED_TARGET;
    return valid;
}

static tv_status wait_for_step(tv_trainer *trainer, tv_step_slot *step) {
    TV_RETURN_IF_FAILED(tv_wait(trainer->device, step->value));
    if (step->finished == 0)
        step->finished = tv_seconds();
    return TV_OK;
}

/* Waits for the next batch slot and copies filled host batch `number` into it. A step that ends before the
 * slot is free ends now, not when its result is read. */
static tv_status load_batch(tv_trainer *trainer, uint64_t number, tv_batch_slot **out) {
    tv_batch_slot *slot = &trainer->batches[trainer->batch_number++ % TV_TRAINER_SLOTS];
    for (uint64_t i = trainer->result_number; i < trainer->step_number; i++)
        if (trainer->steps[i % TV_TRAINER_SLOTS].value < slot->value)
            TV_RETURN_IF_FAILED(wait_for_step(trainer, &trainer->steps[i % TV_TRAINER_SLOTS]));
    TV_RETURN_IF_FAILED(tv_wait(trainer->device, slot->value));
    for (uint32_t w = 0; w < trainer->layout.count; w++) {
        TV_RETURN_IF_FAILED(tv_trace_collect(slot->train[w]));
        TV_RETURN_IF_FAILED(tv_trace_collect(slot->last[w]));
        TV_RETURN_IF_FAILED(tv_trace_collect(slot->forward[w]));
    }
    double begin = tv_mark_begin(trainer->device);
    memcpy(tv_span_map(slot->upload), host_batch(trainer, number), slot->upload.bytes);
    slot->width = trainer->host_widths[number];
    tv_mark_end(trainer->device, begin, "host", "hand a batch over");
    *out = slot;
    return TV_OK;
}

static tv_status read_result(tv_trainer *trainer, tv_step_slot *slot, tv_step_result *result) {
    TV_RETURN_IF_FAILED(wait_for_step(trainer, slot));
    TV_RETURN_IF_FAILED(tv_trace_collect(slot->begin));
    TV_RETURN_IF_FAILED(tv_trace_collect(slot->update));
    TV_RETURN_IF_FAILED(tv_trace_collect(slot->results_copy));
    const tv_step_results *results = tv_span_map(slot->results);
    *result = (tv_step_result){
        .number = slot->number, .lr = slot->lr, .terms = slot->terms, .tokens = slot->tokens};
    result->state = results->state;
    for (int i = 0; i < TV_HEAD_STATS; i++)
        result->stats[i] = (double)results->stats[i];
    result->loss = slot->terms ? result->stats[0] / (double)slot->terms : 0;
    result->grad_norm = result->state.grad_norm;
    result->waited_for = slot->wait.rank;
    result->wait_seconds = slot->wait.seconds;
    result->seconds = slot->finished - trainer->last_end;
    trainer->last_end = slot->finished;
    trainer->result_number++;
    slot->pending = false;
    return trainer->tuned ? TV_OK : tv_trainer_tune(trainer, tv_trainer_micro_batch_recording(trainer));
}

tv_status tv_trainer_drain(tv_trainer *trainer, tv_step_result *result, bool *has_result) {
    tv_step_slot *slot = &trainer->steps[trainer->result_number % TV_TRAINER_SLOTS];
    *has_result = slot->pending;
    return slot->pending ? read_result(trainer, slot, result) : TV_OK;
}

/* Forward and backward of the micro-batches of group `number`, which then goes into the sums, where there are
 * any. */
static tv_status submit_group(tv_trainer *trainer, uint64_t number) {
    const uint64_t count = trainer->options.grad_accum / trainer->options.groups;
    const uint64_t nth = number / tv_ranks_count(trainer->options.ranks);
    const tv_recording *last = NULL;
    uint64_t value;
    if (trainer->several)
        TV_RETURN_IF_FAILED(tv_submit(trainer->device, &trainer->bring[nth], 1, &value));
    for (uint64_t i = 0; i < count; i++) {
        tv_batch_slot *slot;
        TV_RETURN_IF_FAILED(load_batch(trainer, number * count + i, &slot));
        const bool ends = i + 1 == count, gives = ends && trainer->exchange;
        tv_recording *const work[] = {gives ? slot->last[slot->width] : slot->train[slot->width],
                                      trainer->group};
        TV_RETURN_IF_FAILED(tv_submit(trainer->device, work, ends && trainer->group ? 2 : 1, &slot->value));
        last = work[0];
    }
    if (trainer->exchange)
        TV_RETURN_IF_FAILED(tv_exchange_round(trainer->exchange, last, &value));
    return trainer->several ? tv_submit(trainer->device, &trainer->keep[nth], 1, &value) : TV_OK;
}

/* Behind the gradients of all groups. */
static tv_status submit_update(tv_trainer *trainer, tv_step_slot *step) {
    tv_recording *const last[] = {step->update, step->results_copy};
    if (!trainer->exchange)
        return tv_submit(trainer->device, last, 2, &step->value);
    uint64_t value;
    TV_RETURN_IF_FAILED(tv_trace_collect(trainer->norm));
    TV_RETURN_IF_FAILED(tv_submit(trainer->device, &trainer->norm, 1, &value));
    TV_RETURN_IF_FAILED(tv_exchange_partials(trainer->exchange, value));
    TV_RETURN_IF_FAILED(tv_submit(trainer->device, last, 2, &step->value));
    step->wait = tv_exchange_last_wait(trainer->exchange);
    return tv_exchange_weights(trainer->exchange);
}

/* `constants` NULL: no update follows. */
static tv_status submit_step(tv_trainer *trainer, const struct tv_step_constants *constants, double scale,
                             tv_batch_source source, void *context, tv_step_result *result,
                             bool *has_result) {
    if (trainer->result_number == trainer->step_number) /* what came between was no step */
        trainer->last_end = tv_seconds();
    uint64_t terms = 0, tokens = 0;
    for (uint64_t i = 0; i < trainer->options.grad_accum; i++) {
        tv_micro_batch batch;
        TV_RETURN_IF_FAILED(draw_batch(trainer, i, source, context, &batch));
        uint64_t own = terms_of(&batch);
        terms += own;
        tokens += batch.used == TV_TERMS_ARE_TARGETS ? own : batch.used;
    }
    /* The exchange waits for the device anyway, so that a step has ended before the next one is exchanged. */
    for (uint64_t i = trainer->result_number; trainer->exchange && i < trainer->step_number; i++)
        TV_RETURN_IF_FAILED(wait_for_step(trainer, &trainer->steps[i % TV_TRAINER_SLOTS]));
    tv_step_slot *step = &trainer->steps[trainer->step_number % TV_TRAINER_SLOTS];
    if (step->pending) {
        TV_RETURN_IF_FAILED(read_result(trainer, step, result));
        *has_result = true;
    }
    struct tv_step_constants *mapped = tv_span_map(step->constants);
    *mapped = constants ? *constants : (struct tv_step_constants){0};
    mapped->loss_scale = terms ? (float)(scale / (double)terms) : 0;
    mapped->loss_scale_growth = trainer->options.loss_scale_growth;
    uint64_t value;
    TV_RETURN_IF_FAILED(tv_submit(trainer->device, &step->begin, 1, &value));
    const uint64_t ranks = tv_ranks_count(trainer->options.ranks);
    for (uint64_t g = tv_ranks_own(trainer->options.ranks); g < trainer->options.groups; g += ranks)
        TV_RETURN_IF_FAILED(submit_group(trainer, g));
    TV_RETURN_IF_FAILED(constants ? submit_update(trainer, step)
                                  : tv_submit(trainer->device, &step->results_copy, 1, &step->value));
    step->pending = true;
    step->finished = 0;
    step->number = trainer->step_number++;
    step->terms = terms;
    step->tokens = tokens;
    step->lr = constants ? (double)constants->lr : 0;
    return TV_OK;
}

/* The activations are free for the next user when the step is submitted: its work runs behind this. */
static tv_status borrow_and_submit(tv_trainer *trainer, const struct tv_step_constants *constants,
                                   double scale, tv_batch_source source, void *context,
                                   tv_step_result *result, bool *has_result) {
    *has_result = false;
    TV_RETURN_IF_FAILED(tv_activations_borrow(trainer->activations, trainer->options.stage));
    tv_status status = submit_step(trainer, constants, scale, source, context, result, has_result);
    tv_activations_return(trainer->activations);
    return status;
}

tv_status tv_trainer_step(tv_trainer *trainer, const struct tv_step_constants *constants,
                          tv_batch_source source, void *context, tv_step_result *result, bool *has_result) {
    return borrow_and_submit(trainer, constants, 1, source, context, result, has_result);
}

tv_status tv_trainer_accumulate(tv_trainer *trainer, double scale, tv_batch_source source, void *context,
                                tv_step_result *result, bool *has_result) {
    return borrow_and_submit(trainer, NULL, scale, source, context, result, has_result);
}

/* ---- forward passes ---- */

static tv_status read_outputs(tv_trainer *trainer, tv_batch_slot *slot, tv_outputs_visitor visit,
                              void *context) {
    TV_RETURN_IF_FAILED(tv_wait(trainer->device, slot->value));
    const float *back = tv_span_map(slot->outputs);
    const float *outputs[TV_HEAD_TENSORS] = {0};
    for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++)
        if (trainer->layout.heads[slot->width].output_words[i])
            outputs[i] = back + tv_trainer_layout_output_offset(&trainer->layout, i);
    tv_micro_batch batch = view_batch(trainer, tv_span_map(slot->upload));
    batch.rows = trainer->layout.rows[slot->width];
    batch.width = trainer->layout.widths[slot->width];
    return visit(context, &batch, outputs);
}

static tv_status forward_all(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                             tv_outputs_visitor visit, void *visit_context) {
    tv_batch_slot *before = NULL;
    for (uint64_t i = 0; i < batches; i++) {
        tv_micro_batch batch;
        TV_RETURN_IF_FAILED(draw_batch(trainer, 0, source, context, &batch));
        if (batch.end)
            break;
        tv_batch_slot *slot;
        TV_RETURN_IF_FAILED(load_batch(trainer, 0, &slot));
        TV_RETURN_IF_FAILED(tv_submit(trainer->device, &slot->forward[slot->width], 1, &slot->value));
        if (before)
            TV_RETURN_IF_FAILED(read_outputs(trainer, before, visit, visit_context));
        if (before && !trainer->tuned)
            TV_RETURN_IF_FAILED(tv_trainer_tune(trainer, before->forward[before->width]));
        before = slot;
    }
    return before ? read_outputs(trainer, before, visit, visit_context) : TV_OK;
}

tv_status tv_trainer_forward_alone(tv_trainer *trainer, uint64_t batches, tv_batch_source source,
                                   void *context, tv_outputs_visitor visit, void *visit_context) {
    TV_RETURN_IF_FAILED(tv_activations_borrow(trainer->activations, trainer->options.stage));
    tv_status status = forward_all(trainer, batches, source, context, visit, visit_context);
    tv_activations_return(trainer->activations);
    return status;
}

tv_status tv_trainer_forward(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                             tv_outputs_visitor visit, void *visit_context) {
    if (tv_ranks_count(trainer->options.ranks) == 1)
        return tv_trainer_forward_alone(trainer, batches, source, context, visit, visit_context);
    const tv_forward_share share = {trainer->options.ranks, trainer, &trainer->layout,
                                    tv_trainer_forward_alone};
    return tv_shared_forward(&share, batches, source, context, visit, visit_context);
}

typedef struct evaluation {
    tv_losses_visitor visit;
    void *context;
    double loss_sum;
    uint64_t targets;
} evaluation;

static tv_status add_losses(void *context, const tv_micro_batch *batch,
                            const float *const outputs[TV_HEAD_TENSORS]) {
    evaluation *eval = context;
    uint64_t count = batch->rows * batch->width;
    for (uint64_t i = 0; i < count; i++) {
        if (batch->targets[i] == TV_IGNORED_TARGET)
            continue;
        eval->loss_sum += (double)outputs[0][i];
        eval->targets++;
    }
    return eval->visit ? eval->visit(eval->context, outputs[0], batch->targets, count) : TV_OK;
}

tv_status tv_trainer_evaluate(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                              tv_losses_visitor visit, void *visit_context, double *loss_sum,
                              uint64_t *targets) {
    evaluation eval = {.visit = visit, .context = visit_context};
    TV_RETURN_IF_FAILED(tv_trainer_forward(trainer, batches, source, context, add_losses, &eval));
    *loss_sum = eval.loss_sum;
    *targets = eval.targets;
    return TV_OK;
}

tv_recording *tv_trainer_micro_batch_recording(tv_trainer *trainer) {
    const tv_batch_slot *slot = &trainer->batches[0];
    const uint32_t width = slot->value ? slot->width : trainer->layout.count - 1;
    return slot->train[width] ? slot->train[width] : slot->last[width];
}

tv_recording *tv_trainer_update_recording(tv_trainer *trainer) {
    return trainer->steps[0].update;
}
