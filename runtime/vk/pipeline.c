/* Pipelines and their disk cache: see pipeline.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "base/os.h"

VkDescriptorType tv_descriptor_type(tv_access access) {
    return access == TV_TEXELS ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
}

static tv_status create_layout(tv_device *device, tv_layout *layout) {
    VkDescriptorSetLayoutBinding bindings[TV_MAX_BINDINGS];
    for (uint32_t i = 0; i < layout->binding_count; i++)
        bindings[i] = (VkDescriptorSetLayoutBinding){
            .binding = i,
            .descriptorType = tv_descriptor_type(layout->texels >> i & 1 ? TV_TEXELS : TV_READ),
            .descriptorCount = 1,
            .stageFlags = VK_SHADER_STAGE_COMPUTE_BIT,
        };
    VkDescriptorSetLayoutCreateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .flags = device->caps.push_descriptors ? VK_DESCRIPTOR_SET_LAYOUT_CREATE_PUSH_DESCRIPTOR_BIT_KHR : 0,
        .bindingCount = layout->binding_count,
        .pBindings = bindings,
    };
    TV_RETURN_IF_FAILED(
        tv_vk_check(device, device->vk.vkCreateDescriptorSetLayout(device->handle, &set, NULL, &layout->set),
                    "create a descriptor set layout"));
    VkPushConstantRange push = {.stageFlags = VK_SHADER_STAGE_COMPUTE_BIT, .size = layout->push_bytes};
    VkPipelineLayoutCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &layout->set,
        .pushConstantRangeCount = layout->push_bytes ? 1 : 0,
        .pPushConstantRanges = &push,
    };
    return tv_vk_check(device,
                       device->vk.vkCreatePipelineLayout(device->handle, &info, NULL, &layout->pipeline),
                       "create a pipeline layout");
}

tv_status tv_layout_get(tv_device *device, const tv_program *program, const tv_layout **out) {
    uint32_t texels = 0;
    for (uint32_t i = 0; i < program->binding_count; i++)
        texels |= (uint32_t)(program->access[i] == TV_TEXELS) << i;
    for (tv_layout *layout = device->layouts; layout; layout = layout->next) {
        if (layout->pipeline && layout->binding_count == program->binding_count &&
            layout->push_bytes == program->push_bytes && layout->texels == texels) {
            *out = layout;
            return TV_OK;
        }
    }
    tv_layout *layout = calloc(1, sizeof *layout);
    if (!layout)
        return tv_fail(TV_E_MEMORY, "out of host memory for a pipeline layout");
    layout->binding_count = program->binding_count;
    layout->push_bytes = program->push_bytes;
    layout->texels = texels;
    /* Listed before it is complete, so that closing the device frees what a failure leaves. */
    layout->next = device->layouts;
    device->layouts = layout;
    *out = layout;
    return create_layout(device, layout);
}

static tv_status create_pipeline(tv_device *device, tv_pipeline *entry) {
    const tv_program *program = entry->program;
    const tv_layout *layout;
    if (program->tier != TV_TIER_FP32 &&
        (program->tier > device->caps.tier || !tv_caps_has_tier(&device->caps, program->tier)))
        return tv_fail(TV_E_USAGE, "%s is a kernel of the tier %s and the device is at %s", program->name,
                       tv_tier_name(program->tier), tv_tier_name(device->caps.tier));
    TV_RETURN_IF_FAILED(tv_layout_get(device, program, &layout));
    VkShaderModuleCreateInfo module_info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
        .codeSize = program->shader->count * sizeof(uint32_t),
        .pCode = program->shader->words,
    };
    char what[128];
    snprintf(what, sizeof what, "compile %s", program->name);
    VkShaderModule module;
    TV_RETURN_IF_FAILED(tv_vk_check(
        device, device->vk.vkCreateShaderModule(device->handle, &module_info, NULL, &module), what));
    VkSpecializationMapEntry map[TV_MAX_SPECIALIZATION];
    for (uint32_t i = 0; i < entry->specialization_count; i++)
        map[i] = (VkSpecializationMapEntry){i, i * (uint32_t)sizeof(uint32_t), sizeof(uint32_t)};
    VkSpecializationInfo specialization = {
        .mapEntryCount = entry->specialization_count,
        .pMapEntries = map,
        .dataSize = entry->specialization_count * sizeof(uint32_t),
        .pData = entry->specialization,
    };
    bool on_matrices = program->tier != TV_TIER_FP32;
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo lanes = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = (uint32_t)device->caps.matrix_lanes};
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        /* The recorder cuts grids that would run too long. */
        .flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT |
                 (device->statistics ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR |
                                           VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR
                                     : 0),
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = on_matrices && device->caps.choose_lanes ? &lanes : NULL,
                  .flags = on_matrices ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &specialization},
        .layout = layout->pipeline,
    };
    VkResult result =
        device->vk.vkCreateComputePipelines(device->handle, device->cache, 1, &info, NULL, &entry->pipeline);
    device->vk.vkDestroyShaderModule(device->handle, module, NULL);
    TV_RETURN_IF_FAILED(tv_vk_check(device, result, what));
    tv_name_object(device, VK_OBJECT_TYPE_PIPELINE, (uint64_t)entry->pipeline, program->name);
    return TV_OK;
}

