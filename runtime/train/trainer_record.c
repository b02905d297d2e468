/* What a trainer records, and records again: see trainer_own.h. */
#include "train/trainer_own.h"

#include <stddef.h>
#include <stdio.h>

#include "vk/timestamps.h"

/* A submission that long kernels of desktop drivers survive, with room for a wrong guess. */
static const double submission_seconds = 0.08;

/* ---- recording ---- */

static tv_status record_batch_copy(tv_recorder *recorder, const tv_trainer *trainer,
                                   const tv_batch_slot *slot, uint32_t width) {
    const tv_step_tensors *tensors = &trainer->tensors[width];
    for (uint32_t i = 0; i < TV_UPLOAD_COUNT; i++) {
        uint64_t bytes = tv_trainer_layout_upload_words(&trainer->layout, width, i) * sizeof(uint32_t);
        uint64_t offset = tv_trainer_layout_upload_offset(&trainer->layout, i) * sizeof(uint32_t);
        tv_tensor to = i == TV_UPLOAD_TOKENS      ? tensors->inputs.tokens
                       : i == TV_UPLOAD_POSITIONS ? tensors->inputs.positions
                       : i == TV_UPLOAD_DOC_START ? tensors->inputs.doc_start
                                                  : tensors->head.inputs[i - TV_UPLOAD_INPUTS];
        if (bytes)
            TV_RETURN_IF_FAILED(tv_record_copy(recorder, tv_span_part(slot->upload, offset, bytes), to.span));
    }
    return TV_OK;
}

static tv_status record_outputs_copy(tv_recorder *recorder, const tv_trainer *trainer,
                                     const tv_batch_slot *slot, uint32_t width) {
    for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++) {
        uint64_t bytes = trainer->layout.heads[width].output_words[i] * sizeof(float);
        uint64_t offset = tv_trainer_layout_output_offset(&trainer->layout, i) * sizeof(float);
        if (bytes)
            TV_RETURN_IF_FAILED(tv_record_copy(recorder, trainer->tensors[width].head.outputs[i].span,
                                               tv_span_part(slot->outputs, offset, bytes)));
    }
    return TV_OK;
}

typedef enum recorded_work {
    WORK_TRAIN,
    WORK_LAST,
    WORK_FORWARD,
    WORK_BEGIN,
    WORK_GROUP,
    WORK_NORM,
    WORK_UPDATE,
    WORK_RESULTS
} recorded_work;

/* Where the step's statistics are at its end. */
static tv_tensor statistics(const tv_trainer *trainer, const tv_step_tensors *tensors) {
    return tv_model_has_sums(trainer->model) ? tensors->stat_sums : tensors->head.stats;
}

tv_tensor tv_trainer_rounding(const tv_trainer *trainer) {
    return trainer->options.group_type == TV_BF16 ? trainer->scaling->tensors[0].state : TV_ABSENT;
}

/* The width matters to work on a batch only. */
static tv_status record_work(tv_recorder *recorder, const tv_trainer *trainer, recorded_work work,
                             const tv_batch_slot *batch, uint32_t width, const tv_step_slot *step) {
    const tv_step_tensors *tensors = &trainer->tensors[width];
    const tv_loss_head *head = &trainer->layout.heads[width];
    const tv_activations activations = tv_activations_of_fewer(
        trainer->activations, trainer->layout.rows[width], trainer->layout.widths[width]);
    switch (work) {
    case WORK_BEGIN:
        TV_RETURN_IF_FAILED(tv_record_copy(recorder, step->constants, tensors->head.step.span));
        TV_RETURN_IF_FAILED(tv_record_fill(recorder, tensors->stat_sums.span, 0));
        if (trainer->scaling->options.loss_scale > 0) {
            tv_record_push_label(recorder, "loss scale");
            TV_RETURN_IF_FAILED(
                tv_loss_scale_record(recorder, tensors->head.step, trainer->scaling->tensors[0].state));
            tv_record_pop_label(recorder);
        }
        return tv_record_fill(recorder, tensors->head.stats.span, 0);
    case WORK_TRAIN:
    case WORK_LAST:
        TV_RETURN_IF_FAILED(record_batch_copy(recorder, trainer, batch, width));
        return tv_step_record_micro_batch(recorder, trainer->model, &activations, head, tensors,
                                          work == WORK_LAST ? tv_exchange_record_take : NULL,
                                          trainer->exchange);
    case WORK_FORWARD:
        TV_RETURN_IF_FAILED(record_batch_copy(recorder, trainer, batch, width));
        TV_RETURN_IF_FAILED(tv_step_record_forward(recorder, trainer->model, &activations, head, tensors));
        return record_outputs_copy(recorder, trainer, batch, width);
    case WORK_GROUP:
        return tv_step_record_group(recorder, trainer->model, tensors, tv_trainer_rounding(trainer));
    case WORK_NORM:
        TV_RETURN_IF_FAILED(tv_step_record_norm(recorder, tensors));
        return tv_exchange_record_partials(trainer->exchange, recorder);
    case WORK_UPDATE:
        if (!trainer->exchange)
            TV_RETURN_IF_FAILED(tv_step_record_norm(recorder, tensors));
        return tv_step_record_update(recorder, trainer->model, tensors);
    case WORK_RESULTS:
        TV_RETURN_IF_FAILED(tv_record_copy(
            recorder, tensors->state.span,
            tv_span_part(step->results, offsetof(tv_step_results, state), sizeof(struct tv_update_state))));
        return tv_record_copy(
            recorder, statistics(trainer, tensors).span,
            tv_span_part(step->results, offsetof(tv_step_results, stats), TV_HEAD_STATS * sizeof(float)));
    }
    return TV_OK;
}

