/* Rewards that need no model and no program: the final answer of a text against the one that is right, and
 * lengths.
 *
 * Promise: texts are a model's and may be anything: nothing is read beyond them, and every check ends: a
 * regular expression that needs more steps than PCRE2's limits counts as one that does not match, and is
 * warned of once. The final answer is what stands in the last \boxed{...}, else behind the last ####, else
 * the whole text.
 */
#ifndef TV_REWARD_CHECKS_H
#define TV_REWARD_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "text/pattern.h"

typedef enum tv_check_kind {
    TV_CHECK_NUMBER, /* the last number of the final answer is the reference's last number */
    TV_CHECK_EXACT,  /* the final answer is the reference, but for white space around it */
    TV_CHECK_LENGTH, /* so many bytes */
    TV_CHECK_REGEX   /* the expression matches somewhere; invalid UTF-8 is read as U+FFFD */
} tv_check_kind;
typedef struct tv_check {
    tv_check_kind kind;
    uint64_t least, most; /* of a length */
    tv_pattern *pattern;  /* of an expression */
    bool *warned;
} tv_check;

/* "number", "exact", "length:LEAST:MOST", "regex:EXPRESSION" (text/pattern.h). TV_E_USAGE for anything else.
 */
tv_status tv_check_parse(const char *text, tv_check *check);
void tv_check_free(tv_check *check);
/* Whether a text is a check that compares with a reference. */
bool tv_check_compares(const char *text);
/* 1 or 0. `reference` ends with a zero byte; NULL: there is none, and only a length can be right. */
double tv_check_score(const tv_check *check, const void *text, uint64_t size, const char *reference);

#endif
