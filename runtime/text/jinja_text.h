/* What templates do to texts: case, stripping, splitting, replacing, joining, slicing, JSON.
 *
 * Promise: as Python's str, which is what templates are written for; origins go with the bytes (a case that
 * changes keeps its letter's origin, and what JSON escapes stays of the message). White space is Python's.
 */
#ifndef TV_TEXT_JINJA_TEXT_H
#define TV_TEXT_JINJA_TEXT_H

#include "text/jinja_value.h"

/* -1, 0 or 1; of texts without regard to case where asked for. Kinds that have no order are TV_E_DATA. */
tv_status tv_jinja_order(tv_jinja_heap *heap, tv_jinja_value a, tv_jinja_value b, bool ignore_case, int *out);

typedef enum tv_jinja_case {
    TV_JINJA_LOWER,
    TV_JINJA_UPPER,
    TV_JINJA_TITLE,
    TV_JINJA_CAPITALIZE
} tv_jinja_case;
tv_status tv_jinja_change_case(tv_jinja_heap *heap, const tv_jinja_text *text, tv_jinja_case how,
                               tv_jinja_value *out);

/* Without the characters of `set` (NULL: white space) at its ends. */
tv_status tv_jinja_strip(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *set, bool left,
                         bool right, tv_jinja_value *out);
/* A list of parts: between `separator` (NULL: runs of white space), at most `most` of them split off (less
 * than 0: all), from the right or the left. */
tv_status tv_jinja_split(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *separator,
                         int64_t most, bool from_right, tv_jinja_value *out);
tv_status tv_jinja_split_lines(tv_jinja_heap *heap, const tv_jinja_text *text, tv_jinja_value *out);
/* At most `most` times (less than 0: all). */
tv_status tv_jinja_replace(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *old,
                           const tv_jinja_text *new, int64_t most, tv_jinja_value *out);
tv_status tv_jinja_join(tv_jinja_heap *heap, const tv_jinja_list *list, const tv_jinja_text *separator,
                        tv_jinja_value *out);
tv_status tv_jinja_indent(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *by, bool first,
                          bool blank, tv_jinja_value *out);
tv_status tv_jinja_repeat(tv_jinja_heap *heap, const tv_jinja_text *text, int64_t times, tv_jinja_value *out);

/* In characters. */
tv_status tv_jinja_length(tv_jinja_heap *heap, const tv_jinja_text *text, int64_t *out);
/* Python's value[begin:end:step] of a text or list; none or undefined where it was left out. */
tv_status tv_jinja_slice(tv_jinja_heap *heap, tv_jinja_value value, tv_jinja_value begin, tv_jinja_value end,
                         tv_jinja_value step, tv_jinja_value *out);

typedef struct tv_jinja_json_options {
    int64_t indent; /* less than 0: in one line */
    bool ascii, sort_keys;
    const tv_jinja_text *item_separator, *key_separator; /* or NULL */
} tv_jinja_json_options;
/* Python's json.dumps. */
tv_status tv_jinja_to_json(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_json_options *options,
                           tv_jinja_value *out);

#endif
