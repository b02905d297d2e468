/* Texts of strangers, made fit for a terminal: the one sanitizer of all that a person sees there (sentences
 * of errors, log lines, what a model writes, what is ranked).
 *
 * Promise: nothing that a model, a file or a name holds can move the cursor, ring, set colours, reorder a
 * line or hide: control characters, escape sequences, direction marks, invisible and unassigned characters,
 * piles of combining marks and bytes that are no UTF-8 become visible escapes such as \x1b, \u202e and \xff.
 * A tab becomes spaces; newlines stay, but in a text of one line.
 */
#ifndef TV_BASE_VISIBLE_H
#define TV_BASE_VISIBLE_H

#include <stdbool.h>
#include <stdint.h>

enum { TV_VISIBLE_BYTES = 16 };

/* A text on its way to a terminal, in one piece or several. Zero-initialised it begins one. */
typedef struct tv_visible {
    bool one_line;  /* newlines are escaped too */
    uint32_t marks; /* combining marks since the last letter */
} tv_visible;

/* What stands for the first character of `text` (`size` is at least 1), or for its first byte where that is
 * no UTF-8: *length bytes in `shown`, also none. Returns how many bytes it stands for. */
uint64_t tv_visible_next(tv_visible *visible, const char *text, uint64_t size, char shown[TV_VISIBLE_BYTES],
                         uint32_t *length);

/* A text of one line into a buffer of `capacity` bytes, with a terminating zero: what does not fit is cut
 * off, whole characters only. Returns `out`. */
char *tv_visible_line(const char *text, char *out, uint64_t capacity);

#endif
