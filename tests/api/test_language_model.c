/* The public API on a small published model: memory, logits, texts, training state, and the sample that
 * chats.
 *
 * Seen to fail with: the cache of other weights kept after a step, the second end token left out, AdamW's
 * count lost with the trainer, moments not restored, and a callback's word ignored.
 */
#include "support/small_model.h"
#include "support/small_run.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <trivium/trivium.h>

#include "base/bytes.h"
#include "base/files.h"

enum { VOCAB = 307, LENGTH = 12 };

static const tv_language_model_options training = {.train = true};

static const uint32_t text[LENGTH + 1] = {5, 77, 300, 5, 12, 41, 200, 77, 5, 90, 33, 250, 8};

static tv_device *open_device(void) {
    tv_device *device;
    assert_ok(tv_device_open(NULL, &device));
    return device;
}

static tv_language_model *load(tv_device *device, const tv_small_model *small, bool train) {
    tv_language_model *model;
    assert_ok(tv_language_model_load(device, small->model, train ? &training : NULL, &model));
    return model;
}

static double step(tv_language_model *model, uint64_t length) {
    double loss;
    assert_ok(tv_language_model_step(model, 1, length, text, text + 1, NULL, &loss, NULL));
    return loss;
}

/* The loss of text[length] behind the tokens before it, by the full pass. */
static double loss_of_last(tv_language_model *model, uint64_t length) {
    uint32_t targets[LENGTH];
    for (uint64_t i = 0; i < LENGTH; i++)
        targets[i] = i + 1 == length ? text[length] : TV_NO_TARGET;
    double loss;
    assert_ok(tv_language_model_loss(model, 1, length, text, targets, &loss));
    return loss;
}

static double loss_by_logits(tv_language_model *model, uint64_t length) {
    float logits[VOCAB];
    assert_ok(tv_language_model_logits(model, text, length, logits));
    double largest = -DBL_MAX, sum = 0;
    for (int i = 0; i < VOCAB; i++)
        largest = fmax(largest, (double)logits[i]);
    for (int i = 0; i < VOCAB; i++)
        sum += exp((double)logits[i] - largest);
    return largest + log(sum) - (double)logits[text[length]];
}

static void inference_takes_no_memory_of_training(void **state) {
    tv_device *device = open_device();
    uint64_t before = tv_device_bytes(device);
    tv_language_model *reads = load(device, *state, false);
    uint64_t inference = tv_device_bytes(device) - before;
    tv_language_model *trains = load(device, *state, true);
    uint64_t all = tv_device_bytes(device) - before - inference;
    if (!(inference >= 4 * tv_language_model_parameters(reads) && 3 * inference < all))
        fail_msg("%llu bytes without training, %llu with it", (unsigned long long)inference,
                 (unsigned long long)all);
    assert_int_equal(tv_language_model_vocab(reads), VOCAB);
    assert_int_equal(tv_language_model_positions(reads), TV_SMALL_CONTEXT);
    /* It measures the same, and says what it cannot do. */
    assert_near(loss_of_last(reads, 5), loss_of_last(trains, 5), 0);
    assert_fails(tv_language_model_step(reads, 1, LENGTH, text, text + 1, NULL, NULL, NULL), TV_E_USAGE,
                 "without training");
    assert_int_equal(tv_language_model_save_training(reads, "nowhere"), TV_E_USAGE);
    assert_int_equal(tv_language_model_load_training(reads, "nowhere"), TV_E_USAGE);
    tv_language_model_destroy(&trains);
    tv_language_model_destroy(&reads);
    tv_device_close(&device);
}

static void logits_are_those_of_the_loss(void **state) {
    tv_device *device = open_device();
    tv_language_model *model = load(device, *state, true);
    float logits[VOCAB];
    /* Longer and shorter ones, so that the cache is gone on from, and cut. */
    static const uint64_t lengths[] = {1, 2, 7, 8, 4, 12, 11};
    for (size_t i = 0; i < TV_COUNT(lengths); i++)
        assert_near(loss_by_logits(model, lengths[i]), loss_of_last(model, lengths[i]), 2e-5);
    step(model, LENGTH);
    /* Of other weights now, although the text is the one that the cache holds. */
    assert_near(loss_by_logits(model, 11), loss_of_last(model, 11), 2e-5);
    assert_int_equal(tv_language_model_logits(model, text, 0, logits), TV_E_USAGE);
    assert_int_equal(tv_language_model_logits(model, text, TV_SMALL_CONTEXT, logits), TV_E_USAGE);
    assert_int_equal(tv_language_model_logits(model, (uint32_t[]){VOCAB}, 1, logits), TV_E_DATA);
    tv_language_model_destroy(&model);
    tv_device_close(&device);
}

