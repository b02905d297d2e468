/* Visible text (text/visible_text.h) in lines as wide as a terminal. */
#ifndef TV_HUMAN_WRAP_TEXT_H
#define TV_HUMAN_WRAP_TEXT_H

#include "human/raw_json.h"

/* Appends visible text in lines of at most `columns` columns after `indent`, broken at spaces where there are
 * any; each line ends with a newline. The first line begins with `first`, which is as wide as `indent`. */
tv_status tv_wrap_text(tv_slice visible, uint32_t columns, const char *first, const char *indent,
                       tv_text *out);

#endif
