/* Gradients of a step as sums of groups (tv_trainer_options.groups): each group's alone, by a trainer that
 * knows nothing of groups, added on the host in fp32 in the order of the groups, as they are or rounded to
 * bf16 with the error of each group kept over steps. One addition has one right result, so bits are compared;
 * every micro-batch has the same number of targets, so that scales are exact. Breaks that were seen to fail:
 * errors of all groups in one place, none brought before a group, the state of another trainer, errors of a
 * skipped update added or written, none read, a state that begins as skipped; moments or errors of a file not
 * looked at.
 */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "oracle/group_round.h"
#include "run/moments.h"
#include "support/open_model.h"
#include "train/step.h"
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

typedef struct lab {
    tv_model_directory *directory;
    const tv_parameter_list *list;
    tv_model *model;
    tv_trainer *trainer;
    rows r;
} lab;

static lab open_model(tv_device *device) {
    char *path = tv_test_golden_path("gpt2_100k", "");
    lab l = {0};
    tv_test_open_model(device, path, true, &l.directory, &l.model);
    l.list = tv_model_list(l.model);
    l.r.vocab = l.list->config.vocab_size;
    free(path);
    return l;
}

/* Another trainer for the model, and the batches from the first on. */
static void begin(lab *l, const tv_trainer_options *options) {
    tv_trainer_destroy(&l->trainer);
    assert_ok(tv_trainer_create(l->model, options, &l->trainer));
    l->r.next = 0;
}

static void close_lab(lab *l) {
    tv_trainer_destroy(&l->trainer);
    tv_model_destroy(&l->model);
    tv_model_directory_close(&l->directory);
}

static void accumulate(lab *l, double scale, tv_step_result *result) {
    bool has_result;
    assert_ok(tv_trainer_accumulate(l->trainer, scale, fill, &l->r, result, &has_result));
    assert_false(has_result);
    assert_ok(tv_trainer_drain(l->trainer, result, &has_result));
    assert_true(has_result);
}

static void get_applied(const tv_model *model, float *flat) {
    const tv_parameter_list *list = tv_model_list(model);
    uint64_t at = 0;
    for (uint32_t i = 0; i < list->count; at += list->items[i++].count)
        assert_ok(tv_download(tv_model_device(model), tv_model_trainable(model, i).gradient.span, flat + at,
                              list->items[i].count * sizeof(float)));
}

static void get_weights(const tv_model *model, float *flat) {
    const tv_parameter_list *list = tv_model_list(model);
    for (uint32_t i = 0; i < list->count; flat += list->items[i++].count)
        assert_ok(tv_download(tv_model_device(model), tv_model_parameter_at(model, i).span, flat,
                              list->items[i].count * sizeof *flat));
}

static void clear(const tv_model *model) {
    for (uint32_t i = 0; i < tv_model_list(model)->count; i++)
        assert_ok(tv_clear(tv_model_device(model), tv_model_gradient_at(model, i).span));
}

static void a_step_is_its_groups_in_order(void **state) {
    lab l = open_model(*state);
    const uint64_t elements = l.list->elements;
    float *expected = calloc(elements, sizeof *expected), *one = calloc(elements, sizeof *one);
    assert_true(expected && one);
    tv_step_result result;
    tv_trainer_options options = {
        .stage = "test", .batch = B, .tokens = T, .grad_accum = OF_GROUP, .train = true};
    begin(&l, &options);
    float losses = 0;
    for (int g = 0; g < GROUPS; g++) {
        accumulate(&l, 1.0 / GROUPS, &result);
        losses += (float)result.stats[0];
        get_applied(l.model, one);
        clear(l.model);
        for (uint64_t i = 0; i < elements; i++)
            expected[i] += one[i];
    }
    options.grad_accum = ALL;
    options.groups = GROUPS;
    begin(&l, &options);
    accumulate(&l, 1, &result);
    get_applied(l.model, one);
    assert_memory_equal(one, expected, elements * sizeof *one);
    assert_int_equal(result.terms, ALL * B * T);
    assert_true((float)result.stats[0] == losses);
    for (uint32_t i = 0; i < l.list->count; i++) { /* and the next group begins at zero */
        assert_ok(tv_download(*state, tv_model_gradient_at(l.model, i).span, one,
                              l.list->items[i].count * sizeof(float)));
        for (uint64_t k = 0; k < l.list->items[i].count; k++)
            assert_true(one[k] == 0);
    }
    tv_free_all(expected, one);
    close_lab(&l);
}

/* Errors of group `group`, kept on the device, against expected ones. */
static void compare_errors(const tv_model *model, uint64_t group, const double *expected) {
    const tv_parameter_list *list = tv_model_list(model);
    uint16_t *error = calloc(list->elements, sizeof *error);
    assert_non_null(error);
    uint64_t at = 0, there = 0;
    for (uint32_t i = 0; i < list->count; at += list->items[i++].count) {
        const uint64_t count = list->items[i].count;
        assert_ok(tv_download(tv_model_device(model), tv_model_error_at(model, i, group).span, error,
                              count * sizeof *error));
        for (uint64_t k = 0; k < count; k++) {
            if ((double)tv_bfloat16_to_float(error[k]) != expected[at + k])
                fail_msg("group %d, %s[%d]: expected an error of %g, found %g", (int)group,
                         list->items[i].name, (int)k, expected[at + k],
                         (double)tv_bfloat16_to_float(error[k]));
            there += error[k] != 0;
        }
    }
    assert_true(there > list->elements / 2);
    free(error);
}

