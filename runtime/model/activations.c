/* The activation plan: see activations.h. */
#include "model/activations.h"

#include <stdlib.h>

#include "kernels/attention.h"
#include "kernels/column_sums.h"
#include "kernels/matmul.h"
#include "kernels/reduce.h"
#include "vk/transfer.h"

/* A chunk of logits takes at most an eighth of what the plan has besides, but no less than fills a device: on
 * a CPU what its caches hold, on a GPU so many rows that a chunk's products have a tile for each unit. */
enum {
    LOGITS_SHARE = 8,
    LEAST_LOGITS_BYTES_CPU = 32 << 20,
    LEAST_LOGITS_BYTES = 128 << 20,
    LEAST_LOGITS_ROWS = 128,
    CHUNK_STEP = 64
};
/* Kernels count rows in 32 bits, with room for the part of a grid that lies past the end. */
static const uint64_t MOST_TOKENS = UINT64_C(1) << 31;

typedef struct plan_builder {
    tv_plan_item *items;
    tv_tensor **targets; /* where each item's tensor goes once placed */
    tv_dtype *dtypes;    /* and its type */
    uint64_t count, capacity;
    bool out_of_memory;
} plan_builder;

/* Room for one more item. */
static bool grow(plan_builder *plan) {
    if (plan->count < plan->capacity)
        return true;
    uint64_t capacity = plan->capacity ? 2 * plan->capacity : 64;
    tv_plan_item *items = realloc(plan->items, capacity * sizeof *items);
    if (items)
        plan->items = items;
    tv_tensor **targets = realloc(plan->targets, capacity * sizeof *targets);
    if (targets)
        plan->targets = targets;
    tv_dtype *dtypes = realloc(plan->dtypes, capacity * sizeof *dtypes);
    if (dtypes)
        plan->dtypes = dtypes;
    if (!items || !targets || !dtypes) {
        plan->out_of_memory = true;
        return false;
    }
    plan->capacity = capacity;
    return true;
}

static void add_bytes(plan_builder *plan, tv_tensor *tensor, tv_dtype dtype, uint64_t bytes, uint32_t first,
                      uint32_t last) {
    if (!grow(plan))
        return;
    plan->items[plan->count] = (tv_plan_item){.bytes = bytes, .first = first, .last = last};
    plan->dtypes[plan->count] = dtype;
    plan->targets[plan->count++] = tensor;
}

static void add_typed(plan_builder *plan, tv_tensor *tensor, tv_dtype dtype, uint64_t elements,
                      uint32_t first, uint32_t last) {
    add_bytes(plan, tensor, dtype, elements * tv_dtype_bytes(dtype), first, last);
}

static void add(plan_builder *plan, tv_tensor *tensor, uint64_t elements, uint32_t first, uint32_t last) {
    add_typed(plan, tensor, TV_F32, elements, first, last);
}

typedef struct widths {
    uint64_t stream, qkv, attended, mlp_in, mlp_act; /* elements of a row */
} widths;

static widths widths_of(const tv_model_config *config, bool backward) {
    /* Only the backward pass asks what GELU was taken of. */
    uint64_t gates = tv_model_config_is_gated(config) ? 2 : backward ? 1 : 0;
    return (widths){
        .stream = config->channels,
        .qkv = (config->n_head + 2 * config->n_kv_head) * config->head_size,
        .attended = config->n_head * config->head_size,
        .mlp_in = gates * config->ffn,
        .mlp_act = config->ffn,
    };
}

static void plan_block(plan_builder *plan, const tv_model_config *config, const widths *w,
                       const tv_activations *a, tv_block_activations *block, uint32_t first, uint32_t last) {
    const uint64_t rows = a->rows;
    const tv_dtype narrow = a->narrow, heads = a->heads;
    bool has_mean = config->norm == TV_NORM_LAYER;
    if (has_mean) {
        add(plan, &block->mean1, rows, first, last);
        add(plan, &block->mean2, rows, first, last);
    }
    add(plan, &block->rstd1, rows, first, last);
    add_typed(plan, &block->norm1, narrow, rows * w->stream, first, last);
    add_typed(plan, &block->qkv, heads, rows * w->qkv, first, last);
    if (config->qk_norm) {
        add_typed(plan, &block->qk_raw, heads,
                  rows * (config->n_head + config->n_kv_head) * config->head_size, first, last);
        add(plan, &block->qk_rstd, rows * (config->n_head + config->n_kv_head), first, last);
    }
    add(plan, &block->lse, rows * config->n_head, first, last);
    add_typed(plan, &block->attended, heads, rows * w->attended, first, last);
    if (config->post_norms) {
        add(plan, &block->attn_out, rows * w->stream, first, last);
        add(plan, &block->rstd_attn_out, rows, first, last);
        add(plan, &block->mlp_out, rows * w->stream, first, last);
        add(plan, &block->rstd_mlp_out, rows, first, last);
    }
    add(plan, &block->sum2, rows * w->stream, first, last);
    add(plan, &block->rstd2, rows, first, last);
    add_typed(plan, &block->norm2, narrow, rows * w->stream, first, last);
    if (w->mlp_in > 0)
        add_typed(plan, &block->mlp_in, narrow, rows * w->mlp_in, first, last);
    add_typed(plan, &block->mlp_act, narrow, rows * w->mlp_act, first, last);
}

