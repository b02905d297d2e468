/* A host-memory arena: many small allocations with one lifetime, freed together.
 *
 * Promise: pointers stay valid until tv_arena_destroy; memory is zeroed; out of memory is reported, not
 * fatal.
 */
#ifndef TV_BASE_ARENA_H
#define TV_BASE_ARENA_H

#include <stdarg.h>
#include <stdint.h>

#include "base/status.h"

typedef struct tv_arena tv_arena;

tv_status tv_arena_create(tv_arena **arena);
void tv_arena_destroy(tv_arena **arena);

/* `count` items of `item_bytes`, aligned to 16; NULL (with the sentence set) when memory is out or the
 * product overflows. */
void *tv_arena_alloc(tv_arena *arena, uint64_t count, uint64_t item_bytes);

/* A copy of the text, or of what the format prints; NULL as above. */
char *tv_arena_copy(tv_arena *arena, const char *text, uint64_t length);
char *tv_arena_format(tv_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
