/* From tokens to text: what the decoders of published tokenizers make of a token.
 *
 * Promise: what a token becomes depends on it alone, but for what is cut off at the two ends of a text. Bytes
 * of byte fallback stay the bytes that they are, also where they are no UTF-8 together.
 */
#ifndef TV_TEXT_TOKEN_TEXT_H
#define TV_TEXT_TOKEN_TEXT_H

#include "text/buffers.h"
#include "text/vocabulary.h"

enum { TV_MAX_DECODER_REPLACES = 8, TV_MAX_DECODER_TEXT = 31 };

/* Zero-initialised a token is its spelling. */
typedef struct tv_token_decoder {
    struct {
        char from[TV_MAX_DECODER_TEXT + 1], to[TV_MAX_DECODER_TEXT + 1];
    } replaces[TV_MAX_DECODER_REPLACES]; /* in order */
    uint32_t replace_count;
    bool byte_fallback; /* <0x0A> is a byte */
    char sign[5];       /* Metaspace: this is dropped from the first token of a text; empty: nothing is */
    char strip[5];      /* up to so many of this character at either end of a text; empty: none */
    uint32_t strip_start, strip_stop;
} tv_token_decoder;

/* Appends the text of a token within others. */
tv_status tv_token_decoder_text(const tv_token_decoder *decoder, const uint8_t *spelling, uint64_t length,
                                tv_text *text);
/* Appends the text of a token that is the first. */
tv_status tv_token_decoder_first(const tv_token_decoder *decoder, const tv_token *token, tv_text *text);
/* Cuts off what a whole text loses, which lies in `text` from `start` on. */
void tv_token_decoder_finish(const tv_token_decoder *decoder, uint64_t start, tv_text *text);

/* The byte that "<0x0A>" stands for; -1 for other texts. */
int tv_byte_token(const uint8_t *spelling, uint64_t length);

#endif
