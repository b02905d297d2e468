/* kernels/embedding against the oracle.
 *
 * Tolerance, with e = 2^-24: the lookup adds two values below 1, 1e-7. A row of a table takes at most one
 * addition for each block of 256 rows or more, and rounds a sum that walks to sqrt(rows / 3): e sqrt(rows /
 * 256) sqrt(rows / 3) = e rows / 28. Within a block, 256 terms go in by fours: 64 additions to a sum that
 * walks to sqrt(256 / 3) = 9, e 8 * 9 = 74 e. Twice both is allowed.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "kernels/embedding.h"
#include "oracle/embedding.h"

typedef struct embedding_case {
    uint64_t rows, tokens_per_row, channels, vocab, max_positions;
    bool position_table, positions;
    float scale;       /* of the token table; 0: 1 */
    uint32_t distinct; /* tokens are drawn from this many, spread over the vocabulary; 0: all */
} embedding_case;

static float *randoms(uint64_t count, uint64_t seed) {
    float *values = malloc(count * sizeof *values);
    assert_non_null(values);
    tv_test_random(values, count, seed);
    return values;
}

/* Few small ids and many large ones, as words are. */
static uint32_t *ids(uint64_t rows, uint64_t below, uint32_t distinct, uint64_t seed) {
    tv_rng rng = {.seed = seed, .stream = TV_STREAM_TEST};
    uint32_t *values = malloc(rows * sizeof *values);
    assert_non_null(values);
    uint64_t range = distinct ? distinct : below;
    for (uint64_t r = 0; r < rows; r++) {
        double u = (double)tv_uniform(&rng, r);
        uint64_t drawn = (uint64_t)(u * u * (double)range);
        values[r] = (uint32_t)((drawn < range ? drawn : range - 1) * (below / range));
    }
    values[0] = (uint32_t)below - 1;
    return values;
}

static void compare(const char *what, const tv_test_tensor *tensor, const double *expected, double absolute) {
    float *actual = malloc(tensor->count * sizeof *actual);
    assert_non_null(actual);
    tv_test_read(tensor, actual);
    tv_test_compare(what, actual, expected, tensor->count, absolute, 1e-6);
    free(actual);
}

static void check(tv_device *device, embedding_case t) {
    uint64_t count = t.rows * t.channels, token_count = t.vocab * t.channels,
             position_count = t.max_positions * t.channels;
    float *token_table = randoms(token_count, 1), *position_table = randoms(position_count, 2);
    float *d_output = randoms(count, 3), *d_tokens = randoms(token_count, 4),
          *d_positions = randoms(position_count, 5);
    uint32_t *tokens = ids(t.rows, t.vocab, t.distinct, 6), *positions = ids(t.rows, t.max_positions, 0, 7);
    uint32_t *at = t.positions ? positions : NULL;
    double *expected = malloc(count * sizeof *expected);
    double *sum_tokens = malloc(token_count * sizeof *sum_tokens),
           *sum_positions = malloc(position_count * sizeof *sum_positions);
    assert_true(expected && sum_tokens && sum_positions);
    for (uint64_t i = 0; i < token_count; i++)
        sum_tokens[i] = (double)d_tokens[i];
    for (uint64_t i = 0; i < position_count; i++)
        sum_positions[i] = (double)d_positions[i];

    tv_test_tensor token = tv_test_uints(device, t.rows, tokens),
                   position = tv_test_uints(device, t.rows, positions);
    tv_test_tensor words = tv_test_floats(device, token_count, token_table);
    tv_test_tensor places = tv_test_floats(device, position_count, position_table);
    tv_test_tensor out = tv_test_floats(device, count, NULL), d_out = tv_test_floats(device, count, d_output);
    tv_test_tensor d_words = tv_test_floats(device, token_count, d_tokens);
    tv_test_tensor d_places = tv_test_floats(device, position_count, d_positions);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(
        tv_embedding_forward(recorder, &(tv_embedding){
                                           .rows = t.rows,
                                           .tokens_per_row = t.tokens_per_row,
                                           .channels = t.channels,
                                           .vocab = t.vocab,
                                           .max_positions = t.max_positions,
                                           .tokens = token.tensor,
                                           .positions = t.positions ? position.tensor : TV_ABSENT,
                                           .token_table = words.tensor,
                                           .scale = t.scale,
                                           .position_table = t.position_table ? places.tensor : TV_ABSENT,
                                           .output = out.tensor,
                                       }));
    assert_ok(tv_embedding_backward_record(
        recorder, &(tv_embedding_backward){
                      .rows = t.rows,
                      .tokens_per_row = t.tokens_per_row,
                      .channels = t.channels,
                      .vocab = t.vocab,
                      .max_positions = t.max_positions,
                      .tokens = token.tensor,
                      .positions = t.positions ? position.tensor : TV_ABSENT,
                      .scale = t.scale,
                      .d_output = d_out.tensor,
                      .d_token_table = d_words.tensor,
                      .d_position_table = t.position_table ? d_places.tensor : TV_ABSENT,
                  }));
    tv_test_run(device, recorder);

    double scale = t.scale > 0 ? (double)t.scale : 1;
    double tolerance = 6e-8 * (160 + (double)t.rows / 14) * scale;
    for (uint64_t i = 0; i < token_count; i++) {
        token_table[i] *= (float)scale;
        sum_tokens[i] /= scale;
    }
    oracle_embedding_forward(t.rows, t.tokens_per_row, t.channels, tokens, at, token_table,
                             t.position_table ? position_table : NULL, expected);
    compare("output", &out, expected, 1e-7 * scale);
    oracle_embedding_backward(t.rows, t.tokens_per_row, t.channels, t.vocab, tokens, at, d_output, sum_tokens,
                              t.position_table ? sum_positions : NULL);
    for (uint64_t i = 0; i < token_count; i++)
        sum_tokens[i] *= scale;
    compare("token gradient", &d_words, sum_tokens, tolerance);
    compare("position gradient", &d_places, sum_positions, tolerance);

    tv_test_tensor *tensors[] = {&token, &position, &words, &places, &out, &d_out, &d_words, &d_places};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tv_test_free(tensors[i]);
    void *host[] = {token_table, position_table, d_output, d_tokens,   d_positions,
                    tokens,      positions,      expected, sum_tokens, sum_positions};
    for (size_t i = 0; i < sizeof host / sizeof *host; i++)
        free(host[i]);
}

