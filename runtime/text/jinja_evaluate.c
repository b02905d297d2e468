/* Expressions: see jinja_evaluate.h. */
#include "text/jinja_evaluate.h"

#include "base/bytes.h"
#include "text/jinja_filters.h"
#include "text/jinja_functions.h"
#include "text/jinja_methods.h"
#include "text/jinja_operators.h"
#include "text/jinja_tests.h"
#include "text/jinja_text.h"

typedef struct binding {
    const char *name;
    tv_jinja_value value;
} binding;

struct tv_jinja_scope {
    tv_jinja_scope *parent;
    binding *bindings;
    uint64_t count, capacity;
};

struct tv_jinja_loop {
    const tv_jinja_list *items;
    uint64_t index;
    tv_jinja_value changing; /* what changed() was last called with; undefined: not yet */
};

struct tv_jinja_callable {
    const char *name;          /* of a method or a function; NULL: a macro */
    tv_jinja_value self;       /* of a method; undefined: a function */
    const tv_jinja_node *node; /* of a macro or a call block */
    tv_jinja_scope *scope;     /* where it was written */
    tv_jinja_run_body run;
};

/* ---- names ---- */

tv_status tv_jinja_open_scope(tv_jinja_heap *heap, tv_jinja_scope *parent, tv_jinja_scope **out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof **out, &place));
    *out = place;
    (*out)->parent = parent;
    return TV_OK;
}

tv_status tv_jinja_define(tv_jinja_heap *heap, tv_jinja_scope *scope, const char *name,
                          tv_jinja_value value) {
    for (uint64_t i = 0; i < scope->count; i++) {
        if (strcmp(scope->bindings[i].name, name) == 0) {
            scope->bindings[i].value = value;
            return tv_jinja_spend(heap, 1 + i / 8);
        }
    }
    if (scope->count == scope->capacity) {
        void *moved;
        uint64_t more = tv_max_u64(4, 2 * scope->capacity);
        TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, more, sizeof *scope->bindings, &moved));
        if (scope->count)
            memcpy(moved, scope->bindings, scope->count * sizeof *scope->bindings);
        scope->bindings = moved;
        scope->capacity = more;
    }
    scope->bindings[scope->count++] = (binding){name, value};
    return tv_jinja_spend(heap, 1 + scope->count / 8);
}

static tv_status new_callable(tv_jinja_heap *heap, tv_jinja_callable callable, tv_jinja_value *out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof callable, &place));
    *(tv_jinja_callable *)place = callable;
    *out = (tv_jinja_value){.kind = TV_JINJA_CALLABLE, .callable = place};
    return TV_OK;
}

static tv_status look_up(tv_jinja_heap *heap, const char *name, const tv_jinja_scope *scope,
                         tv_jinja_value *out) {
    for (; scope; scope = scope->parent) {
        for (uint64_t i = 0; i < scope->count; i++) {
            if (strcmp(scope->bindings[i].name, name) == 0) {
                *out = scope->bindings[i].value;
                return TV_OK;
            }
        }
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1 + scope->count / 8));
    }
    if (tv_jinja_has_function(name))
        return new_callable(heap, (tv_jinja_callable){.name = name}, out);
    *out = tv_jinja_undefined(name);
    return TV_OK;
}

/* ---- loops ---- */

tv_status tv_jinja_new_loop(tv_jinja_heap *heap, const tv_jinja_list *items, tv_jinja_value *out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 1, sizeof(tv_jinja_loop), &place));
    *out = (tv_jinja_value){.kind = TV_JINJA_LOOP, .loop = place};
    out->loop->items = items;
    return TV_OK;
}

void tv_jinja_set_loop(tv_jinja_value loop, uint64_t index) {
    loop.loop->index = index;
}

static bool get_loop(const tv_jinja_loop *loop, const char *name, tv_jinja_value *out) {
    uint64_t i = loop->index, count = loop->items->count;
    const struct {
        const char *name;
        tv_jinja_value value;
    } fields[] = {
        {"index0", tv_jinja_integer((int64_t)i)},
        {"index", tv_jinja_integer((int64_t)i + 1)},
        {"revindex0", tv_jinja_integer((int64_t)(count - i) - 1)},
        {"revindex", tv_jinja_integer((int64_t)(count - i))},
        {"first", tv_jinja_bool(i == 0)},
        {"last", tv_jinja_bool(i + 1 == count)},
        {"length", tv_jinja_integer((int64_t)count)},
        {"previtem", i > 0 ? loop->items->items[i - 1] : tv_jinja_undefined("loop.previtem")},
        {"nextitem", i + 1 < count ? loop->items->items[i + 1] : tv_jinja_undefined("loop.nextitem")},
    };
    for (size_t f = 0; f < TV_COUNT(fields); f++) {
        if (strcmp(fields[f].name, name) == 0) {
            *out = fields[f].value;
            return true;
        }
    }
    return false;
}

