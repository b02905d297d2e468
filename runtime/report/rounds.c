/* Rounds side by side: see rounds.h. */
#include "report/rounds.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "report/facts.h"
#include "report/pipeline.h"
#include "run/metrics.h"

enum { MOST_ROUNDS = 1000, SHOWN_PROMPTS = 6 };

static const char *const stages[] = {"reward", "dpo", "ppo", "grpo"};
static const char *const steps[] = {"sample", "rank", "prefs", "reward", "dpo", "ppo", "grpo"};

/* What the files of a round say; 0 or NaN where they say nothing. */
typedef struct round_files {
    double prompts, answers, tokens, ended;
    double judgments, skips;
    double preferences, scores, score_sum, best_sum, scored_prompts;
    cJSON *shown; /* the first answer to each of the first prompts; belongs to the tree */
} round_files;

bool tv_report_is_rounds(const char *directory) {
    char *path = tv_format("%s/align.json", directory);
    const bool found = path && tv_path_exists(path);
    free(path);
    return found;
}

/* ---- reading ---- */

/* What a prompt says at its end: its text, or its last message's. */
static const char *text_of(const cJSON *prompt) {
    const cJSON *last = cJSON_IsArray(prompt) ? prompt->child : NULL;
    while (last && last->next)
        last = last->next;
    const cJSON *text = last ? tv_json_get(last, "content") : prompt;
    return cJSON_IsString(text) ? text->valuestring : "";
}

static bool visit_candidates(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    round_files *r = context;
    const cJSON *responses = tv_json_get(line, "responses"), *response;
    cJSON_ArrayForEach(response, responses) {
        const cJSON *tokens = tv_json_get(response, "tokens"), *finish = tv_json_get(response, "finish");
        r->answers++;
        r->tokens += cJSON_IsNumber(tokens) ? tokens->valuedouble : 0;
        r->ended += cJSON_IsString(finish) && strcmp(finish->valuestring, "eos") == 0;
    }
    const cJSON *first = responses && responses->child ? tv_json_get(responses->child, "text") : NULL;
    if (r->prompts++ < SHOWN_PROMPTS && first && cJSON_IsString(first)) {
        cJSON *item = cJSON_CreateObject();
        if (item && tv_json_set_string(item, "prompt", text_of(tv_json_get(line, "prompt"))) &&
            tv_json_set_string(item, "answer", first->valuestring))
            cJSON_AddItemToArray(r->shown, item);
        else
            cJSON_Delete(item);
    }
    return true;
}

static bool visit_rankings(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    round_files *r = context;
    r->judgments++;
    r->skips += cJSON_IsNull(tv_json_get(line, "ranking"));
    return true;
}

static bool visit_prefs(void *context, const cJSON *line, uint64_t end) {
    (void)end;
    round_files *r = context;
    const cJSON *answer;
    double best = -INFINITY;
    r->preferences++;
    cJSON_ArrayForEach(answer, tv_json_get(line, "answers")) {
        const cJSON *score = tv_json_get(answer, "score");
        if (!cJSON_IsNumber(score))
            continue;
        r->scores++;
        r->score_sum += score->valuedouble;
        best = fmax(best, score->valuedouble);
    }
    if (isfinite(best)) {
        r->best_sum += best;
        r->scored_prompts++;
    }
    return true;
}

static tv_status read_lines(const char *folder, const char *name, tv_metrics_visitor visit, round_files *r) {
    char *path = tv_format("%s/%s", folder, name);
    tv_status status = path ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK && tv_path_exists(path))
        status = tv_metrics_each(path, visit, r, NULL);
    free(path);
    return status;
}

/* The seconds of the steps that are done; how many those are. */
static double add_seconds(const char *folder, double *seconds) {
    double count = 0;
    *seconds = 0;
    for (size_t i = 0; i < TV_COUNT(steps); i++) {
        char *path = tv_format("%s/%s.finished", folder, steps[i]);
        cJSON *root = NULL;
        if (path && tv_path_exists(path) && tv_json_read_file(path, &root) == TV_OK) {
            const cJSON *number = tv_json_get(root, "seconds");
            *seconds += cJSON_IsNumber(number) ? number->valuedouble : 0;
            count++;
        }
        cJSON_Delete(root);
        free(path);
    }
    return count;
}

