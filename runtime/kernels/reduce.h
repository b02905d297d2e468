/* Deterministic sums: fixed partition, fixed order, no atomics. */
#ifndef TV_KERNELS_REDUCE_H
#define TV_KERNELS_REDUCE_H

#include "kernels/launch.h"

/* output[place] (+)= sum of input (count) fp32. scratch: tv_reduce_scratch(count) bytes. */
tv_status tv_reduce_sum(tv_recorder *recorder, uint64_t count, tv_tensor input, tv_tensor output,
                        uint64_t place, bool accumulate, tv_tensor scratch);
uint64_t tv_reduce_scratch(uint64_t count);

/* output (columns) += column sums of input (rows, columns): gradients of biases. scratch: tv_sum_rows_scratch
 * bytes, which serve fewer rows as well. */
tv_status tv_sum_rows(tv_recorder *recorder, uint64_t rows, uint64_t columns, tv_tensor input,
                      tv_tensor output, tv_tensor scratch);
uint64_t tv_sum_rows_scratch(uint64_t rows, uint64_t columns);

#endif
