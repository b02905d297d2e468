/* model/stretches: who keeps what of a model that several ranks train. Everything is kept once, cuts are
 * where nothing depends on them, and what the memory report says of a rank's moments is its share.
 */
#include "support/device.h"

#include <stdlib.h>

#include "kernels/update_plan.h"
#include "model/model.h"
#include "push_constants.h"

/* GPT-2 of 12.3 million parameters. */
static tv_model_config gpt2(void) {
    tv_model_config config = tv_model_config_defaults(TV_ARCH_GPT2);
    config.vocab_size = 4096;
    config.n_layer = 6;
    config.n_head = config.n_kv_head = 6;
    config.head_size = 64;
    config.channels = 384;
    config.ffn = 4 * config.channels;
    config.max_positions = 256;
    return config;
}

static tv_parameter_list *list_of(tv_optimizer optimizer, tv_dtype storage, uint32_t owners) {
    const tv_model_config config = gpt2();
    tv_parameter_list *plain, *list;
    assert_ok(tv_parameter_list_create(&config, &plain));
    tv_dtype *types = calloc(plain->count, sizeof *types);
    assert_non_null(types);
    for (uint32_t i = 0; i < plain->count; i++)
        types[i] = storage;
    const tv_parameter_choice choice = {.optimizer = optimizer, .storage = types};
    assert_ok(tv_parameter_list_create_chosen(&config, &choice, &list));
    list->owners = (tv_owners){0, owners};
    tv_parameter_list_destroy(&plain);
    free(types);
    return list;
}

static void check_cut(const tv_parameter_list *list, const tv_stretch *s) {
    const tv_parameter *p = &list->items[s->parameter];
    if (s->count == p->count)
        return;
    const uint64_t piece =
        p->optimizer == TV_OPTIMIZER_ADAMW8 ? tv_update_moment8_granule() : (uint64_t)TV_REDUCE_BLOCK;
    assert_int_equal(s->first % piece, 0);
    assert_int_equal(s->first % p->shape[1], 0);
    uint64_t rows[TV_PARAMETER_MATRICES], begin = 0;
    uint32_t matrices = p->optimizer == TV_OPTIMIZER_MUON ? tv_parameter_matrices(&list->config, p, rows) : 0,
             found = 0;
    for (uint32_t m = 0; m < matrices; begin += rows[m++] * p->shape[1])
        found += s->first == begin && s->count == rows[m] * p->shape[1];
    assert_int_equal(found, matrices > 0);
}

static void check(const tv_parameter_list *list) {
    tv_stretches *all;
    assert_ok(tv_stretches_create(list, &all));
    uint64_t next = 0;
    uint32_t s = 0, last_bucket = UINT32_MAX, filled = 0;
    bool seen[256] = {false};
    for (uint32_t i = 0; i < list->count; i++) {
        for (next = 0; next < list->items[i].count; next += all->items[s++].count) {
            assert_true(s < all->count && all->items[s].parameter == i && all->items[s].first == next);
            assert_true(all->items[s].owner < list->owners.count);
            /* The end of the list is finished first. */
            assert_true(all->items[s].bucket < all->bucket_count && all->items[s].bucket <= last_bucket);
            assert_true(all->items[s].bucket < TV_COUNT(seen));
            filled += !seen[all->items[s].bucket];
            seen[all->items[s].bucket] = true;
            check_cut(list, &all->items[s]);
        }
        last_bucket = all->items[s - 1].bucket;
        assert_int_equal(next, list->items[i].count);
    }
    assert_int_equal(s, all->count);
    assert_true(all->bucket_count >= 6 && filled == all->bucket_count);
    tv_stretches_destroy(&all);
}

static void everything_is_kept_once_and_evenly(void **state) {
    static const tv_optimizer optimizers[] = {TV_OPTIMIZER_ADAMW, TV_OPTIMIZER_ADAMW8, TV_OPTIMIZER_MUON};
    static const tv_dtype types[] = {TV_F32, TV_BF16, TV_Q8_0};
    static const uint32_t owners[] = {2, 3, 4};
    for (size_t o = 0; o < TV_COUNT(optimizers); o++)
        for (size_t t = 0; t < TV_COUNT(types); t++)
            for (size_t n = 0; n < TV_COUNT(owners); n++) {
                tv_parameter_list *list = list_of(optimizers[o], types[t], owners[n]);
                tv_model_bytes alone, own;
                check(list);
                list->owners.count = 1;
                assert_ok(tv_model_measure(list, tv_device_caps(*state), true, &alone));
                list->owners.count = owners[n];
                for (uint32_t r = 0; r < owners[n]; r++) {
                    list->owners.own = r;
                    assert_ok(tv_model_measure(list, tv_device_caps(*state), true, &own));
                    const double share = (double)own.moments * owners[n] / (double)alone.moments;
                    if (!(share >= 0.98 && share <= 1.02))
                        fail_msg("rank %u of %u keeps %.3f of its share of the moments", r, owners[n], share);
                    assert_true(own.gradients == alone.gradients && own.parameters == alone.parameters);
                }
                tv_parameter_list_destroy(&list);
            }
}

/* And without a bucket, as nothing goes round. */
static void one_owner_keeps_parameters_whole(void **state) {
    (void)state;
    tv_parameter_list *list = list_of(TV_OPTIMIZER_ADAMW, TV_F32, 1);
    tv_stretches *all;
    assert_ok(tv_stretches_create(list, &all));
    assert_true(all->count == list->count && all->bucket_count == 0);
    for (uint32_t s = 0; s < all->count; s++)
        assert_true(all->items[s].parameter == s && all->items[s].first == 0 &&
                    all->items[s].count == list->items[s].count);
    tv_stretches_destroy(&all);
    tv_parameter_list_destroy(&list);
}

/* A model of one owner of several is what was measured, and says so of what others keep. */
static void a_model_keeps_what_was_measured(void **state) {
    tv_parameter_list *list = list_of(TV_OPTIMIZER_ADAMW, TV_BF16, 4);
    tv_model_bytes bytes;
    tv_model *model;
    list->owners.own = 2;
    assert_ok(tv_model_measure(list, tv_device_caps(*state), true, &bytes));
    const uint64_t before = tv_device_bytes(*state);
    assert_ok(tv_model_create(*state, list, true, &model));
    assert_int_equal(tv_device_bytes(*state) - before,
                     bytes.parameters + bytes.masters + bytes.gradients + bytes.moments);
    assert_ok(tv_model_keep_sums(model));
    assert_int_equal(tv_device_bytes(*state) - before,
                     bytes.parameters + bytes.masters + bytes.gradients + bytes.moments + bytes.sums);
    const tv_stretches *all = tv_model_stretches(model);
    float value;
    for (uint32_t s = 0, own = 0; s < all->count; s++) {
        const bool mine = all->items[s].owner == 2;
        assert_int_equal(tv_model_stretch_own(model, s), mine ? own++ : UINT32_MAX);
        assert_int_equal(tv_model_state(model, s, 0, 0, sizeof value, &value), mine ? TV_OK : TV_E_USAGE);
    }
    tv_model_destroy(&model);
    tv_parameter_list_destroy(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_is_kept_once_and_evenly),
                                       cmocka_unit_test(one_owner_keeps_parameters_whole),
                                       cmocka_unit_test(a_model_keeps_what_was_measured)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