static bool add_numbers(const round_files *r, double done, double seconds, cJSON *row) {
    return tv_json_set_number(row, "prompts", r->prompts) && tv_json_set_number(row, "answers", r->answers) &&
           tv_json_set_number(row, "length", r->answers > 0 ? r->tokens / r->answers : (double)NAN) &&
           tv_json_set_number(row, "ended", r->answers > 0 ? r->ended / r->answers : (double)NAN) &&
           tv_json_set_number(row, "judgments", r->judgments) && tv_json_set_number(row, "skips", r->skips) &&
           tv_json_set_number(row, "preferences", r->preferences) &&
           tv_json_set_number(row, "score", r->scores > 0 ? r->score_sum / r->scores : (double)NAN) &&
           tv_json_set_number(row, "best",
                              r->scored_prompts > 0 ? r->best_sum / r->scored_prompts : (double)NAN) &&
           tv_json_set_number(row, "steps", done) && tv_json_set_number(row, "seconds", seconds);
}

/* A round's row, added to `rows`. */
static tv_status read_round(const char *folder, cJSON *rows) {
    cJSON *row = cJSON_CreateObject();
    round_files r = {0};
    double seconds;
    tv_status status = TV_OK;
    if (!row || !cJSON_AddItemToArray(rows, row)) {
        cJSON_Delete(row);
        return tv_fail(TV_E_MEMORY, "out of host memory for a report");
    }
    r.shown = cJSON_AddArrayToObject(row, "shown");
    if (!r.shown)
        return tv_fail(TV_E_MEMORY, "out of host memory for a report");
    TV_RETURN_IF_FAILED(read_lines(folder, "candidates.jsonl", visit_candidates, &r));
    TV_RETURN_IF_FAILED(read_lines(folder, "rankings.jsonl", visit_rankings, &r));
    TV_RETURN_IF_FAILED(read_lines(folder, "prefs.jsonl", visit_prefs, &r));
    const double done = add_seconds(folder, &seconds);
    if (!add_numbers(&r, done, seconds, row))
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
    return status;
}

/* A run that has begun, under the name that says whose it is. */
static tv_status read_run(const char *folder, uint64_t round, const char *stage, tv_report_run **runs,
                          uint64_t *count) {
    char *path = tv_format("%s/%s", folder, stage), *config = tv_format("%s/%s/config.json", folder, stage),
         *name = tv_format("round-%" PRIu64 "/%s", round, stage);
    tv_status status = TV_OK;
    if (!path || !config || !name) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
        goto done;
    }
    if (!tv_path_exists(config))
        goto done;
    tv_report_run *more = realloc(*runs, (*count + 2) * sizeof *more);
    if (!more) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
        goto done;
    }
    *runs = more;
    TV_TRY(tv_report_run_load(path, &more[*count]));
    free(more[*count].name);
    more[(*count)++].name = name;
    name = NULL;
done:
    free(name);
    free(config);
    free(path);
    return status;
}

/* The prompts that every round answered, as pipeline.h has them. */
static bool add_answers(cJSON *root, const cJSON *rows) {
    cJSON *answers = cJSON_AddObjectToObject(root, "answers"), *policies, *items;
    const cJSON *row, *first = rows->child ? tv_json_get(rows->child, "shown") : NULL, *item;
    if (!answers || !tv_json_set_string(answers, "title", "The same prompts in each round") ||
        !(policies = cJSON_AddArrayToObject(answers, "policies")) ||
        !(items = cJSON_AddArrayToObject(answers, "items")))
        return false;
    uint64_t number = 0, shown = 0;
    cJSON_ArrayForEach(row, rows) {
        char name[48];
        snprintf(name, sizeof name, number ? "after round %" PRIu64 : "at the beginning", number);
        /* A round that has not drawn yet has nothing to show. */
        if (!tv_json_get(row, "shown")->child)
            break;
        number++;
        if (!cJSON_AddItemToArray(policies, cJSON_CreateString(name)))
            return false;
    }
    cJSON_ArrayForEach(item, first) {
        cJSON *list, *entry = cJSON_CreateObject();
        bool built = entry && cJSON_AddItemToArray(items, entry) &&
                     tv_json_set_string(entry, "prompt", tv_report_pipeline_text(item, "prompt")) &&
                     (list = cJSON_AddArrayToObject(entry, "answers")) != NULL;
        uint64_t k = 0;
        cJSON_ArrayForEach(row, rows) {
            if (!built || k++ == number)
                break;
            const cJSON *other = tv_json_get(row, "shown")->child;
            for (uint64_t i = 0; other && i < shown; i++)
                other = other->next;
            built = cJSON_AddItemToArray(
                list, cJSON_CreateString(other ? tv_report_pipeline_text(other, "answer") : ""));
        }
        if (!built)
            return false;
        shown++;
    }
    return true;
}

