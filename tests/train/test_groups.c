/* Gradients of a step as sums of groups (tv_trainer_options.groups): each group's alone, by a trainer that
 * knows nothing of groups, added on the host in fp32 in the order of the groups. One addition has one right
 * result, so bits are compared; every micro-batch has the same number of targets, so that scales are exact.
 */
#include "support/golden.h"

#include <stdlib.h>
#include <string.h>

#include "formats/load.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { B = 2, T = 16, GROUPS = 3, OF_GROUP = 2, ALL = GROUPS * OF_GROUP };

typedef struct rows {
    uint64_t next, vocab;
} rows;

static tv_status fill(void *context, tv_micro_batch *batch) {
    rows *r = context;
    uint64_t number = r->next++;
    for (uint64_t i = 0; i < B * T; i++) {
        batch->tokens[i] = (uint32_t)((number * 977 + i * 29 + 7) % r->vocab);
        batch->targets[i] = (uint32_t)((number * 13 + i * i) % r->vocab);
    }
    return TV_OK;
}

static void accumulate(tv_trainer *trainer, double scale, rows *r, tv_step_result *result) {
    bool has_result;
    assert_ok(tv_trainer_accumulate(trainer, scale, fill, r, result, &has_result));
    assert_false(has_result);
    assert_ok(tv_trainer_drain(trainer, result, &has_result));
    assert_true(has_result);
}

static void get_applied(const tv_model *model, float *flat) {
    const tv_parameter_list *list = tv_model_list(model);
    uint64_t at = 0;
    for (uint32_t i = 0; i < list->count; at += list->items[i++].count)
        assert_ok(tv_download(tv_model_device(model), tv_model_trainable(model, i).gradient.span, flat + at,
                              list->items[i].count * sizeof(float)));
}

static void clear(const tv_model *model) {
    for (uint32_t i = 0; i < tv_model_list(model)->count; i++)
        assert_ok(tv_clear(tv_model_device(model), tv_model_gradient_at(model, i).span));
}

static void a_step_is_its_groups_in_order(void **state) {
    char *path = tv_test_golden_path("gpt2_100k", "");
    tv_model_directory *directory;
    tv_model *model;
    tv_trainer *plain, *grouped;
    tv_step_result result;
    assert_ok(tv_model_directory_open(path, &directory));
    const tv_parameter_list *list = tv_model_directory_parameters(directory);
    assert_ok(tv_model_create(*state, list, true, &model));
    assert_ok(tv_model_load(model, directory));
    float *expected = calloc(list->elements, sizeof *expected), *one = calloc(list->elements, sizeof *one);
    assert_true(expected && one);
    rows r = {.vocab = list->config.vocab_size};
    tv_trainer_options options = {
        .stage = "test", .batch = B, .tokens = T, .grad_accum = OF_GROUP, .train = true};
    assert_ok(tv_trainer_create(model, &options, &plain));
    float losses = 0;
    for (int g = 0; g < GROUPS; g++) {
        accumulate(plain, 1.0 / GROUPS, &r, &result);
        losses += (float)result.stats[0];
        get_applied(model, one);
        clear(model);
        for (uint64_t i = 0; i < list->elements; i++)
            expected[i] += one[i];
    }
    tv_trainer_destroy(&plain);
    options.grad_accum = ALL;
    options.groups = GROUPS;
    assert_ok(tv_trainer_create(model, &options, &grouped));
    r.next = 0;
    accumulate(grouped, 1, &r, &result);
    get_applied(model, one);
    assert_memory_equal(one, expected, list->elements * sizeof *one);
    assert_int_equal(result.terms, ALL * B * T);
    assert_true((float)result.stats[0] == losses);
    for (uint32_t i = 0; i < list->count; i++) { /* and the next group begins at zero */
        assert_ok(tv_download(*state, tv_model_gradient_at(model, i).span, one,
                              list->items[i].count * sizeof(float)));
        for (uint64_t k = 0; k < list->items[i].count; k++)
            assert_true(one[k] == 0);
    }
    tv_trainer_destroy(&grouped);
    tv_model_destroy(&model);
    tv_model_directory_close(&directory);
    tv_free_all(expected, one, path);
}

static void sums_are_planned_and_taken(void **state) {
    char *path = tv_test_golden_path("gpt2_100k", "");
    tv_model_directory *directory;
    tv_model *model;
    tv_trainer *trainer;
    tv_trainer_bytes one, more;
    assert_ok(tv_model_directory_open(path, &directory));
    const tv_parameter_list *list = tv_model_directory_parameters(directory);
    tv_trainer_options options = {.stage = "test", .batch = B, .tokens = T, .grad_accum = 4, .train = true};
    assert_ok(tv_trainer_measure(list, tv_device_caps(*state), &options, &one));
    options.groups = 2;
    assert_ok(tv_trainer_measure(list, tv_device_caps(*state), &options, &more));
    assert_true(more.sums > 0 && more.sums == more.model.gradients);
    assert_int_equal(more.total, one.total + more.sums);
    uint64_t before = tv_device_bytes(*state);
    assert_ok(tv_model_create(*state, list, true, &model));
    assert_ok(tv_trainer_create(model, &options, &trainer));
    assert_int_equal(tv_device_bytes(*state) - before, more.total);
    tv_trainer_destroy(&trainer);
    options.groups = 3;
    assert_int_equal(tv_trainer_create(model, &options, &trainer), TV_E_USAGE);
    tv_model_destroy(&model);
    tv_model_directory_close(&directory);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_step_is_its_groups_in_order),
                                       cmocka_unit_test(sums_are_planned_and_taken)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
