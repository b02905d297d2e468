/* Philox 4x32-10 (Salmon et al., SC 2011): the same numbers as runtime/base/rng.c, which says what an address is. */
#ifndef TV_PHILOX_GLSL
#define TV_PHILOX_GLSL

/* enum tv_stream of runtime/base/rng.h; pinned there. */
const uint TV_STREAM_SAMPLE = 4;
const uint TV_STREAM_MOMENTS = 9;

/* Four words. seed and index: low word, high word. stream: the stream, and the rank 16 bits higher. */
uvec4 tv_philox(uvec2 seed, uint stream, uint step, uvec2 index) {
    uvec4 c = uvec4(index, step, stream);
    for (int round = 0; round < 10; round++) {
        uint high0, low0, high1, low1;
        umulExtended(0xD2511F53u, c.x, high0, low0);
        umulExtended(0xCD9E8D57u, c.z, high1, low1);
        c = uvec4(high1 ^ c.y ^ seed.x, low1, high0 ^ c.w ^ seed.y, low0);
        seed += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

/* Uniform in [0, 1), 24 bits. */
float tv_uniform(uvec2 seed, uint stream, uint step, uvec2 index) {
    return float(tv_philox(seed, stream, step, index).x >> 8) * 5.9604644775390625e-8; /* 2^-24 */
}

#endif
