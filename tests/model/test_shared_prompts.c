/* model/decoder where prompts begin alike: each row draws, bit for bit, what it draws alone, and what prompts
 * have in common is read once.
 *
 * Seen to fail with: one token too many taken for held, keys copied for values, what is held kept over a
 * start with another model, rows that do not wait for the first reader, and free slots fed at their first
 * place.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "model/decoder.h"
#include "support/open_model.h"

#define GOLDEN TRIVIUM_SOURCE_DIR "/tests/golden/"

enum { ROWS = 6, WIDTH = 64, LONG = 50 };

typedef struct fixture {
    tv_model_directory *directory;
    tv_model *model;
    uint32_t vocab;
    uint32_t text[LONG], other[LONG]; /* that begin with another token */
} fixture;

static const tv_decoder_settings settings = {.seed = 7, .temperature = 1, .top_p = 1};

static fixture open_model(tv_device *device, const char *path) {
    fixture f = {0};
    const tv_rng rng = {.seed = 6, .stream = TV_STREAM_TEST};
    tv_test_open_model(device, path, false, &f.directory, &f.model);
    f.vocab = (uint32_t)tv_model_list(f.model)->config.vocab_size;
    for (uint64_t i = 0; i < LONG; i++) {
        f.text[i] = (uint32_t)tv_uniform_below(&rng, i, f.vocab);
        f.other[i] = (f.text[i] + 1) % f.vocab;
    }
    return f;
}

static void close_model(fixture *f) {
    tv_model_destroy(&f->model);
    tv_model_directory_close(&f->directory);
}

static tv_decoder *decoder_of(const fixture *f, uint64_t rows) {
    tv_decoder *decoder = NULL;
    assert_ok(
        tv_decoder_create(f->model, &(tv_decoder_options){.rows = rows, .max_tokens = WIDTH}, &decoder));
    return decoder;
}

/* The row against the same prompt in a decoder of one row that has read nothing before. */
static void check_row(const fixture *f, const tv_decoder *decoder, uint64_t row,
                      const tv_decoder_prompt *prompt) {
    tv_decoder *alone = decoder_of(f, 1);
    uint64_t running;
    assert_ok(tv_decoder_start(alone, prompt, 1, &settings));
    assert_ok(tv_decoder_run(alone, WIDTH, &running));
    assert_int_equal(running, 0);
    assert_int_equal(tv_decoder_tokens_shared(alone), 0);
    const tv_decoder_row a = tv_decoder_read(alone, 0), b = tv_decoder_read(decoder, row);
    assert_int_equal(b.length, prompt->length + prompt->max_new);
    assert_int_equal(a.length, b.length);
    assert_memory_equal(a.tokens, b.tokens, a.length * sizeof *a.tokens);
    assert_memory_equal(a.logprobs, b.logprobs, a.length * sizeof *a.logprobs);
    tv_decoder_destroy(&alone);
}

static void run(tv_decoder *decoder, uint64_t steps, uint64_t expected) {
    uint64_t running;
    assert_ok(tv_decoder_run(decoder, steps, &running));
    assert_int_equal(running, expected);
}

static void check_counts(const tv_decoder *decoder, uint64_t read, uint64_t shared) {
    assert_int_equal(tv_decoder_tokens_read(decoder), read);
    assert_int_equal(tv_decoder_tokens_shared(decoder), shared);
}

/* Answers to one prompt, then further ones in the rows that end first, while others run, and when none does.
 */
static void answers_to_one_prompt(tv_device *device, const char *path) {
    fixture f = open_model(device, path);
    tv_decoder *decoder = decoder_of(&f, ROWS);
    tv_decoder_prompt prompts[ROWS];
    const uint64_t once = LONG - 1;
    for (uint32_t r = 0; r < ROWS; r++)
        prompts[r] = (tv_decoder_prompt){f.text, LONG, 3 + 2 * r, 10 + r};
    assert_ok(tv_decoder_start(decoder, prompts, ROWS, &settings));
    run(decoder, 5, ROWS - 2);
    check_counts(decoder, once, (ROWS - 1) * once);
    for (uint32_t r = 0; r < 2; r++) {
        check_row(&f, decoder, r, &prompts[r]);
        prompts[r].sequence = 20 + r;
        prompts[r].max_new = 9;
        assert_ok(tv_decoder_fill(decoder, r, &prompts[r]));
    }
    run(decoder, WIDTH, 0);
    for (uint64_t r = 0; r < ROWS; r++)
        check_row(&f, decoder, r, &prompts[r]);
    check_counts(decoder, once, (ROWS + 1) * once);
    /* The tail has moved rows together; the text is where it is. */
    assert_ok(tv_decoder_fill(decoder, 3, &prompts[3]));
    run(decoder, WIDTH, 0);
    check_row(&f, decoder, 3, &prompts[3]);
    check_counts(decoder, once, (ROWS + 2) * once);
    /* A new start may be one of another model. */
    assert_ok(tv_decoder_start(decoder, prompts, 1, &settings));
    run(decoder, WIDTH, 0);
    check_row(&f, decoder, 0, &prompts[0]);
    check_counts(decoder, 2 * once, (ROWS + 2) * once);
    tv_decoder_destroy(&decoder);
    close_model(&f);
}

static const char *const golden[] = {GOLDEN "gpt2_100k", GOLDEN "llama_100k", GOLDEN "gemma3_25k",
                                     GOLDEN "qwen3_25k", GOLDEN "mistral_25k"};

