/* Items out, rankings in: see judge.h. */
#include "human/judge.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/dialogue.h"
#include "base/log.h"
#include "base/os.h"
#include "text/json_text.h"

/* Enough that a program which takes several at once is never idle. */
enum { IN_FLIGHT = 16 };

typedef struct judging {
    tv_session *session;
    const char *annotator;
    tv_dialogue *program;
    tv_session_item items[IN_FLIGHT];
    bool out[IN_FLIGHT]; /* which of them are asked and not answered; their places number the questions */
    uint64_t answered;
    tv_text line;
    double last_progress;
} judging;

static tv_status ask(judging *j, uint64_t place) {
    const tv_session_item *item = &j->items[place];
    j->line.size = 0;
    TV_RETURN_IF_FAILED(tv_raw_append(&j->line, "{\"id\":", item->item->id_json));
    TV_RETURN_IF_FAILED(tv_raw_append(&j->line, ",\"prompt\":", item->prompt_json));
    TV_RETURN_IF_FAILED(tv_json_append(&j->line, ",\"responses\":["));
    for (uint32_t i = 0; i < item->k; i++)
        TV_RETURN_IF_FAILED(
            tv_raw_append(&j->line, i ? "," : "", item->item->responses[item->order[i]].json));
    TV_RETURN_IF_FAILED(tv_json_append(&j->line, "]}"));
    j->out[place] = true;
    return tv_dialogue_ask(j->program, place, item->item->id, (const char *)j->line.data, j->line.size);
}

static tv_status ask_more(judging *j, bool *exhausted) {
    while (!*exhausted && tv_dialogue_takes_more(j->program)) {
        uint64_t place = 0;
        while (j->out[place])
            place++;
        TV_RETURN_IF_FAILED(tv_session_reserve(j->session, j->annotator, &j->items[place], exhausted));
        if (!*exhausted)
            TV_RETURN_IF_FAILED(ask(j, place));
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
    tv_answer answer;
    char where[512];
    tv_status status = tv_dialogue_answer(j->program, &answer);
    const tv_session_item *item = &j->items[answer.question];
    snprintf(where, sizeof where, "item \"%.400s\" (line %llu of the candidates)", item->id,
             (unsigned long long)item->item->line);
    if (status == TV_E_DATA)
        return tv_fail_context(TV_E_DATA, "%s", where);
    TV_RETURN_IF_FAILED(status);
    if (!answer.object)
        return tv_fail(TV_E_DATA,
                       "%s: expected {\"ranking\": [[\"ID\", ...], ...]} or {\"ranking\": null} from the "
                       "judge, found \"%.*s\"",
                       where, (int)tv_min_u64(answer.length, 200), answer.line);
    TV_RETURN_IF_FAILED(record(j, item, answer.object, where));
    j->out[answer.question] = false;
    j->answered++;
    return TV_OK;
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
        if (tv_dialogue_outstanding(j->program) == 0)
            exhausted = false;
        TV_RETURN_IF_FAILED(ask_more(j, &exhausted));
        if (tv_dialogue_outstanding(j->program) == 0)
            return tv_dialogue_finish(j->program);
        TV_RETURN_IF_FAILED(take_answer(j));
        show_progress(j);
    }
}

tv_status tv_judge_run(tv_session *session, const char *command, const char *annotator, uint64_t *judged) {
    judging j = {.session = session, .annotator = annotator};
    *judged = 0;
    tv_status status = tv_dialogue_start(command, IN_FLIGHT, &j.program);
    if (status == TV_OK)
        status = run(&j);
    tv_log_progress_end();
    *judged = j.answered;
    tv_dialogue_close(&j.program);
    tv_session_release(session, annotator);
    tv_text_free(&j.line);
    return status;
}
