/* report: the page holds the numbers of the files, nothing from outside runs in it, and odd run
 * directories give a page or a sentence. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "report/html.h"
#include "report/report.h"
#include "run/metrics.h"

static void put(const char *dir, const char *name, const char *text) {
    char *path = tv_format("%s/%s", dir, name);
    assert_ok(tv_write_file(path, text, strlen(text)));
    free(path);
}

static char *make_dir(const char *dir, const char *name) {
    char *path = tv_format("%s/%s", dir, name);
    assert_ok(tv_make_dirs(path));
    return path;
}

/* Writes the page of these runs and returns its text. */
static char *page_of(const char *dir, const char *const *runs, uint64_t count) {
    char *out = tv_format("%s/report.html", dir), *text = NULL;
    assert_ok(tv_report_write(runs, count, NULL, out));
    assert_ok(tv_read_file(out, &text, NULL));
    free(out);
    return text;
}

static uint64_t occurrences(const char *text, const char *word) {
    uint64_t count = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        count++;
    return count;
}

/* The lines of the readout of a chart, parsed. */
static cJSON *readout_of(const char *page, const char *id) {
    char *figure = tv_format("id=\"chart-%s\"", id);
    const char *at = strstr(page, figure);
    free(figure);
    if (!at)
        return NULL;
    const char *marker = "<script type=\"application/json\">";
    const char *start = strstr(at, marker);
    assert_non_null(start);
    start += strlen(marker);
    const char *end = strstr(start, "</script>");
    assert_non_null(end);
    cJSON *root = NULL;
    assert_ok(tv_json_parse(start, (uint64_t)(end - start), id, &root));
    return root;
}

static void write_run(const char *run, uint64_t steps) {
    tv_metrics *metrics = NULL;
    assert_ok(tv_metrics_open(run, false, 0, &metrics));
    const char *samples[] = {"a <script>alert(1)</script> & \"quotes\""};
    for (uint64_t step = 1; step <= steps; step++) {
        bool last = step == steps;
        tv_metrics_line line = {.stage = "pretrain",
                                .step = step,
                                .loss = 5 - 0.01 * (double)step + (step == steps / 2 ? 100 : 0),
                                .grad_norm = 1,
                                .lr = 1e-3,
                                .tokens = 100 * step,
                                .tokens_per_second = 50,
                                .has_val_loss = last,
                                .val_loss = 4.5,
                                .extra = &(tv_metric_number){"a<b", 3},
                                .extra_count = 1,
                                .samples = samples,
                                .sample_count = last ? 1 : 0};
        assert_ok(tv_metrics_write(metrics, &line));
    }
    tv_metrics_close(&metrics);
    put(run, "config.json",
        "{\"model\":{\"name\":\"</td><img src=x "
        "onerror=alert(2)>\"},\"train\":{\"steps\":9,\"grad_clip\":1}}");
    put(run, "run.json", "{\"device\":\"a device\"}");
}

static void the_page_holds_the_numbers(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *run = make_dir(dir, "first");
    write_run(run, 9);
    char *page = page_of(dir, (const char *const[]){run}, 1);
    cJSON *readout = readout_of(page, "loss");
    const cJSON *lines = tv_json_get(readout, "lines"), *training = lines->child,
                *validation = training->next;
    assert_string_equal(tv_json_get(training, "name")->valuestring, "training");
    const cJSON *x = tv_json_get(training, "x")->child, *y = tv_json_get(training, "y")->child;
    for (uint64_t step = 1; step <= 9; step++, x = x->next, y = y->next) {
        assert_non_null(x);
        assert_near(x->valuedouble, step, 0);
        /* Six digits. */
        assert_near(y->valuedouble, 5 - 0.01 * (double)step + (step == 4 ? 100 : 0), 1e-4);
    }
    assert_null(x);
    assert_near(tv_json_get(validation, "x")->child->valuedouble, 9, 0);
    assert_near(tv_json_get(validation, "y")->child->valuedouble, 4.5, 0);
    cJSON_Delete(readout);
    const char *const charts[] = {"lr", "grad-norm", "throughput", "a&lt;b"};
    for (size_t i = 0; i < 4; i++) {
        readout = readout_of(page, charts[i]);
        if (!readout)
            fail_msg("no chart %s", charts[i]);
        cJSON_Delete(readout);
    }
    /* 9 steps of 100 tokens at 50 tokens/s. */
    assert_non_null(strstr(page, "<b>18 s</b>"));
    assert_non_null(strstr(page, "a device"));
    assert_non_null(strstr(page, "grad_clip"));
    free(page);
    free(run);
    tv_test_dir_remove(&dir);
}

