/* Filters that go through lists: see jinja_list_filters.h. */
#include "text/jinja_list_filters.h"

#include "base/bytes.h"
#include "text/jinja_tests.h"
#include "text/jinja_text.h"

/* One step of an attribute's path, a key or a place in a list. */
static tv_status get_step(tv_jinja_heap *heap, tv_jinja_value value, tv_jinja_value step,
                          tv_jinja_value *out) {
    *out = tv_jinja_undefined(NULL);
    if (value.kind == TV_JINJA_DICT || value.kind == TV_JINJA_NAMESPACE) {
        tv_jinja_value *found;
        TV_RETURN_IF_FAILED(tv_jinja_get(heap, value.dict, step, &found));
        *out = found ? *found : *out;
    } else if (value.kind == TV_JINJA_LIST && step.kind == TV_JINJA_TEXT && step.text->length < 10) {
        uint64_t place = 0, i = 0;
        for (; i < step.text->length && step.text->bytes[i] >= '0' && step.text->bytes[i] <= '9'; i++)
            place = place * 10 + (uint64_t)(step.text->bytes[i] - '0');
        if (i && i == step.text->length && place < value.list->count)
            *out = value.list->items[place];
    } else if (value.kind == TV_JINJA_LIST && step.kind == TV_JINJA_INTEGER && step.integer >= 0 &&
               (uint64_t)step.integer < value.list->count) {
        *out = value.list->items[step.integer];
    }
    return TV_OK;
}

/* "a.b.0" of a value; the value itself where there is no path. */
static tv_status get_path(tv_jinja_heap *heap, tv_jinja_value value, tv_jinja_value path, bool given,
                          tv_jinja_value *out) {
    tv_jinja_value dot, steps;
    *out = value;
    if (!given)
        return TV_OK;
    if (path.kind != TV_JINJA_TEXT)
        return get_step(heap, value, path, out);
    TV_RETURN_IF_FAILED(tv_jinja_literal(heap, ".", &dot));
    TV_RETURN_IF_FAILED(tv_jinja_split(heap, path.text, dot.text, -1, false, &steps));
    for (uint64_t i = 0; i < steps.list->count; i++)
        TV_RETURN_IF_FAILED(get_step(heap, *out, steps.list->items[i], out));
    return TV_OK;
}

/* A list of get_path of each. */
static tv_status get_paths(tv_jinja_heap *heap, const tv_jinja_list *list, const tv_jinja_bound *bound, int i,
                           tv_jinja_list **out) {
    tv_jinja_value made;
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, list->count, &made));
    for (uint64_t k = 0; k < list->count; k++) {
        tv_jinja_value value;
        TV_RETURN_IF_FAILED(
            get_path(heap, list->items[k], bound->values[i], tv_jinja_is_given(bound, i), &value));
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, made.list, value));
    }
    *out = made.list;
    return TV_OK;
}

/* ---- order ---- */

typedef struct sort_order {
    bool ignore_case, reverse;
} sort_order;

/* Merges the sorted halves [begin, middle) and [middle, end) of `from`; equal ones keep their order. */
static tv_status merge(tv_jinja_heap *heap, const tv_jinja_list *keys, const sort_order *by,
                       const uint64_t *from, uint64_t *to, uint64_t begin, uint64_t middle, uint64_t end) {
    uint64_t left = begin, right = middle;
    for (uint64_t i = begin; i < end; i++) {
        int order = -1;
        if (left < middle && right < end) {
            TV_RETURN_IF_FAILED(tv_jinja_order(heap, keys->items[from[left]], keys->items[from[right]],
                                               by->ignore_case, &order));
            order = by->reverse ? -order : order;
        }
        to[i] = right == end || (left < middle && order <= 0) ? from[left++] : from[right++];
    }
    return TV_OK;
}

/* `items` by the order of `keys`. */
static tv_status sort(tv_jinja_heap *heap, const tv_jinja_list *items, const tv_jinja_list *keys,
                      const sort_order *by, tv_jinja_value *out) {
    uint64_t count = items->count;
    void *memory;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, 2 * count + 1, sizeof(uint64_t), &memory));
    uint64_t *from = memory, *to = from + count;
    for (uint64_t i = 0; i < count; i++)
        from[i] = i;
    for (uint64_t width = 1; width < count; width *= 2) {
        for (uint64_t begin = 0; begin < count; begin += 2 * width)
            TV_RETURN_IF_FAILED(merge(heap, keys, by, from, to, begin, tv_min_u64(begin + width, count),
                                      tv_min_u64(begin + 2 * width, count)));
        uint64_t *other = from;
        from = to;
        to = other;
    }
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, count, out));
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, items->items[from[i]]));
    return TV_OK;
}

