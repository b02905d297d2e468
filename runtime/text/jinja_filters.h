/* The filters of templates: `value | NAME(...)`. */
#ifndef TV_TEXT_JINJA_FILTERS_H
#define TV_TEXT_JINJA_FILTERS_H

#include "text/jinja_arguments.h"

/* A name that is no filter is a failure. */
tv_status tv_jinja_filter(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                          const tv_jinja_arguments *arguments, tv_jinja_value *out);

#endif
