/* Values of Jinja templates, with a bounded heap. Text keeps for every byte where it came from.
 *
 * Promise: a byte's origin is 0 where the template wrote it and otherwise the number of the message (from 1)
 * whose content it is; every function hands origins on with the bytes. All memory of a rendering comes from
 * one heap and is freed with it. Steps, memory and depth have limits, and what goes over one is TV_E_DATA
 * with the template's line, as is every mistake of a template.
 *
 * What stands within {% generation %} has TV_JINJA_GENERATED added to its origin, which goes on with it.
 */
#ifndef TV_TEXT_JINJA_VALUE_H
#define TV_TEXT_JINJA_VALUE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/status.h"

typedef struct tv_jinja_heap {
    tv_arena *arena;
    uint64_t memory, steps; /* what is left of them */
    uint32_t depth;         /* of what is under way */
    uint32_t line;          /* of the template, where evaluation is */
    int64_t date;           /* of strftime_now, in seconds since 1970 */
} tv_jinja_heap;

enum { TV_JINJA_MOST_DEPTH = 400 };
#define TV_JINJA_GENERATED (UINT32_C(1) << 31)

/* TV_E_DATA: "chat template line N: " and the sentence. */
tv_status tv_jinja_fail(const tv_jinja_heap *heap, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* As in base/status.h: analyzers see which status comes back. */
#define tv_jinja_fail(heap, ...) tv_status_shown_((tv_jinja_fail)((heap), __VA_ARGS__), TV_E_DATA)
/* Zeroed. */
tv_status tv_jinja_alloc(tv_jinja_heap *heap, uint64_t count, uint64_t item_bytes, void **out);
/* Takes steps off; one stands for about 64 bytes that are read. */
tv_status tv_jinja_spend(tv_jinja_heap *heap, uint64_t steps);
/* Around what calls itself; leave with `heap->depth--`. */
tv_status tv_jinja_enter(tv_jinja_heap *heap);

typedef enum tv_jinja_kind {
    TV_JINJA_UNDEFINED,
    TV_JINJA_NONE,
    TV_JINJA_BOOL,
    TV_JINJA_INTEGER,
    TV_JINJA_FLOAT,
    TV_JINJA_TEXT,
    TV_JINJA_LIST, /* tuples too */
    TV_JINJA_DICT,
    TV_JINJA_NAMESPACE, /* a dict that may be assigned to */
    TV_JINJA_LOOP,
    TV_JINJA_CALLABLE
} tv_jinja_kind;

typedef struct tv_jinja_text {
    const char *bytes;
    uint64_t length;
    const uint32_t *origins; /* (length), or NULL: all are of `origin` */
    uint32_t origin;
} tv_jinja_text;

typedef struct tv_jinja_list tv_jinja_list;
typedef struct tv_jinja_dict tv_jinja_dict;
typedef struct tv_jinja_loop tv_jinja_loop;
typedef struct tv_jinja_callable tv_jinja_callable; /* the renderer's */

typedef struct tv_jinja_value {
    tv_jinja_kind kind;
    union {
        const char *name; /* of what is undefined, or NULL */
        bool truth;
        int64_t integer;
        double number;
        const tv_jinja_text *text;
        tv_jinja_list *list;
        tv_jinja_dict *dict; /* of a namespace too */
        tv_jinja_loop *loop;
        const tv_jinja_callable *callable;
    };
} tv_jinja_value;

struct tv_jinja_list {
    tv_jinja_value *items;
    uint64_t count, capacity;
    bool tuple;
};

struct tv_jinja_dict {
    tv_jinja_value *keys, *values; /* in the order of insertion */
    uint64_t count, capacity;
};

/* Text that is being put together. Zero-initialised it is empty. */
typedef struct tv_jinja_buffer {
    char *bytes;
    uint32_t *origins;
    uint64_t size, capacity;
} tv_jinja_buffer;

static inline tv_jinja_value tv_jinja_none(void) {
    return (tv_jinja_value){.kind = TV_JINJA_NONE};
}

static inline tv_jinja_value tv_jinja_undefined(const char *name) {
    return (tv_jinja_value){.kind = TV_JINJA_UNDEFINED, .name = name};
}

static inline tv_jinja_value tv_jinja_bool(bool truth) {
    return (tv_jinja_value){.kind = TV_JINJA_BOOL, .truth = truth};
}

static inline tv_jinja_value tv_jinja_integer(int64_t integer) {
    return (tv_jinja_value){.kind = TV_JINJA_INTEGER, .integer = integer};
}

static inline tv_jinja_value tv_jinja_float(double number) {
    return (tv_jinja_value){.kind = TV_JINJA_FLOAT, .number = number};
}

static inline bool tv_jinja_is_number(tv_jinja_value value) {
    return value.kind == TV_JINJA_INTEGER || value.kind == TV_JINJA_FLOAT || value.kind == TV_JINJA_BOOL;
}

/* Of a number. */
static inline double tv_jinja_number(tv_jinja_value value) {
    return value.kind == TV_JINJA_FLOAT  ? value.number
           : value.kind == TV_JINJA_BOOL ? (value.truth ? 1 : 0)
                                         : (double)value.integer;
}

/* ---- text ---- */

/* A text over bytes that outlive the heap. */
tv_status tv_jinja_text_of(tv_jinja_heap *heap, const char *bytes, uint64_t length, uint32_t origin,
                           tv_jinja_value *out);
/* A constant. */
tv_status tv_jinja_literal(tv_jinja_heap *heap, const char *text, tv_jinja_value *out);
/* Part of one; bytes are not copied. */
tv_status tv_jinja_part(tv_jinja_heap *heap, const tv_jinja_text *text, uint64_t begin, uint64_t end,
                        tv_jinja_value *out);

static inline uint32_t tv_jinja_origin(const tv_jinja_text *text, uint64_t at) {
    return text->origins ? text->origins[at] : text->origin;
}

tv_status tv_jinja_put(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const char *bytes, uint64_t length,
                       uint32_t origin);
tv_status tv_jinja_put_text(tv_jinja_heap *heap, tv_jinja_buffer *buffer, const tv_jinja_text *text,
                            uint64_t begin, uint64_t end);
/* As a template writes the value: str() of Python. */
tv_status tv_jinja_put_value(tv_jinja_heap *heap, tv_jinja_buffer *buffer, tv_jinja_value value);
/* The buffer as a text, which takes its bytes over. */
tv_status tv_jinja_finish(tv_jinja_heap *heap, const tv_jinja_buffer *buffer, tv_jinja_value *out);
/* The value as a text: itself where it is one. */
tv_status tv_jinja_to_text(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_text **out);

/* ---- lists and dicts ---- */

tv_status tv_jinja_new_list(tv_jinja_heap *heap, uint64_t capacity, tv_jinja_value *out);
tv_status tv_jinja_add(tv_jinja_heap *heap, tv_jinja_list *list, tv_jinja_value item);
tv_status tv_jinja_new_dict(tv_jinja_heap *heap, tv_jinja_value *out);
/* Replaces where the key is there. */
tv_status tv_jinja_set(tv_jinja_heap *heap, tv_jinja_dict *dict, tv_jinja_value key, tv_jinja_value value);
tv_status tv_jinja_set_named(tv_jinja_heap *heap, tv_jinja_dict *dict, const char *name,
                             tv_jinja_value value);
/* *found: the place of the value, or NULL. */
tv_status tv_jinja_get(tv_jinja_heap *heap, const tv_jinja_dict *dict, tv_jinja_value key,
                       tv_jinja_value **found);
/* What a loop over the value goes through, as a list: items, keys, characters; nothing for what is undefined.
 */
tv_status tv_jinja_items_of(tv_jinja_heap *heap, tv_jinja_value value, const tv_jinja_list **out);

/* ---- comparing ---- */

bool tv_jinja_truth(tv_jinja_value value);
/* "a text", "a number", ... for sentences. */
const char *tv_jinja_kind_name(tv_jinja_value value);
tv_status tv_jinja_equal(tv_jinja_heap *heap, tv_jinja_value a, tv_jinja_value b, bool *out);
/* Python's `item in container`. */
tv_status tv_jinja_contains(tv_jinja_heap *heap, tv_jinja_value container, tv_jinja_value item, bool *out);
/* Place of `part` in `text` from `from` on, or UINT64_MAX. */
tv_status tv_jinja_find(tv_jinja_heap *heap, const tv_jinja_text *text, const tv_jinja_text *part,
                        uint64_t from, uint64_t *at);

static inline bool tv_jinja_is_text(tv_jinja_value value, const char *text) {
    return value.kind == TV_JINJA_TEXT && strlen(text) == value.text->length &&
           memcmp(text, value.text->bytes, value.text->length) == 0;
}

#endif
