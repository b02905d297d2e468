/* Legends and charts: see curves.h. */
#include "report/curves.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

static void write_legend(tv_report_page *p) {
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
static uint64_t add_lines(const tv_report_page *p, const char *name, const char *what, bool sparse,
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

/* Ids of charts are unique on a page. */
static bool draw(tv_report_page *p, tv_chart chart) {
    char *id = tv_format("%s%s", p->chart_prefix, chart.id);
    chart.id = id;
    bool drawn = id && tv_chart_write(&p->html, &chart);
    p->html.failed = p->html.failed || !id;
    free(id);
    return drawn;
}

/* A chart of one series of all runs and, where `second` is given, of a sparse one beside it. */
static bool write_series(tv_report_page *p, tv_chart chart, const char *first, const char *first_what,
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
        drawn = draw(p, chart);
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
static double common_clip(const tv_report_page *p) {
    double clip = tv_report_number_at(p->runs[0].config, "train", "grad_clip");
    for (uint64_t i = 1; i < p->count; i++)
        if (tv_report_number_at(p->runs[i].config, "train", "grad_clip") != clip)
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
static void write_other_charts(tv_report_page *p) {
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

void tv_report_write_curves(tv_report_page *p) {
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

typedef struct main_chart {
    const char *stage, *series, *title, *unit, *what;
    const char *second, *second_what; /* evaluated now and then, on text that is not trained on */
    bool wide;
} main_chart;

/* What shows whether a stage did its work; the other numbers are folded away. */
static const main_chart main_charts[] = {
    {"pretrain", "loss", "Loss", "nats per token", "training", "val_loss", "validation", true},
    {"sft", "loss", "Loss", "nats per token of the answers", "training", "val_loss", "validation", false},
    {"sft", "mean_token_accuracy", "Token accuracy", "share of tokens that were the likeliest", "training",
     "val_mean_token_accuracy", "validation", false},
    {"reward", "loss", "Loss", "nats per comparison", "training", "val_loss", "validation", false},
    {"reward", "accuracy", "Accuracy", "share of pairs in the people's order", "training", "val_accuracy",
     "validation", false},
    {"dpo", "loss", "Loss", "nats per comparison", "training", "val_loss", "validation", false},
    {"dpo", "rewards/accuracies", "Accuracy", "share of pairs in the people's order", "training", NULL, NULL,
     false},
    {"ppo", "objective/score", "Reward", "mean score of the answers, normalised", "score", NULL, NULL, false},
    {"ppo", "objective/kl", "KL from the fine-tuned model", "nats per answer", "KL", NULL, NULL, false},
    {"ppo", "policy/entropy", "Entropy of the policy", "nats per token", "entropy", NULL, NULL, false},
};

static const main_chart *main_chart_of(const char *stage, const char *series) {
    for (uint64_t i = 0; i < TV_COUNT(main_charts); i++) {
        const main_chart *m = &main_charts[i];
        bool second = m->second && strcmp(m->second, series) == 0;
        if (strcmp(m->stage, stage) == 0 && (second || strcmp(m->series, series) == 0))
            return m;
    }
    return NULL;
}

typedef struct trade {
    double kl, score;
} trade;

static int by_kl(const void *a, const void *b) {
    double x = ((const trade *)a)->kl, y = ((const trade *)b)->kl;
    return (x > y) - (x < y);
}

/* What each step of reinforcement learning earned at which distance from where it began. */
static void write_trade(tv_report_page *p) {
    const tv_report_run *run = &p->runs[0];
    const double *kl = tv_report_values(run, "objective/kl"),
                 *score = tv_report_values(run, "objective/score");
    if (!kl || !score)
        return;
    trade *points = malloc((run->line_count + 1) * sizeof *points);
    double *x = malloc((run->line_count + 1) * sizeof *x), *y = malloc((run->line_count + 1) * sizeof *y);
    uint64_t count = 0;
    if (points && x && y) {
        for (uint64_t i = 0; i < run->line_count; i++)
            if (isfinite(kl[i]) && isfinite(score[i]))
                points[count++] = (trade){kl[i], score[i]};
        qsort(points, count, sizeof *points, by_kl);
        for (uint64_t i = 0; i < count; i++) {
            x[i] = points[i].kl;
            y[i] = points[i].score;
        }
        const tv_chart_line line = {.label = "reward", .sparse = true, .x = x, .y = y, .count = count};
        draw(p, (tv_chart){.id = "trade",
                           .title = "Reward against KL",
                           .unit = "a dot is one iteration",
                           .x_name = "KL",
                           .reference = NAN,
                           .lines = &line,
                           .line_count = 1});
    } else {
        p->html.failed = true;
    }
    free(points);
    free(x);
    free(y);
}

void tv_report_write_stage_curves(tv_report_page *p) {
    const tv_report_run *run = &p->runs[0];
    const char *stage = run->stage ? run->stage : "";
    if (!run->line_count)
        return;
    write_legend(p);
    tv_html_raw(&p->html, "<div class=\"charts\">\n");
    for (uint64_t i = 0; i < TV_COUNT(main_charts); i++) {
        const main_chart *m = &main_charts[i];
        if (strcmp(m->stage, stage) == 0)
            write_series(
                p,
                (tv_chart){
                    .id = m->series, .title = m->title, .unit = m->unit, .wide = m->wide, .reference = NAN},
                m->series, m->what, m->second, m->second_what);
    }
    write_trade(p);
    tv_html_raw(&p->html, "</div>\n<details><summary>Everything else that was recorded</summary>\n"
                          "<div class=\"charts\">\n");
    for (uint64_t s = 0; s < run->series_count; s++) {
        const char *name = run->series[s].name;
        if (!main_chart_of(stage, name) && strcmp(name, "tokens") != 0)
            write_series(p, (tv_chart){.id = name, .title = name, .unit = "", .reference = NAN}, name, name,
                         NULL, NULL);
    }
    tv_html_raw(&p->html, "</div></details>\n");
}
