/* Texts of strangers, made fit for a terminal.
 *
 * Promise: nothing that a model or a file wrote can move the cursor, set colours, reorder a line or hide:
 * control characters, escape sequences, direction marks, invisible and unassigned characters and bytes that
 * are no UTF-8 become visible escapes such as \x1b, \u202e and \xff. Only newlines stay; a tab becomes
 * spaces.
 */
#ifndef TV_HUMAN_VISIBLE_TEXT_H
#define TV_HUMAN_VISIBLE_TEXT_H

#include "human/raw_json.h"

/* Appends the text so. */
tv_status tv_visible_text(tv_slice text, tv_text *out);

/* Appends visible text in lines of at most `columns` columns after `indent`, broken at spaces where there are
 * any; each line ends with a newline. The first line begins with `first`, which is as wide as `indent`. */
tv_status tv_wrap_text(tv_slice visible, uint32_t columns, const char *first, const char *indent,
                       tv_text *out);

#endif
