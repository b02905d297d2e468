/* The loss of given tokens against PyTorch (tests/golden/README.md), and that every target counts once.
 *
 * Tolerance of the losses: that of test_golden.c, 2e-6 relative, eight times what fp32 costs PyTorch. The
 * same tokens in another batch or window: log-probabilities of about 6 nats with a few units of fp32's last
 * place, 1e-5. Tried: a window that counts one target too many or too few, the stride's overlap counted
 * twice, targets not shifted: each fails.
 */
#include "support/device.h"
#include "support/small_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "formats/directory.h"
#include "run/evaluate.h"
#include "text/shard.h"
#include "text/tokenizer_json.h"

enum { GOLDEN_BATCH = 4, GOLDEN_TOKENS = 64, STREAM = 201, GOLDEN_VOCAB = 307 };

static char *source_path(const char *name) {
    return tv_format("%s/tests/%s", TRIVIUM_SOURCE_DIR, name);
}

/* Tokens [first, first + count) of the golden shard as a shard of their own. */
static char *cut_shard(const char *dir, const char *name, uint64_t first, uint64_t count) {
    char *from = source_path("golden/tokens.bin"), *to = tv_format("%s/%s", dir, name);
    uint32_t tokens[1024];
    tv_shard *shard = NULL;
    tv_shard_writer *writer = NULL;
    assert_true(count <= 1024);
    assert_ok(tv_shard_open(from, 0, &shard));
    assert_ok(tv_shard_read(shard, first, count, tokens));
    assert_ok(tv_shard_writer_open(to, GOLDEN_VOCAB, &writer));
    assert_ok(tv_shard_writer_add(writer, tokens, count));
    assert_ok(tv_shard_writer_commit(&writer));
    tv_shard_close(&shard);
    free(from);
    return to;
}

static tv_evaluate_options options_for(const char *model, const char *data) {
    return (tv_evaluate_options){
        .model = model, .data = data, .device = {.select = getenv("TRIVIUM_TEST_DEVICE")}};
}

/* The lines of a file of log-probabilities; the caller frees. */
static double *read_logprobs(const char *path, uint64_t expected) {
    char *text = NULL;
    assert_ok(tv_read_file(path, &text, NULL));
    double *values = calloc(expected, sizeof *values);
    assert_non_null(values);
    uint64_t count = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        assert_true(count < expected);
        char *end;
        values[count++] = strtod(line, &end);
        assert_true(end != line && *end == '\0');
    }
    assert_int_equal(count, expected);
    free(text);
    return values;
}

/* ---- against PyTorch ---- */

static void golden_loss(const char *name, const char *dir, uint64_t batch) {
    char *figures_path = tv_format("%s/tests/golden/%s.json", TRIVIUM_SOURCE_DIR, name);
    char *model = tv_format("%s/tests/golden/%s", TRIVIUM_SOURCE_DIR, name);
    char *shard = cut_shard(dir, "first.bin", 0, GOLDEN_BATCH * GOLDEN_TOKENS + 1);
    cJSON *figures = NULL;
    assert_ok(tv_json_read_file(figures_path, &figures));
    double expected = cJSON_GetArrayItem(tv_json_get(figures, "loss"), 0)->valuedouble;
    tv_evaluate_options options = options_for(model, shard);
    options.tokens = GOLDEN_TOKENS;
    options.batch = batch;
    tv_evaluate_result result;
    assert_ok(tv_evaluate(&options, &result));
    assert_near(result.loss, expected, 2e-6 * expected);
    assert_near(result.perplexity, exp(result.loss), 1e-9 * exp(result.loss));
    assert_int_equal(result.tokens, GOLDEN_BATCH * GOLDEN_TOKENS);
    assert_int_equal(result.bytes, 0);
    cJSON_Delete(figures);
    tv_free_all(figures_path, model, shard);
}

static void losses_equal_pytorch(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    golden_loss("gpt2_100k", dir, GOLDEN_BATCH);
    golden_loss("llama_100k", dir, GOLDEN_BATCH);
    /* The last batch is short. */
    golden_loss("llama_100k", dir, 3);
    tv_test_dir_remove(&dir);
}

/* ---- windows ---- */

static double *stream_logprobs(const char *dir, const char *data, uint64_t tokens, uint64_t stride,
                               uint64_t targets) {
    char *model = source_path("golden/gpt2_100k"), *out = tv_format("%s/logprobs", dir);
    tv_evaluate_options options = options_for(model, data);
    options.tokens = tokens;
    options.stride = stride;
    options.logprobs = out;
    tv_evaluate_result result;
    assert_ok(tv_evaluate(&options, &result));
    assert_int_equal(result.tokens, targets);
    double *values = read_logprobs(out, targets), sum = 0;
    for (uint64_t i = 0; i < targets; i++)
        sum += values[i];
    /* Nine digits of each. */
    assert_near(result.loss, -sum / (double)targets, 1e-7);
    free(model);
    free(out);
    return values;
}

