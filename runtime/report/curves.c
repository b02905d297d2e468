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
                    ", trend of neighbouring steps</span><span><span class=\"key thin\"></span>training, "
                    "every step");
    if (validated)
        tv_html_raw(html, "</span><span><span class=\"key dash\"></span>validation");
    tv_html_raw(html, "</span></div>\n");
}

enum { MOST_CURVES = 8 };

/* A number of metrics.jsonl, and what it is called beside others of its chart. */
typedef struct curve {
    const char *series, *what;
} curve;

enum {
    SHOWS_WORK = 1, /* whether the stage did its work; the others are folded away */
    WIDE = 2,
    EXACT = 4,
    FROM_ZERO = 8,
    CLIPS = 16, /* train.grad_clip is a line in it */
};

/* Numbers that mean the same, and so share an axis. */
typedef struct meaning {
    const char *stage; /* NULL: of every stage; "": of those that have no row here */
    const char *id, *title, *unit;
    curve curves[MOST_CURVES];
    unsigned traits;
} meaning;

#define ORDERED "share of pairs in the people's order"
static const meaning meanings[] = {
    {"pretrain",
     "loss",
     "Loss",
     "nats per token",
     {{"loss", "training"}, {"val_loss", "validation"}},
     SHOWS_WORK | WIDE},
    {"sft",
     "loss",
     "Loss",
     "nats per token of the answers",
     {{"loss", "training"}, {"val_loss", "validation"}},
     SHOWS_WORK},
    {"sft",
     "accuracy",
     "Token accuracy",
     "share of tokens that were the likeliest",
     {{"mean_token_accuracy", "training"}, {"val_mean_token_accuracy", "validation"}},
     SHOWS_WORK},
    {"reward",
     "loss",
     "Loss",
     "nats per comparison",
     {{"loss", "training"}, {"val_loss", "validation"}},
     SHOWS_WORK},
    {"reward",
     "accuracy",
     "Accuracy",
     ORDERED,
     {{"accuracy", "training"}, {"val_accuracy", "validation"}},
     SHOWS_WORK},
    {"reward",
     "margin",
     "Margin",
     "score of the better answer less that of the other",
     {{"margin", "training"}, {"val_margin", "validation"}},
     0},
    {"reward",
     "scores",
     "Scores",
     "of the answers of a group",
     {{"max_reward", "highest"},
      {"mean_reward", "mean"},
      {"min_reward", "lowest"},
      {"val_max_reward", "highest, validation"},
      {"val_mean_reward", "mean, validation"},
      {"val_min_reward", "lowest, validation"}},
     0},
    {"dpo",
     "loss",
     "Loss",
     "nats per comparison",
     {{"loss", "training"}, {"val_loss", "validation"}},
     SHOWS_WORK},
    {"dpo",
     "accuracy",
     "Accuracy",
     ORDERED,
     {{"rewards/accuracies", "training"}, {"val_rewards/accuracies", "validation"}},
     SHOWS_WORK},
    {"dpo",
     "rewards",
     "Implicit rewards",
     "beta times the log-ratio to the reference, where the loss has one",
     {{"rewards/margins", "margin"},
      {"rewards/chosen", "chosen"},
      {"rewards/rejected", "rejected"},
      {"val_rewards/margins", "margin, validation"},
      {"val_rewards/chosen", "chosen, validation"},
      {"val_rewards/rejected", "rejected, validation"}},
     SHOWS_WORK},
    {"dpo",
     "logps",
     "Log-probabilities",
     "nats per answer",
     {{"logps/chosen", "chosen"},
      {"logps/rejected", "rejected"},
      {"val_logps/chosen", "chosen, validation"},
      {"val_logps/rejected", "rejected, validation"}},
     0},
    {"grpo",
     "reward",
     "Reward",
     "mean of an iteration's answers",
     {{"reward/mean", "training"}, {"eval/reward", "held-out prompts"}},
     SHOWS_WORK},
    {"grpo",
     "groups",
     "Groups",
     "share of an iteration's",
     {{"groups/equal", "all rewards the same"}, {"truncated", "answers without an end"}},
     0},
    {"grpo",
     "clip",
     "Clipped tokens",
     "share of the updates' tokens",
     {{"policy/clip_low", "ratio too small"}, {"policy/clip_high", "ratio too large"}},
     0},
    {"grpo", "length", "Length", "tokens per answer", {{"response_tokens", "training"}}, 0},
    {"grpo", "entropy", "Entropy", "nats per token", {{"policy/entropy", "policy"}}, 0},
    {"ppo",
     "reward",
     "Reward",
     "mean score of the answers, normalised",
     {{"objective/score", "training"}, {"eval/score", "held-out prompts"}},
     SHOWS_WORK},
    {"ppo",
     "kl",
     "KL from the reference",
     "nats per answer",
     {{"objective/kl", "training"}, {"eval/kl", "held-out prompts"}},
     SHOWS_WORK},
    {"ppo",
     "length",
     "Length",
     "tokens per answer",
     {{"response_tokens", "training"}},
     SHOWS_WORK | FROM_ZERO},
    {"ppo",
     "entropy",
     "Entropy of the policy",
     "nats per token",
     {{"policy/entropy", "entropy"}},
     SHOWS_WORK},
    {"ppo",
     "rewarded",
     "What is rewarded",
     "per answer",
     {{"objective/rlhf_reward", "score less the KL's price"},
      {"objective/non_score_reward", "the KL's price"}},
     0},
    {"ppo",
     "losses",
     "Loss",
     "of the policy, with the value model's share",
     {{"loss", "sum"}, {"loss/policy", "policy"}},
     0},
    {"ppo",
     "objective",
     "Objective on held-out prompts",
     "score less KL, negated; the lowest is the best",
     {{"val_loss", "validation"}},
     0},
    {"ppo",
     "clipped",
     "Clipped",
     "share of tokens",
     {{"policy/clip_frac", "policy"}, {"val/clip_frac", "value"}},
     0},
    {"ppo",
     "seconds",
     "Time of an iteration",
     "seconds",
     {{"seconds/draw", "draw"},
      {"seconds/score", "score"},
      {"seconds/forward", "forward"},
      {"seconds/update", "update"}},
     FROM_ZERO},
    {"", "loss", "Loss", "", {{"loss", "training"}, {"val_loss", "validation"}}, SHOWS_WORK | WIDE},
    {NULL, "lr", "Learning rate", "", {{"lr", "learning rate"}}, EXACT | FROM_ZERO},
    {NULL, "grad-norm", "Gradient norm", "before clipping", {{"grad_norm", "norm"}}, CLIPS},
    {NULL, "throughput", "Throughput", "tokens per second", {{"tokens_per_second", "tokens/s"}}, FROM_ZERO},
};

