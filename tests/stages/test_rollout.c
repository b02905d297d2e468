/* stages/rollout on a small published model: every text is, bit for bit, what a decoder of one row draws
 * alone.
 *
 * Seen to fail with: caches of moved rows left behind, the prompt's first token fed to them, sequence numbers
 * not uploaded, matrix products chosen by the number of rows, and a step larger than the rows need.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "stages/rollout.h"
#include "support/open_model.h"

#define GOLDEN TRIVIUM_SOURCE_DIR "/tests/golden/"

enum { REQUESTS = 11, WIDTH = 32, MAX_NEW = 20, LONGEST_PROMPT = 9 };

typedef struct fixture {
    tv_model_directory *directory;
    tv_model *model;
    uint32_t prompts[REQUESTS][LONGEST_PROMPT];
    tv_rollout_request requests[REQUESTS];
    tv_decoder_settings settings;
} fixture;

/* A text as it was handed over. */
typedef struct text {
    uint32_t tokens[WIDTH];
    float logprobs[WIDTH];
    uint64_t length, prompt_length;
    uint32_t finished;
} text;

typedef struct texts {
    text items[REQUESTS];
    uint64_t count, order[REQUESTS], stop_at;
} texts;

static void open_model(tv_device *device, const char *path, fixture *f) {
    *f = (fixture){0};
    tv_test_open_model(device, path, false, &f->directory, &f->model);
    const uint64_t vocab = tv_model_list(f->model)->config.vocab_size;
    const tv_rng rng = {.seed = 8, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < REQUESTS; i++) {
        for (uint64_t k = 0; k < LONGEST_PROMPT; k++)
            f->prompts[i][k] = (uint32_t)tv_uniform_below(&rng, i * LONGEST_PROMPT + k, vocab);
        f->requests[i] =
            (tv_rollout_request){f->prompts[i], 1 + (i * 4) % LONGEST_PROMPT, (uint32_t)(1000 + i)};
    }
    /* So many end tokens that texts end at all lengths. */
    f->settings = (tv_decoder_settings){.seed = 4, .temperature = 1, .top_p = 1, .end_count = 8};
    for (uint32_t i = 0; i < 8; i++)
        f->settings.ends[i] = 11 * i + 3;
}

static void close_model(fixture *f) {
    tv_model_destroy(&f->model);
    tv_model_directory_close(&f->directory);
}

static text copy_of(const tv_decoder_row *row) {
    text t = {.length = row->length, .prompt_length = row->prompt_length, .finished = row->finished};
    assert_in_range(row->length, 1, WIDTH);
    memcpy(t.tokens, row->tokens, row->length * sizeof *t.tokens);
    memcpy(t.logprobs, row->logprobs, row->length * sizeof *t.logprobs);
    return t;
}

static tv_status take(void *context, uint64_t index, const tv_decoder_row *row) {
    texts *all = context;
    assert_in_range(index, 0, REQUESTS - 1);
    assert_int_equal(all->items[index].length, 0); /* once each */
    all->items[index] = copy_of(row);
    all->order[all->count++] = index;
    return all->count == all->stop_at ? tv_fail(TV_E_INTERRUPTED, "enough") : TV_OK;
}

/* Each alone in a decoder of one row. */
static void draw_alone(const fixture *f, texts *alone) {
    tv_decoder *decoder = NULL;
    assert_ok(tv_decoder_create(f->model, &(tv_decoder_options){.rows = 1, .max_tokens = WIDTH}, &decoder));
    for (uint64_t i = 0; i < REQUESTS; i++) {
        const tv_rollout_request *r = &f->requests[i];
        const tv_decoder_prompt prompt = {r->tokens, r->length, MAX_NEW, r->sequence};
        uint64_t running;
        assert_ok(tv_decoder_start(decoder, &prompt, 1, &f->settings));
        assert_ok(tv_decoder_run(decoder, WIDTH, &running));
        assert_int_equal(running, 0);
        const tv_decoder_row row = tv_decoder_read(decoder, 0);
        alone->items[i] = copy_of(&row);
    }
    tv_decoder_destroy(&decoder);
}

static void assert_same(const text *a, const text *b) {
    assert_int_equal(a->length, b->length);
    assert_int_equal(a->prompt_length, b->prompt_length);
    assert_int_equal(a->finished, b->finished);
    assert_memory_equal(a->tokens, b->tokens, a->length * sizeof *a->tokens);
    assert_memory_equal(a->logprobs, b->logprobs, a->length * sizeof *a->logprobs);
}

/* What these texts cost when rows are refilled every fourth step, half as many rows are stepped where half
 * are enough, and prompts are read ahead where more of their tokens wait than the step has rows. A text of n
 * tokens takes n - 1 steps, or one for each drawn token behind a prompt that was read. */