static void embeddings_equal_the_oracle(void **state) {
    const embedding_case cases[] = {
        {.rows = 1,
         .tokens_per_row = 1,
         .channels = 1,
         .vocab = 1,
         .max_positions = 1,
         .position_table = true},
        {.rows = 3,
         .tokens_per_row = 3,
         .channels = 17,
         .vocab = 5,
         .max_positions = 7,
         .position_table = true},
        {.rows = 130,
         .tokens_per_row = 65,
         .channels = 64,
         .vocab = 50,
         .max_positions = 65,
         .position_table = true},
        {.rows = 130, .tokens_per_row = 65, .channels = 64, .vocab = 50, .max_positions = 65},
        {.rows = 130, .tokens_per_row = 65, .channels = 63, .vocab = 50, .max_positions = 65, .scale = 8},
        {.rows = 130,
         .tokens_per_row = 65,
         .channels = 64,
         .vocab = 50,
         .max_positions = 65,
         .position_table = true,
         .scale = 2},
        {.rows = 700,
         .tokens_per_row = 70,
         .channels = 130,
         .vocab = 999,
         .max_positions = 100,
         .position_table = true,
         .positions = true},
        /* Tokens that all differ, all equal, and two that alternate with long gaps. */
        {.rows = 2000,
         .tokens_per_row = 500,
         .channels = 8,
         .vocab = 50257,
         .max_positions = 512,
         .position_table = true},
        {.rows = 5003,
         .tokens_per_row = 5003,
         .channels = 5,
         .vocab = 7,
         .max_positions = 5003,
         .distinct = 1},
        {.rows = 513,
         .tokens_per_row = 171,
         .channels = 1028,
         .vocab = 300,
         .max_positions = 171,
         .position_table = true,
         .distinct = 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check(*state, cases[i]);
}

static void many_rows_equal_the_oracle(void **state) {
    check(*state, (embedding_case){.rows = 70001,
                                   .tokens_per_row = 70001,
                                   .channels = 3,
                                   .vocab = 40,
                                   .max_positions = 70001,
                                   .position_table = true});
    check(*state, (embedding_case){.rows = 66000,
                                   .tokens_per_row = 100,
                                   .channels = 4,
                                   .vocab = 20,
                                   .max_positions = 100,
                                   .position_table = true,
                                   .positions = true});
}

/* Rows and both tables are cut into several dispatches, parts begin inside of a sequence, grids are folded.
 */
static void small_limits_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=5");
    check(device, (embedding_case){.rows = 600,
                                   .tokens_per_row = 300,
                                   .channels = 130,
                                   .vocab = 400,
                                   .max_positions = 310,
                                   .position_table = true});
    check(device, (embedding_case){.rows = 700,
                                   .tokens_per_row = 350,
                                   .channels = 64,
                                   .vocab = 1000,
                                   .max_positions = 777,
                                   .position_table = true,
                                   .positions = true});
    check(device,
          (embedding_case){
              .rows = 17000, .tokens_per_row = 100, .channels = 1, .vocab = 17000, .max_positions = 1});
    tv_device_close(&device);
}

/* The form for GPUs, in which workgroups have barriers. */
static void workgroups_of_several_subgroups_equal_the_oracle(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0");
    check(device, (embedding_case){.rows = 600,
                                   .tokens_per_row = 300,
                                   .channels = 1028,
                                   .vocab = 40,
                                   .max_positions = 310,
                                   .position_table = true});
    check(device, (embedding_case){.rows = 4500,
                                   .tokens_per_row = 350,
                                   .channels = 5,
                                   .vocab = 1000,
                                   .max_positions = 777,
                                   .position_table = true,
                                   .positions = true,
                                   .distinct = 100});
    tv_device_close(&device);
}

/* The host checks ids; one that slipped through writes nothing outside and shows as NaN. */
static void ids_outside_of_the_tables_do_no_harm(void **state) {
    (void)state;
    enum { ROWS = 5, CHANNELS = 128, VOCAB = 300, PLACES = 200 };
    tv_device *device = tv_test_open_lowered("storage_range=65536");
    const uint32_t tokens[ROWS] = {299, 300, 7, UINT32_MAX, 8}, positions[ROWS] = {0, 1, 200, 3, 199};
    float *ones = malloc(VOCAB * CHANNELS * sizeof *ones),
          *result = malloc(VOCAB * CHANNELS * sizeof *result);
    assert_true(ones && result);
    for (int i = 0; i < VOCAB * CHANNELS; i++)
        ones[i] = 1;
    tv_test_tensor token = tv_test_uints(device, ROWS, tokens),
                   position = tv_test_uints(device, ROWS, positions);
    tv_test_tensor words = tv_test_floats(device, VOCAB * CHANNELS, ones),
                   places = tv_test_floats(device, PLACES * CHANNELS, ones);
    tv_test_tensor d_out = tv_test_floats(device, ROWS * CHANNELS, ones),
                   out = tv_test_floats(device, ROWS * CHANNELS, ones);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_embedding_forward(recorder, &(tv_embedding){ROWS, ROWS, CHANNELS, VOCAB, PLACES,
                                                             token.tensor, position.tensor, words.tensor, 1,
                                                             places.tensor, out.tensor}));
    tv_test_run(device, recorder);
    recorder = tv_test_begin(device);
    assert_ok(tv_embedding_backward_record(
        recorder, &(tv_embedding_backward){ROWS, ROWS, CHANNELS, VOCAB, PLACES, token.tensor, position.tensor,
                                           1, d_out.tensor, words.tensor, places.tensor}));
    tv_test_run(device, recorder);
    tv_test_read(&out, result);
    for (int i = 0; i < ROWS * CHANNELS; i++)
        assert_true(i / CHANNELS % 4 == 0 ? result[i] == 2 : isnan(result[i]));
    tv_test_read(&words, result);
    for (int i = 0; i < VOCAB * CHANNELS; i++)
        assert_true(result[i] == (i / CHANNELS == 299 || i / CHANNELS == 7 || i / CHANNELS == 8 ? 2 : 1));
    tv_test_read(&places, result);
    for (int i = 0; i < PLACES * CHANNELS; i++)
        assert_true(
            result[i] ==
            (i / CHANNELS == 0 || i / CHANNELS == 1 || i / CHANNELS == 3 || i / CHANNELS == 199 ? 2 : 1));
    recorder = tv_test_begin(device);
    assert_int_equal(tv_embedding_forward(recorder, &(tv_embedding){.rows = ROWS,
                                                                    .tokens_per_row = PLACES + 1,
                                                                    .channels = CHANNELS,
                                                                    .vocab = VOCAB,
                                                                    .max_positions = PLACES,
                                                                    .tokens = token.tensor,
                                                                    .token_table = words.tensor,
                                                                    .position_table = places.tensor,
                                                                    .output = out.tensor}),
                     TV_E_USAGE);
    tv_recorder_abort(&recorder);
    tv_test_tensor *tensors[] = {&token, &position, &words, &places, &out, &d_out};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tv_test_free(tensors[i]);
    free(ones);
    free(result);
    tv_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(embeddings_equal_the_oracle),
        cmocka_unit_test(many_rows_equal_the_oracle),
        cmocka_unit_test(small_limits_equal_the_oracle),
        cmocka_unit_test(workgroups_of_several_subgroups_equal_the_oracle),
        cmocka_unit_test(ids_outside_of_the_tables_do_no_harm),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
