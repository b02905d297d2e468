/* Matrix products: C = scale op(A) op(B) (+ bias) in all four transpose forms, and GELU of it.
 *
 * Promise: any sizes, also odd ones and ones that exceed the storage range (split along m, n or k); the same
 * bits on every run of a device, and the same bits of a row of an A B or A B^T whatever m is; sums are fp32.
 * Variant and tile are chosen by the device's caps and the shape. On GPUs every one of them sums slices of
 * TV_MATMUL_SLICE values along k in order and adds the slices in order; CPU kernels sum all of k in order.
 *
 * In a matrix tier operands are rounded to its type on their way to the matrix units, C is not, and an A B^T
 * of floats with a few columns (TV_MATMUL_FEW_COLUMNS) stays with the fp32 kernels.
 */
#ifndef TV_KERNELS_MATMUL_H
#define TV_KERNELS_MATMUL_H

#include "kernels/norm.h"

typedef struct tv_matmul {
    uint64_t m, n, k;                      /* C (m, n), op(A) (m, k), op(B) (k, n) */
    bool transpose_a;                      /* A is stored (k, m) */
    bool transpose_b;                      /* B is stored (n, k), as Linear weights are */
    bool accumulate;                       /* C += instead of C =; floats alone */
    uint64_t lda, ldb, ldc;                /* elements between stored rows; 0: packed */
    uint64_t batch;                        /* products side by side; 0 and 1: one */
    uint64_t stride_a, stride_b, stride_c; /* elements between products of a batch; 0 for A or B: shared */
    float scale;                           /* of the product; 0: 1. Not with a bias */
    /* A and C are floats, or in a matrix tier of its type (tv_tier_dtype); B may be a packed weight matrix of
     * another type (base/dtype.h): at fp32 where A is not transposed and there is no batch; in a matrix tier
     * anywhere, and one of halves need not be packed. Without ldb its rows are those of base/dtype.h. */
    tv_tensor a, b, c;
    bool gelu;      /* C = gelu(op(A) op(B) + bias), the bits of tv_gelu_forward. Not with accumulate */
    tv_tensor bias; /* (n), added to every row; absent: none. Not with accumulate */
    /* For the sums of slices of k where C alone is too small for the device: floats, m n for each slice at
     * once. The bits do not depend on it; absent: one workgroup makes all slices of its part of C. */
    tv_tensor scratch;
    /* A norm of C, with the bits of tv_norm_forward_record: in the product's dispatch where kernels have that
     * (CPUs), which leaves its `mean` and `rstd` unwritten and wants `arrived`, else behind it. Its input is
     * C, which `sum` must be too if it is there. NULL: none. */
    const tv_norm_forward *norm;
    tv_tensor
        arrived; /* tv_matmul_arrived(m) words, zero before and after; absent: the norm takes a dispatch */
} tv_matmul;

/* Words that count workgroups of such a product. */
uint64_t tv_matmul_arrived(uint64_t m);

/* Bytes of scratch that are worth having for such a product: all slices, within 16 MiB. 0: none. */
uint64_t tv_matmul_scratch(uint64_t m, uint64_t n, uint64_t k);

tv_status tv_matmul_record(tv_recorder *recorder, const tv_matmul *product);

#endif
