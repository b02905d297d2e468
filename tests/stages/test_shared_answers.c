/* stages/rollout where prompts stand in the caches once for their answers: each text is, bit for bit, what it
 * is where every row has its own prompt, on less memory.
 *
 * Seen to fail with: a row's own positions counted from the text's first, prefixes given back too early and
 * never and taken while they are read, moved rows whose answers stay behind, and prompts that only begin
 * alike taken for the same.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "formats/load.h"
#include "stages/rollout.h"

#define GOLDEN TRIVIUM_SOURCE_DIR "/tests/golden/"

enum {
    PROMPTS = 9,
    ANSWERS = 4,
    TEXTS = PROMPTS * ANSWERS,
    LONGEST = 70,
    MAX_NEW = 20,
    WIDTH = LONGEST + MAX_NEW
};

typedef struct text {
    uint32_t tokens[WIDTH];
    float logprobs[WIDTH];
    uint64_t length;
    uint32_t finished;
} text;

typedef struct fixture {
    tv_model_directory *directory;
    tv_model *model;
    uint32_t prompts[PROMPTS][LONGEST];
    tv_rollout_request requests[TEXTS];
    tv_decoder_settings settings;
    text alone[TEXTS], drawn[TEXTS];
} fixture;

/* One token; a block of keys, one less and one more; a beginning of another prompt; a system message before
 * two. */
static const uint64_t lengths[PROMPTS] = {1, 65, 64, 2, 66, LONGEST, 40, 69, 33};

static fixture *open_model(tv_device *device, const char *path) {
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    assert_ok(tv_model_directory_open(path, &f->directory));
    assert_ok(tv_model_create(device, tv_model_directory_parameters(f->directory), false, &f->model));
    assert_ok(tv_model_load(f->model, f->directory));
    const uint64_t vocab = tv_model_list(f->model)->config.vocab_size;
    const tv_rng rng = {.seed = 12, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < PROMPTS; i++)
        for (uint64_t t = 0; t < LONGEST; t++)
            f->prompts[i][t] = (uint32_t)tv_uniform_below(&rng, i * LONGEST + t, vocab);
    memcpy(f->prompts[6], f->prompts[5], 40 * sizeof **f->prompts);
    memcpy(f->prompts[7], f->prompts[5], 50 * sizeof **f->prompts);
    for (uint32_t i = 0; i < TEXTS; i++)
        f->requests[i] = (tv_rollout_request){f->prompts[i / ANSWERS], lengths[i / ANSWERS], 300 + i};
    /* So many end tokens that texts end at all lengths. */
    f->settings = (tv_decoder_settings){.seed = 4, .temperature = 1, .top_p = 1, .end_count = 8};
    for (uint32_t i = 0; i < 8; i++)
        f->settings.ends[i] = 11 * i + 3;
    return f;
}

static void close_model(fixture *f) {
    tv_model_destroy(&f->model);
    tv_model_directory_close(&f->directory);
    free(f);
}

static tv_status take(void *context, uint64_t index, const tv_decoder_row *row) {
    text *t = (text *)context + index;
    assert_int_equal(t->length, 0); /* once each */
    assert_in_range(row->length, 1, WIDTH);
    t->length = row->length;
    t->finished = row->finished;
    memcpy(t->tokens, row->tokens, row->length * sizeof *t->tokens);
    memcpy(t->logprobs, row->logprobs, row->length * sizeof *t->logprobs);
    return TV_OK;
}

/* `prompts`: as many are said to a rollout of which each gets ANSWERS answers; 0: nothing is said. */
static tv_rollout_options options_of(uint64_t rows, uint64_t prompts) {
    return (tv_rollout_options){.rows = rows,
                                .max_tokens = WIDTH,
                                .prompts = prompts,
                                .answers = ANSWERS,
                                .prompt_tokens = LONGEST,
                                .max_new = MAX_NEW};
}

static uint64_t cache_bytes(const fixture *f, const tv_rollout_options *options) {
    tv_decoder_bytes bytes;
    assert_ok(tv_rollout_measure(tv_model_list(f->model), tv_device_caps(tv_model_device(f->model)), options,
                                 &bytes));
    return bytes.cache;
}

