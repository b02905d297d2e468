/* RenderDoc capture of a range of submissions through the in-application API.
 *
 * Promise: without RenderDoc in the process every call is a no-op that says so once; nothing is linked. Under
 * RenderDoc only features that it knows are asked for.
 */
#ifndef TV_VK_CAPTURE_H
#define TV_VK_CAPTURE_H

#include <stdbool.h>

#include "vk/device.h"

/* True when the process runs under RenderDoc. */
bool tv_capture_available(void);
/* Everything submitted between the two is one capture; both wait until the device is idle. */
tv_status tv_capture_begin(tv_device *device, const char *title);
tv_status tv_capture_end(tv_device *device);

#endif
