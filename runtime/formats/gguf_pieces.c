/* Cutting pieces: see gguf_pieces.h. */
#include "formats/gguf_pieces.h"

#include <string.h>

#include "base/arena.h"
#include "text/buffers.h"
#include "text/vocabulary.h"

/* Longer ones are in no published vocabulary; their cuts would take long to try. */
enum { MAX_PIECE_BYTES = 1024 };

static tv_status cut(const tv_token_index *index, const tv_token *tokens, uint32_t id, tv_gguf_cuts *cuts) {
    const uint8_t *text = tokens[id].spelling;
    const uint32_t length = tokens[id].spelling_length;
    for (uint32_t at = 1; at < length; at++) {
        if ((text[at] & 0xc0) == 0x80)
            continue;
        uint32_t left = tv_token_index_find(index, tokens, text, at);
        if (left == TV_NO_TOKEN)
            continue;
        uint32_t right = tv_token_index_find(index, tokens, text + at, length - at);
        if (right == TV_NO_TOKEN)
            continue;
        void *items = cuts->items;
        tv_status status = tv_grow(&items, &cuts->capacity, cuts->count + 1, sizeof *cuts->items);
        cuts->items = items;
        TV_RETURN_IF_FAILED(status);
        cuts->items[cuts->count++] = (tv_gguf_cut){id, left, right};
    }
    return TV_OK;
}

tv_status tv_gguf_find_cuts(const char *const *tokens, const int32_t *types, uint64_t count,
                            tv_gguf_cuts *cuts) {
    tv_arena *arena = NULL;
    tv_token_index index = {0};
    tv_status status;
    TV_TRY(tv_arena_create(&arena));
    tv_token *known = tv_arena_alloc(arena, count, sizeof *known);
    if (!known) {
        status = TV_E_MEMORY;
        goto done;
    }
    TV_TRY(tv_token_index_create(arena, count, &index));
    for (uint64_t id = 0; id < count; id++) {
        uint64_t length = strlen(tokens[id]);
        known[id] = (tv_token){.spelling = (const uint8_t *)tokens[id], .spelling_length = (uint32_t)length};
        if ((types && types[id] != TV_GGUF_NORMAL) || length > MAX_PIECE_BYTES)
            continue;
        uint32_t *place = tv_token_index_slot(&index, known, tokens[id], length);
        if (*place == 0)
            *place = (uint32_t)id + 1;
    }
    for (uint64_t id = 0; id < count; id++)
        if ((!types || types[id] == TV_GGUF_NORMAL) && known[id].spelling_length <= MAX_PIECE_BYTES)
            TV_TRY(cut(&index, known, (uint32_t)id, cuts));
done:
    tv_arena_destroy(&arena);
    return status;
}
