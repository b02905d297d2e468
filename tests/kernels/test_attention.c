/* kernels/attention against the oracle, in the variant of the device and in the GPU tiles.
 *
 * Tolerance: q, k, v and d_output lie in [-1, 1), so a score is a sum of D products rounded D times, and
 * after the scale its error is at most sqrt(D) * 6e-8, 1e-6 at D = 256; the probabilities carry it as a
 * relative error, exp2 adds a few units (1e-6 on some drivers), and an output is a mean of values below 1:
 * 5e-6 absolute. Gradients of keys sum up to T such rows of d_output times a probability that decays with the
 * row's length: four times that.
 */
#include "support/attention_lab.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/attention.h"

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
        double *qkv = tv_test_doubles(values, count), *d_output = tv_test_doubles(values + count, outputs);
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

static const tv_attention_shape shapes[] = {
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
static const tv_attention_shape wide_shapes[] = {
    {1, 65, 2, 1, 64, SOME_DOCUMENTS, 0, 0},
    {1, 33, 2, 1, 80, NO_DOCUMENTS, 11, 0},
    {1, 9, 1, 1, 131, NO_DOCUMENTS, 0, 0},
    {1, 40, 2, 1, 256, SOME_DOCUMENTS, 0, 0},
};

static void check_all(tv_device *device, size_t wide) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        tv_attention_check(device, &shapes[i]);
    for (size_t i = 0; i < wide; i++)
        tv_attention_check(device, &wide_shapes[i]);
}

static void attention_equals_the_oracle(void **state) {
    const tv_caps *caps = tv_device_caps(*state);
    bool slow_tiles = strstr(caps->name, "llvmpipe") && caps->subgroup_size != 8;
    check_all(*state, slow_tiles ? 1 : sizeof wide_shapes / sizeof *wide_shapes);
}

/* Without shuffles every device takes the tiles. */
static void the_gpu_tiles_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("subgroup_shuffle=0");
    check_all(device, 1);
    tv_device_close(&device);
}

static void many_heads_and_splitting(void **state) {
    /* More workgroups than a grid is wide; without them, the lowered devices fold. */
    bool small = getenv("TRIVIUM_TEST_SMALL") != NULL;
    tv_attention_check(*state, &(tv_attention_shape){small ? 7 : 700, 3, 100, 50, 8, NO_DOCUMENTS, 0, 0});
    const char *caps[] = {"storage_range=65536,group_count_x=64",
                          "storage_range=65536,group_count_x=64,subgroup_shuffle=0"};
    for (int i = 0; i < 2; i++) {
        tv_device *device = tv_test_open_lowered(caps[i]);
        tv_attention_check(device, &(tv_attention_shape){9, 64, 4, 2, 8, SOME_DOCUMENTS, 0, 0});
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
        tv_device *device = tv_test_open_lowered(caps[i]);
        tv_attention_sample x =
            tv_attention_sample_make(&(tv_attention_shape){1, 65, 2, 1, 32, NO_DOCUMENTS, 0, 0}, 8);
        float largest = 0;
        tv_attention_sample_run(device, &x);
        for (uint64_t l = 0; l < x.lse_count; l++)
            largest = fmaxf(largest, x.lse[l]);
        assert_true(largest > 50);
        tv_attention_sample_compare(&x, 1.25e-4);
        tv_attention_sample_free(&x);
        tv_device_close(&device);
    }
}

