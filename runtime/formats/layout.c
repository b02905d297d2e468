/* Tables of published tensor names: see layout.h. Names are those of transformers' modeling files. */
#include "formats/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

/* Which rows of a parameter a tensor holds. */
typedef enum row_range { ALL_ROWS, Q_ROWS, K_ROWS, V_ROWS, GATE_ROWS, UP_ROWS } row_range;

typedef struct published {
    tv_parameter_role role;
    row_range rows;
    bool transposed;
    const char *name; /* behind "<prefix><layers>.<layer>." within a layer, else whole */
} published;

static const published gpt2_names[] = {
    {TV_PARAMETER_EMBEDDING, ALL_ROWS, false, "transformer.wte.weight"},
    {TV_PARAMETER_POSITIONS, ALL_ROWS, false, "transformer.wpe.weight"},
    {TV_PARAMETER_NORM1_GAIN, ALL_ROWS, false, "ln_1.weight"},
    {TV_PARAMETER_NORM1_BIAS, ALL_ROWS, false, "ln_1.bias"},
    {TV_PARAMETER_QKV_WEIGHT, ALL_ROWS, true, "attn.c_attn.weight"},
    {TV_PARAMETER_QKV_BIAS, ALL_ROWS, false, "attn.c_attn.bias"},
    {TV_PARAMETER_ATTN_OUT_WEIGHT, ALL_ROWS, true, "attn.c_proj.weight"},
    {TV_PARAMETER_ATTN_OUT_BIAS, ALL_ROWS, false, "attn.c_proj.bias"},
    {TV_PARAMETER_NORM2_GAIN, ALL_ROWS, false, "ln_2.weight"},
    {TV_PARAMETER_NORM2_BIAS, ALL_ROWS, false, "ln_2.bias"},
    {TV_PARAMETER_MLP_IN_WEIGHT, ALL_ROWS, true, "mlp.c_fc.weight"},
    {TV_PARAMETER_MLP_IN_BIAS, ALL_ROWS, false, "mlp.c_fc.bias"},
    {TV_PARAMETER_MLP_OUT_WEIGHT, ALL_ROWS, true, "mlp.c_proj.weight"},
    {TV_PARAMETER_MLP_OUT_BIAS, ALL_ROWS, false, "mlp.c_proj.bias"},
    {TV_PARAMETER_FINAL_NORM_GAIN, ALL_ROWS, false, "transformer.ln_f.weight"},
    {TV_PARAMETER_FINAL_NORM_BIAS, ALL_ROWS, false, "transformer.ln_f.bias"},
    {TV_PARAMETER_HEAD_WEIGHT, ALL_ROWS, false, "lm_head.weight"},
    {TV_PARAMETER_SCORE_WEIGHT, ALL_ROWS, false, "score.weight"},
};

/* Of all families since Llama. */
static const published llama_names[] = {
    {TV_PARAMETER_EMBEDDING, ALL_ROWS, false, "model.embed_tokens.weight"},
    {TV_PARAMETER_NORM1_GAIN, ALL_ROWS, false, "input_layernorm.weight"},
    {TV_PARAMETER_QKV_WEIGHT, Q_ROWS, false, "self_attn.q_proj.weight"},
    {TV_PARAMETER_QKV_WEIGHT, K_ROWS, false, "self_attn.k_proj.weight"},
    {TV_PARAMETER_QKV_WEIGHT, V_ROWS, false, "self_attn.v_proj.weight"},
    {TV_PARAMETER_QKV_BIAS, Q_ROWS, false, "self_attn.q_proj.bias"},
    {TV_PARAMETER_QKV_BIAS, K_ROWS, false, "self_attn.k_proj.bias"},
    {TV_PARAMETER_QKV_BIAS, V_ROWS, false, "self_attn.v_proj.bias"},
    {TV_PARAMETER_Q_NORM_GAIN, ALL_ROWS, false, "self_attn.q_norm.weight"},
    {TV_PARAMETER_K_NORM_GAIN, ALL_ROWS, false, "self_attn.k_norm.weight"},
    {TV_PARAMETER_ATTN_OUT_WEIGHT, ALL_ROWS, false, "self_attn.o_proj.weight"},
    {TV_PARAMETER_ATTN_OUT_BIAS, ALL_ROWS, false, "self_attn.o_proj.bias"},
    {TV_PARAMETER_NORM2_GAIN, ALL_ROWS, false, "post_attention_layernorm.weight"},
    {TV_PARAMETER_MLP_IN_WEIGHT, GATE_ROWS, false, "mlp.gate_proj.weight"},
    {TV_PARAMETER_MLP_IN_WEIGHT, UP_ROWS, false, "mlp.up_proj.weight"},
    {TV_PARAMETER_MLP_IN_BIAS, GATE_ROWS, false, "mlp.gate_proj.bias"},
    {TV_PARAMETER_MLP_IN_BIAS, UP_ROWS, false, "mlp.up_proj.bias"},
    {TV_PARAMETER_MLP_OUT_WEIGHT, ALL_ROWS, false, "mlp.down_proj.weight"},
    {TV_PARAMETER_MLP_OUT_BIAS, ALL_ROWS, false, "mlp.down_proj.bias"},
    {TV_PARAMETER_FINAL_NORM_GAIN, ALL_ROWS, false, "model.norm.weight"},
    {TV_PARAMETER_HEAD_WEIGHT, ALL_ROWS, false, "lm_head.weight"},
    {TV_PARAMETER_SCORE_WEIGHT, ALL_ROWS, false, "score.weight"},
};

