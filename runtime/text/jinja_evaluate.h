/* Expressions of templates and the scopes of their names, for jinja_render.c alone. */
#ifndef TV_TEXT_JINJA_EVALUATE_H
#define TV_TEXT_JINJA_EVALUATE_H

#include "text/jinja_parser.h"

typedef struct tv_jinja_scope tv_jinja_scope;

/* What runs the body of a macro. */
typedef tv_status (*tv_jinja_run_body)(tv_jinja_heap *heap, const tv_jinja_node *body, tv_jinja_scope *scope,
                                       tv_jinja_buffer *out);

tv_status tv_jinja_open_scope(tv_jinja_heap *heap, tv_jinja_scope *parent, tv_jinja_scope **out);
/* In this scope; the name outlives the heap's use. */
tv_status tv_jinja_define(tv_jinja_heap *heap, tv_jinja_scope *scope, const char *name, tv_jinja_value value);

tv_status tv_jinja_evaluate(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                            tv_jinja_value *out);
/* A chain of filters whose first has no operand: that is `*first`. */
tv_status tv_jinja_evaluate_filter(tv_jinja_heap *heap, const tv_jinja_node *node,
                                   const tv_jinja_value *first, tv_jinja_scope *scope, tv_jinja_value *out);
/* What the macro of a call block gives, with the block as caller(). */
tv_status tv_jinja_evaluate_call_block(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                                       tv_jinja_run_body run, tv_jinja_value *out);
tv_status tv_jinja_new_macro(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                             tv_jinja_run_body run, tv_jinja_value *out);
tv_status tv_jinja_new_loop(tv_jinja_heap *heap, const tv_jinja_list *items, tv_jinja_value *out);
void tv_jinja_set_loop(tv_jinja_value loop, uint64_t index);

#endif
