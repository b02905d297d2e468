/* Slots, replay and results: see trainer.h. */
#include "train/trainer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/os.h"
#include "kernels/classifier.h"
#include "train/step.h"
#include "vk/submit.h"
#include "vk/timestamps.h"

enum { SLOTS = 2 };

/* A submission that long kernels of desktop drivers survive, with room for a wrong guess. */
static const double submission_seconds = 0.08;

typedef struct batch_slot {
    tv_span upload; /* tokens, targets, doc_start, as they lie in `batch` on the device */
    tv_span losses; /* readback of evaluation: (B, T) fp32 */
    tv_recording *train, *evaluate;
    uint64_t value; /* timeline of its last use */
} batch_slot;

typedef struct step_slot {
    tv_span constants; /* upload */
    tv_span results;   /* readback: struct tv_update_state, then the loss sum */
    tv_recording *begin, *update;
    uint64_t value;
    /* What the host knows of the step in the slot. */
    bool pending;
    uint64_t number, targets;
    double lr;
} step_slot;

/* Everything that is neither model nor activations, in one plan. */
enum {
    PART_TOKENS,
    PART_TARGETS,
    PART_DOC_START,
    PART_CONSTANTS,
    PART_STATE,
    PART_LOSS_SUM,
    PART_PARTIALS,
    PART_COUNT
};

struct tv_trainer {
    tv_model *model;
    tv_device *device;
    tv_trainer_options options;
    tv_activations *activations;
    tv_plan_item parts[PART_COUNT];
    tv_device_arena *arena;
    tv_buffer *upload, *readback;
    tv_step_tensors tensors;
    batch_slot batches[SLOTS];
    step_slot steps[SLOTS];
    uint32_t *host_words; /* grad_accum micro-batches */
    uint64_t batch_number, step_number, result_number;
    double last_result_seconds;
    double flop_budget;
    bool tuned;
};

/* ---- sizes ---- */

static uint64_t words_of_batch(const tv_trainer_options *options) {
    uint64_t part = tv_align_up(options->batch * options->tokens * sizeof(uint32_t), TV_TENSOR_ALIGNMENT);
    return part / sizeof(uint32_t);
}

static uint32_t parts_of_batch(const tv_trainer_options *options) {
    return options->document_mask ? 3 : 2;
}

static tv_status plan_parts(const tv_parameter_list *list, const tv_caps *caps,
                            const tv_trainer_options *options, tv_plan_item *parts, tv_memory_plan *plan) {
    uint64_t batch_bytes = words_of_batch(options) * sizeof(uint32_t);
    const uint64_t bytes[PART_COUNT] = {
        [PART_TOKENS] = batch_bytes,
        [PART_TARGETS] = batch_bytes,
        [PART_DOC_START] = options->document_mask ? batch_bytes : 4,
        [PART_CONSTANTS] = sizeof(struct tv_step_constants),
        [PART_STATE] = sizeof(struct tv_update_state),
        [PART_LOSS_SUM] = sizeof(float),
        [PART_PARTIALS] = options->train ? tv_step_partials(list) * sizeof(float) : 4,
    };
    for (int i = 0; i < PART_COUNT; i++)
        parts[i] = (tv_plan_item){.bytes = bytes[i]};
    return tv_memory_plan_sequence(parts, PART_COUNT, caps->buffer_bytes, plan);
}

/* Of a slot: the batch and the constants. */
static uint64_t upload_bytes(const tv_trainer_options *options) {
    return parts_of_batch(options) * words_of_batch(options) * sizeof(uint32_t) + TV_TENSOR_ALIGNMENT;
}

/* Of a slot: the losses of an evaluation and the results of a step. */
static uint64_t readback_bytes(const tv_trainer_options *options) {
    return words_of_batch(options) * sizeof(float) + TV_TENSOR_ALIGNMENT;
}

static tv_activations_options activations_options(const tv_trainer_options *options) {
    return (tv_activations_options){.batch = options->batch,
                                    .tokens = options->tokens,
                                    .backward = options->train,
                                    .recompute = options->recompute};
}

