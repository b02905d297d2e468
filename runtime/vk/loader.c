/* The process-wide Vulkan loader: volk and one instance, shared by reference count. */
#define VOLK_IMPLEMENTATION
#include "vk/internal.h"

#include <string.h>
#include <threads.h>

#include "vk/cpu_vectors.h"

static once_flag lock_created = ONCE_FLAG_INIT;
static mtx_t lock;

static struct {
    VkInstance instance;
    uint32_t references;
    bool labels;
} loader;

static void create_lock(void) {
    mtx_init(&lock, mtx_plain);
}

static bool has_extension(const char *name) {
    VkExtensionProperties extensions[256];
    uint32_t count = 256;
    VkResult result = vkEnumerateInstanceExtensionProperties(NULL, &count, extensions);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(extensions[i].extensionName, name) == 0)
            return true;
    return false;
}

static tv_status create_instance(void) {
    tv_cpu_vectors_widen();
    if (volkInitialize() != VK_SUCCESS)
        return tv_fail(TV_E_NO_DEVICE,
                       "no Vulkan loader was found; install your GPU's Vulkan driver and the loader "
                       "(libvulkan1), or mesa-vulkan-drivers to run on the CPU");
    if (volkGetInstanceVersion() < VK_API_VERSION_1_3)
        return tv_fail(TV_E_NO_DEVICE, "the Vulkan loader is older than 1.3; update it (libvulkan1)");
    const char *extensions[2];
    uint32_t extension_count = 0;
    VkInstanceCreateFlags flags = 0;
    loader.labels = has_extension(VK_EXT_DEBUG_UTILS_EXTENSION_NAME);
    if (loader.labels)
        extensions[extension_count++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    /* Else the loader hides drivers above another API, such as MoltenVK. */
    if (has_extension(VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME)) {
        extensions[extension_count++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
        flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    }
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "trivium",
        .pEngineName = "trivium",
        .apiVersion = VK_API_VERSION_1_3,
    };
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .flags = flags,
        .pApplicationInfo = &application,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = vkCreateInstance(&info, NULL, &loader.instance);
    if (result != VK_SUCCESS)
        return tv_fail(TV_E_NO_DEVICE,
                       "the Vulkan loader refused an instance (VkResult %d); is a driver installed? "
                       "Its description belongs into /usr/share/vulkan/icd.d",
                       (int)result);
    volkLoadInstanceOnly(loader.instance);
    return TV_OK;
}

tv_status tv_instance_acquire(VkInstance *instance) {
    call_once(&lock_created, create_lock);
    mtx_lock(&lock);
    tv_status status = loader.references > 0 ? TV_OK : create_instance();
    if (status == TV_OK) {
        loader.references++;
        *instance = loader.instance;
    }
    mtx_unlock(&lock);
    return status;
}

void tv_instance_release(void) {
    mtx_lock(&lock);
    if (--loader.references == 0) {
        vkDestroyInstance(loader.instance, NULL);
        loader.instance = VK_NULL_HANDLE;
    }
    mtx_unlock(&lock);
}

void tv_instance_forget(void) {
    create_lock(); /* another thread may have held it */
    memset(&loader, 0, sizeof loader);
}

bool tv_instance_has_labels(void) {
    return loader.labels;
}
