/* How wide the vectors are that llvmpipe, Mesa's driver for CPUs, compiles shaders to.
 *
 * It takes 256 bits, subgroups of 8 lanes, also where the processor has AVX-512; with 512 bits, 16 lanes, the
 * variants for CPUs are up to twice as fast (docs/performance.md). A driver reads that from the environment
 * when it is loaded, so this stands before the first instance.
 */
#ifndef TV_VK_CPU_VECTORS_H
#define TV_VK_CPU_VECTORS_H

#include <stdbool.h>

/* Asks for 512 bits (LP_NATIVE_VECTOR_WIDTH) where the processor has AVX-512 and the machine no GPU, unless
 * the environment says a width already or TRIVIUM_CPU_VECTORS=driver leaves it to the driver. Mesa's shader
 * cache goes by the width, whoever has set it (MESA_SHADER_CACHE_DIR): into a folder of its own within the
 * one that is set or the user's cache, because Mesa 25.0 mixes up the code of different widths in one. Not
 * safe beside threads that read the environment. */
void tv_cpu_vectors_widen(void);

/* Whether no process of another width shares this one's shader cache. */
bool tv_cpu_vectors_own_cache(void);

#endif