static void check_rounded(tv_device *device, float loss_scale) {
    enum { STEPS = 3 };
    lab l = open_model(device);
    const uint64_t elements = l.list->elements;
    float *expected = calloc(STEPS * elements, sizeof *expected), *one = calloc(elements, sizeof *one);
    double *errors = calloc(GROUPS * elements, sizeof *errors);
    assert_true(expected && one && errors);
    tv_step_result result;
    tv_trainer_options options = {.stage = "test",
                                  .batch = B,
                                  .tokens = T,
                                  .grad_accum = OF_GROUP,
                                  .loss_scale = loss_scale,
                                  .train = true};
    begin(&l, &options);
    for (uint64_t g = 0; g < STEPS * GROUPS; g++) {
        accumulate(&l, 1.0 / GROUPS, &result);
        get_applied(l.model, one);
        clear(l.model);
        for (uint64_t i = 0; i < elements; i++)
            expected[g / GROUPS * elements + i] += (float)oracle_group_round(
                one[i], &errors[g % GROUPS * elements + i], loss_scale > 0 ? (double)loss_scale : 1);
    }
    options.grad_accum = ALL;
    options.groups = GROUPS;
    options.group_type = TV_BF16;
    begin(&l, &options);
    for (uint64_t step = 0; step < STEPS; step++) {
        accumulate(&l, 1, &result);
        get_applied(l.model, one);
        assert_memory_equal(one, expected + step * elements, elements * sizeof *one);
        for (uint32_t i = 0; i < l.list->count; i++)
            assert_ok(tv_clear(device, tv_model_trainable(l.model, i).gradient.span));
    }
    for (uint64_t g = 0; g < GROUPS; g++)
        compare_errors(l.model, g, errors + g * elements);
    tv_free_all(expected, one, errors);
    close_lab(&l);
}

static void rounded_groups_keep_their_errors(void **state) {
    check_rounded(*state, 0);
    check_rounded(*state, 1024);
}

static const tv_trainer_options rounded = {.stage = "test",
                                           .batch = B,
                                           .tokens = T,
                                           .grad_accum = GROUPS,
                                           .groups = GROUPS,
                                           .group_type = TV_BF16,
                                           .train = true};

static lab open_rounded(tv_device *device) {
    lab l = open_model(device);
    begin(&l, &rounded);
    return l;
}

static void update(lab *l, bool applied) {
    const struct tv_step_constants constants = tv_step_constants_make(1e-2, 0.1, 0.9, 0.95, 1e-8, 1);
    tv_step_result result;
    bool has_result;
    assert_ok(tv_trainer_step(l->trainer, &constants, fill, &l->r, &result, &has_result));
    assert_ok(tv_trainer_drain(l->trainer, &result, &has_result));
    assert_int_equal(result.state.finite, applied);
}

/* Of every parameter and group, one behind the other; the caller frees. */
static uint16_t *read_errors(const tv_model *model) {
    const tv_parameter_list *list = tv_model_list(model);
    uint16_t *errors = calloc(GROUPS * list->elements, sizeof *errors), *at = errors;
    assert_non_null(errors);
    for (uint64_t g = 0; g < GROUPS; g++)
        for (uint32_t i = 0; i < list->count; at += list->items[i++].count)
            assert_ok(tv_download(tv_model_device(model), tv_model_error_at(model, i, g).span, at,
                                  list->items[i].count * sizeof *at));
    return errors;
}

/* Gradients of a loss times 1e40 leave errors of their size where they are numbers at all. */
static void a_skipped_update_drops_its_errors(void **state) {
    lab skipping = open_rounded(*state), fresh = open_rounded(*state);
    tv_step_result result;
    accumulate(&skipping, 1e40, &result);
    uint16_t *errors = read_errors(skipping.model);
    float largest = 0;
    for (uint64_t i = 0; i < GROUPS * skipping.list->elements; i++)
        largest = fmaxf(largest, fabsf(tv_bfloat16_to_float(errors[i])));
    assert_true(largest > 1e20F && isfinite(largest));
    free(errors);
    update(&skipping, false);
    skipping.r.next = fresh.r.next = 77;
    update(&skipping, true);
    update(&fresh, true);
    const uint64_t elements = fresh.list->elements;
    float *a = calloc(elements, sizeof *a), *b = calloc(elements, sizeof *b);
    assert_true(a && b);
    get_weights(skipping.model, a);
    get_weights(fresh.model, b);
    assert_memory_equal(a, b, elements * sizeof *a);
    tv_free_all(a, b);
    close_lab(&skipping);
    close_lab(&fresh);
}

