/* Launchers of attention: see attention.h. A tensor over the storage range is split by batch elements. */
#include "kernels/attention.h"

#include <math.h>
#include <string.h>

#include "kernels/attention_matrix.h"
#include "kernels/texels.h"
#include "push_constants.h"
#include "sizes.h"

enum {
    MAX_BLOCK = 8, /* rows of the other side that a CPU variant takes at once */
    /* Chunks of channels that a CPU variant takes from each row block of the other side in one iteration.
     * More than 8 spill on 8 lanes: at D 32, 32 took twice the time; 16 lanes have twice the registers. Wide
     * heads load their own row again in every iteration, so there a larger block pays: at D 128, 8 took two
     * to three times as long as 32. */
    BLOCK_CHUNKS = 8,
    BLOCK_CHUNKS_WIDE = 32,
    MAX_HEAD_SIZE = 256,
    CACHE_WORKGROUP = 128, /* of cache_write.comp on GPUs */
    KEY_BLOCK = 64,        /* merge.glsl */
    DECODE_WORKGROUP = 128,
    PART_VECTORS = 3, /* of a block of split keys beside its product: decode_parts.glsl */
    /* Workgroups of a decoding step that a compute unit can have: below them, rows' keys are split. */
    UNIT_WORKGROUPS = 4,
};

/* How one attention kernel runs on this device. */
typedef struct choice {
    tv_program_id program;
    uint64_t rows_per_group;
    uint64_t parts; /* workgroups that share the channels of the result; in decoding, a row's */
    uint32_t specialization[3];
    uint32_t specialization_count;
    uint32_t part_blocks; /* in decoding, where workgroups share a row's keys; else 0 */
    bool on_matrices;     /* of decoding: the constants are attention_matrix.h's */
} choice;

/* A kernel in tiles: the largest head size it holds in registers, and its rows per invocation (kernels.def).
 */
typedef struct tile_variant {
    uint64_t head_size;
    tv_program_id program;
    uint32_t rows;
} tile_variant;

/* Which tiles a device takes: what drivers of CPUs compile in seconds; what GPUs with few registers hold;
 * what leaves those that have just enough of them a second subgroup; the rest. */
typedef enum tile_form { CPU_TILES, NARROW_TILES, MIDDLE_TILES, WIDE_TILES, TILE_FORMS } tile_form;
enum { TILE_CLASSES = 4, MIDDLE_REGISTERS = 192, WIDE_REGISTERS = 255 };
typedef tile_variant tile_table[TILE_FORMS][TILE_CLASSES];

static const tile_table forward_tiles = {{{32, TV_PROGRAM_attention_forward_d32, 4},
                                          {64, TV_PROGRAM_attention_forward_d64, 4},
                                          {128, TV_PROGRAM_attention_forward_d128, 4},
                                          {256, TV_PROGRAM_attention_forward_d256, 2}},
                                         {{32, TV_PROGRAM_attention_forward_narrow32, 2},
                                          {64, TV_PROGRAM_attention_forward_narrow64, 2},
                                          {128, TV_PROGRAM_attention_forward_narrow128, 1},
                                          {256, TV_PROGRAM_attention_forward_narrow256, 1}},
                                         {{32, TV_PROGRAM_attention_forward_middle32, 2},
                                          {64, TV_PROGRAM_attention_forward_middle64, 2},
                                          {128, TV_PROGRAM_attention_forward_middle128, 2},
                                          {256, TV_PROGRAM_attention_forward_middle256, 1}},
                                         {{32, TV_PROGRAM_attention_forward_wide32, 4},
                                          {64, TV_PROGRAM_attention_forward_wide64, 4},
                                          {128, TV_PROGRAM_attention_forward_wide128, 4},
                                          {256, TV_PROGRAM_attention_forward_wide256, 2}}};
