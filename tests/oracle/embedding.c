/* Double-precision references of the embeddings: see embedding.h. */
#include "oracle/embedding.h"

#include <stddef.h>

static uint64_t position_of(uint64_t row, uint64_t tokens_per_row, const uint32_t *positions) {
    return positions ? positions[row] : row % tokens_per_row;
}

void oracle_embedding_forward(uint64_t rows, uint64_t tokens_per_row, uint64_t channels,
                              const uint32_t *tokens, const uint32_t *positions, const float *token_table,
                              const float *position_table, double *output) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < channels; c++) {
            output[r * channels + c] = token_table[tokens[r] * channels + c];
            if (position_table)
                output[r * channels + c] +=
                    (double)position_table[position_of(r, tokens_per_row, positions) * channels + c];
        }
}

void oracle_embedding_backward(uint64_t rows, uint64_t tokens_per_row, uint64_t channels, uint64_t vocab,
                               const uint32_t *tokens, const uint32_t *positions, const float *d_output,
                               double *d_token_table, double *d_position_table) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < channels; c++) {
            double d = (double)d_output[r * channels + c];
            if (tokens[r] < vocab)
                d_token_table[tokens[r] * channels + c] += d;
            if (d_position_table)
                d_position_table[position_of(r, tokens_per_row, positions) * channels + c] += d;
        }
}
