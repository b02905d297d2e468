/* Regular expressions through PCRE2: see pattern.h. */
#include "text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/buffers.h"
#include "text/utf8.h"

enum { JIT_STACK_START = 32 * 1024, JIT_STACK_LIMIT = 4 * 1024 * 1024 };

struct tv_pattern {
    pcre2_code *code;
    pcre2_match_data *match;
    pcre2_match_context *limits;
    pcre2_jit_stack *stack;
    bool jit;
    uint8_t *literal; /* instead of `code` */
    uint64_t literal_length;
};

void tv_pattern_destroy(tv_pattern **pattern) {
    if (!pattern || !*pattern)
        return;
    pcre2_jit_stack_free((*pattern)->stack);
    pcre2_match_context_free((*pattern)->limits);
    pcre2_match_data_free((*pattern)->match);
    pcre2_code_free((*pattern)->code);
    free((*pattern)->literal);
    free(*pattern);
    *pattern = NULL;
}

/* ---- from Oniguruma's syntax to PCRE2's ---- */

typedef struct translation {
    const char *at;
    bool in_class;
    const char *refused; /* the construct that means something else there */
    tv_text out;
} translation;

static tv_status put(translation *t, const char *text, uint64_t length) {
    return tv_text_append(&t->out, text, length);
}

/* PCRE2 counts U+180E to \s, Unicode (since 6.3) and Oniguruma do not; it counts no marks to \w. */
static tv_status put_escape(translation *t) {
    static const struct {
        char letter;
        const char *within, *alone; /* a class */
    } table[] = {
        {'s', "\\p{White_Space}", "\\p{White_Space}"},
        {'S', "\\P{White_Space}", "\\P{White_Space}"},
        {'w', "\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}", "[\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}]"},
        {'W', NULL, "[^\\p{L}\\p{M}\\p{Nl}\\p{Nd}\\p{Pc}]"},
    };
    char letter = t->at[1];
    t->at += 2;
    for (size_t i = 0; i < TV_COUNT(table); i++) {
        const char *replacement = t->in_class ? table[i].within : table[i].alone;
        if (letter == table[i].letter && replacement)
            return put(t, replacement, strlen(replacement));
    }
    if (strchr("hHRXWNOKyYgkGZ", letter))
        t->refused = "an escape whose meaning differs between engines";
    return put(t, t->at - 2, 2);
}

/* Behind "(": PCRE2's verbs and those options that Ruby's syntax knows otherwise. */
static void check_group(translation *t) {
    const char *at = t->at;
    if (*at == '*')
        t->refused = "a verb (*...)";
    if (*at != '?')
        return;
    const char *options = ++at;
    at += strspn(at, "-abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    if ((*at == ')' || *at == ':') && strspn(options, "i-") < (size_t)(at - options))
        t->refused = "an option beside (?i)";
}

static tv_status translate(translation *t) {
    while (*t->at && !t->refused) {
        if (t->at[0] == '\\' && t->at[1]) {
            TV_RETURN_IF_FAILED(put_escape(t));
            continue;
        }
        char c = *t->at++;
        TV_RETURN_IF_FAILED(put(t, &c, 1));
        if (t->in_class) {
            if (c == '[' && *t->at != ':')
                t->refused = "a class within a class";
            else if (c == '[') {
                const char *end = strstr(t->at, ":]");
                uint64_t length = end ? (uint64_t)(end + 2 - t->at) : strlen(t->at);
                TV_RETURN_IF_FAILED(put(t, t->at, length));
                t->at += length;
            } else if (c == '&' && *t->at == '&')
                t->refused = "an intersection of classes";
            t->in_class = c != ']';
        } else if (c == '[') {
            t->in_class = true;
            /* A bracket that comes first is a sign of the class. */
            uint64_t first = (*t->at == '^') + (uint64_t)(t->at[*t->at == '^'] == ']');
            TV_RETURN_IF_FAILED(put(t, t->at, first));
            t->at += first;
        } else if (c == '(')
            check_group(t);
    }
    return TV_OK;
}

static tv_status make_matching(tv_pattern *pattern) {
    pattern->jit = pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE) == 0;
    pattern->match = pcre2_match_data_create(1, NULL);
    pattern->limits = pcre2_match_context_create(NULL);
    if (pattern->jit)
        pattern->stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_LIMIT, NULL);
    if (!pattern->match || !pattern->limits || (pattern->jit && !pattern->stack))
        return tv_fail(TV_E_MEMORY, "out of host memory for a regular expression");
    if (pattern->jit)
        pcre2_jit_stack_assign(pattern->limits, NULL, pattern->stack);
    return TV_OK;
}

