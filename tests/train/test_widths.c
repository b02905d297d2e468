/* Narrow micro-batches (tv_trainer_options.narrow) against the same ones padded to T by a trainer that knows
 * nothing of widths: losses of every target, statistics, and the gradient of every parameter.
 *
 * Tolerances: a row is the same sums at every width, so losses may differ by a few roundings of a value of
 * 10 (1e-5); a gradient adds up the same rows in blocks that the padding shifts: some 1e-7 of its length, and
 * 1e-5 is a fiftieth of what one wrong row of a thousand makes. The device's sum of some 200 losses, each 5
 * to 10, adds up what the padding shifts among lanes: some 30 roundings on a path at 16 lanes, 6e-8 each and
 * independent, of a mean of 10 are 3e-6; a target left out or counted twice is 1e-2.
 *
 * Tried on 2026-11-27: every micro-batch replayed at the width T, or at the first one's width; the forward
 * pass told of all rows of T; no scratch kept for fewer rows: each fails.
 */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/tokens.h"
#include "kernels/reduce.h"
#include "support/open_model.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { B = 3, T = 40, MICRO_BATCHES = 3, TARGETS = B * T };

typedef struct fixture {
    tv_device *device;
    tv_model_directory *directory;
    tv_model *model;
} fixture;

static fixture open_model(tv_device *device, const char *name) {
    fixture f = {.device = device};
    char *path = tv_test_golden_path(name, "");
    tv_test_open_model(device, path, true, &f.directory, &f.model);
    free(path);
    return f;
}

static void close_model(fixture *f) {
    tv_model_destroy(&f->model);
    tv_model_directory_close(&f->directory);
}

/* Micro-batch i has rows of up to longest[i] tokens, row b three fewer than the one before. */
typedef struct rows {
    uint64_t longest[MICRO_BATCHES], next, vocab;
    uint64_t widths[MICRO_BATCHES]; /* as they came */
} rows;

static tv_status fill(void *context, tv_micro_batch *batch) {
    rows *r = context;
    uint64_t number = r->next++ % MICRO_BATCHES, longest = r->longest[number];
    tv_micro_batch_narrow(batch, longest);
    r->widths[number] = batch->width;
    for (uint64_t b = 0; b < B; b++)
        for (uint64_t t = 0; t < batch->width; t++) {
            uint64_t at = b * batch->width + t, length = longest > 3 * b ? longest - 3 * b : 1;
            uint32_t token = (uint32_t)((number * 977 + b * 131 + t * 29 + 7) % r->vocab);
            batch->tokens[at] = t < length ? token : 0;
            batch->targets[at] =
                t < length && t % 4 != 1 ? (uint32_t)((token * 13 + t) % r->vocab) : TV_IGNORED_TARGET;
        }
    return TV_OK;
}

/* What a trainer makes of them. */
typedef struct outcome {
    double losses[MICRO_BATCHES][TARGETS]; /* of the targets that count, one after another */
    uint64_t counts[MICRO_BATCHES], seen;
    tv_step_result step;
    float *gradient;
    rows rows;
} outcome;

static tv_status keep_losses(void *context, const float *losses, const uint32_t *targets, uint64_t count) {
    outcome *o = context;
    uint64_t number = o->seen++;
    for (uint64_t i = 0; i < count; i++)
        if (targets[i] != TV_IGNORED_TARGET)
            o->losses[number][o->counts[number]++] = (double)losses[i];
    return TV_OK;
}

static outcome run(const fixture *f, bool narrow, bool recompute, const uint64_t longest[MICRO_BATCHES]) {
    const tv_parameter_list *list = tv_model_list(f->model);
    const tv_trainer_options options = {.stage = "test",
                                        .batch = B,
                                        .tokens = T,
                                        .grad_accum = MICRO_BATCHES,
                                        .narrow = narrow,
                                        .recompute = recompute,
                                        .train = true};
    outcome o = {.rows = {.vocab = list->config.vocab_size}, .gradient = calloc(list->elements, 4)};
    memcpy(o.rows.longest, longest, sizeof o.rows.longest);
    tv_trainer *trainer = NULL;
    double sum;
    uint64_t targets;
    bool has_result;
    assert_non_null(o.gradient);
    for (uint32_t i = 0; i < list->count; i++)
        assert_ok(tv_clear(f->device, tv_model_gradient_at(f->model, i).span));
    assert_ok(tv_trainer_create(f->model, &options, &trainer));
    assert_ok(tv_trainer_evaluate(trainer, MICRO_BATCHES, fill, &o.rows, keep_losses, &o, &sum, &targets));
    assert_int_equal(targets, o.counts[0] + o.counts[1] + o.counts[2]);
    assert_ok(tv_trainer_accumulate(trainer, 1, fill, &o.rows, &o.step, &has_result));
    assert_false(has_result);
    assert_ok(tv_trainer_drain(trainer, &o.step, &has_result));
    assert_true(has_result);
    uint64_t at = 0;
    for (uint32_t i = 0; i < list->count; at += list->items[i++].count)
        assert_ok(tv_download(f->device, tv_model_gradient_at(f->model, i).span, o.gradient + at,
                              list->items[i].count * sizeof(float)));
    tv_trainer_destroy(&trainer);
    return o;
}

