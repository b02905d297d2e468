/* Operators: see jinja_operators.h. */
#include "text/jinja_operators.h"

#include <math.h>

#include "text/jinja_text.h"

static const char *const SIGNS[] = {"+",  "-",  "*", "/",  "//", "%",  "**", "~",
                                    "==", "!=", "<", "<=", ">",  ">=", "in", "not in"};

static tv_status no_operation(tv_jinja_heap *heap, tv_jinja_operator sign, tv_jinja_value a,
                              tv_jinja_value b) {
    bool undefined = a.kind == TV_JINJA_UNDEFINED || b.kind == TV_JINJA_UNDEFINED;
    const char *name = a.kind == TV_JINJA_UNDEFINED ? a.name : b.name;
    if (undefined && name)
        return tv_jinja_fail(heap, "expected a value beside %s, found %.60s, which is undefined", SIGNS[sign],
                             name);
    return tv_jinja_fail(heap, "expected two numbers, two texts or two lists around %s, found %s and %s",
                         SIGNS[sign], tv_jinja_kind_name(a), tv_jinja_kind_name(b));
}

static tv_status too_large(tv_jinja_heap *heap) {
    return tv_jinja_fail(heap, "expected a number within 64 bits, found a larger one");
}

static int64_t whole(tv_jinja_value value) {
    return value.kind == TV_JINJA_BOOL ? value.truth : value.integer;
}

static tv_status power(tv_jinja_heap *heap, int64_t base, int64_t exponent, tv_jinja_value *out) {
    int64_t result = 1;
    for (; exponent > 0; exponent /= 2) {
        if (exponent % 2 && __builtin_mul_overflow(result, base, &result))
            return too_large(heap);
        if (exponent > 1 && __builtin_mul_overflow(base, base, &base))
            return too_large(heap);
    }
    *out = tv_jinja_integer(result);
    return TV_OK;
}

static tv_status floats(tv_jinja_heap *heap, tv_jinja_operator sign, double a, double b,
                        tv_jinja_value *out) {
    double result = 0;
    bool zero = !(b < 0 || b > 0);
    switch (sign) {
    case TV_JINJA_ADD:
        result = a + b;
        break;
    case TV_JINJA_SUBTRACT:
        result = a - b;
        break;
    case TV_JINJA_MULTIPLY:
        result = a * b;
        break;
    case TV_JINJA_POWER:
        result = pow(a, b);
        break;
    case TV_JINJA_DIVIDE:
    case TV_JINJA_FLOOR_DIVIDE:
    case TV_JINJA_MODULO:
        if (zero)
            return tv_jinja_fail(heap, "expected a number to divide by, found 0");
        result = sign == TV_JINJA_DIVIDE         ? a / b
                 : sign == TV_JINJA_FLOOR_DIVIDE ? floor(a / b)
                                                 : a - b * floor(a / b);
        break;
    case TV_JINJA_CONCATENATE:
    case TV_JINJA_EQUAL:
    case TV_JINJA_NOT_EQUAL:
    case TV_JINJA_LESS:
    case TV_JINJA_LESS_EQUAL:
    case TV_JINJA_GREATER:
    case TV_JINJA_GREATER_EQUAL:
    case TV_JINJA_IN:
    case TV_JINJA_NOT_IN:
        break;
    }
    if (!isfinite(result))
        return tv_jinja_fail(heap, "expected a finite number as the result of %s, found none", SIGNS[sign]);
    *out = tv_jinja_float(result);
    return TV_OK;
}

static tv_status numbers(tv_jinja_heap *heap, tv_jinja_operator sign, tv_jinja_value a, tv_jinja_value b,
                         tv_jinja_value *out) {
    bool exact = a.kind != TV_JINJA_FLOAT && b.kind != TV_JINJA_FLOAT && sign != TV_JINJA_DIVIDE &&
                 !(sign == TV_JINJA_POWER && whole(b) < 0);
    if (!exact)
        return floats(heap, sign, tv_jinja_number(a), tv_jinja_number(b), out);
    int64_t x = whole(a), y = whole(b), result = 0;
    bool over = false;
    if (sign == TV_JINJA_POWER)
        return power(heap, x, y, out);
    if (sign == TV_JINJA_ADD)
        over = __builtin_add_overflow(x, y, &result);
    else if (sign == TV_JINJA_SUBTRACT)
        over = __builtin_sub_overflow(x, y, &result);
    else if (sign == TV_JINJA_MULTIPLY)
        over = __builtin_mul_overflow(x, y, &result);
    else if (y == 0)
        return tv_jinja_fail(heap, "expected a number to divide by, found 0");
    else if (y == -1)
        over = sign == TV_JINJA_FLOOR_DIVIDE && __builtin_sub_overflow(0, x, &result);
    else
        result = sign == TV_JINJA_FLOOR_DIVIDE ? x / y - (x % y != 0 && (x < 0) != (y < 0))
                                               : x % y + (x % y != 0 && (x < 0) != (y < 0) ? y : 0);
    *out = tv_jinja_integer(result);
    return over ? too_large(heap) : TV_OK;
}

