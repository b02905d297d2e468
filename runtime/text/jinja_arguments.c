/* Arguments by place and name: see jinja_arguments.h. */
#include "text/jinja_arguments.h"

#include "base/bytes.h"

tv_status tv_jinja_bind(tv_jinja_heap *heap, const char *what, const tv_jinja_arguments *arguments,
                        const char *const *parameters, tv_jinja_bound *bound) {
    uint64_t known = 0;
    *bound = (tv_jinja_bound){0};
    while (parameters[known])
        known++;
    if (arguments->count > known)
        return tv_jinja_fail(heap, "expected at most %llu arguments of %.40s, found %llu",
                             (unsigned long long)known, what, (unsigned long long)arguments->count);
    for (uint64_t i = 0; i < arguments->count; i++) {
        bound->values[i] = arguments->positional[i];
        bound->given[i] = true;
    }
    for (uint64_t k = 0; arguments->named && k < arguments->named->count; k++) {
        uint64_t i = 0;
        while (i < known && !tv_jinja_is_text(arguments->named->keys[k], parameters[i]))
            i++;
        const tv_jinja_text *name = arguments->named->keys[k].text;
        if (i == known || bound->given[i])
            return tv_jinja_fail(heap, "expected arguments that %.40s has, each once, found \"%.*s\"", what,
                                 (int)tv_min_u64(name->length, 40), name->bytes);
        bound->values[i] = arguments->named->values[k];
        bound->given[i] = true;
    }
    return TV_OK;
}

bool tv_jinja_is_given(const tv_jinja_bound *bound, int i) {
    return bound->given[i] && bound->values[i].kind != TV_JINJA_NONE;
}

tv_status tv_jinja_bound_text(tv_jinja_heap *heap, const tv_jinja_bound *bound, int i,
                              const tv_jinja_text **out) {
    if (!tv_jinja_is_given(bound, i))
        return TV_OK;
    if (bound->values[i].kind != TV_JINJA_TEXT)
        return tv_jinja_fail(heap, "expected a text as argument %d, found %s", i + 1,
                             tv_jinja_kind_name(bound->values[i]));
    *out = bound->values[i].text;
    return TV_OK;
}

tv_status tv_jinja_bound_integer(tv_jinja_heap *heap, const tv_jinja_bound *bound, int i, int64_t *out) {
    if (!tv_jinja_is_given(bound, i))
        return TV_OK;
    if (bound->values[i].kind != TV_JINJA_INTEGER && bound->values[i].kind != TV_JINJA_BOOL)
        return tv_jinja_fail(heap, "expected a whole number as argument %d, found %s", i + 1,
                             tv_jinja_kind_name(bound->values[i]));
    *out = bound->values[i].kind == TV_JINJA_BOOL ? bound->values[i].truth : bound->values[i].integer;
    return TV_OK;
}

bool tv_jinja_bound_truth(const tv_jinja_bound *bound, int i) {
    return bound->given[i] && tv_jinja_truth(bound->values[i]);
}
