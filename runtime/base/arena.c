/* A chain of blocks: see arena.h. */
#include "base/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

enum { BLOCK_BYTES = 64 * 1024, ALIGNMENT = 16 };

typedef struct block {
    struct block *next;
    uint64_t used, size;
    alignas(ALIGNMENT) unsigned char bytes[];
} block;

struct tv_arena {
    block *blocks;
};

tv_status tv_arena_create(tv_arena **arena) {
    *arena = calloc(1, sizeof **arena);
    return *arena ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for an arena");
}

void tv_arena_destroy(tv_arena **arena) {
    if (!arena || !*arena)
        return;
    for (block *next, *b = (*arena)->blocks; b; b = next) {
        next = b->next;
        free(b);
    }
    free(*arena);
    *arena = NULL;
}

void *tv_arena_alloc(tv_arena *arena, uint64_t count, uint64_t item_bytes) {
    uint64_t bytes;
    if (!tv_mul_u64(count, item_bytes, &bytes) || bytes > INT64_MAX / 2) {
        tv_fail(TV_E_MEMORY, "a request for %llu items of %llu bytes is larger than any memory",
                (unsigned long long)count, (unsigned long long)item_bytes);
        return NULL;
    }
    bytes = tv_align_up(bytes ? bytes : 1, ALIGNMENT);
    block *b = arena->blocks;
    if (!b || b->size - b->used < bytes) {
        uint64_t size = tv_max_u64(bytes, BLOCK_BYTES);
        b = calloc(1, sizeof *b + size);
        if (!b) {
            tv_fail(TV_E_MEMORY, "out of host memory: %llu bytes were asked for", (unsigned long long)size);
            return NULL;
        }
        b->size = size;
        b->next = arena->blocks;
        arena->blocks = b;
    }
    void *result = b->bytes + b->used;
    b->used += bytes;
    return result;
}

char *tv_arena_copy(tv_arena *arena, const char *text, uint64_t length) {
    char *copy = tv_arena_alloc(arena, length + 1, 1);
    if (copy && length)
        memcpy(copy, text, length);
    return copy;
}

char *tv_arena_format(tv_arena *arena, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *text = length < 0 ? NULL : tv_arena_alloc(arena, (uint64_t)length + 1, 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}
