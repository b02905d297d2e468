/* The page's questions to a session: see web_api.h. */
#include "human/web_api.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/os.h"

/* Growing text whose failure is asked for once, at its end. */
typedef struct page_text {
    tv_text *text;
    tv_status status;
} page_text;

static void put(page_text *out, const void *bytes, uint64_t size) {
    if (out->status == TV_OK)
        out->status = tv_text_append(out->text, bytes, size);
}

__attribute__((format(printf, 2, 3))) static void put_format(page_text *out, const char *format, ...) {
    char text[256];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put(out, text, length > 0 && (size_t)length < sizeof text ? (uint64_t)length : 0);
}

/* A control character must be escaped in JSON; everything above passes as it is, invalid UTF-8 too. */
static void put_byte(page_text *out, char byte) {
    if ((unsigned char)byte < 0x20)
        put_format(out, "\\u%04x", (unsigned)byte);
    else
        put(out, &byte, 1);
}

/* Bytes as a JSON string. */
static void put_string(page_text *out, tv_slice bytes) {
    put(out, "\"", 1);
    for (uint64_t i = 0; i < bytes.size; i++) {
        if (bytes.data[i] == '"' || bytes.data[i] == '\\')
            put(out, "\\", 1);
        put_byte(out, bytes.data[i]);
    }
    put(out, "\"", 1);
}

static void put_sentence(page_text *out, const char *text) {
    put_string(out, (tv_slice){text, strlen(text)});
}

/* A JSON string as it was read. cJSON takes control characters that stand in it as they are, browsers do not.
 * Another value is shown as the text it is. */
static void put_raw_string(page_text *out, tv_slice json) {
    if (json.size == 0 || json.data[0] != '"') {
        put_string(out, json);
        return;
    }
    for (uint64_t i = 0; i < json.size; i++)
        put_byte(out, json.data[i]);
}

/* A text, or a list of messages with nothing but their roles and contents. */
static void put_prompt(page_text *out, tv_slice json) {
    if (json.size == 0 || json.data[0] != '[') {
        put_raw_string(out, json);
        return;
    }
    tv_raw_walk walk = tv_raw_begin(json);
    tv_slice key, message;
    const char *separator = "[";
    while (tv_raw_next(&walk, &key, &message)) {
        put_format(out, "%s{\"role\":", separator);
        put_raw_string(out, tv_raw_get(message, "role"));
        put_format(out, ",\"content\":");
        put_raw_string(out, tv_raw_get(message, "content"));
        put_format(out, "}");
        separator = ",";
    }
    put_format(out, separator[0] == '[' ? "[]" : "]");
}

static void put_item(page_text *out, const tv_session_item *item) {
    put_format(out, "{\"presentation\":%llu,\"k\":%u,\"t_shown\":%.3f,\"id\":",
               (unsigned long long)item->presentation, item->k, item->t_shown);
    put_sentence(out, item->id);
    put_format(out, ",\"prompt\":");
    put_prompt(out, item->prompt_json);
    for (uint32_t i = 0; i < item->k; i++) {
        put_format(out, i == 0 ? ",\"texts\":[" : ",");
        put_raw_string(out, item->item->responses[item->order[i]].text_json);
    }
    put_format(out, "]}");
}

static void put_progress(page_text *out, const tv_web_api *api, const char *annotator) {
    uint64_t done = 0, total = 0;
    tv_session_progress(api->session, annotator, &done, &total);
    put_format(out, "\"progress\":{\"done\":%llu,\"total\":%llu}", (unsigned long long)done,
               (unsigned long long)total);
}

static void put_shown(page_text *out, const tv_web_api *api, const char *annotator,
                      const tv_session_item *item) {
    put_format(out, "{\"item\":");
    if (item)
        put_item(out, item);
    else
        put_format(out, "null");
    put_format(out, ",");
    put_progress(out, api, annotator);
    put_format(out, "}");
}

