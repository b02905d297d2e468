/* Expressions of templates: see jinja_expression.h. Functions stand from the loosest operator to the closest.
 */
#include "text/jinja_expression.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

const tv_jinja_token *tv_jinja_peek(const tv_jinja_parsing *p) {
    p->heap->line = p->tokens[p->at].line;
    return &p->tokens[p->at];
}

tv_status tv_jinja_unexpected(const tv_jinja_parsing *p, const char *what) {
    static const char *const names[] = {[TV_JINJA_DATA] = "text",
                                        [TV_JINJA_EXPRESSION] = "{{",
                                        [TV_JINJA_EXPRESSION_END] = "}}",
                                        [TV_JINJA_STATEMENT] = "{%",
                                        [TV_JINJA_STATEMENT_END] = "%}",
                                        [TV_JINJA_STRING] = "a text",
                                        [TV_JINJA_END] = "the end of the template"};
    const tv_jinja_token *token = tv_jinja_peek(p);
    const char *name = token->kind < TV_COUNT(names) ? names[token->kind] : NULL;
    return name ? tv_jinja_fail(p->heap, "expected %s, found %s", what, name)
                : tv_jinja_fail(p->heap, "expected %s, found %.*s", what, (int)tv_min_u64(token->length, 40),
                                token->bytes);
}

tv_status tv_jinja_new_node(tv_jinja_parsing *p, tv_jinja_node_kind kind, tv_jinja_node **out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(p->heap, 1, sizeof(tv_jinja_node), &place));
    *out = place;
    (*out)->kind = kind;
    (*out)->line = p->heap->line;
    return TV_OK;
}

bool tv_jinja_is(const tv_jinja_parsing *p, const char *symbol) {
    const tv_jinja_token *token = &p->tokens[p->at];
    return token->kind == TV_JINJA_OPERATOR && strcmp(token->bytes, symbol) == 0;
}

static bool is_name(const tv_jinja_parsing *p, const char *name) {
    const tv_jinja_token *token = &p->tokens[p->at];
    return token->kind == TV_JINJA_NAME && strcmp(token->bytes, name) == 0;
}

bool tv_jinja_take(tv_jinja_parsing *p, const char *symbol) {
    bool is = tv_jinja_is(p, symbol);
    p->at += is;
    return is;
}

bool tv_jinja_take_name(tv_jinja_parsing *p, const char *name) {
    bool is = is_name(p, name);
    p->at += is;
    return is;
}

static tv_status expect(tv_jinja_parsing *p, const char *symbol) {
    return tv_jinja_take(p, symbol) ? TV_OK : tv_jinja_unexpected(p, symbol);
}

static tv_status parse_unary(tv_jinja_parsing *p, bool filters, tv_jinja_node **out);

/* ---- operators ---- */

typedef struct operator_name {
    const char *symbol;
    tv_jinja_operator operator;
} operator_name;

static bool take_operator(tv_jinja_parsing *p, const operator_name *names, tv_jinja_operator *operator) {
    for (; names->symbol; names++) {
        if (tv_jinja_take(p, names->symbol)) {
            *operator= names->operator;
            return true;
        }
    }
    return false;
}

/* From power to sums; what binds closer has the higher level. */
static tv_status parse_binary(tv_jinja_parsing *p, size_t level, tv_jinja_node **out) {
    static const operator_name levels[][5] = {
        {{"+", TV_JINJA_ADD}, {"-", TV_JINJA_SUBTRACT}, {NULL, 0}},
        {{"~", TV_JINJA_CONCATENATE}, {NULL, 0}},
        {{"*", TV_JINJA_MULTIPLY},
         {"/", TV_JINJA_DIVIDE},
         {"//", TV_JINJA_FLOOR_DIVIDE},
         {"%", TV_JINJA_MODULO},
         {NULL, 0}},
        {{"**", TV_JINJA_POWER}, {NULL, 0}},
    };
    tv_jinja_node *left = NULL;
    tv_jinja_operator operator;
    if (level == TV_COUNT(levels))
        return parse_unary(p, true, out);
    TV_RETURN_IF_FAILED(parse_binary(p, level + 1, &left));
    while (take_operator(p, levels[level], &operator)) {
        tv_jinja_node *node;
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_BINARY, &node));
        node->operator= operator;
        node->a = left;
        TV_RETURN_IF_FAILED(parse_binary(p, level + 1, &node->b));
        left = node;
    }
    *out = left;
    return TV_OK;
}

