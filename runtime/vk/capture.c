/* RenderDoc's in-application API, when its library is already in the process: see capture.h. */
#include "vk/internal.h"

#include <dlfcn.h>
#include <string.h>

#include "base/log.h"

#if __has_include(<renderdoc_app.h>)
#include <renderdoc_app.h>

static RENDERDOC_API_1_1_2 *find_api(void) {
    void *library = dlopen("librenderdoc.so", RTLD_NOW | RTLD_NOLOAD);
    if (!library)
        return NULL;
    pRENDERDOC_GetAPI get;
    void *symbol = dlsym(library, "RENDERDOC_GetAPI");
    memcpy(&get, &symbol, sizeof get);
    RENDERDOC_API_1_1_2 *api = NULL;
    if (!get || get(eRENDERDOC_API_Version_1_1_2, (void **)&api) != 1)
        api = NULL;
    dlclose(library);
    return api;
}

bool tv_capture_available(void) {
    return find_api() != NULL;
}

/* RenderDoc knows an instance by the pointer to its dispatch table. */
static RENDERDOC_DevicePointer device_pointer(void) {
    VkInstance instance = VK_NULL_HANDLE;
    if (tv_instance_acquire(&instance) != TV_OK)
        return NULL;
    tv_instance_release();
    return RENDERDOC_DEVICEPOINTER_FROM_VKINSTANCE(instance);
}

tv_status tv_capture_begin(tv_device *device, const char *title) {
    RENDERDOC_API_1_1_2 *api = find_api();
    if (!api) {
        tv_warn("no capture of %s was taken: the program does not run under RenderDoc (docs/profiling.md)",
                title);
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    api->StartFrameCapture(device_pointer(), NULL);
    tv_info("RenderDoc captures %s", title);
    return TV_OK;
}

tv_status tv_capture_end(tv_device *device) {
    RENDERDOC_API_1_1_2 *api = find_api();
    if (!api)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    if (api->EndFrameCapture(device_pointer(), NULL) != 1)
        tv_warn("RenderDoc could not finish its capture");
    return TV_OK;
}

#else

bool tv_capture_available(void) {
    return false;
}

tv_status tv_capture_begin(tv_device *device, const char *title) {
    (void)device;
    tv_warn("no capture of %s was taken: trivium was built without renderdoc_app.h", title);
    return TV_OK;
}

tv_status tv_capture_end(tv_device *device) {
    (void)device;
    return TV_OK;
}

#endif