/* All texts; every second time of two in the other order. */
static tv_rollout_totals draw(const fixture *f, uint64_t rows, uint64_t prompts, bool backwards, text *out) {
    const tv_rollout_options options = options_of(rows, prompts);
    tv_rollout_request requests[TEXTS];
    text *found = calloc(TEXTS, sizeof *found);
    tv_rollout *rollout = NULL;
    assert_non_null(found);
    for (uint64_t i = 0; i < TEXTS; i++)
        requests[i] = f->requests[backwards ? TEXTS - 1 - i : i];
    assert_ok(tv_rollout_create(f->model, &options, &rollout));
    for (int again = 0; again < 2; again++) {
        memset(found, 0, TEXTS * sizeof *found);
        assert_ok(tv_rollout_run(rollout, requests, TEXTS, &f->settings, MAX_NEW, take, found));
    }
    for (uint64_t i = 0; i < TEXTS; i++)
        out[backwards ? TEXTS - 1 - i : i] = found[i];
    const tv_rollout_totals totals = tv_rollout_totals_of(rollout);
    tv_rollout_destroy(&rollout);
    free(found);
    return totals;
}

static void check_same(const fixture *f) {
    for (uint64_t i = 0; i < TEXTS; i++) {
        const text *a = &f->alone[i], *b = &f->drawn[i];
        assert_int_equal(a->length, b->length);
        assert_int_equal(a->finished, b->finished);
        assert_memory_equal(a->tokens, b->tokens, a->length * sizeof *a->tokens);
        assert_memory_equal(a->logprobs, b->logprobs, a->length * sizeof *a->logprobs);
    }
}

static void check_model(tv_device *device, const char *path) {
    fixture *f = open_model(device, path);
    uint64_t given = 0, once = 0;
    for (uint64_t i = 0; i < PROMPTS; i++)
        once += lengths[i] - 1;
    draw(f, 5, 0, false, f->alone);
    for (uint64_t i = 0; i < TEXTS; i++)
        given += f->requests[i].length - 1;
    /* Fewer rows than a group has answers, none of which divides the groups, and all; fewer prompts than
     * there are, so that rows wait for room, and more. */
    static const struct {
        uint64_t rows, prompts;
        bool backwards;
    } runs[] = {{3, 1, false},           {7, 2, true},    {10, 3, false}, {30, PROMPTS, true},
                {TEXTS, PROMPTS, false}, {TEXTS, 3, true}};
    for (size_t i = 0; i < (tv_test_once() ? 2 : TV_COUNT(runs)); i++) {
        const tv_rollout_options with = options_of(runs[i].rows, runs[i].prompts),
                                 without = options_of(runs[i].rows, 0);
        assert_true(2 * cache_bytes(f, &with) <= cache_bytes(f, &without));
        memset(f->drawn, 0, sizeof f->drawn);
        const tv_rollout_totals totals = draw(f, runs[i].rows, runs[i].prompts, runs[i].backwards, f->drawn);
        check_same(f);
        assert_in_range(totals.ended, 1, TEXTS - 1);
        /* Each prompt is read once, where what it shares with another one is there, less than that. */
        assert_true(totals.shared >= given - once);
    }
    close_model(f);
}

static void answers_are_the_same_whatever_is_shared(void **state) {
    static const char *const golden[] = {GOLDEN "gpt2_100k", GOLDEN "llama_100k", GOLDEN "gemma3_25k",
                                         GOLDEN "mistral_25k"};
    for (size_t m = 0; m < (tv_test_once() ? 1 : TV_COUNT(golden)); m++)
        check_model(*state, golden[m]);
}

/* The tiled kernels of GPUs. */
static void so_they_are_without_cpu_kernels(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("cpu_kernels=0");
    check_model(device, GOLDEN "llama_100k");
    tv_device_close(&device);
}

/* 16 x 511 + 128 x 129 positions in place of 128 x 640; where a binding is too small for them, or no answers
 * are said, rows have all of their texts. */