/* Target j (counting from 0, token j + 1) is predicted from the token `start` on: alone in a shard that
 * begins there, the same number must come out. */
static void check_target(const char *dir, const double *logprobs, uint64_t j, uint64_t start) {
    char *shard = cut_shard(dir, "part.bin", start, j - start + 2);
    uint64_t targets = j - start + 1;
    double *alone = stream_logprobs(dir, shard, targets, 0, targets);
    assert_near(logprobs[j], alone[targets - 1], 1e-5);
    free(alone);
    free(shard);
}

static void every_target_counts_once(void **state) {
    (void)state;
    enum { T = 48, S = 20 };
    char *dir = tv_test_dir();
    char *shard = cut_shard(dir, "stream.bin", 0, STREAM);
    double *plain = stream_logprobs(dir, shard, T, 0, STREAM - 1);
    const uint64_t plain_targets[] = {0, T - 1, T, 2 * T + 7, STREAM - 2};
    for (size_t i = 0; i < sizeof plain_targets / sizeof *plain_targets; i++)
        check_target(dir, plain, plain_targets[i], plain_targets[i] / T * T);
    double *strided = stream_logprobs(dir, shard, T, S, STREAM - 1);
    const struct {
        uint64_t target, start;
    } strided_targets[] = {{0, 0}, {T - 1, 0}, {T, S}, {T + S - 1, S}, {T + S, 2 * S}, {STREAM - 2, 8 * S}};
    for (size_t i = 0; i < sizeof strided_targets / sizeof *strided_targets; i++)
        check_target(dir, strided, strided_targets[i].target, strided_targets[i].start);
    tv_free_all(plain, strided, shard);
    tv_test_dir_remove(&dir);
}

/* ---- text ---- */

static tv_status draw_parameter(void *list, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                                void *out) {
    assert_int_equal(dtype, TV_F32);
    tv_parameter_initialise(list, index, 7, first_row, rows, out);
    return TV_OK;
}

/* A small model with the tokenizer of tests/text/data/trained (512 tokens). */
static char *text_model(const char *dir) {
    tv_model_config config = tv_test_config(TV_ARCH_GPT2, (tv_test_sizes){.vocab = 512,
                                                                          .layers = 1,
                                                                          .heads = 2,
                                                                          .channels = 16,
                                                                          .head_size = 8,
                                                                          .ffn = 32,
                                                                          .positions = 32});
    tv_parameter_list *list = NULL;
    tv_tokenizer *tokenizer = NULL;
    char *model = tv_format("%s/model", dir), *trained = source_path("text/data/trained");
    assert_ok(tv_make_dirs(model));
    assert_ok(tv_parameter_list_create(&config, &list));
    assert_ok(tv_model_directory_write(model, list, draw_parameter, list));
    assert_ok(tv_tokenizer_load(trained, &tokenizer));
    assert_ok(tv_tokenizer_save(tokenizer, model));
    tv_tokenizer_destroy(&tokenizer);
    tv_parameter_list_destroy(&list);
    free(trained);
    return model;
}

static const char *const documents[] = {"It was the best of times, it was the worst of times.",
                                        "Call me Ishmael. Some years ago\xe2\x80\xa6"};

static char *pack_documents(const char *dir, const char *model) {
    char *path = tv_format("%s/packed.bin", dir);
    tv_tokenizer *tokenizer = NULL;
    tv_shard_writer *writer = NULL;
    tv_ids ids = {0};
    assert_ok(tv_tokenizer_load(model, &tokenizer));
    uint32_t end = tv_tokenizer_info_of(tokenizer)->end_of_text;
    for (int i = 0; i < 2; i++) {
        assert_ok(tv_tokenizer_begin_document(tokenizer, &ids));
        assert_ok(tv_tokenizer_encode(tokenizer, documents[i], strlen(documents[i]), false, &ids));
        assert_ok(tv_ids_append(&ids, &end, 1));
    }
    assert_ok(tv_shard_writer_open(path, 512, &writer));
    assert_ok(tv_shard_writer_add(writer, ids.data, ids.size));
    assert_ok(tv_shard_writer_commit(&writer));
    tv_ids_free(&ids);
    tv_tokenizer_destroy(&tokenizer);
    return path;
}

