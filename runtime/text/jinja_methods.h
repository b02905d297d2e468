/* The methods of templates' values: `text.strip()`, `dict.items()`. */
#ifndef TV_TEXT_JINJA_METHODS_H
#define TV_TEXT_JINJA_METHODS_H

#include "text/jinja_arguments.h"

bool tv_jinja_has_method(tv_jinja_value self, const char *name);
tv_status tv_jinja_call_method(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                               const tv_jinja_arguments *arguments, tv_jinja_value *out);

#endif
