/* Over libedit's own interface: see line_reader.h. */
#include "tools/line_reader.h"

#include <errno.h>
#include <histedit.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { KEPT_LINES = 1000 };

struct tv_line_reader {
    const char *prompt;
    EditLine *editor; /* NULL: standard input is read as it comes */
    History *history;
    bool dropped; /* by the key that was pressed last */
};

static char *prompt_of(EditLine *editor) {
    void *reader = NULL;
    el_get(editor, EL_CLIENTDATA, &reader);
    return (char *)(uintptr_t)((const tv_line_reader *)reader)->prompt;
}

/* Ctrl-C while a line is typed. As a signal it would be sent to the whole process group by libedit. */
static unsigned char drop_line(EditLine *editor, int key) {
    (void)key;
    void *reader = NULL;
    el_get(editor, EL_CLIENTDATA, &reader);
    ((tv_line_reader *)reader)->dropped = true;
    return CC_NEWLINE;
}

static tv_status open_editor(tv_line_reader *reader) {
    HistEvent event;
    /* Texts are UTF-8 here whatever the locale says; libedit asks the C library. */
    if (!setlocale(LC_CTYPE, "C.UTF-8"))
        setlocale(LC_CTYPE, "");
    reader->editor = el_init("trivium", stdin, stderr, stderr);
    reader->history = history_init();
    if (!reader->editor || !reader->history)
        return tv_fail(TV_E_MEMORY, "out of host memory for the line editor");
    history(reader->history, &event, H_SETSIZE, KEPT_LINES);
    history(reader->history, &event, H_SETUNIQUE, 1);
    EditLine *editor = reader->editor;
    el_set(editor, EL_CLIENTDATA, reader);
    el_set(editor, EL_PROMPT, prompt_of);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_HIST, history, reader->history);
    el_set(editor, EL_SIGNAL, 1); /* the terminal's size, and Ctrl-Z */
    el_set(editor, EL_ADDFN, "drop-line", "Drop the line", drop_line);
    el_set(editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(editor, NULL);
    /* The second keeps the first where libedit takes over what the terminal had. */
    el_set(editor, EL_SETTY, "-d", "intr=", NULL);
    el_set(editor, EL_SETTY, "-d", "-intr", NULL);
    el_set(editor, EL_BIND, "^C", "drop-line", NULL);
    return TV_OK;
}

tv_status tv_line_reader_open(const char *prompt, bool edit, tv_line_reader **out) {
    tv_line_reader *reader = *out = calloc(1, sizeof *reader);
    if (!reader)
        return tv_fail(TV_E_MEMORY, "out of host memory for the line editor");
    reader->prompt = prompt;
    tv_status status = edit ? open_editor(reader) : TV_OK;
    if (status != TV_OK)
        tv_line_reader_close(out);
    return status;
}

void tv_line_reader_close(tv_line_reader **handle) {
    if (!handle || !*handle)
        return;
    tv_line_reader *reader = *handle;
    if (reader->editor)
        el_end(reader->editor);
    if (reader->history)
        history_end(reader->history);
    free(reader);
    *handle = NULL;
}

static tv_status read_edited(tv_line_reader *reader, tv_text *line, tv_line_end *end) {
    int count = 0;
    reader->dropped = false;
    errno = 0;
    const char *typed = el_gets(reader->editor, &count);
    if (reader->dropped) {
        fputs("^C\n", stderr);
        *end = TV_LINE_DROPPED;
        return TV_OK;
    }
    if (!typed || count <= 0) {
        if (count < 0 && errno != 0 && errno != EINTR && errno != EIO) /* EIO: the terminal has gone */
            return tv_fail_errno(TV_E_IO, "cannot read the terminal");
        *end = count < 0 && errno == EINTR ? TV_LINE_DROPPED : TV_LINE_NO_MORE;
        fputs("\n", stderr);
        return TV_OK;
    }
    uint64_t size = strcspn(typed, "\n");
    if (size > 0) {
        HistEvent event;
        history(reader->history, &event, H_ENTER, typed);
    }
    *end = TV_LINE_WHOLE;
    return tv_text_append(line, typed, size);
}

static tv_status read_plain(tv_text *line, tv_line_end *end) {
    int c;
    while ((c = getchar()) != EOF && c != '\n') {
        uint8_t byte = (uint8_t)c;
        TV_RETURN_IF_FAILED(tv_text_append(line, &byte, 1));
    }
    if (ferror(stdin))
        return tv_fail_errno(TV_E_IO, "cannot read standard input");
    *end = c == EOF && line->size == 0 ? TV_LINE_NO_MORE : TV_LINE_WHOLE;
    if (line->size > 0 && line->data[line->size - 1] == '\r')
        line->size--;
    return TV_OK;
}

tv_status tv_line_reader_next(tv_line_reader *reader, tv_text *line, tv_line_end *end) {
    line->size = 0;
    return reader->editor ? read_edited(reader, line, end) : read_plain(line, end);
}
