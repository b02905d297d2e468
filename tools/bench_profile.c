/* Where a step's time goes: see bench_profile.h. */
#include "tools/bench_profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

enum { TABLE_ROWS = 16 };

tv_status tv_bench_profile_add(tv_bench_profile *profile, const tv_dispatch_time *time,
                               double times_per_step) {
    const char *shape = time->shape ? time->shape : "";
    tv_bench_profile_row *row = NULL;
    for (uint64_t i = 0; i < profile->count && !row; i++)
        if (strcmp(profile->rows[i].program, time->program) == 0 &&
            strcmp(profile->rows[i].shape, shape) == 0)
            row = &profile->rows[i];
    if (!row) {
        tv_bench_profile_row *rows = realloc(profile->rows, (profile->count + 1) * sizeof *rows);
        if (!rows)
            return tv_fail(TV_E_MEMORY, "out of host memory for a profile");
        profile->rows = rows;
        row = &rows[profile->count++];
        *row = (tv_bench_profile_row){0};
        snprintf(row->program, sizeof row->program, "%s", time->program);
        snprintf(row->shape, sizeof row->shape, "%s", shape);
    }
    row->milliseconds += time->milliseconds * times_per_step;
    row->flops += time->flops * times_per_step;
    row->bytes += time->bytes * times_per_step;
    row->dispatches += times_per_step;
    return TV_OK;
}

static int compare_rows(const void *a, const void *b) {
    double x = ((const tv_bench_profile_row *)a)->milliseconds,
           y = ((const tv_bench_profile_row *)b)->milliseconds;
    return x > y ? -1 : x < y;
}

/* Milliseconds of all. */
static double sort_rows(tv_bench_profile *profile) {
    double total = 0;
    if (profile->count)
        qsort(profile->rows, profile->count, sizeof *profile->rows, compare_rows);
    for (uint64_t i = 0; i < profile->count; i++)
        total += profile->rows[i].milliseconds;
    return total;
}

bool tv_bench_profile_add_json(tv_bench_profile *profile, cJSON *result) {
    double total = sort_rows(profile);
    cJSON *rows = cJSON_AddArrayToObject(result, "kernels");
    for (uint64_t i = 0; rows && i < profile->count; i++) {
        const tv_bench_profile_row *row = &profile->rows[i];
        cJSON *object = cJSON_CreateObject();
        if (!object || !cJSON_AddItemToArray(rows, object)) {
            cJSON_Delete(object);
            return false;
        }
        if (!tv_json_set_string(object, "kernel", row->program) ||
            !tv_json_set_string(object, "shape", row->shape) ||
            !tv_json_set_number(object, "dispatches", row->dispatches) ||
            !tv_json_set_number(object, "ms", row->milliseconds) ||
            !tv_json_set_number(object, "share", row->milliseconds / total) ||
            !tv_json_set_number(object, "gflops", row->flops / row->milliseconds * 1e-6) ||
            !tv_json_set_number(object, "gbps", row->bytes / row->milliseconds * 1e-6))
            return false;
    }
    return rows != NULL;
}

void tv_bench_profile_print(tv_bench_profile *profile) {
    double total = sort_rows(profile), others = 0;
    if (!(total > 0)) {
        printf("the driver delivers no times of kernels\n");
        return;
    }
    printf("%-28s %-18s %10s %10s %11s %9s %9s\n", "kernel", "shape", "dispatches", "ms/step", "of kernels",
           "GFLOP/s", "GB/s");
    for (uint64_t i = 0; i < profile->count; i++) {
        const tv_bench_profile_row *row = &profile->rows[i];
        if (i >= TABLE_ROWS)
            others += row->milliseconds;
        else
            printf("%-28s %-18s %10.0f %10.3f %9.1f %% %9.2f %9.2f\n", row->program, row->shape,
                   row->dispatches, row->milliseconds, 100 * row->milliseconds / total,
                   row->flops / row->milliseconds * 1e-6, row->bytes / row->milliseconds * 1e-6);
    }
    if (others > 0)
        printf("%-28s %-18s %10s %10.3f %9.1f %%\n", "other kernels", "", "", others, 100 * others / total);
}

void tv_bench_profile_free(tv_bench_profile *profile) {
    free(profile->rows);
    *profile = (tv_bench_profile){0};
}
