/* Reading what compilers tell: see statistics.h. */
#include "vk/statistics.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "vk/internal.h"

/* ---- names ---- */

const char *tv_term_name(tv_term term) {
    static const char *const names[] = {
        [TV_TERM_REGISTERS] = "registers",
        [TV_TERM_SCALAR_REGISTERS] = "scalar_registers",
        [TV_TERM_SPILLS] = "spills",
        [TV_TERM_SCRATCH_BYTES] = "scratch_bytes",
        [TV_TERM_SHARED_BYTES] = "shared_bytes",
        [TV_TERM_SUBGROUPS] = "subgroups",
        [TV_TERM_CODE_BYTES] = "code_bytes",
        [TV_TERM_INSTRUCTIONS] = "instructions",
        [TV_TERM_CYCLES] = "cycles",
        [TV_TERM_VECTOR_ALU] = "vector_alu",
        [TV_TERM_SCALAR_ALU] = "scalar_alu",
        [TV_TERM_PAIRED_ALU] = "paired_alu",
        [TV_TERM_MEMORY] = "memory",
        [TV_TERM_SCALAR_MEMORY] = "scalar_memory",
        [TV_TERM_BRANCHES] = "branches",
    };
    return term < TV_TERM_COUNT ? names[term] : "";
}

/* The driver: how its own description begins. */
static const struct {
    const char *driver, *name;
    tv_term term;
    double scale;
} driver_names[] = {
    {"radv", "VGPRs", TV_TERM_REGISTERS, 1},
    {"radv", "SGPRs", TV_TERM_SCALAR_REGISTERS, 1},
    {"radv", "Spilled VGPRs", TV_TERM_SPILLS, 1},
    {"radv", "Spilled SGPRs", TV_TERM_SPILLS, 1},
    {"radv", "Scratch size", TV_TERM_SCRATCH_BYTES, 1},
    {"radv", "LDS size", TV_TERM_SHARED_BYTES, 1},
    {"radv", "Subgroups per SIMD", TV_TERM_SUBGROUPS, 1},
    {"radv", "Code size", TV_TERM_CODE_BYTES, 1},
    {"radv", "Instructions", TV_TERM_INSTRUCTIONS, 1},
    {"radv", "Latency", TV_TERM_CYCLES, 1},
    {"radv", "VALU", TV_TERM_VECTOR_ALU, 1},
    {"radv", "VOPD", TV_TERM_PAIRED_ALU, 1},
    {"radv", "SALU", TV_TERM_SCALAR_ALU, 1},
    {"radv", "VMEM", TV_TERM_MEMORY, 1},
    {"radv", "SMEM", TV_TERM_SCALAR_MEMORY, 1},
    {"radv", "Branches", TV_TERM_BRANCHES, 1},
    {"NVK", "Number of GPRs", TV_TERM_REGISTERS, 1},
    {"NVK", "Spills to memory", TV_TERM_SPILLS, 1},
    {"NVK", "Fills from memory", TV_TERM_SPILLS, 1},
    {"NVK", "SLM size", TV_TERM_SCRATCH_BYTES, 1},
    {"NVK", "Max warps/SM", TV_TERM_SUBGROUPS, 1},
    {"NVK", "Code size", TV_TERM_CODE_BYTES, 1},
    {"NVK", "Instruction count", TV_TERM_INSTRUCTIONS, 1},
    {"NVK", "Static cycle count", TV_TERM_CYCLES, 1},
    /* Registers in halves, invocations in place of subgroups. */
    {"Honeykrisp", "GPRs", TV_TERM_REGISTERS, 0.5},
    {"Honeykrisp", "Uniforms", TV_TERM_SCALAR_REGISTERS, 0.5},
    {"Honeykrisp", "Spills", TV_TERM_SPILLS, 1},
    {"Honeykrisp", "Fills", TV_TERM_SPILLS, 1},
    {"Honeykrisp", "Scratch", TV_TERM_SCRATCH_BYTES, 1},
    {"Honeykrisp", "Threads", TV_TERM_SUBGROUPS, 1.0 / 32},
    {"Honeykrisp", "Code size", TV_TERM_CODE_BYTES, 1},
    {"Honeykrisp", "Instructions", TV_TERM_INSTRUCTIONS, 1},
    {"Honeykrisp", "ALU", TV_TERM_CYCLES, 1},
    /* Registers of four floats, code in words of 32 bits; moves, arithmetic of two, three and one operand;
       texels, memory. */
    {"turnip", "Registers used", TV_TERM_REGISTERS, 4},
    {"turnip", "STP Count", TV_TERM_SPILLS, 1},
    {"turnip", "LDP Count", TV_TERM_SPILLS, 1},
    {"turnip", "Max Waves Per Core", TV_TERM_SUBGROUPS, 1},
    {"turnip", "Code size", TV_TERM_CODE_BYTES, 4},
    {"turnip", "Instruction Count", TV_TERM_INSTRUCTIONS, 1},
    {"turnip", "cat1 instructions", TV_TERM_VECTOR_ALU, 1},
    {"turnip", "cat2 instructions", TV_TERM_VECTOR_ALU, 1},
    {"turnip", "cat3 instructions", TV_TERM_VECTOR_ALU, 1},
    {"turnip", "cat4 instructions", TV_TERM_VECTOR_ALU, 1},
    {"turnip", "cat5 instructions", TV_TERM_MEMORY, 1},
    {"turnip", "cat6 instructions", TV_TERM_MEMORY, 1},
};

