/* Decoding and the training pass give a row the same bits at a tier of matrix units: logits of a batch in the
 * tier's own types against those of one token after another, alone and among others, of prompts that are read
 * in passes. On devices at a tier of matrix units (Mesa 26's lavapipe has cm-f16); else the test is skipped.
 * In the fp32 tier kernels/attention_blocks holds the same for attention, which alone could differ.
 *
 * Seen to fail on 2026-11-29, at lavapipe's cm-f16: GELU in a product of what is not rounded to T first.
 */
#include "support/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/attention.h"
#include "model/forward.h"
#include "model/heads.h"
#include "support/open_model.h"
#include "support/small_config.h"
#include "vk/transfer.h"

/* Texts of more than one block of 64 keys. */
enum { TEXTS = 7, TOKENS = 70, READ = 66, VOCAB = 52, LAYERS = 2, FEW = 3 };

typedef struct lab {
    tv_device *device;
    tv_parameter_list *list;
    tv_model *model;
    uint32_t *tokens; /* (TEXTS, TOKENS) */
    float *logits;    /* (TEXTS, TOKENS, VOCAB) of the training pass */
} lab;

static tv_activations *make_activations(const lab *l, const tv_activations_options *options) {
    tv_activations *activations = NULL;
    assert_ok(tv_activations_create(l->device, tv_device_caps(l->device), l->list, options, &activations));
    return activations;
}

static void read_logits(const lab *l, tv_recorder *recorder, const tv_activations *activations,
                        float *logits) {
    tv_tensor chunk;
    assert_int_equal(activations->head_rows, activations->rows);
    assert_ok(tv_language_logits(recorder, l->model, activations, 0, activations->rows, &chunk));
    tv_test_run(l->device, recorder);
    assert_ok(tv_download(l->device, chunk.span, logits, activations->rows * VOCAB * sizeof *logits));
}

static void training_pass(const lab *l) {
    tv_activations *activations = make_activations(
        l, &(tv_activations_options){.batch = TEXTS,
                                     .tokens = TOKENS,
                                     .backward = true,
                                     .dtype = tv_tier_dtype(tv_device_caps(l->device)->tier)});
    tv_test_tensor in = tv_test_uints(l->device, (uint64_t)TEXTS * TOKENS, l->tokens);
    tv_recorder *recorder = tv_test_begin(l->device);
    assert_ok(tv_forward(recorder, l->model, activations, &(tv_model_inputs){.tokens = in.tensor}));
    read_logits(l, recorder, activations, l->logits);
    tv_test_free(&in);
    tv_activations_destroy(&activations);
}

static lab open_lab(tv_architecture architecture, bool adapted, const char *caps) {
    lab l = {.device = tv_test_open_lowered(caps)};
    const tv_model_config config =
        tv_test_config(architecture, (tv_test_sizes){.vocab = VOCAB,
                                                     .layers = LAYERS,
                                                     .heads = 4,
                                                     .kv_heads = architecture == TV_ARCH_GPT2 ? 4 : 2,
                                                     .channels = 64,
                                                     .head_size = 16,
                                                     .ffn = 172,
                                                     .positions = TOKENS});
    const tv_adapter adapter = {
        .rank = 4,
        .alpha = 8,
        .target_count = 2,
        .targets = {{TV_PARAMETER_QKV_WEIGHT, 0, 192}, {TV_PARAMETER_MLP_OUT_WEIGHT, 0, 64}}};
    if (adapted)
        assert_ok(
            tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &adapter}, &l.list));
    else
        assert_ok(tv_parameter_list_create(&config, &l.list));
    assert_ok(tv_model_create(l.device, l.list, false, &l.model));
    assert_ok(tv_model_need_context(l.model, TOKENS));
    tv_test_randomize(l.model, 1.0F / 6);
    l.tokens = malloc(TEXTS * TOKENS * sizeof *l.tokens);
    l.logits = malloc((size_t)TEXTS * TOKENS * VOCAB * sizeof *l.logits);
    assert_true(l.tokens && l.logits);
    const tv_rng rng = {.seed = 5, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < TEXTS * TOKENS; i++)
        l.tokens[i] = (uint32_t)tv_uniform_below(&rng, i, VOCAB);
    training_pass(&l);
    return l;
}

static void close_lab(lab *l) {
    free(l->tokens);
    free(l->logits);
    tv_model_destroy(&l->model);
    tv_parameter_list_destroy(&l->list);
    tv_device_close(&l->device);
}

/* So many rows side by side, which repeat the texts. */
typedef struct company {
    const lab *l;
    uint64_t rows;
    tv_tensor k[LAYERS], v[LAYERS];
    tv_buffer *caches[2 * LAYERS];
} company;

static company meet(const lab *l, uint64_t rows) {
    company c = {.l = l, .rows = rows};
    const tv_model_config *config = &l->list->config;
    tv_dtype type = tv_attention_cache_type(tv_device_caps(l->device), config->head_size);
    assert_int_equal(type, tv_tier_dtype(tv_device_caps(l->device)->tier));
    uint64_t bytes = rows * config->n_kv_head * TOKENS * config->head_size * tv_dtype_bytes(type);
    for (int i = 0; i < 2 * LAYERS; i++) {
        assert_ok(tv_buffer_create(l->device, bytes, TV_MEMORY_DEVICE, "caches", &c.caches[i]));
        *(i % 2 ? &c.v[i / 2] : &c.k[i / 2]) = (tv_tensor){tv_buffer_span(c.caches[i]), type};
    }
    return c;
}