static tv_status call_loop(tv_jinja_heap *heap, tv_jinja_loop *loop, const char *name,
                           const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    if (arguments->count == 0)
        return tv_jinja_fail(heap, "expected values in loop.%s, found none", name);
    if (strcmp(name, "cycle") == 0) {
        *out = arguments->positional[loop->index % arguments->count];
        return TV_OK;
    }
    tv_jinja_value list;
    bool same;
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, &list));
    for (uint64_t i = 0; i < arguments->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, list.list, arguments->positional[i]));
    TV_RETURN_IF_FAILED(tv_jinja_equal(heap, list, loop->changing, &same));
    loop->changing = list;
    *out = tv_jinja_bool(!same);
    return TV_OK;
}

/* ---- attributes ---- */

static tv_status is_undefined(tv_jinja_heap *heap, tv_jinja_value value, const char *wanted) {
    return tv_jinja_fail(heap, "expected a value to take %.60s of, found %.60s, which is undefined", wanted,
                         value.name ? value.name : "one");
}

static tv_status get_attribute(tv_jinja_heap *heap, tv_jinja_value object, const char *name,
                               tv_jinja_value *out) {
    bool loops = object.kind == TV_JINJA_LOOP && (strcmp(name, "cycle") == 0 || strcmp(name, "changed") == 0);
    if (object.kind == TV_JINJA_UNDEFINED)
        return is_undefined(heap, object, name);
    if (loops || tv_jinja_has_method(object, name))
        return new_callable(heap, (tv_jinja_callable){.name = name, .self = object}, out);
    *out = tv_jinja_undefined(name);
    if (object.kind == TV_JINJA_DICT || object.kind == TV_JINJA_NAMESPACE) {
        tv_jinja_value key, *found;
        TV_RETURN_IF_FAILED(tv_jinja_literal(heap, name, &key));
        TV_RETURN_IF_FAILED(tv_jinja_get(heap, object.dict, key, &found));
        *out = found ? *found : *out;
    }
    if (object.kind == TV_JINJA_LOOP && !get_loop(object.loop, name, out))
        return tv_jinja_fail(
            heap, "expected an attribute that loops have, found %.60s, which is not supported", name);
    return TV_OK;
}

static tv_status name_of(tv_jinja_heap *heap, const tv_jinja_text *text, const char **out) {
    void *place;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, text->length + 1, 1, &place));
    memcpy(place, text->bytes, text->length);
    *out = place;
    return TV_OK;
}

static tv_status get_item(tv_jinja_heap *heap, tv_jinja_value object, tv_jinja_value index,
                          tv_jinja_value *out) {
    static const char beyond[] = "an item beyond the end";
    bool place = index.kind == TV_JINJA_INTEGER || index.kind == TV_JINJA_BOOL;
    int64_t at = index.kind == TV_JINJA_BOOL ? index.truth : place ? index.integer : 0;
    if (object.kind == TV_JINJA_UNDEFINED)
        return is_undefined(heap, object, "an item");
    if (place && object.kind == TV_JINJA_LIST) {
        int64_t count = (int64_t)object.list->count;
        at += at < 0 ? count : 0;
        *out = at < 0 || at >= count ? tv_jinja_undefined(beyond) : object.list->items[at];
        return TV_OK;
    }
    if (place && object.kind == TV_JINJA_TEXT) {
        tv_jinja_value end = at == -1 || at == INT64_MAX ? tv_jinja_none() : tv_jinja_integer(at + 1);
        int64_t length;
        TV_RETURN_IF_FAILED(tv_jinja_length(heap, object.text, &length));
        if (at < -length || at >= length)
            *out = tv_jinja_undefined(beyond);
        else
            return tv_jinja_slice(heap, object, tv_jinja_integer(at), end, tv_jinja_none(), out);
        return TV_OK;
    }
    if (object.kind == TV_JINJA_DICT) {
        tv_jinja_value *found;
        TV_RETURN_IF_FAILED(tv_jinja_get(heap, object.dict, index, &found));
        *out = found ? *found : tv_jinja_undefined("an item that is not there");
        if (found || index.kind != TV_JINJA_TEXT)
            return TV_OK;
    }
    if (index.kind == TV_JINJA_TEXT) {
        const char *name;
        TV_RETURN_IF_FAILED(name_of(heap, index.text, &name));
        return get_attribute(heap, object, name, out);
    }
    *out = tv_jinja_undefined("an item that is not there");
    return TV_OK;
}