static uint64_t scratch_bytes(const tv_model_config *config, const widths *w, uint64_t rows, bool backward) {
    uint64_t widest = tv_max_u64(tv_max_u64(w->qkv, w->mlp_in), w->stream);
    /* Of the widest weight's gradient. */
    uint64_t bytes = backward ? tv_matmul_scratch(widest, config->channels, rows) : 0;
    return tv_max_u64(bytes, tv_reduce_scratch(rows));
}

/* Of the vectors that are trained: in the layer that has most, and behind the last one. */
static uint64_t vector_elements(const tv_parameter_list *list) {
    uint64_t most = 0, behind = 0, own = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        uint64_t elements = p->trainable && p->rank == 1 ? p->count : 0;
        if (i > 0 && p->layer != list->items[i - 1].layer)
            own = 0;
        own += elements;
        most = tv_max_u64(most, p->layer == TV_NO_LAYER ? 0 : own);
        behind += p->layer == TV_NO_LAYER ? elements : 0;
    }
    return most + behind;
}

/* `rows` in chunks of about the same size, at most `most`, a multiple of 64, which keeps every chunk's offset
 * aligned: a last chunk of a few rows would be summed by another kernel, to other bits. */
static uint64_t even_chunks(uint64_t rows, uint64_t most) {
    if (rows <= most)
        return rows;
    return tv_min_u64(most, tv_align_up(tv_div_up(rows, tv_div_up(rows, most)), CHUNK_STEP));
}

/* `beside`: bytes of the plan without them. */
static uint64_t rows_of_logits(const tv_caps *caps, uint64_t vocab, const tv_activations *a,
                               uint64_t beside) {
    const uint64_t rows = a->options.logits_rows ? a->options.logits_rows : a->rows;
    const uint64_t row_bytes = vocab * sizeof(float);
    const uint64_t least = caps->type == TV_DEVICE_CPU ? LEAST_LOGITS_BYTES_CPU : LEAST_LOGITS_BYTES;
    uint64_t share = tv_max_u64(beside / LOGITS_SHARE, least) / row_bytes;
    uint64_t most = a->options.head_rows ? a->options.head_rows : tv_max_u64(share, LEAST_LOGITS_ROWS);
    /* A binding may start before the first row; a chunk that is cut for it is summed in another order. */
    uint64_t bound = tv_min_u64(caps->storage_range, caps->buffer_bytes) - TV_TENSOR_ALIGNMENT;
    most = tv_min_u64(most, bound / row_bytes);
    return most >= rows ? rows : even_chunks(rows, tv_max_u64(most / CHUNK_STEP, 1) * CHUNK_STEP);
}

/* Lifetimes as the head comment of activations.h numbers the operations. Without logits while head_rows is 0.
 */