static const char *stage_of(const tv_report_run *run) {
    const char *stage = run->stage ? run->stage : "";
    for (uint64_t i = 0; i < TV_COUNT(meanings); i++)
        if (meanings[i].stage && strcmp(meanings[i].stage, stage) == 0)
            return stage;
    return "";
}

static bool is_of(const meaning *m, const tv_report_run *run) {
    return !m->stage || strcmp(m->stage, stage_of(run)) == 0;
}

static const char reward_prefix[] = "reward/";

/* What several rewards have each, in one chart. */
typedef struct reward_numbers {
    const char *suffix, *id, *title, *unit;
    bool shows_work;
} reward_numbers;

static const reward_numbers of_rewards[] = {
    {"/mean", "rewards", "Rewards", "mean of each, before its weight", true},
    {"/std", "rewards-std", "Deviation of rewards", "of each, before its weight", false},
    {"/applies", "rewards-applies", "Where rewards apply", "share of the answers", false},
};

/* Of "reward/NAME/mean", of the name; 0: it is another number. */
static uint64_t length_of_reward(const char *series, const reward_numbers *r) {
    uint64_t length = strlen(series), ends = sizeof reward_prefix - 1 + strlen(r->suffix);
    return length > ends && strncmp(series, reward_prefix, sizeof reward_prefix - 1) == 0 &&
                   strcmp(series + length - strlen(r->suffix), r->suffix) == 0
               ? length - ends
               : 0;
}

/* Whether a chart of the table, or of the rewards, shows this number of the run. */
static bool is_known(const tv_report_run *run, const char *series) {
    for (uint64_t i = 0; i < TV_COUNT(meanings); i++)
        for (uint64_t c = 0; is_of(&meanings[i], run) && c < MOST_CURVES && meanings[i].curves[c].series; c++)
            if (strcmp(meanings[i].curves[c].series, series) == 0)
                return true;
    for (uint64_t i = 0; i < TV_COUNT(of_rewards); i++)
        if (length_of_reward(series, &of_rewards[i]))
            return true;
    return strcmp(series, "tokens") == 0;
}

