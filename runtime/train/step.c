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
        total += tv_gradient_norm_partials(list->items[i].count);
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
    const tv_parameter_list *list = tv_model_list(model);

    tv_record_push_label(recorder, "gradient norm");
    uint64_t first = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t count = list->items[i].count;
        TV_RETURN_IF_FAILED(
            tv_gradient_norm_add(recorder, count, tv_model_gradient_at(model, i), step->partials, first));
        first += tv_gradient_norm_partials(count);
    }
    TV_RETURN_IF_FAILED(
        tv_gradient_norm_finish(recorder, first, step->partials, step->head.step, step->state));
    tv_record_pop_label(recorder);

    tv_record_push_label(recorder, "adamw");
    for (uint32_t i = 0; i < list->count; i++)
        TV_RETURN_IF_FAILED(
            tv_adamw_record(recorder, &(tv_adamw){.count = list->items[i].count,
                                                  .decay = list->items[i].decay,
                                                  .parameter = tv_model_parameter_at(model, i),
                                                  .gradient = tv_model_gradient_at(model, i),
                                                  .m = tv_model_moment_at(model, 0, i),
                                                  .v = tv_model_moment_at(model, 1, i),
                                                  .step = step->head.step,
                                                  .state = step->state}));
    tv_record_pop_label(recorder);
    return TV_OK;
}