static tv_status sort_dict(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_bound *bound,
                           tv_jinja_value *out) {
    tv_jinja_value items, keys;
    bool by_value = bound->given[1] && tv_jinja_is_text(bound->values[1], "value");
    sort_order by = {!tv_jinja_bound_truth(bound, 0), tv_jinja_bound_truth(bound, 2)};
    if (value.kind != TV_JINJA_DICT)
        return tv_jinja_fail(heap, "expected a dict to sort, found %s", tv_jinja_kind_name(value));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, value.dict->count, &items));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, value.dict->count, &keys));
    for (uint64_t i = 0; i < value.dict->count; i++) {
        tv_jinja_value pair;
        TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 2, &pair));
        pair.list->tuple = true;
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, pair.list, value.dict->keys[i]));
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, pair.list, value.dict->values[i]));
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, items.list, pair));
        TV_RETURN_IF_FAILED(
            tv_jinja_add(heap, keys.list, by_value ? value.dict->values[i] : value.dict->keys[i]));
    }
    return sort(heap, items.list, keys.list, &by, out);
}

static tv_status extreme(tv_jinja_heap *heap, const tv_jinja_list *items, const tv_jinja_list *keys,
                         bool ignore_case, bool largest, tv_jinja_value *out) {
    uint64_t best = 0;
    *out = tv_jinja_undefined(NULL);
    for (uint64_t i = 0; i < items->count; i++) {
        int order = 0;
        if (i)
            TV_RETURN_IF_FAILED(tv_jinja_order(heap, keys->items[i], keys->items[best], ignore_case, &order));
        best = (largest ? order > 0 : order < 0) ? i : best;
        *out = items->items[best];
    }
    return TV_OK;
}

static tv_status unique(tv_jinja_heap *heap, const tv_jinja_list *items, const tv_jinja_list *keys,
                        bool ignore_case, tv_jinja_value *out) {
    tv_jinja_value seen;
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, &seen));
    for (uint64_t i = 0; i < items->count; i++) {
        tv_jinja_value key = keys->items[i];
        bool known;
        if (ignore_case && key.kind == TV_JINJA_TEXT)
            TV_RETURN_IF_FAILED(tv_jinja_change_case(heap, key.text, TV_JINJA_LOWER, &key));
        TV_RETURN_IF_FAILED(tv_jinja_contains(heap, seen, key, &known));
        if (known)
            continue;
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, seen.list, key));
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, items->items[i]));
    }
    return TV_OK;
}

/* ---- whole lists ---- */

static tv_status sum(tv_jinja_heap *heap, const tv_jinja_list *keys, const tv_jinja_bound *bound,
                     tv_jinja_value *out) {
    *out = bound->given[1] ? bound->values[1] : tv_jinja_integer(0);
    for (uint64_t i = 0; i < keys->count; i++) {
        tv_jinja_value item = keys->items[i];
        if (!tv_jinja_is_number(item) || !tv_jinja_is_number(*out))
            return tv_jinja_fail(heap, "expected numbers to add, found %s",
                                 tv_jinja_kind_name(tv_jinja_is_number(*out) ? item : *out));
        int64_t a = out->kind == TV_JINJA_BOOL ? out->truth : out->integer,
                b = item.kind == TV_JINJA_BOOL ? item.truth : item.integer, whole;
        if (item.kind == TV_JINJA_FLOAT || out->kind == TV_JINJA_FLOAT)
            *out = tv_jinja_float(tv_jinja_number(*out) + tv_jinja_number(item));
        else if (__builtin_add_overflow(a, b, &whole))
            return tv_jinja_fail(heap, "expected a sum within 64 bits, found a larger one");
        else
            *out = tv_jinja_integer(whole);
    }
    return TV_OK;
}

static tv_status copy(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_list *items, bool reversed,
                      tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, items->count, out));
    for (uint64_t i = 0; i < items->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, items->items[reversed ? items->count - 1 - i : i]));
    return reversed && value.kind == TV_JINJA_TEXT ? tv_jinja_join(heap, out->list, NULL, out) : TV_OK;
}

static tv_status join(tv_jinja_heap *heap, const tv_jinja_list *items, const tv_jinja_bound *bound,
                      tv_jinja_value *out) {
    const tv_jinja_text *separator = NULL;
    tv_jinja_list *keys;
    TV_RETURN_IF_FAILED(tv_jinja_bound_text(heap, bound, 0, &separator));
    TV_RETURN_IF_FAILED(get_paths(heap, items, bound, 1, &keys));
    return tv_jinja_join(heap, keys, separator, out);
}