static tv_status get_slice(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                           tv_jinja_value *out) {
    tv_jinja_value object, bounds[3];
    const tv_jinja_node *bound = node->items;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &object));
    for (int i = 0; i < 3; i++, bound = bound->next)
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, bound, scope, &bounds[i]));
    return tv_jinja_slice(heap, object, bounds[0], bounds[1], bounds[2], out);
}

/* ---- calls ---- */

static tv_status evaluate_keywords(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                                   tv_jinja_dict *named) {
    tv_jinja_value value;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &value));
    if (node->kind == TV_JINJA_KEYWORD)
        return tv_jinja_set_named(heap, named, node->name, value);
    if (value.kind != TV_JINJA_DICT)
        return tv_jinja_fail(heap, "expected a dict behind **, found %s", tv_jinja_kind_name(value));
    for (uint64_t i = 0; i < value.dict->count; i++) {
        if (value.dict->keys[i].kind != TV_JINJA_TEXT)
            return tv_jinja_fail(heap, "expected names as keys behind **, found %s",
                                 tv_jinja_kind_name(value.dict->keys[i]));
        TV_RETURN_IF_FAILED(tv_jinja_set(heap, named, value.dict->keys[i], value.dict->values[i]));
    }
    return TV_OK;
}

static tv_status evaluate_arguments(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                                    tv_jinja_arguments *out) {
    tv_jinja_value list, named = {0};
    *out = (tv_jinja_arguments){0};
    if (!node)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, &list));
    for (; node; node = node->next) {
        tv_jinja_value value;
        const tv_jinja_list *more;
        if (node->kind == TV_JINJA_KEYWORD || node->kind == TV_JINJA_SPREAD_KEYWORDS) {
            if (named.kind != TV_JINJA_DICT)
                TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, &named));
            TV_RETURN_IF_FAILED(evaluate_keywords(heap, node, scope, named.dict));
        } else if (node->kind == TV_JINJA_SPREAD) {
            TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &value));
            TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, value, &more));
            for (uint64_t i = 0; i < more->count; i++)
                TV_RETURN_IF_FAILED(tv_jinja_add(heap, list.list, more->items[i]));
        } else {
            TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node, scope, &value));
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, list.list, value));
        }
    }
    *out = (tv_jinja_arguments){.positional = list.list->items,
                                .count = list.list->count,
                                .named = named.kind == TV_JINJA_DICT ? named.dict : NULL};
    return TV_OK;
}

/* varargs and kwargs: what no parameter took. */
static tv_status bind_rest(tv_jinja_heap *heap, const tv_jinja_node *macro, uint64_t taken,
                           const tv_jinja_arguments *arguments, const tv_jinja_dict *rest,
                           tv_jinja_scope *scope) {
    tv_jinja_value list, dict;
    const char *name = macro->name ? macro->name : "caller";
    if (!macro->takes_rest) {
        if (arguments->count > taken)
            return tv_jinja_fail(heap, "expected at most %llu arguments of %.60s, found %llu",
                                 (unsigned long long)taken, name, (unsigned long long)arguments->count);
        if (rest->count)
            return tv_jinja_fail(heap, "expected arguments that %.60s has, found \"%.*s\"", name,
                                 (int)tv_min_u64(rest->keys[0].text->length, 40), rest->keys[0].text->bytes);
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, &list));
    list.list->tuple = true;
    for (uint64_t i = taken; i < arguments->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, list.list, arguments->positional[i]));
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, &dict));
    for (uint64_t i = 0; i < rest->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_set(heap, dict.dict, rest->keys[i], rest->values[i]));
    TV_RETURN_IF_FAILED(tv_jinja_define(heap, scope, "varargs", list));
    return tv_jinja_define(heap, scope, "kwargs", dict);
}

