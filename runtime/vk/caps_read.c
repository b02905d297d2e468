/* Reading the record of a device from its driver: see caps.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vk/capture.h"

static tv_device_type device_type(VkPhysicalDeviceType type) {
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return TV_DEVICE_CPU;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return TV_DEVICE_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return TV_DEVICE_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return TV_DEVICE_DISCRETE;
    default:
        return TV_DEVICE_OTHER;
    }
}

uint32_t tv_caps_compute_family(VkPhysicalDevice physical) {
    VkQueueFamilyProperties families[32];
    uint32_t count = 32, found = UINT32_MAX;
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++) {
        if (!(families[i].queueFlags & VK_QUEUE_COMPUTE_BIT))
            continue;
        /* A family without graphics is the asynchronous compute queue, which the desktop does not share. */
        if (!(families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT))
            return i;
        if (found == UINT32_MAX)
            found = i;
    }
    return found;
}

static bool has_extension(VkPhysicalDevice physical, const char *name) {
    uint32_t count = 0;
    vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL);
    VkExtensionProperties *extensions = calloc(count ? count : 1, sizeof *extensions);
    bool found = false;
    if (extensions && vkEnumerateDeviceExtensionProperties(physical, NULL, &count, extensions) == VK_SUCCESS)
        for (uint32_t i = 0; i < count && !found; i++)
            found = strcmp(extensions[i].extensionName, name) == 0;
    free(extensions);
    return found;
}

/* No driver tells it without an extension. Kernels choose tiles by it that give the same bits. */
static uint64_t compute_units(VkPhysicalDevice physical, uint32_t api) {
    enum { GUESS = 32 };
    VkPhysicalDeviceShaderCorePropertiesAMD amd = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_CORE_PROPERTIES_AMD};
    VkPhysicalDeviceShaderSMBuiltinsPropertiesNV nvidia = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_SM_BUILTINS_PROPERTIES_NV};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    if (api < VK_API_VERSION_1_3)
        return GUESS;
    if (has_extension(physical, VK_AMD_SHADER_CORE_PROPERTIES_EXTENSION_NAME))
        properties.pNext = &amd;
    else if (has_extension(physical, VK_NV_SHADER_SM_BUILTINS_EXTENSION_NAME))
        properties.pNext = &nvidia;
    vkGetPhysicalDeviceProperties2(physical, &properties);
    uint64_t units =
        (uint64_t)amd.shaderEngineCount * amd.shaderArraysPerEngineCount * amd.computeUnitsPerShaderArray +
        nvidia.shaderSMCount;
    return units ? units : GUESS;
}

/* ---- matrices ---- */

/* Lanes of the subgroups for matrices: 32 where there is a choice, because two halves of a wider one do what
 * one does. Intel's compilers give each lane a column. */
static uint64_t matrix_lanes(const tv_caps *caps, const VkPhysicalDeviceVulkan13Properties *properties,
                             uint32_t columns) {
    enum { INTEL = 0x8086 };
    uint64_t wanted = caps->vendor_id == INTEL && columns ? columns : 32;
    return tv_max_u64(properties->minSubgroupSize, tv_min_u64(wanted, properties->maxSubgroupSize));
}

static bool is_side(uint32_t size) {
    return size == 8 || size == 16;
}

/* The largest shape of operands `type` with fp32 sums, 16 x 16 x 16 before all others. */
static tv_matrix_shape choose_shape(const VkCooperativeMatrixPropertiesKHR *found, uint32_t count,
                                    VkComponentTypeKHR type) {
    tv_matrix_shape best = {0};
    for (uint32_t i = 0; i < count; i++) {
        const VkCooperativeMatrixPropertiesKHR *p = &found[i];
        tv_matrix_shape shape = {p->MSize, p->NSize, p->KSize};
        if (p->scope != VK_SCOPE_SUBGROUP_KHR || p->AType != type || p->BType != type ||
            p->CType != VK_COMPONENT_TYPE_FLOAT32_KHR || p->ResultType != VK_COMPONENT_TYPE_FLOAT32_KHR ||
            p->saturatingAccumulation || !is_side(shape.m) || !is_side(shape.n) ||
            (!is_side(shape.k) && shape.k != 32))
            continue;
        if (shape.m == 16 && shape.n == 16 && shape.k == 16)
            return shape;
        if (shape.m * shape.n * shape.k > best.m * best.n * best.k)
            best = shape;
    }
    return best;
}

