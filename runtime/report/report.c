/* The page of the report, section by section: see report.h. */
#include "report/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "report/assets.h"
#include "report/chain.h"
#include "report/curves.h"
#include "report/facts.h"
#include "report/lesson.h"
#include "report/page.h"
#include "report/pipeline.h"
#include "report/rounds.h"
#include "report/settings.h"
#include "report/stage.h"

/* What the page is called. */
static void write_name(tv_report_page *p) {
    const char *title = tv_report_pipeline_text(p->pipeline, "title");
    if (title[0])
        tv_html_text(&p->html, title);
    else if (p->count == 1)
        tv_html_text(&p->html, p->names[0]);
    else
        tv_html_format(&p->html, "%llu runs", (unsigned long long)p->count);
}

static void write_head(tv_report_page *p) {
    tv_html *html = &p->html;
    tv_html_raw(html, "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
                      "<meta name=\"generator\" content=\"trivium report\"><title>");
    write_name(p);
    tv_html_raw(html, " - trivium</title>\n<style>\n");
    tv_html_raw(html, tv_report_css);
    for (uint64_t i = 0; i < p->count && p->count > 1; i++)
        tv_html_format(html, "body:has(#show%llu:not(:checked)) .r%llu{display:none}\n",
                       (unsigned long long)i, (unsigned long long)i);
    tv_html_raw(html, "</style></head>\n<body><main>\n");
}

static void write_title(tv_report_page *p) {
    tv_html *html = &p->html;
    char date[64] = "";
    time_t now = (time_t)tv_wall_seconds();
    struct tm parts;
    if (gmtime_r(&now, &parts))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M UTC", &parts);
    tv_html_raw(html, "<header><h1>");
    write_name(p);
    tv_html_raw(html, "</h1><p class=\"sub\">");
    if (tv_report_pipeline_text(p->pipeline, "intro")[0]) {
        tv_html_text(html, tv_report_pipeline_text(p->pipeline, "intro"));
        tv_html_raw(html, " &middot; ");
    } else if (p->count == 1 && p->runs[0].stage) {
        tv_html_text(html, p->runs[0].stage);
        tv_html_raw(html, " &middot; ");
    }
    if (p->nonce)
        tv_html_raw(html, "<span id=\"live\">following the runs</span></p></header>\n");
    else
        tv_html_format(html, "report of %s</p></header>\n", date);
}

