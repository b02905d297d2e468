/* The forward pass, from tokens to what the heads read.
 *
 * Reads top to bottom as the model is drawn; backward.c mirrors it call for call. Nothing here asks for the
 * architecture: the config's switches say which of two kernels runs.
 */
#ifndef TV_MODEL_FORWARD_H
#define TV_MODEL_FORWARD_H

#include "model/activations.h"

/* What a pass reads besides the model, all on the device. */
typedef struct tv_model_inputs {
    tv_tensor tokens;    /* (B, T) uint32 */
    tv_tensor positions; /* (B, T) uint32; absent: t */
    tv_tensor doc_start; /* (B, T) uint32; absent: rows are one document */
} tv_model_inputs;

/* Fills every activation up to `final`. */
tv_status tv_forward(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                     const tv_model_inputs *inputs);

/* Keys and values of the tokens that were fed so far, for decoding. */
typedef struct tv_kv_cache {
    uint64_t max_tokens;
    const tv_tensor *k, *v; /* of each layer: (slots, Hkv, max_tokens, D) */
    tv_tensor slots; /* (rows) uint32: the slot of each row; slot_count or more: of none. Absent: row r */
    uint64_t slot_count;
    tv_tensor prefixes; /* (rows, 2) uint32: as tv_attention_decode has them, and the shape of k and v */
    uint64_t prefix_count, prefix_tokens, own_tokens;
    tv_tensor arrived; /* tv_matmul_arrived(rows) zeros, for norms in products; absent: they have their own
                          dispatches */
} tv_kv_cache;

/* The same for one token per row, activations of T 1: the token stands at inputs->positions, which must be
 * present, and attends to the cache, which takes its key and value. */
tv_status tv_forward_cached(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                            const tv_model_inputs *inputs, const tv_kv_cache *cache);

/* Only fills the cache, whose slots must be present: rows may be several tokens of one sequence, as a prompt
 * is read. Their keys and values are those of tv_forward_cached, bit for bit; `final` is not computed. */
tv_status tv_forward_read(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                          const tv_model_inputs *inputs, const tv_kv_cache *cache);

/* One block again from its kept input, for a backward pass with recomputation: everything but the residual
 * stream behind it. */
tv_status tv_forward_block_again(tv_recorder *recorder, const tv_model *model,
                                 const tv_activations *activations, const tv_model_inputs *inputs,
                                 uint32_t layer);

#endif
