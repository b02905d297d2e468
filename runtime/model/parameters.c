/* The list of parameters: see parameters.h. */
#include "model/parameters.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/rng.h"
#include "kernels/update_plan.h"

/* Beyond it an adapter is no adapter, and sizes need no check of their own. */
enum { MOST_RANK = 1 << 16 };

/* The public part first, so that a pointer to one is a pointer to the other. */
typedef struct list_storage {
    tv_parameter_list list;
    tv_arena *arena;
    uint32_t of_config; /* parameters of the config so far, without those of adapters */
} list_storage;

/* A role's own name, and the operation that it belongs to. */
static const struct {
    const char *name, *operation;
} roles[TV_PARAMETER_ROLES] = {
    [TV_PARAMETER_EMBEDDING] = {"embedding", "embedding"},
    [TV_PARAMETER_POSITIONS] = {"positions", "positions"},
    [TV_PARAMETER_NORM1_GAIN] = {"norm1 gain", "norm1"},
    [TV_PARAMETER_NORM1_BIAS] = {"norm1 bias", "norm1"},
    [TV_PARAMETER_QKV_WEIGHT] = {"qkv weight", "qkv"},
    [TV_PARAMETER_QKV_BIAS] = {"qkv bias", "qkv"},
    [TV_PARAMETER_Q_NORM_GAIN] = {"q norm gain", "qk norm"},
    [TV_PARAMETER_K_NORM_GAIN] = {"k norm gain", "qk norm"},
    [TV_PARAMETER_ATTN_OUT_WEIGHT] = {"attn out weight", "attn out"},
    [TV_PARAMETER_ATTN_OUT_BIAS] = {"attn out bias", "attn out"},
    [TV_PARAMETER_POST_ATTENTION_NORM_GAIN] = {"post attention norm gain", "post attention norm"},
    [TV_PARAMETER_NORM2_GAIN] = {"norm2 gain", "norm2"},
    [TV_PARAMETER_NORM2_BIAS] = {"norm2 bias", "norm2"},
    [TV_PARAMETER_MLP_IN_WEIGHT] = {"mlp in weight", "mlp in"},
    [TV_PARAMETER_MLP_IN_BIAS] = {"mlp in bias", "mlp in"},
    [TV_PARAMETER_MLP_OUT_WEIGHT] = {"mlp out weight", "mlp out"},
    [TV_PARAMETER_MLP_OUT_BIAS] = {"mlp out bias", "mlp out"},
    [TV_PARAMETER_POST_MLP_NORM_GAIN] = {"post mlp norm gain", "post mlp norm"},
    [TV_PARAMETER_FINAL_NORM_GAIN] = {"final norm gain", "final norm"},
    [TV_PARAMETER_FINAL_NORM_BIAS] = {"final norm bias", "final norm"},
    [TV_PARAMETER_HEAD_WEIGHT] = {"head weight", "head"},
    [TV_PARAMETER_SCORE_WEIGHT] = {"score weight", "score"},
    [TV_PARAMETER_ADAPTER_A] = {"adapter A", "adapter"},
    [TV_PARAMETER_ADAPTER_B] = {"adapter B", "adapter"},
};

const char *tv_parameter_operation(tv_parameter_role role) {
    return roles[role].operation;
}

const char *tv_parameter_role_name(tv_parameter_role role) {
    return roles[role].name;
}

bool tv_parameter_is_of_adapter(const tv_parameter *parameter) {
    return parameter->role == TV_PARAMETER_ADAPTER_A || parameter->role == TV_PARAMETER_ADAPTER_B;
}

static bool is_in_layer(tv_parameter_role role) {
    return role >= TV_PARAMETER_NORM1_GAIN && role <= TV_PARAMETER_POST_MLP_NORM_GAIN;
}