/* One pass gives what each text up to there gives by itself. */
static void all_logits_are_those_of_each_prefix(void **state) {
    tv_device *device = open_device();
    tv_language_model *model = load(device, *state, true);
    static float all[TV_SMALL_CONTEXT * VOCAB];
    float one[VOCAB];
    static const uint64_t lengths[] = {LENGTH, 1, 7};
    for (size_t i = 0; i < TV_COUNT(lengths); i++) {
        if (i == 2)
            step(model, LENGTH); /* of other weights now */
        memset(all, 0xff, sizeof all);
        assert_ok(tv_language_model_all_logits(model, text, lengths[i], all));
        for (uint64_t t = 0; t < lengths[i]; t++) {
            assert_ok(tv_language_model_logits(model, text, t + 1, one));
            for (int v = 0; v < VOCAB; v++)
                assert_near((double)all[t * VOCAB + (uint64_t)v], (double)one[v], 2e-5);
        }
        assert_true(isnan(all[lengths[i] * VOCAB])); /* nothing behind them */
    }
    uint32_t longest[TV_SMALL_CONTEXT + 1] = {0};
    assert_ok(tv_language_model_all_logits(model, longest, TV_SMALL_CONTEXT, all));
    assert_true(isfinite(all[TV_SMALL_CONTEXT * VOCAB - 1]));
    assert_int_equal(tv_language_model_all_logits(model, text, 0, all), TV_E_USAGE);
    assert_int_equal(tv_language_model_all_logits(model, longest, TV_SMALL_CONTEXT + 1, all), TV_E_USAGE);
    assert_int_equal(tv_language_model_all_logits(model, (uint32_t[]){VOCAB}, 1, all), TV_E_DATA);
    tv_language_model_destroy(&model);
    tv_device_close(&device);
}

typedef struct heard {
    uint32_t tokens[32];
    uint64_t count, limit;
} heard;

static bool hear(void *context, uint32_t token) {
    heard *h = context;
    h->tokens[h->count++] = token;
    return h->count < h->limit;
}

static void texts_are_told_token_by_token(void **state) {
    tv_device *device = open_device();
    tv_language_model *model = load(device, *state, false);
    uint32_t drawn[32], ids[LENGTH + 32];
    uint64_t count;
    heard all = {.limit = UINT64_MAX}, some = {.limit = 3};
    tv_generate_settings greedy = tv_generate_default_settings();
    greedy.temperature = 0;
    greedy.max_new = 20;
    greedy.callback = hear;
    greedy.context = &all;
    assert_ok(tv_language_model_generate(model, text, 4, &greedy, drawn, &count));
    assert_true(count > 3);
    assert_int_equal(count, all.count);
    assert_memory_equal(drawn, all.tokens, count * sizeof *drawn);
    /* Each is the likeliest by the logits. */
    memcpy(ids, text, 4 * sizeof *ids);
    for (uint64_t i = 0; i < count; i++) {
        float logits[VOCAB];
        uint32_t best = 0;
        assert_ok(tv_language_model_logits(model, ids, 4 + i, logits));
        for (uint32_t v = 1; v < VOCAB; v++)
            best = logits[v] > logits[best] ? v : best;
        assert_int_equal(drawn[i], best);
        ids[4 + i] = drawn[i];
    }
    /* One that is stopped ends there, and the next goes on as if nothing had been. */
    greedy.context = &some;
    assert_ok(tv_language_model_generate(model, text, 4, &greedy, ids, &count));
    assert_int_equal(count, 3);
    assert_int_equal(some.count, 3);
    greedy.callback = NULL;
    assert_ok(tv_language_model_generate(model, text, 4, &greedy, ids, &count));
    assert_int_equal(count, all.count);
    assert_memory_equal(ids, all.tokens, count * sizeof *ids);
    tv_language_model_destroy(&model);
    tv_device_close(&device);
}

static const char shape[] =
    "\"model_type\": \"llama\", \"vocab_size\": 40, \"hidden_size\": 32, "
    "\"intermediate_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
    "\"max_position_embeddings\": 64";

static tv_language_model *create(tv_device *device, const char *more) {
    tv_language_model *model;
    char *config = tv_format("{%s%s}", shape, more);
    assert_ok(tv_language_model_create(device, config, 3, NULL, &model));
    free(config);
    return model;
}

