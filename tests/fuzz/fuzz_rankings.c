/* Fuzz target: bytes as a file of judgments. What is read is printed and read again: the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "human/rankings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_line(const tv_ranking *ranking) {
    tv_text line = {0};
    tv_arena *arena = NULL;
    tv_ranking again;
    if (tv_ranking_print(ranking, &line) != TV_OK || tv_arena_create(&arena) != TV_OK)
        abort();
    if (tv_ranking_parse((tv_slice){(const char *)line.data, line.size}, "again", arena, &again) != TV_OK)
        abort();
    if (again.item.count != ranking->item.count || again.skipped != ranking->skipped ||
        memcmp(again.rank, ranking->rank, sizeof again.rank) != 0 ||
        memcmp(again.order, ranking->order, sizeof again.order) != 0)
        abort();
    tv_arena_destroy(&arena);
    tv_text_free(&line);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_rankings *rankings = NULL;
    if (tv_rankings_read_bytes((const char *)data, size, "fuzz", &rankings) != TV_OK)
        return 0;
    for (uint64_t i = 0; i < tv_rankings_count(rankings); i++)
        check_line(tv_rankings_at(rankings, i));
    tv_rankings_destroy(&rankings);
    return 0;
}
