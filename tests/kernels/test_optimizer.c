/* kernels/optimizer against the oracle.
 *
 * Norm: a block's sum of squares errs by at most 40 additions and one squaring, 42 * 6e-8, random in sign;
 * the compensated sum over blocks adds nothing; the root halves it: 1e-6 relative.
 *
 * AdamW: a step takes about ten roundings, and GPUs' square roots and quotients err by 3 units: below 2e-6 of
 * the step; rounding the parameter twice adds 1.2e-7 of it. In all, 2e-6 of the way it went and 1.2e-7 |p| a
 * step.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/optimizer.h"
#include "oracle/optimizer.h"
#include "push_constants.h"
#include "vk/transfer.h"

static const oracle_adamw_settings usual = {
    .lr = 0.01, .weight_decay = 0.1, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};

static tv_step_constants step_constants(const oracle_adamw_settings *settings, float grad_clip) {
    return (tv_step_constants){.lr = (float)settings->lr,
                               .weight_decay = (float)settings->weight_decay,
                               .beta1 = (float)settings->beta1,
                               .beta2 = (float)settings->beta2,
                               .log_beta1 = (float)log(settings->beta1),
                               .log_beta2 = (float)log(settings->beta2),
                               .eps = (float)settings->eps,
                               .grad_clip = grad_clip,
                               .loss_scale = 1};
}

enum { ADAMW_SPANS = TV_UPDATE_V + 1 };

/* ---- plans ---- */

/* An update of these tensors with its table on the device. */
typedef struct planned {
    tv_update_plan *plan;
    tv_test_tensor table, partials, step, state;
    tv_update update;
} planned;

static planned plan_update(tv_device *device, const tv_update_tensor *tensors, uint32_t count,
                           const tv_step_constants *constants, const tv_update_state *state) {
    planned p;
    assert_ok(tv_update_plan_create(tv_device_caps(device), tensors, count, &p.plan));
    uint64_t most = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t segments;
        assert_ok(tv_update_segments(tv_device_caps(device), tensors[i].count, &segments));
        most += segments;
    }
    assert_true(p.plan->segment_count <= most);
    p.table = tv_test_bytes(device, p.plan->segment_count * sizeof *p.plan->table, p.plan->table);
    p.partials = tv_test_floats(device, p.plan->partials, NULL);
    p.step = tv_test_bytes(device, sizeof *constants, constants);
    p.state = tv_test_bytes(device, sizeof *state, state);
    p.update = (tv_update){p.plan, p.table.tensor, p.partials.tensor, p.step.tensor, p.state.tensor};
    return p;
}

static void free_plan(planned *p) {
    tv_update_plan_destroy(&p->plan);
    tv_test_free(&p->table);
    tv_test_free(&p->partials);
    tv_test_free(&p->step);
    tv_test_free(&p->state);
}

/* ---- the norm ---- */

enum { MAX_TENSORS = 4 };

/* The norm of up to four gradients of given sizes, which lie in `x` one after another. */
static tv_update_state run_norm(tv_device *device, const uint64_t *counts, uint32_t tensors, const float *x,
                                float grad_clip, tv_update_state before) {
    tv_step_constants constants = step_constants(&usual, grad_clip);
    tv_test_tensor gradients[MAX_TENSORS];
    tv_update_tensor trained[MAX_TENSORS];
    for (uint32_t i = 0; i < tensors; i++) {
        gradients[i] = tv_test_floats(device, counts[i], x);
        trained[i] = (tv_update_tensor){
            .count = counts[i], .rule = TV_UPDATE_ELSEWHERE, .gradient = gradients[i].tensor};
        x += counts[i];
    }
    planned p = plan_update(device, trained, tensors, &constants, &before);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gradient_norm_add(recorder, &p.update));
    assert_ok(tv_gradient_norm_finish(recorder, &p.update));
    tv_test_run(device, recorder);
    tv_update_state after;
    tv_test_read(&p.state, &after);
    float *sums = malloc(p.plan->partials * sizeof *sums);
    tv_test_read(&p.partials, sums);
    free(sums);
    for (uint32_t i = 0; i < tensors; i++)
        tv_test_free(&gradients[i]);
    free_plan(&p);
    return after;
}