static void part(company *c) {
    for (int i = 0; i < 2 * LAYERS; i++)
        tv_buffer_destroy(&c->caches[i]);
}

/* Tokens `first` to `first + count - 1` of each row. They are fed one by one and their logits compared, or
 * read at once. */
static void feed(const company *c, uint64_t first, uint64_t count, bool reads) {
    const lab *l = c->l;
    uint64_t rows = reads ? c->rows * count : c->rows;
    uint32_t *tokens = malloc(rows * sizeof *tokens), *positions = malloc(rows * sizeof *positions),
             *slots = malloc(rows * sizeof *slots);
    float *logits = malloc(rows * VOCAB * sizeof *logits);
    assert_true(tokens && positions && slots && logits);
    tv_activations *activations = make_activations(
        l, &(tv_activations_options){.batch = rows,
                                     .tokens = 1,
                                     .cached_tokens = TOKENS,
                                     .dtype = tv_tier_dtype(tv_device_caps(l->device)->tier)});
    for (uint64_t step = 0; step < (reads ? 1 : count); step++) {
        for (uint64_t r = 0; r < rows; r++) {
            uint64_t text = reads ? r / count : r, at = first + (reads ? r % count : step);
            tokens[r] = l->tokens[text % TEXTS * TOKENS + at];
            positions[r] = (uint32_t)at;
            slots[r] = (uint32_t)text;
        }
        tv_test_tensor in = tv_test_uints(l->device, rows, tokens),
                       where = tv_test_uints(l->device, rows, positions),
                       of = tv_test_uints(l->device, rows, slots);
        const tv_model_inputs inputs = {.tokens = in.tensor, .positions = where.tensor};
        tv_kv_cache cache = {.max_tokens = TOKENS, .k = c->k, .v = c->v};
        tv_recorder *recorder = tv_test_begin(l->device);
        if (reads) {
            cache.slots = of.tensor;
            cache.slot_count = c->rows;
            assert_ok(tv_forward_read(recorder, l->model, activations, &inputs, &cache));
            tv_test_run(l->device, recorder);
        } else {
            assert_ok(tv_forward_cached(recorder, l->model, activations, &inputs, &cache));
            read_logits(l, recorder, activations, logits);
        }
        for (uint64_t r = 0; r < (reads ? 0 : rows); r++) {
            const float *found = logits + r * VOCAB,
                        *expected = l->logits + (r % TEXTS * TOKENS + first + step) * VOCAB;
            bool same = true;
            for (int v = 0; v < VOCAB; v++)
                same = same && found[v] == expected[v];
            if (!same)
                fail_msg("row %d of %d, token %d: logit 0 is %.9g and %.9g in the training pass", (int)r,
                         (int)rows, (int)(first + step), (double)found[0], (double)expected[0]);
        }
        tv_test_free(&in);
        tv_test_free(&where);
        tv_test_free(&of);
    }
    tv_activations_destroy(&activations);
    free(tokens);
    free(positions);
    free(slots);
    free(logits);
}

static bool has_tier(const char *caps) {
    tv_device *device = tv_test_open_lowered(caps);
    bool has = tv_device_caps(device)->tier != TV_TIER_FP32;
    tv_device_close(&device);
    return has;
}

/* `thorough`: alone from the first token on, and in crowds. */
static void check(const lab *l, bool thorough) {
    company alone = meet(l, 1), few = meet(l, TEXTS);
    if (!thorough)
        feed(&alone, 0, READ, true);
    feed(&alone, thorough ? 0 : READ, thorough ? TOKENS : TOKENS - READ, false);
    feed(&few, 0, READ - 5, true);
    feed(&few, READ - 5, 5, true);
    feed(&few, READ, TOKENS - READ, false);
    part(&alone);
    part(&few);
    const uint64_t crowds[] = {64, 300};
    for (int i = 0; thorough && i < 2; i++) {
        company crowd = meet(l, crowds[i]);
        feed(&crowd, 0, FEW, false);
        part(&crowd);
    }
}

static void decoding_has_the_bits_of_training(void **state) {
    static const char *const tiers[] = {"tier=cm-f16", "tier=cm-bf16"};
    static const tv_architecture architectures[] = {TV_ARCH_GPT2, TV_ARCH_GEMMA3};
    int ran = 0;
    (void)state;
    for (int t = 0; t < 2; t++) {
        if (!has_tier(tiers[t]))
            continue;
        for (int a = 0; a < 2; a++, ran++) {
            lab l = open_lab(architectures[a], false, tiers[t]);
            check(&l, a == 0);
            close_lab(&l);
        }
        lab l = open_lab(TV_ARCH_GPT2, true, tiers[t]);
        check(&l, false);
        close_lab(&l);
    }
    if (!ran)
        skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(decoding_has_the_bits_of_training)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