static void write_notes(tv_report_page *p) {
    tv_html *html = &p->html;
    for (uint64_t i = 0; i < p->count; i++) {
        const tv_report_run *run = &p->runs[i];
        uint64_t not_finite = tv_report_add_up(run).not_finite;
        const char *note = NULL;
        if (run->line_count == 0)
            note = "has no steps in metrics.jsonl yet.";
        else if (run->torn && !p->nonce) /* a line that is being written is none to mention */
            note = "ends in a line that was cut short while it was written; that line is left out.";
        if (note) {
            tv_html_raw(html, "<p class=\"note\"><b>");
            tv_html_text(html, p->names[i]);
            tv_html_format(html, "</b> %s</p>\n", note);
        }
        if (run->warning) {
            char step[40];
            tv_html_raw(html, "<p class=\"note\"><b>");
            tv_html_text(html, p->names[i]);
            tv_html_format(html, "</b> warns at %llu step%s, the last time at step %s: ",
                           (unsigned long long)run->warning_count, run->warning_count == 1 ? "" : "s",
                           tv_html_count(run->warning_step, step));
            tv_html_text(html, run->warning);
            tv_html_raw(html, "</p>\n");
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

/* A perplexity is of tokens: losses of comparisons and of policies have none. */
static bool is_of_tokens(const tv_report_run *run) {
    return run->stage && (strcmp(run->stage, "pretrain") == 0 || strcmp(run->stage, "sft") == 0);
}

/* Losses where they are what the stage is judged by, and what else it is judged by. */
static void write_tiles(tv_html *html, const tv_report_run *run, const tv_report_totals *t) {
    char value[40], more[40], detail[96] = "";
    const char *label;
    bool judged = false;
    tv_html_raw(html, "<div class=\"tiles\">");
    for (uint64_t i = 0; i < tv_report_fact_count && !is_of_tokens(run); i++)
        if (tv_report_fact(run, i, &label, value)) {
            write_tile(html, value, label, "");
            judged = true;
        }
    if (isfinite(t->loss) && !judged)
        write_tile(html, format_loss(t->loss, value), "last training loss", "");
    if (isfinite(t->best_val) && !judged) {
        bool perplexity = is_of_tokens(run);
        snprintf(detail, sizeof detail, "step %s%s%s", tv_html_count(t->best_val_step, value),
                 perplexity ? ", perplexity " : "", perplexity ? tv_html_number(exp(t->best_val), more) : "");
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

static void write_comparison(tv_report_page *p) {
    tv_html *html = &p->html;
    char text[40];
    tv_html_raw(html,
                "<div class=\"scroll\"><table><thead><tr><th>run</th><th>stage</th><th class=\"n\">steps</th>"
                "<th class=\"n\">tokens</th><th class=\"n\">last loss</th>"
                "<th class=\"n\">best validation</th><th class=\"n\">at step</th>"
                "<th class=\"n\">tokens/s</th><th class=\"n\">time</th></tr></thead><tbody>\n");
    for (uint64_t i = 0; i < p->count; i++) {
        tv_report_totals t = tv_report_add_up(&p->runs[i]);
        tv_html_format(html, "<tr><td><span class=\"key c%llu\"></span>",
                       (unsigned long long)(i % TV_CHART_COLORS));
        tv_html_text(html, p->names[i]);
        tv_html_raw(html, "</td><td>");
        tv_html_text(html, p->runs[i].stage ? p->runs[i].stage : "");
        tv_html_raw(html, "</td>");
        write_cell(html, tv_html_count(t.steps, text));
        write_cell(html, tv_html_count(t.tokens, text));
        /* PPO's losses say nothing of how good it is. */
        bool losses = !p->runs[i].stage ||
                      (strcmp(p->runs[i].stage, "ppo") != 0 && strcmp(p->runs[i].stage, "grpo") != 0);
        write_cell(html, losses ? format_loss(t.loss, text) : "");
        write_cell(html, losses ? format_loss(t.best_val, text) : "");
        write_cell(html, tv_html_count(t.best_val_step, text));
        write_cell(html, tv_html_count(t.tokens_per_second, text));
        write_cell(html, tv_html_duration(t.seconds, text));
        tv_html_raw(html, "</tr>\n");
    }
    tv_html_raw(html, "</tbody></table></div>\n");
}

static void write_summary(tv_report_page *p) {
    tv_report_totals first = tv_report_add_up(&p->runs[0]);
    if (p->count == 1 && !p->pipeline)
        tv_report_write_lesson(p);
    if (p->count > 1)
        write_comparison(p);
    else if (p->runs[0].line_count)
        write_tiles(&p->html, &p->runs[0], &first);
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
static void write_run_samples(tv_html *html, const tv_report_run *run) {
    uint64_t last = run->sample_count - 1;
    while (last > 0 && run->samples[last - 1].step == run->samples[run->sample_count - 1].step)
        last--;
    for (uint64_t s = last; s < run->sample_count && s < last + MAX_SAMPLES; s++)
        write_sample(html, &run->samples[s]);
    if (last == 0)
        return;
    uint64_t from = last > MAX_SAMPLES ? last - MAX_SAMPLES : 0;
    tv_html_format(html, "<details><summary>%llu earlier</summary>\n", (unsigned long long)(last - from));
    for (uint64_t s = last; s > from; s--)
        write_sample(html, &run->samples[s - 1]);
    tv_html_raw(html, "</details>\n");
}

static void write_samples(tv_report_page *p) {
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
        write_run_samples(html, run);
    }
}

static void write_settings(tv_report_page *p) {
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

static void write_file(tv_report_page *p, const tv_report_run *run, const char *folder, const char *name) {
    char *path = tv_format("%s/%s%s", run->path, folder, name), *text = tv_format("%s%s", folder, name);
    tv_html_raw(&p->html, "<li>");
    if (path && text)
        tv_report_write_link(p, path, text);
    tv_html_raw(&p->html, "</li>");
    free(path);
    free(text);
}

static void write_files(tv_report_page *p) {
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

static void write_foot(tv_report_page *p) {
    tv_html_raw(&p->html,
                "<footer>Written by trivium report. Curves of long runs are thinned to the lowest and "
                "highest of neighbouring steps; metrics.jsonl has every one.</footer>\n"
                "</main>\n");
    if (p->nonce) {
        tv_html_raw(&p->html, "<script nonce=\"");
        tv_html_text(&p->html, p->nonce);
        tv_html_raw(&p->html, "\">\n");
    } else {
        tv_html_raw(&p->html, "<script>\n");
    }
    tv_html_raw(&p->html, tv_report_script);
    if (p->nonce)
        tv_html_raw(&p->html, tv_report_follow_script);
    tv_html_raw(&p->html, "</script></body></html>\n");
}

static void write_workflow(tv_report_page *p) {
    tv_report_write_workflow(p, p->pipeline);
    tv_report_write_answers(p, p->pipeline);
    tv_report_write_tables(p, p->pipeline);
}

/* Runs of different stages have nothing to lie over each other: each gets its own part. */
static void write_stages(tv_report_page *p) {
    tv_report_page one = *p;
    one.count = 1;
    for (uint64_t i = 0; i < p->count; i++) {
        one.runs = &p->runs[i];
        one.names = &p->names[i];
        one.chart_prefix = p->names[i];
        tv_html_raw(&one.html, "<h2>");
        const tv_report_stage *stage = tv_report_stage_of(one.runs);
        tv_html_text(&one.html, stage ? stage->heading : one.runs->stage ? one.runs->stage : one.names[0]);
        tv_html_raw(&one.html, "</h2>\n");
        tv_report_write_lesson(&one);
        write_summary(&one);
        tv_report_write_stage_curves(&one);
        if (one.runs->sample_count) {
            tv_html_raw(&one.html, "<details><summary>What it wrote on the way</summary>\n");
            write_run_samples(&one.html, one.runs);
            tv_html_raw(&one.html, "</details>\n");
        }
    }
    p->html = one.html;
}

typedef void (*section)(tv_report_page *);

/* The page from top to bottom; a new section is a new row. */
static const section of_runs[] = {
    write_head,    write_title,    write_notes, write_summary, tv_report_write_curves,
    write_samples, write_settings, write_files, write_foot};
static const section of_a_pipeline[] = {write_head,   write_title,    write_workflow, write_notes,
                                        write_stages, write_settings, write_files,    write_foot};

static const section of_rounds[] = {
    write_head,  write_title, tv_report_write_rounds, write_notes, tv_report_write_curves, write_settings,
    write_files, write_foot};

/* The directory's name, or the whole path where another run has the same name. */
static void choose_names(tv_report_page *p) {
    for (uint64_t i = 0; i < p->count; i++) {
        p->names[i] = p->runs[i].name;
        for (uint64_t j = 0; j < p->count; j++)
            if (j != i && strcmp(p->runs[i].name, p->runs[j].name) == 0)
                p->names[i] = p->runs[i].path;
    }
}

/* Rounds are a directory of runs. */
static tv_status load_rounds(tv_report_page *p, const char *directory) {
    TV_RETURN_IF_FAILED(tv_report_rounds_load(directory, &p->runs, &p->count, &p->pipeline));
    const char **names = realloc(p->names, (p->count + 1) * sizeof *names);
    if (!names)
        return tv_fail(TV_E_MEMORY, "out of host memory for a report");
    p->names = names;
    return TV_OK;
}

/* Runs that are steps of one workflow, with those that they began from, get its diagram. */
static tv_status make_chain(tv_report_page *p) {
    uint64_t given = p->count;
    TV_RETURN_IF_FAILED(tv_report_chain_complete(&p->runs, &p->count));
    if (!tv_report_chain_is_one(p->runs, p->count))
        while (p->count > given)
            tv_report_run_free(&p->runs[--p->count]);
    const char **names = realloc(p->names, (p->count + 1) * sizeof *names);
    if (!names)
        return tv_fail(TV_E_MEMORY, "out of host memory for a report");
    p->names = names;
    if (!tv_report_chain_is_one(p->runs, p->count))
        return TV_OK;
    tv_report_chain_sort(p->runs, p->count);
    p->pipeline = tv_report_chain_pipeline(p->runs, p->count);
    return p->pipeline ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a report");
}

/* The page's text into `page`, which the caller frees. */
static tv_status make(const char *const *runs, uint64_t run_count, const char *pipeline, const char *out,
                      const char *nonce, char **page, uint64_t *size) {
    tv_status status = TV_OK;
    tv_report_page p = {.chart_prefix = "",
                        .runs = calloc(run_count + 1, sizeof *p.runs),
                        .names = calloc(run_count + 1, sizeof *p.names),
                        .out = out,
                        .nonce = nonce};
    *page = NULL;
    if (!p.runs || !p.names) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
        goto done;
    }
    if (run_count == 0) {
        status = tv_fail(TV_E_USAGE, "expected at least one run directory");
        goto done;
    }
    const bool rounds = run_count == 1 && !pipeline && tv_report_is_rounds(runs[0]);
    for (; !rounds && p.count < run_count; p.count++) {
        status = tv_report_run_load(runs[p.count], &p.runs[p.count]);
        if (status != TV_OK)
            goto done;
    }
    status = rounds     ? load_rounds(&p, runs[0])
             : pipeline ? tv_report_pipeline_read(pipeline, &p.pipeline)
                        : make_chain(&p);
    if (status != TV_OK)
        goto done;
    choose_names(&p);
    const section *sections = rounds ? of_rounds : p.pipeline ? of_a_pipeline : of_runs;
    uint64_t section_count = rounds       ? TV_COUNT(of_rounds)
                             : p.pipeline ? TV_COUNT(of_a_pipeline)
                                          : TV_COUNT(of_runs);
    for (uint64_t i = 0; i < section_count; i++)
        sections[i](&p);
    if (p.html.failed) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
        goto done;
    }
    *page = p.html.text;
    *size = p.html.size;
    p.html.text = NULL;
done:
    for (uint64_t i = 0; i < p.count; i++)
        tv_report_run_free(&p.runs[i]);
    free(p.runs);
    free(p.names);
    free(p.html.text);
    cJSON_Delete(p.pipeline);
    return status;
}

tv_status tv_report_write(const char *const *runs, uint64_t run_count, const char *pipeline,
                          const char *out) {
    char *page;
    uint64_t size;
    TV_RETURN_IF_FAILED(make(runs, run_count, pipeline, out, NULL, &page, &size));
    tv_status status = tv_write_named_file(out, page, size);
    free(page);
    return status;
}

tv_status tv_report_make(const char *const *runs, uint64_t run_count, const char *pipeline, const char *nonce,
                         char **page, uint64_t *size) {
    return make(runs, run_count, pipeline, NULL, nonce, page, size);
}