/* Names of metrics and of runs are data in the script elements too. Tried: "<" as it is in their JSON. Fails.
 */
static void the_data_of_charts_stays_data(void **state) {
    (void)state;
    static const char hostile[] = "</script><u>x", shown[] = "\\u003c/script>\\u003cu>x";
    char *dir = tv_test_dir(), *run = make_dir(dir, "run");
    tv_metrics *metrics = NULL;
    assert_ok(tv_metrics_open(run, false, 0, &metrics));
    for (uint64_t step = 1; step <= 3; step++)
        assert_ok(tv_metrics_write(metrics, &(tv_metrics_line){.stage = "pretrain",
                                                               .step = step,
                                                               .loss = 1,
                                                               .extra = &(tv_metric_number){hostile, 3},
                                                               .extra_count = 1}));
    tv_metrics_close(&metrics);
    put(run, "config.json", "{}");
    char *page = page_of(dir, (const char *const[]){run}, 1);
    if (!strstr(page, shown))
        fail_msg("the metric's name is not in a chart's data");
    assert_null(strstr(page, "<u>"));
    uint64_t opened = 0, closed = 0;
    for (const char *at = page; (at = strstr(at, "<script")); at++)
        opened++;
    for (const char *at = page; (at = strstr(at, "</script")); at++)
        closed++;
    assert_int_equal(opened, closed);
    free(page);
    free(run);
    tv_test_dir_remove(&dir);
}

static void nothing_from_outside_runs(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *run = make_dir(dir, "x<i>&y");
    write_run(run, 3);
    put(run, "samples.jsonl", "{\"prompt\":\"<u>\",\"text\":\"bad \xff\xc0\xaf bytes\\u0000\",\"step\":3}\n");
    char *page = page_of(dir, (const char *const[]){run}, 1);
    assert_null(strstr(page, "<script>alert"));
    assert_null(strstr(page, "<img"));
    assert_null(strstr(page, "<i>&y"));
    assert_null(strstr(page, "<u>"));
    assert_null(strstr(page, "\xff"));
    assert_null(strstr(page, "http:"));
    assert_null(strstr(page, "https:"));
    assert_null(strstr(page, "@import"));
    assert_null(strstr(page, "url("));
    assert_non_null(strstr(page, "a &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quotes&quot;"));
    assert_non_null(strstr(page, "href=\""));
    assert_non_null(strstr(page, "x%3Ci%3E%26y/metrics.jsonl"));
    free(page);
    free(run);
    tv_test_dir_remove(&dir);
}

/* A thinned line still shows the one spike. */
static void thinning_keeps_spikes(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *run = make_dir(dir, "long");
    write_run(run, 5000);
    char *page = page_of(dir, (const char *const[]){run}, 1);
    cJSON *readout = readout_of(page, "loss");
    const cJSON *training = tv_json_get(readout, "lines")->child, *item;
    double highest = 0;
    cJSON_ArrayForEach(item, tv_json_get(training, "y")) {
        highest = item->valuedouble > highest ? item->valuedouble : highest;
    }
    assert_near(highest, 105 - 25, 1e-3);
    assert_true(cJSON_GetArraySize(tv_json_get(training, "y")) <= 800);
    cJSON_Delete(readout);
    free(page);
    free(run);
    tv_test_dir_remove(&dir);
}

/* A straight fall with noise of 1 in turns, and a last step far off: the trend keeps the fall to both ends.
 * Seen to fail without the robust passes, with a window that shrinks towards the ends, and without a trend.
 */
static void trends_do_not_hook_at_the_ends(void **state) {
    (void)state;
    enum { STEPS = 400 };
    char *dir = tv_test_dir(), *run = make_dir(dir, "noisy");
    tv_metrics *metrics = NULL;
    assert_ok(tv_metrics_open(run, false, 0, &metrics));
    for (int step = 1; step <= STEPS; step++) {
        double noise = step == STEPS ? 60 : step % 2 ? 1 : -1;
        const tv_metrics_line line = {
            .stage = "sft", .step = (uint64_t)step, .loss = 50 - 0.1 * step + noise, .lr = 1};
        assert_ok(tv_metrics_write(metrics, &line));
    }
    tv_metrics_close(&metrics);
    char *page = page_of(dir, (const char *const[]){run}, 1);
    cJSON *readout = readout_of(page, "loss");
    const cJSON *trend = tv_json_get(readout, "lines")->child->next;
    assert_non_null(trend);
    assert_string_equal(tv_json_get(trend, "name")->valuestring, "training, trend");
    const cJSON *x = tv_json_get(trend, "x")->child, *y = tv_json_get(trend, "y")->child;
    double last = 0;
    for (; x; x = x->next, y = y->next) {
        last = x->valuedouble;
        assert_near(y->valuedouble, 50 - 0.1 * last, 0.75);
    }
    assert_near(last, STEPS, 0);
    cJSON_Delete(readout);
    free(page);
    free(run);
    tv_test_dir_remove(&dir);
}

