/* Pieces of JSON text, byte for byte.
 *
 * Promise: what people judge is handed on exactly as it was read (long numbers, invalid UTF-8, escaped zero
 * bytes), so prompts and answers travel as pieces of the line they stood in and are decoded only to be looked
 * at. The text must have passed tv_json_parse; pieces point into it and own nothing.
 */
#ifndef TV_HUMAN_RAW_JSON_H
#define TV_HUMAN_RAW_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "text/buffers.h"

/* Bytes that belong to someone else. Empty when zero-initialised. */
typedef struct tv_slice {
    const char *data;
    uint64_t size;
} tv_slice;

bool tv_slice_equal(tv_slice a, tv_slice b);
bool tv_slice_is(tv_slice span, const char *text);
/* Nothing but spaces and tabs. */
bool tv_slice_is_blank(tv_slice span);

/* Members of an object or elements of an array, in the order of the text: `key` keeps its quotes and is empty
 * in arrays. A walk over any other value has no steps. */
typedef struct tv_raw_walk {
    const char *cursor, *end;
} tv_raw_walk;
tv_raw_walk tv_raw_begin(tv_slice container);
bool tv_raw_next(tv_raw_walk *walk, tv_slice *key, tv_slice *value);

/* The last member of that name, as tv_json_get has it; empty when there is none. Keys are compared as they
 * are written. */
tv_slice tv_raw_get(tv_slice object, const char *key);

/* Appends the bytes that a string stands for, zero bytes included. TV_E_DATA when it is no string. */
tv_status tv_raw_string(tv_slice string, tv_text *out);

/* Lines of a text: false at its end. `line` is without its newline and carriage return, `ended` tells whether
 * there was a newline, `number` counts from 1. */
typedef struct tv_line_walk {
    const char *cursor, *end;
    uint64_t number;
    bool ended;
} tv_line_walk;
bool tv_line_next(tv_line_walk *walk, tv_slice *line);

/* Appends `before`, then the value byte for byte. */
tv_status tv_raw_append(tv_text *out, const char *before, tv_slice value);

#endif