/* With norms before and behind, Gemma calls the MLP's first norm what Llama calls nothing. */
static const published gemma3_names[] = {
    {TV_PARAMETER_POST_ATTENTION_NORM_GAIN, ALL_ROWS, false, "post_attention_layernorm.weight"},
    {TV_PARAMETER_NORM2_GAIN, ALL_ROWS, false, "pre_feedforward_layernorm.weight"},
    {TV_PARAMETER_POST_MLP_NORM_GAIN, ALL_ROWS, false, "post_feedforward_layernorm.weight"},
};

typedef struct naming {
    const char *prefix, *layers;
    const published *names;
    uint64_t count;
    const published *own; /* in place of the names of the same roles, or beside them */
    uint64_t own_count;
} naming;

#define SINCE_LLAMA "model.", "model.layers", llama_names, TV_COUNT(llama_names)

static const naming namings[] = {
    [TV_ARCH_GPT2] = {"transformer.", "transformer.h", gpt2_names, TV_COUNT(gpt2_names), NULL, 0},
    [TV_ARCH_LLAMA] = {SINCE_LLAMA, NULL, 0},
    [TV_ARCH_MISTRAL] = {SINCE_LLAMA, NULL, 0},
    [TV_ARCH_QWEN2] = {SINCE_LLAMA, NULL, 0},
    [TV_ARCH_QWEN3] = {SINCE_LLAMA, NULL, 0},
    [TV_ARCH_GEMMA3] = {SINCE_LLAMA, gemma3_names, TV_COUNT(gemma3_names)},
};

typedef struct layout_storage {
    tv_layout layout;
    tv_arena *arena;
} layout_storage;

static void find_rows(const tv_model_config *config, const tv_parameter *p, row_range range,
                      tv_layout_entry *entry) {
    uint64_t q = config->n_head * config->head_size, kv = config->n_kv_head * config->head_size;
    entry->first_row = 0;
    entry->rows = p->shape[0];
    switch (range) {
    case ALL_ROWS:
        break;
    case Q_ROWS:
        entry->rows = q;
        break;
    case K_ROWS:
        entry->first_row = q;
        entry->rows = kv;
        break;
    case V_ROWS:
        entry->first_row = q + kv;
        entry->rows = kv;
        break;
    case GATE_ROWS:
        entry->rows = config->ffn;
        break;
    case UP_ROWS:
        entry->first_row = config->ffn;
        entry->rows = config->ffn;
        break;
    }
}

static bool has_role(const published *names, uint64_t count, tv_parameter_role role) {
    bool found = false;
    for (uint64_t k = 0; k < count; k++)
        found |= names[k].role == role;
    return found;
}

static const char *published_name(tv_arena *arena, const naming *names, const tv_parameter *p,
                                  const char *name) {
    if (p->layer == TV_NO_LAYER)
        return name;
    return tv_arena_format(arena, "%s.%u.%s", names->layers, (unsigned)p->layer, name);
}

tv_status tv_layout_create(const tv_parameter_list *list, tv_layout **layout) {
    const naming *names = &namings[list->config.architecture];
    tv_status status;
    *layout = NULL;
    TV_RETURN_IF_FAILED(tv_model_config_check_published(&list->config));
    layout_storage *storage = calloc(1, sizeof *storage);
    if (!storage)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model's layout");
    tv_layout *made = &storage->layout;
    TV_TRY_OR_FAIL(tv_arena_create(&storage->arena));
    /* A parameter is at most three tensors: q, k, v. */
    tv_layout_entry *entries = tv_arena_alloc(storage->arena, 3 * (uint64_t)list->count, sizeof *entries);
    if (!entries) {
        status = TV_E_MEMORY;
        goto fail;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        bool own = has_role(names->own, names->own_count, p->role);
        for (uint64_t k = 0; k < (own ? names->own_count : names->count); k++) {
            const published *known = own ? &names->own[k] : &names->names[k];
            if (known->role != p->role)
                continue;
            tv_layout_entry *entry = &entries[made->count++];
            entry->parameter = i;
            entry->transposed = known->transposed;
            entry->rank = p->rank;
            find_rows(&list->config, p, known->rows, entry);
            entry->shape[0] = known->transposed ? p->shape[1] : entry->rows;
            entry->shape[1] = known->transposed ? entry->rows : p->shape[1];
            entry->name = published_name(storage->arena, names, p, known->name);
            if (!entry->name) {
                status = TV_E_MEMORY;
                goto fail;
            }
        }
    }
    made->entries = entries;
    made->prefix = names->prefix;
    made->tied_head =
        list->config.head == TV_MODEL_HEAD_LANGUAGE && list->config.tied ? "lm_head.weight" : NULL;
    made->tied_to = entries[0].name;
    *layout = made;
    return TV_OK;
fail:
    tv_layout_destroy(&made);
    return status;
}

void tv_layout_destroy(tv_layout **layout) {
    if (*layout) {
        layout_storage *storage = (layout_storage *)*layout;
        tv_arena_destroy(&storage->arena);
        free(storage);
    }
    *layout = NULL;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), tail = strlen(end);
    return length >= tail && strcmp(text + length - tail, end) == 0;
}

bool tv_layout_is_buffer(const char *name) {
    return ends_with(name, ".attn.bias") || ends_with(name, ".attn.masked_bias") ||
           ends_with(name, ".rotary_emb.inv_freq");
}
