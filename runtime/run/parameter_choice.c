/* Settings over a list of parameters: see parameter_choice.h. */
#include "run/parameter_choice.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "formats/adapter_base.h"
#include "formats/peft.h"
#include "formats/trainable.h"

enum { DEFAULT_RANK = 16 };
static const char where[] = "train.trainable", where_targets[] = "lora.targets", lora[] = "lora";

/* ---- adapters ---- */

/* The names of lora.targets, or all matrices. */
static tv_status read_targets(const cJSON *list, const tv_model_config *config, tv_adapter *adapter) {
    static const char *const every[] = {"all-linear"};
    if (!list)
        return tv_peft_targets(config, where_targets, every, 1, adapter);
    const cJSON *item;
    uint64_t count = 0;
    if (!cJSON_IsArray(list))
        return tv_fail(TV_E_CONFIG,
                       "%s: expected a list of names, such as [\"q_proj\", \"v_proj\"], found %s",
                       where_targets, tv_json_kind(list));
    const char **names = (const char **)calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *names);
    tv_status status = names ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the names of targets");
    cJSON_ArrayForEach(item, list) {
        const char *name = cJSON_GetStringValue(item);
        if (status == TV_OK && !name)
            status = tv_fail(TV_E_CONFIG, "%s[%" PRIu64 "]: expected a name, found %s", where_targets, count,
                             tv_json_kind(item));
        if (status == TV_OK)
            names[count++] = name;
    }
    if (status == TV_OK && count == 0)
        status = tv_fail(TV_E_CONFIG, "%s: expected at least one name, or nothing for all matrices",
                         where_targets);
    if (status == TV_OK)
        status = tv_peft_targets(config, where_targets, names, count, adapter);
    free((void *)names);
    return status;
}

/* Besides the adapter's matrices only a score head can be trained with it. */
static tv_status check_modules(const cJSON *list, const tv_model_config *config) {
    const cJSON *item;
    if (list && !cJSON_IsArray(list))
        return tv_fail(TV_E_CONFIG, "lora.modules_to_save: expected a list of names, found %s",
                       tv_json_kind(list));
    cJSON_ArrayForEach(item, list) {
        const char *name = cJSON_GetStringValue(item);
        if (!name || strcmp(name, "score") != 0 || config->head != TV_MODEL_HEAD_SCORE)
            return tv_fail(
                TV_E_CONFIG,
                "lora.modules_to_save: found \"%.40s\"; only \"score\", the head of a reward model, "
                "is trained and saved with an adapter, and always is",
                name ? name : tv_json_kind(item));
    }
    return TV_OK;
}

static tv_status differs(const char *key, double given, double there) {
    return tv_fail(
        TV_E_CONFIG,
        "lora.%s is %g, and the adapter that is trained on has %g; leave the setting out, or begin "
        "a new adapter from the base",
        key, given, there);
}

/* An adapter that is there already goes on as it is. */
static tv_status go_on(tv_run_settings *settings, const tv_parameter_list *list, tv_adapter *adapter) {
    tv_lora_settings *s = &settings->lora;
    *adapter = list->adapter;
    if (tv_setting_given(settings, lora, "rank") && s->rank != adapter->rank)
        return differs("rank", (double)s->rank, (double)adapter->rank);
    if (tv_setting_given(settings, lora, "alpha") && s->alpha != adapter->alpha)
        return differs("alpha", s->alpha, adapter->alpha);
    if (tv_setting_given(settings, lora, "rslora") && s->rslora != adapter->rslora)
        return differs("rslora", s->rslora, adapter->rslora);
    s->rank = adapter->rank;
    s->alpha = adapter->alpha;
    s->rslora = adapter->rslora;
    if (!s->targets)
        return TV_OK;
    tv_adapter asked = *adapter;
    TV_RETURN_IF_FAILED(read_targets(s->targets, &list->config, &asked));
    bool same = asked.target_count == adapter->target_count;
    for (uint32_t t = 0; same && t < asked.target_count; t++)
        same = asked.targets[t].role == adapter->targets[t].role &&
               asked.targets[t].first_row == adapter->targets[t].first_row;
    if (!same)
        return tv_fail(TV_E_CONFIG,
                       "lora.targets: expected the matrices that the adapter has, found others; leave the "
                       "setting out, or begin a new adapter from the base");
    return TV_OK;
}

