/* trivium devices: what is there, at which tier, and why not a higher one. */
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "vk/device.h"

static bool add_limits(cJSON *device, const tv_caps *caps) {
    cJSON *limits = cJSON_AddObjectToObject(device, "limits");
    return limits && tv_json_set_number(limits, "device_bytes", (double)caps->heap_bytes) &&
           tv_json_set_number(limits, "buffer_bytes", (double)caps->buffer_bytes) &&
           tv_json_set_number(limits, "storage_range", (double)caps->storage_range) &&
           tv_json_set_number(limits, "shared_bytes", (double)caps->shared_bytes) &&
           tv_json_set_number(limits, "invocations", (double)caps->invocations) &&
           tv_json_set_number(limits, "subgroup_size", (double)caps->subgroup_size) &&
           tv_json_set_bool(limits, "subgroup_arithmetic", caps->subgroup_arithmetic) &&
           tv_json_set_bool(limits, "unified_memory", caps->unified_memory) &&
           tv_json_set_bool(limits, "push_descriptors", caps->push_descriptors) &&
           tv_json_set_bool(limits, "fp16_storage", caps->fp16_storage) &&
           tv_json_set_bool(limits, "cooperative_matrix", caps->cooperative_matrix) &&
           tv_json_set_bool(limits, "timestamps", caps->timestamp_bits > 0);
}

static bool add_device(cJSON *devices, const tv_caps *caps, uint32_t number, bool is_default) {
    cJSON *device = cJSON_CreateObject();
    if (!device || !cJSON_AddItemToArray(devices, device))
        return false;
    char api[32];
    snprintf(api, sizeof api, "%u.%u", caps->api_version >> 22 & 0x7f, caps->api_version >> 12 & 0x3ff);
    bool usable = !caps->refusal[0];
    return tv_json_set_number(device, "number", number) && tv_json_set_string(device, "name", caps->name) &&
           tv_json_set_string(device, "type", tv_device_type_name(caps->type)) &&
           tv_json_set_string(device, "driver", caps->driver) && tv_json_set_string(device, "vulkan", api) &&
           tv_json_set_bool(device, "usable", usable) && tv_json_set_bool(device, "default", is_default) &&
           (usable
                ? tv_json_set_string(device, "tier", tv_tier_name(caps->tier)) &&
                      tv_json_set_string(device, "tier_reason", caps->tier_reason) && add_limits(device, caps)
                : tv_json_set_string(device, "refusal", caps->refusal));
}

static tv_status print_json(const tv_caps *list, uint32_t count, uint32_t chosen) {
    cJSON *result = cJSON_CreateObject();
    cJSON *devices = result ? cJSON_AddArrayToObject(result, "devices") : NULL;
    bool built = devices;
    for (uint32_t i = 0; i < count && built; i++)
        built = add_device(devices, &list[i], i, i == chosen);
    return tv_print_result(result, built);
}

static void print_device(const tv_caps *caps, uint32_t number, bool is_default) {
    char memory[32], range[32], shared[32];
    printf("%u  %s (%s)%s\n", number, caps->name, tv_device_type_name(caps->type),
           is_default ? ", the default" : "");
    printf("   driver  %s, Vulkan %u.%u\n", caps->driver, caps->api_version >> 22 & 0x7f,
           caps->api_version >> 12 & 0x3ff);
    if (caps->refusal[0]) {
        printf("   refused: %s\n", caps->refusal);
        return;
    }
    printf("   tier    %s%s%s\n", tv_tier_name(caps->tier),
           caps->tier_reason[0] ? "; not higher: " : ", the highest", caps->tier_reason);
    printf("   memory  %s%s, %s in one binding, %s shared by a workgroup\n",
           tv_format_bytes(caps->heap_bytes, memory, sizeof memory),
           caps->unified_memory ? " in common with the host" : "",
           tv_format_bytes(caps->storage_range, range, sizeof range),
           tv_format_bytes(caps->shared_bytes, shared, sizeof shared));
    printf("   groups  %llu invocations, subgroups of %llu%s\n", (unsigned long long)caps->invocations,
           (unsigned long long)caps->subgroup_size, caps->subgroup_arithmetic ? "" : " without arithmetic");
    printf("   has     timestamps %s, push descriptors %s, fp16 storage %s, cooperative matrices %s\n",
           caps->timestamp_bits ? "yes" : "no", caps->push_descriptors ? "yes" : "no",
           caps->fp16_storage ? "yes" : "no", caps->cooperative_matrix ? "yes" : "no");
}

tv_status cmd_devices(int argc, char **argv) {
    tv_common_options common = {0};
    const tv_command_line line = {
        .command = "devices",
        .summary =
            "Lists the Vulkan devices, the tier of each and why it is not a higher one, or why it cannot be "
            "used. TRIVIUM_CAPS_MAX is applied.",
        .common_mask = TV_COMMON_JSON,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_caps *list = NULL;
    uint32_t count = 0, chosen = UINT32_MAX;
    tv_status status;
    TV_TRY(tv_device_list(&list, &count));
    tv_status choice = tv_device_choose(list, count, NULL, &chosen);
    if (common.json)
        TV_TRY(print_json(list, count, chosen));
    for (uint32_t i = 0; i < count && !common.json; i++)
        print_device(&list[i], i, i == chosen);
    /* The list is printed even where no device of it is usable. */
    status = choice;
done:
    free(list);
    return status;
}