static void answers_to_one_prompt_read_it_once(void **state) {
    for (size_t m = 0; m < TV_COUNT(golden); m++)
        answers_to_one_prompt(*state, golden[m]);
}

/* The tiled kernels of GPUs, and cuts at 64 KiB per binding. */
static void so_they_do_without_cpu_kernels(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0,storage_range=65536");
    answers_to_one_prompt(device, GOLDEN "llama_100k");
    tv_device_close(&device);
}

/* What the rows add to each other's text, in two steps: 30 tokens of the first are the second's, 41 of the
 * second the third's. Few tokens in common are read again, unless nothing else is left. */
static void what_prompts_have_in_common_is_read_once(void **state) {
    fixture f = open_model(*state, GOLDEN "llama_100k");
    uint32_t second[LONG], third[LONG], fifth[LONG];
    memcpy(second, f.text, sizeof second);
    memcpy(second + 30, f.other + 30, sizeof second - 30 * sizeof *second);
    memcpy(third, second, sizeof third);
    memcpy(third + 41, f.text + 41, sizeof third - 41 * sizeof *third);
    memcpy(fifth, f.other, sizeof fifth);
    memcpy(fifth, f.text, 5 * sizeof *fifth);
    const tv_decoder_prompt prompts[ROWS] = {{f.text, LONG, 8, 0},    {second, LONG, 5, 1},
                                             {third, LONG - 2, 9, 2}, {f.other, 40, 4, 3},
                                             {fifth, 45, 7, 4},       {f.text, 6, 6, 5}};
    tv_decoder *decoder = decoder_of(&f, ROWS);
    assert_ok(tv_decoder_start(decoder, prompts, ROWS, &settings));
    run(decoder, WIDTH, 0);
    for (uint64_t r = 0; r < ROWS; r++)
        check_row(&f, decoder, r, &prompts[r]);
    check_counts(decoder, 49 + 19 + 6 + 39 + 44, 30 + 41 + 5);
    tv_decoder_destroy(&decoder);
    close_model(&f);
}

/* One row after another: the text that went before, its drawn tokens and all, is gone on from, and forks. */
static void a_row_goes_on_from_the_one_before(void **state) {
    fixture f = open_model(*state, GOLDEN "gpt2_100k");
    tv_decoder *decoder = decoder_of(&f, 1);
    tv_decoder_prompt prompt = {f.text, 20, 10, 1};
    uint32_t text[WIDTH];
    assert_ok(tv_decoder_start(decoder, &prompt, 1, &settings));
    run(decoder, WIDTH, 0);
    check_counts(decoder, 19, 0);
    memcpy(text, tv_decoder_read(decoder, 0).tokens, 30 * sizeof *text);
    /* Of 30 tokens the last one was drawn and never fed. */
    memcpy(text + 30, f.other, 10 * sizeof *text);
    prompt = (tv_decoder_prompt){text, 40, 5, 2};
    assert_ok(tv_decoder_fill(decoder, 0, &prompt));
    run(decoder, WIDTH, 0);
    check_row(&f, decoder, 0, &prompt);
    check_counts(decoder, 19 + 10, 29);
    text[7] = (text[7] + 1) % f.vocab;
    assert_ok(tv_decoder_fill(decoder, 0, &prompt));
    run(decoder, WIDTH, 0);
    check_row(&f, decoder, 0, &prompt);
    check_counts(decoder, 19 + 10 + 32, 29 + 7);
    tv_decoder_destroy(&decoder);
    close_model(&f);
}

/* A free slot of a step is computed like the others; what it held is still there for the row that comes. */
static void free_rows_keep_what_they_held(void **state) {
    fixture f = open_model(*state, GOLDEN "llama_100k");
    tv_decoder *decoder = decoder_of(&f, 5);
    const tv_decoder_prompt again = {f.text, 45, 6, 5}, more = {f.other, 30, 9, 6};
    const tv_decoder_prompt prompts[] = {{f.text, 40, 2, 0},
                                         {f.other, 30, 2, 1},
                                         {f.other, 9, 30, 2},
                                         {f.other, 1, 50, 3},
                                         {f.text + 1, 9, 40, 4}};
    assert_true(f.text[0] > 0);
    assert_ok(tv_decoder_start(decoder, prompts, 5, &settings));
    run(decoder, 4, 3);
    /* Row 1 goes on where it stands, and what the host knows goes up anew. */
    assert_ok(tv_decoder_fill(decoder, 1, &more));
    run(decoder, 3, 4);
    uint64_t read = tv_decoder_tokens_read(decoder), shared = tv_decoder_tokens_shared(decoder);
    assert_ok(tv_decoder_fill(decoder, 0, &again));
    run(decoder, WIDTH, 0);
    check_row(&f, decoder, 0, &again);
    check_row(&f, decoder, 1, &more);
    for (uint64_t r = 2; r < 5; r++)
        check_row(&f, decoder, r, &prompts[r]);
    /* The four that are left ride along with the steps. */
    assert_int_equal(tv_decoder_tokens_shared(decoder) - shared, 40);
    assert_int_equal(tv_decoder_tokens_read(decoder), read);
    tv_decoder_destroy(&decoder);
    close_model(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_to_one_prompt_read_it_once),
        cmocka_unit_test(so_they_do_without_cpu_kernels),
        cmocka_unit_test(what_prompts_have_in_common_is_read_once),
        cmocka_unit_test(a_row_goes_on_from_the_one_before),
        cmocka_unit_test(free_rows_keep_what_they_held),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
