/* Rendering: see jinja.h. Statements write into a buffer; expressions give values (jinja_evaluate.c). */
#include "text/jinja.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/os.h"
#include "text/jinja_evaluate.h"

struct tv_jinja {
    tv_jinja_heap heap; /* of its nodes */
    tv_jinja_node *root;
    bool dated, generates;
};

/* A program of another's, and the values of one rendering. */
static const uint64_t PARSING_MEMORY = UINT64_C(512) << 20, PARSING_STEPS = 64 << 20;
static const uint64_t MEMORY = UINT64_C(64) << 20, MEMORY_PER_BYTE = 64, MEMORY_PER_MESSAGE = 64 << 10;
static const uint64_t STEPS = 2 << 20, STEPS_PER_BYTE = 4, STEPS_PER_MESSAGE = 16 << 10;

static void name_date(tv_jinja *jinja, const char *source, uint64_t length) {
    static const char name[] = "strftime_now";
    for (uint64_t i = 0; i + sizeof name - 1 <= length; i++)
        jinja->dated |= memcmp(source + i, name, sizeof name - 1) == 0;
}

tv_status tv_jinja_parse(const char *source, uint64_t length, tv_jinja **out) {
    tv_status status;
    *out = NULL;
    tv_jinja *jinja = calloc(1, sizeof *jinja);
    if (!jinja)
        return tv_fail(TV_E_MEMORY, "out of host memory for a chat template");
    jinja->heap = (tv_jinja_heap){.memory = PARSING_MEMORY, .steps = PARSING_STEPS};
    TV_TRY_OR_FAIL(tv_arena_create(&jinja->heap.arena));
    TV_TRY_OR_FAIL(tv_jinja_parse_nodes(&jinja->heap, source, length, &jinja->root, &jinja->generates));
    name_date(jinja, source, length);
    *out = jinja;
    return TV_OK;
fail:
    tv_jinja_destroy(&jinja);
    return status;
}

void tv_jinja_destroy(tv_jinja **jinja) {
    if (!jinja || !*jinja)
        return;
    tv_arena_destroy(&(*jinja)->heap.arena);
    free(*jinja);
    *jinja = NULL;
}

bool tv_jinja_is_dated(const tv_jinja *jinja) {
    return jinja->dated;
}

bool tv_jinja_generates(const tv_jinja *jinja) {
    return jinja->generates;
}

tv_status tv_jinja_heap_create(uint64_t input, uint64_t count, tv_jinja_heap *heap) {
    input = tv_min_u64(input, UINT64_C(1) << 40);
    count = tv_min_u64(count, UINT64_C(1) << 40);
    *heap = (tv_jinja_heap){.memory = MEMORY + MEMORY_PER_BYTE * input + MEMORY_PER_MESSAGE * count,
                            .steps = STEPS + STEPS_PER_BYTE * input + STEPS_PER_MESSAGE * count,
                            .line = 1,
                            .date = tv_date_seconds()};
    return tv_arena_create(&heap->arena);
}

void tv_jinja_heap_destroy(tv_jinja_heap *heap) {
    tv_arena_destroy(&heap->arena);
    *heap = (tv_jinja_heap){0};
}

/* ---- statements ---- */

typedef enum flow { GOES_ON, BREAKS, CONTINUES } flow;

static tv_status run(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                     tv_jinja_buffer *out, flow *ends);

static tv_status run_body(tv_jinja_heap *heap, const tv_jinja_node *body, tv_jinja_scope *scope,
                          tv_jinja_buffer *out) {
    flow ends = GOES_ON;
    return run(heap, body, scope, out, &ends);
}