static const tile_table backward_q_tiles = {{{32, TV_PROGRAM_attention_backward_q_d32, 4},
                                             {64, TV_PROGRAM_attention_backward_q_d64, 4},
                                             {128, TV_PROGRAM_attention_backward_q_d128, 4},
                                             {256, TV_PROGRAM_attention_backward_q_d256, 2}},
                                            {{32, TV_PROGRAM_attention_backward_q_d32, 4},
                                             {64, TV_PROGRAM_attention_backward_q_d64, 4},
                                             {128, TV_PROGRAM_attention_backward_q_narrow128, 2},
                                             {256, TV_PROGRAM_attention_backward_q_narrow256, 1}},
                                            {{32, TV_PROGRAM_attention_backward_q_middle32, 2},
                                             {64, TV_PROGRAM_attention_backward_q_middle64, 2},
                                             {128, TV_PROGRAM_attention_backward_q_middle128, 2},
                                             {256, TV_PROGRAM_attention_backward_q_middle256, 1}},
                                            {{32, TV_PROGRAM_attention_backward_q_wide32, 4},
                                             {64, TV_PROGRAM_attention_backward_q_wide64, 4},
                                             {128, TV_PROGRAM_attention_backward_q_wide128, 4},
                                             {256, TV_PROGRAM_attention_backward_q_wide256, 2}}};
static const tile_table backward_kv_tiles = {{{32, TV_PROGRAM_attention_backward_kv_d32, 4},
                                              {64, TV_PROGRAM_attention_backward_kv_d64, 4},
                                              {128, TV_PROGRAM_attention_backward_kv_d128, 2},
                                              {256, TV_PROGRAM_attention_backward_kv_d256, 1}},
                                             {{32, TV_PROGRAM_attention_backward_kv_narrow32, 4},
                                              {64, TV_PROGRAM_attention_backward_kv_narrow64, 2},
                                              {128, TV_PROGRAM_attention_backward_kv_narrow128, 1},
                                              {256, TV_PROGRAM_attention_backward_kv_narrow256, 1}},
                                             {{32, TV_PROGRAM_attention_backward_kv_middle32, 2},
                                              {64, TV_PROGRAM_attention_backward_kv_middle64, 2},
                                              {128, TV_PROGRAM_attention_backward_kv_middle128, 1},
                                              {256, TV_PROGRAM_attention_backward_kv_middle256, 1}},
                                             {{32, TV_PROGRAM_attention_backward_kv_wide32, 4},
                                              {64, TV_PROGRAM_attention_backward_kv_wide64, 4},
                                              {128, TV_PROGRAM_attention_backward_kv_wide128, 2},
                                              {256, TV_PROGRAM_attention_backward_kv_wide256, 1}}};

/* Variants for CPUs: of single values and of texels, of 8 lanes and of 16. */
typedef tv_program_id lanes_variants[2][2];
#define LANES_VARIANTS(kernel)                                                                               \
    {                                                                                                        \
        {TV_PROGRAM_##kernel##_lanes8, TV_PROGRAM_##kernel##_lanes16}, {                                     \
            TV_PROGRAM_##kernel##_texels_lanes8, TV_PROGRAM_##kernel##_texels_lanes16                        \
        }                                                                                                    \
    }
static const lanes_variants forward_lanes = LANES_VARIANTS(attention_forward),
                            backward_q_lanes = LANES_VARIANTS(attention_backward_q),
                            backward_kv_lanes = LANES_VARIANTS(attention_backward_kv),
                            decode_lanes = LANES_VARIANTS(attention_decode);

/* Whether rows of heads, in tensors of up to so many fp32 elements, can be read four channels at a time. */
static bool takes_texels(const tv_recorder *recorder, uint64_t head_size, uint64_t elements) {
    return head_size % 4 == 0 && elements / 4 <= tv_recorder_texels(recorder);
}

