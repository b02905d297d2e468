/* The list, the choice and the open device: see device.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"

enum { MAX_DEVICES = 64 };

static tv_status enumerate(VkInstance instance, VkPhysicalDevice *devices, uint32_t *count) {
    *count = MAX_DEVICES;
    VkResult result = vkEnumeratePhysicalDevices(instance, count, devices);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE)
        *count = 0;
    if (*count == 0)
        return tv_fail(TV_E_NO_DEVICE, "the Vulkan loader found no device; install your GPU's driver, or "
                                       "mesa-vulkan-drivers to run on the CPU");
    return TV_OK;
}

tv_status tv_device_list(tv_caps **list, uint32_t *count) {
    VkInstance instance;
    VkPhysicalDevice devices[MAX_DEVICES];
    *list = NULL;
    *count = 0;
    TV_RETURN_IF_FAILED(tv_instance_acquire(&instance));
    tv_status status;
    TV_TRY_OR_FAIL(enumerate(instance, devices, count));
    *list = calloc(*count, sizeof **list);
    if (!*list) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the list of devices");
        goto fail;
    }
    for (uint32_t i = 0; i < *count; i++) {
        tv_caps_read(devices[i], &(*list)[i]);
        TV_TRY_OR_FAIL(tv_caps_lower(&(*list)[i], getenv("TRIVIUM_CAPS_MAX")));
    }
    tv_instance_release();
    return TV_OK;
fail:
    free(*list);
    *list = NULL;
    *count = 0;
    tv_instance_release();
    return status;
}

/* Real GPUs before CPUs, then the larger memory: the best guess at speed without measuring. */
static bool is_better(const tv_caps *a, const tv_caps *b) {
    if (a->type != b->type)
        return a->type > b->type;
    return a->heap_bytes > b->heap_bytes;
}

static bool contains_ignoring_case(const char *text, const char *part) {
    return strcasestr(text, part) != NULL;
}

static tv_status refuse_all(const tv_caps *caps, uint32_t count, const char *select) {
    char found[2048] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < count && used < sizeof found - 1; i++) {
        int written = snprintf(found + used, sizeof found - used, "%s%u: %s%s%s", i ? "; " : "", i,
                               caps[i].name, caps[i].refusal[0] ? ", refused because " : "", caps[i].refusal);
        used += written > 0 ? (size_t)written : 0;
    }
    if (select)
        return tv_fail(TV_E_NO_DEVICE, "no usable device matches \"%s\"; found %s", select, found);
    return tv_fail(TV_E_NO_DEVICE, "no usable Vulkan device; found %s", found);
}

tv_status tv_device_choose(const tv_caps *caps, uint32_t count, const char *select, uint32_t *chosen) {
    *chosen = UINT32_MAX;
    char *end = NULL;
    unsigned long number = select ? strtoul(select, &end, 10) : 0;
    bool by_number = select && end != select && *end == '\0';
    for (uint32_t i = 0; i < count; i++) {
        if (caps[i].refusal[0])
            continue;
        if (by_number ? number != i : select && !contains_ignoring_case(caps[i].name, select))
            continue;
        if (*chosen == UINT32_MAX || is_better(&caps[i], &caps[*chosen]))
            *chosen = i;
    }
    return *chosen == UINT32_MAX ? refuse_all(caps, count, select) : TV_OK;
}

