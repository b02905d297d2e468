/* The public C API of trivium: train and run language models on any Vulkan GPU.
 *
 * Fallible functions return tv_status; after a failure tv_last_error() is a sentence for a person. Handles
 * are opaque; destroy functions take a pointer to the handle, accept NULL and clear it.
 */
#ifndef TRIVIUM_TRIVIUM_H
#define TRIVIUM_TRIVIUM_H

#include "trivium/device.h"
#include "trivium/language_model.h"
#include "trivium/status.h"

#endif