static tv_status assign(tv_jinja_heap *heap, const tv_jinja_node *target, tv_jinja_scope *scope,
                        tv_jinja_value value) {
    if (target->kind == TV_JINJA_VARIABLE)
        return tv_jinja_define(heap, scope, target->name, value);
    if (target->kind == TV_JINJA_ATTRIBUTE) {
        tv_jinja_value object;
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, target->a, scope, &object));
        if (object.kind != TV_JINJA_NAMESPACE)
            return tv_jinja_fail(heap, "expected a namespace to assign %.60s to, found %s", target->name,
                                 tv_jinja_kind_name(object));
        return tv_jinja_set_named(heap, object.dict, target->name, value);
    }
    const tv_jinja_list *items;
    const tv_jinja_node *name = target->items;
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, value, &items));
    for (uint64_t i = 0; i < items->count && name; i++, name = name->next) {
        TV_RETURN_IF_FAILED(tv_jinja_define(heap, scope, name->name, items->items[i]));
        if (i + 1 == items->count && !name->next)
            return TV_OK;
    }
    return tv_jinja_fail(heap, "expected as many values as names, found %llu values",
                         (unsigned long long)items->count);
}

/* The items that a loop goes through: those that pass its filter. */
static tv_status filter_items(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                              tv_jinja_value *list) {
    const tv_jinja_list *items;
    tv_jinja_value value;
    TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->b, scope, &value));
    heap->line = node->line;
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, value, &items));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, items->count, list));
    for (uint64_t i = 0; i < items->count; i++) {
        tv_jinja_value passes = tv_jinja_bool(true);
        if (node->c) {
            tv_jinja_scope *inner;
            TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, scope, &inner));
            TV_RETURN_IF_FAILED(assign(heap, node->a, inner, items->items[i]));
            TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->c, inner, &passes));
        }
        if (tv_jinja_truth(passes))
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, list->list, items->items[i]));
    }
    return TV_OK;
}

static tv_status run_for(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                         tv_jinja_buffer *out) {
    tv_jinja_value items, loop;
    TV_RETURN_IF_FAILED(filter_items(heap, node, scope, &items));
    TV_RETURN_IF_FAILED(tv_jinja_new_loop(heap, items.list, &loop));
    for (uint64_t i = 0; i < items.list->count; i++) {
        tv_jinja_scope *inner;
        flow ends = GOES_ON;
        heap->line = node->line;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
        TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, scope, &inner));
        tv_jinja_set_loop(loop, i);
        TV_RETURN_IF_FAILED(tv_jinja_define(heap, inner, "loop", loop));
        TV_RETURN_IF_FAILED(assign(heap, node->a, inner, items.list->items[i]));
        TV_RETURN_IF_FAILED(run(heap, node->body, inner, out, &ends));
        if (ends == BREAKS)
            break;
    }
    return items.list->count ? TV_OK : run_body(heap, node->otherwise, scope, out);
}

/* The filters of a block, from the last, which holds those before it. */
static tv_status apply_filters(tv_jinja_heap *heap, const tv_jinja_node *filter, tv_jinja_scope *scope,
                               tv_jinja_value value, tv_jinja_value *out) {
    *out = value;
    return filter ? tv_jinja_evaluate_filter(heap, filter, &value, scope, out) : TV_OK;
}

static tv_status run_captured(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                              tv_jinja_value *value) {
    tv_jinja_buffer buffer = {0};
    tv_jinja_scope *inner;
    TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, scope, &inner));
    TV_RETURN_IF_FAILED(run_body(heap, node->body, inner, &buffer));
    heap->line = node->line;
    TV_RETURN_IF_FAILED(tv_jinja_finish(heap, &buffer, value));
    return apply_filters(heap, node->c, scope, *value, value);
}

static tv_status run_set(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope) {
    tv_jinja_value value;
    TV_RETURN_IF_FAILED(node->b ? tv_jinja_evaluate(heap, node->b, scope, &value)
                                : run_captured(heap, node, scope, &value));
    heap->line = node->line;
    return assign(heap, node->a, scope, value);
}

static tv_status run_with(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                          tv_jinja_buffer *out, flow *ends) {
    tv_jinja_scope *inner;
    TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, scope, &inner));
    for (const tv_jinja_node *item = node->items; item; item = item->next) {
        tv_jinja_value value;
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, item->a, scope, &value));
        TV_RETURN_IF_FAILED(tv_jinja_define(heap, inner, item->name, value));
    }
    return run(heap, node->body, inner, out, ends);
}

