/* Double-precision reference of the rotary positions. */
#ifndef TV_ORACLE_ROTARY_H
#define TV_ORACLE_ROTARY_H

#include <stdint.h>

/* Rotates the first `heads` heads of each row of qkv (rows, row_stride) in place; direction -1 rotates back.
 */
void oracle_rotary(uint64_t rows, uint64_t heads, uint64_t head_size, uint64_t row_stride, double theta,
                   double direction, const uint32_t *positions, double *qkv);

#endif