static bool has_role(const tv_model_config *config, tv_parameter_role role) {
    switch (role) {
    case TV_PARAMETER_POSITIONS:
        return config->positions == TV_POSITIONS_LEARNED;
    case TV_PARAMETER_NORM1_BIAS:
    case TV_PARAMETER_NORM2_BIAS:
    case TV_PARAMETER_FINAL_NORM_BIAS:
        return config->norm == TV_NORM_LAYER;
    case TV_PARAMETER_QKV_BIAS:
        return config->attention_bias;
    case TV_PARAMETER_Q_NORM_GAIN:
    case TV_PARAMETER_K_NORM_GAIN:
        return config->qk_norm;
    case TV_PARAMETER_ATTN_OUT_BIAS:
        return config->attention_out_bias;
    case TV_PARAMETER_POST_ATTENTION_NORM_GAIN:
    case TV_PARAMETER_POST_MLP_NORM_GAIN:
        return config->post_norms;
    case TV_PARAMETER_MLP_IN_BIAS:
    case TV_PARAMETER_MLP_OUT_BIAS:
        return config->mlp_bias;
    case TV_PARAMETER_HEAD_WEIGHT:
        return config->head == TV_MODEL_HEAD_LANGUAGE && !config->tied;
    case TV_PARAMETER_SCORE_WEIGHT:
        return config->head == TV_MODEL_HEAD_SCORE;
    case TV_PARAMETER_ADAPTER_A:
    case TV_PARAMETER_ADAPTER_B:
        return false; /* of the adapter, not of the config */
    default:
        return true;
    }
}

static void set_matrix(tv_parameter *p, uint64_t rows, uint64_t columns) {
    p->rank = 2;
    p->shape[0] = rows;
    p->shape[1] = columns;
    p->init = TV_INIT_NORMAL;
}

static tv_parameter describe(const tv_model_config *config, tv_parameter_role role) {
    uint64_t C = config->channels, F = config->ffn;
    uint64_t attended = config->n_head * config->head_size;
    uint64_t qkv = (config->n_head + 2 * config->n_kv_head) * config->head_size;
    uint64_t mlp_in = tv_model_config_is_gated(config) ? 2 * F : F;
    double std = config->initializer_range, residual = std * (1 / sqrt(2 * (double)config->n_layer));
    tv_parameter_init gain = config->gain_from_one ? TV_INIT_ZERO : TV_INIT_ONE;
    tv_parameter p = {.role = role, .rank = 1, .shape = {C, 1}, .init = TV_INIT_ZERO};
    switch (role) {
    case TV_PARAMETER_EMBEDDING:
    case TV_PARAMETER_HEAD_WEIGHT:
        set_matrix(&p, config->vocab_size, C);
        break;
    case TV_PARAMETER_POSITIONS:
        set_matrix(&p, config->max_positions, C);
        break;
    case TV_PARAMETER_QKV_WEIGHT:
        set_matrix(&p, qkv, C);
        break;
    case TV_PARAMETER_ATTN_OUT_WEIGHT:
        set_matrix(&p, C, attended);
        std = residual;
        break;
    case TV_PARAMETER_MLP_IN_WEIGHT:
        set_matrix(&p, mlp_in, C);
        break;
    case TV_PARAMETER_MLP_OUT_WEIGHT:
        set_matrix(&p, C, F);
        std = residual;
        break;
    case TV_PARAMETER_SCORE_WEIGHT:
        set_matrix(&p, 1, C);
        std = 1 / sqrt((double)C + 1);
        break;
    case TV_PARAMETER_QKV_BIAS:
        p.shape[0] = qkv;
        break;
    case TV_PARAMETER_MLP_IN_BIAS:
        p.shape[0] = mlp_in;
        break;
    case TV_PARAMETER_Q_NORM_GAIN:
    case TV_PARAMETER_K_NORM_GAIN:
        p.shape[0] = config->head_size;
        p.init = gain;
        break;
    case TV_PARAMETER_NORM1_GAIN:
    case TV_PARAMETER_POST_ATTENTION_NORM_GAIN:
    case TV_PARAMETER_NORM2_GAIN:
    case TV_PARAMETER_POST_MLP_NORM_GAIN:
    case TV_PARAMETER_FINAL_NORM_GAIN:
        p.init = gain;
        break;
    default:
        break;
    }
    p.count = p.shape[0] * p.shape[1];
    p.decay = p.rank == 2;
    p.init_std = p.init == TV_INIT_NORMAL ? (float)std : 0;
    return p;
}

