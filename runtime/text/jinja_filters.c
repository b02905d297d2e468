/* Filters, as Jinja 3.1 and transformers (tojson) have them: see jinja_filters.h. Those that go through lists
 * are in jinja_list_filters.c. */
#include "text/jinja_filters.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "text/jinja_list_filters.h"
#include "text/jinja_methods.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

/* ---- texts ---- */

static tv_status by_method(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                           const tv_jinja_bound *bound, tv_jinja_value *out) {
    static const char *const rows[][2] = {
        {"trim", "strip"},  {"upper", "upper"},           {"lower", "lower"},
        {"title", "title"}, {"capitalize", "capitalize"}, {"replace", "replace"}};
    const tv_jinja_text *text;
    uint64_t count = 0, i = 0;
    TV_RETURN_IF_FAILED(tv_jinja_to_text(heap, value, &text));
    while (count < TV_JINJA_MOST_PARAMETERS && bound->given[count])
        count++;
    while (strcmp(rows[i][0], name) != 0)
        i++;
    return tv_jinja_call_method(heap, (tv_jinja_value){.kind = TV_JINJA_TEXT, .text = text}, rows[i][1],
                                &(tv_jinja_arguments){.positional = bound->values, .count = count}, out);
}

static tv_status to_text(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                         const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_text *text;
    (void)name, (void)bound;
    TV_RETURN_IF_FAILED(tv_jinja_to_text(heap, value, &text));
    *out = (tv_jinja_value){.kind = TV_JINJA_TEXT, .text = text};
    return TV_OK;
}

static tv_status indent(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                        const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_text *text, *by;
    tv_jinja_value blanks;
    int64_t width = 4;
    (void)name;
    TV_RETURN_IF_FAILED(tv_jinja_to_text(heap, value, &text));
    if (bound->given[0] && bound->values[0].kind == TV_JINJA_TEXT) {
        by = bound->values[0].text;
    } else {
        TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, bound, 0, &width));
        TV_RETURN_IF_FAILED(tv_jinja_literal(heap, " ", &blanks));
        TV_RETURN_IF_FAILED(tv_jinja_repeat(heap, blanks.text, width, &blanks));
        by = blanks.text;
    }
    return tv_jinja_indent(heap, text, by, tv_jinja_bound_truth(bound, 1), tv_jinja_bound_truth(bound, 2),
                           out);
}

static tv_status escape(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                        const tv_jinja_bound *bound, tv_jinja_value *out) {
    static const char signs[] = "&<>'\"";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    const tv_jinja_text *text;
    tv_jinja_buffer buffer = {0};
    (void)name, (void)bound;
    TV_RETURN_IF_FAILED(tv_jinja_to_text(heap, value, &text));
    for (uint64_t i = 0; i < text->length; i++) {
        const char *sign = text->bytes[i] ? strchr(signs, text->bytes[i]) : NULL;
        const char *entity = sign ? entities[sign - signs] : "";
        TV_RETURN_IF_FAILED(
            sign ? tv_jinja_put(heap, &buffer, entity, strlen(entity), tv_jinja_origin(text, i))
                 : tv_jinja_put_text(heap, &buffer, text, i, i + 1));
    }
    return tv_jinja_finish(heap, &buffer, out);
}

static tv_status to_json(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                         const tv_jinja_bound *bound, tv_jinja_value *out) {
    tv_jinja_json_options options = {
        .indent = -1, .ascii = tv_jinja_bound_truth(bound, 0), .sort_keys = tv_jinja_bound_truth(bound, 3)};
    (void)name;
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, bound, 1, &options.indent));
    if (tv_jinja_is_given(bound, 2)) {
        const tv_jinja_list *pair = bound->values[2].kind == TV_JINJA_LIST ? bound->values[2].list : NULL;
        if (!pair || pair->count != 2 || pair->items[0].kind != TV_JINJA_TEXT ||
            pair->items[1].kind != TV_JINJA_TEXT)
            return tv_jinja_fail(heap, "expected two texts as separators of tojson, found something else");
        options.item_separator = pair->items[0].text;
        options.key_separator = pair->items[1].text;
    }
    return tv_jinja_to_json(heap, value, &options, out);
}