static tv_status call_start(const tv_web_api *api, const char *annotator, const cJSON *body, page_text *out) {
    (void)annotator;
    (void)body;
    put_format(out, "{\"token\":\"%s\",\"title\":", api->token);
    put_sentence(out, api->title);
    put_format(out, ",\"version\":");
    put_sentence(out, api->version);
    put_format(out, "}");
    return TV_OK;
}

static tv_status call_next(const tv_web_api *api, const char *annotator, const cJSON *body, page_text *out) {
    (void)body;
    tv_session_item item;
    bool done = false;
    TV_RETURN_IF_FAILED(tv_session_next(api->session, annotator, &item, &done));
    put_shown(out, api, annotator, done ? NULL : &item);
    return TV_OK;
}

static tv_status call_judge(const tv_web_api *api, const char *annotator, const cJSON *body, page_text *out) {
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

static tv_status call_undo(const tv_web_api *api, const char *annotator, const cJSON *body, page_text *out) {
    (void)body;
    tv_session_item item;
    TV_RETURN_IF_FAILED(tv_session_undo(api->session, annotator, &item));
    put_shown(out, api, annotator, &item);
    return TV_OK;
}

static tv_status call_progress(const tv_web_api *api, const char *annotator, const cJSON *body,
                               page_text *out) {
    (void)body;
    put_format(out, "{");
    put_progress(out, api, annotator);
    put_format(out, "}");
    return TV_OK;
}

static tv_status call_release(const tv_web_api *api, const char *annotator, const cJSON *body,
                              page_text *out) {
    (void)body;
    tv_session_release(api->session, annotator);
    put_format(out, "{}");
    return TV_OK;
}

static const struct call {
    const char *name;
    tv_status (*answer)(const tv_web_api *api, const char *annotator, const cJSON *body, page_text *out);
    bool posted;
} calls[] = {
    {"start", call_start, false}, {"next", call_next, true},         {"judge", call_judge, true},
    {"undo", call_undo, true},    {"progress", call_progress, true}, {"release", call_release, true},
};

static const struct call *find_call(const char *name) {
    for (size_t i = 0; i < TV_COUNT(calls); i++)
        if (strcmp(calls[i].name, name) == 0)
            return &calls[i];
    return NULL;
}

bool tv_web_api_knows(const char *name, bool *posted) {
    const struct call *call = find_call(name);
    *posted = call && call->posted;
    return call != NULL;
}

tv_status tv_web_api_refusal(const char *sentence, tv_text *out) {
    page_text text = {.text = out};
    put_format(&text, "{\"error\":");
    put_sentence(&text, sentence);
    put_format(&text, "}");
    return text.status;
}

/* What the session refuses contradicts what it holds; what does not even parse is the asker's mistake. */
static unsigned refusal_code(tv_status status) {
    return status == TV_E_USAGE ? 409 : status == TV_E_DATA ? 400 : 500;
}

tv_status tv_web_api_answer(const tv_web_api *api, const char *name, tv_slice body, unsigned *code,
                            tv_text *out) {
    const struct call *call = find_call(name);
    cJSON *root = NULL;
    const char *annotator = NULL;
    page_text text = {.text = out};
    tv_status status = TV_OK;
    *code = 200;
    if (call->posted) {
        TV_TRY(tv_json_parse(body.data ? body.data : "", body.size, "the request", &root));
        TV_TRY(tv_json_string(root, "annotator", "the request", NULL, &annotator));
        if (!annotator || !annotator[0])
            TV_TRY(tv_fail(TV_E_DATA, "the request: expected a name as \"annotator\", found none"));
        if (strlen(annotator) > TV_MAX_ANNOTATOR_BYTES)
            TV_TRY(tv_fail(TV_E_DATA, "the request: a name takes at most %d bytes", TV_MAX_ANNOTATOR_BYTES));
    }
    TV_TRY(call->answer(api, annotator, root, &text));
    cJSON_Delete(root);
    return text.status;
fail:
    cJSON_Delete(root);
    *code = refusal_code(status);
    out->size = 0;
    return tv_web_api_refusal(tv_last_error(), out);
}