static void every_end_token_ends(void **state) {
    (void)state;
    tv_device *device = open_device();
    const uint32_t prompt[] = {1, 2, 3};
    uint32_t drawn[32], ends[TV_MAX_ENDS];
    uint64_t count;
    tv_generate_settings settings = tv_generate_default_settings();
    settings.max_new = 32;
    tv_language_model *model = create(device, "");
    assert_int_equal(tv_language_model_ends(model, NULL, NULL, ends), 0);
    assert_ok(tv_language_model_generate(model, prompt, 3, &settings, drawn, &count));
    assert_int_equal(count, 32);
    tv_language_model_destroy(&model);
    /* The same draws, with the sixth one as the second end token; the first is one that is not drawn. */
    bool seen[40] = {false};
    uint32_t first = 0;
    for (int i = 0; i < 32; i++)
        seen[drawn[i]] = true;
    while (seen[first])
        first++;
    char *more = tv_format(", \"eos_token_id\": [%u, %u]", first, drawn[5]);
    model = create(device, more);
    uint64_t expected = 0;
    while (drawn[expected++] != drawn[5])
        ;
    assert_ok(tv_language_model_generate(model, prompt, 3, &settings, drawn, &count));
    assert_int_equal(count, expected);
    assert_int_equal(tv_language_model_ends(model, NULL, NULL, ends), 2);
    assert_int_equal(ends[0], first);
    assert_int_equal(ends[1], drawn[expected - 1]);
    free(more);
    tv_language_model_destroy(&model);
    tv_device_close(&device);
}

static void flip_a_bit(const char *path) {
    char *bytes;
    uint64_t size;
    assert_ok(tv_read_file(path, &bytes, &size));
    bytes[size - 9] ^= 4;
    assert_ok(tv_write_file(path, bytes, size));
    free(bytes);
}

static void training_goes_on_bit_for_bit(void **state) {
    const tv_small_model *small = *state;
    tv_device *device = open_device();
    tv_language_model *one = load(device, small, true), *other = load(device, small, true);
    char *saved = tv_format("%s/saved", small->dir), *moments, *litter;
    for (int i = 0; i < 3; i++)
        step(one, LENGTH);
    assert_ok(tv_language_model_save_training(one, saved));
    assert_fails(tv_language_model_save_training(one, saved), TV_E_IO, "is there already");
    double fourth = step(one, LENGTH), fifth = step(one, LENGTH);
    /* Into one that has trained otherwise: everything comes from the files. */
    step(other, LENGTH);
    loss_by_logits(other, 5);
    assert_ok(tv_language_model_load_training(other, saved));
    assert_near(loss_by_logits(other, 5), loss_of_last(other, 5), 2e-5);
    assert_near(step(other, LENGTH), fourth, 0);
    assert_near(step(other, LENGTH), fifth, 0);
    /* A model of another config, and damage, are refused. */
    tv_language_model *wrong;
    char *config = tv_format("{%s}", shape);
    assert_ok(tv_language_model_create(device, config, 3, &training, &wrong));
    assert_int_equal(tv_language_model_load_training(wrong, saved), TV_E_CONFIG);
    moments = tv_format("%s/training_state/optimizer.safetensors", saved);
    flip_a_bit(moments);
    assert_fails(tv_language_model_load_training(other, saved), TV_E_DATA, "optimizer.safetensors");
    litter = tv_format("%s.trivium-writing", saved);
    assert_false(tv_path_exists(litter));
    tv_free_all(config, saved, moments, litter);
    tv_language_model_destroy(&wrong);
    tv_language_model_destroy(&one);
    tv_language_model_destroy(&other);
    tv_device_close(&device);
}

static void another_shape_does_not_count_anew(void **state) {
    tv_device *device = open_device();
    tv_language_model *plain = load(device, *state, true), *mixed = load(device, *state, true);
    for (int i = 0; i < 4; i++) {
        assert_near(step(mixed, LENGTH), step(plain, LENGTH), 0);
        loss_of_last(mixed, 5); /* a trainer of another shape comes between */
    }
    assert_true(isfinite(step(mixed, 7)));
    tv_language_model_destroy(&plain);
    tv_language_model_destroy(&mixed);
    tv_device_close(&device);
}

/* ---- what needs no device ---- */

typedef struct lines {
    tv_text text;
    int count, warnings;
} lines;

static void keep(void *context, tv_log_level level, const char *line) {
    lines *l = context;
    l->count++;
    l->warnings += level == TV_LOG_WARNING;
    assert_ok(tv_text_append(&l->text, line, strlen(line) + 1));
}

