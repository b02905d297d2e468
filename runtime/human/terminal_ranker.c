/* The loop of asking and recording: see terminal_ranker.h. */
#include "human/terminal_ranker.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/os.h"
#include "human/wrap_text.h"
#include "text/visible_text.h"

/* Lines that are longer are hard to read. */
enum { DEFAULT_COLUMNS = 80, MOST_COLUMNS = 100, LEAST_COLUMNS = 20, LINE_BYTES = 4096 };
static const char KEYS[] =
    "b>a=c ranks, best first (with 1 to 5 behind it: how sure); s skip, x all bad, u undo, c TEXT "
    "comment, q quit";

typedef struct ranker {
    tv_session *session;
    const tv_terminal_ranker_options *options;
    uint32_t columns;
    char comment[LINE_BYTES]; /* for the next judgment */
    tv_text screen;           /* is printed at once */
    uint64_t judged;
    bool leave;
} ranker;

/* ---- showing ---- */

static tv_status add(ranker *r, const char *text) {
    return tv_text_append(&r->screen, text, strlen(text));
}

static tv_status add_wrapped(ranker *r, tv_slice text, const char *first, const char *indent) {
    tv_text visible = {0};
    tv_status status;
    TV_TRY(tv_visible_text(text.data, text.size, &visible));
    TV_TRY(tv_wrap_text((tv_slice){(const char *)visible.data, visible.size},
                        r->columns - (uint32_t)strlen(indent), first, indent, &r->screen));
done:
    tv_text_free(&visible);
    return status;
}

static tv_status add_string(ranker *r, tv_slice json, const char *indent) {
    tv_text text = {0};
    tv_status status;
    TV_TRY(tv_raw_string(json, &text));
    TV_TRY(add_wrapped(r, (tv_slice){(const char *)text.data, text.size}, indent, indent));
done:
    tv_text_free(&text);
    return status;
}

/* A text, or messages under their roles. */
static tv_status add_prompt(ranker *r, tv_slice prompt) {
    if (prompt.data[0] == '"')
        return add_string(r, prompt, "");
    tv_raw_walk walk = tv_raw_begin(prompt);
    for (tv_slice key, message; tv_raw_next(&walk, &key, &message);) {
        tv_text role = {0};
        tv_status status = tv_raw_string(tv_raw_get(message, "role"), &role);
        if (status == TV_OK)
            status = tv_text_append(&role, ":", 1);
        if (status == TV_OK)
            status = add_wrapped(r, (tv_slice){(const char *)role.data, role.size}, "", "");
        tv_text_free(&role);
        TV_RETURN_IF_FAILED(status);
        TV_RETURN_IF_FAILED(add_string(r, tv_raw_get(message, "content"), "  "));
    }
    return TV_OK;
}

static tv_status show(ranker *r, const tv_session_item *item) {
    char line[160];
    uint64_t done, total;
    tv_session_progress(r->session, r->options->annotator, &done, &total);
    int length = snprintf(line, sizeof line, "\n---- %llu of %llu ", (unsigned long long)done + 1,
                          (unsigned long long)tv_max_u64(total, done + 1));
    memset(line + length, '-', sizeof line - (size_t)length);
    line[tv_max_u64((uint64_t)length, tv_min_u64(r->columns + 1, sizeof line - 1))] = '\0';
    r->screen.size = 0;
    TV_RETURN_IF_FAILED(add(r, line));
    TV_RETURN_IF_FAILED(add(r, "\n"));
    TV_RETURN_IF_FAILED(add_prompt(r, item->prompt_json));
    for (uint32_t i = 0; i < item->k; i++) {
        char letter[] = {(char)('a' + i), ' ', ' ', '\0'};
        TV_RETURN_IF_FAILED(add(r, "\n"));
        tv_slice empty = {"(an empty answer)", 17};
        TV_RETURN_IF_FAILED(add_wrapped(r, item->texts[i].size ? item->texts[i] : empty, letter, "   "));
    }
    TV_RETURN_IF_FAILED(add(r, "\n"));
    if (r->judged == 0)
        TV_RETURN_IF_FAILED(add_wrapped(r, (tv_slice){KEYS, sizeof KEYS - 1}, "", ""));
    if (fwrite(r->screen.data, 1, r->screen.size, r->options->out) != r->screen.size)
        return tv_fail_errno(TV_E_IO, "cannot write to the terminal");
    return TV_OK;
}

static void say(ranker *r, const char *sentence) {
    r->screen.size = 0;
    if (add_wrapped(r, (tv_slice){sentence, strlen(sentence)}, "", "") == TV_OK)
        fwrite(r->screen.data, 1, r->screen.size, r->options->out);
}

/* ---- asking ---- */