static tv_status create_handle(tv_device *device) {
    const float priority = 1;
    VkDeviceQueueCreateInfo queue = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
        .queueFamilyIndex = device->family,
        .queueCount = 1,
        .pQueuePriorities = &priority,
    };
    VkPhysicalDeviceVulkan13Features features13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES, .synchronization2 = VK_TRUE};
    VkPhysicalDeviceVulkan12Features features12 = {.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                                                   .pNext = &features13,
                                                   .timelineSemaphore = VK_TRUE};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pipelineExecutableInfo = VK_TRUE};
    VkPhysicalDeviceVulkan11Features features11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &features12};
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR,
        .pNext = &features11,
        .cooperativeMatrix = VK_TRUE};
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR,
        .pNext = &matrices,
        .shaderBFloat16Type = VK_TRUE,
        .shaderBFloat16CooperativeMatrix = VK_TRUE};
    const void *features = &features12;
    const char *extensions[5];
    uint32_t extension_count = 0;
    /* All that kernels of the matrix tiers ask for. */
    if (device->caps.tier != TV_TIER_FP32) {
        extensions[extension_count++] = VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
        features11.storageBuffer16BitAccess = VK_TRUE;
        features12.shaderFloat16 = VK_TRUE;
        features12.vulkanMemoryModel = VK_TRUE;
        features13.subgroupSizeControl = device->caps.choose_lanes != 0;
        features13.computeFullSubgroups = VK_TRUE;
        features = &matrices;
    }
    if (device->caps.tier == TV_TIER_CM_BF16) {
        extensions[extension_count++] = VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME;
        features = &bfloat16;
    }
    if (device->caps.push_descriptors)
        extensions[extension_count++] = VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME;
    if (device->caps.portability) /* a device that has it may be opened only with it */
        extensions[extension_count++] = TV_PORTABILITY_SUBSET;
    if (device->statistics) {
        extensions[extension_count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
        features13.pNext = &executables;
    }
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = features,
        .queueCreateInfoCount = 1,
        .pQueueCreateInfos = &queue,
        .enabledExtensionCount = extension_count,
        .ppEnabledExtensionNames = extensions,
    };
    VkResult result = vkCreateDevice(device->physical, &info, NULL, &device->handle);
    if (result != VK_SUCCESS)
        return tv_fail(TV_E_DEVICE, "%s: the driver refused to open the device (VkResult %d)",
                       device->caps.name, (int)result);
    volkLoadDeviceTable(&device->vk, device->handle);
    device->vk.vkGetDeviceQueue(device->handle, device->family, 0, &device->queue);
    return TV_OK;
}

static tv_status create_timeline(tv_device *device) {
    VkSemaphoreTypeCreateInfo timeline = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                          .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &timeline};
    TV_RETURN_IF_FAILED(
        tv_vk_check(device, device->vk.vkCreateSemaphore(device->handle, &semaphore, NULL, &device->timeline),
                    "create a semaphore"));
    tv_name_object(device, VK_OBJECT_TYPE_SEMAPHORE, (uint64_t)device->timeline, "timeline");
    return TV_OK;
}

static void read_environment(tv_device *device) {
    const char *timeout = getenv("TRIVIUM_DEVICE_TIMEOUT");
    const char *barrier = getenv("TRIVIUM_BARRIER");
    const char *lose = getenv("TRIVIUM_INJECT_DEVICE_LOST");
    const char *refuse = getenv("TRIVIUM_INJECT_REFUSED_BYTES");
    device->timeout = timeout ? strtod(timeout, NULL) : device->caps.type == TV_DEVICE_CPU ? 0 : 120;
    device->barrier_always = barrier && strcmp(barrier, "always") == 0;
    device->refuse_above = refuse ? strtoull(refuse, NULL, 10) : 0;
    device->lose_at_submission = lose ? strtoull(lose, NULL, 10) : 0;
}

tv_device_options tv_device_default_options(void) {
    return (tv_device_options){0};
}

bool tv_device_self_tests_skipped(void) {
    const char *self_test = getenv("TRIVIUM_SELF_TEST");
    return self_test && strcmp(self_test, "skip") == 0;
}

static tv_status open_device(const tv_device_options *options, bool hollow, tv_device **out) {
    *out = NULL;
    VkInstance instance;
    VkPhysicalDevice devices[MAX_DEVICES];
    uint32_t count = 0, chosen;
    tv_caps *caps = NULL;
    TV_RETURN_IF_FAILED(tv_instance_acquire(&instance));
    tv_status status;
    tv_device *device = calloc(1, sizeof *device);
    if (!device) {
        tv_instance_release();
        return tv_fail(TV_E_MEMORY, "out of host memory for a device");
    }
    TV_TRY_OR_FAIL(enumerate(instance, devices, &count));
    caps = calloc(count, sizeof *caps);
    if (!caps) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the list of devices");
        goto fail;
    }
    for (uint32_t i = 0; i < count; i++) {
        tv_caps_read(devices[i], &caps[i]);
        TV_TRY_OR_FAIL(tv_caps_lower(&caps[i], getenv("TRIVIUM_CAPS_MAX")));
    }
    TV_TRY_OR_FAIL(tv_device_choose(caps, count, options ? options->select : NULL, &chosen));
    device->physical = devices[chosen];
    device->number = chosen;
    device->caps = caps[chosen];
    device->hollow = hollow;
    device->submits = !hollow || tv_device_self_tests_skipped();
    device->statistics = hollow && device->caps.pipeline_statistics;
    if (options && options->tier)
        TV_TRY_OR_FAIL(tv_caps_take_tier(&device->caps, options->tier));
    device->family = tv_caps_compute_family(device->physical);
    vkGetPhysicalDeviceMemoryProperties(device->physical, &device->memory);
    read_environment(device);
    TV_TRY_OR_FAIL(create_handle(device));
    TV_TRY_OR_FAIL(create_timeline(device));
    tv_pipeline_cache_load(device);
    TV_TRY_OR_FAIL(
        tv_buffer_create(device, TV_TENSOR_ALIGNMENT, TV_MEMORY_DEVICE, "absent binding", &device->dummy));
    free(caps);
    *out = device;
    return TV_OK;