static void read_shapes(VkPhysicalDevice physical, const VkPhysicalDeviceVulkan13Properties *properties,
                        tv_caps *caps) {
    VkInstance instance;
    if (!caps->cooperative_matrix || tv_instance_acquire(&instance) != TV_OK)
        return;
    PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR read =
        (PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR)vkGetInstanceProcAddr(
            instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR");
    uint32_t count = 0;
    VkCooperativeMatrixPropertiesKHR *found = NULL;
    if (read && read(physical, &count, NULL) == VK_SUCCESS)
        found = calloc(count + 1, sizeof *found);
    for (uint32_t i = 0; found && i < count; i++)
        found[i].sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
    if (found && read(physical, &count, found) >= VK_SUCCESS) {
        caps->matrix[TV_TIER_CM_F16] = choose_shape(found, count, VK_COMPONENT_TYPE_FLOAT16_KHR);
        caps->matrix[TV_TIER_CM_BF16] = choose_shape(found, count, VK_COMPONENT_TYPE_BFLOAT16_KHR);
    }
    free(found);
    tv_instance_release();
    uint32_t columns = caps->matrix[TV_TIER_CM_F16].n;
    caps->matrix_lanes = matrix_lanes(caps, properties, columns);
    caps->choose_lanes = properties->minSubgroupSize != properties->maxSubgroupSize;
}

/* ---- all of it ---- */

static void judge(tv_caps *caps, const VkPhysicalDeviceVulkan12Features *features12,
                  const VkPhysicalDeviceVulkan13Features *features13, uint32_t family) {
    char *refusal = caps->refusal;
    size_t size = sizeof caps->refusal;
    if (caps->api_version < VK_API_VERSION_1_3)
        snprintf(refusal, size, "it offers Vulkan %u.%u and 1.3 is needed; a newer driver may have it",
                 VK_API_VERSION_MAJOR(caps->api_version), VK_API_VERSION_MINOR(caps->api_version));
    else if (family == UINT32_MAX)
        snprintf(refusal, size, "it has no queue for compute work");
    else if (!features12->timelineSemaphore || !features13->synchronization2)
        snprintf(refusal, size,
                 "its driver lacks timeline semaphores or synchronization2, which Vulkan 1.3 asks for");
    else
        tv_caps_judge_limits(caps);
}

/* What Vulkan says of a device; structures that it was not asked for stay zeros. */
typedef struct answers {
    uint32_t api;
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceDriverProperties driver;
    VkPhysicalDeviceVulkan13Properties properties13;
    VkPhysicalDeviceSubgroupProperties subgroup;
    VkPhysicalDeviceMaintenance3Properties maintenance3;
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan11Features features11;
    VkPhysicalDeviceVulkan12Features features12;
    VkPhysicalDeviceVulkan13Features features13;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices;
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16;
} answers;

/* Names and links the structures; `a` stays where it is. */
static void chain(VkPhysicalDevice physical, answers *a) {
    *a = (answers){
        .properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &a->driver},
        .driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES, .pNext = &a->properties13},
        .properties13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES,
                         .pNext = &a->subgroup},
        .subgroup = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES,
                     .pNext = &a->maintenance3},
        .maintenance3 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES},
        .features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, .pNext = &a->features11},
        .features11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES,
                       .pNext = &a->features12},
        .features12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
                       .pNext = &a->features13},
        .features13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES},
        .executables = {.sType =
                            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR},
        .matrices = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR},
        .bfloat16 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR}};
    void **tail = &a->features13.pNext;
    if (has_extension(physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME)) {
        *tail = &a->executables;
        tail = &a->executables.pNext;
    }
    if (has_extension(physical, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) {
        *tail = &a->matrices;
        tail = &a->matrices.pNext;
    }
    if (has_extension(physical, VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME))
        *tail = &a->bfloat16;
}

