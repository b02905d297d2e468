/* The page of the report, section by section: see report.h. */
#include "train/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "train/report_assets.h"
#include "train/report_chart.h"
#include "train/report_html.h"
#include "train/report_run.h"
#include "train/report_settings.h"

typedef struct page {
    tv_html html;
    tv_report_run *runs;
    const char **names; /* as shown: the directory's name, or its path where two are alike */
    uint64_t count;
    const char *out;
} page;

/* What one run comes to. NaN where unknown. */
typedef struct totals {
    double steps, planned_steps, tokens, loss, best_val, best_val_step, tokens_per_second, seconds;
    uint64_t not_finite;
} totals;

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

static double number_at(const cJSON *tree, const char *section, const char *key) {
    const cJSON *item = tv_json_get(tv_json_get(tree, section), key);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

static totals add_up(const tv_report_run *run) {
    totals t = {.steps = NAN,
                .planned_steps = number_at(run->config, "train", "steps"),
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
        t.not_finite += loss && !isfinite(loss[i]);
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

static void write_head(page *p) {
    tv_html *html = &p->html;
    tv_html_raw(html, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<meta name=\"generator\" content=\"trivium report\"><title>");
    if (p->count == 1)
        tv_html_text(html, p->names[0]);
    else
        tv_html_format(html, "%llu runs", (unsigned long long)p->count);
    tv_html_raw(html, " - trivium</title>\n<style>\n");
    tv_html_raw(html, tv_report_css);
    for (uint64_t i = 0; i < p->count && p->count > 1; i++)
        tv_html_format(html, "body:has(#show%llu:not(:checked)) .r%llu{display:none}\n",
                       (unsigned long long)i, (unsigned long long)i);
    tv_html_raw(html, "</style></head>\n<body><main>\n");
}

static void write_title(page *p) {
    tv_html *html = &p->html;
    char date[64] = "";
    time_t now = (time_t)tv_wall_seconds();
    struct tm parts;
    if (gmtime_r(&now, &parts))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &parts);
    tv_html_raw(html, "<header><h1>");
    if (p->count == 1)
        tv_html_text(html, p->names[0]);
    else
        tv_html_format(html, "%llu runs", (unsigned long long)p->count);
    tv_html_raw(html, "</h1><p class=\"sub\">");
    if (p->count == 1 && p->runs[0].stage) {
        tv_html_text(html, p->runs[0].stage);
        tv_html_raw(html, " &middot; ");
    }
    tv_html_format(html, "report of %s</p></header>\n", date);
}

static void write_notes(page *p) {
    tv_html *html = &p->html;
    for (uint64_t i = 0; i < p->count; i++) {
        const tv_report_run *run = &p->runs[i];
        uint64_t not_finite = add_up(run).not_finite;
        const char *note = NULL;
        if (run->line_count == 0)
            note = "has no steps in metrics.jsonl yet.";
        else if (run->torn)
            note = "ends in a line that was cut short while it was written; that line is left out.";
        if (note) {
            tv_html_raw(html, "<p class=\"note\"><b>");
            tv_html_text(html, p->names[i]);
            tv_html_format(html, "</b> %s</p>\n", note);
        }
        if (not_finite) {
            tv_html_raw(html, "<p class=\"note\"><b>");
            tv_html_text(html, p->names[i]);
            tv_html_format(html, "</b> has %llu step%s without a finite loss (gaps in the curves).</p>\n",
                           (unsigned long long)not_finite, not_finite == 1 ? "" : "s");
        }
    }
}

/* Losses side by side have the same number of digits. */
static const char *format_loss(double loss, char text[40]) {
    snprintf(text, 40, isfinite(loss) ? "%.4f" : "n/a", loss);
    return text;
}

static void write_tile(tv_html *html, const char *value, const char *label, const char *detail) {
    tv_html_raw(html, "<div class=\"tile\"><b>");
    tv_html_text(html, value);
    tv_html_raw(html, "</b><span>");
    tv_html_text(html, label);
    tv_html_raw(html, detail[0] ? "<br>" : "");
    tv_html_text(html, detail);
    tv_html_raw(html, "</span></div>");
}

static void write_tiles(tv_html *html, const totals *t) {
    char value[40], more[40], detail[96] = "";
    tv_html_raw(html, "<div class=\"tiles\">");
    if (isfinite(t->loss))
        write_tile(html, format_loss(t->loss, value), "last training loss", "");
    if (isfinite(t->best_val)) {
        snprintf(detail, sizeof detail, "step %s, perplexity %s", tv_html_count(t->best_val_step, value),
                 tv_html_number(exp(t->best_val), more));
        write_tile(html, format_loss(t->best_val, value), "best validation loss", detail);
    }
    if (isfinite(t->steps)) {
        detail[0] = '\0';
        if (isfinite(t->planned_steps) && t->planned_steps > 0)
            snprintf(detail, sizeof detail, "of %s", tv_html_count(t->planned_steps, value));
        write_tile(html, tv_html_count(t->steps, value), "steps", detail);
    }
    if (isfinite(t->tokens))
        write_tile(html, tv_html_count(t->tokens, value), "tokens trained on", "");
    if (isfinite(t->tokens_per_second))
        write_tile(html, tv_html_count(t->tokens_per_second, value), "tokens/s", "median");
    if (isfinite(t->seconds))
        write_tile(html, tv_html_duration(t->seconds, value), "in training steps", "");
    tv_html_raw(html, "</div>\n");
}

static void write_cell(tv_html *html, const char *text) {
    tv_html_raw(html, "<td class=\"n\">");
    tv_html_text(html, text);
    tv_html_raw(html, "</td>");
}

static void write_comparison(page *p) {
    tv_html *html = &p->html;
    char text[40];
    tv_html_raw(html,
                "<div class=\"scroll\"><table><thead><tr><th>run</th><th>stage</th><th class=\"n\">steps</th>"
                "<th class=\"n\">tokens</th><th class=\"n\">last loss</th>"
                "<th class=\"n\">best validation</th><th class=\"n\">at step</th>"
                "<th class=\"n\">tokens/s</th><th class=\"n\">time</th></tr></thead><tbody>\n");
    for (uint64_t i = 0; i < p->count; i++) {
        totals t = add_up(&p->runs[i]);
        tv_html_format(html, "<tr><td><span class=\"key c%llu\"></span>",
                       (unsigned long long)(i % TV_CHART_COLORS));
        tv_html_text(html, p->names[i]);
        tv_html_raw(html, "</td><td>");
        tv_html_text(html, p->runs[i].stage ? p->runs[i].stage : "");
        tv_html_raw(html, "</td>");
        write_cell(html, tv_html_count(t.steps, text));
        write_cell(html, tv_html_count(t.tokens, text));
        write_cell(html, format_loss(t.loss, text));
        write_cell(html, format_loss(t.best_val, text));
        write_cell(html, tv_html_count(t.best_val_step, text));
        write_cell(html, tv_html_count(t.tokens_per_second, text));
        write_cell(html, tv_html_duration(t.seconds, text));
        tv_html_raw(html, "</tr>\n");
    }
    tv_html_raw(html, "</tbody></table></div>\n");
}

static void write_summary(page *p) {
    totals first = add_up(&p->runs[0]);
    if (p->count > 1)
        write_comparison(p);
    else if (p->runs[0].line_count)
        write_tiles(&p->html, &first);
}

static void write_legend(page *p) {
    tv_html *html = &p->html;
    if (p->count > 1) {
        tv_html_raw(html, "<div class=\"legend runs\">");
        for (uint64_t i = 0; i < p->count; i++) {
            tv_html_format(html,
                           "<label><input type=\"checkbox\" id=\"show%llu\" checked><span class=\"key "
                           "c%llu\"></span>",
                           (unsigned long long)i, (unsigned long long)(i % TV_CHART_COLORS));
            tv_html_text(html, p->names[i]);
            tv_html_raw(html, "</label>");
        }
        tv_html_raw(html, "</div>\n");
    }
    bool smoothed = false, validated = false;
    for (uint64_t i = 0; i < p->count; i++) {
        smoothed = smoothed || p->runs[i].line_count >= TV_CHART_SMOOTH_FROM;
        validated = validated || tv_report_values(&p->runs[i], "val_loss");
    }
    tv_html_raw(html, "<div class=\"legend\"><span><span class=\"key\"></span>training");
    if (smoothed)
        tv_html_raw(html,
                    ", mean of neighbouring steps</span><span><span class=\"key thin\"></span>training, "
                    "every step");
    if (validated)
        tv_html_raw(html, "</span><span><span class=\"key dash\"></span>validation");
    tv_html_raw(html, "</span></div>\n");
}

/* Adds the series `name` of every run that has it. */
static uint64_t add_lines(const page *p, const char *name, const char *what, bool sparse,
                          tv_chart_line *lines, char **labels) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < p->count; i++) {
        const double *values = tv_report_values(&p->runs[i], name);
        uint64_t finite = 0;
        for (uint64_t j = 0; values && j < p->runs[i].line_count; j++)
            finite += isfinite(values[j]) ? 1 : 0;
        if (!finite)
            continue;
        labels[count] = p->count > 1 ? tv_format("%s %s", p->names[i], what) : tv_format("%s", what);
        lines[count] = (tv_chart_line){.label = labels[count] ? labels[count] : what,
                                       .run = i,
                                       .sparse = sparse || finite < p->runs[i].line_count / 2,
                                       .x = p->runs[i].steps,
                                       .y = values,
                                       .count = p->runs[i].line_count};
        count++;
    }
    return count;
}

