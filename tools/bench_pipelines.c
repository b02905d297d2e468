/* trivium bench pipelines: what the driver's compiler makes of the kernels, without running them. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "base/output.h"
#include "kernels/attention.h"
#include "kernels/launch.h"
#include "run/defaults.h"
#include "sizes.h"
#include "tools/bench.h"
#include "tools/bench_record.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "vk/statistics.h"

enum { GPU_WORKGROUP = 256 };

typedef struct pipelines_bench {
    const char *config, *isa;
    tv_device *device;
    tv_pipeline_report *reports;
    uint64_t count, chosen; /* the first `chosen` are what a launcher asked for */
    tv_recorded_steps steps;
    bool record;
    uint64_t rows; /* that are decoded side by side */
} pipelines_bench;

/* ---- every kernel ---- */

/* Forms for CPUs are workgroups of their lanes, or read texels. */
static bool is_for(const tv_program *program, const tv_caps *caps) {
    if (program->local_size > caps->invocations || program->tier > caps->tier ||
        !tv_caps_has_tier(caps, program->tier))
        return false;
    bool texels = false;
    for (uint32_t i = 0; i < program->binding_count; i++)
        texels |= program->access[i] == TV_TEXELS;
    return (caps->texels || !texels) &&
           (caps->cpu_kernels ||
            (program->local_size != TV_CPU_LANES && program->local_size != TV_CPU_LANES_WIDE)) &&
           tv_attention_is_for(program, caps);
}

/* What no recording has asked for gets the constants that its shader has. */
static tv_status make_rest(tv_device *device, const pipelines_bench *bench) {
    const tv_caps *caps = tv_device_caps(device);
    for (int id = 0; id < TV_PROGRAM_COUNT; id++) {
        const tv_program *program = tv_program_get((tv_program_id)id);
        bool made = false;
        for (uint64_t i = 0; i < bench->chosen; i++)
            made |= bench->reports[i].program == program;
        if (made || !is_for(program, caps))
            continue;
        uint32_t local = (uint32_t)(caps->cpu_kernels ? caps->subgroup_size
                                                      : tv_min_u64(GPU_WORKGROUP, caps->invocations));
        tv_launch launch = {0};
        if (program->tier != TV_TIER_FP32) {
            tv_matrix_constants(caps, program->tier, &launch);
            local = (uint32_t)caps->matrix_lanes * TV_ATTENTION_SUBGROUPS;
        }
        if (!program->local_size)
            launch.specialization[launch.specialization_count++] = local;
        TV_RETURN_IF_FAILED(
            tv_pipeline_make(device, program, launch.specialization, launch.specialization_count));
    }
    return TV_OK;
}

static tv_status read_reports(pipelines_bench *bench) {
    tv_pipeline_reports_free(&bench->reports, bench->count);
    bench->count = tv_pipeline_count(bench->device);
    return tv_pipeline_reports_read(bench->device, &bench->reports);
}

/* ---- results ---- */

/* "matmul.rows_nt 64,8,0" */
static void name_pipeline(const tv_pipeline_report *report, char *name, size_t size) {
    size_t used = (size_t)snprintf(name, size, "%s", report->program->name);
    for (uint32_t i = 0; i < report->specialization_count && used < size; i++)
        used += (size_t)snprintf(name + used, size - used, "%s%" PRIu32, i ? "," : " ",
                                 report->specialization[i]);
}

static tv_status write_assembly(const char *folder, const tv_pipeline_report *report) {
    char name[128];
    name_pipeline(report, name, sizeof name);
    for (char *c = name; *c; c++)
        if (*c == ' ' || *c == ',')
            *c = '-';
    char *path = tv_format("%s/%s.s", folder, name);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_write_file(path, report->assembly, strlen(report->assembly));
    free(path);
    return status;
}

static tv_status write_assemblies(const pipelines_bench *bench, uint64_t *written) {
    for (uint64_t i = 0; i < bench->count; i++) {
        if (!bench->reports[i].assembly)
            continue;
        TV_RETURN_IF_FAILED(tv_make_dirs(bench->isa));
        TV_RETURN_IF_FAILED(write_assembly(bench->isa, &bench->reports[i]));
        ++*written;
    }
    return TV_OK;
}

static void print_term(const tv_pipeline_report *report, tv_term term, int width) {
    bool told;
    double value = tv_pipeline_report_term(report, term, &told);
    if (told)
        printf(" %*.0f", width, value);
    else
        printf(" %*s", width, "-");
}

