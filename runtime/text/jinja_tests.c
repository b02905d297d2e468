/* Tests: see jinja_tests.h. */
#include "text/jinja_tests.h"

#include "base/bytes.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

typedef enum test_kind {
    DEFINED,
    UNDEFINED,
    NONE,
    BOOLEAN,
    IS_TRUE,
    IS_FALSE,
    INTEGER,
    FLOAT,
    NUMBER,
    STRING,
    MAPPING,
    ITERABLE,
    SEQUENCE,
    CALLABLE,
    ODD,
    EVEN,
    DIVISIBLE,
    LOWER,
    UPPER,
    ESCAPED,
    EQUAL,
    NOT_EQUAL,
    LESS,
    LESS_EQUAL,
    GREATER,
    GREATER_EQUAL,
    IN,
    SAME
} test_kind;

static const struct {
    const char *name;
    test_kind kind;
} TESTS[] = {{"defined", DEFINED},
             {"undefined", UNDEFINED},
             {"none", NONE},
             {"boolean", BOOLEAN},
             {"true", IS_TRUE},
             {"false", IS_FALSE},
             {"integer", INTEGER},
             {"float", FLOAT},
             {"number", NUMBER},
             {"string", STRING},
             {"mapping", MAPPING},
             {"iterable", ITERABLE},
             {"sequence", SEQUENCE},
             {"callable", CALLABLE},
             {"odd", ODD},
             {"even", EVEN},
             {"divisibleby", DIVISIBLE},
             {"lower", LOWER},
             {"upper", UPPER},
             {"escaped", ESCAPED},
             {"eq", EQUAL},
             {"equalto", EQUAL},
             {"==", EQUAL},
             {"ne", NOT_EQUAL},
             {"!=", NOT_EQUAL},
             {"lt", LESS},
             {"lessthan", LESS},
             {"<", LESS},
             {"le", LESS_EQUAL},
             {"<=", LESS_EQUAL},
             {"gt", GREATER},
             {"greaterthan", GREATER},
             {">", GREATER},
             {"ge", GREATER_EQUAL},
             {">=", GREATER_EQUAL},
             {"in", IN},
             {"sameas", SAME}};

/* value % by, of whole numbers. */
static tv_status divides(tv_jinja_heap *heap, tv_jinja_value value, int64_t by, int64_t *rest) {
    if (value.kind != TV_JINJA_INTEGER && value.kind != TV_JINJA_BOOL)
        return tv_jinja_fail(heap, "expected a whole number to test, found %s", tv_jinja_kind_name(value));
    if (by == 0)
        return tv_jinja_fail(heap, "expected a number to divide by, found 0");
    *rest = by == -1 ? 0 : (value.kind == TV_JINJA_BOOL ? value.truth : value.integer) % by;
    return TV_OK;
}

/* Has letters, and all are in this case. */
static tv_status has_case(tv_jinja_heap *heap, tv_jinja_value value, tv_jinja_case how, bool *out) {
    const tv_jinja_text *text;
    tv_jinja_value changed, other;
    bool same, differs;
    TV_RETURN_IF_FAILED(tv_jinja_to_text(heap, value, &text));
    tv_jinja_value whole = {.kind = TV_JINJA_TEXT, .text = text};
    TV_RETURN_IF_FAILED(tv_jinja_change_case(heap, text, how, &changed));
    TV_RETURN_IF_FAILED(
        tv_jinja_change_case(heap, text, how == TV_JINJA_LOWER ? TV_JINJA_UPPER : TV_JINJA_LOWER, &other));
    TV_RETURN_IF_FAILED(tv_jinja_equal(heap, whole, changed, &same));
    TV_RETURN_IF_FAILED(tv_jinja_equal(heap, whole, other, &differs));
    *out = same && !differs;
    return TV_OK;
}

