/* Methods of texts, dicts and lists, as Python has them: see jinja_methods.h. */
#include "text/jinja_methods.h"

#include "base/bytes.h"
#include "text/jinja_text.h"
#include "text/utf8.h"

typedef tv_status (*method)(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                            const tv_jinja_bound *bound, tv_jinja_value *out);

/* ---- of texts ---- */

static tv_status strip(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                       const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_text *set = NULL;
    TV_RETURN_IF_FAILED(tv_jinja_bound_text(heap, bound, 0, &set));
    return tv_jinja_strip(heap, self.text, set, *name != 'r', *name != 'l', out);
}

static tv_status split(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                       const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_text *separator = NULL;
    int64_t most = -1;
    TV_RETURN_IF_FAILED(tv_jinja_bound_text(heap, bound, 0, &separator));
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, bound, 1, &most));
    return tv_jinja_split(heap, self.text, separator, most, *name == 'r', out);
}

static tv_status split_lines(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                             const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)name, (void)bound;
    return tv_jinja_split_lines(heap, self.text, out);
}

static tv_status change_case(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                             const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)bound;
    tv_jinja_case how = *name == 'u'   ? TV_JINJA_UPPER
                        : *name == 'l' ? TV_JINJA_LOWER
                        : *name == 't' ? TV_JINJA_TITLE
                                       : TV_JINJA_CAPITALIZE;
    return tv_jinja_change_case(heap, self.text, how, out);
}

static tv_status required(tv_jinja_heap *heap, const char *name, const tv_jinja_bound *bound, int i,
                          const tv_jinja_text **out) {
    *out = NULL;
    TV_RETURN_IF_FAILED(tv_jinja_bound_text(heap, bound, i, out));
    return *out ? TV_OK
                : tv_jinja_fail(heap, "expected a text as argument %d of %s, found none", i + 1, name);
}

static bool has_end(const tv_jinja_text *text, const tv_jinja_text *end, bool front) {
    return end->length <= text->length &&
           memcmp(text->bytes + (front ? 0 : text->length - end->length), end->bytes, end->length) == 0;
}

/* startswith, endswith: of a text or a tuple of texts. */
static tv_status ends_with(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                           const tv_jinja_bound *bound, tv_jinja_value *out) {
    bool list = bound->given[0] && bound->values[0].kind == TV_JINJA_LIST, found = false;
    const tv_jinja_text *end;
    for (uint64_t i = 0; list && i < bound->values[0].list->count; i++) {
        tv_jinja_value item = bound->values[0].list->items[i];
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
        found |= item.kind == TV_JINJA_TEXT && has_end(self.text, item.text, *name == 's');
    }
    if (!list) {
        TV_RETURN_IF_FAILED(required(heap, name, bound, 0, &end));
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, end->length / 64));
        found = has_end(self.text, end, *name == 's');
    }
    *out = tv_jinja_bool(found);
    return TV_OK;
}

static tv_status replace(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                         const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_text *old, *new;
    int64_t most = -1;
    TV_RETURN_IF_FAILED(required(heap, name, bound, 0, &old));
    TV_RETURN_IF_FAILED(required(heap, name, bound, 1, &new));
    TV_RETURN_IF_FAILED(tv_jinja_bound_integer(heap, bound, 2, &most));
    return tv_jinja_replace(heap, self.text, old, new, most, out);
}

static tv_status remove_end(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                            const tv_jinja_bound *bound, tv_jinja_value *out) {
    const tv_jinja_text *end;
    bool front = strcmp(name, "removeprefix") == 0;
    TV_RETURN_IF_FAILED(required(heap, name, bound, 0, &end));
    uint64_t cut = has_end(self.text, end, front) ? end->length : 0;
    return tv_jinja_part(heap, self.text, front ? cut : 0, self.text->length - (front ? 0 : cut), out);
}

