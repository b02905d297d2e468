/* From marks and timestamps to the Trace Event Format: see trace.h. */
#include "vk/internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/output.h"
#include "vk/marks.h"
#include "vk/trace.h"

/* Perfetto shows each process as a group of tracks. */
enum { HOST = 1, DEVICE = 2 };
enum { WORK = 1, RECORDINGS = 1, KERNELS = 2 };

typedef struct event {
    const char *name, *category;
    int process, track;
    double begin, end; /* seconds since the trace began */
} event;

tv_status tv_trace_begin(tv_device *device) {
    if (device->marks)
        return tv_fail(TV_E_USAGE, "a trace of this device is being taken already");
    TV_RETURN_IF_FAILED(tv_wait_idle(device));
    device->marks = calloc(1, sizeof *device->marks);
    if (!device->marks)
        return tv_fail(TV_E_MEMORY, "out of host memory for a trace");
    device->marks->begin = tv_seconds();
    return TV_OK;
}

static tv_status keep_kernels(tv_marked_run *run, const tv_dispatch_time *times, uint32_t count) {
    run->kernels = calloc(count ? count : 1, sizeof *run->kernels);
    if (!run->kernels)
        return tv_fail(TV_E_MEMORY, "out of host memory for a trace");
    for (uint32_t i = 0; i < count; i++) {
        tv_marked_kernel *kernel = &run->kernels[run->kernel_count++];
        *kernel = (tv_marked_kernel){
            .name = tv_format("%s", times[i].program),
            .label = tv_format("%s", times[i].label ? times[i].label : ""),
            .shape = tv_format("%s", times[i].shape ? times[i].shape : ""),
            .begin = times[i].begin,
            .end = times[i].begin + times[i].milliseconds * 1e-3,
            .flops = times[i].flops,
            .bytes = times[i].bytes,
        };
        if (!kernel->name || !kernel->label || !kernel->shape)
            return tv_fail(TV_E_MEMORY, "out of host memory for a trace");
    }
    return TV_OK;
}

tv_status tv_trace_collect(tv_recording *recording) {
    tv_marks *marks = recording ? recording->device->marks : NULL;
    tv_marked_run *run = NULL;
    for (uint64_t i = 0; marks && i < marks->run_count && !run; i++)
        if (marks->runs[i].recording == recording)
            run = &marks->runs[i];
    if (!run)
        return TV_OK;
    run->recording = NULL;
    if (!recording->queries)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_recording_ends(recording, &run->begin, &run->end));
    run->timed = isfinite(run->begin);
    if (!recording->profile || !run->timed)
        return TV_OK;
    tv_dispatch_time *times = NULL;
    uint32_t count = 0;
    TV_RETURN_IF_FAILED(tv_recording_profile(recording, &times, &count));
    tv_status status = keep_kernels(run, times, count);
    free(times);
    return status;
}

/* ---- the file ---- */

/* Whole nanoseconds in microseconds, so that what nests still nests after printing. */
static double microseconds(double seconds) {
    return round(seconds * 1e9) * 1e-3;
}

/* The event's "args", to be filled; NULL when memory is out. */
static cJSON *add_event(cJSON *events, const event *given) {
    cJSON *object = cJSON_CreateObject();
    if (!object || !cJSON_AddItemToArray(events, object)) {
        cJSON_Delete(object);
        return NULL;
    }
    double begin = microseconds(given->begin), end = microseconds(given->end);
    bool built = tv_json_set_string(object, "name", given->name) &&
                 tv_json_set_string(object, "cat", given->category) &&
                 tv_json_set_string(object, "ph", "X") && tv_json_set_number(object, "ts", begin) &&
                 tv_json_set_number(object, "dur", round((end - begin) * 1e3) * 1e-3) &&
                 tv_json_set_number(object, "pid", given->process) &&
                 tv_json_set_number(object, "tid", given->track);
    return built ? cJSON_AddObjectToObject(object, "args") : NULL;
}

/* "process_name" or "thread_name", as the format calls them. */
static bool add_name(cJSON *events, const char *what, int process, int track, const char *name) {
    cJSON *object = cJSON_CreateObject();
    if (!object || !cJSON_AddItemToArray(events, object)) {
        cJSON_Delete(object);
        return false;
    }
    cJSON *args = cJSON_AddObjectToObject(object, "args");
    return args && tv_json_set_string(args, "name", name) && tv_json_set_string(object, "name", what) &&
           tv_json_set_string(object, "ph", "M") && tv_json_set_number(object, "pid", process) &&
           tv_json_set_number(object, "tid", track);
}

