/* Documents from files: text, folders of text or source code, JSON lines, plain or compressed.
 *
 * Promise: a text file is one document (or, by line, each line that is not empty); a folder is read with all
 * below it in the order of names, without hidden entries, links and binary files; *.jsonl and *.ndjson (and a
 * *.json that is named itself) hold one {"text": s} a line, or are one array of them. gzip and zstd are
 * recognised by content; a mark of UTF-8 is no part of a text; keys beside "text" are named once for each
 * path that was given. Bytes are handed on as they are. Lines stream; a document is in memory as a whole.
 * Missing and empty inputs are TV_E_DATA, and so is what base/forms.h knows (UTF-16, pointers of Git LFS,
 * archives): in folders it is left out with a warning.
 */
#ifndef TV_TEXT_SOURCE_H
#define TV_TEXT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/json.h"
#include "text/buffers.h"

/* Gets each document in order, never an empty one; a failure stops the reading and is returned. */
typedef tv_status (*tv_document_sink)(void *context, const uint8_t *bytes, uint64_t length);

typedef struct tv_source_totals {
    uint64_t files, documents, bytes;
    uint64_t skipped; /* binary files in folders */
} tv_source_totals;

/* `totals` may be NULL. */
tv_status tv_source_read(const char *const *paths, uint64_t count, bool by_line, tv_document_sink sink,
                         void *context, tv_source_totals *totals);

/* The totals alone, with nothing said of what is read: for a look before the reading. */
tv_status tv_source_count(const char *const *paths, uint64_t count, bool by_line, tv_source_totals *totals);

/* A file's bytes that are already in memory; `name` decides how they are read. */
tv_status tv_source_read_bytes(const uint8_t *bytes, uint64_t size, const char *name, bool by_line,
                               tv_document_sink sink, void *context);

/* One document, whatever the name says. */
tv_status tv_source_read_text_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                    tv_document_sink sink, void *context);

/* A line of JSON, or an item of the array that a file is; all of it lives as long as the call that hands it
 * on. */
typedef struct tv_json_line {
    const cJSON *root; /* an object */
    const char *file;
    const char *where; /* "FILE line N", or "FILE line N, item M", to begin sentences with */
    uint64_t line;     /* from 1 */
    const char *bytes; /* as it stands in the file, but without line breaks; no terminating zero */
    uint64_t size;
    uint8_t zero_mark[3]; /* stands for "\u0000" in the tree's texts; {0}: there is none */
} tv_json_line;
typedef tv_status (*tv_json_line_sink)(void *context, const tv_json_line *line);

/* Each line that is not blank, in order. Files that are named are JSON lines whatever their names; of folders
 * *.jsonl and *.ndjson are read. A line that is no JSON object is TV_E_DATA with file and line, and so is
 * input without any. */
tv_status tv_source_read_json(const char *const *paths, uint64_t count, tv_json_line_sink sink, void *context,
                              tv_source_totals *totals);
tv_status tv_source_read_json_bytes(const uint8_t *bytes, uint64_t size, const char *name,
                                    tv_json_line_sink sink, void *context);

/* Hands on what was made of a line, JSON too, as if it stood in its place. */
tv_status tv_json_line_again(const tv_json_line *line, const void *bytes, uint64_t size,
                             tv_json_line_sink sink, void *context);

/* Appends the bytes of a text in the line's tree. cJSON's own strings end at a zero byte; these do not. */
tv_status tv_json_line_text(const tv_json_line *line, const cJSON *text, tv_text *out);
/* Appends a value of the line's tree as JSON without line breaks, zeros as "\u0000"; no terminating zero. */
tv_status tv_json_line_print(const tv_json_line *line, const cJSON *value, tv_text *out);

/* What `look` says of the first line of a file of JSON lines, by writing to its context, a bool, and ending
 * with TV_E_INTERRUPTED; false for what has no such name or is no file. */
bool tv_source_first_line(const char *path, tv_status (*look)(void *context, const tv_json_line *line));

#endif