static tv_status join(tv_jinja_heap *heap, tv_jinja_value self, const char *name, const tv_jinja_bound *bound,
                      tv_jinja_value *out) {
    const tv_jinja_list *list;
    (void)name;
    TV_RETURN_IF_FAILED(tv_jinja_items_of(heap, bound->values[0], &list));
    for (uint64_t i = 0; i < list->count; i++)
        if (list->items[i].kind != TV_JINJA_TEXT)
            return tv_jinja_fail(heap, "expected texts to join, found %s",
                                 tv_jinja_kind_name(list->items[i]));
    return tv_jinja_join(heap, list, self.text, out);
}

/* Of texts and lists; in characters. */
static tv_status find(tv_jinja_heap *heap, tv_jinja_value self, const char *name, const tv_jinja_bound *bound,
                      tv_jinja_value *out) {
    const tv_jinja_text *part;
    uint64_t at, last = UINT64_MAX;
    int64_t characters, count = 0;
    TV_RETURN_IF_FAILED(required(heap, name, bound, 0, &part));
    bool counts = strcmp(name, "count") == 0, first = *name == 'f' || *name == 'i';
    for (uint64_t from = 0; from <= self.text->length; count++) {
        TV_RETURN_IF_FAILED(tv_jinja_find(heap, self.text, part, from, &at));
        if (at == UINT64_MAX)
            break;
        TV_RETURN_IF_FAILED(tv_jinja_spend(heap, 1));
        last = at;
        if (first)
            break;
        from = at + (counts && part->length ? part->length : 1);
    }
    if (!counts && last == UINT64_MAX && *name == 'i')
        return tv_jinja_fail(heap, "expected a text that holds the other, found one that does not");
    tv_jinja_text before = *self.text;
    before.length = last == UINT64_MAX ? 0 : last;
    TV_RETURN_IF_FAILED(tv_jinja_length(heap, &before, &characters));
    *out = tv_jinja_integer(counts ? count : last == UINT64_MAX ? -1 : characters);
    return TV_OK;
}

static bool is_of_class(uint32_t c, char what) {
    bool digit = c >= '0' && c <= '9';
    bool letter = c < 0x80 ? (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') : !tv_utf8_is_space(c);
    return what == 's' ? tv_utf8_is_space(c) || (c >= 0x1c && c <= 0x1f)
                       : (what != 'a' && digit) || (what != 'd' && letter);
}

/* isdigit, isalpha, isalnum, isspace. Beyond ASCII whatever is no white space counts as a letter. */
static tv_status is_all(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                        const tv_jinja_bound *bound, tv_jinja_value *out) {
    char what = strcmp(name, "isalnum") == 0 ? 'n' : name[2];
    bool all = self.text->length > 0;
    (void)bound;
    TV_RETURN_IF_FAILED(tv_jinja_spend(heap, self.text->length / 16));
    for (uint64_t i = 0; all && i < self.text->length;) {
        uint32_t used,
            c = tv_utf8_decode((const uint8_t *)self.text->bytes + i, self.text->length - i, &used);
        all = is_of_class(c, what);
        i += used;
    }
    *out = tv_jinja_bool(all);
    return TV_OK;
}

/* ---- of dicts ---- */

static tv_status get(tv_jinja_heap *heap, tv_jinja_value self, const char *name, const tv_jinja_bound *bound,
                     tv_jinja_value *out) {
    tv_jinja_value *found;
    (void)name;
    TV_RETURN_IF_FAILED(tv_jinja_get(heap, self.dict, bound->values[0], &found));
    *out = found ? *found : bound->given[1] ? bound->values[1] : tv_jinja_none();
    return TV_OK;
}

static tv_status list_dict(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                           const tv_jinja_bound *bound, tv_jinja_value *out) {
    (void)bound;
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, self.dict->count, out));
    for (uint64_t i = 0; i < self.dict->count; i++) {
        tv_jinja_value item = *name == 'k' ? self.dict->keys[i] : self.dict->values[i];
        if (*name == 'i') {
            TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 2, &item));
            item.list->tuple = true;
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, item.list, self.dict->keys[i]));
            TV_RETURN_IF_FAILED(tv_jinja_add(heap, item.list, self.dict->values[i]));
        }
        TV_RETURN_IF_FAILED(tv_jinja_add(heap, out->list, item));
    }
    return TV_OK;
}

