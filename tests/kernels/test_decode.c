/* kernels/decode against the oracle: exact, because it only moves words. */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/decode.h"
#include "oracle/decode.h"
#include "vk/transfer.h"

enum { VOCAB = 23 };

typedef struct run_state {
    uint32_t *bounds, *sequences, *tokens, *positions, *finished;
    float *logprobs;
    tv_decode_drawn *recent; /* (rows, TV_DECODE_RECENT) */
} run_state;

/* Rows with every mix of prompt and limit that fits, prompts that contain end tokens among them. */
static run_state make_state(uint64_t rows, uint64_t width, uint64_t seed) {
    const tv_rng rng = {.seed = seed, .stream = TV_STREAM_TEST};
    run_state s = {calloc(rows * 2, sizeof(uint32_t)),
                   calloc(rows * width, sizeof(uint32_t)),
                   calloc(rows, sizeof(uint32_t)),
                   calloc(rows, sizeof(uint32_t)),
                   calloc(rows, sizeof(uint32_t)),
                   calloc(rows * width, sizeof(float)),
                   calloc(rows * TV_DECODE_RECENT, sizeof(tv_decode_drawn))};
    for (uint64_t r = 0; r < rows; r++) {
        uint32_t limit = 2 + (uint32_t)tv_uniform_below(&rng, 2 * r, width - 1);
        s.bounds[2 * r] = 1 + (uint32_t)tv_uniform_below(&rng, 2 * r + 1, limit);
        s.bounds[2 * r + 1] = limit;
    }
    for (uint64_t i = 0; i < rows * width; i++) {
        s.sequences[i] = (uint32_t)tv_uniform_below(&rng, 1u << 30 | i, VOCAB);
        s.logprobs[i] = 7;
    }
    for (uint64_t r = 0; r < rows; r++)
        s.tokens[r] = s.sequences[r * width];
    return s;
}

static void free_state(run_state *s) {
    tv_free_all(s->bounds, s->sequences, s->tokens, s->positions, s->finished, s->logprobs, s->recent);
}

/* Each drawn token's own. */
static float entropy_of(float logprob) {
    return 3 - logprob;
}

/* What the last tokens of whole sequences are in the device's form; the rest stays zero. */
static void keep_recent(run_state *s, uint64_t rows, uint64_t width, const uint32_t *positions,
                        bool entropies) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint32_t t = s->bounds[2 * r]; t <= positions[r]; t++)
            s->recent[r * TV_DECODE_RECENT + t % TV_DECODE_RECENT] =
                (tv_decode_drawn){s->sequences[r * width + t], s->logprobs[r * width + t],
                                  entropies ? entropy_of(s->logprobs[r * width + t]) : 0};
}

