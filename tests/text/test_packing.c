/* text/packing against plain best fit decreasing in n^2, its bounds, and splits by prompt.
 *
 * Broken on purpose and seen to fail: first fit instead of best fit (the tree's last room), the room of a
 * pack off by one, items of equal length in the other order; a split that draws by item. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/rng.h"
#include "text/packing.h"
#include "text/split.h"

/* Each item into the pack with the least room; among equals the one that came last to that room. */
static uint64_t slow_pack(const uint64_t *lengths, uint64_t count, uint64_t capacity, uint64_t *pack_of) {
    uint64_t *room = calloc(count + 1, sizeof *room), *since = calloc(count + 1, sizeof *since), packs = 0;
    for (uint64_t i = 0; i < count; i++)
        pack_of[i] = UINT64_MAX;
    for (uint64_t step = 1; step <= count; step++) {
        uint64_t item = UINT64_MAX, best = UINT64_MAX;
        for (uint64_t i = 0; i < count; i++)
            if (pack_of[i] == UINT64_MAX && (item == UINT64_MAX || lengths[i] > lengths[item]))
                item = i;
        for (uint64_t p = 0; p < packs; p++)
            if (room[p] >= lengths[item] && (best == UINT64_MAX || room[p] < room[best] ||
                                             (room[p] == room[best] && since[p] > since[best])))
                best = p;
        if (best == UINT64_MAX)
            room[best = packs++] = capacity;
        room[best] -= lengths[item];
        since[best] = step;
        pack_of[item] = best;
    }
    free(room);
    free(since);
    return packs;
}

static void packs_are_those_of_the_plain_algorithm(void **state) {
    (void)state;
    for (uint32_t trial = 0; trial < 60; trial++) {
        const tv_rng rng = {.seed = 7, .stream = TV_STREAM_TEST, .step = trial};
        uint64_t count = tv_uniform_below(&rng, 0, 300), capacity = 1 + tv_uniform_below(&rng, 1, 200);
        uint64_t longest = trial % 3 == 0 ? capacity : 1 + capacity / 3, total = 0;
        uint64_t lengths[300], pack_of[300];
        for (uint64_t i = 0; i < count; i++) {
            lengths[i] = 1 + tv_uniform_below(&rng, 2 + i, longest);
            total += lengths[i];
        }
        tv_packing packing = {0};
        assert_ok(tv_pack(lengths, count, capacity, &packing));
        assert_int_equal(packing.packs, slow_pack(lengths, count, capacity, pack_of));
        assert_int_equal(packing.starts[0], 0);
        assert_int_equal(packing.starts[packing.packs], count);
        uint8_t seen[300] = {0};
        for (uint64_t p = 0; p < packing.packs; p++) {
            uint64_t filled = 0;
            assert_true(packing.starts[p] < packing.starts[p + 1]);
            for (uint64_t i = packing.starts[p]; i < packing.starts[p + 1]; i++) {
                assert_true(packing.items[i] < count && !seen[packing.items[i]]);
                seen[packing.items[i]] = 1;
                assert_int_equal(pack_of[packing.items[i]], p);
                filled += lengths[packing.items[i]];
            }
            assert_true(filled <= capacity);
        }
        /* No two packs fit into one, so that they are less than twice the least number; and 11/9 + 1. */
        uint64_t least = tv_div_up(total, capacity);
        if (longest < capacity / 2)
            assert_true(9 * packing.packs <= 11 * least + 9);
        tv_packing again = {0};
        assert_ok(tv_pack(lengths, count, capacity, &again));
        assert_memory_equal(again.items, packing.items, count * sizeof *packing.items);
        tv_packing_free(&again);
        tv_packing_free(&packing);
        assert_null(packing.items);
    }
}

