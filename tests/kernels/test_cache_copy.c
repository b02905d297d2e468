/* kernels/cache_copy against plain loops: exact, because it only moves words.
 *
 * Seen to fail with: what lies before the slots left out, the offset of the token left out, heads one token
 * too near, and k copied for v.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/cache_copy.h"

typedef struct shape {
    uint64_t slots, heads, tokens, head_size, from, to, first, count, before;
} shape;

/* `halves`: the same words as two values each. */
static void check_as(tv_device *device, const shape *s, bool halves) {
    const uint64_t slot = s->heads * s->tokens * s->head_size, all = s->before + s->slots * slot;
    float *before[2], *after = malloc(all * sizeof *after);
    tv_test_tensor caches[2];
    for (int c = 0; c < 2; c++) {
        before[c] = malloc(all * sizeof **before);
        for (uint64_t i = 0; i < all; i++)
            before[c][i] = (float)(2 * i + (uint64_t)c);
        caches[c] = tv_test_floats(device, all, before[c]);
    }
    tv_tensor k = caches[0].tensor, v = caches[1].tensor;
    k.dtype = v.dtype = halves ? TV_F16 : TV_F32;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(
        tv_cache_copy_record(recorder, &(tv_cache_copy){.slots = s->slots,
                                                        .kv_heads = s->heads,
                                                        .max_tokens = s->tokens,
                                                        .head_size = halves ? 2 * s->head_size : s->head_size,
                                                        .k = k,
                                                        .v = v,
                                                        .before = halves ? 2 * s->before : s->before,
                                                        .from = s->from,
                                                        .to = s->to,
                                                        .first = s->first,
                                                        .count = s->count}));
    tv_test_run(device, recorder);
    for (int c = 0; c < 2; c++) {
        for (uint64_t h = 0; h < s->heads; h++)
            for (uint64_t t = s->first; t < s->first + s->count; t++)
                for (uint64_t d = 0; d < s->head_size; d++) {
                    const uint64_t i = s->before + (h * s->tokens + t) * s->head_size + d;
                    before[c][s->to * slot + i] = before[c][s->from * slot + i];
                }
        tv_test_read(&caches[c], after);
        assert_memory_equal(after, before[c], all * sizeof *after);
        tv_test_free(&caches[c]);
        free(before[c]);
    }
    free(after);
}

static void check(tv_device *device, const shape *s) {
    check_as(device, s, false);
    check_as(device, s, true);
}

static const shape shapes[] = {
    {2, 1, 1, 1, 0, 1, 0, 1, 0},    {3, 2, 5, 3, 2, 0, 1, 3, 0},     {4, 3, 17, 20, 1, 3, 0, 17, 0},
    {5, 8, 33, 64, 4, 0, 32, 1, 0}, {2, 5, 129, 48, 0, 1, 7, 90, 0}, {3, 1, 300, 128, 1, 2, 1, 298, 0},
    {2, 3, 9, 16, 0, 1, 4, 0, 0}, /* of nothing */
    {3, 2, 5, 3, 2, 0, 0, 3, 77}, /* behind something else */
};

static void tokens_are_copied_and_nothing_else(void **state) {
    for (size_t i = 0; i < TV_COUNT(shapes); i++)
        check(*state, &shapes[i]);
    /* More invocations than one dimension of a grid has workgroups of. */
    check(*state, &(shape){2, 4, 70001, 4, 1, 0, 3, 69997, 0});
}

/* 64 KiB per binding: a slot's heads go in parts. */
static void small_bindings_split_heads(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=4");
    for (size_t i = 0; i < TV_COUNT(shapes); i++)
        if (shapes[i].tokens * shapes[i].head_size * sizeof(float) < 65536)
            check(device, &shapes[i]);
    check(device, &(shape){3, 7, 100, 33, 2, 1, 3, 88, 0});
    tv_device_close(&device);
}

static void mistakes_are_refused(void **state) {
    float zeros[2 * 4 * 2] = {0};
    tv_test_tensor k = tv_test_floats(*state, 16, zeros), v = tv_test_floats(*state, 16, zeros);
    const tv_cache_copy good = {.slots = 2,
                                .kv_heads = 1,
                                .max_tokens = 4,
                                .head_size = 2,
                                .k = k.tensor,
                                .v = v.tensor,
                                .to = 1,
                                .first = 1,
                                .count = 3};
    tv_cache_copy wrong[4] = {good, good, good, good};
    wrong[0].from = 2;
    wrong[1].to = 2;
    wrong[2].from = 1;
    wrong[3].count = 4;
    tv_recorder *recorder = tv_test_begin(*state);
    assert_ok(tv_cache_copy_record(recorder, &good));
    for (int i = 0; i < 4; i++)
        assert_int_equal(tv_cache_copy_record(recorder, &wrong[i]), TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_free(&k);
    tv_test_free(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_copied_and_nothing_else),
        cmocka_unit_test(small_bindings_split_heads),
        cmocka_unit_test(mistakes_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