static bool add_host(cJSON *events, const tv_marks *marks) {
    for (uint64_t i = 0; i < marks->count; i++) {
        const tv_mark *row = &marks->rows[i];
        if (!add_event(events, &(event){row->name, row->category, HOST, WORK, row->begin - marks->begin,
                                        row->end - marks->begin}))
            return false;
    }
    return true;
}

/* Seconds of the device's clock at which the trace began, by the run that began soonest after it was
 * submitted. */
static double device_start(const tv_marks *marks) {
    double start = INFINITY;
    for (uint64_t i = 0; i < marks->run_count; i++)
        if (marks->runs[i].timed)
            start = fmin(start, marks->runs[i].begin - (marks->runs[i].submitted - marks->begin));
    return start;
}

/* A device that lets the end of one wait for a later one gives times that overlap; what follows then begins
 * where that ended. */
static void keep_order(double *begin, double *end, double *reached) {
    *begin = fmax(*begin, *reached);
    *end = fmax(*end, *begin);
    *reached = *end;
}

static bool add_kernels(cJSON *events, const tv_marked_run *run, double start, double *reached) {
    for (uint32_t i = 0; i < run->kernel_count; i++) {
        const tv_marked_kernel *kernel = &run->kernels[i];
        double begin = kernel->begin - start, end = kernel->end - start;
        keep_order(&begin, &end, reached);
        cJSON *args = add_event(events, &(event){kernel->name, "kernel", DEVICE, KERNELS, begin, end});
        if (!args || !tv_json_set_string(args, "label", kernel->label) ||
            !tv_json_set_string(args, "shape", kernel->shape) ||
            !tv_json_set_number(args, "flops", kernel->flops) ||
            !tv_json_set_number(args, "bytes", kernel->bytes))
            return false;
    }
    return true;
}

static bool add_device(cJSON *events, const tv_marks *marks) {
    double start = device_start(marks), reached = 0, kernels_reached = 0;
    for (uint64_t i = 0; i < marks->run_count; i++) {
        const tv_marked_run *run = &marks->runs[i];
        double begin = run->begin - start, end = run->end - start;
        if (!run->timed)
            continue;
        keep_order(&begin, &end, &reached);
        cJSON *args = add_event(
            events, &(event){run->name ? run->name : "", "recording", DEVICE, RECORDINGS, begin, end});
        if (!args || !tv_json_set_number(args, "submitted", microseconds(run->submitted - marks->begin)) ||
            !add_kernels(events, run, start, &kernels_reached))
            return false;
    }
    return true;
}

static cJSON *build(const tv_device *device) {
    const tv_marks *marks = device->marks;
    cJSON *root = cJSON_CreateObject(), *events = root ? cJSON_AddArrayToObject(root, "traceEvents") : NULL;
    cJSON *other = events ? cJSON_AddObjectToObject(root, "otherData") : NULL;
    if (other && tv_json_set_string(root, "displayTimeUnit", "ns") &&
        tv_json_set_string(other, "device", device->caps.name) &&
        tv_json_set_string(other, "driver", device->caps.driver) &&
        add_name(events, "process_name", HOST, WORK, "host") &&
        add_name(events, "thread_name", HOST, WORK, "work, submissions, waits") &&
        add_name(events, "process_name", DEVICE, RECORDINGS, device->caps.name) &&
        add_name(events, "thread_name", DEVICE, RECORDINGS, "recordings") &&
        add_name(events, "thread_name", DEVICE, KERNELS, "kernels") && add_host(events, marks) &&
        add_device(events, marks))
        return root;
    cJSON_Delete(root);
    return NULL;
}

static tv_status write_trace(tv_device *device, const char *path) {
    tv_marks *marks = device->marks;
    for (uint64_t i = 0; i < marks->run_count; i++)
        if (marks->runs[i].recording)
            TV_RETURN_IF_FAILED(tv_trace_collect(marks->runs[i].recording));
    cJSON *root = build(device);
    char *text = NULL;
    tv_status status =
        root ? tv_json_print_line(root, &text) : tv_fail(TV_E_MEMORY, "out of host memory for a trace");
    if (status == TV_OK)
        status = tv_write_named_file(path, text, strlen(text));
    if (status == TV_OK && marks->incomplete)
        tv_warn("%s: some runs of recordings are missing, because they were replayed before their times "
                "were read",
                path);
    if (status == TV_OK && device->caps.timestamp_bits == 0)
        tv_warn("%s: %s has no timestamps, so only the host's work is in it", path, device->caps.name);
    free(text);
    cJSON_Delete(root);
    return status;
}

tv_status tv_trace_end(tv_device *device, const char *path) {
    if (!device->marks)
        return tv_fail(TV_E_USAGE, "no trace of this device is being taken");
    tv_status status = write_trace(device, path);
    tv_marks_free(&device->marks);
    return status;
}