/* The last of three batch elements alone has the same bits. */
static void rows_do_not_depend_on_the_batch(void **state) {
    const char *caps[] = {"", "subgroup_shuffle=0"};
    (void)state;
    for (int i = 0; i < 2; i++) {
        tv_device *device = tv_test_open_lowered(caps[i]);
        tv_attention_sample whole =
            tv_attention_sample_make(&(tv_attention_shape){3, 65, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
        tv_attention_sample alone =
            tv_attention_sample_make(&(tv_attention_shape){1, 65, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
        memcpy(alone.qkv, whole.qkv + 2 * alone.qkv_count, alone.qkv_count * sizeof(float));
        memcpy(alone.d_output, whole.d_output + 2 * alone.output_count, alone.output_count * sizeof(float));
        memcpy(alone.doc_start, whole.doc_start + 2 * 65, 65 * sizeof(uint32_t));
        tv_attention_sample_run(device, &whole);
        tv_attention_sample_run(device, &alone);
        assert_memory_equal(alone.output, whole.output + 2 * alone.output_count,
                            alone.output_count * sizeof(float));
        assert_memory_equal(alone.lse, whole.lse + 2 * alone.lse_count, alone.lse_count * sizeof(float));
        assert_memory_equal(alone.d_qkv, whole.d_qkv + 2 * alone.qkv_count, alone.qkv_count * sizeof(float));
        tv_attention_sample_free(&whole);
        tv_attention_sample_free(&alone);
        tv_device_close(&device);
    }
}

/* Where a batch element's statistics do not end on an aligned byte, a budget cuts nothing; a small binding
 * range still does, at multiples of more elements. Tried: a cut after every element, for a budget or for a
 * range. */
static void cuts_are_aligned(void **state) {
    const tv_attention_shape odd = {9, 63, 3, 1, 4, SOME_DOCUMENTS, 0, 0};
    tv_attention_sample x = tv_attention_sample_make(&odd, 1);
    assert_int_equal(tv_attention_sample_run_within(*state, &x, 1), 3);
    tv_attention_sample_compare(&x, 5e-6);
    tv_attention_sample_free(&x);
    /* 5 tokens of 3 heads, 60 bytes: every 64th element begins aligned, and 81 fit a binding. */
    tv_device *small = tv_test_open_lowered("storage_range=131072");
    tv_attention_check(small, &(tv_attention_shape){160, 5, 3, 1, 16, SOME_DOCUMENTS, 0, 0});
    tv_device_close(&small);
}

/* Submissions are cut between batch elements, which leaves every bit. */
static void budgets_cut_batches(void **state) {
    tv_attention_sample whole =
        tv_attention_sample_make(&(tv_attention_shape){3, 64, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
    tv_attention_sample cut =
        tv_attention_sample_make(&(tv_attention_shape){3, 64, 4, 2, 8, SOME_DOCUMENTS, 0, 0}, 1);
    assert_int_equal(tv_attention_sample_run_within(*state, &whole, 1e12), 3);
    assert_int_equal(tv_attention_sample_run_within(*state, &cut, 1), 9);
    assert_memory_equal(whole.output, cut.output, whole.output_count * sizeof(float));
    assert_memory_equal(whole.d_qkv, cut.d_qkv, whole.qkv_count * sizeof(float));
    tv_attention_sample_free(&whole);
    tv_attention_sample_free(&cut);
}

/* A forward pass without backward stores no lse. */
static void lse_may_be_absent(void **state) {
    tv_device *device = *state;
    tv_attention_sample x =
        tv_attention_sample_make(&(tv_attention_shape){2, 17, 2, 1, 8, NO_DOCUMENTS, 0, 0}, 1);
    tv_attention_sample_run(device, &x);
    float *again = malloc(x.output_count * sizeof *again);
    tv_attention_sample_forward(device, &x, again);
    assert_memory_equal(again, x.output, x.output_count * sizeof(float));
    free(again);
    tv_attention_sample_free(&x);
}

/* With kernels of lanes, bit for bit. */
static void decoding_equals_the_forward_pass(void **state) {
    const tv_attention_shape cases[] = {
        {3, 21, 4, 2, 8, NO_DOCUMENTS, 0, 0},      {2, 11, 2, 2, 32, NO_DOCUMENTS, 0, 0},
        {1, 140, 2, 1, 17, NO_DOCUMENTS, 0, 0},    {3, 21, 4, 2, 8, NO_DOCUMENTS, 6, 0},
        {2, 11, 2, 2, 32, NO_DOCUMENTS, 1, 0.25F}, {1, 140, 2, 1, 17, NO_DOCUMENTS, 9, 0}};
    const bool lanes = tv_cpu_lanes(tv_device_caps(*state)) > 0;
    tv_device *group = tv_test_open_lowered("subgroup_shuffle=0");
    tv_device *small = tv_test_open_lowered("storage_range=16384");
    tv_device *narrow = tv_test_open_lowered("texels=0");
    /* Enough for the caches of the first case, but not for qkv of all its tokens at once; for one row's
     * caches of the second case, but not for both. */
    tv_device *few = tv_test_open_lowered("texels=400");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_attention_check_decode(*state, &cases[i], lanes);
        tv_attention_check_decode(group, &cases[i], false);
        tv_attention_check_decode(narrow, &cases[i], lanes);
        tv_attention_check_decode(few, &cases[i], lanes);
    }
    tv_attention_check_decode(group, &(tv_attention_shape){2, 5, 2, 1, 256, NO_DOCUMENTS, 0, 0}, false);
    tv_attention_check_decode(*state, &(tv_attention_shape){1, 23, 2, 1, 72, NO_DOCUMENTS, 10, 0}, lanes);
    tv_attention_check_decode(small, &(tv_attention_shape){16, 13, 4, 2, 8, NO_DOCUMENTS, 0, 0}, false);
    /* Heads that fill their chunks and that do not; beyond 64 in two parts. Tried: blocks of
     * one key where the forward pass has four. */
    const uint64_t texels[] = {4, 12, 16, 20, 40, 64, 72, 128}, single[] = {3, 7, 10, 34, 70};
    for (size_t i = 0; i < sizeof texels / sizeof *texels; i++)
        tv_attention_check_decode(*state, &(tv_attention_shape){2, 19, 2, 1, texels[i], NO_DOCUMENTS, 0, 0},
                                  lanes);
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        tv_attention_check_decode(*state, &(tv_attention_shape){2, 11, 2, 1, single[i], NO_DOCUMENTS, 0, 0},
                                  lanes);
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
