/* How fast a device multiplies matrices, and how much of that a training step needs: for the "share of the
 * device's measured peak".
 *
 * Promise: the peak is measured once per device, driver and set of kernels and kept in the cache folder; a
 * broken cache file is a miss, and a folder that cannot be written costs only the next measurement.
 */
#ifndef TV_RUN_PEAK_H
#define TV_RUN_PEAK_H

#include "model/config.h"
#include "vk/memory.h"

/* FLOP/s of the best of several square fp32 products A B and A B^T (512 on CPUs, 4,096 on discrete GPUs,
 * 2,048 on others), which take about a second. */
tv_status tv_device_peak(tv_device *device, double *flops_per_second);

/* Fills a span with `count` floats of noise in [-0.5, 0.5): on zeros a GPU draws less power and runs at a
 * clock that no training sees. */
tv_status tv_fill_noise(tv_device *device, tv_span span, uint64_t count);

/* FLOPs of forward and backward per trained token, T tokens in a row: 6 per element of the matrices that
 * tokens are multiplied with, and causal attention's 6 L H D (T + 1) (Chowdhery et al. 2022, appendix B,
 * without the half of the scores that the mask leaves out). Recomputation is not counted. */
double tv_step_flops_per_token(const tv_model_config *config, uint64_t tokens);

#endif