static void print_report(const tv_pipeline_report *report) {
    static const struct {
        tv_term term;
        int width;
    } columns[] = {{TV_TERM_REGISTERS, 9},    {TV_TERM_SPILLS, 6},    {TV_TERM_SCRATCH_BYTES, 7},
                   {TV_TERM_SHARED_BYTES, 7}, {TV_TERM_SUBGROUPS, 9}, {TV_TERM_INSTRUCTIONS, 12},
                   {TV_TERM_CYCLES, 9}};
    char name[128];
    name_pipeline(report, name, sizeof name);
    printf("%-36s", name);
    for (size_t i = 0; i < TV_COUNT(columns); i++)
        print_term(report, columns[i].term, columns[i].width);
    if (report->assembly)
        printf(" %7" PRIu64 "\n", tv_count_matrix_instructions(report->assembly));
    else
        printf(" %7s\n", "-");
}

static bool add_report(cJSON *pipelines, const tv_pipeline_report *report, bool chosen) {
    cJSON *object = cJSON_CreateObject();
    if (!object || !cJSON_AddItemToArray(pipelines, object)) {
        cJSON_Delete(object);
        return false;
    }
    cJSON *constants = NULL, *told = NULL;
    if (!tv_json_set_string(object, "kernel", report->program->name) ||
        !(constants = cJSON_AddArrayToObject(object, "constants")))
        return false;
    for (uint32_t i = 0; i < report->specialization_count; i++)
        if (!cJSON_AddItemToArray(constants, cJSON_CreateNumber(report->specialization[i])))
            return false;
    if (!tv_json_set_bool(object, "chosen", chosen) ||
        (report->subgroup && !tv_json_set_number(object, "subgroup_size", report->subgroup)))
        return false;
    for (int term = 0; term < TV_TERM_COUNT; term++) {
        bool is_told;
        double value = tv_pipeline_report_term(report, (tv_term)term, &is_told);
        if (is_told && !tv_json_set_number(object, tv_term_name((tv_term)term), value))
            return false;
    }
    if (report->assembly && !tv_json_set_number(object, "matrix_instructions",
                                                (double)tv_count_matrix_instructions(report->assembly)))
        return false;
    if (!(told = cJSON_AddObjectToObject(object, "driver")))
        return false;
    for (uint32_t i = 0; i < report->statistic_count; i++)
        if (!tv_json_set_number(told, report->statistics[i].name, report->statistics[i].value))
            return false;
    return true;
}

static bool add_step(cJSON *recorded, const tv_recorded_step *step) {
    cJSON *object = cJSON_CreateObject();
    if (!object || !cJSON_AddItemToArray(recorded, object)) {
        cJSON_Delete(object);
        return false;
    }
    return tv_json_set_string(object, "step", step->name) &&
           tv_json_set_number(object, "dispatches", step->dispatches) &&
           tv_json_set_number(object, "command_buffers", step->command_buffers) &&
           tv_json_set_number(object, "barriers", step->barriers) &&
           tv_json_set_number(object, "record_ms", step->record_ms) &&
           tv_json_set_number(object, "host_ms", step->host_ms);
}

static tv_status print_json(const pipelines_bench *bench) {
    const tv_caps *caps = tv_device_caps(bench->device);
    cJSON *result = cJSON_CreateObject(), *rows = NULL;
    bool built = result && tv_json_set_string(result, "device", caps->name) &&
                 tv_json_set_string(result, "driver", caps->driver) &&
                 tv_json_set_string(result, "tier", tv_tier_name(caps->tier)) &&
                 tv_json_set_bool(result, "statistics", caps->pipeline_statistics) &&
                 (rows = cJSON_AddArrayToObject(result, "pipelines"));
    for (uint64_t i = 0; i < bench->count && built; i++)
        built = add_report(rows, &bench->reports[i], i < bench->chosen);
    if (built && bench->record)
        built = tv_json_set_bool(result, "submitted", tv_device_self_tests_skipped()) &&
                (rows = cJSON_AddArrayToObject(result, "recorded"));
    for (uint64_t i = 0; i < bench->steps.count && bench->record && built; i++)
        built = add_step(rows, &bench->steps.rows[i]);
    return tv_print_result(result, built);
}