/* The clip of the gradient norm, where all runs agree on one. */
static double common_clip(const tv_report_page *p) {
    double clip = tv_report_number_at(p->runs[0].config, "train", "grad_clip");
    for (uint64_t i = 1; i < p->count; i++)
        if (tv_report_number_at(p->runs[i].config, "train", "grad_clip") != clip)
            return NAN;
    return clip > 0 ? clip : NAN;
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

static bool is_validation(const char *series) {
    return strncmp(series, "val_", 4) == 0 || strncmp(series, "eval/", 5) == 0;
}

/* Adds a number of a run, where it has it, as a line; `label` belongs to the caller. */
static bool add_line(const tv_report_run *run, uint64_t index, const curve *c, const char *label,
                     tv_chart_line *line) {
    const double *values = tv_report_values(run, c->series);
    uint64_t finite = 0;
    for (uint64_t j = 0; values && j < run->line_count; j++)
        finite += isfinite(values[j]) ? 1 : 0;
    *line = (tv_chart_line){.label = label,
                            .run = index,
                            .sparse = is_validation(c->series) || finite < run->line_count / 2,
                            .x = run->steps,
                            .y = values,
                            .count = run->line_count};
    return finite > 0;
}

/* The chart of a meaning, with these curves, of all runs whose stage has it. With one run the colours tell
 * its numbers apart, with several the runs. */
static bool write_curves(tv_report_page *p, const meaning *m, const curve *curves, uint64_t curve_count,
                         const char *stage_named) {
    tv_chart_line *lines = calloc(curve_count * p->count + 1, sizeof *lines);
    char **labels = calloc(curve_count * p->count + 1, sizeof *labels);
    char *id = stage_named ? tv_format("%s-%s", stage_named, m->id) : tv_format("%s", m->id);
    char *title = stage_named ? tv_format("%s: %s", stage_named, m->title) : tv_format("%s", m->title);
    uint64_t count = 0;
    bool made = lines && labels && id && title, drawn = false;
    for (uint64_t i = 0; made && i < p->count; i++) {
        uint64_t training = 0, validation = 0;
        for (uint64_t c = 0; made && is_of(m, &p->runs[i]) && c < curve_count; c++) {
            const char *what = curves[c].what;
            labels[count] = p->count > 1 ? tv_format("%s %s", p->names[i], what) : tv_format("%s", what);
            made = labels[count] != NULL;
            if (made && add_line(&p->runs[i], i, &curves[c], labels[count], &lines[count])) {
                uint64_t *turn = is_validation(curves[c].series) ? &validation : &training;
                lines[count++].color = p->count > 1 ? i : (*turn)++;
            } else {
                free(labels[count]);
                labels[count] = NULL;
            }
        }
    }
    if (made)
        drawn = draw(p, (tv_chart){.id = id,
                                   .title = title,
                                   .unit = m->unit,
                                   .wide = (m->traits & WIDE) != 0,
                                   .exact = (m->traits & EXACT) != 0,
                                   .from_zero = (m->traits & FROM_ZERO) != 0,
                                   .reference = m->traits & CLIPS ? common_clip(p) : NAN,
                                   .reference_label = "clip",
                                   .lines = lines,
                                   .line_count = count});
    p->html.failed = p->html.failed || !made;
    for (uint64_t i = 0; labels && i < count; i++)
        free(labels[i]);
    free(labels);
    free(lines);
    free(title);
    free(id);
    return drawn;
}

static bool write_meaning(tv_report_page *p, const meaning *m, const char *stage_named) {
    uint64_t count = 0;
    while (count < MOST_CURVES && m->curves[count].series)
        count++;
    return write_curves(p, m, m->curves, count, stage_named);
}

/* Several rewards of a run beside each other: curves of the names that it gave them, "reward/NAME/mean". */
static void write_rewards(tv_report_page *p, const reward_numbers *r) {
    uint64_t count = 0, room = 1;
    for (uint64_t i = 0; i < p->count; i++)
        room += p->runs[i].series_count;
    curve *curves = calloc(room, sizeof *curves);
    char **names = calloc(room, sizeof *names);
    bool made = curves && names;
    for (uint64_t i = 0; made && i < p->count; i++)
        for (uint64_t s = 0; made && s < p->runs[i].series_count; s++) {
            const char *series = p->runs[i].series[s].name;
            uint64_t length = length_of_reward(series, r), known = 0;
            while (known < count && strcmp(curves[known].series, series) != 0)
                known++;
            if (!length || known < count)
                continue;
            names[count] = tv_format("%.*s", (int)length, series + sizeof reward_prefix - 1);
            made = names[count] != NULL;
            curves[count] = (curve){series, names[count]};
            count += made;
        }
    const meaning m = {.id = r->id, .title = r->title, .unit = r->unit};
    if (made && count)
        write_curves(p, &m, curves, count, NULL);
    p->html.failed = p->html.failed || !made;
    for (uint64_t c = 0; c < count; c++)
        free(names[c]);
    free(names);
    free(curves);
}

/* A number that only some stages or runs record, with what validation says of it. */
static void write_unknown(tv_report_page *p, const char *name) {
    const char *base = strncmp(name, "val_", 4) == 0 ? name + 4 : name;
    char *validation = tv_format("val_%s", base);
    const meaning m = {
        .id = base, .title = base, .unit = "", .curves = {{base, base}, {validation, "validation"}}};
    if (validation)
        write_meaning(p, &m, NULL);
    p->html.failed = p->html.failed || !validation;
    free(validation);
}

/* Whether the number was in a chart of an earlier run, or of this one under its other name. */
static bool is_done(const tv_report_page *p, uint64_t run, uint64_t series) {
    const char *name = p->runs[run].series[series].name;
    const char *base = strncmp(name, "val_", 4) == 0 ? name + 4 : name;
    for (uint64_t i = 0; i <= run; i++)
        for (uint64_t s = 0; s < (i == run ? series : p->runs[i].series_count); s++) {
            const char *other = p->runs[i].series[s].name;
            if (!is_known(&p->runs[i], other) &&
                strcmp(strncmp(other, "val_", 4) == 0 ? other + 4 : other, base) == 0)
                return true;
        }
    return false;
}

static bool has_several_stages(const tv_report_page *p) {
    for (uint64_t i = 1; i < p->count; i++)
        if (strcmp(stage_of(&p->runs[0]), stage_of(&p->runs[i])) != 0)
            return true;
    return false;
}

static void write_table(tv_report_page *p, bool shows_work, bool general) {
    for (uint64_t i = 0; i < TV_COUNT(meanings); i++) {
        const meaning *m = &meanings[i];
        if (((m->traits & SHOWS_WORK) != 0) == shows_work && (m->stage == NULL) == general)
            write_meaning(p, m, m->stage && m->stage[0] && has_several_stages(p) ? m->stage : NULL);
    }
    for (uint64_t i = 0; i < TV_COUNT(of_rewards) && !general; i++)
        if (of_rewards[i].shows_work == shows_work)
            write_rewards(p, &of_rewards[i]);
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

static void write_charts(tv_report_page *p, bool general_folded) {
    bool any = false;
    for (uint64_t i = 0; i < p->count; i++)
        any = any || p->runs[i].line_count;
    if (!any)
        return;
    write_legend(p);
    tv_html_raw(&p->html, "<div class=\"charts\">\n");
    write_table(p, true, false);
    if (p->count == 1)
        write_trade(p);
    if (!general_folded)
        write_table(p, false, true);
    tv_html_raw(&p->html, "</div>\n<details><summary>Everything else that was recorded</summary>\n"
                          "<div class=\"charts\">\n");
    if (general_folded)
        write_table(p, false, true);
    write_table(p, false, false);
    for (uint64_t i = 0; i < p->count; i++)
        for (uint64_t s = 0; s < p->runs[i].series_count; s++)
            if (!is_known(&p->runs[i], p->runs[i].series[s].name) && !is_done(p, i, s))
                write_unknown(p, p->runs[i].series[s].name);
    tv_html_raw(&p->html, "</div></details>\n");
}

void tv_report_write_curves(tv_report_page *p) {
    bool any = false;
    for (uint64_t i = 0; i < p->count; i++)
        any = any || p->runs[i].line_count;
    if (any)
        tv_html_raw(&p->html, "<h2>Curves</h2>\n");
    write_charts(p, false);
}

void tv_report_write_stage_curves(tv_report_page *p) {
    write_charts(p, true);
}
