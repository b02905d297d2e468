/* Recorded, run, waited for: see once.h. */
#include "vk/once.h"

#include <stddef.h>

#include "vk/submit.h"

tv_status tv_run_once(tv_recorder **recorder) {
    tv_device *device = tv_recorder_device(*recorder);
    tv_recording *recording = NULL;
    uint64_t value;
    tv_status status;
    TV_TRY(tv_recorder_end(recorder, &recording));
    TV_TRY(tv_submit(device, &recording, 1, &value));
    TV_TRY(tv_wait(device, value));
done:
    tv_recording_destroy(&recording);
    return status;
}
