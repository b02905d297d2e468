/* Settings and metrics of a run of a stage: see stage_run.h. */
#include "support/stage_run.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/json.h"
#include "run/metrics.h"
#include "support/support.h"

static void add(tv_stage_settings *settings, const char *text) {
    assert_in_range(settings->count, 0, TV_MOST_STAGE_SETTINGS - 1);
    settings->all[settings->count++] = text;
}

tv_stage_settings tv_stage_settings_make(const char *const *common, const char *data,
                                         const char *const *more) {
    tv_stage_settings settings = {.data = tv_format("data.train=[\"%s\"]", data)};
    assert_non_null(settings.data);
    for (uint64_t i = 0; common[i]; i++)
        add(&settings, common[i]);
    add(&settings, settings.data);
    for (uint64_t i = 0; more && more[i]; i++)
        add(&settings, more[i]);
    return settings;
}

void tv_stage_settings_free(tv_stage_settings *settings) {
    free(settings->data);
    *settings = (tv_stage_settings){.count = 0};
}

static bool add_line(void *context, const cJSON *line, uint64_t end) {
    tv_metric_column *column = context;
    (void)end;
    const cJSON *item = tv_json_get(line, column->key);
    if (!cJSON_IsNumber(item))
        return true;
    assert_in_range(column->count, 0, TV_MOST_METRIC_LINES - 1);
    column->values[column->count++] = item->valuedouble;
    return true;
}

tv_metric_column tv_metric_column_of(const char *run, const char *key) {
    tv_metric_column column = {.key = key};
    char *path = tv_format("%s/metrics.jsonl", run);
    assert_ok(tv_metrics_each(path, add_line, &column, NULL));
    if (column.count == 0)
        fail_msg("%s: no line has a number \"%s\"", path, key);
    free(path);
    return column;
}

double tv_first_metric(const char *run, const char *key) {
    return tv_metric_column_of(run, key).values[0];
}

double tv_last_metric(const char *run, const char *key) {
    tv_metric_column column = tv_metric_column_of(run, key);
    return column.values[column.count - 1];
}

typedef struct wanted {
    const char *key;
    double step, value;
    bool found;
} wanted;

static bool find(void *context, const cJSON *line, uint64_t end) {
    wanted *w = context;
    (void)end;
    const cJSON *step = tv_json_get(line, "step"), *item = tv_json_get(line, w->key);
    if (!cJSON_IsNumber(step) || step->valuedouble < w->step)
        return true;
    if (cJSON_IsNumber(item)) {
        w->value = item->valuedouble;
        w->found = true;
    }
    return false;
}

double tv_expect_metric(const char *run, uint64_t step, const char *key) {
    char *path = tv_format("%s/metrics.jsonl", run);
    wanted w = {.key = key, .step = (double)step};
    assert_ok(tv_metrics_each(path, find, &w, NULL));
    if (!w.found)
        fail_msg("%s: no number \"%s\" at step %llu", path, key, (unsigned long long)step);
    free(path);
    return w.value;
}
