/* Statements of templates: see jinja_parser.h. Expressions are in jinja_expression.c. */
#include "text/jinja_parser.h"

#include <string.h>

#include "text/jinja_expression.h"

static tv_status expect_end(tv_jinja_parsing *p) {
    if (tv_jinja_peek(p)->kind != TV_JINJA_STATEMENT_END)
        return tv_jinja_unexpected(p, "%}");
    p->at++;
    return TV_OK;
}

static tv_status expect_name(tv_jinja_parsing *p, const char **name) {
    *name = "";
    if (tv_jinja_peek(p)->kind != TV_JINJA_NAME)
        return tv_jinja_unexpected(p, "a name");
    *name = p->tokens[p->at++].bytes;
    return TV_OK;
}

/* Statements up to a tag that begins with one of the names, which is left to read; NULL at the end of the
 * names.
 */
static tv_status parse_body(tv_jinja_parsing *p, const char *const *ends, tv_jinja_node **body);

static tv_status parse_block(tv_jinja_parsing *p, const char *end, tv_jinja_node **body) {
    const char *const ends[] = {end, NULL};
    TV_RETURN_IF_FAILED(expect_end(p));
    TV_RETURN_IF_FAILED(parse_body(p, ends, body));
    p->at++; /* its name; expect_end follows */
    return expect_end(p);
}

static bool is_name(const tv_jinja_parsing *p, const char *name) {
    const tv_jinja_token *token = tv_jinja_peek(p);
    return token->kind == TV_JINJA_NAME && strcmp(token->bytes, name) == 0;
}

static tv_status parse_if(tv_jinja_parsing *p, tv_jinja_node *node) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    static const char *const last[] = {"endif", NULL};
    node->kind = TV_JINJA_IF;
    TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, &node->a));
    TV_RETURN_IF_FAILED(expect_end(p));
    TV_RETURN_IF_FAILED(parse_body(p, ends, &node->body));
    if (is_name(p, "elif")) {
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_IF, &node->otherwise));
        p->at++;
        TV_RETURN_IF_FAILED(tv_jinja_enter(p->heap));
        TV_RETURN_IF_FAILED(parse_if(p, node->otherwise));
        p->heap->depth--;
        return TV_OK;
    }
    if (is_name(p, "else")) {
        p->at++;
        TV_RETURN_IF_FAILED(expect_end(p));
        TV_RETURN_IF_FAILED(parse_body(p, last, &node->otherwise));
    }
    p->at++;
    return expect_end(p);
}

/* A name, a tuple of names, or (of set) an attribute of a namespace. */
static tv_status parse_target(tv_jinja_parsing *p, bool attributes, tv_jinja_node **out) {
    bool open = tv_jinja_take(p, "(");
    tv_jinja_node *first = NULL, **next = &first;
    bool tuple = open;
    do {
        const char *name;
        if (first && tv_jinja_peek(p)->kind != TV_JINJA_NAME)
            break; /* a comma behind the last */
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_VARIABLE, next));
        TV_RETURN_IF_FAILED(expect_name(p, &name));
        (*next)->name = name;
        if (attributes && !first->next && tv_jinja_take(p, ".")) {
            tv_jinja_node *object = *next;
            TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_ATTRIBUTE, out));
            TV_RETURN_IF_FAILED(expect_name(p, &name));
            (*out)->a = object;
            (*out)->name = name;
            return TV_OK;
        }
        next = &(*next)->next;
    } while (tv_jinja_take(p, ",") && (tuple = true));
    if (open && !tv_jinja_take(p, ")"))
        return tv_jinja_unexpected(p, ")");
    *out = first;
    if (!tuple)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_MAKE_TUPLE, out));
    (*out)->items = first;
    return TV_OK;
}

