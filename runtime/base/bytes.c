/* Number formats and text of sizes: see bytes.h. */
#include "base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

char *tv_format(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : malloc((size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

uint64_t tv_hash_bytes(const void *bytes, uint64_t size, uint64_t seed) {
    const unsigned char *byte = bytes;
    uint64_t hash = seed ^ 0xcbf29ce484222325u;
    for (uint64_t i = 0; i < size; i++)
        hash = (hash ^ byte[i]) * 0x100000001b3u;
    return hash;
}

char *tv_format_bytes(uint64_t bytes, char *text, uint64_t size) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < TV_COUNT(units)) {
        value /= 1024;
        unit++;
    }
    snprintf(text, size, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}