static tv_status bind_parameters(tv_jinja_heap *heap, const tv_jinja_node *macro,
                                 const tv_jinja_arguments *arguments, tv_jinja_scope *scope) {
    tv_jinja_value rest;
    uint64_t taken = 0;
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, &rest));
    for (uint64_t i = 0; arguments->named && i < arguments->named->count; i++)
        TV_RETURN_IF_FAILED(
            tv_jinja_set(heap, rest.dict, arguments->named->keys[i], arguments->named->values[i]));
    for (const tv_jinja_node *p = macro->items; p; p = p->next, taken++) {
        tv_jinja_value value = tv_jinja_undefined(p->name);
        uint64_t k = 0;
        while (k < rest.dict->count && !tv_jinja_is_text(rest.dict->keys[k], p->name))
            k++;
        if (taken < arguments->count) {
            value = arguments->positional[taken];
        } else if (k < rest.dict->count) {
            value = rest.dict->values[k];
            rest.dict->count--;
            for (; k < rest.dict->count; k++) {
                rest.dict->keys[k] = rest.dict->keys[k + 1];
                rest.dict->values[k] = rest.dict->values[k + 1];
            }
        } else if (p->a) {
            TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, p->a, scope, &value));
        }
        TV_RETURN_IF_FAILED(tv_jinja_define(heap, scope, p->name, value));
    }
    return bind_rest(heap, macro, taken, arguments, rest.dict, scope);
}

/* `caller`, or undefined, is what the body knows by that name. */
static tv_status call_macro(tv_jinja_heap *heap, const tv_jinja_callable *macro,
                            const tv_jinja_arguments *arguments, tv_jinja_value caller, tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    tv_jinja_scope *scope;
    uint32_t line = heap->line;
    TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
    TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, macro->scope, &scope));
    if (caller.kind == TV_JINJA_CALLABLE)
        TV_RETURN_IF_FAILED(tv_jinja_define(heap, scope, "caller", caller));
    TV_RETURN_IF_FAILED(bind_parameters(heap, macro->node, arguments, scope));
    TV_RETURN_IF_FAILED(macro->run(heap, macro->node->body, scope, &buffer));
    heap->depth--;
    heap->line = line;
    return tv_jinja_finish(heap, &buffer, out);
}

static tv_status call(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                      tv_jinja_value caller, tv_jinja_value *out) {
    tv_jinja_value function;
    tv_jinja_arguments arguments;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &function));
    TV_RETURN_IF_FAILED(evaluate_arguments(heap, node->items, scope, &arguments));
    heap->line = node->line;
    if (function.kind != TV_JINJA_CALLABLE)
        return tv_jinja_fail(
            heap, "expected a function to call, found %.60s%s",
            function.kind == TV_JINJA_UNDEFINED && function.name ? function.name
                                                                 : tv_jinja_kind_name(function),
            function.kind == TV_JINJA_UNDEFINED && function.name ? ", which is undefined" : "");
    const tv_jinja_callable *callable = function.callable;
    if (!callable->name)
        return call_macro(heap, callable, &arguments, caller, out);
    if (callable->self.kind == TV_JINJA_UNDEFINED)
        return tv_jinja_call_function(heap, callable->name, &arguments, out);
    if (callable->self.kind == TV_JINJA_LOOP)
        return call_loop(heap, callable->self.loop, callable->name, &arguments, out);
    return tv_jinja_call_method(heap, callable->self, callable->name, &arguments, out);
}

tv_status tv_jinja_new_macro(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                             tv_jinja_run_body run, tv_jinja_value *out) {
    return new_callable(heap, (tv_jinja_callable){.node = node, .scope = scope, .run = run}, out);
}

tv_status tv_jinja_evaluate_call_block(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                                       tv_jinja_run_body run, tv_jinja_value *out) {
    tv_jinja_value caller;
    TV_RETURN_IF_FAILED(tv_jinja_new_macro(heap, node, scope, run, &caller));
    return call(heap, node->a, scope, caller, out);
}

/* ---- filters and tests ---- */

tv_status tv_jinja_evaluate_filter(tv_jinja_heap *heap, const tv_jinja_node *node,
                                   const tv_jinja_value *first, tv_jinja_scope *scope, tv_jinja_value *out) {
    tv_jinja_value value = first ? *first : tv_jinja_none();
    tv_jinja_arguments arguments;
    if (node->a && first && node->a->kind == TV_JINJA_FILTER) {
        TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
        TV_RETURN_IF_FAILED(tv_jinja_evaluate_filter(heap, node->a, first, scope, &value));
        heap->depth--;
    } else if (node->a) {
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &value));
    }
    TV_RETURN_IF_FAILED(evaluate_arguments(heap, node->items, scope, &arguments));
    heap->line = node->line;
    return tv_jinja_filter(heap, node->name, value, &arguments, out);
}

