/* Double-precision references of the embeddings; shapes as in kernels/embedding.h. */
#ifndef TV_ORACLE_EMBEDDING_H
#define TV_ORACLE_EMBEDDING_H

#include <stdint.h>

/* `positions` NULL: r % tokens_per_row; position_table NULL: none. */
void oracle_embedding_forward(uint64_t rows, uint64_t tokens_per_row, uint64_t channels,
                              const uint32_t *tokens, const uint32_t *positions, const float *token_table,
                              const float *position_table, double *output);

/* Both tables accumulated; tokens from `vocab` on are skipped; d_position_table NULL: none. */
void oracle_embedding_backward(uint64_t rows, uint64_t tokens_per_row, uint64_t channels, uint64_t vocab,
                               const uint32_t *tokens, const uint32_t *positions, const float *d_output,
                               double *d_token_table, double *d_position_table);

#endif
