/* The roles with a changed step: see memory.h. */
#include "stages/policy/memory.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/parameter_choice.h"
#include "stages/rollout.h"

/* Harmless first: with fewer rows no bit changes, scores move by a rounding, the value model begins
 * elsewhere.
 */
enum {
    OWN_NONE,
    OWN_ROWS,
    OWN_FEW_ROWS,
    OWN_REWARD_BF16,
    OWN_REWARD_Q8_0,
    OWN_VALUE,
    OWN_VALUE_AND_REWARD,
    OWN_COUNT
};
_Static_assert((int)OWN_COUNT == (int)TV_POLICY_CHANGES, "one key each");

typedef struct measuring {
    const tv_policy_memory *memory;
    const tv_memory_step *step;
    tv_activation_arena *arena;
    tv_trainer_options options; /* of the policy */
    uint64_t bytes;
} measuring;

/* ---- whose weights lie on the policy's base ---- */

static bool same_place(const char *a, const char *b) {
    char *real_a = NULL, *real_b = NULL;
    bool same = a && b && tv_real_path(a, &real_a) == TV_OK && tv_real_path(b, &real_b) == TV_OK &&
                strcmp(real_a, real_b) == 0;
    free(real_a);
    free(real_b);
    return same;
}

/* A new adapter's base is the model that the run begins from. */
static bool shares_base(const measuring *m, const tv_model_directory *directory) {
    if (m->step->list->adapter.base)
        return tv_parameters_share_base(m->step->list, directory);
    return m->step->adapter && same_place(tv_model_directory_path(directory), m->memory->of.run->source_path);
}

/* ---- roles ---- */

/* A model with its trainer, without its activations. */
static tv_status add_model(measuring *m, const tv_parameter_list *list, bool shared,
                           const tv_trainer_options *options) {
    tv_trainer_bytes all;
    tv_model_bytes own;
    TV_RETURN_IF_FAILED(tv_trainer_measure(list, m->memory->of.caps, options, &all));
    m->bytes += all.total;
    if (!shared)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_model_measure_over(m->step->list, list, m->memory->of.caps, options->train, &own));
    m->bytes -= all.model.parameters + all.tables - own.parameters;
    return TV_OK;
}

static tv_status add_reference(measuring *m) {
    const tv_policy_role *role = m->memory->of.reference;
    if (!role)
        return TV_OK;
    const tv_parameter_list *published = tv_model_directory_parameters(role->directory);
    tv_parameter_list *list = NULL;
    const bool shared = shares_base(m, role->directory);
    tv_trainer_options options = m->options;
    options.head = role->options.head;
    options.head_settings = role->options.head_settings;
    options.train = options.recompute = false;
    options.context = 0;
    tv_status status;
    TV_TRY(tv_parameter_list_freeze(published, shared ? published : m->step->list, TV_WEIGHTS_AUTO, &list));
    TV_TRY(add_model(m, list, shared, &options));
done:
    tv_parameter_list_destroy(&list);
    return status;
}

static tv_status add_value(measuring *m) {
    const tv_policy_role *role = m->memory->of.value;
    if (!role)
        return TV_OK;
    const bool from_policy = m->step->own == OWN_VALUE || m->step->own == OWN_VALUE_AND_REWARD;
    tv_parameter_list body = from_policy ? *m->step->list : *role->list;
    tv_parameter_list *list = NULL;
    tv_trainer_options options = role->options;
    options.batch = m->options.batch;
    options.tokens = m->options.tokens;
    options.recompute = m->options.recompute;
    options.shared = m->arena;
    options.context = 0;
    body.config.head = TV_MODEL_HEAD_SCORE;
    tv_status status = TV_OK;
    if (m->step->adapter || from_policy)
        TV_TRY(tv_memory_adapted(&body, m->step->narrower, m->step->weights, &list));
    else if (m->step->list->optimizer != role->list->optimizer)
        TV_TRY(tv_parameter_list_create_optimized(role->list, m->step->list->optimizer, &list));
    TV_TRY(add_model(m, list ? list : role->list,
                     from_policy || (role->directory && shares_base(m, role->directory)), &options));
done:
    tv_parameter_list_destroy(&list);
    return status;
}

static tv_status add_reward(measuring *m, const tv_policy_reward *reward) {
    const tv_reward_model *model = tv_policy_reward_model(reward);
    tv_weights weights = m->step->own == OWN_REWARD_BF16 ? TV_WEIGHTS_BF16
                         : m->step->own == OWN_REWARD_Q8_0 || m->step->own == OWN_VALUE_AND_REWARD
                             ? TV_WEIGHTS_Q8_0
                             : TV_WEIGHTS_AUTO;
    if (!model)
        return TV_OK;
    tv_parameter_list *list = NULL;
    uint64_t bytes;
    tv_status status;
    const tv_parameter_list *now = tv_reward_model_list(model);
    TV_TRY(tv_parameter_list_freeze(now, now, weights, &list));
    TV_TRY(tv_policy_reward_measure_as(reward, list, shares_base(m, model->directory) ? m->step->list : NULL,
                                       m->memory->of.caps, m->options.tokens + 1, m->arena, &bytes));
    m->bytes += bytes;
done:
    tv_parameter_list_destroy(&list);
    return status;
}

