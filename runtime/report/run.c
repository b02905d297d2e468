/* Reading a run directory: see run.h. */
#include "report/run.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/metrics.h"

/* Carried through the visitors: lines have no other way to say that memory is out. */
typedef struct loader {
    tv_report_run *run;
    uint64_t room;
    bool out_of_memory;
} loader;

static bool grow(loader *l) {
    tv_report_run *run = l->run;
    if (run->line_count < l->room)
        return true;
    uint64_t room = 2 * l->room + 256;
    double *steps = realloc(run->steps, room * sizeof *steps);
    if (!steps)
        return false;
    run->steps = steps;
    for (uint64_t i = 0; i < run->series_count; i++) {
        double *values = realloc(run->series[i].values, room * sizeof *values);
        if (!values)
            return false;
        run->series[i].values = values;
    }
    l->room = room;
    return true;
}

/* The series of that name, created with NaN for all lines so far; NULL when there are too many. */
static tv_report_series *find_series(loader *l, const char *name) {
    tv_report_run *run = l->run;
    for (uint64_t i = 0; i < run->series_count; i++)
        if (strcmp(run->series[i].name, name) == 0)
            return &run->series[i];
    if (run->series_count == TV_REPORT_MAX_SERIES)
        return NULL;
    tv_report_series *series = &run->series[run->series_count];
    series->name = tv_format("%s", name);
    series->values = malloc(l->room * sizeof *series->values);
    if (!series->name || !series->values) {
        free(series->name);
        free(series->values);
        l->out_of_memory = true;
        return NULL;
    }
    for (uint64_t i = 0; i <= run->line_count; i++)
        series->values[i] = NAN;
    run->series_count++;
    return series;
}

static void add_sample(loader *l, double step, const char *prompt, const char *text) {
    tv_report_run *run = l->run;
    tv_report_sample *grown = realloc(run->samples, (run->sample_count + 1) * sizeof *grown);
    if (grown)
        run->samples = grown;
    tv_report_sample sample = {step, prompt ? tv_format("%s", prompt) : NULL, tv_format("%s", text)};
    if (!grown || !sample.text || (prompt && !sample.prompt)) {
        free(sample.prompt);
        free(sample.text);
        l->out_of_memory = true;
        return;
    }
    run->samples[run->sample_count++] = sample;
}

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = tv_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static double number_of(const cJSON *object, const char *key) {
    const cJSON *item = tv_json_get(object, key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static bool take_line(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    loader *l = context;
    tv_report_run *run = l->run;
    double step = number_of(line, "step");
    if (!isfinite(step))
        return true;
    if (!grow(l)) {
        l->out_of_memory = true;
        return false;
    }
    run->steps[run->line_count] = step;
    for (uint64_t i = 0; i < run->series_count; i++)
        run->series[i].values[run->line_count] = NAN;
    const cJSON *item;
    cJSON_ArrayForEach(item, line) {
        tv_report_series *series = NULL;
        if ((cJSON_IsNumber(item) || cJSON_IsNull(item)) && strcmp(item->string, "step") != 0)
            series = find_series(l, item->string);
        if (series)
            series->values[run->line_count] = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    }
    cJSON_ArrayForEach(item, tv_json_get(line, "samples")) {
        if (cJSON_IsString(item))
            add_sample(l, step, NULL, item->valuestring);
    }
    const char *warning = text_of(line, "warning");
    if (warning) {
        free(run->warning);
        run->warning = tv_format("%s", warning);
        run->warning_step = step;
        run->warning_count++;
    }
    const char *stage = text_of(line, "stage");
    if (stage && (!run->stage || strcmp(run->stage, stage) != 0)) {
        free(run->stage);
        run->stage = tv_format("%s", stage);
    }
    run->line_count++;
    return !l->out_of_memory;
}

/* A line of samples.jsonl: "text" or "response" or "completion", perhaps with "prompt" and "step". */
static bool take_sample(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    loader *l = context;
    const char *text = text_of(line, "text");
    text = text ? text : text_of(line, "response");
    text = text ? text : text_of(line, "completion");
    if (text)
        add_sample(l, number_of(line, "step"), text_of(line, "prompt"), text);
    return !l->out_of_memory;
}

static tv_status read_optional_json(const char *directory, const char *name, cJSON **root) {
    char *path = tv_format("%s/%s", directory, name);
    if (!path)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_path_exists(path) ? tv_json_read_file(path, root) : TV_OK;
    free(path);
    return status;
}

static tv_status read_lines(const char *directory, const char *name, tv_metrics_visitor visit, loader *l,
                            bool *torn) {
    char *path = tv_format("%s/%s", directory, name);
    tv_status status = path ? tv_metrics_each(path, visit, l, torn) : TV_OK;
    free(path);
    if (!path || (status == TV_OK && l->out_of_memory))
        status = tv_fail(TV_E_MEMORY, "out of host memory while reading %s/%s", directory, name);
    return status;
}

tv_status tv_report_run_load(const char *path, tv_report_run *run) {
    tv_status status;
    loader l = {.run = run};
    *run = (tv_report_run){0};
    uint64_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    run->path = tv_format("%.*s", (int)length, path);
    const char *slash = run->path ? strrchr(run->path, '/') : NULL;
    run->name = run->path ? tv_format("%s", slash && slash[1] ? slash + 1 : run->path) : NULL;
    if (!run->name) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto fail;
    }
    if (!tv_path_is_directory(run->path)) {
        status = tv_fail(TV_E_USAGE, "expected a run directory, found no directory at \"%s\"", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_list_dir(run->path, &run->files, &run->file_count));
    bool is_run = false;
    for (uint64_t i = 0; i < run->file_count; i++)
        is_run = is_run || strcmp(run->files[i], "metrics.jsonl") == 0 ||
                 strcmp(run->files[i], "config.json") == 0;
    if (!is_run) {
        status = tv_fail(TV_E_USAGE,
                         "%s holds neither metrics.jsonl nor config.json; name a directory that a training "
                         "command wrote (its --out)",
                         run->path);
        goto fail;
    }
    TV_TRY_OR_FAIL(read_optional_json(run->path, "config.json", &run->config));
    TV_TRY_OR_FAIL(read_optional_json(run->path, "run.json", &run->facts));
    cJSON_DeleteItemFromObjectCaseSensitive(run->facts, "begun"); /* "started" says it to people */
    TV_TRY_OR_FAIL(read_lines(run->path, "metrics.jsonl", take_line, &l, &run->torn));
    TV_TRY_OR_FAIL(read_lines(run->path, "samples.jsonl", take_sample, &l, NULL));
    return TV_OK;
fail:
    tv_report_run_free(run);
    return status;
}

void tv_report_run_free(tv_report_run *run) {
    for (uint64_t i = 0; i < run->series_count; i++) {
        free(run->series[i].name);
        free(run->series[i].values);
    }
    for (uint64_t i = 0; i < run->sample_count; i++) {
        free(run->samples[i].prompt);
        free(run->samples[i].text);
    }
    free(run->samples);
    free(run->steps);
    free(run->warning);
    free(run->stage);
    free(run->name);
    free(run->path);
    tv_free_names(&run->files, run->file_count);
    cJSON_Delete(run->config);
    cJSON_Delete(run->facts);
    *run = (tv_report_run){0};
}

const double *tv_report_values(const tv_report_run *run, const char *name) {
    for (uint64_t i = 0; i < run->series_count; i++)
        if (strcmp(run->series[i].name, name) == 0)
            return run->series[i].values;
    return NULL;
}