/* A line without its newline and the spaces around it; false at the end of the input. */
static bool ask(ranker *r, const char *question, char line[LINE_BYTES]) {
    fputs(question, r->options->out);
    fflush(r->options->out);
    if (tv_interrupted() || !fgets(line, LINE_BYTES, r->options->in))
        return false;
    size_t length = strlen(line);
    if (length > 0 && line[length - 1] != '\n')
        for (int c = fgetc(r->options->in); c != '\n' && c != EOF;)
            c = fgetc(r->options->in);
    while (length > 0 && strchr(" \t\r\n", line[length - 1]))
        line[--length] = '\0';
    size_t start = strspn(line, " \t");
    memmove(line, line + start, length - start + 1);
    return true;
}

static tv_status record(ranker *r, const tv_session_item *item, tv_session_judgment *judgment) {
    judgment->presentation = item->presentation;
    judgment->k = item->k;
    judgment->comment = r->comment;
    judgment->t_shown = item->t_shown;
    TV_RETURN_IF_FAILED(tv_session_judge(r->session, r->options->annotator, judgment));
    r->comment[0] = '\0';
    r->judged++;
    return TV_OK;
}

/* "b>a=c 4": the digit is cut off. */
static int take_confidence(char *line) {
    size_t length = strlen(line);
    if (length < 2 || line[length - 2] != ' ' || line[length - 1] < '1' ||
        line[length - 1] > '0' + TV_MAX_CONFIDENCE)
        return 0;
    int confidence = line[length - 1] - '0';
    line[length - 2] = '\0';
    return confidence;
}

static tv_status take_comment(ranker *r, char *text) {
    char line[LINE_BYTES] = "";
    if (!*text && ask(r, "comment: ", line))
        text = line;
    snprintf(r->comment, sizeof r->comment, "%s", text);
    say(r, r->comment[0] ? "The comment goes with your ranking of this item." : "No comment.");
    return TV_OK;
}

/* Whether the line is the key, alone or with a text behind it that does not go on as a ranking ("c > a"). */
static bool is_key(const char *line, char key) {
    if ((line[0] | 0x20) != key)
        return false;
    size_t next = 1 + strspn(line + 1, " \t");
    return line[next] == '\0' || (key == 'c' && next > 1 && line[next] != '>' && line[next] != '=');
}

/* What the line asks for; *item may become another one. Wrong lines are TV_E_USAGE. */
static tv_status obey(ranker *r, char *line, tv_session_item *item) {
    tv_session_judgment judgment = {0};
    uint8_t rank[TV_MAX_RESPONSES];
    if (is_key(line, 'q')) {
        r->leave = true;
        return TV_OK;
    }
    if (is_key(line, 'u')) {
        TV_RETURN_IF_FAILED(tv_session_undo(r->session, r->options->annotator, item));
        r->judged--;
        return TV_OK;
    }
    if (is_key(line, 'c'))
        return take_comment(r, line + 1 + strspn(line + 1, " \t"));
    if (is_key(line, 's'))
        return record(r, item, &judgment);
    if (is_key(line, 'x')) {
        judgment.all_bad = true;
        return record(r, item, &judgment);
    }
    judgment.confidence = take_confidence(line);
    TV_RETURN_IF_FAILED(tv_rank_of_letters(line, item->k, rank));
    judgment.rank = rank;
    return record(r, item, &judgment);
}

static tv_status run(ranker *r) {
    tv_session_item item;
    char line[LINE_BYTES];
    bool done = false;
    uint64_t shown = UINT64_MAX;
    while (!r->leave) {
        TV_RETURN_IF_FAILED(tv_session_next(r->session, r->options->annotator, &item, &done));
        if (done)
            break;
        if (item.presentation != shown)
            TV_RETURN_IF_FAILED(show(r, &item));
        shown = item.presentation;
        if (!ask(r, "> ", line))
            break;
        tv_status status = line[0] ? obey(r, line, &item) : TV_OK;
        if (status == TV_E_USAGE)
            say(r, tv_last_error());
        else if (status != TV_OK)
            return status;
    }
    fputs("\n", r->options->out);
    if (done)
        say(r, "Nothing is left to judge.");
    fflush(r->options->out);
    return tv_interrupted() ? tv_fail(TV_E_INTERRUPTED, "interrupted") : TV_OK;
}

tv_status tv_terminal_ranker_run(tv_session *session, const tv_terminal_ranker_options *options,
                                 uint64_t *judged) {
    ranker *r = calloc(1, sizeof *r);
    if (!r)
        return tv_fail(TV_E_MEMORY, "out of host memory for the terminal");
    r->session = session;
    r->options = options;
    r->columns = options->columns ? options->columns : DEFAULT_COLUMNS;
    r->columns = r->columns > MOST_COLUMNS    ? MOST_COLUMNS
                 : r->columns < LEAST_COLUMNS ? LEAST_COLUMNS
                                              : r->columns;
    tv_status status = run(r);
    *judged = r->judged;
    tv_text_free(&r->screen);
    free(r);
    return status;
}
