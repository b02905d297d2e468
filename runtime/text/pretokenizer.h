/* Cuts text into the pieces within which BPE may merge, in the steps of published tokenizers.
 *
 * Promise: steps mean what they mean in Hugging Face tokenizers. The pieces, joined, are the text byte for
 * byte, but for what a step removes or puts in (TV_SPLIT_REMOVED, spaces in front, a sign for spaces); a byte
 * that is no UTF-8 is a piece of its own behind any split. An object serves one thread at a time.
 */
#ifndef TV_TEXT_PRETOKENIZER_H
#define TV_TEXT_PRETOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"
#include "text/pattern.h"

/* The pattern of GPT-2's encoder.py, which ByteLevel means with use_regex. */
#define TV_GPT2_PATTERN "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* What becomes of a match and of the stretches between matches: pieces each; nothing of the matches; a match
 * joined to what is before or behind it; matches that follow one another are one piece. */
typedef enum tv_split_behavior {
    TV_SPLIT_ISOLATED,
    TV_SPLIT_REMOVED,
    TV_SPLIT_MERGED_WITH_PREVIOUS,
    TV_SPLIT_MERGED_WITH_NEXT,
    TV_SPLIT_CONTIGUOUS
} tv_split_behavior;

/* Where a space is put before a text: nowhere, before the first piece of a text, before each. */
typedef enum tv_prepend_scheme { TV_PREPEND_NEVER, TV_PREPEND_FIRST, TV_PREPEND_ALWAYS } tv_prepend_scheme;

typedef struct tv_pretokenizer tv_pretokenizer;

/* Gets each piece in order; a failure stops the split and is returned. */
typedef tv_status (*tv_piece_sink)(void *context, const uint8_t *bytes, uint64_t length);

/* Without steps the whole text is one piece. */
tv_status tv_pretokenizer_create(tv_pretokenizer **pretokenizer);
void tv_pretokenizer_destroy(tv_pretokenizer **pretokenizer);

/* Adds a step, which works on the pieces of the one before. The pattern is taken over, also on failure, and
 * cleared. With `invert` what lies between the matches counts as matches. */
tv_status tv_pretokenizer_add_split(tv_pretokenizer *pretokenizer, tv_pattern **pattern,
                                    tv_split_behavior behavior, bool invert);
/* The same of a regular expression; `where` names its source when it is refused. */
tv_status tv_pretokenizer_add_regex(tv_pretokenizer *pretokenizer, const char *regex,
                                    tv_split_behavior behavior, bool invert, const char *where);
/* Adds a step: a piece that does not begin with a space gets one (ByteLevel's add_prefix_space). */
tv_status tv_pretokenizer_add_prefix_space(tv_pretokenizer *pretokenizer);
/* Adds a step: spaces become `sign` (UTF-8, up to 4 bytes), and a piece that does not begin with one gets
 * one, as the scheme says (Metaspace, without its split). */
tv_status tv_pretokenizer_add_metaspace(tv_pretokenizer *pretokenizer, const char *sign,
                                        tv_prepend_scheme scheme);

/* `first`: the text begins what is encoded. Fails with TV_E_DATA when a pattern needs more than PCRE2's match
 * limits. */
tv_status tv_pretokenizer_split(tv_pretokenizer *pretokenizer, const uint8_t *text, uint64_t length,
                                bool first, tv_piece_sink sink, void *context);

#endif