static tile_form form_of(const tv_caps *caps) {
    return caps->cpu_kernels                     ? CPU_TILES
           : caps->registers >= WIDE_REGISTERS   ? WIDE_TILES
           : caps->registers >= MIDDLE_REGISTERS ? MIDDLE_TILES
                                                 : NARROW_TILES;
}

bool tv_attention_has_one_order(const tv_caps *caps, uint64_t head_size) {
    return tv_attention_on_matrices(caps, head_size) || tv_cpu_lanes(caps) || form_of(caps) != CPU_TILES;
}

bool tv_attention_is_for(const tv_program *program, const tv_caps *caps) {
    const tile_table *const tables[] = {&forward_tiles, &backward_q_tiles, &backward_kv_tiles};
    bool other = false;
    for (size_t t = 0; t < TV_COUNT(tables); t++)
        for (int form = 0; form < TILE_FORMS; form++)
            for (int class = 0; class < TILE_CLASSES; class ++) {
                if (tv_program_get((*tables[t])[form][class].program) != program)
                    continue;
                if (form == (int)form_of(caps))
                    return true;
                other = true;
            }
    return !other;
}

static choice choose(const tv_recorder *recorder, uint64_t head_size, bool texels,
                     const lanes_variants *variants, const tile_table tiles) {
    uint64_t lanes = tv_cpu_lanes(tv_recorder_caps(recorder));
    if (lanes) {
        uint64_t parts = tv_div_up(head_size, TV_ATTENTION_LANES_PART);
        uint64_t chunks = tv_div_up(tv_div_up(head_size, TV_ATTENTION_CHUNK), parts);
        uint64_t at_once = parts > 1 ? BLOCK_CHUNKS_WIDE : BLOCK_CHUNKS * (lanes / TV_CPU_LANES);
        uint64_t block = tv_max_u64(1, tv_min_u64(MAX_BLOCK, at_once / chunks));
        return (choice){(*variants)[texels][lanes == TV_CPU_LANES_WIDE],
                        lanes,
                        parts,
                        {(uint32_t)head_size, (uint32_t)block},
                        2,
                        0,
                        false};
    }
    tile_form form = form_of(tv_recorder_caps(recorder));
    const tile_variant *tile = tiles[form];
    while (tile->head_size < head_size)
        tile++;
    return (choice){
        tile->program,
        (uint64_t)TV_ATTENTION_TILE_ROWS * tile->rows,
        1,
        {head_size % 4 == 0, (uint32_t)head_size, tv_recorder_caps(recorder)->type == TV_DEVICE_CPU},
        form == CPU_TILES ? 1 : 3,
        0,
        false};
}

static tv_status check_shape(const char *what, uint64_t heads, uint64_t kv_heads, uint64_t head_size) {
    if (kv_heads == 0 || heads == 0 || heads % kv_heads != 0 || head_size == 0 || head_size > MAX_HEAD_SIZE)
        return tv_fail(
            TV_E_USAGE,
            "%s: expected query heads in equal groups and a head size of 1 to %d, found %llu query "
            "heads, %llu key-value heads of size %llu",
            what, MAX_HEAD_SIZE, (unsigned long long)heads, (unsigned long long)kv_heads,
            (unsigned long long)head_size);
    return TV_OK;
}

static uint64_t qkv_elements(const tv_attention *a) {
    return a->tokens * (a->heads + 2 * a->kv_heads) * a->head_size;
}

static uint64_t output_elements(const tv_attention *a) {
    return a->tokens * a->heads * a->head_size;
}

/* Batch elements `first` to `first + count` alone. */
static tv_attention part_of(const tv_attention *a, uint64_t first, uint64_t count) {
    tv_attention part = *a;
    part.batch = count;
    part.qkv = tv_tensor_rows(a->qkv, qkv_elements(a), first, count);
    part.doc_start = tv_tensor_rows(a->doc_start, a->tokens, first, count);
    part.output = tv_tensor_rows(a->output, output_elements(a), first, count);
    part.lse = tv_tensor_rows(a->lse, a->heads * a->tokens, first, count);
    return part;
}

