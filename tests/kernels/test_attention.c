/* kernels/attention against the oracle, in the variant of the device and in the GPU tiles.
 *
 * Tolerance: q, k, v and d_output lie in [-1, 1), so a score is a sum of D products rounded D times, and
 * after the scale its error is at most sqrt(D) * 6e-8, 1e-6 at D = 256; the probabilities carry it as a
 * relative error, exp2 adds a few units (1e-6 on some drivers), and an output is a mean of values below 1:
 * 5e-6 absolute. Gradients of keys sum up to T such rows of d_output times a probability that decays with the
 * row's length: four times that.
 */
#include "support/device.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/attention.h"
#include "oracle/attention.h"
#include "vk/submit.h"

typedef enum documents { NO_DOCUMENTS, SOME_DOCUMENTS } documents;

typedef struct shape {
    uint64_t batch, tokens, heads, kv_heads, head_size;
    documents documents;
    uint64_t window; /* 0: none */
    float scale;     /* 0: 1/sqrt(D) */
} shape;

/* Host copies of everything that goes in and comes out. */
typedef struct sample {
    shape shape;
    uint64_t qkv_count, output_count, lse_count;
    float *qkv, *d_output;
    uint32_t *doc_start;
    float *output, *lse, *d_qkv, *delta;
} sample;

static tv_device *open_lowered(const char *caps) {
    void *device = NULL;
    setenv("TRIVIUM_CAPS_MAX", caps, 1);
    assert_int_equal(tv_test_open_device(&device), 0);
    unsetenv("TRIVIUM_CAPS_MAX");
    return device;
}

static sample make_sample(const shape *s, float scale) {
    sample x = {.shape = *s};
    uint64_t rows = s->batch * s->tokens;
    x.qkv_count = rows * (s->heads + 2 * s->kv_heads) * s->head_size;
    x.output_count = rows * s->heads * s->head_size;
    x.lse_count = rows * s->heads;
    x.qkv = malloc(x.qkv_count * sizeof(float));
    x.d_output = malloc(x.output_count * sizeof(float));
    x.doc_start = calloc(rows, sizeof(uint32_t));
    x.output = malloc(x.output_count * sizeof(float));
    x.lse = malloc(x.lse_count * sizeof(float));
    x.d_qkv = malloc(x.qkv_count * sizeof(float));
    x.delta = malloc(x.lse_count * sizeof(float));
    tv_test_random(x.qkv, x.qkv_count, 1);
    tv_test_random(x.d_output, x.output_count, 2);
    for (uint64_t i = 0; i < x.qkv_count; i++)
        x.qkv[i] *= scale;
    /* Documents of 1, 13, 25, ... tokens, shifted from one batch element to the next. */
    if (s->documents == SOME_DOCUMENTS)
        for (uint64_t b = 0; b < s->batch; b++) {
            uint64_t start = 0, length = 1 + 5 * b;
            for (uint64_t t = 0; t < s->tokens; t++) {
                if (t == start + length) {
                    start = t;
                    length += 12;
                }
                x.doc_start[b * s->tokens + t] = (uint32_t)start;
            }
        }
    return x;
}

static void free_sample(sample *x) {
    tv_free_all(x->qkv, x->d_output, x->doc_start, x->output, x->lse, x->d_qkv, x->delta);
}

