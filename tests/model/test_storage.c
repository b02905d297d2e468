/* Weights stored as f16, bf16, q8_0 and q4_0, frozen and trained: losses and gradients are those of a model
 * of floats with the rounded values, masters take the updates, and the bytes are what was said.
 *
 * A stored weight is its value exactly (base/dtype.h), so both models compute the same sums; kernels of other
 * types may add in another order. fp32 sums of 64 to 96 terms of size 1 err by 1e-6 of the result, through 2
 * layers: 1e-5.
 * Tried on 2026-11-29, each fails here: the second block of a pair rounded from the first, weights not made
 * again after an update.
 */
#include "support/language_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { BATCH = 2, TOKENS = 19, ROWS = BATCH * TOKENS, VOCAB = 61, MOST = 64 };
static const double tolerance = 1e-5;
static const tv_dtype types[] = {TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};

/* C is a multiple of 32 and F is not, so that the MLP's way back is bf16 where blocks are asked for. */
static tv_model_config config_of(tv_architecture architecture) {
    tv_model_config config = tv_model_config_defaults(architecture);
    config.vocab_size = VOCAB;
    config.n_layer = 2;
    config.n_head = config.n_kv_head = 4;
    config.channels = 64;
    config.head_size = 16;
    config.ffn = 81;
    config.max_positions = TOKENS;
    config.tied = architecture == TV_ARCH_GPT2;
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    return config;
}

static tv_parameter_list *list_of(const tv_model_config *config, tv_dtype type, bool trained) {
    tv_parameter_list *list = NULL;
    tv_dtype storage[MOST];
    bool trainable[MOST];
    for (int i = 0; i < MOST; i++) {
        storage[i] = type;
        trainable[i] = trained || i == 0 || i == 3; /* the embedding, and a norm's bias or the first qkv */
    }
    assert_ok(tv_parameter_list_create_chosen(
        config, &(tv_parameter_choice){.trainable = trainable, .storage = storage}, &list));
    assert_true(list->count <= MOST);
    return list;
}

typedef struct flat_source {
    const tv_parameter_list *list;
    const float *flat;
} flat_source;

static tv_status read_flat(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out) {
    const flat_source *s = context;
    uint64_t columns = s->list->items[index].shape[1];
    tv_dtype_from_f32(dtype, columns, rows,
                      s->flat + tv_test_flat_offset(s->list, index) + first_row * columns, out);
    return TV_OK;
}

/* What the passes read, as floats. */
static void read_stored(tv_model *model, float *flat) {
    const tv_parameter_list *list = tv_model_list(model);
    for (uint32_t i = 0; i < list->count; flat += list->items[i++].count) {
        const tv_parameter *p = &list->items[i];
        uint64_t bytes = p->shape[0] * tv_dtype_row_bytes(p->storage, p->shape[1]);
        void *stored = malloc(bytes);
        assert_non_null(stored);
        tv_tensor weights = tv_model_parameter_at(model, i);
        assert_int_equal(weights.dtype, p->storage);
        assert_ok(tv_download(tv_model_device(model), weights.span, stored, bytes));
        tv_dtype_to_f32(p->storage, p->shape[1], p->shape[0], stored, flat);
        free(stored);
    }
}

/* Stored values are the host's rounding of `wanted`, of trained q8_0 within its last place. */
static void check_rounding(tv_model *model, const float *wanted) {
    const tv_parameter_list *list = tv_model_list(model);
    float *found = calloc(2 * list->elements, sizeof *found), *rounded = found + list->elements;
    uint8_t *stored = malloc(list->max_elements * 4 + 4 * list->items[0].shape[0]);
    assert_true(found && stored);
    read_stored(model, found);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        uint64_t at = tv_test_flat_offset(list, i);
        tv_dtype_from_f32(p->storage, p->shape[1], p->shape[0], wanted + at, stored);
        tv_dtype_to_f32(p->storage, p->shape[1], p->shape[0], stored, rounded + at);
        double slack = p->trainable && p->storage == TV_Q8_0 ? 0.01 : 0;
        for (uint64_t k = at; k < at + p->count; k++)
            if (!(fabs((double)found[k] - (double)rounded[k]) <= slack * fabs((double)rounded[k])))
                fail_msg("%s as %s: element %llu is %g, expected %g", p->name, tv_dtype_name(p->storage),
                         (unsigned long long)(k - at), (double)found[k], (double)rounded[k]);
    }
    free(found);
    free(stored);
}