static bool take_comparison(tv_jinja_parsing *p, tv_jinja_operator *operator) {
    static const operator_name names[] = {{"==", TV_JINJA_EQUAL},
                                          {"!=", TV_JINJA_NOT_EQUAL},
                                          {"<", TV_JINJA_LESS},
                                          {"<=", TV_JINJA_LESS_EQUAL},
                                          {">", TV_JINJA_GREATER},
                                          {">=", TV_JINJA_GREATER_EQUAL},
                                          {NULL, 0}};
    if (take_operator(p, names, operator))
        return true;
    *operator= TV_JINJA_IN;
    if (tv_jinja_take_name(p, "in"))
        return true;
    const tv_jinja_token *next = &p->tokens[p->at];
    if (!is_name(p, "not") || next[1].kind != TV_JINJA_NAME || strcmp(next[1].bytes, "in") != 0)
        return false;
    *operator= TV_JINJA_NOT_IN;
    p->at += 2;
    return true;
}

static tv_status parse_comparison(tv_jinja_parsing *p, tv_jinja_node **out) {
    tv_jinja_operator operator;
    tv_jinja_node *first = NULL, *operands = NULL, **next = &operands;
    TV_RETURN_IF_FAILED(parse_binary(p, 0, &first));
    while (take_comparison(p, &operator)) {
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_OPERAND, next));
        (*next)->operator= operator;
        TV_RETURN_IF_FAILED(parse_binary(p, 0, &(*next)->a));
        next = &(*next)->next;
    }
    *out = first;
    if (!operands)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_COMPARE, out));
    (*out)->a = first;
    (*out)->items = operands;
    return TV_OK;
}

static tv_status parse_not(tv_jinja_parsing *p, tv_jinja_node **out) {
    if (!tv_jinja_take_name(p, "not"))
        return parse_comparison(p, out);
    TV_RETURN_IF_FAILED(tv_jinja_enter(p->heap));
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_NOT, out));
    TV_RETURN_IF_FAILED(parse_not(p, &(*out)->a));
    p->heap->depth--;
    return TV_OK;
}

static tv_status parse_logic(tv_jinja_parsing *p, bool both, tv_jinja_node **out) {
    tv_jinja_node *left = NULL;
    TV_RETURN_IF_FAILED(both ? parse_not(p, &left) : parse_logic(p, true, &left));
    while (tv_jinja_take_name(p, both ? "and" : "or")) {
        tv_jinja_node *node;
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, both ? TV_JINJA_AND : TV_JINJA_OR, &node));
        node->a = left;
        TV_RETURN_IF_FAILED(both ? parse_not(p, &node->b) : parse_logic(p, true, &node->b));
        left = node;
    }
    *out = left;
    return TV_OK;
}

static tv_status parse_one(tv_jinja_parsing *p, bool conditional, tv_jinja_node **out) {
    TV_RETURN_IF_FAILED(tv_jinja_enter(p->heap));
    tv_jinja_peek(p);
    TV_RETURN_IF_FAILED(parse_logic(p, false, out));
    while (conditional && tv_jinja_take_name(p, "if")) {
        tv_jinja_node *node;
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_CONDITIONAL, &node));
        node->b = *out;
        TV_RETURN_IF_FAILED(parse_logic(p, false, &node->a));
        if (tv_jinja_take_name(p, "else"))
            TV_RETURN_IF_FAILED(parse_one(p, true, &node->c));
        *out = node;
    }
    p->heap->depth--;
    return TV_OK;
}

tv_status tv_jinja_parse_expression(tv_jinja_parsing *p, tv_jinja_node **out) {
    return parse_one(p, true, out);
}