/* ---- numbers ---- */

static tv_status absolute(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                          const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)name, (void)bound;
    if (!tv_jinja_is_number(value) || (value.kind == TV_JINJA_INTEGER && value.integer == INT64_MIN))
        return tv_jinja_fail(heap, "expected a number, found %s", tv_jinja_kind_name(value));
    *out = value.kind == TV_JINJA_FLOAT     ? tv_jinja_float(fabs(value.number))
           : value.kind == TV_JINJA_INTEGER ? tv_jinja_integer(llabs(value.integer))
                                            : tv_jinja_integer(value.truth);
    return TV_OK;
}

/* The number that the whole text spells, blanks around it aside. */
static tv_status read_number(tv_jinja_heap *heap, const tv_jinja_text *text, double *out, bool *is) {
    tv_jinja_value bare;
    char copy[64];
    TV_RETURN_IF_FAILED(tv_jinja_strip(heap, text, NULL, true, true, &bare));
    uint64_t length = bare.text->length;
    *is = false;
    if (length == 0 || length >= sizeof copy || memchr(bare.text->bytes, 'x', length) ||
        memchr(bare.text->bytes, 'X', length) || memchr(bare.text->bytes, '\0', length))
        return TV_OK;
    memcpy(copy, bare.text->bytes, length);
    copy[length] = '\0';
    char *end;
    *out = strtod(copy, &end);
    *is = *end == '\0' && end != copy;
    return TV_OK;
}

static tv_status to_number(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                           const tv_jinja_bound *bound, tv_jinja_value *out) {
    bool whole = *name == 'i', is = tv_jinja_is_number(value);
    double number = is ? tv_jinja_number(value) : 0;
    if (whole && value.kind == TV_JINJA_INTEGER) {
        *out = value;
        return TV_OK;
    }
    if (whole && bound->given[1])
        return tv_jinja_fail(heap, "expected int without a base, found one, which is not supported");
    if (value.kind == TV_JINJA_TEXT)
        TV_RETURN_IF_FAILED(read_number(heap, value.text, &number, &is));
    if (whole && is && !(fabs(number) < 9.2e18))
        is = false;
    if (!is)
        *out = bound->given[0] ? bound->values[0] : whole ? tv_jinja_integer(0) : tv_jinja_float(0);
    else
        *out = whole ? tv_jinja_integer((int64_t)number) : tv_jinja_float(number);
    return TV_OK;
}

static tv_status round_number(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                              const tv_jinja_bound *bound, tv_jinja_value *out) {
    int64_t digits = 0;
    (void)name;
    if (!tv_jinja_is_number(value))
        return tv_jinja_fail(heap, "expected a number, found %s", tv_jinja_kind_name(value));
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, bound, 0, &digits));
    if (digits < -300 || digits > 300)
        return tv_jinja_fail(heap, "expected at most 300 digits to round to, found %lld", (long long)digits);
    double scale = pow(10, (double)digits), scaled = tv_jinja_number(value) * scale;
    tv_jinja_value how = bound->values[1];
    double rounded = !bound->given[1] || tv_jinja_is_text(how, "common") ? nearbyint(scaled)
                     : tv_jinja_is_text(how, "ceil")                     ? ceil(scaled)
                     : tv_jinja_is_text(how, "floor")                    ? floor(scaled)
                                                                         : NAN;
    if (!isfinite(rounded / scale))
        return tv_jinja_fail(heap, "expected common, ceil or floor as the way to round a finite number");
    *out = tv_jinja_float(rounded / scale);
    return TV_OK;
}

/* ---- any value ---- */

static tv_status length(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                        const tv_jinja_bound *bound, tv_jinja_value *out) {
    int64_t count = 0;
    (void)name, (void)bound;
    if (value.kind == TV_JINJA_TEXT)
        TV_RETURN_IF_FAILED(tv_jinja_length(heap, value.text, &count));
    else if (value.kind == TV_JINJA_LIST || value.kind == TV_JINJA_DICT)
        count = (int64_t)(value.kind == TV_JINJA_LIST ? value.list->count : value.dict->count);
    else if (value.kind != TV_JINJA_UNDEFINED)
        return tv_jinja_fail(heap, "expected a text, a list or a dict to count, found %s",
                             tv_jinja_kind_name(value));
    *out = tv_jinja_integer(count);
    return TV_OK;
}

