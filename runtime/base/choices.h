/* Lists of words in one text, "cosine|linear|constant": the choices of options and settings; and which word
 * was meant by one that is none of them.
 *
 * Promise: this is the one place that takes such lists apart; positions count from 0.
 */
#ifndef TV_BASE_CHOICES_H
#define TV_BASE_CHOICES_H

#include <stddef.h>
#include <stdint.h>

/* The position of `word`, or -1. */
int tv_choice_find(const char *choices, const char *word);

/* The word at `position`, or the last one where there are fewer; cut to `size` bytes with the zero. Returns
 * `text`. */
const char *tv_choice_word(const char *choices, int position, char *text, size_t size);

/* "cosine, linear, constant", cut likewise. Returns `text`. */
const char *tv_choices_list(const char *choices, char *text, size_t size);

/* The candidate that is nearest to `word` by edit distance, or NULL when none is near enough to be meant. */
const char *tv_nearest_word(const char *word, const char *const *candidates, uint64_t count);

#endif