static void norm_equals_the_oracle(void **state) {
    const uint64_t counts[][MAX_TENSORS] = {{1, 1, 3, 17}, {65, 4096, 4097, 5}, {300001, 2, 70000, 8191}};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        uint64_t total = 0;
        for (int i = 0; i < MAX_TENSORS; i++)
            total += counts[c][i];
        float *x = malloc(total * sizeof *x);
        tv_test_random(x, total, c);
        double norm = oracle_norm(total, x);
        tv_update_state before = {.applied = 41, .skipped = 3, .skipped_in_row = 2};
        for (int clips = 0; clips < 2; clips++) {
            float grad_clip = clips ? (float)norm / 4 : (float)norm * 4;
            tv_update_state after = run_norm(*state, counts[c], MAX_TENSORS, x, grad_clip, before);
            assert_near(after.grad_norm, norm, 1e-6 * norm);
            assert_near(after.clip_scale, clips ? 0.25 : 1, 1e-6);
            assert_int_equal(after.finite, 1);
            assert_int_equal(after.applied, 42);
            assert_int_equal(after.skipped, 3);
            assert_int_equal(after.skipped_in_row, 0);
        }
        assert_near(run_norm(*state, counts[c], MAX_TENSORS, x, 0, before).clip_scale, 1, 0);
        free(x);
    }
}

static void norm_survives_what_squares_do_not(void **state) {
    /* 1e20 squared is over fp32; beside it a block of small ones, which its scale must not hide elsewhere. */
    const uint64_t counts[] = {5001, 70001};
    uint64_t total = counts[0] + counts[1];
    float *x = malloc(total * sizeof *x);
    const float sizes[] = {1e13f, 1e20f, 1e30f, 3e38f};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        tv_test_random(x, total, s);
        x[5000] = -sizes[s];
        x[counts[0] + 4097] = sizes[s] / 3;
        double norm = oracle_norm(total, x);
        tv_update_state after = run_norm(*state, counts, 2, x, 1, (tv_update_state){0});
        assert_near(after.grad_norm, norm, 1e-6 * norm);
        assert_int_equal(after.finite, 1);
        if (sizes[s] < 1e37f) /* else the scale is a denormal, which devices may flush */
            assert_near(after.clip_scale * after.grad_norm, 1, 1e-6);
        /* Without clipping AdamW would square it. */
        after = run_norm(*state, counts, 2, x, 0, (tv_update_state){0});
        assert_near(after.grad_norm, norm, 1e-6 * norm);
        assert_int_equal(after.finite, sizes[s] < 9e18f);
    }
    /* A large and a small block together: both count. 2^41 in one, sqrt(76 * 4096) times 2^31.5 in the
     * others. */
    for (uint64_t i = 0; i < total; i++)
        x[i] = i == 0 ? 0x1p41f : 0x1p33f;
    double norm = oracle_norm(total, x);
    assert_near(run_norm(*state, counts, 2, x, 1, (tv_update_state){0}).grad_norm, norm, 1e-6 * norm);
    /* Each element is finite and the norm is not. */
    for (uint64_t i = 0; i < total; i++)
        x[i] = 3e38f;
    tv_update_state after = run_norm(*state, counts, 2, x, 1, (tv_update_state){0});
    assert_true(isinf(after.grad_norm));
    assert_int_equal(after.finite, 0);
    /* No gradient at all. */
    memset(x, 0, total * sizeof *x);
    after = run_norm(*state, counts, 2, x, 1, (tv_update_state){0});
    assert_near(after.grad_norm, 0, 0);
    assert_near(after.clip_scale, 1, 0);
    assert_int_equal(after.finite, 1);
    free(x);
}

static void one_broken_element_skips_the_update(void **state) {
    const uint64_t counts[] = {3, 9001};
    uint64_t total = counts[0] + counts[1];
    /* A signalling pattern, a quiet negative one, both infinities; at the ends and in a vector's middle. */
    const uint32_t patterns[] = {0x7f800001u, 0xffc00000u, 0x7f800000u, 0xff800000u};
    const uint64_t places[] = {0, 2, 3, 4103, 9003};
    float *x = malloc(total * sizeof *x);
    for (size_t i = 0; i < 4; i++)
        for (size_t place = 0; place < sizeof places / sizeof *places; place++) {
            tv_test_random(x, total, 3);
            memcpy(&x[places[place]], &patterns[i], sizeof *x);
            tv_update_state before = {.applied = 7, .skipped = 3, .skipped_in_row = 2};
            tv_update_state after = run_norm(*state, counts, 2, x, 1, before);
            assert_int_equal(after.finite, 0);
            assert_int_equal(after.applied, 7);
            assert_int_equal(after.skipped, 4);
            assert_int_equal(after.skipped_in_row, 3);
            assert_near(after.clip_scale, 0, 0);
            assert_true(isinf(after.grad_norm));
        }
    free(x);
}

