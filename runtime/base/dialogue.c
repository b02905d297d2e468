/* Questions, answers and their ids: see dialogue.h. */
#include "base/dialogue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/subprocess.h"

enum { SHOWN_BYTES = 120 };
/* A shell that writes at once has done so by then; what comes later is found by its unread questions. */
static const double settle_seconds = 0.02;

typedef struct question {
    uint64_t number;
    char *id;
} question;

struct tv_dialogue {
    tv_subprocess *program;
    char *command;
    question *out; /* (most), in the order asked */
    uint64_t count, most;
    bool asked, named; /* the last answer named its id */
    cJSON *object;     /* of the last answer */
};

tv_status tv_dialogue_start(const char *command, uint64_t most, tv_dialogue **out) {
    *out = NULL;
    tv_status status;
    tv_dialogue *d = calloc(1, sizeof *d);
    if (!d)
        return tv_fail(TV_E_MEMORY, "out of host memory for a program");
    d->most = most;
    d->out = calloc(most, sizeof *d->out);
    d->command = tv_format("%s", command);
    if (!d->out || !d->command) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a program");
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_subprocess_start(command, &d->program));
    *out = d;
    return TV_OK;
fail:
    tv_dialogue_close(&d);
    return status;
}

void tv_dialogue_set_limit(tv_dialogue *d, double seconds) {
    tv_subprocess_set_limit(d->program, seconds);
}

bool tv_dialogue_takes_more(const tv_dialogue *d) {
    return d->count < (d->named ? d->most : 1);
}

uint64_t tv_dialogue_outstanding(const tv_dialogue *d) {
    return d->count;
}

/* Answers without ids say nothing about which question they are for, so the ones before are in doubt too. */
static tv_status fail_surplus(const tv_dialogue *d, const char *bytes, uint64_t size, const char *when) {
    const char *newline = size ? memchr(bytes, '\n', size) : NULL;
    uint64_t line = newline ? (uint64_t)(newline - bytes) : size;
    return tv_fail(TV_E_DATA,
                   "the program \"%s\" wrote \"%.*s\" %s; expected one line for each question, written after "
                   "the question was read, and nothing else%s",
                   d->command, (int)tv_min_u64(line, SHOWN_BYTES), bytes, when,
                   d->named ? ""
                            : " (answers before it may belong to other questions: none named an \"id\")");
}

tv_status tv_dialogue_ask(tv_dialogue *d, uint64_t number, const char *id, const char *line,
                          uint64_t length) {
    if (d->count == 0) {
        const char *bytes;
        uint64_t size;
        TV_RETURN_IF_FAILED(tv_subprocess_waiting(d->program, d->asked ? 0 : settle_seconds, &bytes, &size));
        if (size > 0)
            return fail_surplus(d, bytes, size, "before it was asked the next question");
    }
    char *copy = tv_format("%s", id);
    if (!copy)
        return tv_fail(TV_E_MEMORY, "out of host memory for a question");
    d->out[d->count++] = (question){number, copy};
    d->asked = true;
    return tv_subprocess_send(d->program, line, length);
}

/* The answer's id as a text, in `digits` where it is a number; NULL: it names none. */
static tv_status read_id(const tv_dialogue *d, const tv_answer *answer, char *digits, size_t size,
                         const char **id) {
    const cJSON *member = answer->object ? tv_json_get(answer->object, "id") : NULL;
    *id = NULL;
    if (!member || cJSON_IsNull(member))
        return TV_OK;
    if (!cJSON_IsString(member) && !cJSON_IsNumber(member))
        return tv_fail(TV_E_DATA,
                       "the program \"%s\" answered \"%.*s\"; expected a question's \"id\" under \"id\", "
                       "found neither text nor number",
                       d->command, SHOWN_BYTES, answer->line);
    if (cJSON_IsNumber(member))
        snprintf(digits, size, "%.15g", member->valuedouble);
    *id = cJSON_IsNumber(member) ? digits : member->valuestring;
    return TV_OK;
}

static tv_status find(const tv_dialogue *d, const tv_answer *answer, const char *id, uint64_t *at) {
    *at = 0;
    if (!id && d->count > 1)
        return tv_fail(TV_E_DATA,
                       "the program \"%s\" answered \"%.*s\" while %llu questions are out; expected the "
                       "\"id\" of one of them, as in its answers before",
                       d->command, SHOWN_BYTES, answer->line, (unsigned long long)d->count);
    while (id && *at < d->count && strcmp(d->out[*at].id, id) != 0)
        ++*at;
    if (*at == d->count)
        return tv_fail(
            TV_E_DATA,
            "the program \"%s\" answered a question \"%.*s\", which is not out: it was never asked, "
            "or is answered already",
            d->command, SHOWN_BYTES, id);
    return TV_OK;
}

tv_status tv_dialogue_await(tv_dialogue *d, double seconds, bool *came) {
    return tv_subprocess_await(d->program, seconds, came);
}

tv_status tv_dialogue_answer(tv_dialogue *d, tv_answer *answer) {
    char digits[32];
    const char *id;
    uint64_t at;
    cJSON_Delete(d->object);
    d->object = NULL;
    *answer = (tv_answer){.question = d->out[0].number};
    TV_RETURN_IF_FAILED(tv_subprocess_receive(d->program, &answer->line, &answer->length));
    uint64_t unread = tv_subprocess_unread(d->program);
    const char *first = answer->line + strspn(answer->line, " \t");
    if (*first == '{')
        (void)tv_json_parse(answer->line, answer->length, "an answer", &d->object);
    answer->object = d->object;
    TV_RETURN_IF_FAILED(read_id(d, answer, digits, sizeof digits, &id));
    if (!id && d->count == 1 && unread > 0)
        return fail_surplus(d, answer->line, answer->length, "before it had read the question");
    TV_RETURN_IF_FAILED(find(d, answer, id, &at));
    answer->question = d->out[at].number;
    d->named = id != NULL;
    free(d->out[at].id);
    memmove(d->out + at, d->out + at + 1, (d->count - at - 1) * sizeof *d->out);
    d->count--;
    return TV_OK;
}

tv_status tv_dialogue_finish(tv_dialogue *d) {
    const char *bytes;
    uint64_t size;
    TV_RETURN_IF_FAILED(tv_subprocess_finish(d->program, &bytes, &size));
    return size > 0 ? fail_surplus(d, bytes, size, "after its last answer") : TV_OK;
}

void tv_dialogue_close(tv_dialogue **handle) {
    if (!handle || !*handle)
        return;
    tv_dialogue *d = *handle;
    tv_subprocess_close(&d->program);
    for (uint64_t i = 0; i < d->count; i++)
        free(d->out[i].id);
    cJSON_Delete(d->object);
    free(d->out);
    free(d->command);
    free(d);
    *handle = NULL;
}
