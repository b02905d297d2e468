/* The kernels as programs, made from kernels.def. */
#ifndef TV_KERNELS_REGISTRY_H
#define TV_KERNELS_REGISTRY_H

#include "vk/recorder.h"

typedef enum tv_program_id {
#define TV_KERNEL(name, push, flops, bytes, ...)
#define TV_VARIANT(kernel, variant, source, defines, local_size) TV_PROGRAM_##kernel##_##variant,
#include "kernels/kernels.def"
#undef TV_KERNEL
#undef TV_VARIANT
    TV_PROGRAM_COUNT
} tv_program_id;

const tv_program *tv_program_get(tv_program_id id);

/* Of the two of a TV_MATRIX_VARIANT, named by the first, the one of this tier. */
tv_program_id tv_program_of_tier(tv_program_id f16, tv_tier tier);

/* build/generated/embedded_shaders.c, in the order of the enumeration. */
extern const tv_spirv tv_embedded_shaders[];

#endif
