/* Items out, rankings in: see judge.h. */
#include "human/judge.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/subprocess.h"

/* Enough that a program which takes several at once is never idle. */
enum { IN_FLIGHT = 16 };

typedef struct judging {
    tv_session *session;
    const char *annotator;
    tv_subprocess *program;
    tv_session_item items[IN_FLIGHT]; /* a ring, in the order sent */
    uint64_t sent, answered;
    tv_text line;
    double last_progress;
} judging;

static tv_status add(tv_text *out, const char *text) {
    return tv_text_append(out, text, strlen(text));
}

static tv_status add_span(tv_text *out, tv_slice span) {
    return tv_text_append(out, span.data, span.size);
}

static tv_status send_item(judging *j, const tv_session_item *item) {
    j->line.size = 0;
    TV_RETURN_IF_FAILED(add(&j->line, "{\"id\":"));
    TV_RETURN_IF_FAILED(add_span(&j->line, item->item->id_json));
    TV_RETURN_IF_FAILED(add(&j->line, ",\"prompt\":"));
    TV_RETURN_IF_FAILED(add_span(&j->line, item->prompt_json));
    TV_RETURN_IF_FAILED(add(&j->line, ",\"responses\":["));
    for (uint32_t i = 0; i < item->k; i++) {
        TV_RETURN_IF_FAILED(add(&j->line, i ? "," : ""));
        TV_RETURN_IF_FAILED(add_span(&j->line, item->item->responses[item->order[i]].json));
    }
    TV_RETURN_IF_FAILED(add(&j->line, "]}"));
    return tv_subprocess_send(j->program, (const char *)j->line.data, j->line.size);
}

static tv_status send_more(judging *j, bool *exhausted) {
    while (!*exhausted && j->sent - j->answered < IN_FLIGHT) {
        tv_session_item *item = &j->items[j->sent % IN_FLIGHT];
        TV_RETURN_IF_FAILED(tv_session_reserve(j->session, j->annotator, item, exhausted));
        if (*exhausted)
            break;
        TV_RETURN_IF_FAILED(send_item(j, item));
        j->sent++;
    }
    return TV_OK;
}

static tv_status record(judging *j, const tv_session_item *item, const cJSON *answer, const char *where) {
    const char *flags[] = {"judge"};
    tv_session_judgment judgment = {
        .presentation = item->presentation, .k = item->k, .t_shown = item->t_shown};
    judgment.flags = flags;
    judgment.flag_count = TV_COUNT(flags);
    uint8_t of_response[TV_MAX_RESPONSES], of_position[TV_MAX_RESPONSES];
    const cJSON *groups = tv_json_get(answer, "ranking");
    if (!groups)
        return tv_fail(TV_E_DATA, "%s: the answer has no \"ranking\"", where);
    if (!cJSON_IsNull(groups)) {
        TV_RETURN_IF_FAILED(tv_rank_of_ids(groups, item->item, where, of_response));
        for (uint32_t i = 0; i < item->k; i++)
            of_position[i] = of_response[item->order[i]];
        judgment.rank = of_position;
    }
    int64_t confidence;
    TV_RETURN_IF_FAILED(tv_json_integer(answer, "confidence", where, 0, TV_MAX_CONFIDENCE, 0, &confidence));
    TV_RETURN_IF_FAILED(tv_json_string(answer, "comment", where, "", &judgment.comment));
    judgment.confidence = (int)confidence;
    return tv_session_judge(j->session, j->annotator, &judgment);
}

static tv_status take_answer(judging *j) {
    const tv_session_item *item = &j->items[j->answered % IN_FLIGHT];
    const char *line;
    uint64_t length;
    char where[512];
    snprintf(where, sizeof where, "item \"%.400s\" (line %llu of the candidates)", item->id,
             (unsigned long long)item->item->line);
    tv_status status = tv_subprocess_receive(j->program, &line, &length);
    if (status == TV_E_DATA)
        return tv_fail_context(TV_E_DATA, "%s", where);
    TV_RETURN_IF_FAILED(status);
    cJSON *answer = NULL;
    if (tv_json_parse(line, length, where, &answer) != TV_OK || !cJSON_IsObject(answer))
        status = tv_fail(TV_E_DATA,
                         "%s: expected {\"ranking\": [[\"ID\", ...], ...]} or {\"ranking\": null} from the "
                         "judge, found \"%.*s\"",
                         where, (int)tv_min_u64(length, 200), line);
    else
        status = record(j, item, answer, where);
    cJSON_Delete(answer);
    return status;
}

static void show_progress(judging *j) {
    double now = tv_seconds();
    if (now - j->last_progress < 0.5)
        return;
    j->last_progress = now;
    uint64_t done, total;
    tv_session_progress(j->session, j->annotator, &done, &total);
    tv_log_progress("judging: %llu of %llu", (unsigned long long)done, (unsigned long long)total);
}

static tv_status run(judging *j) {
    bool exhausted = false;
    for (;;) {
        /* What is open may change with each judgment: a repeat waits for its first showing. */
        if (j->sent == j->answered)
            exhausted = false;
        TV_RETURN_IF_FAILED(send_more(j, &exhausted));
        if (j->sent == j->answered)
            return TV_OK;
        TV_RETURN_IF_FAILED(take_answer(j));
        j->answered++;
        show_progress(j);
    }
}

tv_status tv_judge_run(tv_session *session, const char *command, const char *annotator, uint64_t *judged) {
    judging j = {.session = session, .annotator = annotator};
    *judged = 0;
    tv_status status = tv_subprocess_start(command, &j.program);
    if (status == TV_OK)
        status = run(&j);
    tv_log_progress_end();
    *judged = j.answered;
    tv_subprocess_close(&j.program);
    tv_session_release(session, annotator);
    tv_text_free(&j.line);
    return status;
}