/* Forward and backward in one recording; `budget` is of recorder.h. Returns the dispatches. */
static uint32_t run_within(tv_device *device, sample *x, double budget) {
    const shape *s = &x->shape;
    tv_test_tensor qkv = tv_test_floats(device, x->qkv_count, x->qkv);
    tv_test_tensor d_output = tv_test_floats(device, x->output_count, x->d_output);
    tv_test_tensor doc_start = tv_test_uints(device, s->batch * s->tokens, x->doc_start);
    tv_test_tensor output = tv_test_floats(device, x->output_count, NULL);
    tv_test_tensor lse = tv_test_floats(device, x->lse_count, NULL);
    tv_test_tensor delta = tv_test_floats(device, x->lse_count, NULL);
    tv_test_tensor d_qkv = tv_test_floats(device, x->qkv_count, NULL);
    tv_attention forward = {
        .batch = s->batch,
        .tokens = s->tokens,
        .heads = s->heads,
        .kv_heads = s->kv_heads,
        .head_size = s->head_size,
        .scale = s->scale,
        .window = s->window,
        .qkv = qkv.tensor,
        .output = output.tensor,
        .lse = lse.tensor,
    };
    if (s->documents == SOME_DOCUMENTS)
        forward.doc_start = doc_start.tensor;
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    uint64_t value;
    assert_ok(tv_recorder_begin(device, &(tv_recorder_options){.name = "attention", .flop_budget = budget},
                                &recorder));
    assert_ok(tv_attention_forward(recorder, &forward));
    assert_ok(tv_attention_backward_record(
        recorder, &(tv_attention_backward){forward, d_output.tensor, d_qkv.tensor, delta.tensor}));
    assert_ok(tv_recorder_end(&recorder, &recording));
    assert_ok(tv_submit(device, &recording, 1, &value));
    assert_ok(tv_wait(device, value));
    uint32_t dispatches = tv_recording_get_info(recording).dispatches;
    tv_recording_destroy(&recording);
    tv_test_read(&output, x->output);
    tv_test_read(&lse, x->lse);
    tv_test_read(&d_qkv, x->d_qkv);
    tv_test_read(&delta, x->delta);
    tv_test_tensor *all[] = {&qkv, &d_output, &doc_start, &output, &lse, &delta, &d_qkv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
    return dispatches;
}

static void run_sample(tv_device *device, sample *x) {
    run_within(device, x, 0);
}

/* Copies of `values`; NULL: zeros. */
static double *doubles(const float *values, uint64_t count) {
    double *result = calloc(count ? count : 1, sizeof *result);
    for (uint64_t i = 0; values && i < count; i++)
        result[i] = (double)values[i];
    return result;
}

static void compare_sample(const sample *x, double tolerance) {
    const shape *s = &x->shape;
    oracle_attention reference = {s->batch,     s->tokens,    s->heads,  s->kv_heads,
                                  s->head_size, x->doc_start, s->window, (double)s->scale};
    double *qkv = doubles(x->qkv, x->qkv_count), *d_output = doubles(x->d_output, x->output_count);
    double *output = doubles(NULL, x->output_count), *lse = doubles(NULL, x->lse_count);
    double *d_qkv = doubles(NULL, x->qkv_count);
    char what[128];
    oracle_attention_forward(&reference, qkv, output, lse);
    oracle_attention_backward(&reference, qkv, d_output, d_qkv);
    snprintf(what, sizeof what, "%s of B %d T %d H %d/%d D %d window %d", "output", (int)s->batch,
             (int)s->tokens, (int)s->heads, (int)s->kv_heads, (int)s->head_size, (int)s->window);
    tv_test_compare(what, x->output, output, x->output_count, tolerance, 0);
    memcpy(what, "   lse", 6);
    tv_test_compare(what, x->lse, lse, x->lse_count, tolerance, 1e-6);
    memcpy(what, " d_qkv", 6);
    tv_test_compare(what, x->d_qkv, d_qkv, x->qkv_count, 4 * tolerance, 0);
    tv_free_all(qkv, d_output, output, lse, d_qkv);
}

static void check(tv_device *device, const shape *s) {
    sample x = make_sample(s, 1);
    run_sample(device, &x);
    compare_sample(&x, 5e-6);
    free_sample(&x);
}

/* The oracle's gradients against central differences of the oracle's forward pass: with step h the error is
 * h^2 / 6 times a third derivative of order 1, and 1e-16 / h of rounding: 1e-9 at h = 1e-5. */
static void the_oracle_agrees_with_finite_differences(void **state) {
    (void)state;
    const uint32_t starts[] = {0, 0, 2, 2, 2, 0, 1, 1, 1, 4};
    const oracle_attention shapes[] = {
        {2, 5, 2, 1, 3, starts, 0, 0}, {1, 4, 2, 2, 2, NULL, 0, 0}, {2, 5, 2, 1, 3, starts, 2, 1.5}};
    for (int which = 0; which < 3; which++) {
        const oracle_attention *s = &shapes[which];
        uint64_t rows = s->batch * s->tokens, outputs = rows * s->heads * s->head_size;
        uint64_t count = rows * (s->heads + 2 * s->kv_heads) * s->head_size;
        float values[512];
        assert_true(count + outputs <= 512);
        tv_test_random(values, count + outputs, 5);
        double *qkv = doubles(values, count), *d_output = doubles(values + count, outputs);
        double *d_qkv = malloc(count * sizeof *d_qkv), *output = malloc(outputs * sizeof *output);
        oracle_attention_backward(s, qkv, d_output, d_qkv);
        for (uint64_t i = 0; i < count; i++) {
            const double h = 1e-5;
            double kept = qkv[i], difference = 0;
            for (int side = -1; side <= 1; side += 2) {
                qkv[i] = kept + side * h;
                oracle_attention_forward(s, qkv, output, NULL);
                for (uint64_t o = 0; o < outputs; o++)
                    difference += side * output[o] * d_output[o];
            }
            qkv[i] = kept;
            assert_near(difference / (2 * h), d_qkv[i], 1e-9);
        }
        tv_free_all(qkv, d_output, d_qkv, output);
    }
}

static const shape shapes[] = {
    {1, 1, 1, 1, 8, NO_DOCUMENTS, 0, 0},
    {2, 2, 2, 1, 8, NO_DOCUMENTS, 0, 0},
    {3, 63, 4, 2, 8, SOME_DOCUMENTS, 0, 0},
    {2, 64, 2, 2, 32, NO_DOCUMENTS, 0, 0},
    {1, 65, 4, 1, 32, SOME_DOCUMENTS, 0, 0},
    {2, 130, 3, 3, 17, NO_DOCUMENTS, 0, 0},
    {1, 130, 2, 1, 17, SOME_DOCUMENTS, 0, 0},
    /* Windows: its own key alone, over the edges of blocks and tiles, over documents, as long as the text. */
    {1, 9, 2, 1, 8, NO_DOCUMENTS, 1, 0},
    {2, 130, 3, 3, 17, NO_DOCUMENTS, 40, 0.3F},
    {1, 130, 2, 1, 32, SOME_DOCUMENTS, 33, 0},
    {1, 200, 2, 1, 8, NO_DOCUMENTS, 64, 0},
    {1, 65, 2, 2, 8, NO_DOCUMENTS, 64, 0},
    {1, 65, 2, 2, 8, NO_DOCUMENTS, 65, 0.1F},
};
/* One for every class of GPU tiles, and the CPU variant in parts, even and odd. lavapipe takes seconds to
 * compile each, minutes for the two widest tiles: those run on GPUs and SwiftShader alone. */
static const shape wide_shapes[] = {
    {1, 65, 2, 1, 64, SOME_DOCUMENTS, 0, 0},
    {1, 33, 2, 1, 80, NO_DOCUMENTS, 11, 0},
    {1, 9, 1, 1, 131, NO_DOCUMENTS, 0, 0},
    {1, 40, 2, 1, 256, SOME_DOCUMENTS, 0, 0},
};

static void check_all(tv_device *device, size_t wide) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(device, &shapes[i]);
    for (size_t i = 0; i < wide; i++)
        check(device, &wide_shapes[i]);
}