/* What Muon is for: maps from hidden states to hidden states. Embeddings and heads have a side of tokens,
 * whose rows are learned apart; an adapter's A and B are factors of a step, B zero at first, and are AdamW's
 * by custom. */
static bool is_hidden_matrix(tv_parameter_role role) {
    return role == TV_PARAMETER_QKV_WEIGHT || role == TV_PARAMETER_ATTN_OUT_WEIGHT ||
           role == TV_PARAMETER_MLP_IN_WEIGHT || role == TV_PARAMETER_MLP_OUT_WEIGHT;
}

uint32_t tv_parameter_matrices(const tv_model_config *config, const tv_parameter *parameter,
                               uint64_t rows[TV_PARAMETER_MATRICES]) {
    if (parameter->role == TV_PARAMETER_QKV_WEIGHT) {
        rows[0] = config->n_head * config->head_size;
        rows[1] = rows[2] = config->n_kv_head * config->head_size;
        return 3;
    }
    if (parameter->role == TV_PARAMETER_MLP_IN_WEIGHT && tv_model_config_is_gated(config)) {
        rows[0] = rows[1] = config->ffn;
        return 2;
    }
    rows[0] = parameter->shape[0];
    return 1;
}

/* What the choice comes to for one parameter. */
static tv_optimizer optimizer_of(const tv_parameter_list *list, const tv_parameter *p) {
    bool takes = (list->optimizer == TV_OPTIMIZER_MUON && is_hidden_matrix(p->role)) ||
                 (list->optimizer == TV_OPTIMIZER_ADAMW8 && p->rank == 2 && tv_moment8_words(p->count));
    return takes ? list->optimizer : TV_OPTIMIZER_ADAMW;
}

static void add(tv_parameter_list *list, tv_parameter *items, const tv_parameter *p) {
    list->elements += p->count;
    list->trainable_elements += p->trainable ? p->count : 0;
    list->trainable_count += p->trainable;
    list->max_elements = p->count > list->max_elements ? p->count : list->max_elements;
    items[list->count] = *p;
    items[list->count++].optimizer = optimizer_of(list, p);
}

/* A and B of every target of the matrix that was appended last. */
static tv_status append_adapters(list_storage *storage, tv_parameter *items, tv_parameter_role role,
                                 uint32_t layer) {
    tv_parameter_list *list = &storage->list;
    const tv_adapter *adapter = &list->adapter;
    uint64_t columns = items[list->count - 1].shape[1];
    for (uint32_t t = 0; t < adapter->target_count; t++) {
        const tv_adapter_target *target = &adapter->targets[t];
        if (target->role != role)
            continue;
        for (int b = 0; b < 2; b++) {
            tv_parameter p = {.role = b ? TV_PARAMETER_ADAPTER_B : TV_PARAMETER_ADAPTER_A,
                              .layer = layer,
                              .target = t,
                              .trainable = true,
                              .init = b ? TV_INIT_ZERO : TV_INIT_UNIFORM,
                              .init_std = b ? 0 : (float)(1 / sqrt((double)columns))};
            if (b)
                set_matrix(&p, target->rows, adapter->rank);
            else
                set_matrix(&p, adapter->rank, columns);
            p.init = b ? TV_INIT_ZERO : TV_INIT_UNIFORM;
            p.count = p.shape[0] * p.shape[1];
            p.decay = true;
            p.name =
                tv_arena_format(storage->arena, "layer %u %s from row %llu, %s", (unsigned)layer,
                                roles[role].name, (unsigned long long)target->first_row, roles[p.role].name);
            if (!p.name)
                return TV_E_MEMORY;
            add(list, items, &p);
        }
    }
    return TV_OK;
}

static tv_dtype storage_of(const tv_parameter *p, tv_dtype wanted) {
    if (p->rank != 2 || p->role == TV_PARAMETER_POSITIONS || p->role == TV_PARAMETER_SCORE_WEIGHT)
        return TV_F32;
    bool held = !(p->trainable && wanted == TV_Q4_0) && tv_dtype_takes(wanted, p->shape[1]);
    return held ? wanted : TV_BF16;
}

