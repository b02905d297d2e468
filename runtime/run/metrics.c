/* Lines of numbers: see metrics.h. */
#include "run/metrics.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/tfevents.h"

enum { MAX_SCALARS = 64 };

struct tv_metrics {
    tv_appender *file;
    tv_tfevents *events;
};

tv_status tv_metrics_each(const char *path, tv_metrics_visitor visit, void *context, bool *torn) {
    char *bytes = NULL;
    uint64_t size = 0;
    tv_status status = TV_OK;
    if (torn)
        *torn = false;
    if (!tv_path_exists(path))
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_read_file(path, &bytes, &size));
    uint64_t number = 0;
    bool more = true;
    for (uint64_t start = 0; more && start < size;) {
        const char *line = bytes + start;
        const char *newline = memchr(line, '\n', size - start);
        uint64_t length = newline ? (uint64_t)(newline - line) : size - start;
        uint64_t end = start + length + (newline != NULL);
        cJSON *tree = NULL;
        char where[320];
        number++;
        snprintf(where, sizeof where, "%.280s line %llu", path, (unsigned long long)number);
        status = tv_json_parse(line, length, where, &tree);
        if (status == TV_OK && !cJSON_IsObject(tree))
            status = tv_fail(TV_E_DATA, "%s: expected a JSON object", where);
        /* A write that was cut short leaves no newline, or (after a power cut) a last line of zeros. */
        if (end == size && (!newline || status != TV_OK)) {
            status = TV_OK;
            more = false;
            if (torn)
                *torn = true;
        }
        if (status == TV_OK && more)
            more = visit(context, tree, end);
        cJSON_Delete(tree);
        if (status != TV_OK)
            break;
        start = end;
    }
    free(bytes);
    return status;
}

typedef struct cut {
    uint64_t resumed_step, keep;
} cut;

static bool find_cut(void *context, const cJSON *line, uint64_t end) {
    cut *c = context;
    const cJSON *step = tv_json_get(line, "step");
    if (cJSON_IsNumber(step) && step->valuedouble > (double)c->resumed_step)
        return false;
    c->keep = end;
    return true;
}

tv_status tv_metrics_open(const char *run, bool resumed, uint64_t step, tv_metrics **out) {
    *out = NULL;
    tv_status status;
    tv_metrics *metrics = calloc(1, sizeof *metrics);
    char *path = tv_format("%s/metrics.jsonl", run);
    if (!metrics || !path) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the metrics of %s", run);
        goto fail;
    }
    cut c = {.resumed_step = step};
    if (resumed)
        TV_TRY_OR_FAIL(tv_metrics_each(path, find_cut, &c, NULL));
    TV_TRY_OR_FAIL(tv_appender_open(path, c.keep, false, &metrics->file));
    TV_TRY_OR_FAIL(tv_tfevents_create(run, resumed ? step : 0, &metrics->events));
    free(path);
    *out = metrics;
    return TV_OK;
fail:
    free(path);
    tv_metrics_close(&metrics);
    return status;
}

void tv_metrics_close(tv_metrics **metrics) {
    if (!metrics || !*metrics)
        return;
    tv_appender_close(&(*metrics)->file);
    tv_tfevents_close(&(*metrics)->events);
    free(*metrics);
    *metrics = NULL;
}

static tv_status line_to_json(const tv_metrics_line *line, cJSON **out) {
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_string(object, "stage", line->stage) &&
                 tv_json_set_number(object, "step", (double)line->step);
    if (line->step > 0)
        built = built && tv_json_set_number(object, "loss", line->loss) &&
                tv_json_set_number(object, "grad_norm", line->grad_norm) &&
                tv_json_set_number(object, "lr", line->lr) &&
                tv_json_set_number(object, "tokens", (double)line->tokens) &&
                tv_json_set_number(object, "tokens_per_second", line->tokens_per_second);
    if (line->loss_scale > 0)
        built = built && tv_json_set_number(object, "loss_scale", line->loss_scale);
    if (line->has_val_loss)
        built = built && tv_json_set_number(object, "val_loss", line->val_loss);
    if (line->has_wait)
        built = built && tv_json_set_number(object, "waited_for_rank", line->waited_for) &&
                tv_json_set_number(object, "waited_seconds", line->wait_seconds);
    for (uint64_t i = 0; i < line->extra_count; i++)
        built = built && tv_json_set_number(object, line->extra[i].name, line->extra[i].value);
    if (line->warning)
        built = built && tv_json_set_string(object, "warning", line->warning);
    cJSON *samples = built && line->sample_count ? cJSON_AddArrayToObject(object, "samples") : NULL;
    for (uint64_t i = 0; i < line->sample_count; i++)
        built = built && samples && cJSON_AddItemToArray(samples, cJSON_CreateString(line->samples[i]));
    if (!built) {
        cJSON_Delete(object);
        return tv_fail(TV_E_MEMORY, "out of host memory for a line of metrics");
    }
    *out = object;
    return TV_OK;
}

static tv_status write_events(tv_metrics *metrics, const tv_metrics_line *line) {
    tv_tf_scalar scalars[MAX_SCALARS] = {
        {"loss", line->loss},
        {"grad_norm", line->grad_norm},
        {"lr", line->lr},
        {"tokens_per_second", line->tokens_per_second},
    };
    uint64_t count = line->step > 0 ? 4 : 0;
    if (line->loss_scale > 0)
        scalars[count++] = (tv_tf_scalar){"loss_scale", line->loss_scale};
    if (line->has_val_loss)
        scalars[count++] = (tv_tf_scalar){"val_loss", line->val_loss};
    if (line->has_wait)
        scalars[count++] = (tv_tf_scalar){"waited_seconds", line->wait_seconds};
    for (uint64_t i = 0; i < line->extra_count && count < MAX_SCALARS; i++)
        scalars[count++] = (tv_tf_scalar){line->extra[i].name, line->extra[i].value};
    TV_RETURN_IF_FAILED(tv_tfevents_write_scalars(metrics->events, line->step, scalars, count));
    for (uint64_t i = 0; i < line->sample_count; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "sample/%llu", (unsigned long long)i);
        TV_RETURN_IF_FAILED(tv_tfevents_write_text(metrics->events, line->step, tag, line->samples[i]));
    }
    return TV_OK;
}

tv_status tv_metrics_write(tv_metrics *metrics, const tv_metrics_line *line) {
    cJSON *object = NULL;
    char *text = NULL;
    TV_RETURN_IF_FAILED(line_to_json(line, &object));
    tv_status status = tv_json_print_line(object, &text);
    if (status == TV_OK)
        status = tv_append_line(metrics->file, text, strlen(text));
    if (status == TV_OK)
        status = write_events(metrics, line);
    cJSON_free(text);
    cJSON_Delete(object);
    return status;
}
