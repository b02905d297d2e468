/* Reading and lowering the record of a device: see caps.h. */
#include "vk/internal.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/choices.h"
#include "vk/capture.h"

uint64_t tv_caps_hash(const tv_caps *caps) {
    uint64_t hash = tv_hash_bytes(caps->name, strlen(caps->name), 0);
    hash = tv_hash_bytes(caps->driver, strlen(caps->driver), hash);
    hash = tv_hash_bytes(&caps->driver_version, sizeof caps->driver_version, hash);
    hash = tv_hash_bytes(caps->pipeline_cache_uuid, sizeof caps->pipeline_cache_uuid, hash);
    return tv_hash_bytes(&caps->tier, sizeof caps->tier, hash);
}

static const char *const tier_names[TV_TIER_COUNT] = {"fp32", "cm-f16", "cm-bf16"};

const char *tv_tier_name(tv_tier tier) {
    return tier < TV_TIER_COUNT ? tier_names[tier] : "unknown";
}

tv_dtype tv_tier_dtype(tv_tier tier) {
    return tier == TV_TIER_CM_F16 ? TV_F16 : tier == TV_TIER_CM_BF16 ? TV_BF16 : TV_F32;
}

const char *tv_device_type_name(tv_device_type type) {
    switch (type) {
    case TV_DEVICE_CPU:
        return "CPU";
    case TV_DEVICE_VIRTUAL:
        return "virtual GPU";
    case TV_DEVICE_INTEGRATED:
        return "integrated GPU";
    case TV_DEVICE_DISCRETE:
        return "discrete GPU";
    case TV_DEVICE_OTHER:
        break;
    }
    return "other device";
}

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

/* ---- tiers ---- */

/* Which of them this build has shaders for: cmake/shaders.cmake. */
static const bool built[TV_TIER_COUNT] = {true, TRIVIUM_CM_F16, TRIVIUM_CM_BF16};

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

/* Why the device does not have a tier; NULL: it does. */
static const char *lack_of_tier(const tv_caps *caps, tv_tier tier) {
    enum { CPU_LANES = 8 };
    const tv_matrix_shape *shape = &caps->matrix[tier];
    if (tier == TV_TIER_FP32)
        return NULL;
    if (tv_capture_available())
        return "RenderDoc does not know its features";
    if (!caps->cooperative_matrix)
        return "the driver has no cooperative matrices, or not the memory model and 16-bit storage they need";
    if (tier == TV_TIER_CM_BF16 && !caps->bfloat16_matrix)
        return "the driver has no bfloat16 matrices";
    if (caps->type == TV_DEVICE_CPU && caps->matrix_lanes != CPU_LANES)
        return "llvmpipe (26.2.6) crashes on matrices but at 8 lanes, which TRIVIUM_CPU_VECTORS=driver keeps";
    if (!shape->m || shape->m * shape->n > 8 * caps->matrix_lanes)
        return "the driver has no matrices of such operands, fp32 sums and a size that the kernels take";
    if (!built[tier])
        return "this program was built by a compiler of shaders that does not know it (tools/setup.sh "
               "fetches one)";
    return NULL;
}

bool tv_caps_has_tier(const tv_caps *caps, tv_tier tier) {
    return !lack_of_tier(caps, tier);
}

static void take_tier(tv_caps *caps, tv_tier most, bool asked) {
    caps->tier = most;
    while (lack_of_tier(caps, caps->tier))
        caps->tier--;
    char *reason = caps->tier_reason;
    size_t size = sizeof caps->tier_reason;
    tv_tier next = caps->tier + 1;
    if (next == TV_TIER_COUNT)
        *reason = '\0';
    else if (lack_of_tier(caps, next))
        snprintf(reason, size, "%s: %s", tv_tier_name(next), lack_of_tier(caps, next));
    else
        snprintf(reason, size,
                 asked ? "%s was not asked for"
                       : "%s is slower than fp32 on a CPU, so it is taken only where it is asked for",
                 tv_tier_name(next));
}

