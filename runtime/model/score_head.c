/* Scalar heads: see score_head.h. */
#include "model/score_head.h"

#include "kernels/matmul.h"
#include "kernels/reduce.h"

/* values (N) = final (N, C) w^T. A value depends on its own row alone, whatever the batch. */
static tv_status values_of(tv_recorder *recorder, const tv_model *model, const tv_activations *a,
                           tv_tensor values) {
    const tv_parameter_list *list = tv_model_list(model);
    tv_tensor weight = tv_model_parameter(model, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER);
    if (!tv_tensor_present(weight))
        return tv_fail(TV_E_CONFIG,
                       "values need a model with a score head, and this one has a language head");
    return tv_matmul_record(recorder, &(tv_matmul){.m = a->rows,
                                                   .n = 1,
                                                   .k = list->config.channels,
                                                   .transpose_b = true,
                                                   .a = a->final,
                                                   .b = weight,
                                                   .c = values});
}

/* d_w (1, C) += d_values^T final; d_final (N, C) = d_values w. */
static tv_status backward(tv_recorder *recorder, const tv_model *model, const tv_activations *a,
                          tv_tensor d_values) {
    uint64_t channels = tv_model_list(model)->config.channels;
    tv_tensor d_weight = tv_model_gradient(model, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER);
    if (tv_tensor_present(d_weight))
        TV_RETURN_IF_FAILED(tv_matmul_record(recorder, &(tv_matmul){.m = 1,
                                                                    .n = channels,
                                                                    .k = a->rows,
                                                                    .transpose_a = true,
                                                                    .accumulate = true,
                                                                    .a = d_values,
                                                                    .b = a->final,
                                                                    .c = d_weight}));
    if (!tv_model_flows_below_head(model))
        return TV_OK;
    return tv_matmul_record(
        recorder, &(tv_matmul){.m = a->rows,
                               .n = channels,
                               .k = 1,
                               .a = d_values,
                               .b = tv_model_parameter(model, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER),
                               .c = a->d_narrow});
}

/* ---- the value head ---- */

enum { SETTING_CLIP, SETTING_COEFFICIENT };
enum { VALUE_D_VALUES, VALUE_STATS, VALUE_SUMS }; /* scratch */

static tv_status value_loss(const tv_loss_head *head, tv_recorder *recorder, const tv_activations *a,
                            const tv_head_tensors *t) {
    TV_RETURN_IF_FAILED(
        tv_ppo_value_record(recorder, &(tv_ppo_value){.rows = a->rows,
                                                      .clip = head->settings[SETTING_CLIP],
                                                      .coefficient = head->settings[SETTING_COEFFICIENT],
                                                      .targets = t->inputs[TV_VALUE_TARGETS],
                                                      .values = t->outputs[TV_VALUE_VALUES],
                                                      .old_values = t->inputs[TV_VALUE_OLD_VALUES],
                                                      .returns = t->inputs[TV_VALUE_RETURNS],
                                                      .step = t->step,
                                                      .d_values = t->scratch[VALUE_D_VALUES],
                                                      .stats = t->scratch[VALUE_STATS]}));
    return tv_sum_rows(recorder, a->rows, TV_PPO_VALUE_STATS, t->scratch[VALUE_STATS], t->stats,
                       t->scratch[VALUE_SUMS]);
}

static tv_status record_value(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                              const tv_activations *activations, const tv_head_tensors *tensors,
                              bool gradient) {
    tv_record_push_label(recorder, "%s", head->name);
    TV_RETURN_IF_FAILED(values_of(recorder, model, activations, tensors->outputs[TV_VALUE_VALUES]));
    if (gradient) {
        TV_RETURN_IF_FAILED(value_loss(head, recorder, activations, tensors));
        TV_RETURN_IF_FAILED(backward(recorder, model, activations, tensors->scratch[VALUE_D_VALUES]));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_value_head(const void *settings, uint64_t batch, uint64_t tokens) {
    const tv_value_settings *value = settings;
    uint64_t rows = batch * tokens;
    return (tv_loss_head){
        .name = "value",
        .input_words = {rows, rows, rows},
        .output_words = {rows},
        .scratch_words = {rows, TV_PPO_VALUE_STATS * rows,
                          tv_sum_rows_scratch(rows, TV_PPO_VALUE_STATS) / sizeof(float)},
        .stat_count = TV_PPO_VALUE_STATS,
        .settings = {value ? (float)value->clip : 0, value ? (float)value->coefficient : 0},
        .record = record_value,
    };
}

/* ---- preferences ---- */

enum { SETTING_CENTER };
enum { SIZE_GROUP, SIZE_GROUPS, SIZE_MODE };
enum { SCORE_D_VALUES, SCORE_SUMS }; /* scratch */

static tv_status record_preference(const tv_loss_head *head, tv_recorder *recorder, const tv_model *model,
                                   const tv_activations *activations, const tv_head_tensors *tensors,
                                   bool gradient) {
    tv_tensor d_values = gradient ? tensors->scratch[SCORE_D_VALUES] : TV_ABSENT;
    tv_record_push_label(recorder, "%s", head->name);
    TV_RETURN_IF_FAILED(values_of(recorder, model, activations, tensors->outputs[TV_SCORE_VALUES]));
    TV_RETURN_IF_FAILED(tv_preference_loss_record(
        recorder, &(tv_preference_loss){.groups = head->sizes[SIZE_GROUPS],
                                        .group_size = head->sizes[SIZE_GROUP],
                                        .rows = activations->rows,
                                        .mode = (uint32_t)head->sizes[SIZE_MODE],
                                        .center = head->settings[SETTING_CENTER],
                                        .members = tensors->inputs[TV_SCORE_MEMBERS],
                                        .ranks = tensors->inputs[TV_SCORE_RANKS],
                                        .margins = tensors->inputs[TV_SCORE_MARGINS],
                                        .values = tensors->outputs[TV_SCORE_VALUES],
                                        .step = tensors->step,
                                        .d_values = d_values,
                                        .stats = tensors->outputs[TV_SCORE_STATS]}));
    if (gradient) {
        TV_RETURN_IF_FAILED(tv_sum_rows(recorder, head->sizes[SIZE_GROUPS], TV_PREFERENCE_STATS,
                                        tensors->outputs[TV_SCORE_STATS], tensors->stats,
                                        tensors->scratch[SCORE_SUMS]));
        TV_RETURN_IF_FAILED(backward(recorder, model, activations, d_values));
    }
    tv_record_pop_label(recorder);
    return TV_OK;
}

tv_loss_head tv_preference_head(const void *settings, uint64_t batch, uint64_t tokens) {
    const tv_preference_settings *preference = settings;
    uint64_t rows = batch * tokens, size = preference->group_size, groups = batch / size;
    return (tv_loss_head){
        .name = "preference",
        .input_words = {groups * size, groups * size, groups},
        .output_words = {rows, TV_PREFERENCE_STATS * groups},
        .scratch_words = {rows, tv_sum_rows_scratch(groups, TV_PREFERENCE_STATS) / sizeof(float)},
        .stat_count = TV_PREFERENCE_STATS,
        .settings = {(float)preference->center},
        .sizes = {size, groups, preference->mode},
        .record = record_preference,
    };
}
