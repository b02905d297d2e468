/* Rotary positions (Su et al. 2021) in the convention of published Llama weights: channel i pairs with i +
 * D/2. */
#ifndef TV_KERNELS_ROTARY_H
#define TV_KERNELS_ROTARY_H

#include "kernels/launch.h"

/* Fills `table` (max_positions, D/2, 2) floats on the host: cos and sin of position * theta^(-2i/D), computed
 * in double. */
void tv_rotary_table(uint64_t max_positions, uint64_t head_size, double theta, float *table);

typedef struct tv_rotary {
    uint64_t rows, tokens_per_row; /* as in tv_embedding */
    uint64_t heads;                /* heads to rotate at the start of each row: H + Hkv, so that v stays */
    uint64_t head_size;            /* D, even */
    uint64_t row_stride;           /* elements of a row of qkv: (H + 2 Hkv) * D */
    bool inverse;                  /* rotate back: the backward pass */
    tv_tensor positions;           /* (rows) uint32; absent: r % T */
    tv_tensor table;               /* as tv_rotary_table fills it */
    tv_tensor qkv;                 /* (rows, row_stride), in place */
} tv_rotary;
tv_status tv_rotary_record(tv_recorder *recorder, const tv_rotary *rotary);

#endif
