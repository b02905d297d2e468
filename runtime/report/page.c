/* Totals and links: see page.h. */
#include "report/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, uint64_t count) {
    double *sorted = values ? malloc((count + 1) * sizeof *sorted) : NULL;
    uint64_t finite = 0;
    for (uint64_t i = 0; sorted && i < count; i++)
        if (isfinite(values[i]))
            sorted[finite++] = values[i];
    if (finite)
        qsort(sorted, finite, sizeof *sorted, by_value);
    double result = finite ? sorted[finite / 2] : NAN;
    free(sorted);
    return result;
}

double tv_report_number_at(const cJSON *tree, const char *section, const char *key) {
    const cJSON *item = tv_json_get(tv_json_get(tree, section), key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

tv_report_totals tv_report_add_up(const tv_report_run *run) {
    tv_report_totals t = {.steps = NAN,
                          .planned_steps = tv_report_number_at(run->config, "train", "steps"),
                          .tokens = NAN,
                          .loss = NAN,
                          .best_val = NAN,
                          .best_val_step = NAN,
                          .seconds = NAN};
    const double *loss = tv_report_values(run, "loss"), *val = tv_report_values(run, "val_loss");
    const double *tokens = tv_report_values(run, "tokens"),
                 *rate = tv_report_values(run, "tokens_per_second");
    for (uint64_t i = 0; i < run->line_count; i++) {
        t.steps = run->steps[i];
        if (loss && isfinite(loss[i]))
            t.loss = loss[i];
        t.not_finite += run->steps[i] > 0 && loss && !isfinite(loss[i]);
        if (val && isfinite(val[i]) && !(val[i] >= t.best_val)) {
            t.best_val = val[i];
            t.best_val_step = run->steps[i];
        }
        if (tokens && isfinite(tokens[i])) {
            double new = isfinite(t.tokens) ? tokens[i] - t.tokens : tokens[i];
            if (rate && rate[i] > 0 && new > 0)
                t.seconds = (isfinite(t.seconds) ? t.seconds : 0) + new / rate[i];
            t.tokens = tokens[i];
        }
    }
    t.tokens_per_second = median(rate, run->line_count);
    return t;
}

/* How the page reaches `path`: both are relative to the working directory, or both absolute. NULL where that
 * cannot be told from the texts alone. The caller frees. */
static char *make_link(const char *page_path, const char *path) {
    if ((page_path[0] == '/') != (path[0] == '/') || strstr(page_path, "..") || strstr(path, ".."))
        return path[0] == '/' ? tv_format("%s", path) : NULL;
    while (strncmp(page_path, "./", 2) == 0)
        page_path += 2;
    while (strncmp(path, "./", 2) == 0)
        path += 2;
    /* Whole components that both have are left out; each other folder of the page is one step up. */
    uint64_t common = 0;
    for (uint64_t i = 0; page_path[i] && page_path[i] == path[i]; i++)
        if (path[i] == '/')
            common = i + 1;
    uint64_t ups = 0;
    for (const char *at = page_path + common; (at = strchr(at, '/')); at++)
        ups++;
    char *link = malloc(3 * ups + strlen(path + common) + 3);
    if (!link)
        return NULL;
    link[0] = '\0';
    for (uint64_t i = 0; i < ups; i++)
        strcat(link, "../");
    /* A first component with a colon would read as a scheme. */
    if (!ups)
        strcat(link, "./");
    return strcat(link, path + common);
}

void tv_report_write_link(tv_report_page *page, const char *path, const char *text) {
    char *link = page->out ? make_link(page->out, path) : NULL;
    if (link) {
        tv_html_raw(&page->html, "<a href=\"");
        tv_html_href(&page->html, link);
        tv_html_raw(&page->html, "\">");
    }
    tv_html_text(&page->html, text);
    tv_html_raw(&page->html, link ? "</a>" : "");
    free(link);
}
