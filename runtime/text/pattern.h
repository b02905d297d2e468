/* Regular expressions of tokenizer files, through PCRE2.
 *
 * Promise: a pattern means what it means in Hugging Face tokenizers, whose engine is Oniguruma with Ruby's
 * syntax (Unicode classes; \s is White_Space; ^ and $ stand at lines), or is refused with the construct's
 * name; any pattern ends, by PCRE2's limits on matching. Uses PCRE2's JIT where it has one. An object serves
 * one thread at a time.
 */
#ifndef TV_TEXT_PATTERN_H
#define TV_TEXT_PATTERN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_pattern tv_pattern;

/* `where` names the source in the sentence of a pattern that is refused (TV_E_DATA). */
tv_status tv_pattern_create(const char *expression, const char *where, tv_pattern **pattern);
/* One that matches the text and nothing else. */
tv_status tv_pattern_create_literal(const char *text, const char *where, tv_pattern **pattern);
void tv_pattern_destroy(tv_pattern **pattern);

/* What walks over the matches of a text. Zero-initialised it is at the start. */
typedef struct tv_pattern_walk {
    uint64_t from;       /* where the search goes on */
    uint64_t start, end; /* of the match */
    bool matched;        /* there was a match before */
} tv_pattern_walk;

/* The next match in valid UTF-8; *found is false when there is none. Empty matches are matches, but for those
 * right behind another. Fails with TV_E_DATA when the pattern needs more than PCRE2's limits. */
tv_status tv_pattern_next(tv_pattern *pattern, const uint8_t *text, uint64_t length, tv_pattern_walk *walk,
                          bool *found);

#endif