/* ---- AdamW ---- */

typedef struct problem {
    uint64_t count;
    float *gradient, *parameter, *m, *v;
    double *gradient_d, *parameter_d, *m_d, *v_d;
    double *before, *tolerance; /* of the parameter */
} problem;

static problem make_problem(uint64_t count, uint64_t seed) {
    problem p = {.count = count};
    float **floats[] = {&p.gradient, &p.parameter, &p.m, &p.v};
    double **doubles[] = {&p.gradient_d, &p.parameter_d, &p.m_d, &p.v_d, &p.before, &p.tolerance};
    for (uint64_t i = 0; i < sizeof floats / sizeof *floats; i++)
        assert_non_null(*floats[i] = calloc(count, sizeof(float)));
    for (uint64_t i = 0; i < sizeof doubles / sizeof *doubles; i++)
        assert_non_null(*doubles[i] = calloc(count, sizeof(double)));
    tv_test_random(p.parameter, count, seed);
    for (uint64_t i = 0; i < count; i++)
        p.parameter_d[i] = (double)p.parameter[i];
    return p;
}

static void free_problem(problem *p) {
    tv_free_all(p->gradient, p->parameter, p->m, p->v, p->gradient_d, p->parameter_d, p->m_d, p->v_d,
                p->before, p->tolerance);
}

/* `steps` updates from t = `applied` + 1 on, compared after the last; then one skipped update, which must
 * leave every bit. */
static void check_adamw(tv_device *device, uint64_t count, bool decay, oracle_adamw_settings settings,
                        uint32_t applied, int steps) {
    problem p = make_problem(count, count);
    tv_step_constants constants = step_constants(&settings, 1);
    const float clip_scale = 0.5f;
    tv_update_state now = {.applied = applied, .finite = 1, .clip_scale = clip_scale};
    tv_test_tensor parameter = tv_test_floats(device, count, p.parameter);
    tv_test_tensor gradient = tv_test_floats(device, count, NULL);
    tv_test_tensor m = tv_test_floats(device, count, p.m), v = tv_test_floats(device, count, p.v);
    planned plan = plan_update(device,
                               &(tv_update_tensor){.count = count,
                                                   .decay = decay,
                                                   .parameter = parameter.tensor,
                                                   .gradient = gradient.tensor,
                                                   .m = m.tensor,
                                                   .v = v.tensor},
                               1, &constants, &now);
    float *old[3] = {p.parameter, p.m, p.v}, *skipped = malloc(count * sizeof *skipped);
    for (int i = 0; i <= steps; i++) {
        bool skip = i == steps;
        tv_test_random(p.gradient, count, 1000 + (uint64_t)i);
        for (uint64_t j = 0; j < count; j++) {
            /* Sizes over six decades, and elements without a gradient. */
            p.gradient[j] = j % 7 == 6 ? 0 : p.gradient[j] * powf(10, -(float)(j % 7));
            p.gradient_d[j] = (double)(clip_scale * p.gradient[j]);
        }
        if (skip)
            p.gradient[count / 2] = NAN;
        now.applied += !skip;
        now.finite = !skip;
        assert_ok(tv_upload(device, gradient.tensor.span, p.gradient, count * sizeof(float)));
        assert_ok(tv_upload(device, plan.state.tensor.span, &now, sizeof now));
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_adamw_record(recorder, &plan.update));
        tv_test_run(device, recorder);
        tv_test_read(&gradient, p.gradient);
        for (uint64_t j = 0; j < count; j++)
            assert_int_equal(tv_float_to_bits(p.gradient[j]), 0);
        tv_test_tensor *now_at[3] = {&parameter, &m, &v};
        for (int k = 0; k < 3; k++) {
            tv_test_read(now_at[k], skip ? skipped : old[k]);
            if (skip)
                assert_memory_equal(skipped, old[k], count * sizeof(float));
        }
        if (skip)
            break;
        memcpy(p.before, p.parameter_d, count * sizeof *p.before);
        oracle_adamw(&settings, now.applied, decay, count, p.gradient_d, p.parameter_d, p.m_d, p.v_d);
        for (uint64_t j = 0; j < count; j++)
            p.tolerance[j] += 2e-6 * fabs(p.parameter_d[j] - p.before[j]) + 1.2e-7 * fabs(p.before[j]);
    }
    for (uint64_t j = 0; j < count; j++)
        assert_near(p.parameter[j], p.parameter_d[j], p.tolerance[j]);
    double rounding = (double)steps * 6e-8;
    tv_test_compare("m", p.m, p.m_d, count, rounding, 1e-6);
    tv_test_compare("v", p.v, p.v_d, count, 0, 2e-6);
    free(skipped);
    tv_test_free(&parameter);
    tv_test_free(&gradient);
    tv_test_free(&m);
    tv_test_free(&v);
    free_plan(&plan);
    free_problem(&p);
}

