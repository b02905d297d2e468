/* What every launcher shares: tensors on the device, splitting by rows, the one call that dispatches.
 *
 * A launcher is a function per operation: it checks shapes, chooses the variant by the device's caps, splits
 * what is over a device limit and records one dispatch per part. Launchers take a tv_recorder and tensors,
 * and hold no state.
 */
#ifndef TV_KERNELS_LAUNCH_H
#define TV_KERNELS_LAUNCH_H

#include "base/bytes.h"
#include "base/dtype.h"
#include "kernels/registry.h"
#include "push_constants.h"

/* A flat device array; shapes stand in the launchers' arguments. A zeroed tensor is "absent". */
typedef struct tv_tensor {
    tv_span span;
    tv_dtype dtype;
} tv_tensor;

#define TV_ABSENT ((tv_tensor){.dtype = TV_F32})

static inline bool tv_tensor_present(tv_tensor tensor) {
    return tensor.span.buffer != NULL;
}

/* The first `rows` rows of `row_elements` from row `first` on. The offset must keep TV_TENSOR_ALIGNMENT: see
 * tv_split_rows. An absent tensor stays absent. */
tv_tensor tv_tensor_rows(tv_tensor tensor, uint64_t row_elements, uint64_t first, uint64_t rows);

/* The same of a weight matrix of any type (base/dtype.h), whose rows have `columns` elements. */
tv_tensor tv_tensor_weight_rows(tv_tensor tensor, uint64_t columns, uint64_t first, uint64_t rows);

/* `count` elements of a flat tensor from `first` on, which need not be aligned: the span begins at the
 * aligned place before it, and *skip is how many elements later the part begins (below 64). */
tv_tensor tv_tensor_window(tv_tensor tensor, uint64_t first, uint64_t count, uint32_t *skip);

/* The first `count` elements, for what is bound whole: a launcher names the extent of every tensor, so that
 * one that is smaller is refused (vk/memory.h) and not read past its end. */
tv_tensor tv_tensor_first(tv_tensor tensor, uint64_t count);
/* Of tv_step_constants and tv_update_state. */
enum {
    TV_STEP_WORDS = sizeof(struct tv_step_constants) / sizeof(uint32_t),
    TV_STATE_WORDS = sizeof(struct tv_update_state) / sizeof(uint32_t)
};

/* Activations that are halves take kernels of their own, which read and write them some at a time: what is no
 * multiple of `step` elements is TV_E_USAGE with the kernel's name. */
static inline bool tv_is_half(tv_dtype dtype) {
    return dtype == TV_F16 || dtype == TV_BF16;
}
tv_status tv_check_halves(const char *what, const tv_tensor *tensors, uint32_t count, uint64_t elements,
                          uint64_t step);

typedef struct tv_launch {
    tv_program_id program;
    const void *push;
    uint64_t groups;      /* workgroups in x, folded by the recorder */
    uint64_t invocations; /* instead of groups, where kernels.def states the size of a workgroup */
    uint32_t groups_z;    /* 0: none */
    tv_tensor bindings[TV_MAX_BINDINGS];
    uint32_t specialization[TV_MAX_SPECIALIZATION];
    uint32_t specialization_count;
    tv_dtype halves;   /* the type of its activations that are halves: constant_id 1; 0: none are */
    uint64_t shape[4]; /* for labels and tables, up to the first 0 */
} tv_launch;

tv_status tv_launch_record(tv_recorder *recorder, const tv_launch *launch);

/* The first constants of a kernel on matrices (shaders/include/matrix.glsl): call it before a launch's own
 * are added. */
void tv_matrix_constants(const tv_caps *caps, tv_tier tier, tv_launch *launch);

/* How many rows of the widest of several row-shaped tensors one binding can hold: the largest count, at most
 * `rows`, for which `rows * row_bytes` stays within the device's storage range and every further part starts
 * aligned. `row_bytes` lists the tensors that are cut along this dimension. TV_E_FIT, with `what`, when not
 * even the smallest aligned part fits. */
tv_status tv_split_rows(const tv_recorder *recorder, const char *what, uint64_t rows,
                        const uint64_t *row_bytes, uint32_t tensors, uint64_t *rows_per_part);

/* The same for rows of logits that are bound through tv_tensor_window: parts need not start on an aligned
 * byte, so that also a device that binds less than 64 rows of logits takes them. */
tv_status tv_split_logits(const tv_recorder *recorder, const char *what, uint64_t rows, uint64_t vocab,
                          tv_dtype dtype, uint64_t *rows_per_part);

/* The parts of `total`, `most` at a time: `tv_part part = {0}; while (tv_next_part(&part, total, most)) ...`
 */
typedef struct tv_part {
    uint64_t first, count;
} tv_part;
static inline bool tv_next_part(tv_part *part, uint64_t total, uint64_t most) {
    part->first += part->count;
    part->count = tv_min_u64(most, total - part->first);
    return part->count > 0;
}

/* Lanes of the variants for CPUs, TV_CPU_LANES or TV_CPU_LANES_WIDE; 0 where a device takes those for GPUs.
 */
uint32_t tv_cpu_lanes(const tv_caps *caps);

/* Invocations for kernels that give each row to one workgroup: one subgroup on CPUs, where barriers are dear,
 * else `gpu`. Goes into constant_id 0. */
uint32_t tv_row_workgroup(const tv_recorder *recorder, uint32_t gpu);

const tv_caps *tv_recorder_caps(const tv_recorder *recorder);

#endif
