/* The functions that every template has: range, namespace, dict, raise_exception, strftime_now. */
#ifndef TV_TEXT_JINJA_FUNCTIONS_H
#define TV_TEXT_JINJA_FUNCTIONS_H

#include "text/jinja_arguments.h"

bool tv_jinja_has_function(const char *name);
tv_status tv_jinja_call_function(tv_jinja_heap *heap, const char *name, const tv_jinja_arguments *arguments,
                                 tv_jinja_value *out);

#endif