tv_status tv_trainer_measure(const tv_parameter_list *list, const tv_caps *caps,
                             const tv_trainer_options *options, tv_trainer_bytes *bytes) {
    *bytes = (tv_trainer_bytes){0};
    tv_status status;
    tv_memory_plan plan = {0};
    tv_activations *activations = NULL;
    tv_plan_item parts[PART_COUNT];
    tv_activations_options planned = activations_options(options);
    TV_TRY(tv_model_measure(list, caps, options->train, &bytes->model));
    TV_TRY(tv_activations_create(NULL, caps, &list->config, &planned, &activations));
    TV_TRY(plan_parts(list, caps, options, parts, &plan));
    bytes->activations = activations->bytes;
    bytes->buffers = plan.total_bytes + SLOTS * (upload_bytes(options) + readback_bytes(options));
    bytes->total = bytes->model.parameters + bytes->model.gradients + bytes->model.moments +
                   bytes->model.tables + bytes->activations + bytes->buffers;
fail:
    tv_memory_plan_free(&plan);
    tv_activations_destroy(&activations);
    return status;
}

/* ---- recording ---- */

static tv_status record_batch_copy(tv_recorder *recorder, const tv_trainer *trainer, const batch_slot *slot) {
    const tv_tensor to[3] = {trainer->tensors.tokens, trainer->tensors.targets, trainer->tensors.doc_start};
    uint64_t bytes = words_of_batch(&trainer->options) * sizeof(uint32_t);
    for (uint32_t i = 0; i < parts_of_batch(&trainer->options); i++)
        TV_RETURN_IF_FAILED(
            tv_record_copy(recorder, tv_span_part(slot->upload, i * bytes, bytes), to[i].span));
    return TV_OK;
}

typedef enum recorded_work { WORK_TRAIN, WORK_EVALUATE, WORK_BEGIN, WORK_UPDATE } recorded_work;

static tv_status record_work(tv_recorder *recorder, const tv_trainer *trainer, recorded_work work,
                             const batch_slot *batch, const step_slot *step) {
    const tv_step_tensors *tensors = &trainer->tensors;
    uint64_t losses_bytes = trainer->activations->rows * sizeof(float);
    switch (work) {
    case WORK_BEGIN:
        TV_RETURN_IF_FAILED(tv_record_copy(recorder, step->constants, tensors->constants.span));
        return tv_record_fill(recorder, tensors->loss_sum.span, 0);
    case WORK_TRAIN:
        TV_RETURN_IF_FAILED(record_batch_copy(recorder, trainer, batch));
        return tv_step_record_micro_batch(recorder, trainer->model, trainer->activations, tensors);
    case WORK_EVALUATE:
        TV_RETURN_IF_FAILED(record_batch_copy(recorder, trainer, batch));
        TV_RETURN_IF_FAILED(
            tv_step_record_evaluation(recorder, trainer->model, trainer->activations, tensors));
        return tv_record_copy(recorder, tv_span_part(trainer->activations->losses.span, 0, losses_bytes),
                              tv_span_part(batch->losses, 0, losses_bytes));
    case WORK_UPDATE:
        TV_RETURN_IF_FAILED(tv_step_record_update(recorder, trainer->model, tensors));
        TV_RETURN_IF_FAILED(tv_record_copy(recorder, tensors->state.span,
                                           tv_span_part(step->results, 0, sizeof(struct tv_update_state))));
        return tv_record_copy(recorder, tensors->loss_sum.span,
                              tv_span_part(step->results, sizeof(struct tv_update_state), sizeof(float)));
    }
    return TV_OK;
}