tv_status tv_jinja_parse_tuple(tv_jinja_parsing *p, bool conditional, tv_jinja_node **out) {
    TV_RETURN_IF_FAILED(parse_one(p, conditional, out));
    if (!tv_jinja_is(p, ","))
        return TV_OK;
    tv_jinja_node *first = *out, **next = &first->next;
    while (tv_jinja_take(p, ",")) {
        tv_jinja_token_kind kind = tv_jinja_peek(p)->kind;
        if (kind == TV_JINJA_STATEMENT_END || kind == TV_JINJA_EXPRESSION_END || tv_jinja_is(p, ")"))
            break; /* a comma behind the last */
        TV_RETURN_IF_FAILED(parse_one(p, conditional, next));
        next = &(*next)->next;
    }
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_MAKE_TUPLE, out));
    (*out)->items = first;
    return TV_OK;
}

/* ---- what operators stand between ---- */

/* Values up to the closing sign, which is taken. */
static tv_status parse_items(tv_jinja_parsing *p, const char *closing, bool pairs, tv_jinja_node **next) {
    for (bool first = true; !tv_jinja_take(p, closing); first = false) {
        if (!first) {
            TV_RETURN_IF_FAILED(expect(p, ","));
            if (tv_jinja_take(p, closing))
                break;
        }
        TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, next));
        next = &(*next)->next;
        if (!pairs)
            continue;
        TV_RETURN_IF_FAILED(expect(p, ":"));
        TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, next));
        next = &(*next)->next;
    }
    return TV_OK;
}

/* Arguments from behind the parenthesis to behind its end. */
static tv_status parse_arguments(tv_jinja_parsing *p, tv_jinja_node **next) {
    for (bool first = true; !tv_jinja_take(p, ")"); first = false) {
        if (!first) {
            TV_RETURN_IF_FAILED(expect(p, ","));
            if (tv_jinja_take(p, ")"))
                break;
        }
        const tv_jinja_token *token = tv_jinja_peek(p);
        bool keyword = token->kind == TV_JINJA_NAME && token[1].kind == TV_JINJA_OPERATOR &&
                       strcmp(token[1].bytes, "=") == 0;
        bool spread = tv_jinja_is(p, "*"), keywords = tv_jinja_is(p, "**");
        if (keyword || spread || keywords) {
            TV_RETURN_IF_FAILED(tv_jinja_new_node(p,
                                                  keyword  ? TV_JINJA_KEYWORD
                                                  : spread ? TV_JINJA_SPREAD
                                                           : TV_JINJA_SPREAD_KEYWORDS,
                                                  next));
            (*next)->name = token->bytes;
            p->at += keyword ? 2 : 1;
            TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, &(*next)->a));
        } else {
            TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, next));
        }
        next = &(*next)->next;
    }
    return TV_OK;
}

static tv_status parse_constant(tv_jinja_parsing *p, tv_jinja_value constant, tv_jinja_node **out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_CONSTANT, out));
    (*out)->constant = constant;
    return TV_OK;
}

/* Texts that stand one behind the other are one. */
static tv_status parse_string(tv_jinja_parsing *p, tv_jinja_node **out) {
    tv_jinja_buffer buffer = {0};
    tv_jinja_value text;
    const tv_jinja_token *token = &p->tokens[p->at++];
    TV_RETURN_IF_FAILED(tv_jinja_text_of(p->heap, token->bytes, token->length, 0, &text));
    if (p->tokens[p->at].kind == TV_JINJA_STRING) {
        for (; token->kind == TV_JINJA_STRING; token = &p->tokens[p->at++])
            TV_RETURN_IF_FAILED(tv_jinja_put(p->heap, &buffer, token->bytes, token->length, 0));
        p->at--;
        TV_RETURN_IF_FAILED(tv_jinja_finish(p->heap, &buffer, &text));
    }
    return parse_constant(p, text, out);
}

static tv_status parse_number(tv_jinja_parsing *p, tv_jinja_node **out) {
    const tv_jinja_token *token = &p->tokens[p->at++];
    if (token->kind == TV_JINJA_DECIMAL_NUMBER)
        return parse_constant(p, tv_jinja_float(strtod(token->bytes, NULL)), out);
    int64_t number = 0;
    for (const char *digit = token->bytes; *digit; digit++)
        if (*digit != '_' && (__builtin_mul_overflow(number, 10, &number) ||
                              __builtin_add_overflow(number, *digit - '0', &number)))
            return tv_jinja_fail(p->heap, "expected a number within 64 bits, found %.40s", token->bytes);
    return parse_constant(p, tv_jinja_integer(number), out);
}