static void build(plan_builder *plan, const tv_parameter_list *list, const tv_caps *caps, tv_activations *a) {
    const tv_model_config *config = &list->config;
    uint64_t adapter_width = list->adapter.rank * tv_adapter_places(&list->adapter);
    const widths w = widths_of(config, a->options.backward);
    uint32_t layers = (uint32_t)config->n_layer, head = layers + 1;
    uint32_t end = a->options.backward ? 2 * layers + 2 : head;
    bool shared = a->options.recompute || !a->options.backward;
    uint64_t rows = a->rows;
    bool has_mean = config->norm == TV_NORM_LAYER;
    for (uint32_t l = 0; l < layers; l++) {
        uint32_t first = l + 1, last = a->options.backward ? 2 * layers + 1 - l : l + 2;
        add(plan, &a->blocks[l].sum1, rows * w.stream, l, last);
        if (!shared)
            plan_block(plan, config, &w, a, &a->blocks[l], first, last);
    }
    if (shared)
        plan_block(plan, config, &w, a, &a->blocks[0], 1, end);
    add(plan, &a->sum_final, rows * w.stream, layers, head + 1);
    if (has_mean)
        add(plan, &a->mean_final, rows, head, head + 1);
    add(plan, &a->rstd_final, rows, head, head + 1);
    add_typed(plan, &a->final, a->narrow, rows * w.stream, head, head);
    if (a->head_rows && config->head == TV_MODEL_HEAD_LANGUAGE)
        add(plan, &a->logits, a->head_rows * config->vocab_size, head, head);
    if (a->options.backward) {
        add(plan, &a->d_stream, rows * w.stream, head, end);
        const uint64_t narrow = tv_dtype_bytes(a->narrow), heads = tv_dtype_bytes(a->heads);
        const uint64_t post = config->post_norms ? w.stream * sizeof(float) : 0;
        add_bytes(plan, &a->d_narrow, a->narrow,
                  rows * tv_max_u64(post, tv_max_u64(w.stream * narrow, w.attended * heads)), head, end);
        add_bytes(plan, &a->d_wide, a->narrow,
                  rows * tv_max_u64(post, tv_max_u64(w.mlp_in * narrow, w.qkv * heads)), head + 1, end);
        add(plan, &a->delta, rows * config->n_head, head + 1, end);
        uint64_t widest = tv_max_u64(tv_max_u64(w.qkv, w.mlp_in), w.stream);
        uint64_t sums = tv_column_sums_scratch(caps, rows, vector_elements(list), widest);
        add(plan, &a->column_sums, tv_div_up(sums, sizeof(float)), head + 1, end);
    }
    if (adapter_width) {
        add(plan, &a->adapter_t, rows * adapter_width, 1, end);
        if (a->options.backward)
            add(plan, &a->d_adapter_t, rows * adapter_width, head, end);
    }
    uint64_t scratch = tv_max_u64(scratch_bytes(config, &w, rows, a->options.backward),
                                  tv_attention_decode_scratch(caps, rows, config->n_head, config->n_kv_head,
                                                              config->head_size, a->options.cached_tokens));
    /* Blocks of a decoding step use it, too. */
    add(plan, &a->scratch, tv_div_up(scratch, sizeof(float)), a->options.cached_tokens ? 1 : head, end);
}

/* Kernels take halves in fours. Adapters add to what they lie beside, which halves would round twice. */
static void choose_types(const tv_parameter_list *list, const tv_caps *caps, tv_activations *a) {
    const tv_model_config *config = &list->config;
    const bool whole = config->channels % 4 == 0 && config->ffn % 4 == 0 && config->head_size % 4 == 0;
    a->narrow = whole && list->adapter.rank == 0 ? a->options.dtype : TV_F32;
    a->heads = tv_attention_reads(caps, config->head_size, a->narrow) ? a->narrow : TV_F32;
}

/* Places everything but the logits, and those beside it. */
static tv_status place(plan_builder *plan, const tv_parameter_list *list, const tv_caps *caps,
                       tv_activations *a, tv_memory_plan *placed) {
    tv_caps limits = *caps;
    if (a->options.shared)
        limits.buffer_bytes = tv_activation_arena_limit(a->options.shared, caps->buffer_bytes);
    for (int with_logits = 0; with_logits < 2; with_logits++) {
        if (with_logits)
            a->head_rows = rows_of_logits(&limits, list->config.vocab_size, a, placed->total_bytes);
        tv_memory_plan_free(placed);
        plan->count = 0;
        build(plan, list, caps, a);
        if (plan->out_of_memory)
            return tv_fail(TV_E_MEMORY, "out of host memory for the activation plan");
        TV_RETURN_IF_FAILED(tv_memory_plan_assign(plan->items, plan->count, limits.buffer_bytes, placed));
    }
    return TV_OK;
}

/* Their own, or what they borrow. */
static tv_status make_memory(tv_device *device, tv_activations *a, const tv_memory_plan *placed,
                             const tv_device_arena **memory) {
    if (a->options.shared)
        return tv_activation_arena_make(a->options.shared, device, memory);
    TV_RETURN_IF_FAILED(tv_device_arena_create(device, placed, TV_MEMORY_DEVICE, "activations", &a->arena));
    *memory = a->arena;
    return TV_OK;
}

