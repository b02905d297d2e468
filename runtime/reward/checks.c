/* Rewards that need no model: see checks.h. */
#include "reward/checks.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "text/utf8.h"

enum { MOST_DIGITS = 64 };

typedef struct part {
    const char *bytes;
    uint64_t size;
} part;

static const char regex[] = "regex:";

static tv_status parse_expression(const char *expression, tv_check *check) {
    if (!expression[0])
        return tv_fail(TV_E_USAGE, "expected a regular expression behind \"regex:\", found none");
    check->kind = TV_CHECK_REGEX;
    check->warned = calloc(1, sizeof *check->warned);
    tv_status status = check->warned ? tv_pattern_create(expression, "the check regex", &check->pattern)
                                     : tv_fail(TV_E_MEMORY, "out of host memory for a check");
    if (status != TV_OK)
        tv_check_free(check);
    return status == TV_E_DATA ? tv_fail(TV_E_USAGE, "%s", tv_last_error()) : status;
}

tv_status tv_check_parse(const char *text, tv_check *check) {
    int end = 0;
    *check = (tv_check){0};
    if (strcmp(text, "number") == 0)
        check->kind = TV_CHECK_NUMBER;
    else if (strcmp(text, "exact") == 0)
        check->kind = TV_CHECK_EXACT;
    else if (sscanf(text, "length:%9" SCNu64 ":%9" SCNu64 "%n", &check->least, &check->most, &end) == 2 &&
             text[end] == '\0' && check->least <= check->most)
        check->kind = TV_CHECK_LENGTH;
    else if (strncmp(text, regex, sizeof regex - 1) == 0)
        return parse_expression(text + sizeof regex - 1, check);
    else
        return tv_fail(
            TV_E_USAGE,
            "expected a check: number, exact, length:LEAST:MOST in bytes, or regex:EXPRESSION; found "
            "\"%.80s\"",
            text);
    return TV_OK;
}

void tv_check_free(tv_check *check) {
    tv_pattern_destroy(&check->pattern);
    free(check->warned);
    *check = (tv_check){0};
}

bool tv_check_compares(const char *text) {
    return strcmp(text, "number") == 0 || strcmp(text, "exact") == 0;
}

/* ---- the final answer ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_space(char c) {
    return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

static part trimmed(part p) {
    while (p.size && is_space(p.bytes[0]))
        p = (part){p.bytes + 1, p.size - 1};
    while (p.size && is_space(p.bytes[p.size - 1]))
        p.size--;
    return p;
}

/* Behind the last `mark`; false where there is none. */
static bool behind_last(part p, const char *mark, part *rest) {
    uint64_t length = strlen(mark);
    for (uint64_t i = p.size; i-- > 0;)
        if (p.size - i >= length && memcmp(p.bytes + i, mark, length) == 0) {
            *rest = (part){p.bytes + i + length, p.size - i - length};
            return true;
        }
    return false;
}

static part final_answer(part p) {
    part rest;
    if (behind_last(p, "\\boxed{", &rest)) {
        uint64_t depth = 1;
        for (uint64_t i = 0; i < rest.size; i++) {
            depth += rest.bytes[i] == '{';
            depth -= rest.bytes[i] == '}';
            if (depth == 0)
                return trimmed((part){rest.bytes, i});
        }
    }
    return trimmed(behind_last(p, "####", &rest) ? rest : p);
}

/* ---- numbers ---- */

/* The end of the number that begins at `first`, its commas between digits included. */
static uint64_t number_end(part p, uint64_t first) {
    uint64_t i = first;
    while (i < p.size &&
           (is_digit(p.bytes[i]) || (p.bytes[i] == ',' && i + 1 < p.size && is_digit(p.bytes[i + 1]))))
        i++;
    if (i + 1 < p.size && p.bytes[i] == '.' && is_digit(p.bytes[i + 1]))
        for (i++; i < p.size && is_digit(p.bytes[i]);)
            i++;
    return i;
}

static bool last_number(part p, double *value) {
    bool found = false;
    for (uint64_t i = 0; i < p.size;) {
        if (!is_digit(p.bytes[i])) {
            i++;
            continue;
        }
        uint64_t end = number_end(p, i), used = 0;
        char digits[MOST_DIGITS];
        /* A minus between numbers is no sign. */
        if (i > 0 && p.bytes[i - 1] == '-' && (i < 2 || !(is_digit(p.bytes[i - 2]) || p.bytes[i - 2] == ')')))
            digits[used++] = '-';
        for (; i < end && used + 1 < MOST_DIGITS; i++)
            if (p.bytes[i] != ',')
                digits[used++] = p.bytes[i];
        digits[used] = '\0';
        /* Longer than any number that is compared. */
        found = i == end;
        if (found)
            *value = strtod(digits, NULL);
        i = end;
    }
    return found;
}

/* ---- expressions ---- */

/* As valid UTF-8. */
static tv_status repair(const uint8_t *bytes, uint64_t size, tv_text *text) {
    for (uint64_t i = 0; i < size;) {
        uint64_t valid = tv_utf8_valid_run(bytes + i, size - i);
        TV_RETURN_IF_FAILED(tv_text_append(text, bytes + i, valid));
        i += valid;
        if (i < size) {
            TV_RETURN_IF_FAILED(tv_text_append(text, "\xef\xbf\xbd", 3));
            i++;
        }
    }
    return tv_text_append(text, "", 0);
}

static double matches(const tv_check *check, const void *bytes, uint64_t size) {
    tv_text text = {0};
    tv_pattern_walk walk = {0};
    bool found = false;
    tv_status status = repair(bytes, size, &text);
    if (status == TV_OK)
        status = tv_pattern_next(check->pattern, text.data ? text.data : (const uint8_t *)"", text.size,
                                 &walk, &found);
    if (status != TV_OK && !*check->warned) {
        *check->warned = true;
        tv_warn(
            "the check regex needs more steps for an answer of %llu bytes than an expression is given; such "
            "an answer counts as one that does not match",
            (unsigned long long)size);
    }
    tv_text_free(&text);
    return status == TV_OK && found;
}

double tv_check_score(const tv_check *check, const void *text, uint64_t size, const char *reference) {
    if (check->kind == TV_CHECK_REGEX)
        return matches(check, text, size);
    if (check->kind == TV_CHECK_LENGTH)
        return size >= check->least && size <= check->most;
    if (!reference)
        return 0;
    part answer = final_answer((part){text, size}),
         right = final_answer((part){reference, strlen(reference)});
    if (check->kind == TV_CHECK_EXACT)
        return answer.size == right.size && memcmp(answer.bytes, right.bytes, right.size) == 0;
    double a, b;
    return last_number(answer, &a) && last_number(right, &b) && fabs(a - b) <= 1e-9 * fmax(1, fabs(b));
}