static void print_steps(const tv_recorded_steps *steps) {
    printf("\n%-16s %10s %9s %15s %10s %13s\n", "step", "dispatches", "barriers", "command buffers",
           "record ms", "host ms/step");
    for (uint64_t i = 0; i < steps->count; i++) {
        const tv_recorded_step *step = &steps->rows[i];
        printf("%-16s %10g %9g %15g %10.1f %13.4f\n", step->name, step->dispatches, step->barriers,
               step->command_buffers, step->record_ms, step->host_ms);
    }
    printf("%s\n",
           tv_device_self_tests_skipped()
               ? "submitted to a driver whose device computes nothing (TRIVIUM_SELF_TEST=skip)"
               : "nothing was submitted, so the host's time is without the driver's submissions; a driver "
                 "without its GPU takes them with TRIVIUM_SELF_TEST=skip");
}

static void print_table(const pipelines_bench *bench) {
    const tv_caps *caps = tv_device_caps(bench->device);
    printf("%s, %s; tier %s\n\n", caps->name, caps->driver, tv_tier_name(caps->tier));
    if (!caps->pipeline_statistics)
        printf("%" PRIu64 " pipelines; the driver lacks VK_KHR_pipeline_executable_properties, so nothing is "
               "known of them\n",
               bench->count);
    else
        printf("%-36s %9s %6s %7s %7s %9s %12s %9s %7s\n", "kernel and its constants", "registers", "spills",
               "scratch", "shared", "subgroups", "instructions", "cycles", "matrix");
    for (uint64_t i = 0; i < bench->count && caps->pipeline_statistics; i++)
        print_report(&bench->reports[i]);
}

/* ---- the command ---- */

static tv_status look(pipelines_bench *bench, tv_run_settings *settings, bool json) {
    uint64_t written = 0;
    if (bench->config) {
        TV_RETURN_IF_FAILED(
            tv_bench_record(bench->device, settings, bench->config, bench->rows, &bench->steps));
        bench->chosen = tv_pipeline_count(bench->device);
    } else {
        TV_RETURN_IF_FAILED(make_rest(bench->device, bench));
    }
    TV_RETURN_IF_FAILED(read_reports(bench));
    if (bench->isa)
        TV_RETURN_IF_FAILED(write_assemblies(bench, &written));
    if (json)
        return print_json(bench);
    print_table(bench);
    if (bench->record)
        print_steps(&bench->steps);
    if (bench->isa && written)
        printf("\n%s: the assembly of %" PRIu64 " pipelines\n", bench->isa, written);
    else if (bench->isa)
        printf("\nthe driver shows no assembly, so nothing was written to %s\n", bench->isa);
    return TV_OK;
}

tv_status tv_bench_pipelines(int argc, char **argv) {
    tv_common_options common = {0};
    tv_texts sets = {0};
    pipelines_bench bench = {.rows = 8};
    const tv_option options[] = {
        tv_opt_existing(tv_opt_text("config", "F", &bench.config,
                                    "only the pipelines that this configuration, with a \"model\", uses")),
        tv_opt_repeated("set", "KEY=VALUE", &sets, "change a setting of the configuration"),
        tv_opt_uint("rows", "R", &bench.rows, 1, 1 << 16, "texts side by side, of the decoder"),
        tv_opt_text("isa", "DIR", &bench.isa, "write each pipeline's assembly to a file there"),
        tv_opt_flag("record", &bench.record,
                    "tell of the recorded steps: dispatches, command buffers, the host's time"),
    };
    const tv_command_line line = {
        .command = "bench pipelines",
        .summary =
            "Shows what the driver's compiler makes of each kernel: registers, spills, scratch, shared "
            "memory, subgroups in flight, instructions, its estimate of cycles. Nothing runs on the "
            "device, so a driver without its GPU is enough.",
        .notes = "example:\n  trivium bench pipelines --config samples/bench/gpt2_875k.json --isa assembly",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool done;
    tv_status status;
    tv_run_settings settings = {0};
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    if (bench.record && !bench.config) {
        status = tv_fail(TV_E_USAGE, "--record: expected --config F, whose steps are recorded, found none");
        goto done;
    }
    TV_TRY(tv_run_settings_read(bench.config, sets.items, sets.count, TV_STAGE_PRETRAIN, &settings));
    TV_TRY(tv_device_open_hollow(&(tv_device_options){common.device, common.tier}, &bench.device));
    TV_TRY(look(&bench, &settings, common.json));
done:
    tv_pipeline_reports_free(&bench.reports, bench.count);
    tv_device_close(&bench.device);
    tv_run_settings_free(&settings);
    tv_texts_free(&sets);
    return status;
}