static uint64_t cost_of(const texts *all, uint64_t rows) {
    uint64_t left[REQUESTS] = {0}, unread[REQUESTS] = {0}, next = 0, sum = 0;
    for (;;) {
        uint64_t running = 0, waiting = 0, step = rows;
        for (uint64_t r = 0; r < rows; r++) {
            if (left[r] == 0 && next < REQUESTS) {
                unread[r] = all->items[next].prompt_length - 1;
                left[r] = all->items[next++].length - 1;
            }
            running += left[r] > 0;
            waiting += unread[r];
        }
        if (running == 0)
            return sum;
        for (uint64_t d = 2; step > 1 && (rows + d - 1) / d >= running; d *= 2)
            step = (rows + d - 1) / d;
        for (uint64_t r = 0; r < rows && waiting > step; r++) {
            sum += unread[r];
            left[r] -= unread[r];
            unread[r] = 0;
        }
        sum += 4 * step;
        for (uint64_t r = 0; r < rows; r++) {
            left[r] -= left[r] < 4 ? left[r] : 4;
            unread[r] -= unread[r] < 4 ? unread[r] : 4;
        }
    }
}

static void check_rows(const fixture *f, const texts *alone, uint64_t rows, bool backwards) {
    tv_rollout *rollout = NULL;
    assert_ok(
        tv_rollout_create(f->model, &(tv_rollout_options){.rows = rows, .max_tokens = WIDTH}, &rollout));
    tv_rollout_request requests[REQUESTS];
    for (uint64_t i = 0; i < REQUESTS; i++)
        requests[i] = f->requests[backwards ? REQUESTS - 1 - i : i];
    texts all = {0};
    assert_ok(tv_rollout_run(rollout, requests, REQUESTS, &f->settings, MAX_NEW, take, &all));
    assert_int_equal(all.count, REQUESTS);
    uint64_t tokens = 0, read = 0, ended = 0;
    for (uint64_t i = 0; i < REQUESTS; i++) {
        const text *t = &all.items[backwards ? REQUESTS - 1 - i : i];
        assert_same(t, &alone->items[i]);
        tokens += t->length - t->prompt_length;
        read += t->prompt_length;
        ended += t->finished == TV_DECODE_END_OF_TEXT;
    }
    const tv_rollout_totals totals = tv_rollout_totals_of(rollout);
    assert_int_equal(totals.texts, REQUESTS);
    assert_int_equal(totals.tokens, tokens);
    assert_int_equal(totals.prompt_tokens, read);
    assert_int_equal(totals.ended, ended);
    assert_in_range(ended, 1, REQUESTS - 1);
    assert_true(totals.seconds > 0);
    assert_int_equal(totals.rows, cost_of(&all, rows));
    if (rows == REQUESTS)
        assert_true(totals.rows < totals.steps * rows + read);
    tv_rollout_destroy(&rollout);
}

static void texts_do_not_depend_on_rows_or_order(void **state) {
    const char *const models[] = {GOLDEN "gpt2_100k", GOLDEN "llama_100k"};
    for (size_t m = 0; m < 2; m++) {
        fixture f;
        open_model(*state, models[m], &f);
        texts alone = {0};
        draw_alone(&f, &alone);
        check_rows(&f, &alone, 3, true);
        /* All at once, so that the tail shrinks: 11, 6, 3, 2, 1. */
        check_rows(&f, &alone, REQUESTS, false);
        close_model(&f);
    }
}

/* The tiled kernels of GPUs, and cuts at 64 KiB per binding. */
static void texts_do_not_depend_on_rows_without_cpu_kernels(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0,storage_range=65536");
    fixture f;
    open_model(device, GOLDEN "llama_100k", &f);
    texts alone = {0};
    draw_alone(&f, &alone);
    check_rows(&f, &alone, REQUESTS, false);
    close_model(&f);
    tv_device_close(&device);
}

static void order_is_that_of_finishing_and_a_sink_stops_the_run(void **state) {
    fixture f;
    open_model(*state, GOLDEN "gpt2_100k", &f);
    tv_rollout *rollout = NULL;
    assert_ok(tv_rollout_create(f.model, &(tv_rollout_options){.rows = 4, .max_tokens = WIDTH}, &rollout));
    texts all = {.stop_at = 6}, again = {0};
    assert_int_equal(tv_rollout_run(rollout, f.requests, REQUESTS, &f.settings, MAX_NEW, take, &all),
                     TV_E_INTERRUPTED);
    assert_int_equal(all.count, 6);
    assert_int_equal(tv_rollout_totals_of(rollout).texts, 6);
    /* A stopped run leaves nothing behind. */
    assert_ok(tv_rollout_run(rollout, f.requests, REQUESTS, &f.settings, MAX_NEW, take, &again));
    assert_int_equal(again.count, REQUESTS);
    for (uint64_t i = 0; i < all.count; i++) {
        assert_int_equal(all.order[i], again.order[i]);
        assert_same(&all.items[all.order[i]], &again.items[all.order[i]]);
    }
    bool in_order = true;
    for (uint64_t i = 1; i < again.count; i++)
        in_order = in_order && again.order[i] > again.order[i - 1];
    assert_false(in_order);
    assert_ok(tv_rollout_run(rollout, NULL, 0, &f.settings, MAX_NEW, take, &again));
    tv_rollout_destroy(&rollout);
    close_model(&f);
}

