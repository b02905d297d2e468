/* stages/dpo_pairs: which pairs a file gives, how they lie in a micro-batch, the order of passes, and the
 * file of references.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/tokens.h"
#include "support/pair_runs.h"
#include "support/planted.h"

static void pairs_of_ranked_answers(void **state) {
    (void)state;
    static const char lines[] = "{\"prompt\": \"Tell me.\", \"answers\": [{\"answer\": \" calm\", \"rank\": "
                                "1}, {\"answer\": \" foul\", "
                                "\"rank\": 3}, {\"answer\": \" happy\", \"rank\": 1}]}\n"
                                "{\"prompt\": \"Tell me.\", \"answers\": [{\"answer\": \" a\", \"rank\": 2}, "
                                "{\"answer\": \" b\", \"rank\": "
                                "1}]}\n"
                                "{\"prompt\": \"Tell me.\", \"answers\": [{\"answer\": \" a\", \"rank\": 1}, "
                                "{\"answer\": \" b\", \"rank\": "
                                "1}]}\n";
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *path = tv_format("%s/ranked.jsonl", planted.dir);
    assert_ok(tv_write_file(path, lines, sizeof lines - 1));
    tv_pair_file f = tv_pair_file_open(planted.base, path);
    const tv_dpo_item *items = f.pairs.items;
    const tv_preference_response *first = f.set->groups[0].responses, *second = f.set->groups[1].responses;
    /* Two that beat the third, and no pair of the two; the better of two; a tie of two. */
    assert_int_equal(f.pairs.count, 4);
    assert_true(items[0].chosen == &first[0] && items[0].rejected == &first[2] && items[0].target == 1);
    assert_true(items[1].chosen == &first[1] && items[1].rejected == &first[2] && items[1].target == 1);
    assert_true(items[2].chosen == &second[0] && items[2].rejected == &second[1] && items[2].target == 1);
    assert_true(items[3].target == 0.5f);

    /* In a micro-batch: tokens from column 0, targets of the response and its end only, the table over them.
     */
    enum { PAIRS = 5 };
    uint32_t tokens[2 * PAIRS * TV_PAIR_SEQ_LEN], targets[2 * PAIRS * TV_PAIR_SEQ_LEN];
    struct tv_dpo_pair table[PAIRS];
    const uint64_t widths[] = {4, 5, 6, 7, 8, 9, 10, 11, 12, TV_PAIR_SEQ_LEN}, rows[TV_COUNT(widths)] = {0};
    tv_micro_batch batch = {.widths = widths,
                            .rows_at = rows,
                            .width = TV_PAIR_SEQ_LEN,
                            .tokens = tokens,
                            .inputs = {targets, table},
                            .targets = targets};
    f.pairs.end = 4;
    f.pairs.items[2].references[0] = -3;
    f.pairs.items[2].references[1] = -4;
    tv_dpo_pairs_fill(&f.pairs, PAIRS, &batch);
    assert_int_equal(batch.terms, 4);
    uint64_t longest = 0;
    for (int p = 0; p < 4; p++)
        longest = tv_max_u64(longest, tv_max_u64(items[p].chosen->length, items[p].rejected->length));
    assert_in_range(longest, 5, 13);
    assert_int_equal(batch.width, longest - 1);
    for (int p = 0; p < 4; p++)
        for (int k = 0; k < 2; k++) {
            const tv_preference_response *r = k ? items[p].rejected : items[p].chosen;
            uint32_t row = (uint32_t)(2 * p + k) * (uint32_t)batch.width;
            assert_memory_equal(tokens + row, r->ids, (r->length - 1) * sizeof *tokens);
            assert_int_equal(k ? table[p].rejected_first : table[p].chosen_first, row + r->prompt_length - 1);
            assert_int_equal(k ? table[p].rejected_count : table[p].chosen_count,
                             r->length - r->prompt_length);
            for (uint32_t t = 0; t < batch.width; t++)
                assert_int_equal(targets[row + t], t + 1 >= r->prompt_length && t + 1 < r->length
                                                       ? r->ids[t + 1]
                                                       : TV_IGNORED_TARGET);
        }
    assert_true(table[2].chosen_reference == -3 && table[2].rejected_reference == -4 &&
                table[3].target == 0.5f);
    assert_int_equal(table[4].chosen_count + table[4].rejected_count, 0);
    tv_pair_file_close(&f);
    free(path);
    tv_planted_destroy(&planted);
}