/* ---- of lists ---- */

static tv_status count(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                       const tv_jinja_bound *bound, tv_jinja_value *out) {
    int64_t number = 0, first = -1;
    for (uint64_t i = 0; i < self.list->count; i++) {
        bool same;
        TV_RETURN_IF_FAILED(tv_jinja_equal(heap, self.list->items[i], bound->values[0], &same));
        number += same;
        first = same && first < 0 ? (int64_t)i : first;
    }
    if (*name == 'i' && first < 0)
        return tv_jinja_fail(heap, "expected a list that holds the value, found one that does not");
    *out = tv_jinja_integer(*name == 'i' ? first : number);
    return TV_OK;
}

/* ---- tables ---- */

typedef struct method_row {
    const char *name;
    method call;
    int needed; /* arguments */
    const char *parameters[TV_JINJA_MOST_PARAMETERS];
} method_row;

static const method_row TEXT_METHODS[] = {{"strip", strip, 0, {"chars"}},
                                          {"lstrip", strip, 0, {"chars"}},
                                          {"rstrip", strip, 0, {"chars"}},
                                          {"split", split, 0, {"sep", "maxsplit"}},
                                          {"rsplit", split, 0, {"sep", "maxsplit"}},
                                          {"splitlines", split_lines, 0, {NULL}},
                                          {"upper", change_case, 0, {NULL}},
                                          {"lower", change_case, 0, {NULL}},
                                          {"title", change_case, 0, {NULL}},
                                          {"capitalize", change_case, 0, {NULL}},
                                          {"startswith", ends_with, 1, {"prefix"}},
                                          {"endswith", ends_with, 1, {"suffix"}},
                                          {"replace", replace, 2, {"old", "new", "count"}},
                                          {"removeprefix", remove_end, 1, {"prefix"}},
                                          {"removesuffix", remove_end, 1, {"suffix"}},
                                          {"join", join, 1, {"iterable"}},
                                          {"find", find, 1, {"sub"}},
                                          {"rfind", find, 1, {"sub"}},
                                          {"index", find, 1, {"sub"}},
                                          {"count", find, 1, {"sub"}},
                                          {"isdigit", is_all, 0, {NULL}},
                                          {"isalpha", is_all, 0, {NULL}},
                                          {"isalnum", is_all, 0, {NULL}},
                                          {"isspace", is_all, 0, {NULL}},
                                          {NULL, NULL, 0, {NULL}}};
static const method_row DICT_METHODS[] = {{"get", get, 1, {"key", "default"}},
                                          {"items", list_dict, 0, {NULL}},
                                          {"keys", list_dict, 0, {NULL}},
                                          {"values", list_dict, 0, {NULL}},
                                          {NULL, NULL, 0, {NULL}}};
static const method_row LIST_METHODS[] = {
    {"count", count, 1, {"value"}}, {"index", count, 1, {"value"}}, {NULL, NULL, 0, {NULL}}};

static const method_row *row_of(tv_jinja_value self, const char *name) {
    const method_row *row = self.kind == TV_JINJA_TEXT   ? TEXT_METHODS
                            : self.kind == TV_JINJA_DICT ? DICT_METHODS
                            : self.kind == TV_JINJA_LIST ? LIST_METHODS
                                                         : NULL;
    for (; row && row->name; row++)
        if (strcmp(row->name, name) == 0)
            return row;
    return NULL;
}

bool tv_jinja_has_method(tv_jinja_value self, const char *name) {
    return row_of(self, name) != NULL;
}

tv_status tv_jinja_call_method(tv_jinja_heap *heap, tv_jinja_value self, const char *name,
                               const tv_jinja_arguments *arguments, tv_jinja_value *out) {
    const method_row *row = row_of(self, name);
    tv_jinja_bound bound;
    TV_RETURN_IF_FAILED(tv_jinja_bind(heap, name, arguments, row->parameters, &bound));
    if (row->needed && !bound.given[row->needed - 1])
        return tv_jinja_fail(heap, "expected %d arguments of %s, found fewer", row->needed, name);
    return row->call(heap, self, name, &bound, out);
}
