/* A Jinja template as tokens. White space is cut as transformers sets it: trim_blocks, lstrip_blocks, and no
 * newline at the end.
 */
#ifndef TV_TEXT_JINJA_LEXER_H
#define TV_TEXT_JINJA_LEXER_H

#include "text/jinja_value.h"

typedef enum tv_jinja_token_kind {
    TV_JINJA_DATA, /* between tags */
    TV_JINJA_EXPRESSION,
    TV_JINJA_EXPRESSION_END,
    TV_JINJA_STATEMENT,
    TV_JINJA_STATEMENT_END,
    TV_JINJA_NAME,
    TV_JINJA_STRING,
    TV_JINJA_WHOLE_NUMBER,
    TV_JINJA_DECIMAL_NUMBER,
    TV_JINJA_OPERATOR,
    TV_JINJA_END
} tv_jinja_token_kind;

typedef struct tv_jinja_token {
    tv_jinja_token_kind kind;
    uint32_t line;
    const char *bytes; /* of a string what it stands for, of a name zero-terminated; of the heap */
    uint64_t length;
} tv_jinja_token;

/* Limit of a template. */
enum { TV_JINJA_MOST_BYTES = 1 << 20 };

/* Ends with a TV_JINJA_END. */
tv_status tv_jinja_lex(tv_jinja_heap *heap, const char *source, uint64_t length, tv_jinja_token **tokens,
                       uint64_t *count);

#endif