static tv_status append(list_storage *storage, tv_parameter *items, const tv_parameter_choice *choice,
                        tv_parameter_role role, uint32_t layer) {
    tv_parameter_list *list = &storage->list;
    if (!has_role(&list->config, role))
        return TV_OK;
    tv_parameter p = describe(&list->config, role);
    p.layer = layer;
    p.name = layer == TV_NO_LAYER
                 ? roles[role].name
                 : tv_arena_format(storage->arena, "layer %u %s", (unsigned)layer, roles[role].name);
    if (!p.name)
        return TV_E_MEMORY;
    if (list->first[role] == TV_NO_PARAMETER)
        list->first[role] = list->count;
    p.trainable = choice->trainable
                      ? choice->trainable[storage->of_config]
                      : !list->adapter.rank || (choice->score && role == TV_PARAMETER_SCORE_WEIGHT);
    p.storage = storage_of(&p, choice->storage ? choice->storage[storage->of_config] : TV_F32);
    storage->of_config++;
    add(list, items, &p);
    return append_adapters(storage, items, role, layer);
}

/* Targets lie within their matrices, in their order and apart; the base's name is the list's own. */
static tv_status check_adapter(list_storage *storage) {
    tv_adapter *adapter = &storage->list.adapter;
    bool good =
        adapter->target_count <= TV_ADAPTER_TARGETS && (adapter->rank > 0) == (adapter->target_count > 0);
    for (uint32_t t = 0; good && t < adapter->target_count; t++) {
        const tv_adapter_target *target = &adapter->targets[t], *before = t ? target - 1 : NULL;
        uint64_t rows = describe(&storage->list.config, target->role).shape[0];
        good = is_in_layer(target->role) && describe(&storage->list.config, target->role).rank == 2 &&
               target->rows > 0 && target->first_row < rows && target->rows <= rows - target->first_row &&
               (!before || before->role < target->role ||
                (before->role == target->role && before->first_row + before->rows <= target->first_row));
    }
    if (!good || adapter->rank > MOST_RANK)
        return tv_fail(TV_E_USAGE,
                       "an adapter of rank %llu: its targets are not rows of the model's matrices",
                       (unsigned long long)adapter->rank);
    adapter->base = adapter->base ? tv_arena_format(storage->arena, "%s", adapter->base) : NULL;
    adapter->base_values =
        adapter->base_values ? tv_arena_format(storage->arena, "%s", adapter->base_values) : NULL;
    return TV_OK;
}

tv_status tv_parameter_list_create(const tv_model_config *config, tv_parameter_list **list) {
    return tv_parameter_list_create_chosen(config, &(tv_parameter_choice){0}, list);
}

/* `storage` NULL: that of the other list. */
static tv_status create_again(const tv_parameter_list *other, const tv_model_config *config,
                              const tv_dtype *storage, tv_optimizer optimizer, tv_parameter_list **list) {
    *list = NULL;
    bool *trainable = calloc(other->count, sizeof *trainable);
    tv_dtype *types = calloc(other->count, sizeof *types);
    if (!trainable || !types) {
        free(trainable);
        free(types);
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
    }
    uint32_t count = 0;
    for (uint32_t i = 0; i < other->count; i++)
        if (!tv_parameter_is_of_adapter(&other->items[i])) {
            trainable[count] = other->items[i].trainable;
            types[count] = storage ? storage[count] : other->items[i].storage;
            count++;
        }
    const tv_parameter_choice choice = {.trainable = trainable,
                                        .storage = types,
                                        .adapter = other->adapter.rank ? &other->adapter : NULL,
                                        .optimizer = optimizer};
    tv_status status = tv_parameter_list_create_chosen(config, &choice, list);
    if (status == TV_OK)
        (*list)->owners = other->owners;
    free(trainable);
    free(types);
    return status;
}

tv_status tv_parameter_list_create_like(const tv_parameter_list *other, const tv_model_config *config,
                                        tv_parameter_list **list) {
    return create_again(other, config, NULL, other->optimizer, list);
}

