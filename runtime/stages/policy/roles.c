/* Reference and value model: see roles.h. */
#include "stages/policy/roles.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "formats/load.h"
#include "run/parameter_choice.h"
#include "vk/transfer.h"

static tv_status open_directory(const char *given, tv_policy_role *role) {
    char *path = NULL;
    TV_RETURN_IF_FAILED(tv_model_given_open(given, NULL, &path, &role->directory));
    free(path);
    role->list = tv_model_directory_parameters(role->directory);
    return TV_OK;
}

/* Of the run itself, whose base was compared with what it began from, or accepted as it is. */
static tv_status open_checkpoint(const char *path, tv_policy_role *role) {
    TV_RETURN_IF_FAILED(tv_model_directory_open(path, &role->directory));
    role->list = tv_model_directory_parameters(role->directory);
    return TV_OK;
}

tv_status tv_policy_reference_open(const char *given, const tv_parameter_list *policy, tv_policy_role *role) {
    TV_RETURN_IF_FAILED(open_directory(given, role));
    TV_RETURN_IF_FAILED(tv_model_config_expect_head(&role->list->config, TV_MODEL_HEAD_LANGUAGE, given));
    if (role->list->config.vocab_size != policy->config.vocab_size)
        return tv_fail(
            TV_E_CONFIG,
            "the reference %s has a vocabulary of %llu and the policy %llu; they must be models of "
            "one tokenizer",
            given, (unsigned long long)role->list->config.vocab_size,
            (unsigned long long)policy->config.vocab_size);
    role->shared = tv_parameters_share_base(policy, role->directory);
    /* As the policy's weights are, which begins as its equal: a KL of rounding would be paid for. */
    TV_RETURN_IF_FAILED(tv_parameter_list_freeze(role->list, role->shared ? role->list : policy,
                                                 TV_WEIGHTS_AUTO, &role->own_list));
    role->list = role->own_list;
    return TV_OK;
}

tv_status tv_policy_value_open(const tv_run_settings *settings, const tv_parameter_list *policy,
                               const char *directory, const char *checkpoint, tv_policy_role *role) {
    role->value = true;
    if (!checkpoint)
        TV_RETURN_IF_FAILED(open_directory(directory, role));
    else
        TV_RETURN_IF_FAILED(open_checkpoint(checkpoint, role));
    tv_model_config config = role->list->config;
    if (checkpoint)
        TV_RETURN_IF_FAILED(tv_model_config_expect_head(&config, TV_MODEL_HEAD_SCORE, checkpoint));
    config.head = TV_MODEL_HEAD_SCORE;
    tv_parameter_list *plain = NULL;
    /* The policy's settings, but that an adapter which is there, of a reward model, goes on as it is. */
    tv_run_settings own = *settings;
    tv_status status;
    if (role->list->adapter.rank) {
        tv_dtype *types;
        TV_RETURN_IF_FAILED(tv_parameter_storage(settings, role->list, role->list, &types));
        const tv_parameter_choice choice = {.storage = types,
                                            .adapter = &role->list->adapter,
                                            .score = true,
                                            .optimizer = (tv_optimizer)settings->train.optimizer};
        status = tv_parameter_list_create_chosen(&config, &choice, &role->own_list);
        free(types);
    } else {
        TV_RETURN_IF_FAILED(tv_parameter_list_create(&config, &plain));
        status = tv_parameter_list_choose(&own, plain, tv_model_directory_path(role->directory), role->list,
                                          &role->own_list);
    }
    tv_parameter_list_destroy(&plain);
    if (status == TV_OK)
        role->own_list->owners = policy->owners;
    role->list = role->own_list;
    role->shared = tv_parameters_share_base(policy, role->directory);
    return tv_fail_context(status, "the value model");
}

tv_status tv_policy_role_measure(const tv_policy_role *role, const tv_parameter_list *policy,
                                 const tv_caps *caps, uint64_t *bytes) {
    tv_trainer_bytes all;
    tv_model_bytes own;
    TV_RETURN_IF_FAILED(tv_trainer_measure(role->list, caps, &role->options, &all));
    *bytes = all.total;
    if (!role->shared)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_model_measure_over(policy, role->list, caps, role->options.train, &own));
    *bytes -= all.model.parameters + all.tables - own.parameters;
    return TV_OK;
}

/* A value of 0 everywhere is the start that knows nothing; a drawn head would add noise to every advantage.
 */
static tv_status load_value(tv_policy_role *role, tv_device *device) {
    TV_RETURN_IF_FAILED(tv_model_load_body(role->model, role->directory, 0));
    return tv_clear(device, tv_model_parameter(role->model, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER).span);
}

tv_status tv_policy_role_start(tv_policy_role *role, const tv_model *policy, const char *checkpoint) {
    tv_device *device = tv_model_device(policy);
    bool train = role->options.train;
    TV_RETURN_IF_FAILED(role->shared ? tv_model_create_over(policy, role->list, train, &role->model)
                                     : tv_model_create(device, role->list, train, &role->model));
    TV_RETURN_IF_FAILED(tv_trainer_prepare(role->model, &role->options));
    if (checkpoint)
        TV_RETURN_IF_FAILED(tv_checkpoint_read_model(checkpoint, role->directory, role->model));
    else if (role->value)
        TV_RETURN_IF_FAILED(load_value(role, device));
    else
        TV_RETURN_IF_FAILED(tv_model_load(role->model, role->directory));
    return tv_trainer_create(role->model, &role->options, &role->trainer);
}

void tv_policy_role_close(tv_policy_role *role) {
    tv_trainer_destroy(&role->trainer);
    tv_model_destroy(&role->model);
    tv_parameter_list_destroy(&role->own_list);
    tv_model_directory_close(&role->directory);
}
