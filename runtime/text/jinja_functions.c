/* Functions of templates: see jinja_functions.h. */
#include "text/jinja_functions.h"

#include <stdio.h>

#include "base/bytes.h"
#include "base/os.h"

/* As in Jinja's sandbox. */
enum { MOST_RANGE = 100000 };

static tv_status range(tv_jinja_heap *heap, const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    static const char *const parameters[] = {"start", "stop", "step", NULL};
    tv_jinja_bound bound;
    int64_t first = 0, end = 0, step = 1;
    TV_RETURN_IF_FAILED(tv_jinja_bind(heap, "range", arguments, parameters, &bound));
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, &bound, 0, bound.given[1] ? &first : &end));
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, &bound, 1, &end));
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, &bound, 2, &step));
    if (step == 0 || !tv_jinja_is_given(&bound, 0))
        return tv_jinja_fail(heap, "expected the end of a range, and a step other than 0");
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 0, out));
    for (int64_t i = first; step > 0 ? i < end : i > end;) {
        if (out->list->count == MOST_RANGE)
            return tv_jinja_fail(heap, "expected a range of at most %d numbers, found a longer one",
                                 MOST_RANGE);
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, tv_jinja_integer(i)));
        if (__builtin_add_overflow(i, step, &i))
            break;
    }
    return TV_OK;
}

/* namespace(a=1), dict(a=1): from another one, too. */
static tv_status make_dict(tv_jinja_heap *heap, const char *name, const tv_jinja_arguments *arguments,
                           tv_jinja_value *out) {
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, out));
    if (arguments->count > 1 || (arguments->count && arguments->positional[0].kind != TV_JINJA_DICT))
        return tv_jinja_fail(heap, "expected one dict or names with values in %s, found something else",
                             name);
    for (int part = 0; part < 2; part++) {
        const tv_jinja_dict *from = part               ? arguments->named
                                    : arguments->count ? arguments->positional[0].dict
                                                       : NULL;
        for (uint64_t i = 0; from && i < from->count; i++)
            TV_RETURN_IF_FAILED(tv_jinja_set(heap, out->dict, from->keys[i], from->values[i]));
    }
    out->kind = *name == 'n' ? TV_JINJA_NAMESPACE : TV_JINJA_DICT;
    return TV_OK;
}

static tv_status one_text(tv_jinja_heap *heap, const char *name, const tv_jinja_arguments *arguments,
                          const tv_jinja_text **out) {
    if (arguments->count != 1 || (arguments->named && arguments->named->count))
        return tv_jinja_fail(heap, "expected one text in %s, found %llu arguments", name,
                             (unsigned long long)arguments->count);
    return tv_jinja_to_text(heap, arguments->positional[0], out);
}

static tv_status raise_exception(tv_jinja_heap *heap, const tv_jinja_arguments *arguments) {
    const tv_jinja_text *text;
    TV_RETURN_IF_FAILED(one_text(heap, "raise_exception", arguments, &text));
    return tv_jinja_fail(heap, "the template refuses the conversation: %.*s",
                         (int)tv_min_u64(text->length, 500), text->bytes);
}

/* One conversion of strftime; `plain` (%-d) leaves zeros in front out. False where it is not known. */
static bool print_date(const tv_calendar *now, char conversion, bool plain, char out[64]) {
    static const char *const months[] = {"January",   "February", "March",    "April",
                                         "May",       "June",     "July",     "August",
                                         "September", "October",  "November", "December"};
    static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                       "Thursday", "Friday", "Saturday"};
    int hour = now->hour % 12 ? now->hour % 12 : 12, number = -1, digits = 2;
    *out = '\0';
    switch (conversion) {
    case 'd':
        number = now->day;
        break;
    case 'm':
        number = now->month;
        break;
    case 'y':
        number = now->year % 100;
        break;
    case 'Y':
        number = now->year;
        digits = 4;
        break;
    case 'H':
        number = now->hour;
        break;
    case 'I':
        number = hour;
        break;
    case 'M':
        number = now->minute;
        break;
    case 'S':
        number = now->second;
        break;
    case 'j':
        number = now->day_of_year;
        digits = 3;
        break;
    case 'b':
        snprintf(out, 64, "%.3s", months[now->month - 1]);
        return true;
    case 'B':
        snprintf(out, 64, "%s", months[now->month - 1]);
        return true;
    case 'a':
        snprintf(out, 64, "%.3s", days[now->weekday]);
        return true;
    case 'A':
        snprintf(out, 64, "%s", days[now->weekday]);
        return true;
    case 'p':
        snprintf(out, 64, "%s", now->hour < 12 ? "AM" : "PM");
        return true;
    case 'F':
        snprintf(out, 64, "%04d-%02d-%02d", now->year, now->month, now->day);
        return true;
    case 'T':
        snprintf(out, 64, "%02d:%02d:%02d", now->hour, now->minute, now->second);
        return true;
    case '%':
        snprintf(out, 64, "%%");
        return true;
    default:
        return false;
    }
    snprintf(out, 64, "%0*d", plain ? 1 : digits, number);
    return true;
}

static tv_status strftime_now(tv_jinja_heap *heap, const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    const tv_jinja_text *format;
    tv_jinja_buffer buffer = {0};
    tv_calendar now = tv_calendar_at(heap->date);
    TV_RETURN_IF_FAILED(one_text(heap, "strftime_now", arguments, &format));
    for (uint64_t i = 0; i < format->length; i++) {
        char printed[64];
        if (format->bytes[i] != '%') {
            TV_RETURN_IF_FAILED(tv_jinja_put_text(heap, &buffer, format, i, i + 1));
            continue;
        }
        bool plain = i + 1 < format->length && format->bytes[i + 1] == '-';
        i += plain ? 2 : 1;
        if (i >= format->length || !print_date(&now, format->bytes[i], plain, printed))
            return tv_jinja_fail(heap, "expected a part of a date as strftime names it, found %%%.*s",
                                 i < format->length, format->bytes + i);
        TV_RETURN_IF_FAILED(
            tv_jinja_put(heap, &buffer, printed, strlen(printed), tv_jinja_origin(format, i)));
    }
    return tv_jinja_finish(heap, &buffer, out);
}

bool tv_jinja_has_function(const char *name) {
    static const char *const names[] = {"range", "namespace", "dict", "raise_exception", "strftime_now"};
    for (size_t i = 0; i < TV_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

tv_status tv_jinja_call_function(tv_jinja_heap *heap, const char *name, const tv_jinja_arguments *arguments,
                                 tv_jinja_value *out) {
    *out = tv_jinja_none();
    switch (*name) {
    case 's':
        return strftime_now(heap, arguments, out);
    case 'n':
    case 'd':
        return make_dict(heap, name, arguments, out);
    default:
        break;
    }
    return name[2] == 'n' ? range(heap, arguments, out) : raise_exception(heap, arguments);
}
