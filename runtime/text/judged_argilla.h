/* Argilla's records among judged items (judged_item.h): which of its three forms a line has, and what was
 * answered to the one question that compares answers. For judged_item.c alone. */
#ifndef TV_TEXT_JUDGED_ARGILLA_H
#define TV_TEXT_JUDGED_ARGILLA_H

#include "text/judged_item.h"

/* TV_JUDGED_NONE: it is no record of Argilla's. */
tv_judged_form tv_argilla_form_of(const tv_json_line *line);
/* As tv_judged_item_read; without answers where nobody compared any. */
tv_status tv_argilla_read(tv_judged_form form, const tv_json_line *line, tv_judged_item *item);

#endif
