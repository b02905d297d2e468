/* What a device can do: read once, never assumed.
 *
 * Promise: every limit and optional feature that trivium uses stands here; a launcher decides by this record
 * alone. TRIVIUM_CAPS_MAX lowers entries ("storage_range=1048576,subgroup_arithmetic=0,tier=fp32"), so that
 * every fallback can be tested on any machine; it raises none, but for the tier of a CPU device, which takes
 * fp32 by itself and any that it is able to where `tier` says so.
 */
#ifndef TV_VK_CAPS_H
#define TV_VK_CAPS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "base/status.h"

typedef enum tv_device_type {
    TV_DEVICE_OTHER,
    TV_DEVICE_CPU,
    TV_DEVICE_VIRTUAL,
    TV_DEVICE_INTEGRATED,
    TV_DEVICE_DISCRETE
} tv_device_type;

/* Which arithmetic the matrix kernels use; a higher tier is faster. docs/architecture.md has the table. */
typedef enum tv_tier { TV_TIER_FP32, TV_TIER_CM_F16, TV_TIER_CM_BF16, TV_TIER_COUNT } tv_tier;

/* Of a subgroup's cooperative matrices: C (m, n) += A (m, k) B (k, n). m, n are 8 or 16, k also 32, and no
 * more than 8 values of C fall to a lane. */
typedef struct tv_matrix_shape {
    uint32_t m, n, k; /* 0: none */
} tv_matrix_shape;

typedef struct tv_caps {
    char name[256];
    char driver[256]; /* driver name and version, as the driver gives them */
    uint32_t api_version, driver_version, vendor_id, device_id;
    uint8_t pipeline_cache_uuid[16];
    tv_device_type type;

    uint64_t storage_range; /* bytes of one storage-buffer binding */
    uint64_t buffer_bytes;  /* bytes of one buffer, within one allocation */
    uint64_t heap_bytes;    /* of the largest device-local heap */
    uint64_t shared_bytes;  /* of a workgroup */
    uint64_t push_bytes;    /* of push constants, at least 128 */
    uint64_t invocations;   /* of a workgroup */
    uint64_t group_count_x; /* workgroups in x; larger grids are folded over y */
    uint64_t group_count_y, group_count_z;
    uint64_t compute_units;   /* that run workgroups side by side; a guess where no driver tells */
    uint64_t subgroup_size;   /* lanes of a subgroup as drivers choose it */
    uint64_t storage_buffers; /* bindings per shader */
    uint64_t registers; /* of an invocation, of 32 bits, before compilers spill; by vendor, no driver tells */
    uint64_t subgroup_arithmetic; /* 1: subgroupAdd and its kin in compute shaders */
    uint64_t subgroup_shuffle;    /* 1: subgroupShuffle and subgroupBroadcast */
    uint64_t unified_memory;      /* 1: device memory is host memory; no staging copies */
    uint64_t cpu_kernels; /* 1: kernels take the form for CPUs, where barriers are dear; 0 tests the one for
                             GPUs */
    uint64_t texels;      /* that a view of a buffer may have, of four fp32 each; 0: CPU kernels do without */
    uint64_t push_descriptors;    /* 1: VK_KHR_push_descriptor */
    uint64_t portability;         /* 1: VK_KHR_portability_subset, a driver above another API */
    uint64_t pipeline_statistics; /* 1: VK_KHR_pipeline_executable_properties tells what a compiler made */
    uint64_t memory_budget;       /* 1: VK_EXT_memory_budget tells what other programs have taken */
    uint64_t timestamp_bits;      /* 0: no timestamps */
    double timestamp_ns;          /* nanoseconds of a tick */
    uint64_t fp16_storage;        /* 1: 16-bit storage and arithmetic */
    uint64_t cooperative_matrix;  /* 1: VK_KHR_cooperative_matrix, and what its shaders need beside it */
    uint64_t bfloat16_matrix;     /* 1: VK_KHR_shader_bfloat16 for them */
    uint64_t matrix_lanes;        /* of the subgroups that kernels on matrices run in */
    uint64_t choose_lanes;        /* 1: which have to be asked for */
    tv_matrix_shape matrix[TV_TIER_COUNT]; /* of operands of each tier's type and fp32 sums */

    tv_tier tier;
    char tier_reason[256]; /* why not a higher one; "": there is none */
    char refusal[256];     /* why trivium cannot use the device at all; "" when it can */
} tv_caps;

/* Of device, driver and tier: what was measured or tested is worth nothing once this changes. */
uint64_t tv_caps_hash(const tv_caps *caps);

const char *tv_tier_name(tv_tier tier);
/* What operands of matrix units are in a tier: TV_F32 where there are none. */
tv_dtype tv_tier_dtype(tv_tier tier);
/* Whether the device has it, chosen or not: as read and as lowered. */
bool tv_caps_has_tier(const tv_caps *caps, tv_tier tier);
/* The tier by name, where the device has it; else TV_E_USAGE with the reason. */
tv_status tv_caps_take_tier(tv_caps *caps, const char *name);
const char *tv_device_type_name(tv_device_type type);

/* Lowers entries as `text` says (the syntax of TRIVIUM_CAPS_MAX); NULL or "" is nothing. A tier that the
 * device does not have leaves it at the highest below. TV_E_USAGE with the nearest known entry. */
tv_status tv_caps_lower(tv_caps *caps, const char *text);

#endif
