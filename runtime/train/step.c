/* One training step, from top to bottom: see step.h. */
#include "train/step.h"

#include <math.h>

#include "kernels/optimizer.h"

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

tv_status tv_step_record_micro_batch(tv_recorder *recorder, const tv_model *model,
                                     const tv_activations *activations, const tv_loss_head *head,
                                     const tv_step_tensors *step) {
    TV_RETURN_IF_FAILED(tv_forward(recorder, model, activations, &step->inputs));
    TV_RETURN_IF_FAILED(head->record(head, recorder, model, activations, &step->head, true));
    return tv_backward(recorder, model, activations, &step->inputs);
}

tv_status tv_step_record_forward(tv_recorder *recorder, const tv_model *model,
                                 const tv_activations *activations, const tv_loss_head *head,
                                 const tv_step_tensors *step) {
    TV_RETURN_IF_FAILED(tv_forward(recorder, model, activations, &step->inputs));
    return head->record(head, recorder, model, activations, &step->head, false);
}

tv_status tv_step_record_update(tv_recorder *recorder, const tv_model *model, const tv_step_tensors *step) {
    uint32_t trained = tv_model_trainable_count(model);

    tv_record_push_label(recorder, "gradient norm");
    uint64_t first = 0;
    for (uint32_t i = 0; i < trained; i++) {
        const tv_trainable t = tv_model_trainable(model, i);
        TV_RETURN_IF_FAILED(
            tv_gradient_norm_add(recorder, t.parameter->count, t.gradient, step->partials, first));
        first += tv_gradient_norm_partials(t.parameter->count);
    }
    TV_RETURN_IF_FAILED(
        tv_gradient_norm_finish(recorder, first, step->partials, step->head.step, step->state));
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "adamw");
    for (uint32_t i = 0; i < trained; i++) {
        const tv_trainable t = tv_model_trainable(model, i);
        if (t.parameter->optimizer != TV_OPTIMIZER_ADAMW)
            continue;
        TV_RETURN_IF_FAILED(tv_adamw_record(
            recorder, &(tv_adamw){.count = t.parameter->count,
                                  .decay = t.parameter->decay,
                                  .parameter = tv_tensor_present(t.master) ? t.master : t.weights,
                                  .gradient = t.gradient,
                                  .m = t.moments[0],
                                  .v = t.moments[1],
                                  .step = step->head.step,
                                  .state = step->state}));
    }
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "muon");
    TV_RETURN_IF_FAILED(tv_muon_record_model(recorder, model, step->muon, step->head.step, step->state));
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "narrow");
    TV_RETURN_IF_FAILED(tv_model_record_narrow(recorder, model));
    tv_record_pop_label(recorder);
    return TV_OK;
}