static void adamw_equals_the_oracle(void **state) {
    const uint64_t counts[] = {1, 3, 4, 17, 65, 1024, 4095, 4096, 4100, 70001};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        check_adamw(*state, counts[c], true, usual, 0, 10);
        check_adamw(*state, counts[c], false, usual, 0, 2);
    }
}

/* Betas near 1, where 1 - beta^t loses its digits unless it is computed from the logarithm; beta1 of 0.5
 * takes the exponential's branch from the first step; and a run that has been going for long. */
static void bias_corrections_keep_their_digits(void **state) {
    oracle_adamw_settings settings = usual;
    settings.lr = 1; /* so that the rounding of p does not hide the step's */
    settings.weight_decay = 0;
    settings.beta1 = 0.99;
    settings.beta2 = 0.99999;
    check_adamw(*state, 65, true, settings, 0, 3);
    settings.beta1 = 0.5;
    check_adamw(*state, 65, true, settings, 0, 3);
    for (uint32_t applied = 100; applied <= 1000000; applied *= 100)
        check_adamw(*state, 65, true, settings, applied, 3);
}

/* ---- many tensors at once ---- */

enum { MANY = 9, GAP = 64 };
static const uint64_t many[MANY] = {4096, 3, 70000, 5, 16384, 1, 65540, 768, 4097};

/* Four arenas in which the tensors lie with gaps between them: the parameters from the last one on, as a
 * model's weights beside its gradients. */
typedef struct arenas {
    uint64_t size, first[2][MANY]; /* of the parameters; of all else */
    float *values[ADAMW_SPANS];
} arenas;

static arenas make_arenas(void) {
    arenas a = {0};
    uint64_t at = 0;
    for (int i = 0; i < MANY; i++) {
        a.first[1][i] = at;
        at += (many[i] + 63) / 64 * 64 + GAP;
    }
    a.size = at;
    at = 0;
    for (int i = MANY - 1; i >= 0; i--) {
        a.first[0][i] = at;
        at += (many[i] + 63) / 64 * 64 + GAP;
    }
    for (int k = 0; k < ADAMW_SPANS; k++) {
        assert_non_null(a.values[k] = calloc(a.size, sizeof(float)));
        tv_test_random(a.values[k], a.size, 50 + (uint64_t)k);
        for (uint64_t i = 0; k == TV_UPDATE_V && i < a.size; i++)
            a.values[k][i] = fabsf(a.values[k][i]);
    }
    return a;
}

/* What one update makes of all tensors, `together` or by one plan for each; the dispatches of AdamW and the
 * norm. */
static tv_update_state update_many(tv_device *device, const arenas *a, bool together, float *out[ADAMW_SPANS],
                                   uint32_t *dispatches) {
    const tv_step_constants constants = step_constants(&usual, 1);
    tv_update_state now = {.applied = 3};
    tv_test_tensor stores[ADAMW_SPANS];
    tv_update_tensor tensors[MANY];
    for (int k = 0; k < ADAMW_SPANS; k++)
        stores[k] = tv_test_floats(device, a->size, a->values[k]);
    for (int i = 0; i < MANY; i++) {
        tv_tensor parts[ADAMW_SPANS];
        for (int k = 0; k < ADAMW_SPANS; k++)
            parts[k] = tv_tensor_rows(stores[k].tensor, 1, a->first[k > 0][i], many[i]);
        tensors[i] = (tv_update_tensor){.count = many[i],
                                        .decay = i % 2,
                                        .parameter = parts[0],
                                        .gradient = parts[1],
                                        .m = parts[2],
                                        .v = parts[3]};
        if (i == 4) /* its gradient counts, and nothing else is touched */
            tensors[i].rule = TV_UPDATE_ELSEWHERE;
    }
    planned all = plan_update(device, tensors, MANY, &constants, &now);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gradient_norm_add(recorder, &all.update));
    assert_ok(tv_gradient_norm_finish(recorder, &all.update));
    if (together)
        assert_ok(tv_adamw_record(recorder, &all.update));
    tv_test_run(device, recorder);
    tv_test_read(&all.state, &now);
    *dispatches = all.plan->group_count;
    for (int i = 0; i < MANY && !together; i++) {
        planned one = plan_update(device, &tensors[i], 1, &constants, &now);
        recorder = tv_test_begin(device);
        assert_ok(tv_adamw_record(recorder, &one.update));
        tv_test_run(device, recorder);
        free_plan(&one);
    }
    for (int k = 0; k < ADAMW_SPANS; k++) {
        tv_test_read(&stores[k], out[k]);
        tv_test_free(&stores[k]);
    }
    free_plan(&all);
    return now;
}