static tv_status find_tier(const char *name, tv_tier *tier) {
    for (int i = 0; i < TV_TIER_COUNT; i++)
        if (strcmp(name, tier_names[i]) == 0) {
            *tier = (tv_tier)i;
            return TV_OK;
        }
    return tv_fail(TV_E_USAGE, "expected a tier (fp32, cm-f16 or cm-bf16), found \"%s\"", name);
}

tv_status tv_caps_take_tier(tv_caps *caps, const char *name) {
    tv_tier tier;
    TV_RETURN_IF_FAILED(find_tier(name, &tier));
    const char *lack = lack_of_tier(caps, tier);
    if (lack)
        return tv_fail(TV_E_USAGE, "%s does not have the tier %s: %s", caps->name, name, lack);
    take_tier(caps, tier, true);
    return TV_OK;
}

/* ---- the floor ---- */

/* 16 KiB is what Vulkan promises and the attention tiles take. */
enum { FLOOR_STORAGE_BUFFERS = 8, FLOOR_INVOCATIONS = 256, FLOOR_SHARED_BYTES = 16384 };

/* What the record itself shows to be below the floor, as read or as lowered. */
static void judge_limits(tv_caps *caps) {
    char *refusal = caps->refusal;
    size_t size = sizeof caps->refusal;
    if (caps->storage_buffers < FLOOR_STORAGE_BUFFERS)
        snprintf(refusal, size, "it binds %llu storage buffers per shader and %d are needed",
                 (unsigned long long)caps->storage_buffers, FLOOR_STORAGE_BUFFERS);
    else if (caps->invocations < FLOOR_INVOCATIONS)
        snprintf(refusal, size, "its workgroups hold %llu invocations and %d are needed",
                 (unsigned long long)caps->invocations, FLOOR_INVOCATIONS);
    else if (caps->shared_bytes < FLOOR_SHARED_BYTES)
        snprintf(refusal, size, "its workgroups share %llu bytes and %d are needed",
                 (unsigned long long)caps->shared_bytes, FLOOR_SHARED_BYTES);
    else if (!caps->subgroup_arithmetic)
        snprintf(refusal, size, "it has no subgroup arithmetic in compute shaders");
}

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
        judge_limits(caps);
}

