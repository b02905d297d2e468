/* Reading a pipeline description, and its sections but the diagram: see pipeline.h. */
#include "report/pipeline.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/choices.h"

const tv_report_box tv_report_boxes[TV_REPORT_BOXES] = {
    {"text", "Text", 1, 1, 1, true, NULL},
    {"pretrain", "Pretraining", 1, 2, 1, true, NULL},
    {"base", "Base model", 1, 3, 1, false, NULL},
    {"examples", "Prompts and ideal answers", 2, 1, 2, true, NULL},
    {"sft", "Supervised fine-tuning", 2, 2, 2, true, "starts from the base model"},
    {"tuned", "Fine-tuned model", 2, 3, 2, false, NULL},
    {"prompts", "Prompts", 3, 1, 3, true, NULL},
    {"sample", "Sampling", 3, 2, 3, true, "from the fine-tuned model"},
    {"rank", "People rank", 3, 3, 3, true, NULL},
    {"prefs", "Preference data", 3, 4, 3, true, NULL},
    {"reward", "Reward model", 3, 5, 3, true, NULL},
    {"ppo", "Reinforcement learning", 3, 6, 3, true, "prompts; starts from the fine-tuned model"},
    {"aligned", "Aligned model", 3, 7, 3, false, NULL},
};

static tv_status wrong(const char *path, const char *key, const char *expected) {
    return tv_fail(TV_E_DATA, "%s: \"%s\": expected %s", path, key, expected);
}

/* Each member of `object` named in `keys` (NULL-terminated), where it is there, is a text. */
static tv_status texts(const char *path, const cJSON *object, const char *const *keys) {
    for (; *keys; keys++) {
        const cJSON *item = tv_json_get(object, *keys);
        if (item && !cJSON_IsString(item))
            return wrong(path, *keys, "a text");
    }
    return TV_OK;
}

static bool all_texts(const cJSON *list) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (!cJSON_IsString(item))
            return false;
    }
    return cJSON_IsArray(list);
}

static bool all_values(const cJSON *object) {
    const cJSON *item;
    cJSON_ArrayForEach(item, object) {
        if (!cJSON_IsString(item) && !cJSON_IsNumber(item))
            return false;
    }
    return cJSON_IsObject(object);
}

static tv_status check_boxes(const char *path, const cJSON *boxes) {
    const char *names[TV_REPORT_BOXES];
    for (uint64_t i = 0; i < TV_REPORT_BOXES; i++)
        names[i] = tv_report_boxes[i].id;
    const cJSON *box;
    if (boxes && !cJSON_IsObject(boxes))
        return wrong(path, "boxes", "an object");
    cJSON_ArrayForEach(box, boxes) {
        bool known = false;
        for (uint64_t i = 0; i < TV_REPORT_BOXES; i++)
            known = known || strcmp(box->string, names[i]) == 0;
        if (!known) {
            const char *nearest = tv_nearest_word(box->string, names, TV_REPORT_BOXES);
            return tv_fail(TV_E_DATA, "%s: the workflow has no box \"%s\"%s%s%s", path, box->string,
                           nearest ? "; the nearest is \"" : "", nearest ? nearest : "", nearest ? "\"" : "");
        }
        if (!cJSON_IsObject(box))
            return wrong(path, box->string, "an object");
        TV_RETURN_IF_FAILED(texts(path, box, (const char *const[]){"title", "note", "run", NULL}));
        const cJSON *facts = tv_json_get(box, "facts"), *files = tv_json_get(box, "files");
        if (facts && !all_values(facts))
            return wrong(path, "facts", "an object of texts and numbers");
        if (files && !all_texts(files))
            return wrong(path, "files", "a list of paths");
    }
    return TV_OK;
}

static tv_status check_checks(const char *path, const cJSON *checks) {
    const cJSON *check;
    if (checks && !cJSON_IsArray(checks))
        return wrong(path, "checks", "a list");
    cJSON_ArrayForEach(check, checks) {
        TV_RETURN_IF_FAILED(texts(path, check, (const char *const[]){"what", "relation", "detail", NULL}));
        const char *relation = tv_report_pipeline_text(check, "relation");
        if (!tv_json_get(check, "what"))
            return wrong(path, "what", "a text in each check");
        if (strcmp(relation, "at least") != 0 && strcmp(relation, "at most") != 0)
            return wrong(path, "relation", "\"at least\" or \"at most\" in each check");
        if (!cJSON_IsNumber(tv_json_get(check, "bound")))
            return wrong(path, "bound", "a number in each check");
    }
    return TV_OK;
}

static tv_status check_answers(const char *path, const cJSON *answers) {
    if (!answers)
        return TV_OK;
    const cJSON *policies = tv_json_get(answers, "policies"), *items = tv_json_get(answers, "items"), *item;
    if (!all_texts(policies))
        return wrong(path, "policies", "a list of texts");
    if (!cJSON_IsArray(items))
        return wrong(path, "items", "a list");
    cJSON_ArrayForEach(item, items) {
        const cJSON *given = tv_json_get(item, "answers");
        if (!cJSON_IsString(tv_json_get(item, "prompt")))
            return wrong(path, "prompt", "a text in each item");
        if (!all_texts(given) || cJSON_GetArraySize(given) != cJSON_GetArraySize(policies))
            return wrong(path, "answers", "a list of texts, one for each policy");
    }
    return TV_OK;
}