/* The term that a statistic counts toward, several of which are summed; TV_TERM_COUNT where it is none, or
 * the driver (tv_caps.driver) is none of the table's. *scale is what one of the driver's units is in ours. */
static tv_term term_of(const char *driver, const char *name, double *scale) {
    for (size_t i = 0; i < TV_COUNT(driver_names); i++) {
        bool is_driver = strncmp(driver, driver_names[i].driver, strlen(driver_names[i].driver)) == 0;
        if (!is_driver || strcmp(name, driver_names[i].name) != 0)
            continue;
        *scale = driver_names[i].scale;
        return driver_names[i].term;
    }
    return TV_TERM_COUNT;
}

double tv_pipeline_report_term(const tv_pipeline_report *report, tv_term term, bool *told) {
    double sum = 0, scale = 1;
    *told = false;
    for (uint32_t i = 0; i < report->statistic_count; i++) {
        if (term_of(report->driver, report->statistics[i].name, &scale) != term)
            continue;
        *told = true;
        sum += report->statistics[i].value * scale;
    }
    return sum;
}

uint64_t tv_count_matrix_instructions(const char *assembly) {
    static const char *const names[] = {"wmma_", "mfma_", "hmma.", "imma.", "simd_matrix"};
    uint64_t count = 0;
    for (const char *line = assembly; line && *line;) {
        size_t length = strcspn(line, "\n");
        char text[128];
        snprintf(text, sizeof text, "%.*s", (int)tv_min_u64(length, sizeof text - 1), line);
        bool found = false;
        for (size_t i = 0; i < TV_COUNT(names) && !found; i++)
            found = strcasestr(text, names[i]) != NULL;
        count += found;
        line += length + (line[length] == '\n');
    }
    return count;
}

/* ---- reading ---- */

tv_status tv_pipeline_make(tv_device *device, const tv_program *program, const uint32_t *specialization,
                           uint32_t specialization_count) {
    VkPipeline pipeline;
    return tv_pipeline_get(device, program, specialization, specialization_count, &pipeline);
}

uint64_t tv_pipeline_count(const tv_device *device) {
    uint64_t count = 0;
    for (const tv_pipeline *entry = device->pipelines; entry; entry = entry->next)
        count++;
    return count;
}

static double value_of(const VkPipelineExecutableStatisticKHR *statistic) {
    switch (statistic->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        return statistic->value.b32;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        return (double)statistic->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        return (double)statistic->value.u64;
    default:
        return statistic->value.f64;
    }
}

static tv_status out_of_memory(void) {
    return tv_fail(TV_E_MEMORY, "out of host memory for a pipeline's statistics");
}

static tv_status read_statistics(tv_device *device, const VkPipelineExecutableInfoKHR *executable,
                                 tv_pipeline_report *report) {
    uint32_t count = 0;
    const char *what = "tell a pipeline's statistics";
    TV_RETURN_IF_FAILED(tv_vk_check(
        device, device->vk.vkGetPipelineExecutableStatisticsKHR(device->handle, executable, &count, NULL),
        what));
    VkPipelineExecutableStatisticKHR *found = calloc(count + 1, sizeof *found);
    tv_statistic *grown = realloc(report->statistics, (report->statistic_count + count + 1) * sizeof *grown);
    tv_status status;
    if (grown)
        report->statistics = grown;
    if (!found || !grown) {
        status = out_of_memory();
        goto done;
    }
    for (uint32_t i = 0; i < count; i++)
        found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    TV_TRY(tv_vk_check(
        device, device->vk.vkGetPipelineExecutableStatisticsKHR(device->handle, executable, &count, found),
        what));
    for (uint32_t i = 0; i < count; i++) {
        tv_statistic *statistic = &report->statistics[report->statistic_count];
        *statistic = (tv_statistic){tv_format("%s", found[i].name), value_of(&found[i])};
        if (!statistic->name) {
            status = out_of_memory();
            goto done;
        }
        report->statistic_count++;
    }
done:
    free(found);
    return status;
}

/* The last text that calls itself an assembly, else the last text: representations go from source to machine.
 */