static tv_status otherwise(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                           const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)name;
    *out = value;
    if (value.kind != TV_JINJA_UNDEFINED && (!tv_jinja_bound_truth(bound, 1) || tv_jinja_truth(value)))
        return TV_OK;
    if (!bound->given[0])
        return tv_jinja_literal(heap, "", out);
    *out = bound->values[0];
    return TV_OK;
}

static tv_status same(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                      const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)heap, (void)name, (void)bound;
    *out = value;
    return TV_OK;
}

static tv_status items(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                       const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)name, (void)bound;
    if (value.kind == TV_JINJA_UNDEFINED)
        return tv_jinja_new_list(heap, 0, out);
    if (value.kind != TV_JINJA_DICT)
        return tv_jinja_fail(heap, "expected a dict, found %s", tv_jinja_kind_name(value));
    return tv_jinja_call_method(heap, value, "items", &(tv_jinja_arguments){0}, out);
}

/* ---- the table ---- */

static const struct {
    const char *name;
    tv_status (*apply)(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                       const tv_jinja_bound *bound, tv_jinja_value *out);
    const char *parameters[TV_JINJA_MOST_PARAMETERS];
} FILTERS[] = {
    {"trim", by_method, {"chars"}},
    {"upper", by_method, {NULL}},
    {"lower", by_method, {NULL}},
    {"title", by_method, {NULL}},
    {"capitalize", by_method, {NULL}},
    {"replace", by_method, {"old", "new", "count"}},
    {"string", to_text, {NULL}},
    {"indent", indent, {"width", "first", "blank"}},
    {"escape", escape, {NULL}},
    {"e", escape, {NULL}},
    {"tojson", to_json, {"ensure_ascii", "indent", "separators", "sort_keys"}},
    {"abs", absolute, {NULL}},
    {"int", to_number, {"default", "base"}},
    {"float", to_number, {"default"}},
    {"round", round_number, {"precision", "method"}},
    {"length", length, {NULL}},
    {"count", length, {NULL}},
    {"default", otherwise, {"default_value", "boolean"}},
    {"d", otherwise, {"default_value", "boolean"}},
    {"safe", same, {NULL}},
    {"items", items, {NULL}},
    {"list", tv_jinja_list_filter, {NULL}},
    {"first", tv_jinja_list_filter, {NULL}},
    {"last", tv_jinja_list_filter, {NULL}},
    {"reverse", tv_jinja_list_filter, {NULL}},
    {"join", tv_jinja_list_filter, {"d", "attribute"}},
    {"sum", tv_jinja_list_filter, {"attribute", "start"}},
    {"min", tv_jinja_list_filter, {"case_sensitive", "attribute"}},
    {"max", tv_jinja_list_filter, {"case_sensitive", "attribute"}},
    {"sort", tv_jinja_list_filter, {"reverse", "case_sensitive", "attribute"}},
    {"unique", tv_jinja_list_filter, {"case_sensitive", "attribute"}},
    {"dictsort", tv_jinja_list_filter, {"case_sensitive", "by", "reverse"}},
};

static tv_status apply(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                       const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    bool known;
    TV_RETURN_IF_FAILED(tv_jinja_choosing_filter(heap, name, value, arguments, tv_jinja_filter, out, &known));
    if (known)
        return TV_OK;
    for (size_t i = 0; i < TV_COUNT(FILTERS); i++) {
        tv_jinja_bound bound;
        if (strcmp(FILTERS[i].name, name) != 0)
            continue;
        TV_RETURN_IF_FAILED(tv_jinja_bind(heap, name, arguments, FILTERS[i].parameters, &bound));
        return FILTERS[i].apply(heap, name, value, &bound, out);
    }
    return tv_jinja_fail(heap, "expected a filter of Jinja, found \"%.40s\", which is not known", name);
}

tv_status tv_jinja_filter(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                          const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_enter(heap));
    tv_status status = apply(heap, name, value, arguments, out);
    heap->depth--;
    return status;
}
