/* Whether a device's own answer to a small known problem is right: for features that drivers advertise and
 * not every one gets right.
 *
 * Promise: the test runs at a device's first use, in a process of its own because a driver may crash on it.
 * Its verdict is kept in the user's cache, in a file of the test's name, for as long as device, driver, tier
 * and the test's shaders stay the same; what could not be run is tried again next time. Whoever fails gets a
 * warning that says how it ended.
 */
#ifndef TV_KERNELS_VERDICT_H
#define TV_KERNELS_VERDICT_H

#include "vk/device.h"

typedef struct tv_self_test {
    const char *name;        /* of its file and its key: "texels" is texels-HASH.json, texels_are_sound */
    const char *of;          /* "a self-test of ..." */
    const char *consequence; /* of a bad verdict, behind a comma: what is done without, and what may help */
    double seconds;          /* that it may take: a CPU's compiler takes long on a busy machine */
    uint64_t shaders;        /* a hash of what is tested, on which the verdict rests beside the device */
    const char *tier;        /* that the device is opened at; NULL: its default */
    /* Runs on a device of the other process. TV_OK with *sound false where the answer is wrong. */
    tv_status (*run)(tv_device *device, bool *sound);
} tv_self_test;

/* True where the device is sound, as the cache or the test says; where self-tests are skipped, always.
 * Blocks while the test runs. */
bool tv_device_is_sound(tv_device *device, const tv_self_test *test);

#endif