static void logs_go_to_the_callback(void **state) {
    const tv_small_model *small = *state;
    tv_tokenizer *tokenizer;
    tv_chat_template *chat;
    lines kept = {0};
    assert_ok(tv_tokenizer_load(small->model, &tokenizer));
    tv_log_set_callback(keep, &kept);
    assert_ok(tv_chat_template_load(tokenizer, &chat));
    assert_true(kept.count > 0);
    assert_non_null(strstr((char *)kept.text.data, "turns end with <|im_end|>"));
    assert_null(strchr((char *)kept.text.data, '\n'));
    int before = kept.count;
    tv_chat_template_destroy(&chat);
    tv_log_set_level(TV_LOG_ERROR);
    assert_ok(tv_chat_template_load(tokenizer, &chat));
    assert_int_equal(kept.count, before);
    tv_log_set_level(TV_LOG_INFO);
    tv_log_set_callback(NULL, NULL);
    const tv_message message = {TV_USER, "x", 1, false};
    tv_ids ids = {0};
    assert_ok(tv_chat_encode(tokenizer, chat, &message, 1, true, &ids, NULL));
    assert_true(ids.size > 3);
    uint32_t end = tv_chat_template_end(chat);
    assert_int_equal(end, tv_tokenizer_find(tokenizer, "<|im_end|>", 10));
    assert_int_equal(tv_tokenizer_end_of_text(tokenizer), tv_tokenizer_find(tokenizer, "<|endoftext|>", 13));
    tv_ids_free(&ids);
    tv_text_free(&kept.text);
    tv_chat_template_destroy(&chat);
    tv_chat_template_destroy(&chat);
    tv_tokenizer_destroy(&tokenizer);
}

static void what_is_shown_is_whole_and_harmless(void **state) {
    (void)state;
    tv_text waiting = {0}, shown = {0};
    assert_ok(tv_text_append(&waiting, "a\x1b[2J\xc3", 6));
    assert_ok(tv_text_show(&waiting, false, &shown));
    assert_int_equal(waiting.size, 1);
    assert_ok(tv_text_append(&waiting, "\xa9", 1));
    assert_ok(tv_text_show(&waiting, false, &shown));
    assert_int_equal(waiting.size, 0);
    static const char expected[] = "a\\x1b[2J\xc3\xa9";
    assert_int_equal(shown.size, strlen(expected));
    assert_memory_equal(shown.data, expected, strlen(expected));
    assert_ok(tv_text_append(&waiting, "\xc3", 1));
    assert_ok(tv_text_show(&waiting, true, &shown));
    assert_memory_equal(shown.data + strlen(expected), "\\xc3", 4);
    tv_text_free(&waiting);
    tv_text_free(&shown);
}

static void the_version_is_the_commands(void **state) {
    (void)state;
    char *line = tv_format("trivium %s\n", tv_version());
    tv_child_result run = tv_run_trivium("--version");
    assert_string_equal(run.out, line);
    tv_child_result_free(&run);
    free(line);
}

/* The first turn is addressed by the same seed there. */
static void the_sample_chats_as_the_command_does(void **state) {
    const tv_small_model *small = *state;
    char *input = tv_small_model_file(small, "lines", "It was\n");
    char *commands[] = {tv_format("exec %s %s < %s", TRIVIUM_CHAT_SAMPLE, small->model, input),
                        tv_format("exec %s chat --model %s --seed 1 --temperature 0.8 --max-tokens 512 < %s",
                                  TRIVIUM_COMMAND, small->model, input)};
    tv_child_result runs[2];
    for (int i = 0; i < 2; i++) {
        runs[i] = tv_child_run((const char *const[]){"/bin/sh", "-c", commands[i], NULL});
        if (runs[i].exit_code != 0)
            fail_msg("exit %d: %s", runs[i].exit_code, runs[i].err);
        free(commands[i]);
    }
    assert_true(strlen(runs[0].out) > 5);
    assert_string_equal(runs[0].out, runs[1].out);
    tv_child_result_free(&runs[0]);
    tv_child_result_free(&runs[1]);
    free(input);
}

static int make(void **state) {
    return tv_small_model_make(state);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(inference_takes_no_memory_of_training),
        cmocka_unit_test(logits_are_those_of_the_loss),
        cmocka_unit_test(all_logits_are_those_of_each_prefix),
        cmocka_unit_test(texts_are_told_token_by_token),
        cmocka_unit_test(every_end_token_ends),
        cmocka_unit_test(training_goes_on_bit_for_bit),
        cmocka_unit_test(another_shape_does_not_count_anew),
        cmocka_unit_test(logs_go_to_the_callback),
        cmocka_unit_test(what_is_shown_is_whole_and_harmless),
        cmocka_unit_test(the_version_is_the_commands),
        cmocka_unit_test(the_sample_chats_as_the_command_does),
    };
    return cmocka_run_group_tests(tests, make, tv_small_model_remove);
}