static tv_status begin(tv_run_settings *settings, const tv_parameter_list *list, tv_adapter *adapter) {
    tv_lora_settings *s = &settings->lora;
    if (s->rank == 0)
        s->rank = DEFAULT_RANK;
    *adapter = (tv_adapter){.rank = s->rank, .alpha = s->alpha, .rslora = s->rslora};
    if (!(s->alpha > 0))
        return tv_fail(TV_E_CONFIG, "lora.alpha: expected a number above 0, found %g", s->alpha);
    return read_targets(s->targets, &list->config, adapter);
}

/* Anew where an adapter goes on: whoever resumes it may have accepted another base. */
static tv_status describe_base(const char *base, char **values) {
    tv_model_directory *directory = NULL;
    *values = NULL;
    if (!base)
        return TV_OK;
    tv_status status = tv_model_directory_open(base, &directory);
    if (status == TV_OK)
        status = tv_adapter_base_describe(directory, values);
    tv_model_directory_close(&directory);
    return status;
}

static tv_status choose_adapter(tv_run_settings *settings, const tv_parameter_list *list, const char *base,
                                const tv_dtype *types, tv_parameter_list **chosen) {
    tv_adapter adapter;
    char *real = NULL, *values = NULL;
    tv_status status;
    if (tv_setting_given(settings, "train", "trainable") && strcmp(settings->train.trainable, lora) != 0)
        return tv_fail(TV_E_CONFIG,
                       "%s: expected \"lora\" with an adapter, found \"%.80s\"; what an adapter's directory "
                       "holds is the adapter alone",
                       where, settings->train.trainable);
    settings->train.trainable = lora;
    TV_TRY(check_modules(settings->lora.modules_to_save, &list->config));
    TV_TRY(list->adapter.rank ? go_on(settings, list, &adapter) : begin(settings, list, &adapter));
    if (!adapter.base && base)
        TV_TRY(tv_real_path(base, &real));
    if (real)
        adapter.base = real;
    TV_TRY(describe_base(adapter.base, &values));
    adapter.base_values = values;
    const tv_parameter_choice choice = {.storage = types,
                                        .adapter = &adapter,
                                        .score = true,
                                        .optimizer = (tv_optimizer)settings->train.optimizer};
    TV_TRY(tv_parameter_list_create_chosen(&list->config, &choice, chosen));
done:
    free(values);
    free(real);
    return status;
}

/* ---- types ---- */

tv_status tv_parameter_storage(const tv_run_settings *settings, const tv_parameter_list *list,
                               const tv_parameter_list *published, tv_dtype **types) {
    static const tv_dtype named[] = {
        [TV_WEIGHTS_F32] = TV_F32,   [TV_WEIGHTS_BF16] = TV_BF16, [TV_WEIGHTS_F16] = TV_F16,
        [TV_WEIGHTS_Q8_0] = TV_Q8_0, [TV_WEIGHTS_Q4_0] = TV_Q4_0,
    };
    uint32_t count = 0;
    *types = calloc(list->count, sizeof **types);
    if (!*types)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        if (tv_parameter_is_of_adapter(p))
            continue;
        uint32_t there = published ? tv_parameter_index(published, p->role, p->layer) : TV_NO_PARAMETER;
        (*types)[count++] = settings->weights != TV_WEIGHTS_AUTO ? named[settings->weights]
                            : there != TV_NO_PARAMETER           ? published->items[there].storage
                                                                 : TV_F32;
    }
    return TV_OK;
}

/* What auto came to, where all matrices have one type: a run that is resumed reads checkpoints, whose type is
 * another. */
static void settle_type(tv_run_settings *settings, const tv_parameter_list *list) {
    static const int choices[] = {[TV_F32] = TV_WEIGHTS_F32,
                                  [TV_F16] = TV_WEIGHTS_F16,
                                  [TV_BF16] = TV_WEIGHTS_BF16,
                                  [TV_Q8_0] = TV_WEIGHTS_Q8_0,
                                  [TV_Q4_0] = TV_WEIGHTS_Q4_0};
    tv_dtype type = list->items[0].storage;
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        bool always_floats = p->rank == 1 || p->role == TV_PARAMETER_POSITIONS ||
                             p->role == TV_PARAMETER_SCORE_WEIGHT || tv_parameter_is_of_adapter(p);
        if (!always_floats && p->storage != type)
            return;
    }
    if (settings->weights == TV_WEIGHTS_AUTO)
        settings->weights = choices[type];
}

/* ---- all of it ---- */