static void check_run(tv_device *device, uint64_t rows, uint64_t width, uint32_t end_count, bool entropies) {
    const uint32_t steps = (uint32_t)width + 1;
    const tv_rng rng = {.seed = rows, .stream = TV_STREAM_TEST, .step = 1};
    uint32_t ends[TV_DECODE_ENDS_WORDS] = {end_count, 3, 19, 5, 7, 11, 2, 13, 17};
    run_state s = make_state(rows, width, rows + width);
    uint32_t *drawn = calloc(rows * steps, sizeof *drawn); /* (rows, steps) */
    float *drawn_logprobs = calloc(rows * steps, sizeof *drawn_logprobs);
    for (uint64_t i = 0; i < rows * steps; i++) {
        drawn[i] = (uint32_t)tv_uniform_below(&rng, i, VOCAB);
        drawn_logprobs[i] = -(float)i / 64;
    }
    tv_test_tensor tokens = tv_test_uints(device, rows, s.tokens),
                   bounds = tv_test_uints(device, 2 * rows, s.bounds),
                   end_ids = tv_test_uints(device, TV_DECODE_ENDS_WORDS, ends),
                   positions = tv_test_uints(device, rows, s.positions),
                   finished = tv_test_uints(device, rows, s.finished),
                   sequences = tv_test_uints(device, rows * width, s.sequences),
                   recent = tv_test_uints(device, rows * TV_DECODE_RECENT * TV_DECODE_DRAWN_WORDS,
                                          (const uint32_t *)s.recent);
    uint32_t *draw = calloc(rows, sizeof *draw);
    /* Entropies stand apart, as the log-probabilities of other rows would. */
    const uint64_t entropies_at = entropies ? rows + 5 : 0;
    float *draw_logprob = calloc(entropies_at + rows, sizeof *draw_logprob);
    for (uint32_t step = 0; step < steps; step++) {
        for (uint64_t r = 0; r < rows; r++) {
            draw[r] = drawn[r * steps + step];
            draw_logprob[r] = drawn_logprobs[r * steps + step];
            if (entropies)
                draw_logprob[entropies_at + r] = entropy_of(draw_logprob[r]);
        }
        assert_ok(tv_upload(device, tokens.tensor.span, draw, rows * sizeof *draw));
        tv_test_tensor draws = tv_test_floats(device, entropies_at + rows, draw_logprob);
        tv_recorder *recorder = tv_test_begin(device);
        assert_ok(tv_decode_advance_record(recorder, &(tv_decode_advance){.rows = rows,
                                                                          .max_tokens = width,
                                                                          .tokens = tokens.tensor,
                                                                          .drawn = draws.tensor,
                                                                          .entropies_at = entropies_at,
                                                                          .bounds = bounds.tensor,
                                                                          .ends = end_ids.tensor,
                                                                          .positions = positions.tensor,
                                                                          .finished = finished.tensor,
                                                                          .prompts = sequences.tensor,
                                                                          .recent = recent.tensor}));
        tv_test_run(device, recorder);
        tv_test_free(&draws);
        tv_test_read(&tokens, s.tokens);
        tv_test_read(&positions, s.positions);
        tv_test_read(&finished, s.finished);
        /* What the row feeds next, as long as it runs. */
        run_state fresh = make_state(rows, width, rows + width);
        for (uint64_t r = 0; r < rows; r++) {
            oracle_decode_row row = oracle_decode(step + 1, s.bounds[2 * r], s.bounds[2 * r + 1], ends + 1,
                                                  end_count, drawn + r * steps, drawn_logprobs + r * steps,
                                                  fresh.sequences + r * width, fresh.logprobs + r * width);
            assert_int_equal(s.positions[r], row.position);
            assert_int_equal(s.finished[r], row.finished);
            if (!row.finished)
                assert_int_equal(s.tokens[r], row.fed);
        }
        if (step + 1 == steps) {
            tv_test_read(&recent, s.recent);
            keep_recent(&fresh, rows, width, s.positions, entropies);
            assert_memory_equal(s.recent, fresh.recent, rows * TV_DECODE_RECENT * sizeof *s.recent);
            for (uint64_t r = 0; r < rows; r++)
                assert_int_not_equal(s.finished[r], TV_DECODE_RUNNING);
        }
        free_state(&fresh);
    }
    tv_test_tensor *all[] = {&tokens, &bounds, &end_ids, &positions, &finished, &sequences, &recent};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
    tv_free_all(draw, draw_logprob, drawn, drawn_logprobs);
    free_state(&s);
}

static void whole_runs_equal_the_oracle(void **state) {
    check_run(*state, 1, 2, 0, false);
    check_run(*state, 3, 17, 1, true);
    check_run(*state, 65, 33, 2, false);
    check_run(*state, 257, 9, TV_DECODE_MAX_ENDS, true);
    check_run(*state, 5, 2 * TV_DECODE_RECENT + 3, 0, true);
    check_run(*state, 70001, 3, 1, true);
}

/* 64 KiB per binding: (4,001, 33) words go in eight parts. */
static void small_bindings_split_rows(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("storage_range=65536,group_count_x=4");
    check_run(device, 4001, 33, 1, true);
    tv_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_runs_equal_the_oracle),
        cmocka_unit_test(small_bindings_split_rows),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