/* Three answers to each of four prompts, from any number of rows: each text is what it is alone, and each
 * prompt is read once, whether its answers stand side by side or one after another. Seen to fail with rows
 * that do not wait for the first reader, and with what ended rows held forgotten. */
static void answers_to_a_prompt_read_it_once(void **state) {
    enum { ANSWERS = 3, PROMPTS = REQUESTS / ANSWERS };
    fixture f;
    open_model(*state, GOLDEN "llama_100k", &f);
    for (uint64_t i = 0; i < REQUESTS; i++) {
        uint64_t prompt = i / ANSWERS;
        f.requests[i].tokens = f.prompts[prompt];
        f.requests[i].length = LONGEST_PROMPT - prompt % 2;
        f.prompts[prompt][0] = (uint32_t)(100 + prompt);
    }
    texts alone = {0};
    draw_alone(&f, &alone);
    uint64_t given = 0, once = 0;
    for (uint64_t i = 0; i < REQUESTS; i++) {
        given += f.requests[i].length - 1;
        once += i % ANSWERS ? 0 : f.requests[i].length - 1;
    }
    /* So few rows, or all at once, that no prompt rides along with the steps. */
    static const uint64_t counts[] = {1, 2, 5, REQUESTS};
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        const uint64_t rows = counts[c];
        tv_rollout *rollout = NULL;
        assert_ok(
            tv_rollout_create(f.model, &(tv_rollout_options){.rows = rows, .max_tokens = WIDTH}, &rollout));
        texts all = {0};
        assert_ok(tv_rollout_run(rollout, f.requests, REQUESTS, &f.settings, MAX_NEW, take, &all));
        for (uint64_t i = 0; i < REQUESTS; i++)
            assert_same(&all.items[i], &alone.items[i]);
        double rate, shared;
        tv_rollout_rates(rollout, &rate, &shared);
        assert_int_equal(tv_rollout_totals_of(rollout).shared, given - once);
        assert_near(shared, (double)(given - once) / (double)(given + REQUESTS), 1e-12);
        assert_true(rate > 0);
        tv_rollout_destroy(&rollout);
    }
    close_model(&f);
}

/* Nothing is drawn when one prompt of many is wrong. */
static void mistakes_are_refused_before_the_first_step(void **state) {
    fixture f;
    open_model(*state, GOLDEN "gpt2_100k", &f);
    tv_rollout *rollout = NULL;
    assert_int_equal(tv_rollout_create(f.model, &(tv_rollout_options){.max_tokens = 16}, &rollout),
                     TV_E_USAGE);
    assert_null(rollout);
    const tv_rollout_options options = {.rows = 2, .max_tokens = WIDTH};
    assert_ok(tv_rollout_create(f.model, &options, &rollout));
    texts all = {0};
    f.requests[REQUESTS - 1].length = WIDTH;
    assert_int_equal(tv_rollout_run(rollout, f.requests, REQUESTS, &f.settings, MAX_NEW, take, &all),
                     TV_E_USAGE);
    f.requests[REQUESTS - 1].length = 1;
    f.prompts[REQUESTS - 1][0] = UINT32_MAX;
    assert_int_equal(tv_rollout_run(rollout, f.requests, REQUESTS, &f.settings, MAX_NEW, take, &all),
                     TV_E_DATA);
    assert_int_equal(tv_rollout_run(rollout, f.requests, 1, &f.settings, 0, take, &all), TV_E_USAGE);
    assert_int_equal(all.count, 0);

    tv_decoder_bytes bytes;
    assert_ok(tv_rollout_measure(tv_model_list(f.model), tv_device_caps(*state), &options, &bytes));
    uint64_t with = tv_device_bytes(*state);
    tv_rollout_destroy(&rollout);
    double measured = (double)(bytes.cache + bytes.activations + bytes.state);
    assert_near(with - tv_device_bytes(*state), measured, 0.02 * measured);
    close_model(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_do_not_depend_on_rows_or_order),
        cmocka_unit_test(texts_do_not_depend_on_rows_without_cpu_kernels),
        cmocka_unit_test(order_is_that_of_finishing_and_a_sink_stops_the_run),
        cmocka_unit_test(answers_to_a_prompt_read_it_once),
        cmocka_unit_test(mistakes_are_refused_before_the_first_step),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
