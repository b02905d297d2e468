/* AdamW's moments in 8 bits: a block of 256 elements has one exponent, and each element a small float below it.
 *
 * A code of `mantissa` bits m below 4 bits of exponent e means, with E the block's exponent, 2^(E - 15) ((e > 0) + m / 2^mantissa)
 * 2^max(e, 1): 15 octaves with equal relative steps, then equal steps down to 0. The block's exponent is a float's with its bias, 0 for a
 * block that was never written: all zeros. It is the least for which the largest element has a code.
 *
 * What lies between two codes becomes the upper one as often as it is near it, by random bits (stochastic rounding). The nearer one of the
 * two would stay for ever where a step moves a moment by less than half the distance, and with beta2 = 0.999 every step does.
 * Exponents are powers of two, so a moment that did not change keeps its code, whatever became of its block.
 */
#ifndef TV_MOMENTS_GLSL
#define TV_MOMENTS_GLSL

#include "sizes.h"

const int tv_levels = 15;

/* Of a block, whose largest magnitude has these bits. */
uint tv_moment_exponent(uint largest, uint mantissa) {
    return max(largest + (1u << 23 - mantissa) >> 23, uint(TV_MOMENT_LEAST_EXPONENT));
}

/* `bits` of a magnitude; `random`: 16 bits. */
uint tv_moment_encode(uint bits, uint exponent, uint mantissa, uint random) {
    int level = int(bits >> 23) - int(exponent) + tv_levels;
    uint dropped = 23 - mantissa + uint(max(1 - level, 0));
    if (dropped > 31)
        return 0;
    uint significand = bits & 0x7fffffu | 0x800000u;
    uint quanta = significand + (random << dropped - 16) + (1u << dropped - 17) >> dropped;
    return (uint(max(level, 1) - 1) << mantissa) + quanta;
}

float tv_moment_decode(uint code, uint exponent, uint mantissa) {
    uint level = code >> mantissa, quanta = code & (1u << mantissa) - 1u;
    quanta |= level > 0 ? 1u << mantissa : 0u;
    uint quantum = exponent - uint(tv_levels) + max(level, 1) - mantissa;
    return exponent == 0 ? 0.0 : float(quanta) * uintBitsToFloat(quantum << 23);
}

#endif