static tv_status parse_name(tv_jinja_parsing *p, tv_jinja_node **out) {
    const char *name = p->tokens[p->at++].bytes;
    if (strcmp(name, "true") == 0 || strcmp(name, "True") == 0)
        return parse_constant(p, tv_jinja_bool(true), out);
    if (strcmp(name, "false") == 0 || strcmp(name, "False") == 0)
        return parse_constant(p, tv_jinja_bool(false), out);
    if (strcmp(name, "none") == 0 || strcmp(name, "None") == 0)
        return parse_constant(p, tv_jinja_none(), out);
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_VARIABLE, out));
    (*out)->name = name;
    p->names_rest |= strcmp(name, "varargs") == 0 || strcmp(name, "kwargs") == 0;
    return TV_OK;
}

static tv_status parse_parenthesis(tv_jinja_parsing *p, tv_jinja_node **out) {
    if (tv_jinja_take(p, ")"))
        return tv_jinja_new_node(p, TV_JINJA_MAKE_TUPLE, out);
    TV_RETURN_IF_FAILED(tv_jinja_parse_tuple(p, true, out));
    return expect(p, ")");
}

static tv_status parse_primary(tv_jinja_parsing *p, tv_jinja_node **out) {
    const tv_jinja_token *token = tv_jinja_peek(p);
    if (token->kind == TV_JINJA_NAME)
        return parse_name(p, out);
    if (token->kind == TV_JINJA_STRING)
        return parse_string(p, out);
    if (token->kind == TV_JINJA_WHOLE_NUMBER || token->kind == TV_JINJA_DECIMAL_NUMBER)
        return parse_number(p, out);
    if (tv_jinja_take(p, "("))
        return parse_parenthesis(p, out);
    if (tv_jinja_take(p, "[")) {
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_MAKE_LIST, out));
        return parse_items(p, "]", false, &(*out)->items);
    }
    if (tv_jinja_take(p, "{")) {
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_MAKE_DICT, out));
        return parse_items(p, "}", true, &(*out)->items);
    }
    return tv_jinja_unexpected(p, "a value");
}

/* a[...], from behind the bracket. */
static tv_status parse_subscript(tv_jinja_parsing *p, tv_jinja_node *node) {
    tv_jinja_node **next = &node->items;
    bool slice = false, more = true;
    if (tv_jinja_is(p, "]"))
        return tv_jinja_unexpected(p, "an index");
    for (int part = 0; part < (slice ? 3 : 1); part++) {
        if (!more || tv_jinja_is(p, ":") || tv_jinja_is(p, "]"))
            TV_RETURN_IF_FAILED(parse_constant(p, tv_jinja_none(), next));
        else
            TV_RETURN_IF_FAILED(tv_jinja_parse_tuple(p, true, next));
        next = &(*next)->next;
        more = part < 2 && tv_jinja_take(p, ":");
        slice |= more;
    }
    node->kind = slice ? TV_JINJA_SLICE : TV_JINJA_ITEM;
    node->b = node->items;
    return expect(p, "]");
}

static tv_status parse_attribute(tv_jinja_parsing *p, tv_jinja_node *node) {
    const tv_jinja_token *token = tv_jinja_peek(p);
    node->kind = TV_JINJA_ATTRIBUTE;
    if (token->kind == TV_JINJA_WHOLE_NUMBER) {
        node->kind = TV_JINJA_ITEM;
        return parse_number(p, &node->b);
    }
    if (token->kind != TV_JINJA_NAME)
        return tv_jinja_unexpected(p, "a name behind the dot");
    node->name = token->bytes;
    p->at++;
    return TV_OK;
}

/* .name, [index] and (arguments), as many as follow. */
static tv_status parse_postfix(tv_jinja_parsing *p, tv_jinja_node **out) {
    while (tv_jinja_is(p, ".") || tv_jinja_is(p, "[") || tv_jinja_is(p, "(")) {
        char sign = *p->tokens[p->at++].bytes;
        tv_jinja_node *node;
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_CALL, &node));
        node->a = *out;
        TV_RETURN_IF_FAILED(sign == '.'   ? parse_attribute(p, node)
                            : sign == '[' ? parse_subscript(p, node)
                                          : parse_arguments(p, &node->items));
        *out = node;
    }
    return TV_OK;
}