/* A chart of one series of all runs and, where `second` is given, of a sparse one beside it. */
static bool write_series(page *p, tv_chart chart, const char *first, const char *first_what,
                         const char *second, const char *second_what) {
    tv_chart_line *lines = calloc(2 * p->count + 1, sizeof *lines);
    char **labels = calloc(2 * p->count + 1, sizeof *labels);
    bool drawn = false;
    if (lines && labels) {
        uint64_t count = add_lines(p, first, first_what, false, lines, labels);
        if (second)
            count += add_lines(p, second, second_what, true, lines + count, labels + count);
        chart.lines = lines;
        chart.line_count = count;
        drawn = tv_chart_write(&p->html, &chart);
    } else {
        p->html.failed = true;
    }
    for (uint64_t i = 0; labels && i < 2 * p->count; i++)
        free(labels[i]);
    free(labels);
    free(lines);
    return drawn;
}

/* The clip of the gradient norm, where all runs agree on one. */
static double common_clip(const page *p) {
    double clip = number_at(p->runs[0].config, "train", "grad_clip");
    for (uint64_t i = 1; i < p->count; i++)
        if (number_at(p->runs[i].config, "train", "grad_clip") != clip)
            return NAN;
    return clip > 0 ? clip : NAN;
}

static bool has_own_chart(const char *name) {
    static const char *const known[] = {"loss", "val_loss", "lr", "grad_norm", "tokens_per_second", "tokens"};
    for (uint64_t i = 0; i < TV_COUNT(known); i++)
        if (strcmp(known[i], name) == 0)
            return true;
    return false;
}