static void attention_equals_the_oracle(void **state) {
    const tv_caps *caps = tv_device_caps(*state);
    bool slow_tiles = strstr(caps->name, "llvmpipe") && caps->subgroup_size != 8;
    check_all(*state, slow_tiles ? 1 : sizeof wide_shapes / sizeof *wide_shapes);
}

/* Without shuffles every device takes the tiles. */
static void the_gpu_tiles_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = open_lowered("subgroup_shuffle=0");
    check_all(device, 1);
    tv_device_close(&device);
}

static void many_heads_and_splitting(void **state) {
    /* More workgroups than a grid is wide; without them, the lowered devices fold. */
    bool small = getenv("TRIVIUM_TEST_SMALL") != NULL;
    check(*state, &(shape){small ? 7 : 700, 3, 100, 50, 8, NO_DOCUMENTS, 0, 0});
    const char *caps[] = {"storage_range=65536,group_count_x=64",
                          "storage_range=65536,group_count_x=64,subgroup_shuffle=0"};
    for (int i = 0; i < 2; i++) {
        tv_device *device = open_lowered(caps[i]);
        check(device, &(shape){9, 64, 4, 2, 8, SOME_DOCUMENTS, 0, 0});
        tv_device_close(&device);
    }
}

/* Scores up to +-50 and beyond: rows are nearly one-hot. A score of 50 is a sum with 6e-8 * 50 * sqrt(D) of
 * rounding, 2e-5 at D = 32 as an error of the probabilities, and gradients grow with the values: 25 times the
 * tolerance. */
