/* Sentences of the stages, and examples out of their data: see lesson.h. */
#include "report/lesson.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "report/stage.h"
#include "text/source.h"

enum { MOST_TEXT_BYTES = 1200, MOST_ANSWERS = 8 };

/* ---- one line of the data ---- */

/* The first record is all that is wanted; what ends the reading is no failure. */
static tv_status take_first(void *context, const tv_json_line *line) {
    cJSON **first = context;
    *first = cJSON_Duplicate(line->root, true);
    return tv_fail(TV_E_INTERRUPTED, "one line is enough");
}

static cJSON *first_line_of(const tv_report_run *run) {
    const cJSON *train = tv_json_get(tv_json_get(run->config, "data"), "train");
    const cJSON *item = cJSON_IsArray(train) ? train->child : NULL;
    const cJSON *path = cJSON_IsObject(item) ? tv_json_get(item, "path") : item;
    cJSON *first = NULL;
    /* A pipe would be waited for, or emptied for whoever it is meant for. */
    if (!path || !cJSON_IsString(path) || !tv_path_exists(path->valuestring) ||
        tv_path_is_stream(path->valuestring) || tv_path_is_directory(path->valuestring))
        return NULL;
    const char *const paths[] = {path->valuestring};
    (void)tv_source_read_json(paths, 1, take_first, &first, NULL);
    return first;
}

/* ---- its texts ---- */

static void write_text(tv_html *html, const char *class, const char *label, const char *text) {
    tv_html_format(html, "<dt>");
    tv_html_text(html, label);
    tv_html_format(html, "</dt><dd class=\"%s\">", class);
    tv_html_text_cut(html, text, MOST_TEXT_BYTES);
    tv_html_raw(html, "</dd>");
}

/* A text, or messages one under the other, each after its role. */
static void write_turns(tv_html *html, const char *class, const char *label, const cJSON *value) {
    const cJSON *message;
    if (cJSON_IsString(value))
        write_text(html, class, label, value->valuestring);
    if (!cJSON_IsArray(value))
        return;
    cJSON_ArrayForEach(message, value) {
        const cJSON *role = tv_json_get(message, "role"), *content = tv_json_get(message, "content");
        role = role ? role : tv_json_get(message, "from");
        content = content ? content : tv_json_get(message, "value");
        if (cJSON_IsString(content))
            write_text(html, class, cJSON_IsString(role) ? role->valuestring : label, content->valuestring);
    }
}

static const cJSON *first_of(const cJSON *line, const char *const *keys) {
    const cJSON *found = NULL;
    for (; *keys && !found; keys++)
        found = tv_json_get(line, *keys);
    return found;
}

static bool is_shown(const cJSON *value) {
    return cJSON_IsString(value) || cJSON_GetArraySize(value) > 0;
}

static void write_demonstration(tv_html *html, const cJSON *line) {
    const cJSON *prompt = first_of(line, (const char *const[]){"prompt", "instruction", NULL});
    const cJSON *answer =
        first_of(line, (const char *const[]){"completion", "output", "messages", "conversations", NULL});
    if (!is_shown(answer))
        return;
    tv_html_raw(html,
                "<figure class=\"answer lesson\"><figcaption>One of its demonstrations</figcaption><dl>");
    if (is_shown(prompt))
        write_turns(html, "prompt", "prompt", prompt);
    write_turns(html, "", "ideal answer", answer);
    tv_html_raw(html, "</dl></figure>\n");
}

/* {"prompt", "completion", "label"} */
static void write_judged(tv_html *html, const cJSON *line) {
    const cJSON *label = tv_json_get(line, "label");
    if (!is_shown(tv_json_get(line, "completion")) || !cJSON_IsBool(label))
        return;
    tv_html_raw(html, "<figure class=\"answer lesson\"><figcaption>One judged answer</figcaption><dl>");
    write_turns(html, "prompt", "prompt", tv_json_get(line, "prompt"));
    write_turns(html, "", cJSON_IsTrue(label) ? "called good" : "called bad",
                tv_json_get(line, "completion"));
    tv_html_raw(html, "</dl></figure>\n");
}

/* {"prompt", "chosen", "rejected"}, or {"prompt", "answers": [{"answer", "rank"}]} */
static void write_ranked(tv_html *html, const cJSON *line) {
    const cJSON *chosen = tv_json_get(line, "chosen"), *rejected = tv_json_get(line, "rejected"),
                *answers = tv_json_get(line, "answers"), *item;
    bool pair = is_shown(chosen) && is_shown(rejected);
    if (!pair && cJSON_GetArraySize(answers) < 2)
        return;
    tv_html_raw(html, "<figure class=\"answer lesson\"><figcaption>One ranked item</figcaption><dl>");
    write_turns(html, "prompt", "prompt", tv_json_get(line, "prompt"));
    if (pair) {
        write_turns(html, "", "better", chosen);
        write_turns(html, "", "worse", rejected);
    }
    int shown = 0;
    if (pair)
        answers = NULL;
    cJSON_ArrayForEach(item, answers) {
        const cJSON *rank = tv_json_get(item, "rank");
        char label[40], number[40];
        if (!cJSON_IsNumber(rank) || shown++ == MOST_ANSWERS)
            break;
        snprintf(label, sizeof label, "place %s", tv_html_count(rank->valuedouble, number));
        write_turns(html, "", label, tv_json_get(item, "answer"));
    }
    tv_html_raw(html, "</dl></figure>\n");
}

void tv_report_write_lesson(tv_report_page *page) {
    const tv_report_run *run = &page->runs[0];
    const char *name = tv_report_stage_name(run);
    const tv_report_stage *stage = tv_report_stage_of(run);
    if (stage)
        tv_html_format(&page->html, "<p class=\"lesson\">%s</p>\n", stage->lesson);
    bool demonstrated = strcmp(name, "sft") == 0;
    if (!demonstrated && strcmp(name, "reward") != 0 && strcmp(name, "dpo") != 0)
        return;
    cJSON *line = first_line_of(run);
    if (demonstrated)
        write_demonstration(&page->html, line);
    else if (tv_json_get(line, "label"))
        write_judged(&page->html, line);
    else
        write_ranked(&page->html, line);
    cJSON_Delete(line);
}