static tv_status create(tv_device *device, const tv_caps *caps, const tv_parameter_list *list,
                        const tv_activations_options *options, tv_activations **out) {
    const tv_model_config *config = &list->config;
    *out = NULL;
    if (options->tokens > config->max_positions)
        return tv_fail(TV_E_CONFIG,
                       "sequences of %llu tokens were asked for and the model has positions for %llu",
                       (unsigned long long)options->tokens, (unsigned long long)config->max_positions);
    if (options->batch > MOST_TOKENS / tv_max_u64(1, options->tokens))
        return tv_fail(TV_E_FIT, "%llu sequences of %llu tokens side by side are more than 2^31 tokens",
                       (unsigned long long)options->batch, (unsigned long long)options->tokens);
    tv_status status;
    plan_builder plan = {0};
    tv_memory_plan placed = {0};
    tv_activations *a = calloc(1, sizeof *a);
    if (!a)
        return tv_fail(TV_E_MEMORY, "out of host memory for the activation plan");
    a->options = *options;
    if (options->shared)
        tv_activation_arena_hold(options->shared);
    a->rows = options->batch * options->tokens;
    choose_types(list, caps, a);
    a->blocks = calloc(config->n_layer, sizeof *a->blocks);
    if (!a->blocks) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the activation plan");
        goto fail;
    }
    TV_TRY_OR_FAIL(place(&plan, list, caps, a, &placed));
    a->bytes = placed.total_bytes;
    if (options->shared)
        TV_TRY_OR_FAIL(tv_activation_arena_reserve(options->shared, &placed));
    if (device) {
        const tv_device_arena *memory;
        TV_TRY_OR_FAIL(make_memory(device, a, &placed, &memory));
        for (uint64_t i = 0; i < plan.count; i++)
            *plan.targets[i] = (tv_tensor){tv_device_arena_span(memory, &plan.items[i]), plan.dtypes[i]};
        if (options->recompute || !options->backward)
            for (uint64_t l = 1; l < config->n_layer; l++) {
                tv_tensor own = a->blocks[l].sum1;
                a->blocks[l] = a->blocks[0];
                a->blocks[l].sum1 = own;
            }
    }
    tv_memory_plan_free(&placed);
    free(plan.items);
    free(plan.targets);
    free(plan.dtypes);
    *out = a;
    return TV_OK;
fail:
    tv_memory_plan_free(&placed);
    free(plan.items);
    free(plan.targets);
    free(plan.dtypes);
    tv_activations_destroy(&a);
    return status;
}

typedef struct creation {
    tv_device *device;
    const tv_caps *caps;
    const tv_parameter_list *list;
    const tv_activations_options *options;
    tv_activations *activations;
} creation;

static tv_status create_of(void *context) {
    creation *c = context;
    return create(c->device, c->caps, c->list, c->options, &c->activations);
}

/* Those that share an arena planned it together, and keep that plan. */
tv_status tv_activations_create(tv_device *device, const tv_caps *caps, const tv_parameter_list *list,
                                const tv_activations_options *options, tv_activations **out) {
    creation c = {device, caps, list, options, NULL};
    tv_status status =
        device && !options->shared ? tv_make_in_smaller_buffers(device, create_of, &c) : create_of(&c);
    *out = c.activations;
    return status;
}

tv_activations tv_activations_of_fewer(const tv_activations *whole, uint64_t batch, uint64_t tokens) {
    tv_activations fewer = *whole;
    fewer.options.batch = batch;
    fewer.options.tokens = tokens;
    fewer.rows = batch * tokens;
    fewer.head_rows = even_chunks(fewer.rows, whole->head_rows);
    fewer.arena = NULL;
    return fewer;
}

void tv_activations_destroy(tv_activations **handle) {
    if (!handle || !*handle)
        return;
    tv_device_arena_destroy(&(*handle)->arena);
    tv_activation_arena_release(&(*handle)->options.shared);
    free((*handle)->blocks);
    free(*handle);
    *handle = NULL;
}

tv_status tv_activations_borrow(const tv_activations *activations, const char *user) {
    tv_activation_arena *shared = activations->options.shared;
    return shared ? tv_activation_arena_borrow(shared, activations, user) : TV_OK;
}

void tv_activations_return(const tv_activations *activations) {
    if (activations->options.shared)
        tv_activation_arena_return(activations->options.shared, activations);
}

bool tv_activations_kept(const tv_activations *activations) {
    const tv_activation_arena *shared = activations->options.shared;
    return !shared || tv_activation_arena_untouched_since(shared, activations);
}