static tv_status compare(tv_jinja_heap *heap, test_kind kind, tv_jinja_value value, tv_jinja_value other,
                         bool *out) {
    int order;
    if (kind == EQUAL || kind == NOT_EQUAL || kind == SAME) {
        TV_RETURN_IF_FAILED(tv_jinja_equal(heap, value, other, out));
        *out = kind == NOT_EQUAL ? !*out : *out && (kind == EQUAL || value.kind == other.kind);
        return TV_OK;
    }
    if (kind == IN)
        return tv_jinja_contains(heap, other, value, out);
    TV_RETURN_IF_FAILED(tv_jinja_order(heap, value, other, false, &order));
    *out = kind == LESS         ? order < 0
           : kind == LESS_EQUAL ? order <= 0
           : kind == GREATER    ? order > 0
                                : order >= 0;
    return TV_OK;
}

static tv_status test(tv_jinja_heap *heap, test_kind kind, tv_jinja_value value, tv_jinja_value other,
                      bool *out) {
    int64_t rest = 0;
    switch (kind) {
    case DEFINED:
    case UNDEFINED:
        *out = (value.kind == TV_JINJA_UNDEFINED) == (kind == UNDEFINED);
        return TV_OK;
    case NONE:
        *out = value.kind == TV_JINJA_NONE;
        return TV_OK;
    case BOOLEAN:
        *out = value.kind == TV_JINJA_BOOL;
        return TV_OK;
    case IS_TRUE:
    case IS_FALSE:
        *out = value.kind == TV_JINJA_BOOL && value.truth == (kind == IS_TRUE);
        return TV_OK;
    case INTEGER:
        *out = value.kind == TV_JINJA_INTEGER;
        return TV_OK;
    case FLOAT:
        *out = value.kind == TV_JINJA_FLOAT;
        return TV_OK;
    case NUMBER:
        *out = tv_jinja_is_number(value);
        return TV_OK;
    case STRING:
        *out = value.kind == TV_JINJA_TEXT;
        return TV_OK;
    case MAPPING:
        *out = value.kind == TV_JINJA_DICT;
        return TV_OK;
    case ITERABLE:
    case SEQUENCE:
        *out = value.kind == TV_JINJA_TEXT || value.kind == TV_JINJA_LIST || value.kind == TV_JINJA_DICT ||
               value.kind == TV_JINJA_UNDEFINED;
        return TV_OK;
    case CALLABLE:
        *out = value.kind == TV_JINJA_CALLABLE;
        return TV_OK;
    case ODD:
    case EVEN:
        TV_RETURN_IF_FAILED(divides(heap, value, 2, &rest));
        *out = (rest != 0) == (kind == ODD);
        return TV_OK;
    case DIVISIBLE:
        if (other.kind != TV_JINJA_INTEGER)
            return tv_jinja_fail(heap, "expected a whole number to divide by, found %s",
                                 tv_jinja_kind_name(other));
        TV_RETURN_IF_FAILED(divides(heap, value, other.integer, &rest));
        *out = rest == 0;
        return TV_OK;
    case LOWER:
    case UPPER:
        return has_case(heap, value, kind == LOWER ? TV_JINJA_LOWER : TV_JINJA_UPPER, out);
    case ESCAPED:
        *out = false;
        return TV_OK;
    case EQUAL:
    case NOT_EQUAL:
    case LESS:
    case LESS_EQUAL:
    case GREATER:
    case GREATER_EQUAL:
    case IN:
    case SAME:
        break;
    }
    return compare(heap, kind, value, other, out);
}

tv_status tv_jinja_test(tv_jinja_heap *heap, const char *name, tv_jinja_value value,
                        const tv_jinja_arguments *arguments, bool *out) {
    static const char *const none[] = {NULL}, *const one[] = {"other", NULL};
    for (size_t i = 0; i < TV_COUNT(TESTS); i++) {
        if (strcmp(TESTS[i].name, name) != 0)
            continue;
        tv_jinja_bound bound;
        bool takes = TESTS[i].kind == DIVISIBLE || TESTS[i].kind >= EQUAL;
        TV_RETURN_IF_FAILED(tv_jinja_bind(heap, name, arguments, takes ? one : none, &bound));
        if (takes && !bound.given[0])
            return tv_jinja_fail(heap, "expected a value to test against behind %s, found none", name);
        return test(heap, TESTS[i].kind, value, bound.values[0], out);
    }
    return tv_jinja_fail(heap, "expected a test of Jinja, found \"%.40s\", which is not known", name);
}