/* The names of a chart's lines, with '|' between them; the caller frees. NULL without such a chart. */
static char *lines_of(const char *page, const char *id) {
    cJSON *readout = readout_of(page, id);
    const cJSON *line;
    char *names = NULL;
    cJSON_ArrayForEach(line, tv_json_get(readout, "lines")) {
        char *longer =
            tv_format("%s%s%s", names ? names : "", names ? "|" : "", tv_json_get(line, "name")->valuestring);
        free(names);
        names = longer;
    }
    cJSON_Delete(readout);
    return names;
}

static void assert_lines(const char *page, const char *id, const char *names) {
    char *found = lines_of(page, id);
    if (!found || strcmp(found, names) != 0)
        fail_msg("the chart %s has \"%s\", expected \"%s\"", id, found ? found : "nothing", names);
    free(found);
}

/* What means the same shares an axis, what does not has one of its own, and only losses of tokens have a
 * perplexity. Seen to fail before 2026-11-28: one chart "nats per token" for all losses, a chart for every
 * val_ number, a reward model's perplexity. */
static void an_axis_has_one_meaning(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *words = make_dir(dir, "words"), *more = make_dir(dir, "more"),
         *judge = make_dir(dir, "judge"), *policy = make_dir(dir, "policy");
    const char *words_lines =
        "{\"stage\":\"sft\",\"step\":1,\"loss\":2,\"val_loss\":3,\"new\":1,\"val_new\":2}\n";
    put(words, "metrics.jsonl", words_lines);
    put(more, "metrics.jsonl", words_lines);
    put(judge, "metrics.jsonl",
        "{\"stage\":\"reward\",\"step\":1,\"loss\":0.6,\"val_loss\":0.5,\"accuracy\":0.7,\"val_accuracy\":0."
        "75,"
        "\"min_reward\":-1,\"mean_reward\":0,\"max_reward\":1}\n");
    put(policy, "metrics.jsonl",
        "{\"stage\":\"ppo\",\"step\":1,\"loss\":0.6,\"val_loss\":-0.5,\"objective/score\":0.4,\"eval/"
        "score\":0.3,"
        "\"objective/kl\":1,\"response_tokens\":23,\"seconds/draw\":1,\"seconds/update\":2}\n");
    char *page = page_of(dir, (const char *const[]){words}, 1);
    assert_lines(page, "loss", "training|validation");
    assert_lines(page, "new", "new|validation");
    assert_null(lines_of(page, "val_new"));
    assert_int_equal(occurrences(page, "perplexity 20.08"), 1);
    free(page);
    page = page_of(dir, (const char *const[]){judge}, 1);
    assert_lines(page, "loss", "training|validation");
    assert_lines(page, "accuracy", "training|validation");
    assert_lines(page, "scores", "highest|mean|lowest");
    assert_non_null(strstr(page, "<span class=\"key c2\"></span>lowest</span></div>"));
    assert_null(strstr(page, "<span class=\"key c0\"></span>training</span></div>"));
    assert_null(strstr(page, "perplexity"));
    assert_null(strstr(page, "nats per token"));
    assert_non_null(strstr(page, "<b>75.0 %</b><span>held-out accuracy"));
    free(page);
    page = page_of(dir, (const char *const[]){policy}, 1);
    assert_lines(page, "reward", "training|held-out prompts");
    assert_lines(page, "losses", "sum");
    assert_lines(page, "objective", "validation");
    assert_lines(page, "seconds", "draw|update");
    assert_null(strstr(page, "perplexity"));
    assert_null(strstr(page, "last training loss"));
    assert_non_null(strstr(page, "<b>23</b><span>tokens per answer"));
    free(page);
    page = page_of(dir, (const char *const[]){words, more, judge}, 3);
    assert_lines(page, "sft-loss", "words training|words validation|more training|more validation");
    assert_lines(page, "reward-loss", "judge training|judge validation");
    assert_lines(page, "new", "words new|words validation|more new|more validation");
    tv_free_all(page, words, more, judge, policy);
    tv_test_dir_remove(&dir);
}