/* Drawn side by side. */
static uint64_t rows_with(const tv_policy_memory *memory, uint32_t own) {
    return own == OWN_ROWS       ? tv_div_up(memory->of.drawing.rows, 4)
           : own == OWN_FEW_ROWS ? tv_div_up(memory->of.drawing.rows, 16)
                                 : memory->of.drawing.rows;
}

static tv_status add_drawing(measuring *m) {
    tv_rollout_options options = m->memory->of.drawing;
    options.rows = rows_with(m->memory, m->step->own);
    options.max_tokens = m->options.tokens + 1;
    options.shared = m->arena;
    tv_decoder_bytes bytes;
    TV_RETURN_IF_FAILED(tv_rollout_measure(m->step->list, m->memory->of.caps, &options, &bytes));
    m->bytes += bytes.cache + bytes.activations + bytes.state;
    return TV_OK;
}

static tv_status add_mix(measuring *m) {
    if (!m->memory->of.mix)
        return TV_OK;
    const tv_trainer_options options = {.stage = "ppo ptx",
                                        .grad_accum = m->options.groups,
                                        .groups = m->options.groups,
                                        .group_type = m->options.group_type,
                                        .ranks = m->options.ranks,
                                        .head_rows = m->options.head_rows,
                                        .batch = m->options.batch,
                                        .tokens = m->options.tokens,
                                        .recompute = m->options.recompute,
                                        .train = true,
                                        .shared = m->arena};
    tv_trainer_bytes bytes;
    TV_RETURN_IF_FAILED(tv_trainer_measure(m->step->list, m->memory->of.caps, &options, &bytes));
    m->bytes += bytes.buffers + bytes.exchange;
    return TV_OK;
}

static tv_status measure_all(measuring *m) {
    const tv_policy_memory_roles *of = &m->memory->of;
    m->options = m->step->options;
    m->options.shared = m->arena;
    m->options.context = m->options.tokens + 1;
    TV_RETURN_IF_FAILED(add_model(m, m->step->list, false, &m->options));
    TV_RETURN_IF_FAILED(add_reference(m));
    TV_RETURN_IF_FAILED(add_value(m));
    TV_RETURN_IF_FAILED(add_drawing(m));
    TV_RETURN_IF_FAILED(add_mix(m));
    for (uint64_t i = 0; i < tv_policy_rewards_count(of->rewards); i++)
        TV_RETURN_IF_FAILED(add_reward(m, tv_policy_rewards_at(of->rewards, i)));
    m->bytes += of->further ? of->further(of->sequences, m->options.tokens) : 0;
    m->bytes += tv_activation_arena_bytes(m->arena);
    return TV_OK;
}

/* Whether the stage's change says something here. */
static bool is_change(const tv_policy_memory *memory, const tv_memory_step *step) {
    const tv_policy_memory_roles *of = &memory->of;
    const bool value = step->own == OWN_VALUE || step->own == OWN_VALUE_AND_REWARD,
               reward = step->own == OWN_REWARD_BF16 || step->own == OWN_REWARD_Q8_0 ||
                        step->own == OWN_VALUE_AND_REWARD;
    if (step->own == OWN_ROWS || step->own == OWN_FEW_ROWS)
        return rows_with(memory, step->own) < rows_with(memory, step->own - 1);
    if (reward && (!tv_policy_rewards_model(of->rewards) || !of->narrows))
        return false;
    /* Without an adapter there is no base to lie on. */
    return !value || (step->list->adapter.rank > 0 && tv_policy_rewards_model(of->rewards) && of->moves);
}

static bool measure(const void *context, const tv_memory_step *step, uint64_t *bytes) {
    measuring m = {.memory = context, .step = step};
    if (!is_change(m.memory, step) || tv_activation_arena_create(&m.arena) != TV_OK)
        return false;
    tv_status status = measure_all(&m);
    tv_activation_arena_release(&m.arena);
    *bytes = m.bytes;
    return status == TV_OK;
}

void tv_policy_memory_begin(const tv_policy_memory_roles *of, tv_policy_memory *memory) {
    const char *stage = of->run->stage->name;
    *memory = (tv_policy_memory){.of = *of,
                                 .roles = {.keys = memory->keys, .count = OWN_COUNT, .measure = measure}};
    memory->roles.context = memory;
    for (uint32_t own = 1; own < OWN_COUNT; own++) {
        char *text = memory->texts[own];
        const size_t size = sizeof memory->texts[own];
        memory->keys[own] = text;
        if (own == OWN_ROWS || own == OWN_FEW_ROWS)
            snprintf(text, size, "%s.rows=%" PRIu64, stage, rows_with(memory, own));
        else if (own == OWN_VALUE)
            snprintf(text, size, "%s.value_init=policy", stage);
        else if (own == OWN_VALUE_AND_REWARD)
            snprintf(text, size, "%s.value_init=policy %s.reward_weights=q8_0", stage, stage);
        else
            snprintf(text, size, "%s.reward_weights=%s", stage, own == OWN_REWARD_BF16 ? "bf16" : "q8_0");
    }
}
