/* UTF-8 over utf8proc: valid runs, white space, normalization, and the byte-level alphabet.
 *
 * Promise: every function takes any bytes; those that are no UTF-8 (stray continuation bytes, overlong forms,
 * surrogates, code points above 10FFFF, sequences cut short) pass through unchanged.
 */
#ifndef TV_TEXT_UTF8_H
#define TV_TEXT_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "text/buffers.h"

/* Length of the longest prefix that is valid UTF-8. */
uint64_t tv_utf8_valid_run(const uint8_t *bytes, uint64_t length);

/* Bytes at the end, 0 to 3, that begin a character whose rest is missing: what a terminal must wait for. */
uint64_t tv_utf8_unfinished(const uint8_t *bytes, uint64_t length);

/* The code point at the start and its length in bytes, or 0 (with *length 1) when there is none. */
uint32_t tv_utf8_decode(const uint8_t *bytes, uint64_t available, uint32_t *length);
/* Writes 1 to 4 bytes and returns how many. */
uint32_t tv_utf8_encode(uint32_t code_point, uint8_t out[4]);

/* Unicode's White_Space property. */
bool tv_utf8_is_space(uint32_t code_point);
/* Where the white space that ends at `end` begins, not before `floor`; where that from `start` on ends. */
uint64_t tv_utf8_space_before(const uint8_t *bytes, uint64_t floor, uint64_t end);
uint64_t tv_utf8_space_after(const uint8_t *bytes, uint64_t start, uint64_t length);

/* A sign of words, as \w of Unicode's regular expressions: letters, marks, digits, joining punctuation. */
bool tv_utf8_is_word(uint32_t code_point);
/* The small letter, where it is one character. */
uint32_t tv_utf8_lower(uint32_t code_point);

/* One code point for another, by Unicode's simple mappings. */
uint32_t tv_utf8_to_lower(uint32_t code_point);
uint32_t tv_utf8_to_upper(uint32_t code_point);
uint32_t tv_utf8_to_title(uint32_t code_point);
/* Letters that have a case, by these mappings. */
bool tv_utf8_is_cased(uint32_t code_point);

typedef enum tv_normal_form { TV_NFC, TV_NFD, TV_NFKC, TV_NFKD } tv_normal_form;

/* Appends the normalized text. */
tv_status tv_utf8_normalize(const uint8_t *bytes, uint64_t length, tv_normal_form form, tv_text *out);

/* The alphabet of GPT-2's byte-level BPE (bytes_to_unicode in its encoder.py): each byte has one printable
 * character, so that a vocabulary of byte strings can be written as text. */
uint32_t tv_byte_to_character(uint8_t byte);
/* The byte, or -1 when the character is not in the alphabet. */
int tv_character_to_byte(uint32_t code_point);

#endif
