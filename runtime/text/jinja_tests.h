/* The tests of templates: `value is NAME`. */
#ifndef TV_TEXT_JINJA_TESTS_H
#define TV_TEXT_JINJA_TESTS_H

#include "text/jinja_arguments.h"

/* A name that is no test is a failure. */
tv_status tv_jinja_test(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                        const tv_jinja_arguments *arguments, bool *out);

#endif
