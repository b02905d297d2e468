/* Arguments of calls, filters and tests, bound to the names of parameters. */
#ifndef TV_TEXT_JINJA_ARGUMENTS_H
#define TV_TEXT_JINJA_ARGUMENTS_H

#include "text/jinja_value.h"

typedef struct tv_jinja_arguments {
    const tv_jinja_value *positional;
    uint64_t count;
    const tv_jinja_dict *named; /* or NULL: none */
} tv_jinja_arguments;

enum { TV_JINJA_MOST_PARAMETERS = 5 };

typedef struct tv_jinja_bound {
    tv_jinja_value values[TV_JINJA_MOST_PARAMETERS];
    bool given[TV_JINJA_MOST_PARAMETERS];
} tv_jinja_bound;

/* By place or by name; the parameters end with NULL. Too many, or a name that is none of them, is a failure
 * with `what`, the name of what is called. */
tv_status tv_jinja_bind(tv_jinja_heap *heap, const char *what, const tv_jinja_arguments *arguments,
                        const char *const *parameters, tv_jinja_bound *bound);

/* What was given as parameter `i`, or what stands in *out already. */
tv_status tv_jinja_bound_text(tv_jinja_heap *heap, const tv_jinja_bound *bound, int i,
                              const tv_jinja_text **out);
tv_status tv_jinja_bound_integer(tv_jinja_heap *heap, const tv_jinja_bound *bound, int i, int64_t *out);
bool tv_jinja_bound_truth(const tv_jinja_bound *bound, int i);
/* Given, and not none. */
bool tv_jinja_is_given(const tv_jinja_bound *bound, int i);

#endif