/* The same bits, and nothing of what lies between the tensors; small bindings cut tensors and dispatches. */
static void many_at_once_equal_each_alone(void **state) {
    tv_device *small = tv_test_open_lowered("storage_range=65536,group_count_x=3");
    tv_device *const devices[] = {*state, small};
    arenas a = make_arenas();
    float *each[ADAMW_SPANS], *out[ADAMW_SPANS];
    uint32_t dispatches;
    for (int k = 0; k < ADAMW_SPANS; k++) {
        assert_non_null(each[k] = calloc(a.size, sizeof(float)));
        assert_non_null(out[k] = calloc(a.size, sizeof(float)));
    }
    tv_update_state expected = update_many(*state, &a, false, each, &dispatches);
    for (int d = 0; d < 2; d++) {
        tv_update_state now = update_many(devices[d], &a, true, out, &dispatches);
        assert_memory_equal(&now, &expected, sizeof now);
        if (d == 0)
            assert_int_equal(dispatches, 3); /* norm, vectors, scalars */
        else
            assert_true(dispatches > 12);
        for (int k = 0; k < ADAMW_SPANS; k++) {
            assert_memory_equal(out[k], each[k], a.size * sizeof(float));
            for (int i = 0; i < MANY; i++) {
                uint64_t first = a.first[k > 0][i], end = (first + many[i] + 63) / 64 * 64 + GAP;
                assert_true(memcmp(&out[k][first], &a.values[k][first], many[i] * sizeof(float)) != 0 ||
                            i == 4);
                for (uint64_t j = first + many[i]; j < end; j++)
                    assert_int_equal(tv_float_to_bits(out[k][j]), tv_float_to_bits(a.values[k][j]));
            }
        }
    }
    for (int k = 0; k < ADAMW_SPANS; k++)
        tv_free_all(each[k], out[k], a.values[k]);
    tv_device_close(&small);
}

static void small_limits_give_the_same(void **state) {
    tv_device *small = NULL;
    tv_device_options options = {.select = getenv("TRIVIUM_TEST_DEVICE")};
    assert_int_equal(setenv("TRIVIUM_CAPS_MAX", "storage_range=65536,group_count_x=3", 1), 0);
    assert_ok(tv_device_open(&options, &small));
    assert_int_equal(unsetenv("TRIVIUM_CAPS_MAX"), 0);
    check_adamw(small, 100003, true, usual, 0, 2);
    check_adamw(small, 100004, true, usual, 0, 2);

    const uint64_t counts[] = {700001, 33};
    float *x = malloc((counts[0] + counts[1]) * sizeof *x);
    tv_test_random(x, counts[0] + counts[1], 5);
    tv_update_state one = run_norm(*state, counts, 2, x, 1, (tv_update_state){0});
    tv_update_state other = run_norm(small, counts, 2, x, 1, (tv_update_state){0});
    assert_memory_equal(&one, &other, sizeof one);
    free(x);
    tv_device_close(&small);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norm_equals_the_oracle),
        cmocka_unit_test(norm_survives_what_squares_do_not),
        cmocka_unit_test(one_broken_element_skips_the_update),
        cmocka_unit_test(adamw_equals_the_oracle),
        cmocka_unit_test(bias_corrections_keep_their_digits),
        cmocka_unit_test(many_at_once_equal_each_alone),
        cmocka_unit_test(small_limits_give_the_same),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
