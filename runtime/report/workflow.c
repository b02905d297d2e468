/* The workflow as boxes and arrows: see pipeline.h.
 *
 * Boxes lie on a grid of columns that are all alike; a row is as high as its fullest box. Arrows to the right
 * go from box to box; those to other rows run in rows of their own between the boxes, each a small SVG that
 * is stretched over the columns it crosses, so that it meets the boxes' middles at any width. In narrow
 * windows the boxes stand below each other and each says in words what it gets from elsewhere.
 */
#include "report/pipeline.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "report/facts.h"

/* The arrows that do not go to the neighbour at the right: over the columns `first` to `last` below row `row`
 * of boxes, drawn in units of columns and of the row's height. */
static const struct {
    int row, first, last;
    const char *path;
} wires[] = {
    {1, 2, 3, "M1.5 0V.5H.5V1"}, /* base model -> fine-tuning */
    {2, 2, 3, "M1.5 0V.5H.5V1"}, /* fine-tuned model -> sampling */
    {2, 3, 6, "M.5 0V.5H3.5V1"}, /* fine-tuned model -> reinforcement learning: start and reference */
    {3, 1, 6, "M.5 0V.6H5.5V0"}, /* prompts -> reinforcement learning */
};

/* Where those arrows arrive: the middle of a box's upper or lower edge. */
static const struct {
    const char *id;
    bool above, below;
} heads[] = {{"sft", true, false}, {"sample", true, false}, {"ppo", true, true}};

static void write_fact(tv_html *html, const char *label, const char *value) {
    tv_html_raw(html, "<li><b>");
    tv_html_text(html, value);
    tv_html_raw(html, "</b> ");
    tv_html_text(html, label);
    tv_html_raw(html, "</li>");
}

static void write_run_facts(tv_report_page *page, const char *path) {
    char text[40];
    for (uint64_t r = 0; r < page->count; r++) {
        const char *label;
        if (strcmp(page->runs[r].path, path) != 0)
            continue;
        for (uint64_t i = 0; i < tv_report_fact_count; i++)
            if (tv_report_fact(&page->runs[r], i, &label, text))
                write_fact(&page->html, label, text);
    }
}

static const char *last_component(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void write_box(tv_report_page *page, const tv_report_box *box, const cJSON *given) {
    tv_html *html = &page->html;
    char text[40];
    tv_html_format(html, "<section class=\"box s%d%s%s", box->stage, box->next ? " next" : "",
                   given ? "" : " absent");
    bool above = false, below = false;
    for (uint64_t i = 0; i < TV_COUNT(heads); i++) {
        bool mine = strcmp(heads[i].id, box->id) == 0;
        above = above || (mine && heads[i].above);
        below = below || (mine && heads[i].below);
    }
    tv_html_format(html, "%s%s", above ? " above" : "", below ? " below" : "");
    tv_html_format(html, "\" id=\"box-%s\" style=\"grid-area:%d/%d\">", box->id, 2 * box->row - 1,
                   box->column);
    tv_html_format(html, "%s%s", above ? "<i></i>" : "", below ? "<u></u>" : "");
    if (box->column == 1)
        tv_html_format(html, "<span class=\"lane\">Stage %d</span>", box->stage);
    tv_html_raw(html, "<h3>");
    const char *title = tv_report_pipeline_text(given, "title"), *run = tv_report_pipeline_text(given, "run");
    tv_html_text(html, title[0] ? title : box->title);
    tv_html_raw(html, "</h3>");
    if (box->from)
        tv_html_format(html, "<p class=\"from\">%s</p>", box->from);
    const char *note = given ? tv_report_pipeline_text(given, "note") : "did not run";
    if (note[0]) {
        tv_html_raw(html, "<p class=\"boxnote\">");
        tv_html_text(html, note);
        tv_html_raw(html, "</p>");
    }
    tv_html_raw(html, "<ul>");
    const cJSON *item;
    cJSON_ArrayForEach(item, tv_json_get(given, "facts")) {
        write_fact(html, item->string,
                   cJSON_IsString(item) ? item->valuestring : tv_report_say(item->valuedouble, false, text));
    }
    write_run_facts(page, run);
    tv_html_raw(html, "</ul><p class=\"links\">");
    if (run[0])
        tv_report_write_link(page, run, last_component(run));
    cJSON_ArrayForEach(item, tv_json_get(given, "files")) {
        tv_html_raw(html, " ");
        tv_report_write_link(page, item->valuestring, last_component(item->valuestring));
    }
    tv_html_raw(html, "</p></section>\n");
}

static bool is_held(const cJSON *check) {
    const cJSON *value = tv_json_get(check, "value");
    double found = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    double bound = tv_json_get(check, "bound")->valuedouble;
    return strcmp(tv_report_pipeline_text(check, "relation"), "at least") == 0 ? found >= bound
                                                                               : found <= bound;
}

/* Beside the short rows of the diagram: what was promised of the whole, and what came out. */
static void write_checks(tv_report_page *page, const cJSON *checks) {
    tv_html *html = &page->html;
    const cJSON *check;
    char text[40];
    if (!cJSON_GetArraySize(checks))
        return;
    tv_html_raw(html, "<ul class=\"checks\">");
    cJSON_ArrayForEach(check, checks) {
        const cJSON *value = tv_json_get(check, "value");
        bool held = is_held(check), percent = cJSON_IsTrue(tv_json_get(check, "percent"));
        tv_html_raw(html, held ? "<li class=\"held\"><b>" : "<li class=\"missed\"><b>");
        tv_html_text(html, tv_report_say(cJSON_IsNumber(value) ? value->valuedouble : NAN, percent, text));
        tv_html_raw(html, "</b><span>");
        tv_html_text(html, tv_report_pipeline_text(check, "what"));
        tv_html_raw(html, held ? "<em>" : "<em>missed: ");
        tv_html_text(html, tv_report_pipeline_text(check, "relation"));
        tv_html_raw(html, " ");
        tv_html_text(html, tv_report_say(tv_json_get(check, "bound")->valuedouble, percent, text));
        tv_html_raw(html, tv_report_pipeline_text(check, "detail")[0] ? "; " : "");
        tv_html_text(html, tv_report_pipeline_text(check, "detail"));
        tv_html_raw(html, "</em></span></li>");
    }
    tv_html_raw(html, "</ul>\n");
}

void tv_report_write_workflow(tv_report_page *page, const cJSON *pipeline) {
    tv_html *html = &page->html;
    tv_html_raw(html, "<nav class=\"flow\" aria-label=\"The workflow\">");
    for (uint64_t i = 0; i < TV_COUNT(wires); i++)
        tv_html_format(html,
                       "<svg class=\"wire\" style=\"grid-area:%d/%d/%d/%d\" viewBox=\"0 0 %d 1\" "
                       "preserveAspectRatio=\"none\" aria-hidden=\"true\"><path d=\"%s\"/></svg>",
                       2 * wires[i].row, wires[i].first, 2 * wires[i].row + 1, wires[i].last + 1,
                       wires[i].last + 1 - wires[i].first, wires[i].path);
    for (uint64_t i = 0; i < TV_REPORT_BOXES; i++)
        write_box(page, &tv_report_boxes[i],
                  tv_json_get(tv_json_get(pipeline, "boxes"), tv_report_boxes[i].id));
    tv_html_raw(html, cJSON_IsFalse(tv_json_get(pipeline, "reference"))
                          ? "<p class=\"start\">its start</p>\n"
                          : "<p class=\"start\">its start, and the reference it is held to</p>\n");
    write_checks(page, tv_json_get(pipeline, "checks"));
    tv_html_raw(html, "</nav>\n");
}