static void check_gradients(const tv_parameter_list *list, const float *narrow, const float *wide) {
    for (uint32_t i = 0; i < list->count; narrow += list->items[i].count, wide += list->items[i++].count) {
        double distance = 0, length = 0;
        for (uint64_t k = 0; k < list->items[i].count; k++) {
            double d = (double)narrow[k] - (double)wide[k];
            distance += d * d;
            length += (double)wide[k] * (double)wide[k];
        }
        if (!(sqrt(distance) <= 1e-5 * sqrt(length)))
            fail_msg("parameter %u: gradients differ by %.3g of %.3g", i, sqrt(distance), sqrt(length));
    }
}

static void compare(const fixture *f, bool recompute, const uint64_t longest[MICRO_BATCHES],
                    const uint64_t widths[MICRO_BATCHES]) {
    outcome narrow = run(f, true, recompute, longest), wide = run(f, false, recompute, longest);
    for (int m = 0; m < MICRO_BATCHES; m++) {
        assert_int_equal(narrow.rows.widths[m], widths[m]);
        assert_int_equal(wide.rows.widths[m], T);
        assert_int_equal(narrow.counts[m], wide.counts[m]);
        for (uint64_t i = 0; i < wide.counts[m]; i++)
            if (!(fabs(narrow.losses[m][i] - wide.losses[m][i]) <= 1e-5))
                fail_msg("micro-batch %d, target %d: loss %.9g, padded %.9g", m, (int)i, narrow.losses[m][i],
                         wide.losses[m][i]);
    }
    assert_int_equal(narrow.step.terms, wide.step.terms);
    assert_near(narrow.step.loss, wide.step.loss, 1e-5);
    check_gradients(tv_model_list(f->model), narrow.gradient, wide.gradient);
    free(narrow.gradient);
    free(wide.gradient);
}

static void a_narrow_batch_is_a_wide_one(void **state) {
    static const char *const names[] = {"gpt2_100k", "llama_100k"};
    static const uint64_t longest[][MICRO_BATCHES] = {{17, 8, 9}, {1, 40, 33}};
    static const uint64_t widths[][MICRO_BATCHES] = {{24, 8, 16}, {8, 40, 40}};
    for (int m = 0; m < 2; m++) {
        fixture f = open_model(*state, names[m]);
        for (size_t i = 0; i < TV_COUNT(longest); i++)
            compare(&f, i == 1, longest[i], widths[i]);
        close_model(&f);
    }
}

static void widths_take_no_memory(void **state) {
    fixture f = open_model(*state, "gpt2_100k");
    tv_trainer_options options = {.stage = "test", .batch = B, .tokens = T, .train = true};
    tv_trainer_bytes wide, narrow;
    assert_ok(tv_trainer_measure(tv_model_list(f.model), tv_device_caps(*state), &options, &wide));
    options.narrow = true;
    assert_ok(tv_trainer_measure(tv_model_list(f.model), tv_device_caps(*state), &options, &narrow));
    assert_int_equal(narrow.total, wide.total);
    close_model(&f);
}

/* A block of column sums grows with the rows in steps, at which the blocks become fewer. */
static void scratch_serves_fewer_rows(void **state) {
    (void)state;
    for (uint64_t all = 1; all < 70000; all += 1 + all / 50)
        for (uint64_t fewer = 1; fewer <= all; fewer += 1 + fewer / 20)
            if (tv_sum_rows_scratch(fewer, 12) > tv_sum_rows_scratch(all, 12) ||
                tv_reduce_scratch(fewer) > tv_reduce_scratch(all))
                fail_msg("%d rows need more scratch than %d", (int)fewer, (int)all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_narrow_batch_is_a_wide_one),
        cmocka_unit_test(widths_take_no_memory),
        cmocka_unit_test(scratch_serves_fewer_rows),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