static void ask(VkPhysicalDevice physical, answers *a) {
    chain(physical, a);
    vkGetPhysicalDeviceProperties(physical, &a->properties.properties);
    a->api = a->properties.properties.apiVersion;
    /* RenderDoc reports 1.2 for devices whose buffer addresses it cannot replay (lavapipe's), which are not
     * used here. The features are still the driver's, so a device that really lacks 1.3 is refused by them.
     */
    if (tv_capture_available() && a->api < VK_API_VERSION_1_3)
        a->api = VK_API_VERSION_1_3;
    /* Structures of a version may only be handed to devices of that version. */
    if (a->api >= VK_API_VERSION_1_3) {
        vkGetPhysicalDeviceProperties2(physical, &a->properties);
        vkGetPhysicalDeviceFeatures2(physical, &a->features);
    }
}

static void take_identity(const answers *a, tv_caps *caps) {
    const VkPhysicalDeviceProperties *p = &a->properties.properties;
    snprintf(caps->name, sizeof caps->name, "%s", p->deviceName);
    snprintf(caps->driver, sizeof caps->driver, "%.120s%s%.120s", a->driver.driverName,
             a->driver.driverInfo[0] ? " " : "", a->driver.driverInfo);
    caps->api_version = a->api;
    caps->driver_version = p->driverVersion;
    caps->vendor_id = p->vendorID;
    caps->device_id = p->deviceID;
    memcpy(caps->pipeline_cache_uuid, p->pipelineCacheUUID, sizeof caps->pipeline_cache_uuid);
    caps->type = device_type(p->deviceType);
}

static void take_limits(const answers *a, tv_caps *caps) {
    const VkPhysicalDeviceLimits *limits = &a->properties.properties.limits;
    const uint64_t most = a->maintenance3.maxMemoryAllocationSize,
                   allocation = most ? most : UINT64_C(1) << 30,
                   buffer = a->properties13.maxBufferSize ? a->properties13.maxBufferSize : allocation;
    caps->storage_range = limits->maxStorageBufferRange;
    caps->buffer_bytes = tv_min_u64(allocation, buffer) / TV_TENSOR_ALIGNMENT * TV_TENSOR_ALIGNMENT;
    caps->shared_bytes = limits->maxComputeSharedMemorySize;
    caps->push_bytes = limits->maxPushConstantsSize;
    caps->invocations =
        tv_min_u64(limits->maxComputeWorkGroupInvocations, limits->maxComputeWorkGroupSize[0]);
    caps->group_count_x = limits->maxComputeWorkGroupCount[0];
    caps->group_count_y = limits->maxComputeWorkGroupCount[1];
    caps->group_count_z = limits->maxComputeWorkGroupCount[2];
    caps->storage_buffers =
        tv_min_u64(limits->maxPerStageDescriptorStorageBuffers, limits->maxPerStageResources);
    caps->timestamp_ns = (double)limits->timestampPeriod;
    caps->texels = caps->type == TV_DEVICE_CPU ? limits->maxTexelBufferElements : 0;
}

