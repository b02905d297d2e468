/* What comes with drawn tokens where a decoder is asked for what training's heads would say of them:
 * log-probabilities and entropies of each answer, from rows that are refilled and that shrink, have the bits
 * of a training pass over the finished text, whatever k, p and temperature chose the token. Sizes of the
 * vocabulary are no multiple of 4, of 64, of 256, of one block of a row's workgroup and of many.
 *
 * Seen to fail on 2026-11-29: the sampler's own log-probabilities, with training's entropies; entropies of
 * the first row for all.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/launch.h"
#include "kernels/logprobs.h"
#include "kernels/matrices.h"
#include "model/forward.h"
#include "model/logprob_chunks.h"
#include "stages/rollout.h"
#include "support/open_model.h"
#include "support/small_config.h"
#include "vk/transfer.h"

enum { TEXTS = 7, ROWS = 3, WIDTH = 24, MAX_NEW = 15, LONGEST = 9 };

typedef struct manner {
    double temperature;
    uint32_t top_k;
    float top_p;
} manner;

typedef struct text {
    uint32_t tokens[WIDTH];
    float logprobs[WIDTH], entropies[WIDTH];
    uint64_t length, prompt_length;
} text;

typedef struct lab {
    tv_device *device;
    tv_parameter_list *list;
    tv_model *model;
    uint64_t vocab;
    text texts[TEXTS];
} lab;

static lab open_lab(tv_device *device, tv_architecture architecture, uint64_t vocab) {
    lab l = {.device = device, .vocab = vocab};
    const tv_model_config config =
        tv_test_config(architecture, (tv_test_sizes){.vocab = vocab,
                                                     .layers = 1,
                                                     .heads = 4,
                                                     .kv_heads = architecture == TV_ARCH_GPT2 ? 4 : 2,
                                                     .channels = 32,
                                                     .head_size = 8,
                                                     .ffn = 48,
                                                     .positions = WIDTH});
    assert_ok(tv_parameter_list_create(&config, &l.list));
    assert_ok(tv_model_create(device, l.list, false, &l.model));
    assert_ok(tv_model_need_context(l.model, WIDTH));
    tv_test_randomize(l.model, 0.5F);
    return l;
}

static void close_lab(lab *l) {
    tv_model_destroy(&l->model);
    tv_parameter_list_destroy(&l->list);
}

static tv_status take(void *context, uint64_t index, const tv_decoder_row *row) {
    text *t = &((text *)context)[index];
    t->length = row->length;
    t->prompt_length = row->prompt_length;
    assert_non_null(row->entropies);
    memcpy(t->tokens, row->tokens, row->length * sizeof *t->tokens);
    memcpy(t->logprobs, row->logprobs, row->length * sizeof *t->logprobs);
    memcpy(t->entropies, row->entropies, row->length * sizeof *t->entropies);
    return TV_OK;
}

static void draw(lab *l, const manner *m) {
    tv_rollout *rollout = NULL;
    tv_rollout_request requests[TEXTS];
    uint32_t prompts[TEXTS][LONGEST];
    const tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < TEXTS; i++) {
        for (uint64_t k = 0; k < LONGEST; k++)
            prompts[i][k] = (uint32_t)tv_uniform_below(&rng, i * LONGEST + k, l->vocab);
        requests[i] = (tv_rollout_request){prompts[i], 1 + i * 4 % LONGEST, (uint32_t)(50 + i)};
    }
    const tv_decoder_settings settings = {.seed = 4,
                                          .temperature = (float)m->temperature,
                                          .top_k = m->top_k,
                                          .top_p = m->top_p,
                                          .end_count = 2,
                                          .ends = {1, 2}};
    assert_ok(tv_rollout_create(
        l->model,
        &(tv_rollout_options){
            .rows = ROWS, .max_tokens = WIDTH, .inverse_temperature = tv_inverse_temperature(m->temperature)},
        &rollout));
    assert_ok(tv_rollout_run(rollout, requests, TEXTS, &settings, MAX_NEW, take, l->texts));
    tv_rollout_destroy(&rollout);
}

/* By the kernels of the heads, over the finished texts side by side. */
static void training_pass(const lab *l, double temperature, float *logprobs, float *entropies) {
    enum { COUNT = TEXTS * WIDTH };
    uint32_t tokens[COUNT] = {0}, targets[COUNT];
    for (uint64_t i = 0; i < COUNT; i++) {
        const text *t = &l->texts[i / WIDTH];
        uint64_t at = i % WIDTH;
        tokens[i] = at < t->length ? t->tokens[at] : 0;
        targets[i] = at + 1 >= t->prompt_length && at + 1 < t->length ? t->tokens[at + 1] : TV_IGNORED_TARGET;
    }
    tv_activations *a = NULL;
    assert_ok(tv_activations_create(
        l->device, tv_device_caps(l->device), l->list,
        &(tv_activations_options){.batch = TEXTS,
                                  .tokens = WIDTH,
                                  .backward = true,
                                  .dtype = tv_tier_dtype(tv_device_caps(l->device)->tier)},
        &a));
    tv_test_tensor in = tv_test_uints(l->device, COUNT, tokens),
                   aims = tv_test_uints(l->device, COUNT, targets),
                   out = tv_test_floats(l->device, COUNT, NULL),
                   more = tv_test_floats(l->device, COUNT, NULL),
                   lse = tv_test_floats(l->device, 2 * COUNT, NULL);
    const tv_logprob_chunks chunks = {.model = l->model,
                                      .activations = a,
                                      .inverse_temperature = tv_inverse_temperature(temperature),
                                      .targets = aims.tensor,
                                      .logprobs = out.tensor,
                                      .entropies = more.tensor,
                                      .lse = lse.tensor};
    tv_recorder *recorder = tv_test_begin(l->device);
    assert_ok(tv_forward(recorder, l->model, a, &(tv_model_inputs){.tokens = in.tensor}));
    tv_part chunk = {0};
    while (tv_next_part(&chunk, a->rows, a->head_rows)) {
        tv_tensor logits;
        assert_ok(tv_logprob_chunk_record(recorder, &chunks, chunk, &logits));
    }
    tv_test_run(l->device, recorder);
    tv_test_read(&out, logprobs);
    tv_test_read(&more, entropies);
    tv_test_tensor *const all[] = {&in, &aims, &out, &more, &lse};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
    tv_activations_destroy(&a);
}