tv_status tv_parameter_list_create_stored(const tv_parameter_list *other, const tv_dtype *storage,
                                          tv_parameter_list **list) {
    return create_again(other, &other->config, storage, other->optimizer, list);
}

tv_status tv_parameter_list_create_optimized(const tv_parameter_list *other, tv_optimizer optimizer,
                                             tv_parameter_list **list) {
    return create_again(other, &other->config, NULL, optimizer, list);
}

tv_status tv_parameter_list_create_chosen(const tv_model_config *config, const tv_parameter_choice *choice,
                                          tv_parameter_list **list) {
    *list = NULL;
    TV_RETURN_IF_FAILED(tv_model_config_check(config, "model"));
    list_storage *storage = calloc(1, sizeof *storage);
    if (!storage)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
    tv_parameter_list *made = &storage->list;
    tv_status status;
    made->config = *config;
    made->optimizer = choice->optimizer;
    if (choice->adapter)
        made->adapter = *choice->adapter;
    made->per_layer = 2 * made->adapter.target_count;
    for (int role = 0; role < TV_PARAMETER_ROLES; role++) {
        made->first[role] = TV_NO_PARAMETER;
        made->per_layer += is_in_layer((tv_parameter_role)role) && has_role(config, (tv_parameter_role)role);
    }
    TV_TRY_OR_FAIL(tv_arena_create(&storage->arena));
    TV_TRY_OR_FAIL(check_adapter(storage));
    tv_parameter *items =
        tv_arena_alloc(storage->arena, TV_PARAMETER_ROLES + made->per_layer * config->n_layer, sizeof *items);
    if (!items) {
        status = TV_E_MEMORY;
        goto fail;
    }
    made->items = items;
    for (int role = 0; role < TV_PARAMETER_NORM1_GAIN; role++)
        TV_TRY_OR_FAIL(append(storage, items, choice, (tv_parameter_role)role, TV_NO_LAYER));
    for (uint32_t layer = 0; layer < config->n_layer; layer++)
        for (int role = TV_PARAMETER_NORM1_GAIN; role <= TV_PARAMETER_POST_MLP_NORM_GAIN; role++)
            TV_TRY_OR_FAIL(append(storage, items, choice, (tv_parameter_role)role, layer));
    for (int role = TV_PARAMETER_FINAL_NORM_GAIN; role < TV_PARAMETER_ROLES; role++)
        TV_TRY_OR_FAIL(append(storage, items, choice, (tv_parameter_role)role, TV_NO_LAYER));
    *list = made;
    return TV_OK;
fail:
    tv_parameter_list_destroy(&made);
    return status;
}

void tv_parameter_list_destroy(tv_parameter_list **list) {
    if (*list) {
        list_storage *storage = (list_storage *)*list;
        tv_arena_destroy(&storage->arena);
        free(storage);
    }
    *list = NULL;
}

uint32_t tv_parameter_index(const tv_parameter_list *list, tv_parameter_role role, uint32_t layer) {
    uint32_t first = list->first[role];
    if (first == TV_NO_PARAMETER || !is_in_layer(role))
        return first;
    return layer < list->config.n_layer ? first + layer * list->per_layer : TV_NO_PARAMETER;
}

uint32_t tv_adapter_place(const tv_adapter *adapter, uint32_t target) {
    uint32_t place = 0;
    while (place < target && adapter->targets[target - place - 1].role == adapter->targets[target].role)
        place++;
    return place;
}

uint32_t tv_adapter_places(const tv_adapter *adapter) {
    uint32_t most = 0;
    for (uint32_t t = 0; t < adapter->target_count; t++) {
        uint32_t places = tv_adapter_place(adapter, t) + 1;
        most = places > most ? places : most;
    }
    return most;
}

bool tv_adapter_adds_to(const tv_adapter *adapter, tv_parameter_role matrix) {
    for (uint32_t t = 0; t < adapter->target_count; t++)
        if (adapter->targets[t].role == matrix)
            return true;
    return false;
}

double tv_adapter_scale(const tv_adapter *adapter) {
    double rank = (double)adapter->rank;
    return adapter->alpha / (adapter->rslora ? sqrt(rank) : rank);
}

