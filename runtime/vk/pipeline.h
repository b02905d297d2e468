/* Programs: a compiled shader with the contract that the recorder enforces.
 *
 * Promise: a tv_program is a constant table entry (runtime/kernels/registry.c makes them from kernels.def); a
 * device compiles it at first use per specialization and keeps the pipeline in memory and, keyed by
 * pipelineCacheUUID and driver, on disk. A bad cache file is a miss.
 */
#ifndef TV_VK_PIPELINE_H
#define TV_VK_PIPELINE_H

#include <stdint.h>

#include "vk/caps.h"

enum { TV_MAX_BINDINGS = 12, TV_MAX_SPECIALIZATION = 9, TV_TEXEL_BYTES = 16 };

/* TV_TEXELS: read as texels of four fp32, through a view; the span begins and ends at multiples of 16 bytes.
 */
typedef enum tv_access { TV_READ = 1, TV_WRITE = 2, TV_READ_WRITE = 3, TV_TEXELS = 4 | TV_READ } tv_access;

typedef struct tv_spirv {
    const uint32_t *words;
    uint64_t count;
} tv_spirv;

typedef struct tv_program {
    const char *name;       /* "layernorm_forward.base" */
    const tv_spirv *shader; /* no words: not built, see `tier` */
    /* Above fp32: for devices of that tier alone, whose matrix units want subgroups of a size. */
    tv_tier tier;
    uint32_t local_size; /* invocations of a workgroup; 0: constant_id 0 sets them */
    uint32_t push_bytes;
    uint32_t binding_count;
    const tv_access *access; /* of each binding */
    /* FLOPs and bytes moved by one dispatch, from its push constants. */
    void (*cost)(const void *push, double *flops, double *bytes);
} tv_program;

#endif
