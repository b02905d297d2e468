/* Double-precision references of the update. */
#ifndef TV_ORACLE_OPTIMIZER_H
#define TV_ORACLE_OPTIMIZER_H

#include <stdint.h>

double oracle_norm(uint64_t count, const float *x);

typedef struct oracle_adamw_settings {
    double lr, weight_decay, beta1, beta2, eps;
} oracle_adamw_settings;

/* One step, t = 1 the first, in the order of torch.optim.AdamW; `decay` multiplies the parameter before (1 -
 * lr decay). */
void oracle_adamw(const oracle_adamw_settings *settings, uint64_t t, int decay, uint64_t count,
                  const double *gradient, double *parameter, double *m, double *v);

/* ---- moments of 8 bits: a block of 256 elements has one exponent, a float's with its bias; 0: all zeros
 * ---- */

enum { ORACLE_MOMENT_BLOCK = 256 };

/* What a code says: `bits` of mantissa below 4 of exponent, 15 the block's own. */
double oracle_moment8_value(unsigned code, int bits, unsigned exponent);

typedef struct oracle_moment8 {
    unsigned char *codes; /* (count); of the first moment with the sign as bit 7 */
    unsigned *exponents;  /* of each block */
    unsigned char *doubt; /* (count), out: the code or its block's exponent lies so near between two that fp32
                             may take the other one */
} oracle_moment8;

/* One step like oracle_adamw's from the moments as their codes say them (the second as its square root), with
 * new codes: what lies between two becomes the upper one where its distance from the lower one and a number
 * from Philox make one step or more. `number` of the parameter, elements counted from its first one. */
void oracle_adamw8(const oracle_adamw_settings *settings, uint64_t t, int decay, uint32_t number,
                   uint64_t count, const double *gradient, double *parameter, oracle_moment8 *m,
                   oracle_moment8 *v);

#endif