static tv_status add_title(const char *directory, cJSON *root, uint64_t count) {
    char *path = tv_format("%s/align.json", directory), *title = NULL, *intro = NULL;
    cJSON *plan = NULL;
    const char *learn, *judge, *reward;
    bool people;
    tv_status status =
        path ? tv_json_read_file(path, &plan) : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status != TV_OK)
        goto done;
    TV_TRY(tv_json_string(plan, "learn", path, "", &learn));
    TV_TRY(tv_json_string(plan, "judge", path, "", &judge));
    TV_TRY(tv_json_string(plan, "reward", path, "", &reward));
    TV_TRY(tv_json_bool(plan, "people", path, false, &people));
    const cJSON *rounds = tv_json_get(plan, "rounds");
    title = tv_format("%s: round %" PRIu64 " of %.0f", directory, count,
                      cJSON_IsNumber(rounds) ? rounds->valuedouble : 0);
    intro = tv_format("judged by %s%s, learned with %s",
                      people     ? "people"
                      : judge[0] ? "the program "
                                 : "the reward model ",
                      people     ? ""
                      : judge[0] ? judge
                                 : reward,
                      learn);
    if (!title || !intro || !tv_json_set_string(root, "title", title) ||
        !tv_json_set_string(root, "intro", intro))
        status = tv_fail(TV_E_MEMORY, "out of host memory for a report");
done:
    cJSON_Delete(plan);
    free(path);
    free(title);
    free(intro);
    return status;
}

tv_status tv_report_rounds_load(const char *directory, tv_report_run **runs, uint64_t *count,
                                cJSON **rounds) {
    tv_status status = TV_OK;
    cJSON *rows;
    *count = 0;
    *rounds = cJSON_CreateObject();
    if (!*rounds || !(rows = cJSON_AddArrayToObject(*rounds, "rounds")))
        return tv_fail(TV_E_MEMORY, "out of host memory for a report");
    for (uint64_t k = 1; status == TV_OK && k <= MOST_ROUNDS; k++) {
        char *folder = tv_format("%s/round-%" PRIu64, directory, k);
        const bool there = folder && tv_path_is_directory(folder);
        if (!folder)
            status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        if (there)
            status = read_round(folder, rows);
        for (size_t s = 0; there && status == TV_OK && s < TV_COUNT(stages); s++)
            status = read_run(folder, k, stages[s], runs, count);
        free(folder);
        if (!there)
            break;
    }
    TV_RETURN_IF_FAILED(status);
    TV_RETURN_IF_FAILED(add_title(directory, *rounds, (uint64_t)cJSON_GetArraySize(rows)));
    return add_answers(*rounds, rows) ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a report");
}

/* ---- the page ---- */

typedef struct number_row {
    const char *key, *title, *unit; /* `unit` of its curve over the rounds; NULL: no curve */
    bool percent;
} number_row;

static const number_row numbers[] = {
    {"prompts", "prompts", NULL, false},
    {"answers", "answers", NULL, false},
    {"length", "tokens an answer", "of the answers that were judged", false},
    {"ended", "ended by themselves", "share of the answers", true},
    {"score", "mean score", "by the reward model that judges", false},
    {"best", "mean of the best scores", NULL, false},
    {"judgments", "judgments", NULL, false},
    {"preferences", "preferences", NULL, false},
};

static double number_of(const cJSON *row, const char *key) {
    const cJSON *number = tv_json_get(row, key);
    return cJSON_IsNumber(number) ? number->valuedouble : (double)NAN;
}

/* Whether some round has something to say. */
static bool is_said(const cJSON *rows, const number_row *c) {
    const cJSON *row;
    cJSON_ArrayForEach(row, rows) {
        const double value = number_of(row, c->key);
        if (isfinite(value) && (value != 0 || c->unit))
            return true;
    }
    return false;
}

static void write_cell(tv_html *html, const char *text) {
    tv_html_raw(html, "<td class=\"n\">");
    tv_html_text(html, text);
    tv_html_raw(html, "</td>");
}

/* The facts of a round's runs, by what their stages are judged by. */
static const tv_report_run *run_of(const tv_report_page *p, uint64_t round, const char *stage) {
    char name[64];
    snprintf(name, sizeof name, "round-%" PRIu64 "/%s", round, stage);
    for (uint64_t i = 0; i < p->count; i++)
        if (strcmp(p->runs[i].name, name) == 0)
            return &p->runs[i];
    return NULL;
}

