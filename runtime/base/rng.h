/* Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3",
 * SC 2011), the same numbers as shaders/include/philox.glsl draws.
 *
 * Promise: a draw is a pure function of its address (seed, stream, rank, step, index); nothing has state, so
 * a resumed run and any number of threads or devices see the same numbers. Step is 32 bits, index 64 bits.
 */
#ifndef TV_BASE_RNG_H
#define TV_BASE_RNG_H

#include <stdint.h>

/* Who draws. Values are pinned: changing one changes every seeded run. */
typedef enum tv_stream {
    TV_STREAM_INIT = 1,    /* parameter initialisation; step = tensor number */
    TV_STREAM_SHUFFLE = 2, /* order of windows (of the first source), examples, minibatches; step = epoch */
    TV_STREAM_MIX = 3,     /* choice of source */
    TV_STREAM_SAMPLE = 4,  /* tokens drawn in generation; step = prompt and candidate */
    TV_STREAM_SPLIT = 5,   /* train and validation split */
    TV_STREAM_ORDER = 6,   /* display order, presentation */
    TV_STREAM_TEST = 7,
    TV_STREAM_PROMPTS = 8, /* order of the prompts that PPO draws answers to; step = pass */
    TV_STREAM_MOMENTS =
        9, /* rounding of 8-bit moments: seed = parameter, step = update, index = element / 4 */
    TV_STREAM_SOURCE =
        256 /* and the number of a source beyond the first: order of its windows; step = epoch */
} tv_stream;

typedef struct tv_rng {
    uint64_t seed;
    uint16_t stream;
    uint16_t rank; /* of the device that draws: 0 where one draws for all */
    uint32_t step;
} tv_rng;

/* Four 32-bit words at `index`. Counter = (index low, index high, step, stream | rank << 16), key = seed. */
void tv_philox(const tv_rng *rng, uint64_t index, uint32_t out[4]);

/* Uniform in [0, 1), 24 bits; word 0 of the block. */
float tv_uniform(const tv_rng *rng, uint64_t index);
/* Standard normal by Box-Muller from words 0 and 1. */
float tv_normal(const tv_rng *rng, uint64_t index);
/* Uniform integer below `bound` (> 0), without modulo bias beyond 2^-32. */
uint64_t tv_uniform_below(const tv_rng *rng, uint64_t index, uint64_t bound);

/* The i-th element of a pseudo-random permutation of [0, n), computed without a table: a Feistel network with
 * Philox rounds and cycle walking, so a shuffle of any size needs no memory and resumes at any position. */
uint64_t tv_permute(const tv_rng *rng, uint64_t i, uint64_t n);

#endif
