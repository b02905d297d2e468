/* The page's questions to a session: see web_api.h. */
#include "human/web_api.h"

#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"
#include "human/markdown.h"
#include "human/page_json.h"
#include "human/web_overview.h"

/* What a model wrote is also given as Markdown; what people wrote stands as they wrote it. */
static void put_tree_of(tv_page_json *out, tv_slice content) {
    tv_text text = {0};
    if (tv_raw_string(content, &text) == TV_OK) {
        tv_page_put_format(out, ",\"tree\":");
        tv_markdown_put(out, (tv_slice){(const char *)text.data, text.size});
    }
    tv_text_free(&text);
}

/* A text, or a list of messages with nothing but their roles and contents. */
static void put_prompt(tv_page_json *out, tv_slice json) {
    if (json.size == 0 || json.data[0] != '[') {
        tv_page_put_raw_string(out, json);
        return;
    }
    tv_raw_walk walk = tv_raw_begin(json);
    tv_slice key, message;
    const char *separator = "[";
    while (tv_raw_next(&walk, &key, &message)) {
        tv_page_put_format(out, "%s{\"role\":", separator);
        tv_page_put_raw_string(out, tv_raw_get(message, "role"));
        tv_page_put_format(out, ",\"content\":");
        tv_page_put_raw_string(out, tv_raw_get(message, "content"));
        if (tv_slice_is(tv_raw_get(message, "role"), "\"assistant\""))
            put_tree_of(out, tv_raw_get(message, "content"));
        tv_page_put_format(out, "}");
        separator = ",";
    }
    tv_page_put_format(out, separator[0] == '[' ? "[]" : "]");
}

static void put_item(tv_page_json *out, const tv_session_item *item) {
    tv_page_put_format(out, "{\"presentation\":%llu,\"k\":%u,\"t_shown\":%.3f,\"id\":",
                       (unsigned long long)item->presentation, item->k, item->t_shown);
    tv_page_put_text(out, item->id);
    tv_page_put_format(out, ",\"prompt\":");
    put_prompt(out, item->prompt_json);
    for (uint32_t i = 0; i < item->k; i++) {
        tv_page_put_format(out, i == 0 ? ",\"texts\":[" : ",");
        tv_page_put_raw_string(out, item->item->responses[item->order[i]].text_json);
    }
    for (uint32_t i = 0; i < item->k; i++) {
        tv_page_put_format(out, i == 0 ? "],\"trees\":[" : ",");
        tv_markdown_put(out, item->texts[i]);
    }
    tv_page_put_format(out, "]}");
}

static void put_progress(tv_page_json *out, const tv_web_api *api, const char *annotator) {
    uint64_t done = 0, total = 0;
    tv_session_progress(api->session, annotator, &done, &total);
    tv_page_put_format(out, "\"progress\":{\"done\":%llu,\"total\":%llu,\"before_others\":%llu}",
                       (unsigned long long)done, (unsigned long long)total,
                       (unsigned long long)tv_session_before_others(api->session, annotator));
}

static void put_shown(tv_page_json *out, const tv_web_api *api, const char *annotator,
                      const tv_session_item *item) {
    tv_page_put_format(out, "{\"item\":");
    if (item)
        put_item(out, item);
    else
        tv_page_put_format(out, "null");
    tv_page_put_format(out, ",");
    put_progress(out, api, annotator);
    tv_page_put_format(out, "}");
}

static tv_status call_start(const tv_web_api *api, const char *annotator, const cJSON *body,
                            tv_page_json *out) {
    (void)annotator;
    (void)body;
    tv_page_put_format(
        out, "{\"organiser\":%s,\"annotator\":", api->link->role == TV_LINK_ORGANISER ? "true" : "false");
    if (api->link->name)
        tv_page_put_text(out, api->link->name);
    else
        tv_page_put_format(out, "null");
    tv_page_put_format(out, ",\"title\":");
    tv_page_put_text(out, api->title);
    tv_page_put_format(out, ",\"version\":");
    tv_page_put_text(out, api->version);
    tv_page_put_format(out, ",\"guidelines\":");
    if (api->guidelines.size > 0)
        tv_markdown_put(out, api->guidelines);
    else
        tv_page_put_format(out, "null");
    tv_page_put_format(out, "}");
    return TV_OK;
}