fail:
    free(caps);
    tv_device_close(&device);
    return status;
}

tv_status tv_device_open_untested(const tv_device_options *options, tv_device **out) {
    return open_device(options, false, out);
}

tv_status tv_device_open_hollow(const tv_device_options *options, tv_device **out) {
    return open_device(options, true, out);
}

void tv_device_close(tv_device **handle) {
    if (!handle || !*handle)
        return;
    tv_device *device = *handle;
    tv_marks_free(&device->marks);
    if (device->handle) {
        /* A lost device may never become idle. */
        if (!device->lost)
            device->vk.vkDeviceWaitIdle(device->handle);
        tv_pipeline_cache_save(device);
        tv_buffer_destroy(&device->dummy);
        device->vk.vkFreeMemory(device->handle, device->hollow_memory, NULL);
        for (tv_pipeline *next, *p = device->pipelines; p; p = next) {
            next = p->next;
            device->vk.vkDestroyPipeline(device->handle, p->pipeline, NULL);
            free(p);
        }
        for (tv_layout *next, *l = device->layouts; l; l = next) {
            next = l->next;
            device->vk.vkDestroyPipelineLayout(device->handle, l->pipeline, NULL);
            device->vk.vkDestroyDescriptorSetLayout(device->handle, l->set, NULL);
            free(l);
        }
        device->vk.vkDestroyPipelineCache(device->handle, device->cache, NULL);
        device->vk.vkDestroySemaphore(device->handle, device->timeline, NULL);
        device->vk.vkDestroyDevice(device->handle, NULL);
    }
    free(device);
    *handle = NULL;
    tv_instance_release();
}

const tv_caps *tv_device_caps(const tv_device *device) {
    return &device->caps;
}

uint32_t tv_device_number(const tv_device *device) {
    return device->number;
}

tv_verdict *tv_device_texel_verdict(tv_device *device) {
    return &device->texel_verdict;
}

tv_verdict *tv_device_rows_verdict(tv_device *device) {
    return &device->rows_verdict;
}

void tv_device_forget_inherited(void) {
    tv_instance_forget();
    /* These are meant for the other process's devices. */
    unsetenv("TRIVIUM_INJECT_DEVICE_LOST");
    unsetenv("TRIVIUM_INJECT_REFUSED_BYTES");
    unsetenv("TRIVIUM_CAPS_MAX");
}

void tv_device_save_pipelines(tv_device *device) {
    tv_pipeline_cache_save(device);
}

const char *tv_device_name(const tv_device *device) {
    return device->caps.name;
}

uint64_t tv_device_bytes(const tv_device *device) {
    return device->bytes;
}

uint64_t tv_device_peak_bytes(const tv_device *device) {
    return device->peak_bytes;
}

void tv_device_reset_peak_bytes(tv_device *device) {
    device->peak_bytes = device->bytes;
}

/* Of the largest device-local heap: what the driver grants this process less what it has taken. */
static uint64_t budget_left(const tv_device *device) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
    vkGetPhysicalDeviceMemoryProperties2(device->physical, &properties);
    uint64_t largest = 0, left = UINT64_MAX;
    for (uint32_t i = 0; i < properties.memoryProperties.memoryHeapCount; i++) {
        const VkMemoryHeap *heap = &properties.memoryProperties.memoryHeaps[i];
        if (!(heap->flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) || heap->size <= largest)
            continue;
        largest = heap->size;
        left = budget.heapBudget[i] > budget.heapUsage[i] ? budget.heapBudget[i] - budget.heapUsage[i] : 0;
    }
    return left;
}

uint64_t tv_device_bytes_available(const tv_device *device) {
    uint64_t heap = device->caps.heap_bytes;
    uint64_t left = heap > device->bytes ? heap - device->bytes : 0;
    return device->caps.memory_budget ? tv_min_u64(left, budget_left(device)) : left;
}
