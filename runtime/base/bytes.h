/* Sizes, alignment and bits.
 *
 * Promise: arithmetic on sizes that come from files is checked here, never by hand. Element types
 * stand in dtype.h, which comes with it.
 */
#ifndef TV_BASE_BYTES_H
#define TV_BASE_BYTES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"

/* Elements of an array. */
#define TV_COUNT(array) (sizeof(array) / sizeof *(array))

/* False, and *out untouched, when the result does not fit 64 bits. */
static inline bool tv_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *out = product;
    return true;
}

static inline bool tv_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *out = sum;
    return true;
}

static inline uint64_t tv_align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

static inline uint64_t tv_div_up(uint64_t value, uint64_t divisor) {
    return (value + divisor - 1) / divisor;
}

static inline uint64_t tv_min_u64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static inline uint64_t tv_max_u64(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static inline uint64_t tv_gcd_u64(uint64_t a, uint64_t b) {
    while (b) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

static inline float tv_bits_to_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t tv_float_to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A string in fresh memory, or NULL when memory is out; the caller frees it. */
char *tv_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* 64-bit FNV-1a, for cache names; not for security. */
uint64_t tv_hash_bytes(const void *bytes, uint64_t size, uint64_t seed);

/* "1.5 GiB", "12 KiB": writes at most `size` bytes and returns `text`. */
char *tv_format_bytes(uint64_t bytes, char *text, uint64_t size);

#endif
