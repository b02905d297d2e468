/* Launchers of the update: see optimizer.h. A block's partial is a pair of floats;
 * shaders/optimizer/gradient_norm.comp says why. */
#include "kernels/optimizer.h"

#include "push_constants.h"

enum {
    BLOCK_LOCAL = 256,
    FINISH_LOCAL = 256,
    FLOATS_PER_BLOCK = 2,
    ADAMW_SPANS = TV_UPDATE_V + 1,
};

static tv_tensor table_of(const tv_update *update) {
    const uint64_t words = sizeof(struct tv_update_segment) / sizeof(uint32_t);
    return tv_tensor_first(update->table, update->plan->segment_count * words);
}

static tv_segments_push push_of(const tv_update_group *group) {
    return (tv_segments_push){(uint32_t)group->count, group->first, group->segments};
}

static tv_tensor floats(tv_span span) {
    return (tv_tensor){span, TV_F32};
}

tv_status tv_gradient_norm_add(tv_recorder *recorder, const tv_update *update) {
    for (uint32_t g = 0; g < update->plan->group_count; g++) {
        const tv_update_group *group = &update->plan->groups[g];
        if (group->pass != TV_PASS_NORM)
            continue;
        const tv_segments_push push = push_of(group);
        tv_tensor gradient = floats(group->spans[TV_UPDATE_GRADIENT]);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_gradient_norm_base,
                                   .push = &push,
                                   .groups = group->workgroups,
                                   .bindings = {gradient, gradient,
                                                tv_tensor_first(update->partials, update->plan->partials),
                                                table_of(update)},
                                   .specialization = {tv_row_workgroup(recorder, BLOCK_LOCAL)},
                                   .specialization_count = 1,
                                   .shape = {group->count}}));
    }
    return TV_OK;
}

tv_status tv_gradient_norm_finish(tv_recorder *recorder, const tv_update *update) {
    const uint64_t total = update->plan->partials;
    tv_count_push push = {(uint32_t)(total / FLOATS_PER_BLOCK)};
    return tv_launch_record(recorder,
                            &(tv_launch){.program = TV_PROGRAM_gradient_norm_finish_base,
                                         .push = &push,
                                         .groups = 1,
                                         .bindings = {tv_tensor_first(update->partials, total),
                                                      tv_tensor_first(update->step, TV_STEP_WORDS),
                                                      tv_tensor_first(update->state, TV_STATE_WORDS)},
                                         .specialization = {tv_row_workgroup(recorder, FINISH_LOCAL)},
                                         .specialization_count = 1,
                                         .shape = {total}});
}

tv_status tv_loss_scale_record(tv_recorder *recorder, tv_tensor step, tv_tensor state) {
    const tv_count_push push = {1};
    return tv_launch_record(recorder, &(tv_launch){.program = TV_PROGRAM_loss_scale_base,
                                                   .push = &push,
                                                   .invocations = 1,
                                                   .bindings = {tv_tensor_first(step, TV_STEP_WORDS),
                                                                tv_tensor_first(state, TV_STATE_WORDS)},
                                                   .shape = {1}});
}

static tv_program_id program_of(tv_update_pass pass, const tv_caps *caps) {
    if (pass == TV_PASS_ADAMW8)
        return caps->cpu_kernels ? TV_PROGRAM_adamw8_cpu : TV_PROGRAM_adamw8_base;
    return pass == TV_PASS_ADAMW_VECTORS ? TV_PROGRAM_adamw_vec4 : TV_PROGRAM_adamw_scalar;
}

tv_status tv_adamw_record(tv_recorder *recorder, const tv_update *update) {
    for (uint32_t g = 0; g < update->plan->group_count; g++) {
        const tv_update_group *group = &update->plan->groups[g];
        if (group->pass != TV_PASS_ADAMW_VECTORS && group->pass != TV_PASS_ADAMW_SCALARS &&
            group->pass != TV_PASS_ADAMW8)
            continue;
        const tv_segments_push push = push_of(group);
        tv_launch launch = {.program = program_of(group->pass, tv_recorder_caps(recorder)),
                            .push = &push,
                            .groups = group->workgroups,
                            .shape = {group->count}};
        for (int i = 0; i < ADAMW_SPANS; i++)
            launch.bindings[i] = floats(group->spans[i]);
        launch.bindings[ADAMW_SPANS] = tv_tensor_first(update->step, TV_STEP_WORDS);
        launch.bindings[ADAMW_SPANS + 1] = tv_tensor_first(update->state, TV_STATE_WORDS);
        launch.bindings[ADAMW_SPANS + 2] = table_of(update);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

tv_status tv_narrow_record(tv_recorder *recorder, const tv_update *update) {
    static const tv_program_id programs[] = {[TV_PASS_NARROW_F16] = TV_PROGRAM_narrow_f16,
                                             [TV_PASS_NARROW_BF16] = TV_PROGRAM_narrow_bf16,
                                             [TV_PASS_NARROW_Q8_0] = TV_PROGRAM_narrow_blocks_q8_0};
    for (uint32_t g = 0; g < update->plan->group_count; g++) {
        const tv_update_group *group = &update->plan->groups[g];
        if (group->pass < TV_PASS_NARROW_F16)
            continue;
        const tv_segments_push push = push_of(group);
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = programs[group->pass],
                                   .push = &push,
                                   .groups = group->workgroups,
                                   .bindings = {floats(group->spans[TV_UPDATE_PARAMETER]),
                                                floats(group->spans[TV_UPDATE_WEIGHTS]), table_of(update)},
                                   .shape = {group->count}}));
    }
    return TV_OK;
}
