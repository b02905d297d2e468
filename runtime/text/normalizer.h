/* What is done to a text before it is cut into pieces: the normalizers of published tokenizers.
 *
 * Promise: steps mean what they mean in Hugging Face tokenizers; bytes that are no UTF-8 pass unchanged.
 * Unicode's tables are utf8proc's. An object serves one thread at a time.
 */
#ifndef TV_TEXT_NORMALIZER_H
#define TV_TEXT_NORMALIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "text/pattern.h"
#include "text/utf8.h"

typedef struct tv_normalizer tv_normalizer;

tv_status tv_normalizer_create(tv_normalizer **normalizer);
void tv_normalizer_destroy(tv_normalizer **normalizer);

/* Steps, in order. More than TV_MAX_NORMALIZERS are TV_E_DATA. */
enum { TV_MAX_NORMALIZERS = 16 };
tv_status tv_normalizer_add_form(tv_normalizer *normalizer, tv_normal_form form);
/* In front of a text that is not empty. */
tv_status tv_normalizer_add_prepend(tv_normalizer *normalizer, const char *text);
/* The pattern is taken over, also on failure, and cleared; the content is put in as it is. */
tv_status tv_normalizer_add_replace(tv_normalizer *normalizer, tv_pattern **pattern, const char *content);
/* Character by character, as Unicode's full mapping without context. */
tv_status tv_normalizer_add_lowercase(tv_normalizer *normalizer);
/* White space at either end. */
tv_status tv_normalizer_add_strip(tv_normalizer *normalizer, bool left, bool right);

/* Without steps a text stays as it is, and where its bytes were. */
bool tv_normalizer_is_identity(const tv_normalizer *normalizer);
/* *out is the text itself or lies in the normalizer until the next call. */
tv_status tv_normalizer_run(tv_normalizer *normalizer, const uint8_t *text, uint64_t length,
                            const uint8_t **out, uint64_t *out_length);

#endif
