/* Tables of GGUF's names: see gguf_names.h. */
#include "formats/gguf_names.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

typedef struct family {
    const char *name, *architecture;
    bool turned; /* queries and keys */
} family;

/* Of two classes under one name the first is what a file is read as. */
static const family families[] = {
    {"gpt2", "GPT2LMHeadModel", false},    {"llama", "LlamaForCausalLM", true},
    {"llama", "MistralForCausalLM", true}, {"qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "Qwen3ForCausalLM", false},  {"gemma3", "Gemma3ForCausalLM", false},
};

/* What transformers' name, or its end within a layer, becomes; the first row that fits counts. */
typedef struct renamed {
    const char *family; /* NULL: any */
    const char *published, *name;
} renamed;

static const renamed whole[] = {
    {NULL, "transformer.wte.weight", "token_embd.weight"},
    {NULL, "transformer.wpe.weight", "position_embd.weight"},
    {NULL, "transformer.ln_f.weight", "output_norm.weight"},
    {NULL, "transformer.ln_f.bias", "output_norm.bias"},
    {NULL, "model.embed_tokens.weight", "token_embd.weight"},
    {NULL, "model.norm.weight", "output_norm.weight"},
    {NULL, "lm_head.weight", "output.weight"},
};

static const renamed in_layer[] = {
    {NULL, "ln_1", "attn_norm"},
    {NULL, "attn.c_attn", "attn_qkv"},
    {NULL, "attn.c_proj", "attn_output"},
    {NULL, "ln_2", "ffn_norm"},
    {NULL, "mlp.c_fc", "ffn_up"},
    {NULL, "mlp.c_proj", "ffn_down"},
    {NULL, "input_layernorm", "attn_norm"},
    {NULL, "self_attn.q_proj", "attn_q"},
    {NULL, "self_attn.k_proj", "attn_k"},
    {NULL, "self_attn.v_proj", "attn_v"},
    {NULL, "self_attn.o_proj", "attn_output"},
    {NULL, "self_attn.q_norm", "attn_q_norm"},
    {NULL, "self_attn.k_norm", "attn_k_norm"},
    {"gemma3", "post_attention_layernorm", "post_attention_norm"},
    {"gemma3", "pre_feedforward_layernorm", "ffn_norm"},
    {"gemma3", "post_feedforward_layernorm", "post_ffw_norm"},
    {NULL, "post_attention_layernorm", "ffn_norm"},
    {NULL, "mlp.gate_proj", "ffn_gate"},
    {NULL, "mlp.up_proj", "ffn_up"},
    {NULL, "mlp.down_proj", "ffn_down"},
};

const char *tv_gguf_family_of(const char *architecture) {
    for (size_t i = 0; i < TV_COUNT(families); i++)
        if (strcmp(families[i].architecture, architecture) == 0)
            return families[i].name;
    return NULL;
}

const char *tv_gguf_architecture_of(const char *name) {
    for (size_t i = 0; i < TV_COUNT(families); i++)
        if (strcmp(families[i].name, name) == 0)
            return families[i].architecture;
    return NULL;
}

static const char *find(const renamed *rows, uint64_t count, const char *family_name, const char *published,
                        size_t length) {
    for (uint64_t i = 0; i < count; i++)
        if ((!rows[i].family || strcmp(rows[i].family, family_name) == 0) &&
            strlen(rows[i].published) == length && strncmp(rows[i].published, published, length) == 0)
            return rows[i].name;
    return NULL;
}

/* "model.layers.3.self_attn.q_proj.weight": "blk.3.attn_q.weight"; NULL where no row has it. */
static const char *rename_tensor(tv_arena *arena, const char *family_name, const char *published) {
    const char *name = find(whole, TV_COUNT(whole), family_name, published, strlen(published));
    if (name)
        return tv_arena_format(arena, "%s", name);
    const char *layer = published;
    while (*layer && !(layer[0] == '.' && isdigit((unsigned char)layer[1])))
        layer++;
    const char *rest = *layer ? strchr(layer + 1, '.') : NULL;
    const char *kind = rest ? strrchr(rest, '.') : NULL;
    if (!kind || kind == rest)
        return NULL;
    name = find(in_layer, TV_COUNT(in_layer), family_name, rest + 1, (size_t)(kind - rest - 1));
    return name ? tv_arena_format(arena, "blk%.*s.%s%s", (int)(rest - layer), layer, name, kind) : NULL;
}

typedef struct names_storage {
    tv_gguf_names names;
    tv_arena *arena;
} names_storage;

static uint64_t turned_heads(const tv_parameter_list *list, const tv_layout_entry *entry,
                             const char *family_name) {
    const tv_model_config *config = &list->config;
    tv_parameter_role role = list->items[entry->parameter].role;
    bool turned = false;
    for (size_t i = 0; i < TV_COUNT(families); i++)
        turned |= families[i].turned && strcmp(families[i].name, family_name) == 0;
    if (!turned || (role != TV_PARAMETER_QKV_WEIGHT && role != TV_PARAMETER_QKV_BIAS))
        return 0;
    uint64_t q = config->n_head * config->head_size;
    return entry->first_row == 0 ? config->n_head : entry->first_row == q ? config->n_kv_head : 0;
}

static bool is_gain(tv_parameter_role role) {
    static const tv_parameter_role gains[] = {
        TV_PARAMETER_NORM1_GAIN,     TV_PARAMETER_NORM2_GAIN,  TV_PARAMETER_POST_ATTENTION_NORM_GAIN,
        TV_PARAMETER_Q_NORM_GAIN,    TV_PARAMETER_K_NORM_GAIN, TV_PARAMETER_POST_MLP_NORM_GAIN,
        TV_PARAMETER_FINAL_NORM_GAIN};
    bool found = false;
    for (size_t i = 0; i < TV_COUNT(gains); i++)
        found |= gains[i] == role;
    return found;
}

tv_status tv_gguf_names_create(const tv_parameter_list *list, tv_gguf_names **names) {
    tv_status status;
    tv_layout *layout = NULL;
    names_storage *storage = NULL;
    const char *architecture = tv_model_config_architecture(&list->config);
    const char *family_name = tv_gguf_family_of(architecture);
    *names = NULL;
    if (!family_name) {
        status = tv_fail(TV_E_CONFIG, "a %s has no form in GGUF that is known here", architecture);
        goto done;
    }
    TV_TRY(tv_layout_create(list, &layout));
    if (!(storage = calloc(1, sizeof *storage))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a model's names");
        goto done;
    }
    TV_TRY(tv_arena_create(&storage->arena));
    tv_gguf_entry *entries = tv_arena_alloc(storage->arena, layout->count, sizeof *entries);
    if (!entries) {
        status = TV_E_MEMORY;
        goto done;
    }
    for (uint64_t i = 0; i < layout->count; i++) {
        const tv_layout_entry *from = &layout->entries[i];
        entries[i] = (tv_gguf_entry){.parameter = from->parameter,
                                     .first_row = from->first_row,
                                     .rows = from->rows,
                                     .columns = list->items[from->parameter].shape[1],
                                     .rank = from->rank,
                                     .turned_heads = turned_heads(list, from, family_name),
                                     .from_one = list->config.gain_from_one &&
                                                 is_gain(list->items[from->parameter].role)};
        entries[i].published = tv_arena_format(storage->arena, "%s", from->name);
        entries[i].name = rename_tensor(storage->arena, family_name, from->name);
        if (!entries[i].name) {
            status = tv_fail(TV_E_CONFIG, "tensor \"%s\" of a %s has no name in GGUF that is known here",
                             from->name, architecture);
            goto done;
        }
    }
    storage->names = (tv_gguf_names){family_name, entries, layout->count};
    *names = &storage->names;
    storage = NULL;
    status = TV_OK;
done:
    if (storage) {
        tv_gguf_names *made = &storage->names;
        tv_gguf_names_destroy(&made);
    }
    tv_layout_destroy(&layout);
    return status;
}

void tv_gguf_names_destroy(tv_gguf_names **names) {
    if (*names) {
        names_storage *storage = (names_storage *)*names;
        tv_arena_destroy(&storage->arena);
        free(storage);
    }
    *names = NULL;
}

uint64_t tv_gguf_entry_row(const tv_gguf_entry *entry, uint64_t row) {
    if (!entry->turned_heads)
        return row;
    uint64_t size = entry->rows / entry->turned_heads, head = row / size, at = row % size;
    return head * size + at % 2 * (size / 2) + at / 2;
}
