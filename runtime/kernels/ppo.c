/* Launchers of PPO's losses: see ppo.h. */
#include "kernels/ppo.h"

#include "push_constants.h"

tv_status tv_ppo_policy_record(tv_recorder *recorder, const tv_ppo_policy *p) {
    const uint64_t bytes[] = {sizeof(float), TV_PPO_POLICY_STATS * sizeof(float)};
    uint64_t most;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "the policy's loss", p->rows, bytes, 2, &most));
    tv_part part = {0};
    while (tv_next_part(&part, p->rows, most)) {
        uint64_t first = part.first, rows = part.count;
        const tv_ppo_push push = {.rows = (uint32_t)rows, .clip = p->clip};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_ppo_policy_base,
                                   .push = &push,
                                   .invocations = rows,
                                   .bindings = {tv_tensor_rows(p->targets, 1, first, rows),
                                                tv_tensor_rows(p->logprobs, 1, first, rows),
                                                tv_tensor_rows(p->old_logprobs, 1, first, rows),
                                                tv_tensor_rows(p->advantages, 1, first, rows),
                                                tv_tensor_rows(p->entropies, 1, first, rows),
                                                tv_tensor_first(p->step, TV_STEP_WORDS),
                                                tv_tensor_rows(p->d_logprobs, 1, first, rows),
                                                tv_tensor_rows(p->stats, TV_PPO_POLICY_STATS, first, rows)},
                                   .shape = {rows}}));
    }
    return TV_OK;
}

tv_status tv_ppo_value_record(tv_recorder *recorder, const tv_ppo_value *v) {
    const uint64_t bytes[] = {sizeof(float), TV_PPO_VALUE_STATS * sizeof(float)};
    uint64_t most;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "the value loss", v->rows, bytes, 2, &most));
    tv_part part = {0};
    while (tv_next_part(&part, v->rows, most)) {
        uint64_t first = part.first, rows = part.count;
        const tv_ppo_push push = {.rows = (uint32_t)rows, .clip = v->clip, .coefficient = v->coefficient};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_ppo_value_base,
                                   .push = &push,
                                   .invocations = rows,
                                   .bindings = {tv_tensor_rows(v->targets, 1, first, rows),
                                                tv_tensor_rows(v->values, 1, first, rows),
                                                tv_tensor_rows(v->old_values, 1, first, rows),
                                                tv_tensor_rows(v->returns, 1, first, rows),
                                                tv_tensor_first(v->step, TV_STEP_WORDS),
                                                tv_tensor_rows(v->d_values, 1, first, rows),
                                                tv_tensor_rows(v->stats, TV_PPO_VALUE_STATS, first, rows)},
                                   .shape = {rows}}));
    }
    return TV_OK;
}