/* `bytes` of a file with other ones from `place` on, which is read and refused with `words`. */
static void expect_damage(const char *folder, const char *path, const char *bytes, uint64_t size,
                          uint64_t place, const char *others, uint64_t count, tv_model *model,
                          const char *words) {
    char *damaged = malloc(size);
    assert_non_null(damaged);
    memcpy(damaged, bytes, size);
    memcpy(damaged + place, others, count);
    assert_ok(tv_write_file(path, damaged, size));
    assert_fails(tv_moments_read(folder, model), TV_E_DATA, words);
    free(damaged);
}

/* A checkpoint has the errors, but for those of an update that was skipped; what is none is refused. */
static void checkpoints_have_the_errors(void **state) {
    lab l = open_rounded(*state), next = open_rounded(*state);
    char *folder = tv_test_dir(), *path, *bytes;
    uint64_t size;
    assert_non_null(folder);
    const uint64_t all = GROUPS * l.list->elements * sizeof(uint16_t);
    update(&l, true);
    uint16_t *before = read_errors(l.model), *zeros = calloc(1, all);
    assert_non_null(zeros);
    assert_ok(tv_moments_write(folder, l.model, true));
    assert_ok(tv_moments_read(folder, next.model));
    uint16_t *after = read_errors(next.model);
    assert_memory_equal(after, zeros, all);
    free(after);
    assert_ok(tv_moments_write(folder, l.model, false));
    assert_ok(tv_moments_read(folder, next.model));
    after = read_errors(next.model);
    assert_memory_equal(after, before, all);
    path = tv_format("%s/training_state/optimizer.safetensors", folder);
    assert_non_null(path);
    assert_ok(tv_read_file(path, &bytes, &size));
    const char *type = memmem(bytes, size, "\"BF16\"", 6),
               *error = memmem(bytes, size, "rounding_error/1", 16);
    assert_true(type && error);
    uint64_t header;
    memcpy(&header, bytes, sizeof header);
    const uint64_t data = sizeof header + header, squares = data + 4 * tv_model_list(l.model)->elements;
    const struct {
        uint64_t place;
        const char *bytes;
        uint64_t count;
        const char *words;
    } damages[] = {
        {(uint64_t)(type - bytes), "\"F16\" ", 6, "elements of type BF16"},
        {(uint64_t)(error - bytes), "rounding_error/7", 16, "beside others of its kind, found none"},
        {data, "\0\0\xc0\x7f", 4, "holds nan, which is no moment"},
        {squares, "\0\0\x80\xbf", 4, "holds -1, which is no moment"},
        {squares - 4, "\0\0\x80\x7f", 4, "holds inf, which is no moment"},
        {size - 2, "\xc0\x7f", 2, "holds nan, which no rounding leaves over"},
        {size - all, "\x80\xff", 2, "holds -inf, which no rounding leaves over"},
    };
    for (size_t i = 0; i < TV_COUNT(damages); i++)
        expect_damage(folder, path, bytes, size, damages[i].place, damages[i].bytes, damages[i].count,
                      next.model, damages[i].words);
    assert_ok(tv_write_file(path, bytes, size));
    assert_ok(tv_moments_read(folder, next.model));
    tv_test_dir_remove(&folder);
    tv_free_all(before, after, zeros, path, bytes);
    close_lab(&l);
    close_lab(&next);
}

static void sums_are_planned_and_taken(void **state) {
    const uint64_t before = tv_device_bytes(*state);
    lab l = open_model(*state);
    tv_trainer *refused;
    tv_trainer_bytes one, more;
    tv_trainer_options options = {.stage = "test", .batch = B, .tokens = T, .grad_accum = 4, .train = true};
    assert_ok(tv_trainer_measure(l.list, tv_device_caps(*state), &options, &one));
    options.groups = 2;
    assert_ok(tv_trainer_measure(l.list, tv_device_caps(*state), &options, &more));
    assert_true(more.sums > 0 && more.sums == more.model.gradients);
    assert_int_equal(more.total, one.total + more.sums);
    begin(&l, &options);
    assert_int_equal(tv_device_bytes(*state) - before, more.total);
    options.group_type = TV_BF16;
    assert_ok(tv_trainer_measure(l.list, tv_device_caps(*state), &options, &one));
    assert_true(one.errors == 3 * one.model.gradients / 2 && one.total == more.total + one.errors);
    begin(&l, &options);
    assert_int_equal(tv_device_bytes(*state) - before, one.total);
    options.groups = 1;
    assert_int_equal(tv_trainer_create(l.model, &options, &refused), TV_E_USAGE);
    options.group_type = TV_F32;
    options.groups = 3;
    assert_int_equal(tv_trainer_create(l.model, &options, &refused), TV_E_USAGE);
    close_lab(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_step_is_its_groups_in_order), cmocka_unit_test(rounded_groups_keep_their_errors),
        cmocka_unit_test(a_skipped_update_drops_its_errors), cmocka_unit_test(checkpoints_have_the_errors),
        cmocka_unit_test(sums_are_planned_and_taken)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
