/* trivium bench kernels: each kernel alone, at the shapes of bench_cases.c.
 *
 * One profiling recording holds the launch often enough to last some milliseconds; a row is
 * the median over several runs of it, of the kernels' own time by the device's clock.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/choices.h"
#include "base/json.h"
#include "base/os.h"
#include "run/peak.h"
#include "tools/bench.h"
#include "tools/bench_cases.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "vk/device.h"
#include "vk/submit.h"
#include "vk/timestamps.h"

enum { MAX_REPEATS = 100, MOST_LAUNCHES = 200, MAX_CASES = 64 };
static const double run_ms = 10;

typedef struct kernel_row {
    const char *kernel;
    char shape[96];
    double milliseconds, gflops, gbps, peak_share;
} kernel_row;

/* ---- timing ---- */

static tv_status record_case(tv_kernel_run *run, tv_record_kernel kernel, const uint64_t *d,
                             uint64_t launches, tv_recording **recording) {
    tv_recorder *recorder = NULL;
    tv_status status;
    tv_recording_destroy(recording);
    TV_TRY_OR_FAIL(
        tv_recorder_begin(run->device, &(tv_recorder_options){.name = "bench", .profile = true}, &recorder));
    for (uint64_t i = 0; i < launches; i++) {
        run->next = 0;
        TV_TRY_OR_FAIL(kernel(recorder, run, d));
    }
    return tv_recorder_end(&recorder, recording);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* Milliseconds of the recording's dispatches together; by the host's clock where the device has none. */
static tv_status run_once(tv_device *device, tv_recording *recording, double *milliseconds) {
    tv_dispatch_time *times = NULL;
    uint32_t count = 0;
    uint64_t value;
    double start = tv_seconds();
    TV_RETURN_IF_FAILED(tv_submit(device, &recording, 1, &value));
    TV_RETURN_IF_FAILED(tv_wait(device, value));
    double wall = (tv_seconds() - start) * 1e3;
    TV_RETURN_IF_FAILED(tv_recording_profile(recording, &times, &count));
    *milliseconds = 0;
    for (uint32_t i = 0; i < count; i++)
        *milliseconds += times[i].milliseconds;
    free(times);
    if (!(*milliseconds > 0))
        *milliseconds = wall;
    return TV_OK;
}

static tv_status time_case(tv_device *device, tv_record_kernel kernel, const uint64_t *d, uint64_t repeats,
                           kernel_row *row) {
    tv_kernel_run run = {.device = device};
    tv_recording *recording = NULL;
    double once, values[MAX_REPEATS];
    tv_status status;
    TV_TRY(record_case(&run, kernel, d, 1, &recording));
    TV_TRY(run_once(device, recording, &once)); /* compiles */
    TV_TRY(run_once(device, recording, &once));
    uint64_t launches = (uint64_t)fmin(MOST_LAUNCHES, fmax(1, run_ms / once));
    if (launches > 1) {
        TV_TRY(record_case(&run, kernel, d, launches, &recording));
        TV_TRY(run_once(device, recording, &once));
    }
    for (uint64_t r = 0; r < repeats; r++)
        TV_TRY(run_once(device, recording, &values[r]));
    tv_recording_info info = tv_recording_get_info(recording);
    row->milliseconds = tv_median(values, repeats) / (double)launches;
    row->gflops = info.flops / (double)launches / row->milliseconds * 1e-6;
    row->gbps = info.bytes / (double)launches / row->milliseconds * 1e-6;
done:
    tv_recording_destroy(&recording);
    tv_kernel_run_free(&run);
    return status;
}

static void name_shape(const uint64_t *d, const char *form, char *shape, size_t size) {
    size_t used = 0;
    for (int i = 0; i < TV_KERNEL_DIMS && d[i] && used < size; i++)
        used += (size_t)snprintf(shape + used, size - used, "%s%llu", i ? "x" : "", (unsigned long long)d[i]);
    if (used < size)
        snprintf(shape + used, size - used, "%s", form);
}

/* ---- results ---- */

static bool add_row(cJSON *kernels, const kernel_row *row) {
    cJSON *object = cJSON_CreateObject();
    return object && cJSON_AddItemToArray(kernels, object) &&
           tv_json_set_string(object, "kernel", row->kernel) &&
           tv_json_set_string(object, "shape", row->shape) &&
           tv_json_set_number(object, "ms", row->milliseconds) &&
           tv_json_set_number(object, "gflops", row->gflops) &&
           tv_json_set_number(object, "gbps", row->gbps) &&
           tv_json_set_number(object, "peak_share", row->peak_share);
}

static void print_row(const kernel_row *row) {
    printf("%-20s %-22s %10.4f %10.2f %9.2f %7.1f %%\n", row->kernel, row->shape, row->milliseconds,
           row->gflops, row->gbps, 100 * row->peak_share);
    (void)fflush(stdout);
}

typedef struct kernels_options {
    const char *filter;
    bool has_shape;
    uint64_t shape[TV_KERNEL_DIMS]; /* of matmul */
    uint64_t repeats;
} kernels_options;

static bool is_wanted(const kernels_options *options, uint64_t number) {
    if (options->has_shape)
        return number < TV_KERNEL_MATMUL_FORMS;
    return !options->filter || strstr(tv_kernel_cases[number].kernel, options->filter);
}

static tv_status run_cases(tv_device *device, const kernels_options *options, cJSON *kernels) {
    bool cpu = tv_device_caps(device)->type == TV_DEVICE_CPU;
    double peak;
    TV_RETURN_IF_FAILED(tv_device_peak(device, &peak));
    if (!kernels) {
        printf("%s, %s; measured peak %.1f GFLOP/s\n\n", tv_device_caps(device)->name,
               tv_device_caps(device)->driver, peak * 1e-9);
        printf("%-20s %-22s %10s %10s %9s %9s\n", "kernel", "shape", "ms", "GFLOP/s", "GB/s", "of peak");
    }
    for (uint64_t i = 0; i < tv_kernel_case_count; i++) {
        const uint64_t *d = options->has_shape ? options->shape
                            : cpu              ? tv_kernel_cases[i].cpu
                                               : tv_kernel_cases[i].gpu;
        if (!is_wanted(options, i) || d[0] == 0)
            continue;
        kernel_row row = {.kernel = tv_kernel_cases[i].kernel};
        name_shape(d, tv_kernel_cases[i].form, row.shape, sizeof row.shape);
        TV_RETURN_IF_FAILED(time_case(device, tv_kernel_cases[i].record, d, options->repeats, &row));
        row.peak_share = row.gflops * 1e9 / peak;
        if (!kernels)
            print_row(&row);
        else if (!add_row(kernels, &row))
            return tv_fail(TV_E_MEMORY, "out of host memory for the result");
    }
    return TV_OK;
}

static tv_status run_json(tv_device *device, const kernels_options *options) {
    const tv_caps *caps = tv_device_caps(device);
    cJSON *result = cJSON_CreateObject();
    cJSON *kernels = NULL;
    tv_status status;
    if (result && tv_json_set_string(result, "device", caps->name) &&
        tv_json_set_string(result, "tier", tv_tier_name(caps->tier)))
        kernels = cJSON_AddArrayToObject(result, "kernels");
    if (!kernels) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
        goto done;
    }
    TV_TRY(run_cases(device, options, kernels));
    TV_TRY(tv_print_json(result));
done:
    cJSON_Delete(result);
    return status;
}