static tv_status batch_per_part(const tv_recorder *recorder, const tv_attention *a, uint64_t *part) {
    uint64_t statistics = a->heads * a->tokens * sizeof(float);
    const uint64_t bytes[] = {
        qkv_elements(a) * tv_dtype_bytes(a->qkv.dtype),
        output_elements(a) * tv_dtype_bytes(a->output.dtype),
        tv_tensor_present(a->lse) ? statistics : 0,
        tv_tensor_present(a->doc_start) ? a->tokens * sizeof(uint32_t) : 0,
    };
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "attention", a->batch, bytes, 4, part));
    /* A batch that alone would run too long for a desktop driver is cut too, where every cut is aligned; the
     * dearest of the kernels decides. Batch elements do not change each other's sums. */
    double budget = tv_recorder_flop_budget(recorder);
    double flops = 4.0 * (double)(a->heads * a->head_size) * (double)a->tokens * ((double)a->tokens + 1);
    if (a->tokens % (TV_TENSOR_ALIGNMENT / sizeof(float)) == 0 && flops * (double)*part > budget)
        *part = tv_max_u64(1, (uint64_t)(budget / flops));
    return TV_OK;
}

static float scale_of(float scale, uint64_t head_size) {
    return scale > 0 ? scale : (float)(1 / sqrt((double)head_size));
}

static uint32_t window_of(uint64_t window, uint64_t tokens) {
    return (uint32_t)(window > 0 ? tv_min_u64(window, tokens) : tokens);
}

static tv_attention_push push_of(const tv_attention *a) {
    return (tv_attention_push){
        .batch = (uint32_t)a->batch,
        .tokens = (uint32_t)a->tokens,
        .heads = (uint32_t)a->heads,
        .kv_heads = (uint32_t)a->kv_heads,
        .head_size = (uint32_t)a->head_size,
        .has_documents = tv_tensor_present(a->doc_start),
        .has_lse = tv_tensor_present(a->lse),
        .scale = scale_of(a->scale, a->head_size),
        .window = window_of(a->window, a->tokens),
    };
}

/* `heads` is what gets workgroups of its own: query heads, or key-value heads. */
static tv_launch launch_of(const choice *way, const tv_attention_push *push, uint64_t heads) {
    return (tv_launch){
        .program = way->program,
        .push = push,
        .groups = push->batch * heads * tv_div_up(push->tokens, way->rows_per_group) * way->parts,
        .specialization = {way->specialization[0], way->specialization[1], way->specialization[2]},
        .specialization_count = way->specialization_count,
        .shape = {push->batch, push->tokens, push->heads, push->head_size},
    };
}

