/* Rewards that need no model: see checks.h. */
#include "reward/checks.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 64 };

typedef struct part {
    const char *bytes;
    uint64_t size;
} part;

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
    else
        return tv_fail(TV_E_USAGE,
                       "expected a check: number, exact, or length:LEAST:MOST in bytes; found \"%.80s\"",
                       text);
    return TV_OK;
}

bool tv_check_has_reference(const tv_check *check) {
    return check->kind != TV_CHECK_LENGTH;
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

double tv_check_score(const tv_check *check, const void *text, uint64_t size, const char *reference) {
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
