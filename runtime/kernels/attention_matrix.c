/* Launchers of attention on matrix units: see attention_matrix.h. */
#include "kernels/attention_matrix.h"

#include <string.h>

#include "sizes.h"

enum {
    WIDEST = 128,       /* channels that registers hold */
    WIDEST_WHOLE = 64,  /* of them, with the gradients of keys and of values in one dispatch */
    SUBGROUP_ROWS = 16, /* which matrices divide */
    MOST_LANES = 32,    /* of a subgroup: two share a row */
    SHARED_BYTES = 32768,
};
/* Bits of the constant TYPES beside the types themselves (attention/strips.glsl, backward_kv_matrix.comp). */
static const uint32_t makes_v = 1u << 8, makes_k = 1u << 9, rolled = 1u << 31;

bool tv_attention_on_matrices(const tv_caps *caps, uint64_t head_size) {
    const tv_matrix_shape *shape = &caps->matrix[caps->tier];
    uint64_t lanes = caps->matrix_lanes;
    return caps->tier != TV_TIER_FP32 && head_size % 4 == 0 && head_size <= WIDEST && shape->m > 0 &&
           SUBGROUP_ROWS % shape->m == 0 && SUBGROUP_ROWS % shape->n == 0 && SUBGROUP_ROWS % shape->k == 0 &&
           lanes <= MOST_LANES && caps->subgroup_shuffle && caps->shared_bytes >= SHARED_BYTES &&
           lanes * TV_ATTENTION_SUBGROUPS <= caps->invocations;
}

bool tv_attention_reads(const tv_caps *caps, uint64_t head_size, tv_dtype dtype) {
    return dtype == TV_F32 ||
           (dtype == tv_tier_dtype(caps->tier) && tv_attention_on_matrices(caps, head_size));
}

tv_dtype tv_attention_cache_type(const tv_caps *caps, uint64_t head_size) {
    return tv_attention_on_matrices(caps, head_size) ? tv_tier_dtype(caps->tier) : TV_F32;
}

/* Of all kernels here, before their own. `types`: bits of the constant TYPES. */
static void set_constants(const tv_caps *caps, uint32_t head_size, uint32_t types, tv_launch *launch) {
    launch->specialization_count = 0;
    tv_matrix_constants(caps, caps->tier, launch);
    const uint32_t own[] = {(uint32_t)caps->matrix_lanes * TV_ATTENTION_SUBGROUPS, head_size,
                            types | (caps->type == TV_DEVICE_CPU ? rolled : 0)};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        launch->specialization[launch->specialization_count++] = own[i];
}

/* `typed`: the tensors whose types are bits of the constant, in their order. `heads` as in launch_of. */
static tv_status record(tv_recorder *recorder, tv_program_id f16, const tv_attention_push *push,
                        uint64_t heads, const tv_tensor *bindings, uint32_t count, const uint32_t *typed,
                        uint32_t typed_count, uint32_t flags) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    tv_launch launch = {
        .program = tv_program_of_tier(f16, caps->tier),
        .push = push,
        .groups = push->batch * heads * tv_div_up(push->tokens, TV_ATTENTION_MATRIX_ROWS),
        .shape = {push->batch, push->tokens, push->heads, push->head_size},
    };
    uint32_t types = flags;
    for (uint32_t i = 0; i < typed_count; i++)
        if (bindings[typed[i]].dtype != TV_F32)
            types |= 1u << i;
    set_constants(caps, push->head_size, types, &launch);
    memcpy(launch.bindings, bindings, count * sizeof *bindings);
    return tv_launch_record(recorder, &launch);
}

tv_status tv_attention_matrix_forward(tv_recorder *recorder, const tv_attention *a,
                                      const tv_attention_push *push) {
    const tv_tensor bindings[] = {a->qkv, a->doc_start, a->output, a->lse};
    const uint32_t typed[] = {0, 2};
    return record(recorder, TV_PROGRAM_attention_forward_matrix_f16, push, a->heads, bindings, 4, typed, 2,
                  0);
}

tv_status tv_attention_matrix_backward(tv_recorder *recorder, const tv_attention_backward *backward,
                                       const tv_attention_push *push) {
    const tv_attention *a = &backward->forward;
    const tv_tensor q_bindings[] = {a->qkv, a->doc_start,    a->output,      backward->d_output,
                                    a->lse, backward->delta, backward->d_qkv};
    const tv_tensor kv_bindings[] = {a->qkv, a->doc_start,    backward->d_output,
                                     a->lse, backward->delta, backward->d_qkv};
    const uint32_t q_typed[] = {0, 2, 3, 6}, kv_typed[] = {0, 2, 5};
    const tv_program_id kv = TV_PROGRAM_attention_backward_kv_matrix_f16;
    /* The first kernel also leaves delta for the others. */
    TV_RETURN_IF_FAILED(record(recorder, TV_PROGRAM_attention_backward_q_matrix_f16, push, a->heads,
                               q_bindings, 7, q_typed, 4, 0));
    if (a->head_size <= WIDEST_WHOLE)
        return record(recorder, kv, push, a->kv_heads, kv_bindings, 6, kv_typed, 3, makes_v | makes_k);
    TV_RETURN_IF_FAILED(record(recorder, kv, push, a->kv_heads, kv_bindings, 6, kv_typed, 3, makes_v));
    return record(recorder, kv, push, a->kv_heads, kv_bindings, 6, kv_typed, 3, makes_k);
}

tv_program_id tv_attention_matrix_decode_program(const tv_caps *caps, uint64_t head_size, bool split) {
    static const tv_program_id programs[2][2] = {
        {TV_PROGRAM_attention_decode_matrix64_f16, TV_PROGRAM_attention_decode_matrix128_f16},
        {TV_PROGRAM_attention_decode_parts_matrix64_f16, TV_PROGRAM_attention_decode_parts_matrix128_f16}};
    return tv_program_of_tier(programs[split][head_size > WIDEST / 2], caps->tier);
}

void tv_attention_matrix_decode(const tv_recorder *recorder, uint32_t part_blocks, tv_launch *launch) {
    const tv_attention_decode_push *push = launch->push;
    uint32_t types =
        (tv_is_half(launch->bindings[0].dtype) ? 1u : 0) | (tv_is_half(launch->bindings[5].dtype) ? 2u : 0);
    set_constants(tv_recorder_caps(recorder), push->head_size, types, launch);
    uint32_t group = push->heads / push->kv_heads;
    launch->specialization[launch->specialization_count++] = group < SUBGROUP_ROWS ? group : SUBGROUP_ROWS;
    if (part_blocks > 0)
        launch->specialization[launch->specialization_count++] = part_blocks;
}

void tv_attention_matrix_merge(const tv_recorder *recorder, tv_launch *launch) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    const tv_attention_decode_push *push = launch->push;
    set_constants(caps, push->head_size, tv_is_half(launch->bindings[3].dtype) ? 2u : 0, launch);
    launch->program = tv_program_of_tier(TV_PROGRAM_attention_decode_merge_matrix_f16, caps->tier);
    launch->groups = tv_div_up((uint64_t)push->rows * push->heads * (push->head_size / 4),
                               caps->matrix_lanes * TV_ATTENTION_SUBGROUPS);
}
