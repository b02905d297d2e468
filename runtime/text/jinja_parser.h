/* A Jinja template as a tree of nodes, by the grammar of Jinja 3.1.
 *
 * Promise: any bytes are taken; nesting is bounded. Statements that read other files (include, import,
 * extends, block) are refused by name. Nodes are read only once parsed.
 */
#ifndef TV_TEXT_JINJA_PARSER_H
#define TV_TEXT_JINJA_PARSER_H

#include "text/jinja_lexer.h"

typedef enum tv_jinja_node_kind {
    /* statements */
    TV_JINJA_WRITE_TEXT,   /* constant */
    TV_JINJA_WRITE,        /* a */
    TV_JINJA_IF,           /* a; body, otherwise */
    TV_JINJA_FOR,          /* a the target, b the list, c a filter or NULL; body, otherwise */
    TV_JINJA_SET,          /* a the target; b the value, or NULL and body, which goes through filters c */
    TV_JINJA_WITH,         /* items: pairs of target and value, one behind the other; body */
    TV_JINJA_MACRO,        /* name; items: TV_JINJA_PARAMETER; body */
    TV_JINJA_CALL_BLOCK,   /* a the call; items: parameters of caller(); body */
    TV_JINJA_FILTER_BLOCK, /* c the filters; body */
    TV_JINJA_GENERATION,   /* body, as it stands there */
    TV_JINJA_BREAK,
    TV_JINJA_CONTINUE,
    TV_JINJA_PARAMETER, /* name; a its default or NULL */
    /* expressions */
    TV_JINJA_CONSTANT,
    TV_JINJA_VARIABLE,  /* name */
    TV_JINJA_ATTRIBUTE, /* a.name */
    TV_JINJA_ITEM,      /* a[b] */
    TV_JINJA_SLICE,     /* a[items], three of them: TV_JINJA_CONSTANT none where left out */
    TV_JINJA_CALL,      /* a(items) */
    TV_JINJA_FILTER,    /* a | name(items); a is NULL at the beginning of those of a block */
    TV_JINJA_TEST,      /* a is name(items) */
    TV_JINJA_KEYWORD,   /* name=a, among items */
    TV_JINJA_SPREAD,    /* *a, among items */
    TV_JINJA_SPREAD_KEYWORDS,
    TV_JINJA_MAKE_LIST,  /* items */
    TV_JINJA_MAKE_TUPLE, /* items */
    TV_JINJA_MAKE_DICT,  /* items: keys and values in turn */
    TV_JINJA_NOT,
    TV_JINJA_NEGATIVE,
    TV_JINJA_POSITIVE,
    TV_JINJA_AND,
    TV_JINJA_OR,
    TV_JINJA_BINARY,     /* a operator b */
    TV_JINJA_COMPARE,    /* a, then items: TV_JINJA_OPERAND */
    TV_JINJA_OPERAND,    /* operator a */
    TV_JINJA_CONDITIONAL /* b if a else c, which may be NULL */
} tv_jinja_node_kind;

typedef enum tv_jinja_operator {
    TV_JINJA_ADD,
    TV_JINJA_SUBTRACT,
    TV_JINJA_MULTIPLY,
    TV_JINJA_DIVIDE,
    TV_JINJA_FLOOR_DIVIDE,
    TV_JINJA_MODULO,
    TV_JINJA_POWER,
    TV_JINJA_CONCATENATE,
    TV_JINJA_EQUAL,
    TV_JINJA_NOT_EQUAL,
    TV_JINJA_LESS,
    TV_JINJA_LESS_EQUAL,
    TV_JINJA_GREATER,
    TV_JINJA_GREATER_EQUAL,
    TV_JINJA_IN,
    TV_JINJA_NOT_IN
} tv_jinja_operator;

typedef struct tv_jinja_node {
    tv_jinja_node_kind kind;
    tv_jinja_operator operator;
    uint32_t line;
    bool takes_rest;  /* a macro that names varargs or kwargs */
    const char *name; /* zero-terminated */
    tv_jinja_value constant;
    struct tv_jinja_node *a, *b, *c;
    struct tv_jinja_node *items, *body, *otherwise; /* first of a list by `next` */
    struct tv_jinja_node *next;
} tv_jinja_node;

/* *root: the first statement, or NULL. Nodes lie in the heap. *generates: whether there is a {% generation
 * %}.
 */
tv_status tv_jinja_parse_nodes(tv_jinja_heap *heap, const char *source, uint64_t length, tv_jinja_node **root,
                               bool *generates);

#endif
