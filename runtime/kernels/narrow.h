/* Trained weights in a type narrower than fp32, made from their fp32 masters.
 *
 * The device does it, after each update and when a model is loaded, so that a run that goes on from a
 * checkpoint of masters has the bits of one that did not stop.
 */
#ifndef TV_KERNELS_NARROW_H
#define TV_KERNELS_NARROW_H

#include "kernels/launch.h"

typedef struct tv_narrow {
    uint64_t rows, columns;
    tv_tensor master;  /* (rows, columns) fp32 */
    tv_tensor weights; /* rows of its type: f16, bf16 or q8_0; overwritten */
} tv_narrow;
tv_status tv_narrow_record(tv_recorder *recorder, const tv_narrow *narrow);

#endif