static void memory_is_that_of_one_prompt_and_its_answers(void **state) {
    tv_device *cut = tv_test_open_lowered("storage_range=65536");
    fixture *f = open_model(*state, GOLDEN "llama_100k");
    tv_parameter_list list = *tv_model_list(f->model);
    list.config.max_positions = 640;
    const tv_caps *caps = tv_device_caps(*state);
    tv_rollout_options options = {
        .rows = 128, .max_tokens = 640, .prompts = 16, .answers = 8, .prompt_tokens = 512, .max_new = 128};
    tv_decoder_bytes bytes, whole;
    assert_ok(tv_rollout_measure(&list, caps, &options, &bytes));
    const uint64_t position = bytes.cache / (16 * 511 + 128 * 129);
    assert_int_equal(bytes.cache, position * (16 * 511 + 128 * 129));
    assert_int_equal(bytes.shared, position * 128 * 640 - bytes.cache);
    assert_ok(tv_rollout_measure(&list, tv_device_caps(cut), &options, &whole));
    assert_int_equal(whole.cache, position * 128 * 640);
    assert_int_equal(whole.shared, 0);
    options.answers = 1;
    assert_ok(tv_rollout_measure(&list, caps, &options, &whole));
    assert_true(whole.cache < position * 128 * 640); /* 16 prompts are 16, whoever draws how often */
    options.prompts = 128;
    assert_ok(tv_rollout_measure(&list, caps, &options, &whole));
    assert_int_equal(whole.cache, position * 128 * 640);

    const tv_rollout_options built = options_of(TEXTS, PROMPTS);
    tv_rollout *rollout = NULL;
    assert_ok(tv_rollout_measure(tv_model_list(f->model), caps, &built, &bytes));
    const uint64_t before = tv_device_bytes(*state);
    assert_ok(tv_rollout_create(f->model, &built, &rollout));
    const double measured = (double)(bytes.cache + bytes.activations + bytes.state);
    assert_near(tv_device_bytes(*state) - before, measured, 0.02 * measured);
    tv_rollout_destroy(&rollout);
    close_model(f);
    tv_device_close(&cut);
}

/* Longer prompts or answers than the caches were made for, and a prompt more than there is room for. */
static void what_has_no_room_is_refused(void **state) {
    fixture *f = open_model(*state, GOLDEN "llama_100k");
    const tv_decoder_options options = {
        .rows = 4, .max_tokens = WIDTH, .prompts = 1, .prompt_tokens = 40, .max_new = 9};
    const tv_decoder_prompt good = {f->prompts[0], 40, 9, 1}, other = {f->prompts[1], 40, 9, 2},
                            one = {f->prompts[2], 1, 9, 3}, front = {f->prompts[0], 30, 9, 4};
    tv_decoder_prompt wrong = good;
    tv_decoder *decoder = NULL;
    uint64_t running;
    assert_ok(tv_decoder_create(f->model, &options, &decoder));
    assert_ok(tv_decoder_start(decoder, &good, 1, &f->settings));
    wrong.length = 41;
    assert_int_equal(tv_decoder_fill(decoder, 1, &wrong), TV_E_USAGE);
    wrong = good;
    wrong.max_new = 10;
    assert_int_equal(tv_decoder_fill(decoder, 1, &wrong), TV_E_USAGE);
    assert_false(tv_decoder_has_room(decoder, &other));
    assert_int_equal(tv_decoder_fill(decoder, 1, &other), TV_E_USAGE);
    assert_true(tv_decoder_has_room(decoder, &one));
    assert_ok(tv_decoder_fill(decoder, 1, &one));
    assert_true(tv_decoder_has_room(decoder, &front));
    assert_ok(tv_decoder_fill(decoder, 2, &front));
    assert_ok(tv_decoder_run(decoder, WIDTH, &running));
    assert_int_equal(running, 0);
    assert_true(tv_decoder_has_room(decoder, &other));
    assert_ok(tv_decoder_fill(decoder, 1, &other));
    tv_decoder_destroy(&decoder);
    close_model(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same_whatever_is_shared),
        cmocka_unit_test(so_they_are_without_cpu_kernels),
        cmocka_unit_test(memory_is_that_of_one_prompt_and_its_answers),
        cmocka_unit_test(what_has_no_room_is_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