tv_status tv_pattern_create(const char *expression, const char *where, tv_pattern **out) {
    *out = NULL;
    translation t = {.at = expression};
    tv_status status;
    tv_pattern *pattern = calloc(1, sizeof *pattern);
    if (!pattern)
        return tv_fail(TV_E_MEMORY, "out of host memory for a regular expression");
    TV_TRY(translate(&t));
    if (t.refused) {
        status = tv_fail(TV_E_DATA,
                         "%s: expected a regular expression without %s, which is not supported, found "
                         "\"%.100s\"",
                         where, t.refused, expression);
        goto done;
    }
    int error = 0;
    PCRE2_SIZE offset = 0;
    pattern->code = pcre2_compile(t.out.data ? t.out.data : (const uint8_t *)"", t.out.size,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error,
                                  &offset, NULL);
    if (!pattern->code) {
        PCRE2_UCHAR message[128];
        if (pcre2_get_error_message(error, message, sizeof message) < 0)
            message[0] = '\0';
        status =
            tv_fail(TV_E_DATA, "%s: expected a regular expression, found \"%.100s\": %s at character %llu",
                    where, expression, (const char *)message, (unsigned long long)offset);
        goto done;
    }
    TV_TRY(make_matching(pattern));
    *out = pattern;
    pattern = NULL;
done:
    tv_pattern_destroy(&pattern);
    tv_text_free(&t.out);
    return status;
}

tv_status tv_pattern_create_literal(const char *text, const char *where, tv_pattern **out) {
    *out = NULL;
    if (!text[0])
        return tv_fail(TV_E_DATA, "%s: expected a pattern, found an empty text", where);
    tv_pattern *pattern = calloc(1, sizeof *pattern);
    if (pattern) {
        pattern->literal_length = strlen(text);
        pattern->literal = malloc(pattern->literal_length);
    }
    if (!pattern || !pattern->literal) {
        tv_pattern_destroy(&pattern);
        return tv_fail(TV_E_MEMORY, "out of host memory for a pattern");
    }
    memcpy(pattern->literal, text, pattern->literal_length);
    *out = pattern;
    return TV_OK;
}

/* ---- matching ---- */

static tv_status match_from(const tv_pattern *pattern, const uint8_t *text, uint64_t length, uint64_t from,
                            bool *found) {
    int result = pattern->jit
                     ? pcre2_jit_match(pattern->code, text, length, from, 0, pattern->match, pattern->limits)
                     : pcre2_match(pattern->code, text, length, from, PCRE2_NO_UTF_CHECK, pattern->match,
                                   pattern->limits);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result = pcre2_match(pattern->code, text, length, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                             pattern->match, pattern->limits);
    *found = result >= 0;
    if (result >= 0 || result == PCRE2_ERROR_NOMATCH)
        return TV_OK;
    PCRE2_UCHAR message[128];
    if (pcre2_get_error_message(result, message, sizeof message) < 0)
        message[0] = '\0';
    return tv_fail(TV_E_DATA,
                   "a pattern of the tokenizer fails on a text of %llu bytes: %s; simplify the pattern in "
                   "tokenizer.json",
                   (unsigned long long)length, (const char *)message);
}

static void match_literal(const tv_pattern *pattern, const uint8_t *text, uint64_t length,
                          tv_pattern_walk *walk, bool *found) {
    uint64_t size = pattern->literal_length;
    *found = false;
    for (uint64_t at = walk->from; at + size <= length; at++) {
        const uint8_t *next = memchr(text + at, pattern->literal[0], length - size + 1 - at);
        if (!next)
            return;
        at = (uint64_t)(next - text);
        if (memcmp(next, pattern->literal, size) == 0) {
            walk->start = at;
            walk->from = walk->end = at + size;
            *found = true;
            return;
        }
    }
}

tv_status tv_pattern_next(tv_pattern *pattern, const uint8_t *text, uint64_t length, tv_pattern_walk *walk,
                          bool *found) {
    *found = false;
    if (pattern->literal) {
        match_literal(pattern, text, length, walk, found);
        return TV_OK;
    }
    while (walk->from <= length) {
        TV_RETURN_IF_FAILED(match_from(pattern, text, length, walk->from, found));
        if (!*found)
            return TV_OK;
        const PCRE2_SIZE *offsets = pcre2_get_ovector_pointer(pattern->match);
        uint64_t start = offsets[0], end = offsets[1];
        /* A match within lookbehind's reach may lie before the last one's end only by \K, which is refused.
         */
        if (end > start || !walk->matched || end > walk->end) {
            walk->start = start;
            walk->end = walk->from = end;
            walk->matched = true;
            return TV_OK;
        }
        uint32_t character = 1;
        if (walk->from < length)
            (void)tv_utf8_decode(text + walk->from, length - walk->from, &character);
        walk->from += character;
        *found = false;
    }
    return TV_OK;
}
