/* The non-linearities of the MLP: GELU (tanh approximation) and its and SiLU's gated forms, GeGLU and SwiGLU
 * (Shazeer 2020). What each reads and writes is all f32, or in multiples of 4 all f16 or bf16. */
#ifndef TV_KERNELS_ACTIVATION_H
#define TV_KERNELS_ACTIVATION_H

#include "kernels/column_sums.h"

/* y = gelu(x); both (count). */
tv_status tv_gelu_forward(tv_recorder *recorder, uint64_t count, tv_tensor x, tv_tensor y);
/* d_x = d_y gelu'(x); d_x may be d_y itself. */
tv_status tv_gelu_backward(tv_recorder *recorder, uint64_t count, tv_tensor x, tv_tensor d_y, tv_tensor d_x);

/* The same of (rows, columns), and d_columns (columns) += its column sums by the next addition of `sums`, the
 * gradient of a bias; absent: not asked for. */
tv_status tv_gelu_backward_columns(tv_recorder *recorder, uint64_t rows, uint64_t columns, tv_tensor x,
                                   tv_tensor d_y, tv_tensor d_x, tv_column_sums *sums, tv_tensor d_columns);

/* y (rows, F) = silu(gate) * up, where gate_up (rows, 2F) holds gate then up in each row. */
tv_status tv_swiglu_forward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                            tv_tensor y);
/* In place: gate_up (rows, 2F) holds gate and up before, their gradients after. */
tv_status tv_swiglu_backward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                             tv_tensor d_y);

/* The same with gelu(gate) * up. */
tv_status tv_geglu_forward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                           tv_tensor y);
tv_status tv_geglu_backward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                            tv_tensor d_y);

#endif
