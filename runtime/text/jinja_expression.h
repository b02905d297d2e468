/* Expressions of templates, for jinja_parser.c alone. */
#ifndef TV_TEXT_JINJA_EXPRESSION_H
#define TV_TEXT_JINJA_EXPRESSION_H

#include "text/jinja_parser.h"

typedef struct tv_jinja_parsing {
    tv_jinja_heap *heap;
    tv_jinja_token *tokens; /* up to a TV_JINJA_END */
    uint64_t at;
    uint32_t loops;  /* around what is read */
    bool names_rest; /* varargs or kwargs was read in this macro */
    bool generates;  /* {% generation %} was read */
} tv_jinja_parsing;

/* The next token; its line is that of failures. */
const tv_jinja_token *tv_jinja_peek(const tv_jinja_parsing *parsing);
/* "expected WHAT, found ..." */
tv_status tv_jinja_unexpected(const tv_jinja_parsing *parsing, const char *what);
tv_status tv_jinja_new_node(tv_jinja_parsing *parsing, tv_jinja_node_kind kind, tv_jinja_node **out);
bool tv_jinja_is(const tv_jinja_parsing *parsing, const char *symbol);
/* Goes on where the operator, or the name, is next. */
bool tv_jinja_take(tv_jinja_parsing *parsing, const char *symbol);
bool tv_jinja_take_name(tv_jinja_parsing *parsing, const char *name);

tv_status tv_jinja_parse_expression(tv_jinja_parsing *parsing, tv_jinja_node **out);
/* One, or several between commas as a tuple; of `conditional` ones. */
tv_status tv_jinja_parse_tuple(tv_jinja_parsing *parsing, bool conditional, tv_jinja_node **out);
/* NAME(...) | NAME(...), from its first name; and what follows `operand` of | NAME(...). */
tv_status tv_jinja_parse_first_filter(tv_jinja_parsing *parsing, tv_jinja_node **out);
tv_status tv_jinja_parse_filters(tv_jinja_parsing *parsing, tv_jinja_node *operand, tv_jinja_node **out);

#endif