tv_status tv_report_pipeline_read(const char *path, cJSON **pipeline) {
    tv_status status;
    *pipeline = NULL;
    TV_RETURN_IF_FAILED(tv_json_read_file(path, pipeline));
    if (!cJSON_IsObject(*pipeline)) {
        status = tv_fail(TV_E_DATA, "%s: expected an object with \"boxes\"", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(texts(path, *pipeline, (const char *const[]){"title", "intro", NULL}));
    if (tv_json_get(*pipeline, "reference") && !cJSON_IsBool(tv_json_get(*pipeline, "reference"))) {
        status = wrong(path, "reference", "true or false");
        goto fail;
    }
    TV_TRY_OR_FAIL(check_boxes(path, tv_json_get(*pipeline, "boxes")));
    TV_TRY_OR_FAIL(check_checks(path, tv_json_get(*pipeline, "checks")));
    TV_TRY_OR_FAIL(check_answers(path, tv_json_get(*pipeline, "answers")));
    const cJSON *table;
    if (tv_json_get(*pipeline, "tables") && !cJSON_IsArray(tv_json_get(*pipeline, "tables"))) {
        status = wrong(path, "tables", "a list");
        goto fail;
    }
    cJSON_ArrayForEach(table, tv_json_get(*pipeline, "tables")) {
        TV_TRY_OR_FAIL(texts(path, table, (const char *const[]){"title", "note", NULL}));
        if (!all_values(tv_json_get(table, "rows"))) {
            status = wrong(path, "rows", "an object of texts and numbers in each table");
            goto fail;
        }
    }
    return TV_OK;
fail:
    cJSON_Delete(*pipeline);
    *pipeline = NULL;
    return status;
}

const char *tv_report_pipeline_text(const cJSON *object, const char *key) {
    const cJSON *item = tv_json_get(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

enum { MAX_ANSWER_BYTES = 4000 };

/* The score of an answer, where the judge gave one. */
static void write_score(tv_html *html, const cJSON *score) {
    char text[40];
    if (!score || !cJSON_IsNumber(score))
        return;
    tv_html_raw(html, " &middot; judged ");
    tv_html_text(html, tv_html_number(score->valuedouble, text));
}

void tv_report_write_answers(tv_report_page *page, const cJSON *pipeline) {
    tv_html *html = &page->html;
    const cJSON *answers = tv_json_get(pipeline, "answers"), *item, *policy;
    if (!cJSON_GetArraySize(tv_json_get(answers, "items")))
        return;
    const char *title = tv_report_pipeline_text(answers, "title");
    tv_html_raw(html, "<h2>");
    tv_html_text(html, title[0] ? title : "The same prompts after each stage");
    tv_html_raw(html, "</h2>\n<div class=\"answers\">\n");
    cJSON_ArrayForEach(item, tv_json_get(answers, "items")) {
        tv_html_raw(html, "<article class=\"answer\"><p class=\"prompt\">");
        tv_html_text_cut(html, tv_report_pipeline_text(item, "prompt"), MAX_ANSWER_BYTES);
        tv_html_raw(html, "</p><dl>");
        const cJSON *answer = tv_json_get(item, "answers")->child;
        const cJSON *scores = tv_json_get(item, "scores"), *score = scores ? scores->child : NULL;
        cJSON_ArrayForEach(policy, tv_json_get(answers, "policies")) {
            tv_html_raw(html, "<dt>");
            tv_html_text(html, policy->valuestring);
            write_score(html, score);
            tv_html_raw(html, "</dt><dd>");
            tv_html_text_cut(html, answer->valuestring, MAX_ANSWER_BYTES);
            tv_html_raw(html, "</dd>");
            answer = answer->next;
            score = score ? score->next : NULL;
        }
        tv_html_raw(html, "</dl></article>\n");
    }
    tv_html_raw(html, "</div>\n");
}

void tv_report_write_tables(tv_report_page *page, const cJSON *pipeline) {
    tv_html *html = &page->html;
    const cJSON *table, *row;
    char text[40];
    cJSON_ArrayForEach(table, tv_json_get(pipeline, "tables")) {
        tv_html_raw(html, "<h2>");
        tv_html_text(html, tv_report_pipeline_text(table, "title"));
        tv_html_raw(html, "</h2>\n<p class=\"sub\">");
        tv_html_text(html, tv_report_pipeline_text(table, "note"));
        tv_html_raw(html, "</p><div class=\"scroll\"><table class=\"narrow\"><tbody>");
        cJSON_ArrayForEach(row, tv_json_get(table, "rows")) {
            tv_html_raw(html, "<tr><td>");
            tv_html_text(html, row->string);
            tv_html_raw(html, "</td><td class=\"n\">");
            tv_html_text(html,
                         cJSON_IsString(row) ? row->valuestring : tv_html_number(row->valuedouble, text));
            tv_html_raw(html, "</td></tr>");
        }
        tv_html_raw(html, "</tbody></table></div>\n");
    }
}
