/* What trivium bench kernels times: one launcher each, at shapes that training and decoding use.
 *
 * A case is a function that records its launcher once. Its tensors are made at the first call and found again
 * at the next ones, so that a recording can hold the same launch many times.
 */
#ifndef TV_TOOLS_BENCH_CASES_H
#define TV_TOOLS_BENCH_CASES_H

#include "kernels/launch.h"

enum { TV_KERNEL_RUN_BUFFERS = 12, TV_KERNEL_DIMS = 5 };

/* Zero-initialise and set `device`; set `next` to 0 before each call. Free with tv_kernel_run_free. */
typedef struct tv_kernel_run {
    tv_device *device;
    tv_buffer *buffers[TV_KERNEL_RUN_BUFFERS];
    uint32_t next; /* the tensor that is asked for next */
} tv_kernel_run;
void tv_kernel_run_free(tv_kernel_run *run);

/* Records the launch at the shape `d`. */
typedef tv_status (*tv_record_kernel)(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d);

typedef struct tv_kernel_case {
    const char *kernel, *form; /* the form stands behind the shape */
    tv_record_kernel record;
    uint64_t cpu[TV_KERNEL_DIMS], gpu[TV_KERNEL_DIMS]; /* shapes, up to the first 0; none: not there */
} tv_kernel_case;

/* The first TV_KERNEL_MATMUL_FORMS are the forms of the matrix product, which take any shape (m, n, k). */
enum { TV_KERNEL_MATMUL_FORMS = 3 };
extern const tv_kernel_case tv_kernel_cases[];
extern const uint64_t tv_kernel_case_count;

#endif