/* With `config` as its tokenizer_config.json, or its own. */
static double expect_text_equals_its_shard(const char *config, double unread) {
    double targets = 0;
    char *dir = tv_test_dir(), *model = text_model(dir), *at = tv_format("%s/tokenizer_config.json", model);
    if (config)
        assert_ok(tv_write_file(at, config, strlen(config)));
    char *shard = pack_documents(dir, model);
    char *lines = tv_format("%s/text.jsonl", dir), *folder = tv_format("%s/texts", dir);
    char *content = tv_format("{\"text\": \"%s\"}\n{\"text\": \"%s\"}\n", documents[0], documents[1]);
    tv_evaluate_result of_shard, of_text;
    assert_ok(tv_write_file(lines, content, strlen(content)));
    assert_ok(tv_make_dirs(folder));
    for (int i = 0; i < 2; i++) {
        char *file = tv_format("%s/%d.txt", folder, i);
        assert_ok(tv_write_file(file, documents[i], strlen(documents[i])));
        free(file);
    }
    tv_evaluate_options options = options_for(model, shard);
    assert_ok(tv_evaluate(&options, &of_shard));
    const char *const texts[] = {lines, folder};
    double bytes = (double)(strlen(documents[0]) + strlen(documents[1]));
    for (int i = 0; i < 2; i++) {
        options.data = texts[i];
        assert_ok(tv_evaluate(&options, &of_text));
        assert_true(of_text.loss == of_shard.loss);
        assert_int_equal(of_text.tokens, of_shard.tokens);
        assert_int_equal(of_text.bytes, bytes);
        assert_near(of_text.bits_per_byte,
                    (of_shard.loss * (double)of_shard.tokens + unread) / log(2) / bytes, 1e-9);
        targets = (double)of_text.tokens;
    }
    tv_free_all(at, content, lines, folder, shard, model);
    tv_test_dir_remove(&dir);
    return targets;
}

/* The first token is read from nothing: one of the vocabulary, or what the tokenizer puts before each text,
 * which is no part of it. */
static void text_equals_its_shard(void **state) {
    (void)state;
    double targets = expect_text_equals_its_shard(NULL, log(512));
    double begun = expect_text_equals_its_shard(
        "{\"add_bos_token\": true, \"bos_token\": \"<|im_start|>\", \"eos_token\": \"<|endoftext|>\"}", 0);
    assert_near(begun, targets + 2, 0);
}

/* ---- mistakes ---- */

static void expect_failure(const tv_evaluate_options *options, tv_status expected, const char *word) {
    tv_evaluate_result result;
    tv_status status = tv_evaluate(options, &result);
    if (status != expected || !strstr(tv_last_error(), word))
        fail_msg("expected %s with \"%s\", found %s: %s", tv_status_name(expected), word,
                 tv_status_name(status), tv_last_error());
    if (options->logprobs)
        assert_false(tv_path_exists(options->logprobs));
}

static void mistakes_are_named(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *golden = source_path("golden/gpt2_100k");
    char *one = cut_shard(dir, "one.bin", 0, 1), *many = cut_shard(dir, "many.bin", 0, 100);
    char *text = tv_format("%s/text.txt", dir), *wide = tv_format("%s/wide.bin", dir);
    char *logprobs = tv_format("%s/logprobs", dir), *not_shard = tv_format("%s/text.bin", dir);
    tv_shard_writer *writer = NULL;
    assert_ok(tv_write_file(text, "some text", 9));
    assert_ok(tv_write_file(not_shard, "some text", 9));
    assert_ok(tv_shard_writer_open(wide, 400, &writer));
    assert_ok(tv_shard_writer_add(writer, (const uint32_t[]){1, 399, 2}, 3));
    assert_ok(tv_shard_writer_commit(&writer));
    const struct {
        const char *model, *data;
        uint64_t tokens, stride;
        tv_status status;
        const char *word;
    } cases[] = {
        {golden, one, 0, 0, TV_E_DATA, "at least two tokens"},
        {golden, wide, 0, 0, TV_E_DATA, "399"},
        {golden, text, 0, 0, TV_E_DATA, "tokenizer.json"},
        {golden, not_shard, 0, 0, TV_E_DATA, "text.bin"},
        {golden, many, 129, 0, TV_E_CONFIG, "128"},
        {golden, many, 32, 33, TV_E_USAGE, "stride"},
        {dir, many, 0, 0, TV_E_DATA, "model directory"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_evaluate_options options = options_for(cases[i].model, cases[i].data);
        options.tokens = cases[i].tokens;
        options.stride = cases[i].stride;
        options.logprobs = logprobs;
        expect_failure(&options, cases[i].status, cases[i].word);
    }
    tv_free_all(one, many, text, wide, not_shard, logprobs, golden);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_equal_pytorch),
        cmocka_unit_test(every_target_counts_once),
        cmocka_unit_test(text_equals_its_shard),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
