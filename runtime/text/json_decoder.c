/* Reading "decoder": see tokenizer_reading.h. */
#include <string.h>

#include "text/tokenizer_reading.h"

/* A chain works on tokens until Fuse makes them one text. */
typedef struct reading {
    const char *where;
    bool byte_level;
    bool fused, any;
    tv_token_decoder *decoder;
} reading;

static tv_status unsupported(const reading *r, const char *expected, const char *found) {
    return tv_fail(TV_E_DATA, "%s: expected %s as \"decoder\", found %.60s, which is not supported", r->where,
                   expected, found);
}

static tv_status add_replace(const reading *r, const char *from, const char *to) {
    tv_token_decoder *d = r->decoder;
    if (r->fused || d->byte_fallback)
        return unsupported(r, "Replace before ByteFallback and Fuse", "it behind them");
    if (!from[0] || strlen(from) > TV_MAX_DECODER_TEXT || strlen(to) > TV_MAX_DECODER_TEXT)
        return unsupported(r, "a Replace of a text of 1 to 31 bytes by at most as many", "another");
    if (d->replace_count == TV_MAX_DECODER_REPLACES)
        return unsupported(r, "at most 8 replacements", "more");
    strcpy(d->replaces[d->replace_count].from, from);
    strcpy(d->replaces[d->replace_count++].to, to);
    return TV_OK;
}

static tv_status read_replace(const reading *r, const cJSON *item) {
    const char *from, *to;
    TV_RETURN_IF_FAILED(tv_json_string(tv_json_get(item, "pattern"), "String", r->where, NULL, &from));
    TV_RETURN_IF_FAILED(tv_json_string(item, "content", r->where, "", &to));
    return from ? add_replace(r, from, to) : unsupported(r, "a Replace with a \"String\"", "another pattern");
}

static tv_status read_strip(const reading *r, const cJSON *item) {
    const char *content;
    int64_t start, stop;
    TV_RETURN_IF_FAILED(tv_json_string(item, "content", r->where, "", &content));
    TV_RETURN_IF_FAILED(tv_json_integer(item, "start", r->where, 0, UINT32_MAX, 0, &start));
    TV_RETURN_IF_FAILED(tv_json_integer(item, "stop", r->where, 0, UINT32_MAX, 0, &stop));
    if (!r->fused)
        return unsupported(r, "Strip behind Fuse", "it before");
    if (r->decoder->strip[0])
        return unsupported(r, "one Strip", "two");
    uint32_t used;
    (void)tv_utf8_decode((const uint8_t *)content, strlen(content), &used);
    if (!content[0] || used != strlen(content))
        return unsupported(r, "Strip of one character", content);
    strcpy(r->decoder->strip, content);
    r->decoder->strip_start = (uint32_t)start;
    r->decoder->strip_stop = (uint32_t)stop;
    return TV_OK;
}

static tv_status read_metaspace(const reading *r, const cJSON *item) {
    const char *sign, *scheme;
    bool prefix;
    TV_RETURN_IF_FAILED(tv_json_string(item, "replacement", r->where, "\xe2\x96\x81", &sign));
    TV_RETURN_IF_FAILED(tv_json_string(item, "prepend_scheme", r->where, "always", &scheme));
    TV_RETURN_IF_FAILED(tv_json_bool(item, "add_prefix_space", r->where, true, &prefix));
    uint32_t used;
    (void)tv_utf8_decode((const uint8_t *)sign, strlen(sign), &used);
    if (!sign[0] || used != strlen(sign))
        return unsupported(r, "Metaspace with one character", sign);
    if (r->any)
        return unsupported(r, "Metaspace as the first of a sequence", "it behind others");
    if (prefix && strcmp(scheme, "never") != 0)
        strcpy(r->decoder->sign, sign);
    return add_replace(r, sign, " ");
}

static tv_status read_step(void *context, const cJSON *item, const char *type) {
    reading *r = context;
    if (r->byte_level)
        return strcmp(type, "ByteLevel") == 0 ? TV_OK
                                              : unsupported(r, "ByteLevel, as the pre-tokenizer's", type);
    tv_status status = TV_OK;
    if (strcmp(type, "Replace") == 0)
        status = read_replace(r, item);
    else if (strcmp(type, "ByteFallback") == 0 && !r->fused)
        r->decoder->byte_fallback = true;
    else if (strcmp(type, "Fuse") == 0)
        r->fused = true;
    else if (strcmp(type, "Strip") == 0)
        status = read_strip(r, item);
    else if (strcmp(type, "Metaspace") == 0)
        status = read_metaspace(r, item);
    else
        return unsupported(r, "Replace, ByteFallback, Fuse, Strip, Metaspace or a Sequence of these", type);
    r->any = true;
    return status;
}

tv_status tv_read_decoder(const cJSON *item, const char *where, bool byte_level, tv_token_decoder *decoder) {
    reading r = {.where = where, .byte_level = byte_level, .decoder = decoder};
    *decoder = (tv_token_decoder){0};
    if (item && !cJSON_IsNull(item))
        return tv_read_steps(&(tv_steps){where, "decoder", "decoders", read_step, &r}, item);
    /* Without one tokens are joined with spaces there, which no byte-level model wants. */
    return byte_level ? TV_OK : unsupported(&r, "a decoder", "none");
}
