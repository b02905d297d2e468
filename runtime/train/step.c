/* One training step, from top to bottom: see step.h. */
#include "train/step.h"

#include <math.h>
#include <stdlib.h>

#include "kernels/group_add.h"

struct tv_step_constants tv_step_constants_make(double lr, double weight_decay, double beta1, double beta2,
                                                double eps, double grad_clip) {
    return (struct tv_step_constants){
        .lr = (float)lr,
        .weight_decay = (float)weight_decay,
        .beta1 = (float)beta1,
        .beta2 = (float)beta2,
        .log_beta1 = (float)log(beta1),
        .log_beta2 = (float)log(beta2),
        .eps = (float)eps,
        .grad_clip = (float)grad_clip,
    };
}

uint64_t tv_step_partials(const tv_parameter_list *list) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < list->count; i++)
        total += list->items[i].trainable ? tv_gradient_norm_partials(list->items[i].count) : 0;
    return total;
}

tv_status tv_step_table_words(const tv_parameter_list *list, const tv_caps *caps, uint64_t *words) {
    tv_stretches *all;
    tv_status status = tv_stretches_create(list, &all);
    *words = 0;
    for (uint32_t s = 0; status == TV_OK && s < all->count; s++) {
        uint64_t segments;
        if (all->items[s].owner != list->owners.own)
            continue;
        status = tv_update_segments(caps, all->items[s].count, &segments);
        *words += segments * sizeof(struct tv_update_segment) / sizeof(uint32_t);
    }
    tv_stretches_destroy(&all);
    return status;
}

tv_status tv_step_plan(const tv_model *model, tv_update_plan **plan) {
    static const tv_update_rule rules[] = {[TV_OPTIMIZER_ADAMW] = TV_UPDATE_ADAMW,
                                           [TV_OPTIMIZER_ADAMW8] = TV_UPDATE_ADAMW8,
                                           [TV_OPTIMIZER_MUON] = TV_UPDATE_ELSEWHERE};
    const tv_stretches *all = tv_model_stretches(model);
    tv_update_tensor *tensors = calloc(all->count + 1, sizeof *tensors);
    *plan = NULL;
    if (!tensors)
        return tv_fail(TV_E_MEMORY, "out of host memory for the plan of an update");
    for (uint32_t s = 0; s < all->count; s++) {
        const tv_stretch *stretch = &all->items[s];
        const tv_parameter *p = &tv_model_list(model)->items[stretch->parameter];
        const uint32_t own = tv_model_stretch_own(model, s);
        tensors[s] = (tv_update_tensor){
            .count = stretch->count, .first = stretch->first, .whole = p->count, .rule = TV_UPDATE_FOREIGN};
        if (own == UINT32_MAX)
            continue;
        const tv_trainable t = tv_model_trainable(model, own);
        tensors[s].rule = rules[p->optimizer];
        tensors[s].number = stretch->parameter;
        tensors[s].decay = p->decay;
        tensors[s].parameter = tv_tensor_present(t.master) ? t.master : t.weights;
        tensors[s].gradient = t.gradient;
        tensors[s].m = t.moments[0];
        tensors[s].v = t.moments[1];
        tensors[s].weights = tv_tensor_present(t.master) ? t.weights : TV_ABSENT;
        tensors[s].columns = p->shape[1];
    }
    tv_status status =
        tv_update_plan_create(tv_device_caps(tv_model_device(model)), tensors, all->count, plan);
    free(tensors);
    return status;
}

tv_status tv_step_record_micro_batch(tv_recorder *recorder, const tv_model *model,
                                     const tv_activations *activations, const tv_loss_head *head,
                                     const tv_step_tensors *step, tv_gradients_finished finished,
                                     void *context) {
    TV_RETURN_IF_FAILED(tv_forward(recorder, model, activations, &step->inputs));
    TV_RETURN_IF_FAILED(head->record(head, recorder, model, activations, &step->head, true));
    return tv_backward_telling(recorder, model, activations, &step->inputs, finished, context);
}

tv_status tv_step_record_group(tv_recorder *recorder, const tv_model *model, const tv_step_tensors *step,
                               tv_tensor state) {
    tv_record_push_label(recorder, "group");
    TV_RETURN_IF_FAILED(tv_model_record_group(recorder, model, state));
    TV_RETURN_IF_FAILED(tv_group_add(recorder, TV_HEAD_STATS, step->head.stats, step->stat_sums));
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_status tv_step_record_forward(tv_recorder *recorder, const tv_model *model,
                                 const tv_activations *activations, const tv_loss_head *head,
                                 const tv_step_tensors *step) {
    TV_RETURN_IF_FAILED(tv_forward(recorder, model, activations, &step->inputs));
    return head->record(head, recorder, model, activations, &step->head, false);
}

static tv_update update_of(const tv_step_tensors *step) {
    return (tv_update){.plan = step->plan,
                       .table = step->table,
                       .partials = step->partials,
                       .step = step->head.step,
                       .state = step->state};
}

tv_status tv_step_record_norm(tv_recorder *recorder, const tv_step_tensors *step) {
    const tv_update update = update_of(step);
    tv_record_push_label(recorder, "gradient norm");
    TV_RETURN_IF_FAILED(tv_gradient_norm_add(recorder, &update));
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_status tv_step_record_update(tv_recorder *recorder, const tv_model *model, const tv_step_tensors *step) {
    const tv_update update = update_of(step);

    tv_record_push_label(recorder, "gradient norm");
    TV_RETURN_IF_FAILED(tv_gradient_norm_finish(recorder, &update));
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "adamw");
    TV_RETURN_IF_FAILED(tv_adamw_record(recorder, &update));
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "muon");
    TV_RETURN_IF_FAILED(tv_muon_record_model(recorder, model, step->muon, step->head.step, step->state));
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "narrow");
    TV_RETURN_IF_FAILED(tv_narrow_record(recorder, &update));
    tv_record_pop_label(recorder);
    return TV_OK;
}