static tv_status parse_for(tv_jinja_parsing *p, tv_jinja_node *node) {
    static const char *const ends[] = {"else", "endfor", NULL};
    node->kind = TV_JINJA_FOR;
    TV_RETURN_IF_FAILED(parse_target(p, false, &node->a));
    if (!tv_jinja_take_name(p, "in"))
        return tv_jinja_unexpected(p, "in");
    TV_RETURN_IF_FAILED(tv_jinja_parse_tuple(p, false, &node->b));
    if (tv_jinja_take_name(p, "if"))
        TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, &node->c));
    if (is_name(p, "recursive"))
        return tv_jinja_fail(p->heap,
                             "expected a loop that does not call itself, found recursive, which is not "
                             "supported");
    TV_RETURN_IF_FAILED(expect_end(p));
    p->loops++;
    TV_RETURN_IF_FAILED(parse_body(p, ends, &node->body));
    p->loops--;
    if (tv_jinja_take_name(p, "else")) {
        TV_RETURN_IF_FAILED(expect_end(p));
        TV_RETURN_IF_FAILED(parse_body(p, ends + 1, &node->otherwise));
    }
    p->at++;
    return expect_end(p);
}

static tv_status parse_set(tv_jinja_parsing *p, tv_jinja_node *node) {
    node->kind = TV_JINJA_SET;
    TV_RETURN_IF_FAILED(parse_target(p, true, &node->a));
    if (tv_jinja_take(p, "=")) {
        TV_RETURN_IF_FAILED(tv_jinja_parse_tuple(p, true, &node->b));
        return expect_end(p);
    }
    TV_RETURN_IF_FAILED(tv_jinja_parse_filters(p, NULL, &node->c));
    return parse_block(p, "endset", &node->body);
}

static tv_status parse_with(tv_jinja_parsing *p, tv_jinja_node *node) {
    tv_jinja_node **next = &node->items;
    node->kind = TV_JINJA_WITH;
    while (tv_jinja_peek(p)->kind != TV_JINJA_STATEMENT_END) {
        if (node->items && !tv_jinja_take(p, ","))
            return tv_jinja_unexpected(p, "a comma or %}");
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_PARAMETER, next));
        TV_RETURN_IF_FAILED(expect_name(p, &(*next)->name));
        if (!tv_jinja_take(p, "="))
            return tv_jinja_unexpected(p, "=");
        TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, &(*next)->a));
        next = &(*next)->next;
    }
    return parse_block(p, "endwith", &node->body);
}

/* (a, b=1) */
static tv_status parse_parameters(tv_jinja_parsing *p, tv_jinja_node **next) {
    if (!tv_jinja_take(p, "("))
        return tv_jinja_unexpected(p, "(");
    for (bool first = true; !tv_jinja_take(p, ")"); first = false) {
        if (!first && !tv_jinja_take(p, ","))
            return tv_jinja_unexpected(p, "a comma or )");
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_PARAMETER, next));
        TV_RETURN_IF_FAILED(expect_name(p, &(*next)->name));
        if (tv_jinja_take(p, "="))
            TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, &(*next)->a));
        next = &(*next)->next;
    }
    return TV_OK;
}

static tv_status parse_macro(tv_jinja_parsing *p, tv_jinja_node *node, bool call) {
    uint32_t loops = p->loops;
    bool rest = p->names_rest;
    node->kind = call ? TV_JINJA_CALL_BLOCK : TV_JINJA_MACRO;
    if (!call)
        TV_RETURN_IF_FAILED(expect_name(p, &node->name));
    if (!call || tv_jinja_is(p, "("))
        TV_RETURN_IF_FAILED(parse_parameters(p, &node->items));
    if (call) {
        TV_RETURN_IF_FAILED(tv_jinja_parse_expression(p, &node->a));
        if (node->a->kind != TV_JINJA_CALL)
            return tv_jinja_fail(p->heap, "expected a call of a macro behind call, found something else");
    }
    p->loops = 0;
    p->names_rest = false;
    TV_RETURN_IF_FAILED(parse_block(p, call ? "endcall" : "endmacro", &node->body));
    node->takes_rest = p->names_rest;
    p->names_rest = rest;
    p->loops = loops;
    return TV_OK;
}

static tv_status parse_filter_block(tv_jinja_parsing *p, tv_jinja_node *node) {
    node->kind = TV_JINJA_FILTER_BLOCK;
    TV_RETURN_IF_FAILED(tv_jinja_parse_first_filter(p, &node->c));
    return parse_block(p, "endfilter", &node->body);
}