static tv_status record(tv_trainer *trainer, recorded_work work, const batch_slot *batch,
                        const step_slot *step, tv_recording **recording) {
    static const char *const names[] = {"micro-batch", "evaluation", "begin", "update"};
    tv_recorder *recorder = NULL;
    tv_status status;
    char name[64];
    tv_recording_destroy(recording);
    snprintf(name, sizeof name, "%.40s/%s", trainer->options.stage, names[work]);
    TV_TRY(tv_recorder_begin(trainer->device,
                             &(tv_recorder_options){.name = name,
                                                    .profile = trainer->options.profile,
                                                    .flop_budget = trainer->flop_budget},
                             &recorder));
    TV_TRY(record_work(recorder, trainer, work, batch, step));
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

static tv_status record_all(tv_trainer *trainer) {
    for (int s = 0; s < SLOTS; s++) {
        batch_slot *batch = &trainer->batches[s];
        step_slot *step = &trainer->steps[s];
        TV_RETURN_IF_FAILED(record(trainer, WORK_EVALUATE, batch, NULL, &batch->evaluate));
        if (!trainer->options.train)
            continue;
        TV_RETURN_IF_FAILED(record(trainer, WORK_TRAIN, batch, NULL, &batch->train));
        TV_RETURN_IF_FAILED(record(trainer, WORK_BEGIN, NULL, step, &step->begin));
        TV_RETURN_IF_FAILED(record(trainer, WORK_UPDATE, NULL, step, &step->update));
    }
    return TV_OK;
}

/* After the first step the device's speed is known: cut submissions by it, once. */
static tv_status tune_submissions(tv_trainer *trainer) {
    trainer->tuned = true;
    if (tv_device_caps(trainer->device)->type == TV_DEVICE_CPU)
        return TV_OK;
    tv_recording *recording = trainer->batches[0].train;
    double milliseconds;
    TV_RETURN_IF_FAILED(tv_recording_milliseconds(recording, &milliseconds));
    tv_recording_info info = tv_recording_get_info(recording);
    if (!(milliseconds > 0) || (info.submissions == 1 && milliseconds < submission_seconds * 1e3))
        return TV_OK;
    trainer->flop_budget = info.cost / (milliseconds * 1e-3) * submission_seconds;
    TV_RETURN_IF_FAILED(tv_wait_idle(trainer->device));
    return record_all(trainer);
}

/* ---- life ---- */

static tv_tensor part_tensor(const tv_trainer *trainer, uint32_t part, uint64_t bytes, tv_dtype dtype) {
    tv_span span = tv_device_arena_span(trainer->arena, &trainer->parts[part]);
    return (tv_tensor){tv_span_part(span, 0, bytes), dtype};
}

static tv_status create_buffers(tv_trainer *trainer) {
    const tv_parameter_list *list = tv_model_list(trainer->model);
    const tv_trainer_options *options = &trainer->options;
    tv_memory_plan plan = {0};
    TV_RETURN_IF_FAILED(plan_parts(list, tv_device_caps(trainer->device), options, trainer->parts, &plan));
    tv_status status =
        tv_device_arena_create(trainer->device, &plan, TV_MEMORY_DEVICE, "step", &trainer->arena);
    tv_memory_plan_free(&plan);
    TV_RETURN_IF_FAILED(status);
    uint64_t up = upload_bytes(options), back = readback_bytes(options);
    TV_RETURN_IF_FAILED(
        tv_buffer_create(trainer->device, SLOTS * up, TV_MEMORY_UPLOAD, "batches", &trainer->upload));
    TV_RETURN_IF_FAILED(
        tv_buffer_create(trainer->device, SLOTS * back, TV_MEMORY_READBACK, "results", &trainer->readback));
    for (uint64_t s = 0; s < SLOTS; s++) {
        tv_span upload = tv_span_part(tv_buffer_span(trainer->upload), s * up, up);
        tv_span readback = tv_span_part(tv_buffer_span(trainer->readback), s * back, back);
        trainer->batches[s].upload = tv_span_part(upload, 0, up - TV_TENSOR_ALIGNMENT);
        trainer->batches[s].losses = tv_span_part(readback, 0, back - TV_TENSOR_ALIGNMENT);
        trainer->steps[s].constants =
            tv_span_part(upload, up - TV_TENSOR_ALIGNMENT, sizeof(struct tv_step_constants));
        trainer->steps[s].results = tv_span_part(readback, back - TV_TENSOR_ALIGNMENT,
                                                 sizeof(struct tv_update_state) + sizeof(float));
    }
    uint64_t batch_bytes = words_of_batch(options) * sizeof(uint32_t);
    trainer->tensors = (tv_step_tensors){
        .tokens = part_tensor(trainer, PART_TOKENS, batch_bytes, TV_U32),
        .targets = part_tensor(trainer, PART_TARGETS, batch_bytes, TV_U32),
        .doc_start =
            options->document_mask ? part_tensor(trainer, PART_DOC_START, batch_bytes, TV_U32) : TV_ABSENT,
        .constants = part_tensor(trainer, PART_CONSTANTS, sizeof(struct tv_step_constants), TV_U32),
        .state = part_tensor(trainer, PART_STATE, sizeof(struct tv_update_state), TV_U32),
        .loss_sum = part_tensor(trainer, PART_LOSS_SUM, sizeof(float), TV_F32),
        .partials = part_tensor(trainer, PART_PARTIALS,
                                options->train ? tv_step_partials(list) * sizeof(float) : 4, TV_F32),
    };
    uint64_t words = options->grad_accum * parts_of_batch(options) * words_of_batch(options);
    trainer->host_words = calloc(words, sizeof *trainer->host_words);
    return trainer->host_words ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a batch");
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
    if (trainer->options.grad_accum == 0)
        trainer->options.grad_accum = 1;
    tv_activations_options planned = activations_options(options);
    TV_TRY(tv_activations_create(trainer->device, tv_device_caps(trainer->device),
                                 &tv_model_list(model)->config, &planned, &trainer->activations));
    TV_TRY(create_buffers(trainer));
    TV_TRY(record_all(trainer));
    tv_device_save_pipelines(trainer->device);
    *out = trainer;
    return TV_OK;
fail:
    tv_trainer_destroy(&trainer);
    return status;
}

void tv_trainer_destroy(tv_trainer **handle) {
    if (!handle || !*handle)
        return;
    tv_trainer *trainer = *handle;
    for (int s = 0; s < SLOTS; s++) {
        tv_recording_destroy(&trainer->batches[s].train);
        tv_recording_destroy(&trainer->batches[s].evaluate);
        tv_recording_destroy(&trainer->steps[s].begin);
        tv_recording_destroy(&trainer->steps[s].update);
    }
    tv_buffer_destroy(&trainer->upload);
    tv_buffer_destroy(&trainer->readback);
    tv_device_arena_destroy(&trainer->arena);
    tv_activations_destroy(&trainer->activations);
    free(trainer->host_words);
    free(trainer);
    *handle = NULL;
}

tv_status tv_trainer_set_state(tv_trainer *trainer, const struct tv_update_state *state) {
    return tv_upload(trainer->device, trainer->tensors.state.span, state, sizeof *state);
}

/* ---- steps ---- */

static tv_micro_batch micro_batch_at(const tv_trainer *trainer, uint64_t number) {
    uint64_t words = words_of_batch(&trainer->options);
    uint32_t *first = trainer->host_words + number * parts_of_batch(&trainer->options) * words;
    return (tv_micro_batch){
        .tokens = first,
        .targets = first + words,
        .doc_start = trainer->options.document_mask ? first + 2 * words : NULL,
    };
}

static uint64_t count_targets(const uint32_t *targets, uint64_t count) {
    uint64_t valid = 0;
    for (uint64_t i = 0; i < count; i++)
        valid += targets[i] != TV_IGNORED_TARGET;
    return valid;
}

/* Waits for the next batch slot and copies a filled micro-batch into it. */
static tv_status load_batch(tv_trainer *trainer, const tv_micro_batch *batch, batch_slot **out) {
    batch_slot *slot = &trainer->batches[trainer->batch_number++ % SLOTS];
    TV_RETURN_IF_FAILED(tv_wait(trainer->device, slot->value));
    memcpy(tv_span_map(slot->upload), batch->tokens, slot->upload.bytes);
    *out = slot;
    return TV_OK;
}

static tv_status read_result(tv_trainer *trainer, step_slot *slot, tv_step_result *result) {
    TV_RETURN_IF_FAILED(tv_wait(trainer->device, slot->value));
    const char *results = tv_span_map(slot->results);
    float loss_sum;
    double now = tv_seconds();
    *result = (tv_step_result){.number = slot->number, .lr = slot->lr, .targets = slot->targets};
    memcpy(&result->state, results, sizeof result->state);
    memcpy(&loss_sum, results + sizeof result->state, sizeof loss_sum);
    result->loss = slot->targets ? (double)loss_sum / (double)slot->targets : 0;
    result->grad_norm = result->state.grad_norm;
    result->seconds = now - trainer->last_result_seconds;
    trainer->last_result_seconds = now;
    trainer->result_number++;
    slot->pending = false;
    return trainer->tuned ? TV_OK : tune_submissions(trainer);
}

tv_status tv_trainer_drain(tv_trainer *trainer, tv_step_result *result, bool *has_result) {
    step_slot *slot = &trainer->steps[trainer->result_number % SLOTS];
    *has_result = slot->pending;
    return slot->pending ? read_result(trainer, slot, result) : TV_OK;
}

tv_status tv_trainer_step(tv_trainer *trainer, const struct tv_step_constants *constants,
                          tv_batch_source source, void *context, tv_step_result *result, bool *has_result) {
    *has_result = false;
    if (trainer->step_number == 0)
        trainer->last_result_seconds = tv_seconds();
    uint64_t targets = 0;
    for (uint64_t i = 0; i < trainer->options.grad_accum; i++) {
        tv_micro_batch batch = micro_batch_at(trainer, i);
        TV_RETURN_IF_FAILED(source(context, &batch));
        targets += count_targets(batch.targets, trainer->activations->rows);
    }
    step_slot *step = &trainer->steps[trainer->step_number % SLOTS];
    if (step->pending) {
        TV_RETURN_IF_FAILED(read_result(trainer, step, result));
        *has_result = true;
    }
    struct tv_step_constants *mapped = tv_span_map(step->constants);
    *mapped = *constants;
    mapped->loss_scale = targets ? (float)(1.0 / (double)targets) : 0;
    uint64_t value;
    TV_RETURN_IF_FAILED(tv_submit(trainer->device, &step->begin, 1, &value));
    for (uint64_t i = 0; i < trainer->options.grad_accum; i++) {
        tv_micro_batch batch = micro_batch_at(trainer, i);
        batch_slot *slot;
        TV_RETURN_IF_FAILED(load_batch(trainer, &batch, &slot));
        TV_RETURN_IF_FAILED(tv_submit(trainer->device, &slot->train, 1, &slot->value));
    }
    TV_RETURN_IF_FAILED(tv_submit(trainer->device, &step->update, 1, &step->value));
    step->pending = true;
    step->number = trainer->step_number++;
    step->targets = targets;
    step->lr = (double)constants->lr;
    return TV_OK;
}

/* ---- evaluation ---- */

typedef struct evaluation {
    tv_losses_visitor visit;
    void *context;
    double loss_sum;
    uint64_t targets;
} evaluation;

static tv_status read_losses(tv_trainer *trainer, batch_slot *slot, evaluation *eval) {
    uint64_t rows = trainer->activations->rows;
    TV_RETURN_IF_FAILED(tv_wait(trainer->device, slot->value));
    const float *losses = tv_span_map(slot->losses);
    const uint32_t *targets = (const uint32_t *)tv_span_map(slot->upload) + words_of_batch(&trainer->options);
    for (uint64_t i = 0; i < rows; i++) {
        if (targets[i] == TV_IGNORED_TARGET)
            continue;
        eval->loss_sum += (double)losses[i];
        eval->targets++;
    }
    return eval->visit ? eval->visit(eval->context, losses, targets, rows) : TV_OK;
}

tv_status tv_trainer_evaluate(tv_trainer *trainer, uint64_t batches, tv_batch_source source, void *context,
                              tv_losses_visitor visit, void *visit_context, double *loss_sum,
                              uint64_t *targets) {
    evaluation eval = {.visit = visit, .context = visit_context};
    batch_slot *before = NULL;
    for (uint64_t i = 0; i < batches; i++) {
        tv_micro_batch batch = micro_batch_at(trainer, 0);
        TV_RETURN_IF_FAILED(source(context, &batch));
        batch_slot *slot;
        TV_RETURN_IF_FAILED(load_batch(trainer, &batch, &slot));
        TV_RETURN_IF_FAILED(tv_submit(trainer->device, &slot->evaluate, 1, &slot->value));
        if (before)
            TV_RETURN_IF_FAILED(read_losses(trainer, before, &eval));
        before = slot;
    }
    if (before)
        TV_RETURN_IF_FAILED(read_losses(trainer, before, &eval));
    *loss_sum = eval.loss_sum;
    *targets = eval.targets;
    return TV_OK;
}

tv_recording *tv_trainer_micro_batch_recording(tv_trainer *trainer) {
    return trainer->batches[0].train;
}

tv_recording *tv_trainer_update_recording(tv_trainer *trainer) {
    return trainer->steps[0].update;
}