static void take_subgroups(const answers *a, tv_caps *caps) {
    const VkSubgroupFeatureFlags operations = a->subgroup.supportedOperations;
    caps->subgroup_size = a->subgroup.subgroupSize;
    if (!(a->subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
        return;
    caps->subgroup_arithmetic =
        (operations & VK_SUBGROUP_FEATURE_BASIC_BIT) && (operations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT);
    caps->subgroup_shuffle =
        (operations & VK_SUBGROUP_FEATURE_BALLOT_BIT) && (operations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
}

static void take_features(VkPhysicalDevice physical, const answers *a, tv_caps *caps) {
    caps->push_descriptors = has_extension(physical, VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME);
    caps->portability = has_extension(physical, TV_PORTABILITY_SUBSET);
    caps->pipeline_statistics = a->executables.pipelineExecutableInfo;
    /* A CPU's heap is the host's memory, of which llvmpipe counts every program's as ours. */
    caps->memory_budget =
        caps->type != TV_DEVICE_CPU && has_extension(physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    caps->fp16_storage = a->features11.storageBuffer16BitAccess && a->features12.shaderFloat16;
    const bool lanes = a->properties13.minSubgroupSize == a->properties13.maxSubgroupSize ||
                       (a->features13.subgroupSizeControl &&
                        (a->properties13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT));
    caps->cooperative_matrix = a->matrices.cooperativeMatrix && caps->fp16_storage && lanes &&
                               a->features12.vulkanMemoryModel && a->features13.computeFullSubgroups;
    caps->bfloat16_matrix = a->bfloat16.shaderBFloat16Type && a->bfloat16.shaderBFloat16CooperativeMatrix;
    read_shapes(physical, &a->properties13, caps);
}

static void take_queue(VkPhysicalDevice physical, uint32_t family, tv_caps *caps) {
    VkQueueFamilyProperties families[32];
    uint32_t count = 32;
    if (family == UINT32_MAX)
        return;
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    caps->timestamp_bits = families[family].timestampValidBits;
}

static void take_memory(VkPhysicalDevice physical, tv_caps *caps) {
    VkPhysicalDeviceMemoryProperties memory;
    vkGetPhysicalDeviceMemoryProperties(physical, &memory);
    for (uint32_t i = 0; i < memory.memoryHeapCount; i++)
        if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
            caps->heap_bytes = tv_max_u64(caps->heap_bytes, memory.memoryHeaps[i].size);
    /* A discrete card may show a window of its memory to the host; copies through it are slow for reading, so
     * only devices that share the host's memory skip staging. */
    const VkMemoryPropertyFlags shared = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                         VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                         VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    for (uint32_t i = 0; i < memory.memoryTypeCount; i++)
        if ((memory.memoryTypes[i].propertyFlags & shared) == shared)
            caps->unified_memory = caps->type == TV_DEVICE_CPU || caps->type == TV_DEVICE_INTEGRATED;
}

/* 255 on NVIDIA, 256 on AMD; 128 on Apple, Qualcomm and Intel, others have fewer. CPUs spill to their caches.
 * AMD before RDNA, whose subgroups are of 64 lanes alone, has just 256 for all subgroups of a SIMD: in
 * between. */
static uint32_t registers_of(const answers *a, const tv_caps *caps) {
    const uint32_t amd = 0x1002, nvidia = 0x10de;
    if (caps->vendor_id == amd && a->properties13.minSubgroupSize == 64)
        return 192;
    return caps->vendor_id == amd || caps->vendor_id == nvidia || caps->type == TV_DEVICE_CPU ? 255 : 128;
}

void tv_caps_read(VkPhysicalDevice physical, tv_caps *caps) {
    answers a;
    ask(physical, &a);
    const uint32_t family = tv_caps_compute_family(physical);
    *caps = (tv_caps){0};
    take_identity(&a, caps);
    take_limits(&a, caps);
    take_subgroups(&a, caps);
    take_features(physical, &a, caps);
    take_queue(physical, family, caps);
    take_memory(physical, caps);
    caps->compute_units = compute_units(physical, a.api);
    caps->cpu_kernels = caps->type == TV_DEVICE_CPU;
    caps->registers = registers_of(&a, caps);
    tv_caps_choose_tier(caps, caps->type == TV_DEVICE_CPU ? TV_TIER_FP32 : TV_TIER_COUNT - 1, false);
    judge(caps, &a.features12, &a.features13, family);
}