static tv_status add_lists(tv_jinja_heap *heap, const tv_jinja_list *a, const tv_jinja_list *b,
                           tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, a->count + b->count, out));
    out->list->tuple = a->tuple;
    for (uint64_t i = 0; i < a->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, a->items[i]));
    for (uint64_t i = 0; i < b->count; i++)
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, b->items[i]));
    return TV_OK;
}

static tv_status concatenate(tv_jinja_heap *heap, tv_jinja_value a, tv_jinja_value b, tv_jinja_value *out) {
    tv_jinja_buffer buffer = {0};
    TV_RETURN_IF_FAILED(tv_jinja_put_value(heap, &buffer, a));
    TV_RETURN_IF_FAILED(tv_jinja_put_value(heap, &buffer, b));
    return tv_jinja_finish(heap, &buffer, out);
}

/* A text or a list, several times. */
static tv_status repeat(tv_jinja_heap *heap, tv_jinja_value value, int64_t times, tv_jinja_value *out) {
    if (value.kind == TV_JINJA_TEXT)
        return tv_jinja_repeat(heap, value.text, times, out);
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    for (int64_t i = 0; i < times && value.list->count; i++)
        for (uint64_t k = 0; k < value.list->count; k++)
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, value.list->items[k]));
    return TV_OK;
}

tv_status tv_jinja_operate(tv_jinja_heap *heap, tv_jinja_operator sign, tv_jinja_value a, tv_jinja_value b,
                           tv_jinja_value *out) {
    if (sign == TV_JINJA_CONCATENATE)
        return concatenate(heap, a, b, out);
    if (tv_jinja_is_number(a) && tv_jinja_is_number(b))
        return numbers(heap, sign, a, b, out);
    if (sign == TV_JINJA_ADD && a.kind == TV_JINJA_TEXT && b.kind == TV_JINJA_TEXT)
        return concatenate(heap, a, b, out);
    if (sign == TV_JINJA_ADD && a.kind == TV_JINJA_LIST && b.kind == TV_JINJA_LIST)
        return add_lists(heap, a.list, b.list, out);
    bool first = a.kind == TV_JINJA_TEXT || a.kind == TV_JINJA_LIST;
    bool second = b.kind == TV_JINJA_TEXT || b.kind == TV_JINJA_LIST;
    if (sign == TV_JINJA_MULTIPLY && first && b.kind == TV_JINJA_INTEGER)
        return repeat(heap, a, b.integer, out);
    if (sign == TV_JINJA_MULTIPLY && second && a.kind == TV_JINJA_INTEGER)
        return repeat(heap, b, a.integer, out);
    return no_operation(heap, sign, a, b);
}

tv_status tv_jinja_compare(tv_jinja_heap *heap, tv_jinja_operator sign, tv_jinja_value a, tv_jinja_value b,
                           bool *out) {
    int order;
    if (sign == TV_JINJA_EQUAL || sign == TV_JINJA_NOT_EQUAL) {
        TV_RETURN_IF_FAILED(tv_jinja_equal(heap, a, b, out));
        *out ^= sign == TV_JINJA_NOT_EQUAL;
        return TV_OK;
    }
    if (sign == TV_JINJA_IN || sign == TV_JINJA_NOT_IN) {
        TV_RETURN_IF_FAILED(tv_jinja_contains(heap, b, a, out));
        *out ^= sign == TV_JINJA_NOT_IN;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_jinja_order(heap, a, b, false, &order));
    *out = sign == TV_JINJA_LESS         ? order < 0
           : sign == TV_JINJA_LESS_EQUAL ? order <= 0
           : sign == TV_JINJA_GREATER    ? order > 0
                                         : order >= 0;
    return TV_OK;
}

tv_status tv_jinja_negate(tv_jinja_heap *heap, tv_jinja_value a, bool minus, tv_jinja_value *out) {
    if (!tv_jinja_is_number(a))
        return tv_jinja_fail(heap, "expected a number behind a sign, found %s", tv_jinja_kind_name(a));
    if (a.kind == TV_JINJA_FLOAT) {
        *out = tv_jinja_float(minus ? -a.number : a.number);
        return TV_OK;
    }
    int64_t number = whole(a);
    if (minus && __builtin_sub_overflow(0, number, &number))
        return too_large(heap);
    *out = tv_jinja_integer(number);
    return TV_OK;
}
