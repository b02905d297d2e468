/* Philox 4x32-10 and what is drawn from it: see rng.h. */
#include "base/rng.h"

#include <math.h>

void tv_philox(const tv_rng *rng, uint64_t index, uint32_t out[4]) {
    /* Multipliers and Weyl increments of the published generator. */
    const uint32_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u, w0 = 0x9E3779B9u, w1 = 0xBB67AE85u;
    uint32_t c0 = (uint32_t)index, c1 = (uint32_t)(index >> 32), c2 = rng->step;
    uint32_t c3 = (uint32_t)rng->stream | (uint32_t)rng->rank << 16;
    uint32_t k0 = (uint32_t)rng->seed, k1 = (uint32_t)(rng->seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)m0 * c0, p1 = (uint64_t)m1 * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += w0;
        k1 += w1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

float tv_uniform(const tv_rng *rng, uint64_t index) {
    uint32_t words[4];
    tv_philox(rng, index, words);
    return (float)(words[0] >> 8) * 0x1p-24f;
}

float tv_normal(const tv_rng *rng, uint64_t index) {
    uint32_t words[4];
    tv_philox(rng, index, words);
    /* (word + 1) keeps the logarithm's argument above 0. */
    double u = ((double)words[0] + 1) * 0x1p-32, v = (double)words[1] * 0x1p-32;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

uint64_t tv_uniform_below(const tv_rng *rng, uint64_t index, uint64_t bound) {
    uint32_t words[4];
    tv_philox(rng, index, words);
    uint64_t word = (uint64_t)words[1] << 32 | words[0];
    return (uint64_t)((unsigned __int128)word * bound >> 64);
}

uint64_t tv_permute(const tv_rng *rng, uint64_t i, uint64_t n) {
    if (n < 2)
        return 0;
    uint32_t half = 1;
    while (half < 32 && (UINT64_C(1) << (2 * half)) < n)
        half++;
    uint64_t mask = half == 32 ? UINT32_MAX : (UINT64_C(1) << half) - 1;
    do {
        uint64_t left = i >> half, right = i & mask;
        /* Four rounds make a Feistel network of a good round function pseudo-random (Luby and Rackoff). */
        for (uint64_t round = 0; round < 4; round++) {
            uint32_t words[4];
            tv_philox(rng, round << 32 | right, words);
            uint64_t next = left ^ (words[0] & mask);
            left = right;
            right = next;
        }
        i = left << half | right;
    } while (i >= n);
    return i;
}