static tv_status choose_trained(const tv_run_settings *settings, const tv_parameter_list *list,
                                const tv_dtype *types, tv_parameter_list **chosen) {
    tv_status status;
    bool *trainable = calloc(list->count, sizeof *trainable);
    if (!trainable)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
    TV_TRY(tv_trainable_parse(settings->train.trainable, where, list, trainable));
    const tv_parameter_choice choice = {
        .trainable = trainable, .storage = types, .optimizer = (tv_optimizer)settings->train.optimizer};
    TV_TRY(tv_parameter_list_create_chosen(&list->config, &choice, chosen));
    if ((*chosen)->trainable_count == 0) {
        status =
            tv_fail(TV_E_CONFIG, "%s: \"%s\" leaves nothing to be trained", where, settings->train.trainable);
        tv_parameter_list_destroy(chosen);
    }
done:
    free(trainable);
    return status;
}

/* Muon that changes nothing is a slip. */
static tv_status expect_matrices(const tv_run_settings *settings, const tv_parameter_list *list) {
    if (list->optimizer != TV_OPTIMIZER_MUON)
        return TV_OK;
    for (uint32_t i = 0; i < list->count; i++)
        if (list->items[i].trainable && list->items[i].optimizer == TV_OPTIMIZER_MUON)
            return TV_OK;
    return tv_fail(
        TV_E_CONFIG,
        "train.optimizer: muon changes the matrices of the blocks, and train.trainable=\"%.80s\" trains "
        "none of them (adapters are AdamW's); use adamw",
        settings->train.trainable);
}

tv_status tv_parameter_list_choose(tv_run_settings *settings, const tv_parameter_list *list, const char *base,
                                   const tv_parameter_list *published, tv_parameter_list **chosen) {
    tv_dtype *types;
    *chosen = NULL;
    TV_RETURN_IF_FAILED(tv_parameter_storage(settings, list, published, &types));
    bool adapts = settings->lora.rank || list->adapter.rank ||
                  (settings->stage != TV_STAGE_PRETRAIN && strcmp(settings->train.trainable, lora) == 0);
    tv_status status = adapts ? choose_adapter(settings, list, base, types, chosen)
                              : choose_trained(settings, list, types, chosen);
    if (status == TV_OK)
        status = expect_matrices(settings, *chosen);
    if (status == TV_OK)
        settle_type(settings, *chosen);
    else
        tv_parameter_list_destroy(chosen);
    free(types);
    return status;
}

/* ---- one base for several models ---- */

bool tv_parameters_share_base(const tv_parameter_list *store, const tv_model_directory *directory) {
    const tv_parameter_list *list = tv_model_directory_parameters(directory);
    char *real = NULL;
    if (!store->adapter.base || !tv_model_config_same_body(&store->config, &list->config) ||
        list->config.max_positions > store->config.max_positions)
        return false;
    const char *base = list->adapter.base;
    if (!base && tv_real_path(tv_model_directory_path(directory), &real) == TV_OK)
        base = real;
    bool same = base && strcmp(base, store->adapter.base) == 0;
    free(real);
    return same;
}

/* The types of `types`, in the list's order without adapters, where `like` has the parameter. */
static void store_like(const tv_parameter_list *list, const tv_parameter_list *like, tv_dtype *types) {
    for (uint32_t i = 0, count = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        if (tv_parameter_is_of_adapter(p))
            continue;
        uint32_t there = tv_parameter_index(like, p->role, p->layer);
        if (there != TV_NO_PARAMETER)
            types[count] = like->items[there].storage;
        count++;
    }
}

tv_status tv_parameter_list_freeze(const tv_parameter_list *list, const tv_parameter_list *like,
                                   tv_weights weights, tv_parameter_list **frozen) {
    *frozen = NULL;
    tv_dtype *types;
    bool *trainable = calloc(list->count, sizeof *trainable);
    if (!trainable)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
    tv_status status = tv_parameter_storage(&(tv_run_settings){.weights = (int)weights}, list, list, &types);
    if (status == TV_OK && weights == TV_WEIGHTS_AUTO)
        store_like(list, like, types);
    const tv_parameter_choice choice = {
        .trainable = trainable, .storage = types, .adapter = list->adapter.rank ? &list->adapter : NULL};
    if (status == TV_OK)
        status = tv_parameter_list_create_chosen(&list->config, &choice, frozen);
    free(trainable);
    free(types);
    return status;
}
