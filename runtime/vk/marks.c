/* Growing lists that a trace is made from: see marks.h. */
#include "vk/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/os.h"
#include "vk/marks.h"

double tv_mark_begin(const tv_device *device) {
    return device->marks ? tv_seconds() : 0;
}

void tv_mark_end(tv_device *device, double begin, const char *category, const char *name) {
    tv_marks *marks = device->marks;
    if (!marks || begin == 0)
        return;
    tv_mark *rows = realloc(marks->rows, (marks->count + 1) * sizeof *rows);
    marks->incomplete = marks->incomplete || !rows;
    if (!rows)
        return;
    marks->rows = rows;
    tv_mark *row = &rows[marks->count++];
    *row = (tv_mark){.begin = begin, .end = tv_seconds()};
    snprintf(row->category, sizeof row->category, "%s", category);
    snprintf(row->name, sizeof row->name, "%s", name);
}

void tv_marks_submission(tv_device *device, tv_recording *recording, double begin) {
    tv_marks *marks = device->marks;
    /* Steps of drawing overlap, so they have no times to be kept. */
    if (!marks || begin == 0 || !recording->queries)
        return;
    tv_marks_forget(device, recording);
    tv_marked_run *runs = realloc(marks->runs, (marks->run_count + 1) * sizeof *runs);
    marks->incomplete = marks->incomplete || !runs;
    if (!runs)
        return;
    marks->runs = runs;
    runs[marks->run_count++] =
        (tv_marked_run){.recording = recording, .name = tv_format("%s", recording->name), .submitted = begin};
}

void tv_marks_forget(tv_device *device, const tv_recording *recording) {
    for (uint64_t i = 0; device->marks && i < device->marks->run_count; i++)
        if (device->marks->runs[i].recording == recording) {
            device->marks->runs[i].recording = NULL;
            device->marks->incomplete = true;
        }
}

void tv_marks_free(tv_marks **handle) {
    tv_marks *marks = *handle;
    if (!marks)
        return;
    for (uint64_t i = 0; i < marks->run_count; i++) {
        tv_marked_run *run = &marks->runs[i];
        for (uint32_t k = 0; k < run->kernel_count; k++) {
            free(run->kernels[k].name);
            free(run->kernels[k].label);
            free(run->kernels[k].shape);
        }
        free(run->kernels);
        free(run->name);
    }
    free(marks->runs);
    free(marks->rows);
    free(marks);
    *handle = NULL;
}