/* Numbers that only some stages or runs record, one chart each. */
static void write_other_charts(page *p) {
    for (uint64_t i = 0; i < p->count; i++) {
        for (uint64_t s = 0; s < p->runs[i].series_count; s++) {
            const char *name = p->runs[i].series[s].name;
            bool before = false;
            for (uint64_t j = 0; j < i; j++)
                before = before || tv_report_values(&p->runs[j], name);
            if (!before && !has_own_chart(name))
                write_series(p, (tv_chart){.id = name, .title = name, .unit = "", .reference = NAN}, name,
                             name, NULL, NULL);
        }
    }
}

static void write_charts(page *p) {
    bool any = false;
    for (uint64_t i = 0; i < p->count; i++)
        any = any || p->runs[i].line_count;
    if (!any)
        return;
    tv_html_raw(&p->html, "<h2>Curves</h2>\n");
    write_legend(p);
    tv_html_raw(&p->html, "<div class=\"charts\">\n");
    write_series(
        p,
        (tv_chart){.id = "loss", .title = "Loss", .unit = "nats per token", .wide = true, .reference = NAN},
        "loss", "training", "val_loss", "validation");
    write_series(p,
                 (tv_chart){.id = "lr",
                            .title = "Learning rate",
                            .unit = "",
                            .exact = true,
                            .from_zero = true,
                            .reference = NAN},
                 "lr", "lr", NULL, NULL);
    write_series(p,
                 (tv_chart){.id = "grad-norm",
                            .title = "Gradient norm",
                            .unit = "before clipping",
                            .reference = common_clip(p),
                            .reference_label = "clip"},
                 "grad_norm", "norm", NULL, NULL);
    write_series(p,
                 (tv_chart){.id = "throughput",
                            .title = "Throughput",
                            .unit = "tokens per second",
                            .from_zero = true,
                            .reference = NAN},
                 "tokens_per_second", "tokens/s", NULL, NULL);
    write_other_charts(p);
    tv_html_raw(&p->html, "</div>\n");
}

