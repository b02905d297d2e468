/* Cuts text into the pieces within which BPE may merge, by the regular expressions of published tokenizers.
 *
 * Promise: the pieces, joined, are the text byte for byte (but for add_prefix_space, which puts one space in
 * front); an invalid UTF-8 byte is a piece of its own. Patterns mean what they mean in Hugging Face
 * tokenizers: Unicode classes, \s as Unicode's White_Space. Needs PCRE2; uses its JIT where it has one.
 * An object serves one thread at a time.
 */
#ifndef TV_TEXT_PRETOKENIZER_H
#define TV_TEXT_PRETOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

/* The pattern of GPT-2's encoder.py, which ByteLevel means with use_regex. */
#define TV_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

typedef struct tv_pretokenizer tv_pretokenizer;

/* Gets each piece in order; a failure stops the split and is returned. */
typedef tv_status (*tv_piece_sink)(void *context, const uint8_t *bytes, uint64_t length);

/* Without steps the whole text is one piece. */
tv_status tv_pretokenizer_create(tv_pretokenizer **pretokenizer);
void tv_pretokenizer_destroy(tv_pretokenizer **pretokenizer);

/* Adds a step: each match and each stretch between matches becomes a piece, on which the next step works.
 * `where` names the source in the sentence of a pattern that does not compile (TV_E_DATA). */
tv_status tv_pretokenizer_add_split(tv_pretokenizer *pretokenizer, const char *pattern, const char *where);
/* Adds a step: a piece that does not begin with a space gets one (ByteLevel's add_prefix_space). */
tv_status tv_pretokenizer_add_prefix_space(tv_pretokenizer *pretokenizer);

/* Fails with TV_E_DATA when a pattern needs more than PCRE2's match limits. */
tv_status tv_pretokenizer_split(tv_pretokenizer *pretokenizer, const uint8_t *text, uint64_t length,
                                tv_piece_sink sink, void *context);

#endif