tv_status tv_jinja_list_filter(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                               const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_list *items;
    tv_jinja_list *keys;
    bool first = strcmp(name, "first") == 0;
    if (strcmp(name, "dictsort") == 0)
        return sort_dict(heap, value, bound, out);
    if (value.kind == TV_JINJA_TEXT && value.text->length && (first || strcmp(name, "last") == 0))
        return tv_jinja_slice(heap, value, tv_jinja_integer(first ? 0 : -1),
                              first ? tv_jinja_integer(1) : tv_jinja_none(), tv_jinja_none(), out);
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, value, &items));
    if (strcmp(name, "list") == 0 || strcmp(name, "reverse") == 0)
        return copy(heap, value, items, *name == 'r', out);
    if (first || strcmp(name, "last") == 0) {
        *out = items->count == 0 ? tv_jinja_undefined(name) : items->items[first ? 0 : items->count - 1];
        return TV_OK;
    }
    if (strcmp(name, "join") == 0)
        return join(heap, items, bound, out);
    bool sums = strcmp(name, "sum") == 0, sorts = strcmp(name, "sort") == 0;
    TV_RETURN_IF_FAILED(get_paths(heap, items, bound, sums ? 0 : sorts ? 2 : 1, &keys));
    if (sums)
        return sum(heap, keys, bound, out);
    bool ignore_case = !tv_jinja_bound_truth(bound, sorts ? 1 : 0);
    if (sorts)
        return sort(heap, items, keys, &(sort_order){ignore_case, tv_jinja_bound_truth(bound, 0)}, out);
    if (strcmp(name, "unique") == 0)
        return unique(heap, items, keys, ignore_case, out);
    return extreme(heap, items, keys, ignore_case, strcmp(name, "max") == 0, out);
}

/* ---- by other filters and by tests ---- */

static tv_status text_argument(tv_jinja_heap *heap, const tv_jinja_arguments *arguments, uint64_t i,
                               const char *what, char **out) {
    void *place;
    if (i >= arguments->count || arguments->positional[i].kind != TV_JINJA_TEXT)
        return tv_jinja_fail(heap, "expected %s as argument %llu, found none", what,
                             (unsigned long long)i + 1);
    const tv_jinja_text *text = arguments->positional[i].text;
    TV_RETURN_IF_FAILED(tv_jinja_alloc(heap, text->length + 1, 1, &place));
    memcpy(place, text->bytes, text->length);
    *out = place;
    return TV_OK;
}

static tv_status map(tv_jinja_heap *heap, const tv_jinja_list *items, const tv_jinja_arguments *arguments,
                     tv_jinja_filter_by_name filter, tv_jinja_value *out) {
    static const char *const parameters[] = {"attribute", "default", NULL};
    tv_jinja_bound bound = {0};
    char *name = NULL;
    if (arguments->count == 0)
        TV_RETURN_IF_FAILED(tv_jinja_bind(heap, "map", arguments, parameters, &bound));
    else
        TV_RETURN_IF_FAILED(text_argument(heap, arguments, 0, "the name of a filter", &name));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, items->count, out));
    for (uint64_t i = 0; i < items->count; i++) {
        tv_jinja_value item = items->items[i];
        if (name)
            TV_RETURN_IF_FAILED(filter(heap, name, item,
                                       &(tv_jinja_arguments){.positional = arguments->positional + 1,
                                                             .count = arguments->count - 1,
                                                             .named = arguments->named},
                                       &item));
        else
            TV_RETURN_IF_FAILED(get_path(heap, item, bound.values[0], bound.given[0], &item));
        if (item.kind == TV_JINJA_UNDEFINED && bound.given[1])
            item = bound.values[1];
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, item));
    }
    return TV_OK;
}

static tv_status choose(tv_jinja_heap *heap, const char *name, const tv_jinja_list *items,
                        const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    bool attribute = strlen(name) > 6, keeps = *name == 's';
    uint64_t first = attribute ? 1 : 0;
    char *test = NULL;
    if (attribute && arguments->count == 0)
        return tv_jinja_fail(heap, "expected the name of an attribute behind %s, found none", name);
    if (arguments->count > first)
        TV_RETURN_IF_FAILED(text_argument(heap, arguments, first, "the name of a test", &test));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    for (uint64_t i = 0; i < items->count; i++) {
        tv_jinja_value value;
        TV_RETURN_IF_FAILED(get_path(heap, items->items[i],
                                     attribute ? arguments->positional[0] : tv_jinja_none(), attribute,
                                     &value));
        bool holds = tv_jinja_truth(value);
        if (test)
            TV_RETURN_IF_FAILED(
                tv_jinja_test(heap, test, value,
                              &(tv_jinja_arguments){.positional = arguments->positional + first + 1,
                                                    .count = arguments->count - first - 1,
                                                    .named = arguments->named},
                              &holds));
        if (holds == keeps)
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, items->items[i]));
    }
    return TV_OK;
}

tv_status tv_jinja_choosing_filter(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                                   const tv_jinja_arguments *arguments, tv_jinja_filter_by_name filter,
                                   tv_jinja_value *out, bool *known) {
    static const char *const names[] = {"map", "select", "reject", "selectattr", "rejectattr"};
    const tv_jinja_list *items;
    *known = false;
    for (size_t i = 0; i < TV_COUNT(names); i++)
        *known |= strcmp(names[i], name) == 0;
    if (!*known)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, value, &items));
    return *name == 'm' ? map(heap, items, arguments, filter, out)
                        : choose(heap, name, items, arguments, out);
}
