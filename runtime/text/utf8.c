/* UTF-8 over utf8proc: see utf8.h. */
#include "text/utf8.h"

#include <stdlib.h>
#include <utf8proc.h>

uint64_t tv_utf8_valid_run(const uint8_t *bytes, uint64_t length) {
    uint64_t i = 0;
    while (i < length) {
        if (bytes[i] < 0x80) {
            i++;
            continue;
        }
        utf8proc_int32_t code_point;
        utf8proc_ssize_t used = utf8proc_iterate(bytes + i, (utf8proc_ssize_t)(length - i), &code_point);
        if (used <= 0)
            break;
        i += (uint64_t)used;
    }
    return i;
}

uint64_t tv_utf8_unfinished(const uint8_t *bytes, uint64_t length) {
    for (uint64_t back = 1; back <= 3 && back <= length; back++) {
        uint8_t byte = bytes[length - back];
        if ((byte & 0xc0) == 0x80)
            continue;
        uint64_t whole = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
        return whole > back ? back : 0;
    }
    return 0;
}

uint32_t tv_utf8_decode(const uint8_t *bytes, uint64_t available, uint32_t *length) {
    utf8proc_int32_t code_point = 0;
    utf8proc_ssize_t used = utf8proc_iterate(bytes, (utf8proc_ssize_t)available, &code_point);
    *length = used > 0 ? (uint32_t)used : 1;
    return used > 0 ? (uint32_t)code_point : 0;
}

uint32_t tv_utf8_encode(uint32_t code_point, uint8_t out[4]) {
    return (uint32_t)utf8proc_encode_char((utf8proc_int32_t)code_point, out);
}

bool tv_utf8_is_space(uint32_t c) {
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
           c == 0x3000;
}

uint64_t tv_utf8_space_before(const uint8_t *bytes, uint64_t floor, uint64_t end) {
    while (end > floor) {
        uint64_t start = end - 1;
        while (start > floor && (bytes[start] & 0xc0) == 0x80 && end - start < 4)
            start--;
        uint32_t length, c = tv_utf8_decode(bytes + start, end - start, &length);
        if (length != end - start || !tv_utf8_is_space(c))
            break;
        end = start;
    }
    return end;
}

uint64_t tv_utf8_space_after(const uint8_t *bytes, uint64_t start, uint64_t length) {
    while (start < length) {
        uint32_t used, c = tv_utf8_decode(bytes + start, length - start, &used);
        if (!tv_utf8_is_space(c))
            break;
        start += used;
    }
    return start;
}

bool tv_utf8_is_word(uint32_t c) {
    /* Signs that are letters by Other_Alphabetic alone: enclosed and negative Latin capitals. */
    if ((c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) || (c >= 0x1f150 && c <= 0x1f169) ||
        (c >= 0x1f170 && c <= 0x1f189) || c == 0x200c || c == 0x200d)
        return true;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return false;
    }
}

uint32_t tv_utf8_lower(uint32_t c) {
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

static tv_status normalize_run(const uint8_t *bytes, uint64_t length, tv_normal_form form, tv_text *out) {
    unsigned options = UTF8PROC_STABLE;
    options |= form == TV_NFC || form == TV_NFKC ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
    if (form == TV_NFKC || form == TV_NFKD)
        options |= UTF8PROC_COMPAT;
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t size =
        utf8proc_map(bytes, (utf8proc_ssize_t)length, &mapped, (utf8proc_option_t)options);
    if (size < 0)
        return tv_fail(size == UTF8PROC_ERROR_NOMEM ? TV_E_MEMORY : TV_E_DATA, "cannot normalize a text: %s",
                       utf8proc_errmsg(size));
    tv_status status = tv_text_append(out, mapped, (uint64_t)size);
    free(mapped);
    return status;
}

tv_status tv_utf8_normalize(const uint8_t *bytes, uint64_t length, tv_normal_form form, tv_text *out) {
    uint64_t ascii = 0;
    while (ascii < length && bytes[ascii] < 0x80)
        ascii++;
    if (ascii == length)
        return tv_text_append(out, bytes, length);
    while (length > 0) {
        uint64_t run = tv_utf8_valid_run(bytes, length);
        if (run > 0)
            TV_RETURN_IF_FAILED(normalize_run(bytes, run, form, out));
        else
            TV_RETURN_IF_FAILED(tv_text_append(out, bytes, run = 1));
        bytes += run;
        length -= run;
    }
    return TV_OK;
}

uint32_t tv_utf8_to_lower(uint32_t c) {
    return (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
}

uint32_t tv_utf8_to_upper(uint32_t c) {
    return (uint32_t)utf8proc_toupper((utf8proc_int32_t)c);
}

uint32_t tv_utf8_to_title(uint32_t c) {
    return (uint32_t)utf8proc_totitle((utf8proc_int32_t)c);
}

bool tv_utf8_is_cased(uint32_t c) {
    return tv_utf8_to_lower(c) != c || tv_utf8_to_upper(c) != c;
}

static bool prints_as_itself(uint32_t byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* The others follow one another from U+0100: 0 to 0x20, 0x7f to 0xa0, 0xad. */
uint32_t tv_byte_to_character(uint8_t byte) {
    if (prints_as_itself(byte))
        return byte;
    if (byte <= 0x20)
        return 0x100u + byte;
    return byte == 0xad ? 0x143u : 0x121u + (byte - 0x7fu);
}

int tv_character_to_byte(uint32_t c) {
    if (c < 0x100)
        return prints_as_itself(c) ? (int)c : -1;
    if (c <= 0x120)
        return (int)(c - 0x100);
    if (c <= 0x142)
        return (int)(c - 0x121 + 0x7f);
    return c == 0x143 ? 0xad : -1;
}
