/* What a device's record says of tiers and of the floor, and how it is lowered: see caps.h. */
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

/* ---- tiers ---- */

/* Which of them this build has shaders for: cmake/shaders.cmake. */
static const bool built[TV_TIER_COUNT] = {true, TRIVIUM_CM_F16, TRIVIUM_CM_BF16};

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

void tv_caps_choose_tier(tv_caps *caps, tv_tier most, bool asked) {
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
    tv_caps_choose_tier(caps, tier, true);
    return TV_OK;
}

/* ---- the floor ---- */

/* 16 KiB is what Vulkan promises and the attention tiles take. */
enum { FLOOR_STORAGE_BUFFERS = 8, FLOOR_INVOCATIONS = 256, FLOOR_SHARED_BYTES = 16384 };

void tv_caps_judge_limits(tv_caps *caps) {
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

/* ---- lowering ---- */

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
        tv_caps_choose_tier(caps, tier, true);
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
        tv_caps_judge_limits(caps);
    if (lack_of_tier(caps, caps->tier)) /* of what was lowered */
        tv_caps_choose_tier(caps, caps->tier, false);
    return TV_OK;
}
