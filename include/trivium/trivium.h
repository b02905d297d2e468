/* The public C API of trivium: train and run language models on any Vulkan GPU.
 *
 * Fallible functions return tv_status; after a failure tv_last_error() is a sentence for a person. Handles
 * are opaque; destroy functions take a pointer to the handle, accept NULL and clear it. Options are structs
 * that a function of the same name fills with the defaults: begin with it, so that members of later versions
 * have theirs. Beside each function stands what is not the rule: thread-safety, whether it blocks, its cost.
 */
#ifndef TRIVIUM_TRIVIUM_H
#define TRIVIUM_TRIVIUM_H

#include "trivium/buffers.h"
#include "trivium/device.h"
#include "trivium/language_model.h"
#include "trivium/log.h"
#include "trivium/status.h"
#include "trivium/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library that runs: "0.1.0". */
const char *tv_version(void);

#ifdef __cplusplus
}
#endif

#endif