/* Each pair once a pass, in another order each time. */
static void every_pair_is_seen_once_a_pass(void **state) {
    (void)state;
    enum { COUNT = 30, BATCH = 4 };
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, COUNT, 2, false);
    tv_pair_file f = tv_pair_file_open(planted.base, data);
    f.pairs.shuffle = true;
    f.pairs.seed = 5;
    f.pairs.end = 2 * COUNT;
    for (int i = 0; i < COUNT; i++)
        f.pairs.items[i].references[0] = (float)i;
    uint32_t tokens[2 * BATCH * TV_PAIR_SEQ_LEN], targets[2 * BATCH * TV_PAIR_SEQ_LEN];
    struct tv_dpo_pair table[BATCH];
    const uint64_t widths[] = {TV_PAIR_SEQ_LEN}, rows[] = {2 * BATCH};
    tv_micro_batch batch = {.widths = widths,
                            .rows_at = rows,
                            .width = TV_PAIR_SEQ_LEN,
                            .tokens = tokens,
                            .inputs = {targets, table},
                            .targets = targets};
    int order[2 * COUNT], seen[COUNT] = {0}, count = 0;
    for (int fill = 0; fill < 2 * COUNT / BATCH + 2; fill++) {
        tv_dpo_pairs_fill(&f.pairs, BATCH, &batch);
        for (uint64_t p = 0; p < batch.terms; p++)
            order[count++] = (int)table[p].chosen_reference;
    }
    assert_int_equal(count, 2 * COUNT);
    assert_int_equal(f.pairs.next, 2 * COUNT); /* and no further: more epochs go on from here */
    for (int i = 0; i < COUNT; i++) {
        seen[order[i]] += 1;
        seen[order[COUNT + i]] += 100;
    }
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(seen[i], 101);
    assert_true(memcmp(order, order + COUNT, COUNT * sizeof *order) != 0);
    tv_pair_file_close(&f);
    free(data);
    tv_planted_destroy(&planted);
}

/* References go through their file bit for bit, and only to the pairs that they are of. */
static void references_belong_to_their_pairs(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&planted, "pairs.jsonl", 0, 9, 2, false);
    char *others = tv_planted_preferences(&planted, "others.jsonl", 1, 9, 2, false);
    char *path = tv_format("%s/references.safetensors", planted.dir);
    tv_pair_file a = tv_pair_file_open(planted.base, data), b = tv_pair_file_open(planted.base, data),
                 c = tv_pair_file_open(planted.base, others);
    for (uint64_t i = 0; i < 9; i++)
        for (int k = 0; k < 2; k++)
            a.pairs.items[i].references[k] = c.pairs.items[i].references[k] =
                -1.0f / (float)(1 + 2 * i + (uint64_t)k);
    const tv_dpo_pairs *written[] = {&a.pairs, &c.pairs};
    assert_ok(tv_dpo_references_write(path, written, 2));
    tv_dpo_pairs *read[] = {&b.pairs, &c.pairs};
    assert_ok(tv_dpo_references_read(path, read, 2));
    for (uint64_t i = 0; i < 9; i++)
        assert_memory_equal(b.pairs.items[i].references, a.pairs.items[i].references, 2 * sizeof(float));
    tv_dpo_pairs *swapped[] = {&c.pairs, &b.pairs};
    assert_fails(tv_dpo_references_read(path, swapped, 2), TV_E_DATA, "other pairs");
    c.pairs.items[8].references[1] = NAN;
    assert_ok(tv_dpo_references_write(path, written, 2));
    assert_fails(tv_dpo_references_read(path, read, 2), TV_E_DATA, "holds nan, which is no log-probability");
    tv_pair_file_close(&a);
    tv_pair_file_close(&b);
    tv_pair_file_close(&c);
    tv_free_all(path, others, data);
    tv_planted_destroy(&planted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_of_ranked_answers),
        cmocka_unit_test(every_pair_is_seen_once_a_pass),
        cmocka_unit_test(references_belong_to_their_pairs),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