static void large_scores_stay_stable(void **state) {
    const char *caps[] = {"", "subgroup_shuffle=0"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        tv_device *device = open_lowered(caps[i]);
        sample x = make_sample(&(shape){1, 65, 2, 1, 32, NO_DOCUMENTS, 0, 0}, 8);
        float largest = 0;
        run_sample(device, &x);
        for (uint64_t l = 0; l < x.lse_count; l++)
            largest = fmaxf(largest, x.lse[l]);
        assert_true(largest > 50);
        compare_sample(&x, 1.25e-4);
        free_sample(&x);
        tv_device_close(&device);
    }
}

/* The last of three batch elements alone has the same bits. */
static void rows_do_not_depend_on_the_batch(void **state) {
    const char *caps[] = {"", "subgroup_shuffle=0"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        tv_device *device = open_lowered(caps[i]);
        sample whole = make_sample(&(shape){3, 65, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
        sample alone = make_sample(&(shape){1, 65, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
        memcpy(alone.qkv, whole.qkv + 2 * alone.qkv_count, alone.qkv_count * sizeof(float));
        memcpy(alone.d_output, whole.d_output + 2 * alone.output_count, alone.output_count * sizeof(float));
        memcpy(alone.doc_start, whole.doc_start + 2 * 65, 65 * sizeof(uint32_t));
        run_sample(device, &whole);
        run_sample(device, &alone);
        assert_memory_equal(alone.output, whole.output + 2 * alone.output_count,
                            alone.output_count * sizeof(float));
        assert_memory_equal(alone.lse, whole.lse + 2 * alone.lse_count, alone.lse_count * sizeof(float));
        assert_memory_equal(alone.d_qkv, whole.d_qkv + 2 * alone.qkv_count, alone.qkv_count * sizeof(float));
        free_sample(&whole);
        free_sample(&alone);
        tv_device_close(&device);
    }
}

/* Where a batch element's statistics do not end on an aligned byte, a budget cuts nothing; a small binding
 * range still does, at multiples of more elements. Tried: a cut after every element, for a budget or for a
 * range. */
static void cuts_are_aligned(void **state) {
    const shape odd = {9, 63, 3, 1, 4, SOME_DOCUMENTS, 0, 0};
    sample x = make_sample(&odd, 1);
    assert_int_equal(run_within(*state, &x, 1), 3);
    compare_sample(&x, 5e-6);
    free_sample(&x);
    /* 5 tokens of 3 heads, 60 bytes: every 64th element begins aligned, and 81 fit a binding. */
    tv_device *small = open_lowered("storage_range=131072");
    check(small, &(shape){160, 5, 3, 1, 16, SOME_DOCUMENTS, 0, 0});
    tv_device_close(&small);
}

/* Submissions are cut between batch elements, which leaves every bit. */
static void budgets_cut_batches(void **state) {
    sample whole = make_sample(&(shape){3, 64, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
    sample cut = make_sample(&(shape){3, 64, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
    assert_int_equal(run_within(*state, &whole, 1e12), 3);
    assert_int_equal(run_within(*state, &cut, 1), 9);
    assert_memory_equal(whole.output, cut.output, whole.output_count * sizeof(float));
    assert_memory_equal(whole.d_qkv, cut.d_qkv, whole.qkv_count * sizeof(float));
    free_sample(&whole);
    free_sample(&cut);
}

/* A forward pass without backward stores no lse. */
static void lse_may_be_absent(void **state) {
    tv_device *device = *state;
    sample x = make_sample(&(shape){2, 17, 2, 1, 8, NO_DOCUMENTS, 0, 0}, 1);
    run_sample(device, &x);
    tv_test_tensor qkv = tv_test_floats(device, x.qkv_count, x.qkv);
    tv_test_tensor output = tv_test_floats(device, x.output_count, NULL);
    float *again = malloc(x.output_count * sizeof *again);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_attention_forward(recorder, &(tv_attention){.batch = 2,
                                                             .tokens = 17,
                                                             .heads = 2,
                                                             .kv_heads = 1,
                                                             .head_size = 8,
                                                             .qkv = qkv.tensor,
                                                             .output = output.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&output, again);
    assert_memory_equal(again, x.output, x.output_count * sizeof(float));
    tv_test_free(&qkv);
    tv_test_free(&output);
    free(again);
    free_sample(&x);
}

static void run_decode(tv_device *device, const shape *s, tv_attention_decode decode) {
    decode.heads = s->heads;
    decode.kv_heads = s->kv_heads;
    decode.head_size = s->head_size;
    decode.scale = s->scale;
    decode.window = s->window;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_attention_decode_record(recorder, &decode));
    tv_test_run(device, recorder);
}

/* All tokens of all sequences side by side, sequence b in slot `batch` - b of caches with a slot to spare,
 * and one row that names no slot: outputs and caches have the bits of `steps` and `caches` (k, v), which came
 * token after token. */
static void decode_at_once(tv_device *device, const shape *s, const sample *x, uint64_t max_tokens,
                           const float *steps, float *const *caches) {
    uint64_t rows = s->batch * s->tokens + 1, slots = s->batch + 1, D = s->head_size;
    uint64_t qkv_row = (s->heads + 2 * s->kv_heads) * D, output_row = s->heads * D;
    uint64_t cache_row = s->kv_heads * max_tokens * D;
    float *qkv = calloc(rows * qkv_row, sizeof *qkv), *found = malloc(rows * output_row * sizeof *found);
    float *cache = malloc(slots * cache_row * sizeof *cache);
    uint32_t *positions = calloc(rows, sizeof *positions), *named = malloc(rows * sizeof *named);
    assert_true(qkv && found && cache && positions && named);
    memcpy(qkv, x->qkv, x->qkv_count * sizeof *qkv);
    for (uint64_t r = 0; r < rows; r++) {
        bool none = r == rows - 1;
        positions[r] = none ? 0 : (uint32_t)(r % s->tokens);
        named[r] = (uint32_t)(none ? slots : s->batch - r / s->tokens);
    }
    tv_test_tensor in = tv_test_floats(device, rows * qkv_row, qkv),
                   at = tv_test_uints(device, rows, positions), of = tv_test_uints(device, rows, named),
                   out = tv_test_floats(device, rows * output_row, NULL),
                   k = tv_test_floats(device, slots * cache_row, NULL),
                   v = tv_test_floats(device, slots * cache_row, NULL);
    for (int alone = 1; alone >= 0; alone--) { /* first the caches alone */
        run_decode(device, s,
                   (tv_attention_decode){.rows = rows,
                                         .max_tokens = max_tokens,
                                         .qkv = in.tensor,
                                         .positions = at.tensor,
                                         .k_cache = k.tensor,
                                         .v_cache = v.tensor,
                                         .output = alone ? TV_ABSENT : out.tensor,
                                         .slots = of.tensor,
                                         .slot_count = slots});
        for (int which = 0; which < 2; which++) {
            tv_test_read(which ? &v : &k, cache);
            for (uint64_t b = 0; b < s->batch; b++)
                assert_memory_equal(cache + (s->batch - b) * cache_row, caches[which] + b * cache_row,
                                    cache_row * sizeof *cache);
            for (uint64_t i = 0; i < cache_row; i++)
                assert_true(isnan(cache[i]));
        }
    }
    tv_test_read(&out, found);
    assert_memory_equal(found, steps, x->output_count * sizeof *found);
    for (uint64_t i = x->output_count; i < rows * output_row; i++)
        assert_true(isnan(found[i]));
    tv_test_tensor *tensors[] = {&in, &at, &of, &out, &k, &v};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tv_test_free(tensors[i]);
    tv_free_all(qkv, found, cache, positions, named);
}

/* Decoding token after token equals the forward pass over the whole; rows stand at different positions. */
static void decode(tv_device *device, const shape *s) {
    sample x = make_sample(s, 1);
    uint64_t rows = s->batch, T = s->tokens, D = s->head_size;
    uint64_t qkv_row = (s->heads + 2 * s->kv_heads) * D, output_row = s->heads * D;
    uint64_t max_tokens = T + 3, cache_count = rows * s->kv_heads * max_tokens * D;
    double *qkv = doubles(x.qkv, x.qkv_count), *expected = malloc(x.output_count * sizeof *expected);
    oracle_attention_forward(
        &(oracle_attention){rows, T, s->heads, s->kv_heads, D, NULL, s->window, (double)s->scale}, qkv,
        expected, NULL);
    tv_test_tensor k_cache = tv_test_floats(device, cache_count, NULL);
    tv_test_tensor v_cache = tv_test_floats(device, cache_count, NULL);
    float *step_qkv = malloc(rows * qkv_row * sizeof *step_qkv), *cache = malloc(cache_count * sizeof *cache);
    float *step_output = malloc(rows * output_row * sizeof *step_output);
    double *step_expected = malloc(rows * output_row * sizeof *step_expected);
    uint32_t *positions = malloc(rows * sizeof *positions);
    float *steps = malloc(x.output_count * sizeof *steps), *caches[2];
    /* Row r starts r steps late and waits at position 0 until then. */
    for (uint64_t step = 0; step < T + rows - 1; step++) {
        for (uint64_t r = 0; r < rows; r++) {
            uint64_t t = step < r ? 0 : step - r < T ? step - r : T - 1;
            positions[r] = (uint32_t)t;
            memcpy(step_qkv + r * qkv_row, x.qkv + (r * T + t) * qkv_row, qkv_row * sizeof(float));
            memcpy(step_expected + r * output_row, expected + (r * T + t) * output_row,
                   output_row * sizeof(double));
        }
        tv_test_tensor in = tv_test_floats(device, rows * qkv_row, step_qkv);
        tv_test_tensor at = tv_test_uints(device, rows, positions);
        tv_test_tensor out = tv_test_floats(device, rows * output_row, NULL);
        run_decode(device, s,
                   (tv_attention_decode){.rows = rows,
                                         .max_tokens = max_tokens,
                                         .qkv = in.tensor,
                                         .positions = at.tensor,
                                         .k_cache = k_cache.tensor,
                                         .v_cache = v_cache.tensor,
                                         .output = out.tensor});
        tv_test_read(&out, step_output);
        tv_test_compare("decode", step_output, step_expected, rows * output_row, 5e-6, 0);
        for (uint64_t r = 0; r < rows; r++)
            memcpy(steps + (r * T + positions[r]) * output_row, step_output + r * output_row,
                   output_row * sizeof *steps);
        tv_test_free(&in);
        tv_test_free(&at);
        tv_test_free(&out);
    }
    /* What was appended stays, and nothing else was written. */
    for (int which = 0; which < 2; which++) {
        tv_test_read(which ? &v_cache : &k_cache, cache);
        caches[which] = memcpy(malloc(cache_count * sizeof *cache), cache, cache_count * sizeof *cache);
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t h = 0; h < s->kv_heads; h++)
                for (uint64_t t = 0; t < max_tokens; t++)
                    for (uint64_t d = 0; d < D; d++) {
                        float found = cache[((r * s->kv_heads + h) * max_tokens + t) * D + d];
                        uint64_t head = s->heads + (which ? s->kv_heads : 0) + h;
                        if (t >= T)
                            assert_true(isnan(found));
                        else if (found != x.qkv[(r * T + t) * qkv_row + head * D + d])
                            fail_msg("cache %d of row %d, head %d differs at position %d", which, (int)r,
                                     (int)h, (int)t);
                    }
    }
    decode_at_once(device, s, &x, max_tokens, steps, caches);
    tv_test_free(&k_cache);
    tv_test_free(&v_cache);
    tv_free_all(caches[0], caches[1], steps, qkv, expected, step_qkv, step_output, step_expected, cache,
                positions);
    free_sample(&x);
}

static void decoding_equals_the_forward_pass(void **state) {
    const shape cases[] = {{3, 21, 4, 2, 8, NO_DOCUMENTS, 0, 0},      {2, 11, 2, 2, 32, NO_DOCUMENTS, 0, 0},
                           {1, 140, 2, 1, 17, NO_DOCUMENTS, 0, 0},    {3, 21, 4, 2, 8, NO_DOCUMENTS, 6, 0},
                           {2, 11, 2, 2, 32, NO_DOCUMENTS, 1, 0.25F}, {1, 140, 2, 1, 17, NO_DOCUMENTS, 9, 0}};
    tv_device *group = open_lowered("subgroup_shuffle=0");
    tv_device *small = open_lowered("storage_range=16384");
    tv_device *narrow = open_lowered("texels=0");
    /* Enough for the caches of the first case, but not for qkv of all its tokens at once; for one row's
     * caches of the second case, but not for both. */
    tv_device *few = open_lowered("texels=400");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        decode(*state, &cases[i]);
        decode(group, &cases[i]);
        decode(narrow, &cases[i]);
        decode(few, &cases[i]);
    }
    decode(group, &(shape){2, 5, 2, 1, 256, NO_DOCUMENTS, 0, 0});
    decode(*state, &(shape){1, 23, 2, 1, 72, NO_DOCUMENTS, 10, 0});
    decode(small, &(shape){16, 13, 4, 2, 8, NO_DOCUMENTS, 0, 0});
    /* Every number of lanes that share a key, with lanes left over, and two quads a lane; beyond 64 in two
     * parts. */
    const uint64_t texels[] = {4, 12, 16, 20, 40, 64, 72, 128}, single[] = {3, 7, 10, 34, 70};
    for (size_t i = 0; i < sizeof texels / sizeof *texels; i++)
        decode(*state, &(shape){2, 19, 2, 1, texels[i], NO_DOCUMENTS, 0, 0});
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        decode(*state, &(shape){2, 11, 2, 1, single[i], NO_DOCUMENTS, 0, 0});
    tv_device_close(&group);
    tv_device_close(&small);
    tv_device_close(&narrow);
    tv_device_close(&few);
}

static void impossible_shapes_are_refused(void **state) {
    tv_recorder *recorder = tv_test_begin(*state);
    assert_int_equal(
        tv_attention_forward(
            recorder, &(tv_attention){.batch = 1, .tokens = 1, .heads = 3, .kv_heads = 2, .head_size = 8}),
        TV_E_USAGE);
    assert_int_equal(
        tv_attention_forward(
            recorder, &(tv_attention){.batch = 1, .tokens = 1, .heads = 2, .kv_heads = 2, .head_size = 257}),
        TV_E_USAGE);
    tv_recorder_abort(&recorder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_oracle_agrees_with_finite_differences),
        cmocka_unit_test(attention_equals_the_oracle),
        cmocka_unit_test(the_gpu_tiles_equal_the_oracle),
        cmocka_unit_test(many_heads_and_splitting),
        cmocka_unit_test(large_scores_stay_stable),
        cmocka_unit_test(rows_do_not_depend_on_the_batch),
        cmocka_unit_test(budgets_cut_batches),
        cmocka_unit_test(cuts_are_aligned),
        cmocka_unit_test(lse_may_be_absent),
        cmocka_unit_test(decoding_equals_the_forward_pass),
        cmocka_unit_test(impossible_shapes_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
