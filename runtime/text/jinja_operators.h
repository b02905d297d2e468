/* What + - * / // % ** ~ and comparisons make of values, as in Python. */
#ifndef TV_TEXT_JINJA_OPERATORS_H
#define TV_TEXT_JINJA_OPERATORS_H

#include "text/jinja_parser.h"

tv_status tv_jinja_operate(tv_jinja_heap *heap, tv_jinja_operator sign, tv_jinja_value a, tv_jinja_value b,
                           tv_jinja_value *out);
tv_status tv_jinja_compare(tv_jinja_heap *heap, tv_jinja_operator sign, tv_jinja_value a, tv_jinja_value b,
                           bool *out);
/* -a or +a. */
tv_status tv_jinja_negate(tv_jinja_heap *heap, tv_jinja_value a, bool minus, tv_jinja_value *out);

#endif