static void check(lab *l, const manner *m) {
    float logprobs[TEXTS * WIDTH], entropies[TEXTS * WIDTH];
    draw(l, m);
    training_pass(l, m->temperature, logprobs, entropies);
    for (uint64_t s = 0; s < TEXTS; s++) {
        const text *t = &l->texts[s];
        assert_in_range(t->length, t->prompt_length + 1, t->prompt_length + MAX_NEW);
        for (uint64_t i = 0; i < t->length; i++) {
            const uint64_t at = s * WIDTH + i - 1;
            const float found[] = {t->logprobs[i], t->entropies[i]},
                        expected[] = {i < t->prompt_length ? 0 : logprobs[at],
                                      i < t->prompt_length ? 0 : entropies[at]};
            if (!(found[0] == expected[0] && found[1] == expected[1]))
                fail_msg("V %d, temperature %g, k %d, p %g, text %d, token %d: %.9g and entropy %.9g, in the "
                         "training pass %.9g and %.9g",
                         (int)l->vocab, m->temperature, (int)m->top_k, (double)m->top_p, (int)s, (int)i,
                         (double)found[0], (double)found[1], (double)expected[0], (double)expected[1]);
        }
    }
}

/* All sizes, or three of them. */
static void check_device(tv_device *device, bool all) {
    static const uint64_t vocabularies[] = {3, 52, 67, 259, 1000, 1026, 1284, 5003};
    static const manner manners[] = {{1, 0, 1}, {0.7, 0, 0.8f}, {1.3, 5, 1}};
    for (size_t v = 0; v < sizeof vocabularies / sizeof *vocabularies; v += all ? 1 : 3) {
        lab l = open_lab(device, v % 2 ? TV_ARCH_LLAMA : TV_ARCH_GPT2, vocabularies[v]);
        assert_true(tv_decoder_has_training_bits(l.model));
        for (size_t m = 0; m < sizeof manners / sizeof *manners; m++)
            check(&l, &manners[m]);
        close_lab(&l);
    }
}

/* CPUs of other than 8 and 16 lanes have attention's plain kernels, whose orders differ: no promise there. */
static void drawn_tokens_have_the_bits_of_training(void **state) {
    const tv_caps *caps = tv_device_caps(*state);
    if (caps->cpu_kernels && !tv_cpu_lanes(caps)) {
        lab l = open_lab(*state, TV_ARCH_GPT2, 52);
        assert_false(tv_decoder_has_training_bits(l.model));
        close_lab(&l);
        skip();
    }
    check_device(*state, true);
}

/* As at the tiers of matrix units, and as GPUs take it in the fp32 tier. */
static void other_kernels_agree_as_well(void **state) {
    static const char *const lowered[] = {"cpu_kernels=0", "tier=cm-f16", "tier=cm-bf16"};
    (void)state;
    for (int i = 0; i < 3; i++) {
        tv_device *device = tv_test_open_lowered(lowered[i]);
        *tv_device_rows_verdict(device) = TV_SOUND; /* no self-test was made; this one looks closer */
        if (i == 0 || tv_device_caps(device)->tier != TV_TIER_FP32)
            check_device(device, false);
        tv_device_close(&device);
    }
}

/* Where there is no such promise a pass has to score. */
static void a_promise_is_given_where_it_holds(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("subgroup_shuffle=0");
    lab l = open_lab(device, TV_ARCH_GPT2, 52);
    assert_false(tv_decoder_has_training_bits(l.model));
    close_lab(&l);
    tv_device_close(&device);
    device = tv_test_open_lowered("tier=cm-f16");
    if (tv_device_caps(device)->tier == TV_TIER_CM_F16) {
        l = open_lab(device, TV_ARCH_GPT2, 52);
        *tv_device_rows_verdict(device) = TV_UNSOUND;
        assert_false(tv_decoder_has_training_bits(l.model));
        close_lab(&l);
    }
    tv_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(drawn_tokens_have_the_bits_of_training),
                                       cmocka_unit_test(other_kernels_agree_as_well),
                                       cmocka_unit_test(a_promise_is_given_where_it_holds)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
