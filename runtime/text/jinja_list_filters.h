/* Filters that go through lists, for jinja_filters.c alone. */
#ifndef TV_TEXT_JINJA_LIST_FILTERS_H
#define TV_TEXT_JINJA_LIST_FILTERS_H

#include "text/jinja_arguments.h"

/* list, first, last, reverse, join, sum, min, max, sort, unique, dictsort. */
tv_status tv_jinja_list_filter(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                               const tv_jinja_bound *bound, tv_jinja_value *out);

typedef tv_status (*tv_jinja_filter_by_name)(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                                             const tv_jinja_arguments *arguments, tv_jinja_value *out);
/* map, select, reject, selectattr, rejectattr, which name another filter or a test; *known: the name is one
 * of them. */
tv_status tv_jinja_choosing_filter(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                                   const tv_jinja_arguments *arguments, tv_jinja_filter_by_name filter,
                                   tv_jinja_value *out, bool *known);

#endif