uint32_t tv_parameter_adapter(const tv_parameter_list *list, uint32_t target, uint32_t layer,
                              tv_parameter_role role) {
    if (target >= list->adapter.target_count)
        return TV_NO_PARAMETER;
    uint32_t matrix = tv_parameter_index(list, list->adapter.targets[target].role, layer);
    if (matrix == TV_NO_PARAMETER)
        return TV_NO_PARAMETER;
    return matrix + 1 + 2 * tv_adapter_place(&list->adapter, target) + (role == TV_PARAMETER_ADAPTER_B);
}

static bool same_target(const tv_adapter_target *a, const tv_adapter_target *b) {
    return a->role == b->role && a->first_row == b->first_row && a->rows == b->rows;
}

uint32_t tv_parameter_in(const tv_parameter_list *list, const tv_parameter *parameter,
                         const tv_adapter *adapter) {
    if (!tv_parameter_is_of_adapter(parameter))
        return tv_parameter_index(list, parameter->role, parameter->layer);
    for (uint32_t t = 0; t < list->adapter.target_count; t++)
        if (same_target(&list->adapter.targets[t], &adapter->targets[parameter->target]))
            return tv_parameter_adapter(list, t, parameter->layer, parameter->role);
    return TV_NO_PARAMETER;
}

uint32_t tv_parameter_head(const tv_parameter_list *list) {
    if (list->config.head != TV_MODEL_HEAD_LANGUAGE)
        return TV_NO_PARAMETER;
    return tv_parameter_index(list, list->config.tied ? TV_PARAMETER_EMBEDDING : TV_PARAMETER_HEAD_WEIGHT,
                              TV_NO_LAYER);
}

uint64_t tv_parameter_piece_rows(const tv_parameter *parameter) {
    uint64_t rows = TV_PIECE_BYTES / (parameter->shape[1] * sizeof(float));
    return tv_min_u64(parameter->shape[0], tv_max_u64(rows / 4 * 4, 4));
}

uint64_t tv_parameter_piece_elements(const tv_parameter_list *list) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < list->count; i++)
        most = tv_max_u64(most, tv_parameter_piece_rows(&list->items[i]) * list->items[i].shape[1]);
    return most;
}

tv_status tv_parameter_expect_floats(tv_dtype dtype) {
    return dtype == TV_F32 ? TV_OK
                           : tv_fail(TV_E_USAGE, "parameters are yielded as f32, not as type %d", dtype);
}

void tv_parameter_initialise(const tv_parameter_list *list, uint32_t index, uint64_t seed, uint64_t first_row,
                             uint64_t rows, float *out) {
    const tv_parameter *p = &list->items[index];
    tv_rng rng = {.seed = seed, .stream = TV_STREAM_INIT, .step = index};
    uint64_t first = first_row * p->shape[1], count = rows * p->shape[1];
    for (uint64_t i = 0; i < count; i++) {
        switch (p->init) {
        case TV_INIT_NORMAL:
            out[i] = tv_normal(&rng, first + i) * p->init_std;
            break;
        case TV_INIT_UNIFORM:
            out[i] = (2 * tv_uniform(&rng, first + i) - 1) * p->init_std;
            break;
        case TV_INIT_ZERO:
            out[i] = 0;
            break;
        case TV_INIT_ONE:
            out[i] = 1;
            break;
        }
    }
}

tv_status tv_parameter_initialise_as(const tv_parameter_list *list, uint32_t index, uint64_t seed,
                                     uint64_t first_row, uint64_t rows, tv_dtype dtype, void *out) {
    uint64_t columns = list->items[index].shape[1];
    if (dtype == TV_F32) {
        tv_parameter_initialise(list, index, seed, first_row, rows, out);
        return TV_OK;
    }
    float *values = calloc(rows * columns, sizeof *values);
    if (!values)
        return tv_fail(TV_E_MEMORY, "out of host memory for %llu rows of a parameter",
                       (unsigned long long)rows);
    tv_parameter_initialise(list, index, seed, first_row, rows, values);
    tv_dtype_from_f32(dtype, columns, rows, values, out);
    free(values);
    return TV_OK;
}
