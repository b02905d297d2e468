/* Attention on matrix units (tiers cm-f16 and cm-bf16), of whole texts and of decoding steps: what
 * attention.c records in place of the fp32 kernels where a device and a head size allow it. Below, T is the
 * tier's 16-bit type. */
#ifndef TV_KERNELS_ATTENTION_MATRIX_H
#define TV_KERNELS_ATTENTION_MATRIX_H

#include "kernels/attention.h"

/* Head sizes up to 128 that are multiples of 4, matrices and subgroups that a workgroup of 64 rows is made
 * of, 32 KiB of shared memory. */
bool tv_attention_on_matrices(const tv_caps *caps, uint64_t head_size);

/* One part of a batch, which fits the device's bindings; `push` is of it. qkv, output, d_output and d_qkv are
 * fp32 or T, each for itself. */
tv_status tv_attention_matrix_forward(tv_recorder *recorder, const tv_attention *part,
                                      const tv_attention_push *push);
tv_status tv_attention_matrix_backward(tv_recorder *recorder, const tv_attention_backward *part,
                                       const tv_attention_push *push);

/* Of attention_decode, or attention_decode_parts where keys are split among workgroups. */
tv_program_id tv_attention_matrix_decode_program(const tv_caps *caps, uint64_t head_size, bool split);
/* The constants of a launch of attention_decode, attention_decode_parts (whose workgroups take `part_blocks`
 * blocks of keys) or cache_write on matrices, whose push and bindings stand. */
void tv_attention_matrix_decode(const tv_recorder *recorder, uint32_t part_blocks, tv_launch *launch);
/* Program, workgroups and constants of attention_decode_merge, likewise. */
void tv_attention_matrix_merge(const tv_recorder *recorder, tv_launch *launch);

#endif
