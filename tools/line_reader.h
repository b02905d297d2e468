/* Lines that a person types: with editing and history before a terminal, plain from pipes and files.
 *
 * Promise: lines are UTF-8 as typed, of any length, without their end. The history lasts as long as the
 * reader and is written nowhere. The terminal is as it was between two lines, so that Ctrl-C is a signal
 * there. A person's ~/.editrc is read. Needs libedit.
 */
#ifndef TV_TOOLS_LINE_READER_H
#define TV_TOOLS_LINE_READER_H

#include <stdbool.h>

#include "text/buffers.h"

typedef struct tv_line_reader tv_line_reader;

typedef enum tv_line_end {
    TV_LINE_WHOLE,
    TV_LINE_DROPPED, /* Ctrl-C on a terminal; the line is empty */
    TV_LINE_NO_MORE  /* the end of the input, Ctrl-D on an empty line */
} tv_line_end;

/* `edit`: standard input and standard error are a terminal, on which `prompt` (kept by reference) is shown.
 */
tv_status tv_line_reader_open(const char *prompt, bool edit, tv_line_reader **reader);
/* Replaces *line. */
tv_status tv_line_reader_next(tv_line_reader *reader, tv_text *line, tv_line_end *end);
void tv_line_reader_close(tv_line_reader **reader);

#endif
