/* Token and position embeddings, forward and the deterministic scatter of their gradients.
 *
 * Tables larger than the storage range are read and written by chunks of the vocabulary.
 */
#ifndef TV_KERNELS_EMBEDDING_H
#define TV_KERNELS_EMBEDDING_H

#include "kernels/launch.h"

typedef struct tv_embedding {
    uint64_t rows;           /* B * T */
    uint64_t tokens_per_row; /* T: without `positions`, row r stands at position r % T */
    uint64_t channels, vocab, max_positions;
    tv_tensor tokens;         /* (rows) uint32, each below vocab */
    tv_tensor positions;      /* (rows) uint32; absent: r % T */
    tv_tensor token_table;    /* (V, C), of any type that weights are stored in */
    float scale;              /* of the token's row; 0: 1 */
    tv_tensor position_table; /* (max_positions, C); absent: none (rotary models) */
    tv_tensor output;         /* (rows, C) out */
} tv_embedding;
tv_status tv_embedding_forward(tv_recorder *recorder, const tv_embedding *embedding);

typedef struct tv_embedding_backward {
    uint64_t rows, tokens_per_row, channels, vocab, max_positions;
    tv_tensor tokens, positions; /* as in forward */
    float scale;                 /* as in forward */
    tv_tensor d_output;          /* (rows, C) */
    /* (V, C) fp32, accumulated, without atomics: each table row has one writer; absent: not asked for */
    tv_tensor d_token_table;
    tv_tensor d_position_table; /* (max_positions, C) fp32, accumulated; absent: none, or not asked for */
} tv_embedding_backward;
tv_status tv_embedding_backward_record(tv_recorder *recorder, const tv_embedding_backward *embedding);

#endif