static void compare(const tv_parameter_list *list, const float *found, const float *expected) {
    for (uint32_t i = 0; i < list->count; i++) {
        uint64_t at = tv_test_flat_offset(list, i);
        if (!list->items[i].trainable)
            continue;
        double distance = tv_test_relative_distance(found + at, expected + at, list->items[i].count);
        if (!(distance <= tolerance))
            fail_msg("the gradient of %s is %.3g away from that of floats", list->items[i].name, distance);
    }
}

static void check(tv_device *device, tv_architecture architecture, tv_dtype type, bool trained) {
    const tv_model_config config = config_of(architecture);
    tv_parameter_list *list = list_of(&config, type, trained), *plain = list_of(&config, TV_F32, trained);
    uint32_t tokens[ROWS], targets[ROWS];
    tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST};
    for (uint32_t i = 0; i < ROWS; i++) {
        tokens[i] = (uint32_t)tv_uniform_below(&rng, i, VOCAB);
        targets[i] = (uint32_t)tv_uniform_below(&rng, ROWS + i, VOCAB);
    }
    const tv_test_batch batch = {BATCH, TOKENS, tokens, targets, NULL, NULL};
    float *flat = calloc(4 * list->elements, sizeof *flat);
    assert_non_null(flat);
    float *rounded = flat + list->elements, *gradient = rounded + list->elements,
          *expected = gradient + list->elements;
    float rows[ROWS], expected_rows[ROWS];
    tv_test_language_model lm = tv_test_language_model_create(device, list, &batch, false),
                           floats = tv_test_language_model_create(device, plain, &batch, false);
    tv_test_draw_parameters(list, 11, flat);
    assert_ok(tv_model_fill(lm.model, read_flat, &(flat_source){list, flat}));
    check_rounding(lm.model, flat);
    read_stored(lm.model, rounded);
    assert_ok(tv_model_fill(floats.model, read_flat, &(flat_source){plain, rounded}));
    tv_test_loss(&lm, rows);
    tv_test_loss(&floats, expected_rows);
    for (int r = 0; r < ROWS; r++)
        assert_near(rows[r], expected_rows[r], tolerance * (1 + (double)expected_rows[r]));
    tv_test_gradients(&lm, gradient);
    tv_test_gradients(&floats, expected);
    compare(list, gradient, expected);
    tv_test_language_model_free(&lm);
    tv_test_language_model_free(&floats);
    free(flat);
    tv_parameter_list_destroy(&list);
    tv_parameter_list_destroy(&plain);
}

static void stored_models_compute_as_floats(void **state) {
    for (size_t t = 0; t < TV_COUNT(types); t++)
        check(*state, t % 2 ? TV_ARCH_LLAMA : TV_ARCH_GPT2, types[t], false);
    check(*state, TV_ARCH_LLAMA, TV_BF16, true);
    check(*state, TV_ARCH_GPT2, TV_Q8_0, true);
}

static void types_follow_what_they_can_hold(void **state) {
    (void)state;
    const tv_model_config config = config_of(TV_ARCH_GPT2);
    tv_parameter_list *list = list_of(&config, TV_Q4_0, false);
    const struct {
        tv_parameter_role role;
        tv_dtype storage;
    } expected[] = {{TV_PARAMETER_EMBEDDING, TV_BF16}, /* trained */
                    {TV_PARAMETER_POSITIONS, TV_F32},      {TV_PARAMETER_NORM1_GAIN, TV_F32},
                    {TV_PARAMETER_QKV_WEIGHT, TV_Q4_0},    {TV_PARAMETER_QKV_BIAS, TV_F32},
                    {TV_PARAMETER_MLP_IN_WEIGHT, TV_Q4_0}, {TV_PARAMETER_MLP_OUT_WEIGHT, TV_BF16}};
    for (size_t i = 0; i < TV_COUNT(expected); i++)
        assert_int_equal(list->items[tv_parameter_index(list, expected[i].role, 0)].storage,
                         expected[i].storage);
    tv_parameter_list_destroy(&list);
}