/* The rewards of a run stand in one chart under the names that it gave them; steps are whole numbers. */
static void several_rewards_share_a_chart(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *one = make_dir(dir, "one"), *other = make_dir(dir, "other");
    put(one, "metrics.jsonl",
        "{\"stage\":\"grpo\",\"step\":1,\"loss\":7,\"reward/mean\":7,\"reward/std\":7,\"reward/a/mean\":7,"
        "\"reward/<b>/mean\":8,\"reward/a/std\":7,\"reward/<b>/std\":7,\"reward/a/applies\":7}\n"
        "{\"stage\":\"grpo\",\"step\":3,\"loss\":7,\"reward/mean\":7,\"reward/a/mean\":7}\n");
    put(other, "metrics.jsonl",
        "{\"stage\":\"grpo\",\"step\":1,\"loss\":7,\"reward/mean\":7,\"reward/a/mean\":7}\n");
    put(one, "run.json", "{\"started\":\"some day\",\"begun\":1234567891}");
    char *page = page_of(dir, (const char *const[]){one}, 1);
    assert_lines(page, "reward", "training");
    assert_lines(page, "rewards", "a|<b>");
    assert_lines(page, "rewards-std", "a|<b>");
    assert_lines(page, "rewards-applies", "a");
    assert_lines(page, "reward/std", "reward/std");
    assert_null(lines_of(page, "reward/a/mean"));
    assert_null(strstr(page, ">1.5<"));
    assert_non_null(strstr(page, ">2<"));
    assert_non_null(strstr(page, "some day"));
    assert_null(strstr(page, "1234567891"));
    free(page);
    page = page_of(dir, (const char *const[]){one, other}, 2);
    assert_lines(page, "rewards", "one a|one <b>|other a");
    tv_free_all(page, other, one);
    tv_test_dir_remove(&dir);
}

static void odd_runs_are_told(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *a = make_dir(dir, "p/run"), *b = make_dir(dir, "q/run"),
         *c = make_dir(dir, "empty");
    put(a, "metrics.jsonl", "{\"stage\":\"sft\",\"step\":1,\"loss\":2}\n{\"step\":2,\"loss\":null}\n{\"st");
    put(b, "metrics.jsonl", "");
    put(c, "config.json", "{}");
    char *page = page_of(dir, (const char *const[]){a, b, c}, 3);
    assert_non_null(strstr(page, "3 runs"));
    assert_int_equal(occurrences(page, "no steps in metrics.jsonl"), 2);
    assert_int_equal(occurrences(page, "cut short"), 1);
    assert_non_null(strstr(page, "1 step without a finite loss"));
    /* Two runs of the same name go by their paths. */
    assert_non_null(strstr(page, "p/run</label>"));
    assert_non_null(strstr(page, "q/run</label>"));
    free(page);

    char *out = tv_format("%s/none.html", dir);
    assert_fails(tv_report_write((const char *const[]){dir}, 1, NULL, out), TV_E_USAGE, "metrics.jsonl");
    assert_int_equal(tv_report_write((const char *const[]){"/nonexistent"}, 1, NULL, out), TV_E_USAGE);
    put(b, "metrics.jsonl", "nonsense\n{\"step\":1}\n");
    assert_fails(tv_report_write((const char *const[]){a, b}, 2, NULL, out), TV_E_DATA, "line 1");
    put(b, "metrics.jsonl", "");
    put(b, "config.json", "{\"train\":");
    assert_int_equal(tv_report_write((const char *const[]){b}, 1, NULL, out), TV_E_DATA);
    assert_false(tv_path_exists(out));
    tv_free_all(out, a, b, c);
    tv_test_dir_remove(&dir);
}

/* The text between the tag that holds `id` and the end of its element. */
static char *box_of(const char *page, const char *id) {
    char *mark = tv_format("id=\"box-%s\"", id);
    const char *at = strstr(page, mark);
    free(mark);
    assert_non_null(at);
    const char *end = strstr(at, "</section>");
    assert_non_null(end);
    return tv_format("%.*s", (int)(end - at), at);
}

static void assert_box(const char *page, const char *id, const char *text) {
    char *box = box_of(page, id);
    if (!strstr(box, text))
        fail_msg("\"%s\" is not in the box %s:\n%s", text, id, box);
    free(box);
}