static tv_status call_next(const tv_web_api *api, const char *annotator, const cJSON *body,
                           tv_page_json *out) {
    (void)body;
    tv_session_item item;
    bool done = false;
    TV_RETURN_IF_FAILED(tv_session_next(api->session, annotator, &item, &done));
    put_shown(out, api, annotator, done ? NULL : &item);
    return TV_OK;
}

static tv_status call_judge(const tv_web_api *api, const char *annotator, const cJSON *body,
                            tv_page_json *out) {
    const char *where = "the judgment";
    int64_t presentation = 0, confidence = 0;
    tv_session_judgment judgment = {0};
    uint8_t rank[TV_MAX_RESPONSES];
    const cJSON *ranking = tv_json_get(body, "ranking");
    TV_RETURN_IF_FAILED(tv_json_integer(body, "presentation", where, 0, (int64_t)1 << 53, -1, &presentation));
    TV_RETURN_IF_FAILED(tv_json_integer(body, "confidence", where, 0, TV_MAX_CONFIDENCE, 0, &confidence));
    TV_RETURN_IF_FAILED(tv_json_bool(body, "all_bad", where, false, &judgment.all_bad));
    TV_RETURN_IF_FAILED(tv_json_string(body, "comment", where, NULL, &judgment.comment));
    TV_RETURN_IF_FAILED(tv_json_number(body, "t_shown", where, 0, &judgment.t_shown));
    if (presentation < 0 || !ranking)
        return tv_fail(TV_E_DATA, "%s: expected \"presentation\" and \"ranking\" (null for a skip)", where);
    if (!(judgment.t_shown > 0 && judgment.t_shown <= tv_wall_seconds()))
        judgment.t_shown = 0;
    if (judgment.comment && !judgment.comment[0])
        judgment.comment = NULL;
    judgment.presentation = (uint64_t)presentation;
    judgment.confidence = (int)confidence;
    if (!cJSON_IsNull(ranking) && !judgment.all_bad) {
        for (const cJSON *group = ranking->child; group; group = group->next)
            judgment.k += (uint32_t)cJSON_GetArraySize(group);
        tv_status status = judgment.k < TV_MIN_RESPONSES || judgment.k > TV_MAX_RESPONSES
                               ? tv_fail(TV_E_DATA, "%s: expected a ranking of %d to %d answers, found %u",
                                         where, TV_MIN_RESPONSES, TV_MAX_RESPONSES, judgment.k)
                               : tv_rank_of_positions(ranking, judgment.k, rank);
        if (status != TV_OK)
            return tv_fail_context(TV_E_DATA, "ranking");
        judgment.rank = rank;
    }
    TV_RETURN_IF_FAILED(tv_session_judge(api->session, annotator, &judgment));
    return call_next(api, annotator, body, out);
}

static tv_status call_undo(const tv_web_api *api, const char *annotator, const cJSON *body,
                           tv_page_json *out) {
    (void)body;
    tv_session_item item;
    TV_RETURN_IF_FAILED(tv_session_undo(api->session, annotator, &item));
    put_shown(out, api, annotator, &item);
    return TV_OK;
}

static tv_status call_progress(const tv_web_api *api, const char *annotator, const cJSON *body,
                               tv_page_json *out) {
    (void)body;
    tv_page_put_format(out, "{");
    put_progress(out, api, annotator);
    tv_page_put_format(out, "}");
    return TV_OK;
}

static tv_status call_release(const tv_web_api *api, const char *annotator, const cJSON *body,
                              tv_page_json *out) {
    (void)body;
    tv_session_release(api->session, annotator);
    tv_page_put_format(out, "{}");
    return TV_OK;
}

static tv_status call_here(const tv_web_api *api, const char *annotator, const cJSON *body,
                           tv_page_json *out) {
    int64_t presentation = 0;
    bool kept = false;
    TV_RETURN_IF_FAILED(
        tv_json_integer(body, "presentation", "the request", 0, (int64_t)1 << 53, -1, &presentation));
    if (presentation < 0)
        return tv_fail(TV_E_DATA, "the request: expected \"presentation\"");
    TV_RETURN_IF_FAILED(tv_session_here(api->session, annotator, (uint64_t)presentation, &kept));
    tv_page_put_format(out, "{\"kept\":%s}", kept ? "true" : "false");
    return TV_OK;
}