static tv_status run_if(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                        tv_jinja_buffer *out, flow *ends) {
    for (;;) {
        tv_jinja_value test;
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &test));
        if (tv_jinja_truth(test))
            return run(heap, node->body, scope, out, ends);
        if (!node->otherwise || node->otherwise->kind != TV_JINJA_IF || node->otherwise->next)
            return run(heap, node->otherwise, scope, out, ends);
        node = node->otherwise;
    }
}

static tv_status run_write(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                           tv_jinja_buffer *out) {
    tv_jinja_value value = node->constant;
    if (node->kind == TV_JINJA_WRITE)
        TV_RETURN_IF_FAILED(tv_jinja_evaluate(heap, node->a, scope, &value));
    else if (node->kind == TV_JINJA_FILTER_BLOCK)
        TV_RETURN_IF_FAILED(run_captured(heap, node, scope, &value));
    else if (node->kind == TV_JINJA_CALL_BLOCK)
        TV_RETURN_IF_FAILED(tv_jinja_evaluate_call_block(heap, node, scope, run_body, &value));
    heap->line = node->line;
    return tv_jinja_put_value(heap, out, value);
}

static tv_status run_generation(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                                tv_jinja_buffer *out, flow *ends) {
    uint64_t begin = out->size;
    TV_RETURN_IF_FAILED(run(heap, node->body, scope, out, ends));
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, (out->size - begin) / 64));
    for (uint64_t i = begin; i < out->size; i++)
        out->origins[i] |= TV_JINJA_GENERATED;
    return TV_OK;
}

static tv_status run_one(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                         tv_jinja_buffer *out, flow *ends) {
    tv_jinja_value macro;
    switch (node->kind) {
    case TV_JINJA_IF:
        return run_if(heap, node, scope, out, ends);
    case TV_JINJA_FOR:
        return run_for(heap, node, scope, out);
    case TV_JINJA_SET:
        return run_set(heap, node, scope);
    case TV_JINJA_WITH:
        return run_with(heap, node, scope, out, ends);
    case TV_JINJA_MACRO:
        TV_RETURN_IF_FAILED(tv_jinja_new_macro(heap, node, scope, run_body, &macro));
        return tv_jinja_define(heap, scope, node->name, macro);
    case TV_JINJA_GENERATION:
        return run_generation(heap, node, scope, out, ends);
    case TV_JINJA_BREAK:
    case TV_JINJA_CONTINUE:
        *ends = node->kind == TV_JINJA_BREAK ? BREAKS : CONTINUES;
        return TV_OK;
    default:
        break;
    }
    return run_write(heap, node, scope, out);
}

static tv_status run(tv_jinja_heap *heap, const tv_jinja_node *node, tv_jinja_scope *scope,
                     tv_jinja_buffer *out, flow *ends) {
    TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
    for (; node && *ends == GOES_ON; node = node->next) {
        heap->line = node->line;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
        TV_RETURN_IF_FAILED(run_one(heap, node, scope, out, ends));
    }
    heap->depth--;
    return TV_OK;
}

tv_status tv_jinja_render(const tv_jinja *jinja, tv_jinja_heap *heap, const tv_jinja_dict *variables,
                          tv_jinja_buffer *out) {
    tv_jinja_scope *given, *own;
    TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, NULL, &given));
    for (uint64_t i = 0; i < variables->count; i++) {
        const tv_jinja_text *name = variables->keys[i].text;
        char *copy = tv_arena_copy(heap->arena, name->bytes, name->length);
        if (!copy)
            return TV_E_MEMORY;
        TV_RETURN_IF_FAILED(tv_jinja_define(heap, given, copy, variables->values[i]));
    }
    TV_RETURN_IF_FAILED(tv_jinja_open_scope(heap, given, &own));
    return run_body(heap, jinja->root, own, out);
}