/* Seen to fail with >= for <= in is_held, with the facts of the first run in every box, and with tv_html_raw
 * for a title. */
static void a_pipeline_opens_with_the_workflow(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *run = make_dir(dir, "ppo"), *base = make_dir(dir, "base");
    write_run(base, 9);
    char *metrics = NULL;
    for (int step = 1; step <= 20; step++) {
        char *line = tv_format("%s{\"stage\":\"ppo\",\"step\":%d,\"loss\":1,\"objective/score\":%d,"
                               "\"objective/kl\":%d}\n",
                               metrics ? metrics : "", step, step, 21 - step);
        free(metrics);
        metrics = line;
    }
    put(run, "metrics.jsonl", metrics);
    free(metrics);
    char *given = tv_format(
        "{\"title\":\"a <b>title</b>\",\"intro\":\"an <i>intro</i>\",\"boxes\":{"
        "\"text\":{\"title\":\"<u>Books</u>\",\"facts\":{\"<s>documents\":9980,\"size\":\"3 <MB\"},"
        "\"files\":[\"%s/a b.txt\"]},"
        "\"rank\":{\"note\":\"no people <img>\"},\"pretrain\":{\"run\":\"%s\"},\"ppo\":{\"run\":\"%s\"}},"
        "\"checks\":[{\"what\":\"wins\",\"value\":0.8,\"relation\":\"at "
        "least\",\"bound\":0.75,\"percent\":true},"
        "{\"what\":\"KL\",\"value\":16,\"relation\":\"at most\",\"bound\":15,\"detail\":\"<nats>\"},"
        "{\"what\":\"lost\",\"value\":null,\"relation\":\"at most\",\"bound\":1}],"
        "\"answers\":{\"policies\":[\"base<\",\"tuned\"],\"items\":[{\"prompt\":\"It <was>\","
        "\"answers\":[\"<script>alert(3)</script>\",\" done.\"],\"scores\":[0,2.5]}]},"
        "\"tables\":[{\"title\":\"Agreement\",\"note\":\"<n>\",\"rows\":{\"<pairs>\":\"74 "
        "%%\",\"alpha\":0.5}}]}",
        dir, base, run);
    put(dir, "pipeline.json", given);
    free(given);
    char *description = tv_format("%s/pipeline.json", dir), *out = tv_format("%s/page.html", dir), *page;
    assert_ok(tv_report_write((const char *const[]){base, run}, 2, description, out));
    assert_ok(tv_read_file(out, &page, NULL));

    assert_non_null(strstr(page, "<h1>a &lt;b&gt;title&lt;/b&gt;</h1>"));
    assert_box(page, "text", "&lt;u&gt;Books&lt;/u&gt;");
    assert_box(page, "text", "<li><b>9,980</b> &lt;s&gt;documents</li>");
    assert_box(page, "text", "<li><b>3 &lt;MB</b> size</li>");
    assert_box(page, "text", "href=\"./a%20b.txt\">a b.txt</a>");
    assert_box(page, "rank", "no people &lt;img&gt;");
    assert_box(page, "sft", "did not run");
    assert_box(page, "pretrain", "<li><b>900</b> tokens</li>");
    assert_box(page, "pretrain", "<li><b>4.5</b> validation loss</li>");
    /* The first iteration, and the mean of the last tenth, two of twenty. */
    assert_box(page, "ppo", "<li><b>1</b> reward, first</li>");
    assert_box(page, "ppo", "<li><b>19.5</b> reward, last</li>");
    assert_box(page, "ppo", "<li><b>1.5</b> KL per answer</li>");
    char *box = box_of(page, "text");
    assert_null(strstr(box, "tokens"));
    free(box);

    /* A row of boxes is as high as its fullest one, and the arrows between rows lie in rows of their own. */
    assert_non_null(strstr(page, "grid-template-rows:auto 22px auto 40px auto 22px"));
    assert_non_null(strstr(page, "id=\"box-sft\" style=\"grid-area:3/2\""));
    assert_int_equal(occurrences(page, "<svg class=\"wire\""), 4);
    assert_int_equal(occurrences(page, "<li class=\"held\">"), 1);
    assert_int_equal(occurrences(page, "<li class=\"missed\">"), 2);
    assert_non_null(strstr(page, "<li class=\"held\"><b>80.0 %</b>"));
    assert_non_null(strstr(page, "missed: at most 15; &lt;nats&gt;"));
    assert_non_null(strstr(page, "&lt;script&gt;alert(3)&lt;/script&gt;"));
    assert_non_null(strstr(page, "tuned &middot; judged 2.5"));
    assert_non_null(strstr(page, "&lt;pairs&gt;</td><td class=\"n\">74 %</td>"));
    assert_null(strstr(page, "<script>alert"));
    /* Each run has its own charts, and reward stands over KL in order of KL. */
    cJSON *readout = readout_of(page, "ppotrade");
    assert_non_null(readout);
    const cJSON *line = tv_json_get(readout, "lines")->child;
    assert_string_equal(tv_json_get(readout, "xName")->valuestring, "KL");
    assert_near(tv_json_get(line, "x")->child->valuedouble, 1, 0);
    assert_near(tv_json_get(line, "y")->child->valuedouble, 20, 0);
    cJSON_Delete(readout);
    readout = readout_of(page, "baseloss");
    assert_non_null(readout);
    cJSON_Delete(readout);
    tv_free_all(page, out, description, run, base);
    tv_test_dir_remove(&dir);
}