tv_status tv_attention_forward(tv_recorder *recorder, const tv_attention *a) {
    TV_RETURN_IF_FAILED(check_shape("attention", a->heads, a->kv_heads, a->head_size));
    if (a->batch == 0 || a->tokens == 0)
        return TV_OK;
    uint64_t size;
    TV_RETURN_IF_FAILED(batch_per_part(recorder, a, &size));
    bool on_matrices = tv_attention_on_matrices(tv_recorder_caps(recorder), a->head_size);
    bool texels = a->qkv.dtype == TV_F32 && takes_texels(recorder, a->head_size, size * qkv_elements(a));
    choice way = choose(recorder, a->head_size, texels, &forward_lanes, forward_tiles);
    for (uint64_t first = 0; first < a->batch; first += size) {
        tv_attention part = part_of(a, first, tv_min_u64(size, a->batch - first));
        tv_attention_push push = push_of(&part);
        if (on_matrices) {
            TV_RETURN_IF_FAILED(tv_attention_matrix_forward(recorder, &part, &push));
            continue;
        }
        tv_launch launch = launch_of(&way, &push, part.heads);
        launch.bindings[0] = part.qkv;
        launch.bindings[1] = part.doc_start;
        launch.bindings[2] = part.output;
        launch.bindings[3] = part.lse;
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

tv_status tv_attention_backward_record(tv_recorder *recorder, const tv_attention_backward *backward) {
    const tv_attention *a = &backward->forward;
    TV_RETURN_IF_FAILED(check_shape("attention backward", a->heads, a->kv_heads, a->head_size));
    if (a->batch == 0 || a->tokens == 0)
        return TV_OK;
    uint64_t size;
    TV_RETURN_IF_FAILED(batch_per_part(recorder, a, &size));
    bool on_matrices = tv_attention_on_matrices(tv_recorder_caps(recorder), a->head_size);
    bool texels = a->qkv.dtype == TV_F32 && a->output.dtype == TV_F32 && backward->d_output.dtype == TV_F32 &&
                  takes_texels(recorder, a->head_size, size * qkv_elements(a));
    choice way_q = choose(recorder, a->head_size, texels, &backward_q_lanes, backward_q_tiles);
    choice way_kv = choose(recorder, a->head_size, texels, &backward_kv_lanes, backward_kv_tiles);
    for (uint64_t first = 0; first < a->batch; first += size) {
        uint64_t count = tv_min_u64(size, a->batch - first);
        tv_attention part = part_of(a, first, count);
        tv_tensor d_output = tv_tensor_rows(backward->d_output, output_elements(a), first, count);
        tv_tensor d_qkv = tv_tensor_rows(backward->d_qkv, qkv_elements(a), first, count);
        tv_tensor delta = tv_tensor_rows(backward->delta, a->heads * a->tokens, first, count);
        tv_attention_push push = push_of(&part);
        if (on_matrices) {
            TV_RETURN_IF_FAILED(tv_attention_matrix_backward(
                recorder, &(tv_attention_backward){part, d_output, d_qkv, delta}, &push));
            continue;
        }
        /* The first kernel also leaves delta for the second. */
        tv_launch launch = launch_of(&way_q, &push, part.heads);
        const tv_tensor q_bindings[] = {part.qkv, part.doc_start, part.output, d_output,
                                        part.lse, delta,          d_qkv};
        memcpy(launch.bindings, q_bindings, sizeof q_bindings);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
        launch = launch_of(&way_kv, &push, part.kv_heads);
        const tv_tensor kv_bindings[] = {part.qkv, part.doc_start, d_output, part.lse, delta, d_qkv};
        memcpy(launch.bindings, kv_bindings, sizeof kv_bindings);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

/* Rows, and rows of the caches, that one dispatch binds: the same ones, unless rows name their slots. */
typedef struct decode_part {
    uint64_t first_row, rows, first_slot, slots;
} decode_part;

static uint64_t qkv_row_of(const tv_attention_decode *decode) {
    return (decode->heads + 2 * decode->kv_heads) * decode->head_size;
}

static uint64_t cache_row_of(const tv_attention_decode *decode) {
    return decode->kv_heads * decode->max_tokens * decode->head_size;
}

static bool has_prefixes(const tv_attention_decode *decode) {
    return tv_tensor_present(decode->prefixes);
}

/* Elements of prefixes and slots, which are bound at once. */
static uint64_t shared_cache_of(const tv_attention_decode *decode) {
    return (decode->prefix_count * decode->prefix_tokens + decode->rows * decode->own_tokens) *
           decode->kv_heads * decode->head_size;
}

static tv_status split_decode(const tv_recorder *recorder, const tv_attention_decode *decode,
                              decode_part *most) {
    const uint64_t bytes[] = {
        qkv_row_of(decode) * tv_dtype_bytes(decode->qkv.dtype),
        decode->heads * decode->head_size * tv_dtype_bytes(decode->output.dtype),
        cache_row_of(decode) * tv_dtype_bytes(decode->k_cache.dtype),
    };
    bool slots = tv_tensor_present(decode->slots), prefixes = has_prefixes(decode);
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "attention decode", decode->rows, bytes,
                                      slots || prefixes ? 2 : 3, &most->rows));
    most->slots = prefixes ? decode->rows : most->rows;
    const uint64_t whole = prefixes ? shared_cache_of(decode) * tv_dtype_bytes(decode->k_cache.dtype) : 0;
    if (whole > tv_recorder_caps(recorder)->storage_range)
        return tv_fail(
            TV_E_FIT, "attention decode: caches with shared prefixes are %llu bytes, and %llu can be bound",
            (unsigned long long)whole, (unsigned long long)tv_recorder_caps(recorder)->storage_range);
    return slots ? tv_split_rows(recorder, "attention decode", decode->slot_count, bytes + 2, 1, &most->slots)
                 : TV_OK;
}

/* Whether what `most` binds of qkv and the caches can be read so. */
static bool decode_takes_texels(const tv_recorder *recorder, const tv_attention_decode *decode,
                                const decode_part *most) {
    uint64_t cache = has_prefixes(decode) ? shared_cache_of(decode) : most->slots * cache_row_of(decode),
             elements = tv_max_u64(most->rows * qkv_row_of(decode), cache);
    return decode->qkv.dtype == TV_F32 && decode->k_cache.dtype == TV_F32 &&
           decode->v_cache.dtype == TV_F32 && takes_texels(recorder, decode->head_size, elements);
}

/* Invocations along the channels of a value. */
static uint32_t columns_of(uint64_t head_size) {
    uint32_t columns = 1;
    while (columns * 4 < head_size)
        columns *= 2;
    return columns;
}

/* More rows than these fill the device, each key-value head with a workgroup. */
static uint64_t most_split_rows(const tv_caps *caps, uint64_t kv_heads) {
    return tv_cpu_lanes(caps) ? 0 : (UNIT_WORKGROUPS * tv_max_u64(caps->compute_units, 1) - 1) / kv_heads;
}

/* Floats that `rows` leave of their keys' blocks. */
static uint64_t parts_count(uint64_t rows, uint64_t heads, uint64_t head_size, uint64_t max_tokens) {
    return rows * heads * tv_div_up(max_tokens, KEY_BLOCK) * (columns_of(head_size) + PART_VECTORS) * 4;
}

uint64_t tv_attention_decode_scratch(const tv_caps *caps, uint64_t rows, uint64_t heads, uint64_t kv_heads,
                                     uint64_t head_size, uint64_t max_tokens) {
    uint64_t split = tv_min_u64(rows, most_split_rows(caps, kv_heads));
    return max_tokens > KEY_BLOCK ? parts_count(split, heads, head_size, max_tokens) * sizeof(float) : 0;
}

/* Blocks of a row's keys for each workgroup, so that there are enough of them; 0: no split. */
static uint32_t part_blocks_of(const tv_recorder *recorder, const tv_attention_decode *decode,
                               const decode_part *most) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    uint64_t bytes =
        parts_count(most->rows, decode->heads, decode->head_size, decode->max_tokens) * sizeof(float);
    if (most->rows > most_split_rows(caps, decode->kv_heads) || !tv_tensor_present(decode->scratch) ||
        bytes > decode->scratch.span.bytes || bytes > caps->storage_range)
        return 0;
    uint64_t blocks = tv_div_up(decode->max_tokens, KEY_BLOCK),
             groups = tv_max_u64(most->rows * decode->kv_heads, 1);
    uint64_t segments =
        tv_min_u64(blocks, tv_div_up(UNIT_WORKGROUPS * tv_max_u64(caps->compute_units, 1), groups));
    return segments > 1 ? (uint32_t)tv_div_up(blocks, segments) : 0;
}

static bool decodes_on_matrices(const tv_attention_decode *decode) {
    return tv_is_half(decode->k_cache.dtype);
}

static choice choose_decode(const tv_recorder *recorder, const tv_attention_decode *decode,
                            const decode_part *most) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    bool on_matrices = decodes_on_matrices(decode);
    if (tv_cpu_lanes(caps) && !on_matrices) /* its blocks are the forward pass's */
        return choose(recorder, decode->head_size, decode_takes_texels(recorder, decode, most), &decode_lanes,
                      forward_tiles);
    uint32_t part_blocks = part_blocks_of(recorder, decode, most);
    uint64_t segments = part_blocks ? tv_div_up(tv_div_up(decode->max_tokens, KEY_BLOCK), part_blocks) : 1;
    choice way = {.program = part_blocks ? TV_PROGRAM_attention_decode_parts_base
                                         : TV_PROGRAM_attention_decode_blocks,
                  .rows_per_group = 1,
                  .parts = decode->kv_heads * segments,
                  .specialization = {decode->head_size % 4 == 0, columns_of(decode->head_size), part_blocks},
                  .specialization_count = part_blocks ? 3 : 2,
                  .part_blocks = part_blocks,
                  .on_matrices = on_matrices};
    if (on_matrices)
        way.program = tv_attention_matrix_decode_program(caps, decode->head_size, part_blocks > 0);
    return way;
}

