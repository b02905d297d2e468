/* Double-precision reference of attention, naive: the T x T probabilities are stored. */
#ifndef TV_ORACLE_ATTENTION_H
#define TV_ORACLE_ATTENTION_H

#include <stdint.h>

typedef struct oracle_attention {
    uint64_t batch, tokens, heads, kv_heads, head_size; /* B, T, H, Hkv, D */
    const uint32_t *doc_start;                          /* (B, T), or NULL: all 0 */
    uint64_t window;                                    /* a row sees so many keys at most; 0: all */
    double scale;                                       /* 0: 1/sqrt(D) */
} oracle_attention;

/* output (B, T, H D); lse (B, H, T) or NULL. */
void oracle_attention_forward(const oracle_attention *shape, const double *qkv, double *output, double *lse);
/* d_qkv (B, T, (H + 2 Hkv) D) from d_output alone: the probabilities are computed again. */
void oracle_attention_backward(const oracle_attention *shape, const double *qkv, const double *d_output,
                               double *d_qkv);

#endif