static tv_status record(tv_trainer *trainer, recorded_work work, const tv_batch_slot *batch, uint32_t width,
                        const tv_step_slot *step, tv_recording **recording) {
    static const char *const names[] = {"micro-batch", "micro-batch", "forward", "begin",
                                        "group",       "norm",        "update",  "results"};
    tv_recorder *recorder = NULL;
    tv_status status;
    char name[64];
    tv_recording_destroy(recording);
    snprintf(name, sizeof name, "%.40s/%s", trainer->options.stage, names[work]);
    TV_TRY_OR_FAIL(tv_recorder_begin(trainer->device,
                                     &(tv_recorder_options){.name = name,
                                                            .profile = trainer->options.profile,
                                                            .simultaneous = work == WORK_GROUP,
                                                            .flop_budget = trainer->flop_budget},
                                     &recorder));
    TV_TRY_OR_FAIL(record_work(recorder, trainer, work, batch, width, step));
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* Of the process's nth group: its errors to where they are taken, and back. */
static tv_status record_errors(const tv_trainer *trainer, uint64_t nth, bool keep, tv_recording **recording) {
    tv_recorder *recorder = NULL;
    tv_status status;
    char name[64];
    tv_recording_destroy(recording);
    snprintf(name, sizeof name, "%.40s/%s errors", trainer->options.stage, keep ? "keep" : "bring");
    TV_TRY_OR_FAIL(tv_recorder_begin(trainer->device,
                                     &(tv_recorder_options){.name = name, .simultaneous = true}, &recorder));
    TV_TRY_OR_FAIL(tv_model_record_errors(recorder, trainer->model, nth, keep));
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

tv_status tv_trainer_record_all(tv_trainer *trainer) {
    const bool all_end = trainer->exchange && trainer->options.grad_accum == trainer->options.groups;
    if (trainer->exchange)
        TV_RETURN_IF_FAILED(record(trainer, WORK_NORM, NULL, 0, NULL, &trainer->norm));
    else if (tv_model_has_sums(trainer->model))
        TV_RETURN_IF_FAILED(record(trainer, WORK_GROUP, NULL, 0, NULL, &trainer->group));
    for (uint64_t n = 0; n < trainer->several; n++) {
        TV_RETURN_IF_FAILED(record_errors(trainer, n, false, &trainer->bring[n]));
        TV_RETURN_IF_FAILED(record_errors(trainer, n, true, &trainer->keep[n]));
    }
    for (int s = 0; s < TV_TRAINER_SLOTS; s++) {
        tv_batch_slot *batch = &trainer->batches[s];
        tv_step_slot *step = &trainer->steps[s];
        for (uint32_t w = 0; w < trainer->layout.count; w++) {
            TV_RETURN_IF_FAILED(record(trainer, WORK_FORWARD, batch, w, NULL, &batch->forward[w]));
            if (trainer->options.train && !all_end)
                TV_RETURN_IF_FAILED(record(trainer, WORK_TRAIN, batch, w, NULL, &batch->train[w]));
            if (trainer->exchange)
                TV_RETURN_IF_FAILED(record(trainer, WORK_LAST, batch, w, NULL, &batch->last[w]));
        }
        if (!trainer->options.train)
            continue;
        TV_RETURN_IF_FAILED(record(trainer, WORK_BEGIN, NULL, 0, step, &step->begin));
        TV_RETURN_IF_FAILED(record(trainer, WORK_UPDATE, NULL, 0, step, &step->update));
        TV_RETURN_IF_FAILED(record(trainer, WORK_RESULTS, NULL, 0, step, &step->results_copy));
    }
    return TV_OK;
}

tv_status tv_trainer_tune(tv_trainer *trainer, tv_recording *recording) {
    trainer->tuned = true;
    if (tv_device_caps(trainer->device)->type == TV_DEVICE_CPU)
        return TV_OK;
    double milliseconds;
    TV_RETURN_IF_FAILED(tv_recording_milliseconds(recording, &milliseconds));
    tv_recording_info info = tv_recording_get_info(recording);
    if (!(milliseconds > 0) || (info.submissions == 1 && milliseconds < submission_seconds * 1e3))
        return TV_OK;
    trainer->flop_budget = info.cost / (milliseconds * 1e-3) * submission_seconds;
    TV_RETURN_IF_FAILED(tv_wait_idle(trainer->device));
    return tv_trainer_record_all(trainer);
}

tv_status tv_trainer_set_profile(tv_trainer *trainer, bool profile) {
    trainer->options.profile = profile;
    TV_RETURN_IF_FAILED(tv_wait_idle(trainer->device));
    return tv_trainer_record_all(trainer);
}