/* Fact `index` of the round's runs of `stage`. */
static bool fact_of(const tv_report_page *p, uint64_t round, const char *stage, uint64_t index,
                    const char **label, char text[40]) {
    const tv_report_run *run = run_of(p, round, stage);
    return run && tv_report_fact(run, index, label, text);
}

/* The facts that some round has: a row each, behind the name of its stage. */
static void write_facts(tv_report_page *p, uint64_t rounds) {
    const char *label = "";
    char text[40];
    for (size_t s = 0; s < TV_COUNT(stages); s++)
        for (uint64_t f = 0; f < tv_report_fact_count; f++) {
            bool any = false;
            for (uint64_t k = 1; !any && k <= rounds; k++)
                any = fact_of(p, k, stages[s], f, &label, text);
            if (!any)
                continue;
            tv_html_format(&p->html, "<tr><td>%s: ", stages[s]);
            tv_html_text(&p->html, label);
            tv_html_raw(&p->html, "</td>");
            for (uint64_t k = 1; k <= rounds; k++)
                write_cell(&p->html, fact_of(p, k, stages[s], f, &label, text) ? text : "");
            tv_html_raw(&p->html, "</tr>\n");
        }
}

static void write_table(tv_report_page *p, const cJSON *rows) {
    tv_html *html = &p->html;
    const uint64_t rounds = (uint64_t)cJSON_GetArraySize(rows);
    const cJSON *row;
    char text[40];
    tv_html_raw(html, "<div class=\"scroll\"><table class=\"narrow\"><thead><tr><th>round</th>");
    for (uint64_t k = 1; k <= rounds; k++)
        tv_html_format(html, "<th class=\"n\">%" PRIu64 "</th>", k);
    tv_html_raw(html, "</tr></thead><tbody>\n");
    for (size_t c = 0; c < TV_COUNT(numbers); c++) {
        if (!is_said(rows, &numbers[c]))
            continue;
        tv_html_format(html, "<tr><td>%s</td>", numbers[c].title);
        cJSON_ArrayForEach(row, rows) {
            const double value = number_of(row, numbers[c].key);
            write_cell(html, isfinite(value) ? tv_report_say(value, numbers[c].percent, text) : "");
        }
        tv_html_raw(html, "</tr>\n");
    }
    write_facts(p, rounds);
    tv_html_raw(html, "<tr><td>time</td>");
    cJSON_ArrayForEach(row, rows) {
        write_cell(html,
                   number_of(row, "steps") > 0 ? tv_html_duration(number_of(row, "seconds"), text) : "");
    }
    tv_html_raw(html, "</tr>\n</tbody></table></div>\n");
}

/* What changes from round to round, for more than one. */
static void write_charts(tv_report_page *p, const cJSON *rows) {
    const int count = cJSON_GetArraySize(rows);
    double *x = calloc((size_t)count + 1, sizeof *x), *y = calloc((size_t)count + 1, sizeof *y);
    if (!x || !y)
        p->html.failed = true;
    if (x && y && count > 1) {
        tv_html_raw(&p->html, "<h2>From round to round</h2>\n<div class=\"charts\">\n");
        for (size_t c = 0; c < TV_COUNT(numbers); c++) {
            const cJSON *row;
            uint64_t used = 0;
            char id[40];
            cJSON_ArrayForEach(row, rows) {
                x[used] = (double)(used + 1);
                y[used++] = number_of(row, numbers[c].key);
            }
            snprintf(id, sizeof id, "round-%s", numbers[c].key);
            const tv_chart_line line = {
                .label = numbers[c].title, .run = UINT32_MAX, .sparse = true, .x = x, .y = y, .count = used};
            if (numbers[c].unit)
                tv_chart_write(&p->html, &(tv_chart){.id = id,
                                                     .title = numbers[c].title,
                                                     .unit = numbers[c].unit,
                                                     .x_name = "round",
                                                     .exact = true,
                                                     .reference = (double)NAN,
                                                     .lines = &line,
                                                     .line_count = 1});
        }
        tv_html_raw(&p->html, "</div>\n");
    }
    free(x);
    free(y);
}

void tv_report_write_rounds(tv_report_page *page) {
    const cJSON *rows = tv_json_get(page->pipeline, "rounds");
    tv_html_raw(&page->html,
                "<h2>Rounds</h2>\n<p class=\"sub\">In each round the policy of the round before answers "
                "the prompts, its answers are judged, and it learns from that.</p>\n");
    write_table(page, rows);
    write_charts(page, rows);
    tv_report_write_answers(page, page->pipeline);
}
