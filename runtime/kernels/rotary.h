/* Rotary positions (Su et al. 2021) in the convention of published Llama weights: channel i pairs with i +
 * D/2. */
#ifndef TV_KERNELS_ROTARY_H
#define TV_KERNELS_ROTARY_H

#include "kernels/launch.h"

/* How frequencies theta^(-2i/D) are changed for texts longer than those that a model was first trained on. */
typedef enum tv_rotary_kind {
    TV_ROTARY_PLAIN,  /* not at all */
    TV_ROTARY_LINEAR, /* all divided by the factor (Chen et al. 2023) */
    TV_ROTARY_LLAMA3, /* long waves divided, short ones kept, those between blended (Llama 3.1) */
    TV_ROTARY_YARN    /* likewise, blended by the channel's index (Peng et al. 2023) */
} tv_rotary_kind;

/* What does not belong to the kind is 0. */
typedef struct tv_rotary_scaling {
    tv_rotary_kind kind;
    double theta;                   /* base of the frequencies */
    double factor;                  /* LINEAR, LLAMA3, YARN: at least 1 */
    double original_positions;      /* LLAMA3, YARN: of the first training */
    double low_factor, high_factor; /* LLAMA3: waves that fit less often, more often into those positions */
    double slow_rotations, fast_rotations; /* YARN: rotations over them below, above which blending ends */
    bool exact_range;                      /* YARN: the blended channels are not rounded to whole ones */
    double attention_factor;               /* YARN: times cosines and sines, above 0 */
} tv_rotary_scaling;

/* Angle per position of pair i of D/2. */
double tv_rotary_frequency(const tv_rotary_scaling *scaling, uint64_t head_size, uint64_t i);

/* Fills `table` (max_positions, D/2, 2) floats on the host: cos and sin of position * frequency, computed in
 * double, times the attention factor. */
void tv_rotary_table(uint64_t max_positions, uint64_t head_size, const tv_rotary_scaling *scaling,
                     float *table);

typedef struct tv_rotary {
    uint64_t rows, tokens_per_row; /* as in tv_embedding */
    uint64_t heads;                /* heads to rotate at the start of each row: H + Hkv, so that v stays */
    uint64_t head_size;            /* D, even */
    uint64_t row_stride;           /* elements of a row of qkv: (H + 2 Hkv) * D */
    bool inverse;                  /* rotate back: the backward pass */
    tv_tensor positions;           /* (rows) uint32; absent: r % T */
    tv_tensor table;               /* as tv_rotary_table fills it */
    tv_tensor qkv; /* (rows, row_stride), in place; f32, or halves where D is a multiple of 4 */
} tv_rotary;
tv_status tv_rotary_record(tv_recorder *recorder, const tv_rotary *rotary);

#endif