void tv_caps_read(VkPhysicalDevice physical, tv_caps *caps) {
    *caps = (tv_caps){0};
    VkPhysicalDeviceMaintenance3Properties maintenance3 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_3_PROPERTIES};
    VkPhysicalDeviceSubgroupProperties subgroup = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES, .pNext = &maintenance3};
    VkPhysicalDeviceVulkan13Properties properties13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES, .pNext = &subgroup};
    VkPhysicalDeviceDriverProperties driver = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES,
                                               .pNext = &properties13};
    VkPhysicalDeviceProperties2 properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    vkGetPhysicalDeviceProperties(physical, &properties.properties);
    const VkPhysicalDeviceLimits *limits = &properties.properties.limits;
    uint32_t api = properties.properties.apiVersion;
    /* RenderDoc reports 1.2 for devices whose buffer addresses it cannot replay (lavapipe's), which are not
     * used here. The features below are still the driver's, so a device that really lacks 1.3 is refused by
     * them. */
    if (tv_capture_available() && api < VK_API_VERSION_1_3)
        api = VK_API_VERSION_1_3;
    VkPhysicalDeviceVulkan13Features features13 = {.sType =
                                                       VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES};
    VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES, .pNext = &features13};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR executables = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR};
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrices = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR};
    VkPhysicalDeviceShaderBfloat16FeaturesKHR bfloat16 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_BFLOAT16_FEATURES_KHR};
    void **tail = &features13.pNext;
    if (has_extension(physical, VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME)) {
        *tail = &executables;
        tail = &executables.pNext;
    }
    if (has_extension(physical, VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME)) {
        *tail = &matrices;
        tail = &matrices.pNext;
    }
    if (has_extension(physical, VK_KHR_SHADER_BFLOAT16_EXTENSION_NAME))
        *tail = &bfloat16;
    VkPhysicalDeviceVulkan11Features features11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, .pNext = &features12};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &features11};
    /* Structures of a version may only be handed to devices of that version. */
    if (api >= VK_API_VERSION_1_3) {
        properties.pNext = &driver;
        vkGetPhysicalDeviceProperties2(physical, &properties);
        vkGetPhysicalDeviceFeatures2(physical, &features);
    }

    snprintf(caps->name, sizeof caps->name, "%s", properties.properties.deviceName);
    snprintf(caps->driver, sizeof caps->driver, "%.120s%s%.120s", driver.driverName,
             driver.driverInfo[0] ? " " : "", driver.driverInfo);
    caps->api_version = api;
    caps->driver_version = properties.properties.driverVersion;
    caps->vendor_id = properties.properties.vendorID;
    caps->device_id = properties.properties.deviceID;
    memcpy(caps->pipeline_cache_uuid, properties.properties.pipelineCacheUUID,
           sizeof caps->pipeline_cache_uuid);
    caps->type = device_type(properties.properties.deviceType);

    caps->storage_range = limits->maxStorageBufferRange;
    uint64_t allocation =
        maintenance3.maxMemoryAllocationSize ? maintenance3.maxMemoryAllocationSize : UINT64_C(1) << 30;
    uint64_t buffer = properties13.maxBufferSize ? properties13.maxBufferSize : allocation;
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
    caps->compute_units = compute_units(physical, api);
    caps->subgroup_size = subgroup.subgroupSize;
    if (subgroup.supportedStages & VK_SHADER_STAGE_COMPUTE_BIT) {
        VkSubgroupFeatureFlags operations = subgroup.supportedOperations;
        caps->subgroup_arithmetic =
            (operations & VK_SUBGROUP_FEATURE_BASIC_BIT) && (operations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT);
        caps->subgroup_shuffle =
            (operations & VK_SUBGROUP_FEATURE_BALLOT_BIT) && (operations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT);
    }
    caps->push_descriptors = has_extension(physical, VK_KHR_PUSH_DESCRIPTOR_EXTENSION_NAME);
    caps->portability = has_extension(physical, TV_PORTABILITY_SUBSET);
    caps->pipeline_statistics = executables.pipelineExecutableInfo;
    /* A CPU's heap is the host's memory, of which llvmpipe counts every program's as ours. */
    caps->memory_budget =
        caps->type != TV_DEVICE_CPU && has_extension(physical, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    caps->fp16_storage = features11.storageBuffer16BitAccess && features12.shaderFloat16;
    bool lanes = properties13.minSubgroupSize == properties13.maxSubgroupSize ||
                 (features13.subgroupSizeControl &&
                  (properties13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT));
    caps->cooperative_matrix = matrices.cooperativeMatrix && caps->fp16_storage && lanes &&
                               features12.vulkanMemoryModel && features13.computeFullSubgroups;
    caps->bfloat16_matrix = bfloat16.shaderBFloat16Type && bfloat16.shaderBFloat16CooperativeMatrix;
    read_shapes(physical, &properties13, caps);

    uint32_t family = tv_caps_compute_family(physical);
    if (family != UINT32_MAX) {
        VkQueueFamilyProperties families[32];
        uint32_t count = 32;
        vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
        caps->timestamp_bits = families[family].timestampValidBits;
    }
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

    caps->cpu_kernels = caps->type == TV_DEVICE_CPU;
    /* 255 on NVIDIA, 256 on AMD; 128 on Apple, Qualcomm and Intel, others have fewer. CPUs spill to their
     * caches. AMD before RDNA, whose subgroups are of 64 lanes alone, has just 256 for all subgroups of a
     * SIMD: in between. */
    const uint32_t amd = 0x1002, nvidia = 0x10de;
    bool many = caps->vendor_id == amd || caps->vendor_id == nvidia || caps->type == TV_DEVICE_CPU;
    bool few_subgroups = caps->vendor_id == amd && properties13.minSubgroupSize == 64;
    caps->registers = few_subgroups ? 192 : many ? 255 : 128;
    caps->texels = caps->type == TV_DEVICE_CPU ? limits->maxTexelBufferElements : 0;
    take_tier(caps, caps->type == TV_DEVICE_CPU ? TV_TIER_FP32 : TV_TIER_COUNT - 1, false);
    judge(caps, &features12, &features13, family);
}