tv_status tv_pipeline_get(tv_device *device, const tv_program *program, const uint32_t *specialization,
                          uint32_t specialization_count, VkPipeline *out) {
    for (tv_pipeline *entry = device->pipelines; entry; entry = entry->next) {
        if (entry->program == program && entry->specialization_count == specialization_count &&
            memcmp(entry->specialization, specialization, specialization_count * sizeof *specialization) ==
                0) {
            *out = entry->pipeline;
            return TV_OK;
        }
    }
    tv_pipeline *entry = calloc(1, sizeof *entry);
    if (!entry)
        return tv_fail(TV_E_MEMORY, "out of host memory for a pipeline");
    entry->program = program;
    entry->specialization_count = specialization_count;
    memcpy(entry->specialization, specialization, specialization_count * sizeof *specialization);
    tv_status status = create_pipeline(device, entry);
    if (status != TV_OK) {
        free(entry);
        return status;
    }
    entry->next = device->pipelines;
    device->pipelines = entry;
    *out = entry->pipeline;
    return TV_OK;
}

/* ---- the disk cache: a convenience, so every failure is a miss and never an error ---- */

static char *cache_path(const tv_device *device) {
    char *dir = NULL;
    if (tv_cache_dir(&dir) != TV_OK)
        return NULL;
    char uuid[33];
    for (int i = 0; i < 16; i++)
        snprintf(uuid + 2 * i, 3, "%02x", device->caps.pipeline_cache_uuid[i]);
    char *path = tv_format("%s/pipelines-%s-%08x-%08x", dir, uuid, device->caps.device_id,
                           device->caps.driver_version);
    free(dir);
    return path;
}

/* A cut or foreign file must not reach a driver: some crash on it. The file ends with a hash of what comes
 * before. */
static bool cache_is_whole(const char *data, uint64_t size, uint64_t *payload) {
    if (size < sizeof(VkPipelineCacheHeaderVersionOne) + sizeof(uint64_t))
        return false;
    *payload = size - sizeof(uint64_t);
    uint64_t hash;
    memcpy(&hash, data + *payload, sizeof hash);
    return hash == tv_hash_bytes(data, *payload, 0);
}

void tv_pipeline_cache_load(tv_device *device) {
    /* What a cache answers has not been compiled, and then some drivers have no statistics. */
    char *path = device->hollow ? NULL : cache_path(device), *data = NULL;
    uint64_t size = 0, payload = 0;
    VkPipelineCacheCreateInfo info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    if (path && tv_path_exists(path) && tv_read_file(path, &data, &size) == TV_OK &&
        cache_is_whole(data, size, &payload)) {
        info.initialDataSize = payload;
        info.pInitialData = data;
        device->cache_hash = tv_hash_bytes(data, payload, 0);
    }
    if (device->vk.vkCreatePipelineCache(device->handle, &info, NULL, &device->cache) != VK_SUCCESS) {
        info.initialDataSize = 0;
        if (device->vk.vkCreatePipelineCache(device->handle, &info, NULL, &device->cache) != VK_SUCCESS)
            device->cache = VK_NULL_HANDLE;
    }
    free(data);
    free(path);
}

void tv_pipeline_cache_save(tv_device *device) {
    size_t size = 0;
    if (device->lost || device->hollow || !device->cache ||
        device->vk.vkGetPipelineCacheData(device->handle, device->cache, &size, NULL) != VK_SUCCESS ||
        size == 0)
        return;
    char *path = cache_path(device), *data = malloc(size + sizeof(uint64_t));
    if (path && data &&
        device->vk.vkGetPipelineCacheData(device->handle, device->cache, &size, data) == VK_SUCCESS) {
        uint64_t hash = tv_hash_bytes(data, size, 0);
        memcpy(data + size, &hash, sizeof hash);
        if (hash != device->cache_hash && tv_write_file(path, data, size + sizeof hash) != TV_OK)
            tv_debug("the pipeline cache was not written: %s", tv_last_error());
    }
    free(data);
    free(path);
}