static tv_status call_overview(const tv_web_api *api, const char *annotator, const cJSON *body,
                               tv_page_json *out) {
    (void)annotator;
    (void)body;
    return tv_web_overview_put(api->session, api->links, out);
}

enum { ANNOTATES = 1 << TV_LINK_ANYONE | 1 << TV_LINK_ANNOTATOR, ORGANISES = 1 << TV_LINK_ORGANISER };

static const struct call {
    const char *name;
    tv_status (*answer)(const tv_web_api *api, const char *annotator, const cJSON *body, tv_page_json *out);
    unsigned roles; /* bits of tv_link_role */
} calls[] = {
    {"start", call_start, ANNOTATES | ORGANISES},
    {"next", call_next, ANNOTATES},
    {"judge", call_judge, ANNOTATES},
    {"undo", call_undo, ANNOTATES},
    {"progress", call_progress, ANNOTATES},
    {"release", call_release, ANNOTATES},
    {"here", call_here, ANNOTATES},
    {"overview", call_overview, ORGANISES},
};

static const struct call *find_call(const char *name) {
    for (size_t i = 0; i < TV_COUNT(calls); i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

bool tv_web_api_knows(const char *name) {
    return find_call(name) != NULL;
}

tv_status tv_web_api_refusal(const char *sentence, tv_text *out) {
    tv_page_json text = {.text = out};
    tv_page_put_format(&text, "{\"error\":");
    tv_page_put_text(&text, sentence);
    tv_page_put_format(&text, "}");
    return text.status;
}

/* What the session refuses contradicts what it holds; what does not even parse is the asker's mistake. */
static unsigned refusal_code(tv_status status) {
    return status == TV_E_USAGE ? 409 : status == TV_E_DATA ? 400 : 500;
}

/* Who asks: the name of the link, which no request may contradict, or the one that the request says. */
static tv_status name_of(const tv_link *link, const cJSON *request, const char **name, unsigned *code) {
    TV_RETURN_IF_FAILED(tv_json_string(request, "annotator", "the request", NULL, name));
    if (link->name && *name && strcmp(link->name, *name) != 0) {
        *code = 403;
        return tv_fail(TV_E_USAGE, "the link of this page is another annotator's; load the page again");
    }
    if (link->name)
        *name = link->name;
    if (!*name || !(*name)[0])
        return tv_fail(TV_E_DATA, "the request: expected a name as \"annotator\", found none");
    if (strlen(*name) > TV_MAX_ANNOTATOR_BYTES)
        return tv_fail(TV_E_DATA, "the request: a name takes at most %d bytes", TV_MAX_ANNOTATOR_BYTES);
    return TV_OK;
}

tv_status tv_web_api_answer(const tv_web_api *api, const char *name, tv_slice body, unsigned *code,
                            tv_text *out) {
    const struct call *call = find_call(name);
    cJSON *root = NULL;
    const char *annotator = NULL;
    tv_page_json text = {.text = out};
    tv_status status = TV_OK;
    *code = 0;
    TV_TRY_OR_FAIL(tv_json_parse(body.data ? body.data : "", body.size, "the request", &root));
    if (!(call->roles & 1u << api->link->role)) {
        *code = 403;
        TV_TRY_OR_FAIL(
            tv_fail(TV_E_USAGE, "this link is not for ranking or not for following; open the other one"));
    }
    if (call->answer != call_start && api->link->role != TV_LINK_ORGANISER)
        TV_TRY_OR_FAIL(name_of(api->link, root, &annotator, code));
    TV_TRY_OR_FAIL(call->answer(api, annotator, root, &text));
    cJSON_Delete(root);
    *code = 200;
    return text.status;
fail:
    cJSON_Delete(root);
    if (*code == 0)
        *code = refusal_code(status);
    out->size = 0;
    return tv_web_api_refusal(tv_last_error(), out);
}