/* Behind the kernel that left the blocks of split keys in `parts`. */
static tv_status record_merge(tv_recorder *recorder, const tv_launch *launch, const choice *way,
                              tv_tensor parts) {
    const tv_attention_decode_push *push = launch->push;
    uint32_t columns = way->specialization[1];
    tv_launch merge = *launch;
    merge.program = TV_PROGRAM_attention_decode_merge_base;
    merge.groups = tv_div_up((uint64_t)push->rows * push->heads, DECODE_WORKGROUP / columns);
    merge.specialization[0] = columns;
    merge.specialization_count = 1;
    memset(merge.bindings, 0, sizeof merge.bindings);
    merge.bindings[0] = launch->bindings[1];
    merge.bindings[1] = launch->bindings[4];
    merge.bindings[2] = parts;
    merge.bindings[3] = launch->bindings[5];
    if (way->on_matrices)
        tv_attention_matrix_merge(recorder, &merge);
    return tv_launch_record(recorder, &merge);
}

static tv_tensor bound_cache(const tv_attention_decode *decode, tv_tensor cache, const decode_part *part) {
    return has_prefixes(decode) ? tv_tensor_first(cache, shared_cache_of(decode))
                                : tv_tensor_rows(cache, cache_row_of(decode), part->first_slot, part->slots);
}

