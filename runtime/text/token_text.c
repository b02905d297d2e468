/* From tokens to text: see token_text.h. */
#include "text/token_text.h"

#include <string.h>

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
                                  : -1;
}

int tv_byte_token(const uint8_t *spelling, uint64_t length) {
    if (length != 6 || memcmp(spelling, "<0x", 3) != 0 || spelling[5] != '>')
        return -1;
    int high = hex_digit(spelling[3]), low = hex_digit(spelling[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static tv_status replace(const uint8_t *text, uint64_t length, const char *from, const char *to,
                         tv_text *out) {
    uint64_t size = strlen(from), kept = 0;
    if (length == 0)
        return TV_OK;
    for (uint64_t at = 0; at + size <= length;) {
        if (memcmp(text + at, from, size) != 0) {
            at++;
            continue;
        }
        TV_RETURN_IF_FAILED(tv_text_append(out, text + kept, at - kept));
        TV_RETURN_IF_FAILED(tv_text_append(out, to, strlen(to)));
        kept = at += size;
    }
    return tv_text_append(out, text + kept, length - kept);
}

tv_status tv_token_decoder_text(const tv_token_decoder *decoder, const uint8_t *spelling, uint64_t length,
                                tv_text *text) {
    int byte = decoder->byte_fallback ? tv_byte_token(spelling, length) : -1;
    if (byte >= 0)
        return tv_text_append(text, &(uint8_t){(uint8_t)byte}, 1);
    tv_text turns[2] = {{0}, {0}};
    tv_status status = TV_OK;
    for (uint32_t i = 0; i < decoder->replace_count; i++) {
        tv_text *turn = &turns[i % 2];
        turn->size = 0;
        TV_TRY(replace(spelling, length, decoder->replaces[i].from, decoder->replaces[i].to, turn));
        spelling = turn->data;
        length = turn->size;
    }
    TV_TRY(tv_text_append(text, spelling, length));
done:
    tv_text_free(&turns[0]);
    tv_text_free(&turns[1]);
    return status;
}

tv_status tv_token_decoder_first(const tv_token_decoder *decoder, const tv_token *token, tv_text *text) {
    if (!decoder->sign[0])
        return tv_text_append(text, token->bytes, token->length);
    tv_text kept = {0};
    tv_status status;
    TV_TRY(replace(token->spelling, token->spelling_length, decoder->sign, "", &kept));
    TV_TRY(tv_token_decoder_text(decoder, kept.data, kept.size, text));
done:
    tv_text_free(&kept);
    return status;
}

void tv_token_decoder_finish(const tv_token_decoder *decoder, uint64_t start, tv_text *text) {
    uint64_t size = strlen(decoder->strip);
    if (size == 0)
        return;
    uint64_t begin = start, end = text->size;
    for (uint32_t i = 0; i < decoder->strip_start && size <= end - begin &&
                         memcmp(text->data + begin, decoder->strip, size) == 0;
         i++)
        begin += size;
    for (uint32_t i = 0; i < decoder->strip_stop && size <= end - begin &&
                         memcmp(text->data + end - size, decoder->strip, size) == 0;
         i++)
        end -= size;
    if (begin > start)
        memmove(text->data + start, text->data + begin, end - begin);
    text->size = start + (end - begin);
}