enum { MAX_SAMPLE_BYTES = 4000, MAX_SAMPLES = 100 };

static void write_sample(tv_html *html, const tv_report_sample *sample) {
    char text[40];
    tv_html_raw(html, "<div class=\"sample\">");
    if (isfinite(sample->step))
        tv_html_format(html, "<i>step %s</i>", tv_html_count(sample->step, text));
    tv_html_raw(html, "<pre>");
    if (sample->prompt) {
        tv_html_raw(html, "<span class=\"prompt\">");
        tv_html_text_cut(html, sample->prompt, MAX_SAMPLE_BYTES);
        tv_html_raw(html, "</span>");
    }
    tv_html_text_cut(html, sample->text, MAX_SAMPLE_BYTES);
    tv_html_raw(html, "</pre></div>\n");
}

/* The texts of the last step, and the earlier ones folded away. */
static void write_samples(page *p) {
    tv_html *html = &p->html;
    bool any = false;
    for (uint64_t i = 0; i < p->count; i++) {
        const tv_report_run *run = &p->runs[i];
        if (!run->sample_count)
            continue;
        tv_html_raw(html, any ? "" : "<h2>What the model writes</h2>\n");
        any = true;
        if (p->count > 1) {
            tv_html_raw(html, "<h3>");
            tv_html_text(html, p->names[i]);
            tv_html_raw(html, "</h3>\n");
        }
        uint64_t last = run->sample_count - 1;
        while (last > 0 && run->samples[last - 1].step == run->samples[run->sample_count - 1].step)
            last--;
        for (uint64_t s = last; s < run->sample_count && s < last + MAX_SAMPLES; s++)
            write_sample(html, &run->samples[s]);
        if (last > 0) {
            uint64_t from = last > MAX_SAMPLES ? last - MAX_SAMPLES : 0;
            tv_html_format(html, "<details><summary>%llu earlier</summary>\n",
                           (unsigned long long)(last - from));
            for (uint64_t s = last; s > from; s--)
                write_sample(html, &run->samples[s - 1]);
            tv_html_raw(html, "</details>\n");
        }
    }
}

static void write_settings(page *p) {
    const cJSON **trees = calloc(p->count, sizeof(const cJSON *));
    if (!trees) {
        p->html.failed = true;
        return;
    }
    for (uint64_t i = 0; i < p->count; i++)
        trees[i] = p->runs[i].facts;
    tv_report_settings_write(&p->html, "Device and versions", trees, p->names, p->count);
    for (uint64_t i = 0; i < p->count; i++)
        trees[i] = p->runs[i].config;
    tv_report_settings_write(&p->html, "Settings", trees, p->names, p->count);
    free(trees);
}

