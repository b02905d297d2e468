/* What the driver answers, as statuses: one place for failures and for the loss of a device. */
#include "vk/internal.h"

#include <stdio.h>

#include "base/bytes.h"

tv_status tv_device_check(tv_device *device) {
    return device->lost ? tv_fail(TV_E_DEVICE_LOST, "%s", device->lost_sentence) : TV_OK;
}

tv_status tv_device_set_lost(tv_device *device, const char *reason) {
    if (!device->lost) {
        uint64_t reached = 0;
        const char *completed = "nothing";
        if (device->vk.vkGetSemaphoreCounterValue(device->handle, device->timeline, &reached) != VK_SUCCESS)
            reached = 0;
        uint64_t newest = 0;
        for (int i = 0; i < TV_PENDING_SUBMISSIONS; i++) {
            if (device->pending[i].value > newest && device->pending[i].value <= reached) {
                newest = device->pending[i].value;
                completed = device->pending[i].label;
            }
        }
        device->lost = true;
        snprintf(device->lost_sentence, sizeof device->lost_sentence,
                 "%s was lost (%s); the last completed work was \"%s\"", device->caps.name, reason,
                 completed);
    }
    return tv_device_check(device);
}

tv_status tv_vk_check(tv_device *device, VkResult result, const char *what) {
    if (result == VK_SUCCESS)
        return TV_OK;
    if (result == VK_ERROR_DEVICE_LOST)
        return tv_device_set_lost(device, what);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY) {
        char used[32];
        return tv_fail(TV_E_FIT, "%s: out of %s memory when asked to %s, with %s in use", device->caps.name,
                       result == VK_ERROR_OUT_OF_HOST_MEMORY ? "host" : "device", what,
                       tv_format_bytes(device->bytes, used, sizeof used));
    }
    return tv_fail(TV_E_DEVICE, "%s: the driver failed to %s (VkResult %d)", device->caps.name, what,
                   (int)result);
}

void tv_name_object(tv_device *device, VkObjectType type, uint64_t handle, const char *name) {
    if (!tv_instance_has_labels() || !vkSetDebugUtilsObjectNameEXT)
        return;
    VkDebugUtilsObjectNameInfoEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
                                          .objectType = type,
                                          .objectHandle = handle,
                                          .pObjectName = name};
    vkSetDebugUtilsObjectNameEXT(device->handle, &info);
}