static tv_status evaluate_test(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                               tv_jinja_value *out) {
    tv_jinja_value value;
    tv_jinja_arguments arguments;
    bool holds;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &value));
    TV_RETURN_IF_FAILED(evaluate_arguments(heap, node->items, scope, &arguments));
    TV_RETURN_IF_FAILED(tv_jinja_test(heap, node->name, value, &arguments, &holds));
    *out = tv_jinja_bool(holds);
    return TV_OK;
}

/* ---- the rest ---- */

static tv_status make_list(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                           tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    out->list->tuple = node->kind == TV_JINJA_MAKE_TUPLE;
    for (const tv_jinja_node *item = node->items; item; item = item->next) {
        tv_jinja_value value;
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, item, scope, &value));
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, value));
    }
    return TV_OK;
}

static tv_status make_dict(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                           tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, out));
    for (const tv_jinja_node *item = node->items; item; item = item->next->next) {
        tv_jinja_value key, value;
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, item, scope, &key));
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, item->next, scope, &value));
        TV_RETURN_IF_FAILED(tv_jinja_set(heap, out->dict, key, value));
    }
    return TV_OK;
}

/* a < b < c: all hold. */
static tv_status compare(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                         tv_jinja_value *out) {
    tv_jinja_value left;
    bool holds = true;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &left));
    for (const tv_jinja_node *item = node->items; item && holds; item = item->next) {
        tv_jinja_value right;
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, item->a, scope, &right));
        TV_RETURN_IF_FAILED(tv_jinja_compare(heap, item->operator, left, right, &holds));
        left = right;
    }
    *out = tv_jinja_bool(holds);
    return TV_OK;
}

static tv_status evaluate_two(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                              tv_jinja_value *out) {
    tv_jinja_value a, b;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &a));
    if (node->kind == TV_JINJA_AND || node->kind == TV_JINJA_OR) {
        *out = a;
        return tv_jinja_truth(a) == (node->kind == TV_JINJA_OR)
                   ? TV_OK
                   : tv_jinja_evaluate(heap, node->b, scope, out);
    }
    if (node->kind == TV_JINJA_CONDITIONAL) {
        const tv_jinja_node *chosen = tv_jinja_truth(a) ? node->b : node->c;
        *out = tv_jinja_undefined("the value of an if without else");
        return chosen ? tv_jinja_evaluate(heap, chosen, scope, out) : TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->b, scope, &b));
    return node->kind == TV_JINJA_ITEM ? get_item(heap, a, b, out)
                                       : tv_jinja_operate(heap, node->operator, a, b, out);
}

static tv_status evaluate_one(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                              tv_jinja_value *out) {
    tv_jinja_value a;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &a));
    if (node->kind == TV_JINJA_ATTRIBUTE)
        return get_attribute(heap, a, node->name, out);
    if (node->kind != TV_JINJA_NOT)
        return tv_jinja_negate(heap, a, node->kind == TV_JINJA_NEGATIVE, out);
    *out = tv_jinja_bool(!tv_jinja_truth(a));
    return TV_OK;
}

static tv_status evaluate(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                          tv_jinja_value *out) {
    switch (node->kind) {
    case TV_JINJA_CONSTANT:
        *out = node->constant;
        return TV_OK;
    case TV_JINJA_VARIABLE:
        return look_up(heap, node->name, scope, out);
    case TV_JINJA_ATTRIBUTE:
    case TV_JINJA_NOT:
    case TV_JINJA_NEGATIVE:
    case TV_JINJA_POSITIVE:
        return evaluate_one(heap, node, scope, out);
    case TV_JINJA_SLICE:
        return get_slice(heap, node, scope, out);
    case TV_JINJA_CALL:
        return call(heap, node, scope, tv_jinja_none(), out);
    case TV_JINJA_FILTER:
        return tv_jinja_evaluate_filter(heap, node, NULL, scope, out);
    case TV_JINJA_TEST:
        return evaluate_test(heap, node, scope, out);
    case TV_JINJA_MAKE_LIST:
    case TV_JINJA_MAKE_TUPLE:
        return make_list(heap, node, scope, out);
    case TV_JINJA_MAKE_DICT:
        return make_dict(heap, node, scope, out);
    case TV_JINJA_COMPARE:
        return compare(heap, node, scope, out);
    default:
        break; /* the parser puts nothing else here */
    }
    return evaluate_two(heap, node, scope, out);
}

tv_status tv_jinja_evaluate(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                            tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
    heap->line = node->line;
    TV_RETURN_IF_FAILED(evaluate(heap, node, scope, out));
    heap->depth--;
    return TV_OK;
}