/* How the page reaches `path`: both are relative to the working directory, or both absolute. NULL where that
 * cannot be told from the texts alone. The caller frees. */
static char *link_from(const char *page_path, const char *path) {
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

static void write_file(page *p, const tv_report_run *run, const char *folder, const char *name) {
    char *path = tv_format("%s/%s%s", run->path, folder, name);
    char *link = path ? link_from(p->out, path) : NULL;
    tv_html_raw(&p->html, "<li>");
    if (link) {
        tv_html_raw(&p->html, "<a href=\"");
        tv_html_href(&p->html, link);
        tv_html_raw(&p->html, "\">");
    }
    tv_html_text(&p->html, folder);
    tv_html_text(&p->html, name);
    tv_html_raw(&p->html, link ? "</a></li>" : "</li>");
    free(link);
    free(path);
}

static void write_files(page *p) {
    tv_html_raw(&p->html, "<h2>Files</h2>\n");
    for (uint64_t i = 0; i < p->count; i++) {
        const tv_report_run *run = &p->runs[i];
        tv_html_raw(&p->html, "<p class=\"sub\">");
        tv_html_text(&p->html, run->path);
        tv_html_raw(&p->html, "</p><ul class=\"files\">");
        for (uint64_t f = 0; f < run->file_count; f++) {
            if (strcmp(run->files[f], "checkpoints") != 0) {
                write_file(p, run, "", run->files[f]);
                continue;
            }
            char *folder = tv_format("%s/checkpoints", run->path);
            char **names = NULL;
            uint64_t count = 0;
            if (folder && tv_list_dir(folder, &names, &count) == TV_OK)
                for (uint64_t c = 0; c < count; c++)
                    write_file(p, run, "checkpoints/", names[c]);
            tv_free_names(&names, count);
            free(folder);
        }
        tv_html_raw(&p->html, "</ul>\n");
    }
}

static void write_foot(page *p) {
    tv_html_raw(&p->html,
                "<footer>Written by trivium report. Curves of long runs are thinned to the lowest and "
                "highest of neighbouring steps; metrics.jsonl has every one.</footer>\n"
                "</main>\n<script>\n");
    tv_html_raw(&p->html, tv_report_script);
    tv_html_raw(&p->html, "</script></body></html>\n");
}

/* The page from top to bottom; a new section is a new row. */
static void (*const sections[])(page *) = {write_head,     write_title,  write_notes,
                                           write_summary,  write_charts, write_samples,
                                           write_settings, write_files,  write_foot};

/* The directory's name, or the whole path where another run has the same name. */
static void choose_names(page *p) {
    for (uint64_t i = 0; i < p->count; i++) {
        p->names[i] = p->runs[i].name;
        for (uint64_t j = 0; j < p->count; j++)
            if (j != i && strcmp(p->runs[i].name, p->runs[j].name) == 0)
                p->names[i] = p->runs[i].path;
    }
}

tv_status tv_report_write(const char *const *runs, uint64_t run_count, const char *out) {
    tv_status status = TV_OK;
    page p = {.runs = calloc(run_count + 1, sizeof *p.runs),
              .names = calloc(run_count + 1, sizeof *p.names),
              .out = out};
    if (!p.runs || !p.names) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
        goto fail;
    }
    if (run_count == 0) {
        status = tv_fail(TV_E_USAGE, "expected at least one run directory");
        goto fail;
    }
    for (; p.count < run_count; p.count++)
        TV_TRY(tv_report_run_load(runs[p.count], &p.runs[p.count]));
    choose_names(&p);
    for (uint64_t i = 0; i < TV_COUNT(sections); i++)
        sections[i](&p);
    if (p.html.failed) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
        goto fail;
    }
    TV_TRY(tv_write_file(out, p.html.text, p.html.size));
fail:
    for (uint64_t i = 0; i < p.count; i++)
        tv_report_run_free(&p.runs[i]);
    free(p.runs);
    free(p.names);
    free(p.html.text);
    return status;
}