static tv_status check_options(const char *shape, kernels_options *options) {
    if (options->filter) {
        const char *names[MAX_CASES];
        bool found = false;
        uint64_t count = tv_min_u64(tv_kernel_case_count, MAX_CASES);
        for (uint64_t i = 0; i < count; i++) {
            names[i] = tv_kernel_cases[i].kernel;
            found |= is_wanted(options, i);
        }
        const char *nearest = tv_nearest_word(options->filter, names, count);
        if (!found)
            return tv_fail(TV_E_USAGE, "--filter: no kernel's name contains \"%s\"; a known one is %s",
                           options->filter, nearest ? nearest : tv_kernel_cases[0].kernel);
    }
    if (!shape)
        return TV_OK;
    unsigned long long m, n, k;
    int used = 0;
    const unsigned long long most = 1 << 16;
    if (sscanf(shape, "%5llux%5llux%5llu%n", &m, &n, &k, &used) != 3 || shape[used] || m < 1 || n < 1 ||
        k < 1 || m > most || n > most || k > most)
        return tv_fail(TV_E_USAGE, "--shape: expected MxNxK of 1 to %llu, such as 512x512x512, found \"%s\"",
                       most, shape);
    options->has_shape = true;
    options->shape[0] = m;
    options->shape[1] = n;
    options->shape[2] = k;
    return TV_OK;
}

tv_status tv_bench_kernels(int argc, char **argv) {
    tv_common_options common = {0};
    kernels_options kernels = {.repeats = 5};
    const char *shape = NULL;
    const tv_option options[] = {
        tv_opt_text("filter", "NAME", &kernels.filter, "only kernels whose name contains this"),
        tv_opt_text("shape", "MxNxK", &shape, "only matrix products, of this shape"),
        tv_opt_uint("repeats", "N", &kernels.repeats, 1, MAX_REPEATS, "runs that the median is taken of"),
    };
    const tv_command_line line = {
        .command = "bench kernels",
        .summary = "Times each kernel alone, by the device's own clock: milliseconds, GFLOP/s, GB/s and the "
                   "share of the device's measured peak. GFLOP and bytes are what the operation needs, not "
                   "what the kernel happens to do. Shapes are smaller on CPU devices.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    bool done;
    tv_device *device = NULL;
    tv_status status;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    TV_TRY(check_options(shape, &kernels));
    TV_TRY(tv_device_open(&(tv_device_options){common.device, common.tier}, &device));
    TV_TRY(common.json ? run_json(device, &kernels) : run_cases(device, &kernels, NULL));
done:
    tv_device_close(&device);
    return status;
}