static const struct {
    const char *name;
    size_t offset;
} lowerable[] = {
    {"storage_range", offsetof(tv_caps, storage_range)},
    {"buffer_bytes", offsetof(tv_caps, buffer_bytes)},
    {"heap_bytes", offsetof(tv_caps, heap_bytes)},
    {"storage_buffers", offsetof(tv_caps, storage_buffers)},
    {"shared_bytes", offsetof(tv_caps, shared_bytes)},
    {"invocations", offsetof(tv_caps, invocations)},
    {"group_count_x", offsetof(tv_caps, group_count_x)},
    {"compute_units", offsetof(tv_caps, compute_units)},
    {"registers", offsetof(tv_caps, registers)},
    {"subgroup_arithmetic", offsetof(tv_caps, subgroup_arithmetic)},
    {"subgroup_shuffle", offsetof(tv_caps, subgroup_shuffle)},
    {"unified_memory", offsetof(tv_caps, unified_memory)},
    {"cpu_kernels", offsetof(tv_caps, cpu_kernels)},
    {"texels", offsetof(tv_caps, texels)},
    {"push_descriptors", offsetof(tv_caps, push_descriptors)},
    {"pipeline_statistics", offsetof(tv_caps, pipeline_statistics)},
    {"memory_budget", offsetof(tv_caps, memory_budget)},
    {"timestamp_bits", offsetof(tv_caps, timestamp_bits)},
    {"fp16_storage", offsetof(tv_caps, fp16_storage)},
    {"cooperative_matrix", offsetof(tv_caps, cooperative_matrix)},
    {"bfloat16_matrix", offsetof(tv_caps, bfloat16_matrix)},
};
enum { LOWERABLE_COUNT = sizeof lowerable / sizeof *lowerable };

static tv_status lower_one(tv_caps *caps, const char *name, const char *value) {
    if (strcmp(name, "tier") == 0) {
        tv_tier tier;
        TV_RETURN_IF_FAILED(find_tier(value, &tier));
        take_tier(caps, tier, true);
        return TV_OK;
    }
    for (size_t i = 0; i < LOWERABLE_COUNT; i++) {
        if (strcmp(name, lowerable[i].name) != 0)
            continue;
        char *end = NULL;
        unsigned long long number = strtoull(value, &end, 10);
        if (end == value || *end != '\0')
            return tv_fail(TV_E_USAGE, "TRIVIUM_CAPS_MAX: expected a whole number for %s, found \"%s\"", name,
                           value);
        uint64_t *entry = (uint64_t *)((char *)caps + lowerable[i].offset);
        *entry = tv_min_u64(*entry, number);
        return TV_OK;
    }
    const char *names[LOWERABLE_COUNT];
    for (size_t i = 0; i < LOWERABLE_COUNT; i++)
        names[i] = lowerable[i].name;
    const char *nearest = tv_nearest_word(name, names, LOWERABLE_COUNT);
    return tv_fail(TV_E_USAGE, "TRIVIUM_CAPS_MAX: unknown entry \"%s\"%s%s", name,
                   nearest ? "; the nearest known one is " : "", nearest ? nearest : "");
}

tv_status tv_caps_lower(tv_caps *caps, const char *text) {
    while (text && *text) {
        size_t length = strcspn(text, ",");
        char entry[128];
        snprintf(entry, sizeof entry, "%.*s", (int)length, text);
        char *equals = strchr(entry, '=');
        if (!equals)
            return tv_fail(TV_E_USAGE, "TRIVIUM_CAPS_MAX: expected name=value, found \"%s\"", entry);
        *equals = '\0';
        TV_RETURN_IF_FAILED(lower_one(caps, entry, equals + 1));
        text += length + (text[length] == ',');
    }
    if (!caps->refusal[0])
        judge_limits(caps);
    if (lack_of_tier(caps, caps->tier)) /* of what was lowered */
        take_tier(caps, caps->tier, false);
    return TV_OK;
}