/* The write of k and v, whose bindings are the first ones of attention, or attention. */
static tv_status record_decode_part(tv_recorder *recorder, const tv_attention_decode *decode,
                                    const choice *way, const decode_part *part) {
    const bool prefixes = has_prefixes(decode);
    uint64_t output_row = decode->heads * decode->head_size;
    tv_attention_decode_push push = {
        .rows = (uint32_t)part->rows,
        .heads = (uint32_t)decode->heads,
        .kv_heads = (uint32_t)decode->kv_heads,
        .head_size = (uint32_t)decode->head_size,
        .max_tokens = (uint32_t)decode->max_tokens,
        .scale = scale_of(decode->scale, decode->head_size),
        .window = window_of(decode->window, decode->max_tokens),
        .first_row = (uint32_t)part->first_row,
        .has_slots = tv_tensor_present(decode->slots),
        .first_slot = (uint32_t)part->first_slot,
        .slots = (uint32_t)part->slots,
        .prefix_tokens = prefixes ? (uint32_t)decode->prefix_tokens : 0,
        .own_tokens = (uint32_t)(prefixes ? decode->own_tokens : decode->max_tokens),
        .own_first =
            prefixes ? (uint32_t)(decode->prefix_count * decode->kv_heads * decode->prefix_tokens) : 0,
    };
    tv_launch launch = {
        .program = way->program,
        .push = &push,
        .groups = way->rows_per_group > 1
                      ? tv_div_up(part->rows * decode->heads, way->rows_per_group) * way->parts
                      : part->rows * way->parts,
        .specialization = {way->specialization[0], way->specialization[1], way->specialization[2]},
        .specialization_count = way->specialization_count,
        .shape = {part->rows, decode->heads, decode->head_size, decode->max_tokens},
    };
    tv_tensor k = bound_cache(decode, decode->k_cache, part), v = bound_cache(decode, decode->v_cache, part);
    const tv_tensor bindings[] = {
        tv_tensor_rows(decode->qkv, qkv_row_of(decode), part->first_row, part->rows),
        tv_tensor_first(decode->positions, decode->rows),
        k,
        v,
        prefixes ? tv_tensor_first(decode->prefixes, 2 * decode->rows)
                 : tv_tensor_first(decode->slots, decode->rows),
        tv_tensor_rows(decode->output, output_row, part->first_row, part->rows),
        k,
        v,
    };
    memcpy(launch.bindings, bindings, sizeof bindings);
    if (way->on_matrices)
        tv_attention_matrix_decode(recorder, way->part_blocks, &launch);
    if (way->part_blocks == 0)
        return tv_launch_record(recorder, &launch);
    uint64_t count = parts_count(part->rows, decode->heads, decode->head_size, decode->max_tokens);
    tv_tensor parts = tv_tensor_first(decode->scratch, count);
    tv_launch split = launch;
    split.bindings[5] = parts;
    TV_RETURN_IF_FAILED(tv_launch_record(recorder, &split));
    return record_merge(recorder, &launch, way, parts);
}

