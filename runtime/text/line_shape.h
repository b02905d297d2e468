/* Which of several shapes the lines of a JSON lines file have.
 *
 * Promise: the first line of each file decides by its keys, and the log names what was found; a line of the
 * file that lacks a key of that shape is TV_E_DATA with file, line and key. Null counts as missing.
 */
#ifndef TV_TEXT_LINE_SHAPE_H
#define TV_TEXT_LINE_SHAPE_H

#include "base/arena.h"
#include "text/source.h"

typedef struct tv_line_shape {
    const char *name;    /* as it stands in the log and in sentences */
    const char *keys[3]; /* all that it needs; NULL behind the last */
} tv_line_shape;

typedef struct tv_shape_reader {
    const tv_line_shape *shapes; /* the first that fits is taken */
    uint64_t shape_count;
    /* What people call a file whose first line is this one, for the log; NULL: the shape says all. */
    const char *(*known_as)(const tv_json_line *line, uint64_t shape);
    tv_arena *arena;  /* of the copies of file names */
    const char *file; /* of the last line; in the arena */
    uint64_t shape;   /* of the file */
} tv_shape_reader;

/* Sets file and shape for the line. */
tv_status tv_shape_read(tv_shape_reader *reader, const tv_json_line *line);

/* A member, or NULL where it is missing or null. */
const cJSON *tv_line_get(const tv_json_line *line, const char *key);

#endif