/* A million items take a moment, not an hour; a capacity far above their sum takes no memory for itself. */
static void large_inputs(void **state) {
    (void)state;
    const uint64_t count = 1000000;
    const tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST};
    uint64_t *lengths = calloc(count, sizeof *lengths), total = 0;
    assert_non_null(lengths);
    for (uint64_t i = 0; i < count; i++)
        total += lengths[i] = 1 + tv_uniform_below(&rng, i, 2048);
    tv_packing packing = {0};
    assert_ok(tv_pack(lengths, count, 2048, &packing));
    assert_true(packing.packs >= tv_div_up(total, 2048) &&
                100 * packing.packs <= 101 * tv_div_up(total, 2048));
    tv_packing_free(&packing);
    assert_ok(tv_pack(lengths, 5, UINT64_MAX, &packing));
    assert_int_equal(packing.packs, 1);
    tv_packing_free(&packing);
    assert_ok(tv_pack(NULL, 0, 10, &packing));
    assert_int_equal(packing.packs, 0);
    tv_packing_free(&packing);
    lengths[2] = 0;
    assert_int_equal(tv_pack(lengths, 5, 4096, &packing), TV_E_USAGE);
    lengths[2] = 4097;
    assert_fails(tv_pack(lengths, 5, 4096, &packing), TV_E_USAGE, "from 1 to 4096, found 4097 for item 2");
    assert_null(packing.items);
    free(lengths);
}

static uint64_t held(const uint8_t *held_out, uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += held_out[i];
    return sum;
}

/* 200 prompts with 1 to 5 items each. */
static void splits_keep_prompts_together(void **state) {
    (void)state;
    uint64_t hashes[1000], count = 0, back[1000];
    uint8_t held_out[1000], again[1000], other[1000];
    for (uint64_t prompt = 0; prompt < 200; prompt++)
        for (uint64_t i = 0; i <= prompt % 5; i++)
            hashes[count++] = tv_hash_bytes(&prompt, sizeof prompt, 0);
    for (int percent = 0; percent <= 100; percent += 5) {
        assert_ok(tv_split_by_prompt(hashes, count, 1, percent / 100.0, held_out));
        uint64_t prompts = 0;
        for (uint64_t i = 0; i < count; i++) {
            bool first = i == 0 || hashes[i] != hashes[i - 1];
            prompts += first && held_out[i];
            assert_true(first || held_out[i] == held_out[i - 1]);
        }
        assert_int_equal(prompts, percent == 100 ? 199 : 2 * percent);
    }
    /* By what the prompts are and not by where they stand. */
    assert_ok(tv_split_by_prompt(hashes, count, 1, 0.25, held_out));
    for (uint64_t i = 0; i < count; i++)
        back[i] = hashes[count - 1 - i];
    assert_ok(tv_split_by_prompt(back, count, 1, 0.25, again));
    for (uint64_t i = 0; i < count; i++)
        assert_int_equal(held_out[i], again[count - 1 - i]);
    assert_ok(tv_split_by_prompt(hashes, count, 2, 0.25, other));
    assert_memory_not_equal(held_out, other, count);
    /* Few prompts: one is held out, one stays. */
    const uint64_t few[] = {7, 7, 9};
    assert_ok(tv_split_by_prompt(few, 3, 1, 0.01, held_out));
    assert_true(held(held_out, 3) == 1 || held(held_out, 3) == 2);
    assert_ok(tv_split_by_prompt(few, 3, 1, 1, held_out));
    assert_true(held(held_out, 3) == 1 || held(held_out, 3) == 2);
    assert_ok(tv_split_by_prompt(few, 3, 1, 0, held_out));
    assert_int_equal(held(held_out, 3), 0);
    assert_ok(tv_split_by_prompt(few, 2, 1, 0.1, held_out));
    assert_int_equal(held(held_out, 2), 0);
    assert_ok(tv_split_by_prompt(NULL, 0, 1, 0.1, held_out));
    assert_int_equal(tv_split_by_prompt(few, 3, 1, 1.5, held_out), TV_E_USAGE);
    assert_int_equal(tv_split_by_prompt(few, 3, 1, -0.5, held_out), TV_E_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packs_are_those_of_the_plain_algorithm),
        cmocka_unit_test(large_inputs),
        cmocka_unit_test(splits_keep_prompts_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