static void wrong_pipelines_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "expected an object"},
        {"{\"boxes\":{\"rewards\":{}}}", "no box \"rewards\"; the nearest is \"reward\""},
        {"{\"boxes\":{\"text\":3}}", "\"text\": expected an object"},
        {"{\"boxes\":{\"text\":{\"facts\":[1]}}}", "\"facts\""},
        {"{\"boxes\":{\"text\":{\"files\":[1]}}}", "\"files\""},
        {"{\"title\":3}", "\"title\": expected a text"},
        {"{\"checks\":[{\"what\":\"a\",\"relation\":\"above\",\"bound\":1}]}", "\"relation\""},
        {"{\"checks\":[{\"what\":\"a\",\"relation\":\"at least\"}]}", "\"bound\""},
        {"{\"checks\":[{\"relation\":\"at least\",\"bound\":1}]}", "\"what\""},
        {"{\"answers\":{\"policies\":[\"a\",\"b\"],\"items\":[{\"prompt\":\"p\",\"answers\":[\"x\"]}]}}",
         "one for each policy"},
        {"{\"tables\":[{\"title\":\"t\"}]}", "\"rows\""},
    };
    char *dir = tv_test_dir(), *run = make_dir(dir, "run"), *out = tv_format("%s/page.html", dir),
         *description = tv_format("%s/pipeline.json", dir);
    write_run(run, 1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        put(dir, "pipeline.json", cases[i][0]);
        assert_int_equal(tv_report_write((const char *const[]){run}, 1, description, out), TV_E_DATA);
        if (!strstr(tv_last_error(), cases[i][1]) || !strstr(tv_last_error(), "pipeline.json"))
            fail_msg("%s: \"%s\" is not in: %s", cases[i][0], cases[i][1], tv_last_error());
    }
    assert_false(tv_path_exists(out));
    put(dir, "pipeline.json", "{}");
    assert_ok(tv_report_write((const char *const[]){run}, 1, description, out));
    tv_free_all(description, out, run);
    tv_test_dir_remove(&dir);
}

static void numbers_read_well(void **state) {
    (void)state;
    char text[40];
    const struct {
        double value;
        const char *count, *number;
    } cases[] = {{0, "0", "0"},
                 {999, "999", "999"},
                 {1234, "1,234", "1234"},
                 {999999.7, "1,000,000", "1,000,000"},
                 {1234567, "1,234,567", "1,234,567"},
                 {2.5e9, "2.5G", "2.5G"},
                 {0.000061234, "0.0", "6.123e-5"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_string_equal(tv_html_count(cases[i].value, text), cases[i].count);
        assert_string_equal(tv_html_number(cases[i].value, text), cases[i].number);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_holds_the_numbers),
        cmocka_unit_test(the_data_of_charts_stays_data),
        cmocka_unit_test(nothing_from_outside_runs),
        cmocka_unit_test(thinning_keeps_spikes),
        cmocka_unit_test(trends_do_not_hook_at_the_ends),
        cmocka_unit_test(an_axis_has_one_meaning),
        cmocka_unit_test(several_rewards_share_a_chart),
        cmocka_unit_test(odd_runs_are_told),
        cmocka_unit_test(a_pipeline_opens_with_the_workflow),
        cmocka_unit_test(wrong_pipelines_are_refused),
        cmocka_unit_test(numbers_read_well),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