/* ---- steps ---- */

typedef struct fixed_batch {
    const uint32_t *tokens;
} fixed_batch;

static tv_status fill_batch(void *context, tv_micro_batch *batch) {
    const fixed_batch *fixed = context;
    memcpy(batch->tokens, fixed->tokens, ROWS * sizeof *fixed->tokens);
    for (int i = 0; i < ROWS; i++)
        batch->targets[i] = (fixed->tokens[i] + 7) % VOCAB;
    return TV_OK;
}

static void masters_take_the_updates(void **state) {
    const tv_model_config config = config_of(TV_ARCH_LLAMA);
    static const tv_dtype trained[] = {TV_F16, TV_BF16, TV_Q8_0};
    uint32_t tokens[ROWS];
    for (uint32_t i = 0; i < ROWS; i++)
        tokens[i] = i * 7 % VOCAB;
    for (size_t t = 0; t < TV_COUNT(trained); t++) {
        tv_parameter_list *list = list_of(&config, trained[t], true);
        const tv_trainer_options options = {
            .stage = "test", .batch = BATCH, .tokens = TOKENS, .grad_accum = 1, .train = true};
        tv_model *model = NULL;
        tv_trainer *trainer = NULL;
        tv_model_bytes bytes, frozen;
        uint64_t before = tv_device_bytes(*state);
        assert_ok(tv_model_measure(list, tv_device_caps(*state), true, &bytes));
        assert_ok(tv_model_measure(list, tv_device_caps(*state), false, &frozen));
        assert_ok(tv_model_create(*state, list, true, &model));
        assert_int_equal(tv_device_bytes(*state) - before,
                         bytes.parameters + bytes.masters + bytes.gradients + bytes.moments);
        assert_true(bytes.masters > bytes.parameters && frozen.masters == 0 && frozen.gradients == 0);
        assert_int_equal(frozen.parameters, bytes.parameters);
        assert_ok(tv_model_initialise(model, 5));
        assert_ok(tv_trainer_create(model, &options, &trainer));
        /* So small a rate that a weight without its master would stand still. */
        const struct tv_step_constants constants = tv_step_constants_make(2e-5, 0.1, 0.9, 0.95, 1e-8, 1);
        double first_loss = 0, loss = 0;
        for (int step = 0; step < 40; step++) {
            tv_step_result result;
            bool ready;
            assert_ok(
                tv_trainer_step(trainer, &constants, fill_batch, &(fixed_batch){tokens}, &result, &ready));
            while (!ready)
                assert_ok(tv_trainer_drain(trainer, &result, &ready));
            first_loss = step ? first_loss : result.loss;
            loss = result.loss;
        }
        if (!(loss < first_loss - 1e-4))
            fail_msg("%s: the loss stayed at %.6f (%.6f)", tv_dtype_name(trained[t]), loss, first_loss);
        float *masters = calloc(list->elements, sizeof *masters);
        assert_non_null(masters);
        for (uint32_t i = 0; i < list->count; i++)
            assert_ok(tv_model_source(model, i, 0, list->items[i].shape[0], TV_F32,
                                      masters + tv_test_flat_offset(list, i)));
        check_rounding(model, masters);
        free(masters);
        tv_trainer_destroy(&trainer);
        tv_model_destroy(&model);
        tv_parameter_list_destroy(&list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_models_compute_as_floats),
        cmocka_unit_test(types_follow_what_they_can_hold),
        cmocka_unit_test(masters_take_the_updates),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