static tv_status record_decode_parts(tv_recorder *recorder, const tv_attention_decode *decode,
                                     const choice *way, const decode_part *most) {
    bool slots = tv_tensor_present(decode->slots);
    tv_part rows = {0};
    while (tv_next_part(&rows, decode->rows, most->rows)) {
        tv_part places = {0};
        const decode_part own = {rows.first, rows.count, rows.first, rows.count},
                          all = {rows.first, rows.count, 0, decode->rows};
        if (!slots)
            TV_RETURN_IF_FAILED(
                record_decode_part(recorder, decode, way, has_prefixes(decode) ? &all : &own));
        while (slots && tv_next_part(&places, decode->slot_count, most->slots))
            TV_RETURN_IF_FAILED(record_decode_part(
                recorder, decode, way, &(decode_part){rows.first, rows.count, places.first, places.count}));
    }
    return TV_OK;
}

tv_status tv_attention_decode_record(tv_recorder *recorder, const tv_attention_decode *decode) {
    TV_RETURN_IF_FAILED(check_shape("attention decode", decode->heads, decode->kv_heads, decode->head_size));
    if (decode->rows == 0 || decode->max_tokens == 0)
        return TV_OK;
    decode_part most;
    TV_RETURN_IF_FAILED(split_decode(recorder, decode, &most));
    if (tv_tensor_present(decode->slots)) {
        const tv_tier tier = tv_recorder_caps(recorder)->tier;
        const bool on_matrices = decodes_on_matrices(decode);
        const choice write = {.program = on_matrices
                                             ? tv_program_of_tier(TV_PROGRAM_cache_write_matrix_f16, tier)
                                             : TV_PROGRAM_cache_write_base,
                              .parts = 1,
                              .specialization = {tv_row_workgroup(recorder, CACHE_WORKGROUP)},
                              .specialization_count = 1,
                              .on_matrices = on_matrices};
        TV_RETURN_IF_FAILED(record_decode_parts(recorder, decode, &write, &most));
        if (!tv_tensor_present(decode->output))
            return TV_OK;
    }
    choice way = choose_decode(recorder, decode, &most);
    return record_decode_parts(recorder, decode, &way, &most);
}