static tv_status parse_filter(tv_jinja_parsing *p, tv_jinja_node *operand, tv_jinja_node **out) {
    tv_jinja_node *node;
    if (tv_jinja_peek(p)->kind != TV_JINJA_NAME)
        return tv_jinja_unexpected(p, "the name of a filter");
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_FILTER, &node));
    node->a = operand;
    node->name = p->tokens[p->at++].bytes;
    if (tv_jinja_take(p, "("))
        TV_RETURN_IF_FAILED(parse_arguments(p, &node->items));
    *out = node;
    return TV_OK;
}

tv_status tv_jinja_parse_filters(tv_jinja_parsing *p, tv_jinja_node *operand, tv_jinja_node **out) {
    *out = operand;
    while (tv_jinja_take(p, "|"))
        TV_RETURN_IF_FAILED(parse_filter(p, *out, out));
    return TV_OK;
}

tv_status tv_jinja_parse_first_filter(tv_jinja_parsing *p, tv_jinja_node **out) {
    TV_RETURN_IF_FAILED(parse_filter(p, NULL, out));
    return tv_jinja_parse_filters(p, *out, out);
}

/* A test may have one argument without parentheses. */
static bool argument_follows(const tv_jinja_parsing *p) {
    static const char *const words[] = {"else", "or", "and", "if", "is", "in", "not"};
    const tv_jinja_token *token = &p->tokens[p->at];
    for (size_t i = 0; token->kind == TV_JINJA_NAME && i < TV_COUNT(words); i++)
        if (strcmp(token->bytes, words[i]) == 0)
            return false;
    return token->kind == TV_JINJA_NAME || token->kind == TV_JINJA_STRING ||
           token->kind == TV_JINJA_WHOLE_NUMBER || token->kind == TV_JINJA_DECIMAL_NUMBER ||
           tv_jinja_is(p, "[") || tv_jinja_is(p, "{");
}

/* is [not] NAME, from behind `is`. */
static tv_status parse_test(tv_jinja_parsing *p, tv_jinja_node **out) {
    tv_jinja_node *node, *negated;
    bool negate = tv_jinja_take_name(p, "not");
    if (tv_jinja_peek(p)->kind != TV_JINJA_NAME)
        return tv_jinja_unexpected(p, "the name of a test");
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_TEST, &node));
    node->a = *out;
    node->name = p->tokens[p->at++].bytes;
    if (tv_jinja_take(p, "(")) {
        TV_RETURN_IF_FAILED(parse_arguments(p, &node->items));
    } else if (argument_follows(p)) {
        TV_RETURN_IF_FAILED(parse_primary(p, &node->items));
        TV_RETURN_IF_FAILED(parse_postfix(p, &node->items));
    }
    *out = node;
    if (!negate)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_NOT, &negated));
    negated->a = node;
    *out = negated;
    return TV_OK;
}

static tv_status parse_unary(tv_jinja_parsing *p, bool filters, tv_jinja_node **out) {
    bool minus = tv_jinja_is(p, "-");
    if (minus || tv_jinja_is(p, "+")) {
        p->at++;
        TV_RETURN_IF_FAILED(tv_jinja_enter(p->heap));
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, minus ? TV_JINJA_NEGATIVE : TV_JINJA_POSITIVE, out));
        TV_RETURN_IF_FAILED(parse_unary(p, false, &(*out)->a));
        p->heap->depth--;
    } else {
        TV_RETURN_IF_FAILED(parse_primary(p, out));
        TV_RETURN_IF_FAILED(parse_postfix(p, out));
    }
    for (bool more = filters; more;) {
        more = false;
        if (tv_jinja_is(p, "|")) {
            TV_RETURN_IF_FAILED(tv_jinja_parse_filters(p, *out, out));
            more = true;
        }
        if (tv_jinja_take_name(p, "is")) {
            TV_RETURN_IF_FAILED(parse_test(p, out));
            more = true;
        }
        if (tv_jinja_is(p, "(")) {
            TV_RETURN_IF_FAILED(parse_postfix(p, out));
            more = true;
        }
    }
    return TV_OK;
}