static const VkPipelineExecutableInternalRepresentationKHR *
choose_assembly(const VkPipelineExecutableInternalRepresentationKHR *found, uint32_t count) {
    const VkPipelineExecutableInternalRepresentationKHR *chosen = NULL;
    bool named = false;
    for (uint32_t i = 0; i < count; i++) {
        bool is_named = strcasestr(found[i].name, "assembly") != NULL;
        if (found[i].isText && found[i].dataSize && (is_named || !named)) {
            chosen = &found[i];
            named = is_named;
        }
    }
    return chosen;
}

static tv_status read_assembly(tv_device *device, const VkPipelineExecutableInfoKHR *executable,
                               tv_pipeline_report *report) {
    uint32_t count = 0;
    const char *what = "show a pipeline's assembly";
    TV_RETURN_IF_FAILED(tv_vk_check(device,
                                    device->vk.vkGetPipelineExecutableInternalRepresentationsKHR(
                                        device->handle, executable, &count, NULL),
                                    what));
    VkPipelineExecutableInternalRepresentationKHR *found = calloc(count + 1, sizeof *found);
    tv_status status;
    if (!found)
        return out_of_memory();
    for (uint32_t i = 0; i < count; i++)
        found[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    /* First the sizes, then the texts. */
    for (int pass = 0; pass < 2; pass++) {
        TV_TRY(tv_vk_check(device,
                           device->vk.vkGetPipelineExecutableInternalRepresentationsKHR(
                               device->handle, executable, &count, found),
                           what));
        for (uint32_t i = 0; i < count && pass == 0; i++) {
            found[i].pData = calloc(found[i].dataSize + 1, 1);
            if (!found[i].pData) {
                status = out_of_memory();
                goto done;
            }
        }
    }
    const VkPipelineExecutableInternalRepresentationKHR *chosen = choose_assembly(found, count);
    if (chosen) {
        char *joined =
            tv_format("%s%s", report->assembly ? report->assembly : "", (const char *)chosen->pData);
        free(report->assembly);
        report->assembly = joined;
        status = joined ? TV_OK : out_of_memory();
    }
done:
    for (uint32_t i = 0; i < count; i++)
        free(found[i].pData);
    free(found);
    return status;
}

enum { MOST_EXECUTABLES = 8 };

static tv_status read_report(tv_device *device, const tv_pipeline *entry, tv_pipeline_report *report) {
    *report = (tv_pipeline_report){.program = entry->program,
                                   .specialization_count = entry->specialization_count,
                                   .driver = device->caps.driver};
    memcpy(report->specialization, entry->specialization, sizeof report->specialization);
    if (!device->statistics)
        return TV_OK;
    const VkPipelineInfoKHR pipeline = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
                                        .pipeline = entry->pipeline};
    VkPipelineExecutablePropertiesKHR executables[MOST_EXECUTABLES] = {0};
    uint32_t count = MOST_EXECUTABLES;
    for (uint32_t i = 0; i < count; i++)
        executables[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    VkResult result =
        device->vk.vkGetPipelineExecutablePropertiesKHR(device->handle, &pipeline, &count, executables);
    if (result != VK_INCOMPLETE)
        TV_RETURN_IF_FAILED(tv_vk_check(device, result, "list the executables of a pipeline"));
    for (uint32_t i = 0; i < count; i++) {
        const VkPipelineExecutableInfoKHR executable = {.sType =
                                                            VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                                        .pipeline = entry->pipeline,
                                                        .executableIndex = i};
        report->subgroup = executables[i].subgroupSize;
        TV_RETURN_IF_FAILED(read_statistics(device, &executable, report));
        TV_RETURN_IF_FAILED(read_assembly(device, &executable, report));
    }
    return TV_OK;
}

tv_status tv_pipeline_reports_read(tv_device *device, tv_pipeline_report **out) {
    uint64_t count = tv_pipeline_count(device), i = count;
    tv_pipeline_report *reports = *out = calloc(count + 1, sizeof *reports);
    if (!reports)
        return out_of_memory();
    for (const tv_pipeline *entry = device->pipelines; entry; entry = entry->next) {
        tv_status status = read_report(device, entry, &reports[--i]);
        if (status != TV_OK) {
            tv_pipeline_reports_free(out, count);
            return status;
        }
    }
    return TV_OK;
}

void tv_pipeline_reports_free(tv_pipeline_report **handle, uint64_t count) {
    for (uint64_t i = 0; *handle && i < count; i++) {
        tv_pipeline_report *report = &(*handle)[i];
        for (uint32_t s = 0; s < report->statistic_count; s++)
            free(report->statistics[s].name);
        free(report->statistics);
        free(report->assembly);
    }
    free(*handle);
    *handle = NULL;
}