static tv_status parse_jump(tv_jinja_parsing *p, tv_jinja_node *node, tv_jinja_node_kind kind) {
    node->kind = kind;
    if (p->loops == 0)
        return tv_jinja_fail(p->heap, "expected break and continue within a loop, found one outside");
    return expect_end(p);
}

static tv_status parse_statement(tv_jinja_parsing *p, tv_jinja_node *node) {
    const char *name;
    TV_RETURN_IF_FAILED(expect_name(p, &name));
    if (strcmp(name, "if") == 0)
        return parse_if(p, node);
    if (strcmp(name, "for") == 0)
        return parse_for(p, node);
    if (strcmp(name, "set") == 0)
        return parse_set(p, node);
    if (strcmp(name, "macro") == 0 || strcmp(name, "call") == 0)
        return parse_macro(p, node, *name == 'c');
    if (strcmp(name, "filter") == 0)
        return parse_filter_block(p, node);
    if (strcmp(name, "with") == 0)
        return parse_with(p, node);
    if (strcmp(name, "break") == 0 || strcmp(name, "continue") == 0)
        return parse_jump(p, node, *name == 'b' ? TV_JINJA_BREAK : TV_JINJA_CONTINUE);
    if (strcmp(name, "generation") == 0) {
        node->kind = TV_JINJA_GENERATION;
        p->generates = true;
        return parse_block(p, "endgeneration", &node->body);
    }
    return tv_jinja_fail(
        p->heap,
        "expected if, for, set, macro, call, filter, with, break, continue or generation, found "
        "%.40s, which is not supported here",
        name);
}

static bool ends_here(const tv_jinja_parsing *p, const char *const *ends) {
    const tv_jinja_token *token = &p->tokens[p->at];
    if (token->kind != TV_JINJA_STATEMENT || token[1].kind != TV_JINJA_NAME)
        return false;
    for (; *ends; ends++)
        if (strcmp(token[1].bytes, *ends) == 0)
            return true;
    return false;
}

static tv_status parse_body(tv_jinja_parsing *p, const char *const *ends, tv_jinja_node **body) {
    tv_jinja_node **next = body;
    TV_RETURN_IF_FAILED(tv_jinja_enter(p->heap));
    while (!ends_here(p, ends)) {
        const tv_jinja_token *token = tv_jinja_peek(p);
        if (token->kind == TV_JINJA_END) {
            if (!*ends)
                break;
            return tv_jinja_fail(p->heap, "expected {%% %s %%}, found the end of the template",
                                 ends[1] ? ends[ends[2] ? 2 : 1] : ends[0]);
        }
        p->at++;
        TV_RETURN_IF_FAILED(tv_jinja_new_node(p, TV_JINJA_WRITE, next));
        if (token->kind == TV_JINJA_DATA) {
            (*next)->kind = TV_JINJA_WRITE_TEXT;
            TV_RETURN_IF_FAILED(
                tv_jinja_text_of(p->heap, token->bytes, token->length, 0, &(*next)->constant));
        } else if (token->kind == TV_JINJA_STATEMENT) {
            TV_RETURN_IF_FAILED(parse_statement(p, *next));
        } else {
            TV_RETURN_IF_FAILED(tv_jinja_parse_tuple(p, true, &(*next)->a));
            if (tv_jinja_peek(p)->kind != TV_JINJA_EXPRESSION_END)
                return tv_jinja_unexpected(p, "}} or an operator");
            p->at++;
        }
        next = &(*next)->next;
    }
    p->at += *ends != NULL; /* {%; the name is the caller's */
    p->heap->depth--;
    return TV_OK;
}

tv_status tv_jinja_parse_nodes(tv_jinja_heap *heap, const char *source, uint64_t length, tv_jinja_node **root,
                               bool *generates) {
    static const char *const nothing[] = {NULL};
    tv_jinja_parsing p = {.heap = heap};
    uint64_t count;
    *root = NULL;
    TV_RETURN_IF_FAILED(tv_jinja_lex(heap, source, length, &p.tokens, &count));
    tv_status status = parse_body(&p, nothing, root);
    *generates = p.generates;
    return status;
}
