/* Whether launchers may read buffers as texels on a device: a feature that every driver advertises and not
 * every one gets right.
 *
 * Promise: texels are taken only where the device's own answer to a small known problem was right
 * (verdict.h). They are also left to subgroups of 8 and 16, for which the kernels that gain from them are
 * written, and at 16 to processes whose shader cache is their own: Mesa 25.0 caches the code of texel loads
 * without regard to LP_NATIVE_VECTOR_WIDTH, so that a process of one width runs code of another, which gives
 * other texels, a crash, or by luck of the calling convention the right answer to a self-test.
 */
#ifndef TV_KERNELS_TEXELS_H
#define TV_KERNELS_TEXELS_H

#include "kernels/launch.h"

/* Texels that a view may have, of TV_TEXEL_BYTES each; 0 where they are not to be used. */
uint64_t tv_recorder_texels(const tv_recorder *recorder);

/* The problem of the self-test: sums (count, 4) of texels (count, 4) as shaders/texels/probe.comp has them.
 */
tv_status tv_texel_probe(tv_recorder *recorder, uint64_t count, tv_tensor texels, tv_tensor sums);

/* Whether this device's answer is right; runs in this process. TV_OK with *sound false when it is not. */
tv_status tv_texels_test(tv_device *device, bool *sound);

#endif
