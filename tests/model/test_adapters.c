/* Adapters beside the matrices of a model: against a model whose matrices hold W + scale B A, and against
 * finite differences of the same model's loss in double.
 *
 * The merged model is the reference: its loss is the adapted one's, and with G the gradient of a merged
 * matrix's rows, d_A = scale B^T G and d_B = scale G A^T, computed here in double. Both models go through
 * sums of some hundred products of rounded values in an order of their own: 2e-5 of a gradient's norm is what
 * twenty roundings to 2^-24 of it leave room for. What G is off by comes through a sum of products into d_A
 * and d_B, at most as the products' sizes add up, some four times what is left of them where signs differ. A
 * term that is missing or scaled wrongly makes several per cent. Measured on lavapipe, 2026-11-29, subgroups
 * of 4: 2.1e-5 of a d_A.
 *
 * Tried: scale left out of d_B, d_x without d_t A, every B at the matrix's first row, one place for the x A^T
 * of all targets: each fails here. Of these the first two, and the sign of d_t turned, each fail the finite
 * differences too, which are off by at most 8.7e-6 of a gradient's norm (lavapipe, 2026-11-29).
 */
#include "support/double_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "train/step.h"
#include "train/trainer.h"
#include "vk/transfer.h"

enum { BATCH = 2, TOKENS = 13, ROWS = BATCH * TOKENS, VOCAB = 61, CHANNELS = 36, FFN = 50, LAYERS = 2 };
/* Of a tensor's norm. One unit in the last place of each weight moves no gradient of these models by more
 * than 1.2e-5 of its norm (six draws, lavapipe of Mesa 26.2.6, 16 lanes, 2026-11-29). With twice the alpha it
 * was 4.2e-5 for the Llama, more than two orders of sums may differ by here.
 */
static const double tolerance = 2e-5;

static tv_model_config config_of(tv_architecture architecture) {
    tv_model_config config = tv_model_config_defaults(architecture);
    bool llama = architecture != TV_ARCH_GPT2;
    config.vocab_size = VOCAB;
    config.n_layer = LAYERS;
    config.n_head = 4;
    config.n_kv_head = llama ? 2 : 4;
    config.channels = CHANNELS;
    config.head_size = llama ? 6 : 9;
    config.ffn = FFN;
    config.max_positions = 16;
    config.bos_token_id = config.eos_token_id = config.pad_token_id = -1;
    return config;
}

/* q, k, v, o, gate, up and down of the Llama; GPT-2 publishes qkv and the MLP's first matrix whole. */
static tv_adapter all_linear(tv_architecture architecture) {
    if (architecture == TV_ARCH_GPT2)
        return (tv_adapter){.rank = 3,
                            .alpha = 5,
                            .target_count = 4,
                            .targets = {{TV_PARAMETER_QKV_WEIGHT, 0, 108},
                                        {TV_PARAMETER_ATTN_OUT_WEIGHT, 0, 36},
                                        {TV_PARAMETER_MLP_IN_WEIGHT, 0, 50},
                                        {TV_PARAMETER_MLP_OUT_WEIGHT, 0, 36}}};
    return (tv_adapter){.rank = 4,
                        .alpha = 3,
                        .rslora = true,
                        .target_count = 7,
                        .targets = {{TV_PARAMETER_QKV_WEIGHT, 0, 24},
                                    {TV_PARAMETER_QKV_WEIGHT, 24, 12},
                                    {TV_PARAMETER_QKV_WEIGHT, 36, 12},
                                    {TV_PARAMETER_ATTN_OUT_WEIGHT, 0, 36},
                                    {TV_PARAMETER_MLP_IN_WEIGHT, 0, 50},
                                    {TV_PARAMETER_MLP_IN_WEIGHT, 50, 50},
                                    {TV_PARAMETER_MLP_OUT_WEIGHT, 0, 36}}};
}

static tv_test_batch batch_of(uint32_t *tokens, uint32_t *targets) {
    tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST, .rank = 1};
    for (uint32_t i = 0; i < ROWS; i++) {
        tokens[i] = (uint32_t)tv_uniform_below(&rng, i, VOCAB);
        targets[i] = (uint32_t)tv_uniform_below(&rng, ROWS + i, VOCAB);
    }
    return (tv_test_batch){BATCH, TOKENS, tokens, targets, NULL, NULL};
}

static const float *part(const tv_parameter_list *list, const float *flat, uint32_t index) {
    return flat + tv_test_flat_offset(list, index);
}

/* Of an adapted list's values: those of the base's list, with what the adapter adds. */
static void merge(const tv_parameter_list *list, const float *flat, const tv_parameter_list *base,
                  float *merged) {
    for (uint32_t i = 0; i < base->count; i++) {
        const tv_parameter *p = &base->items[i];
        float *to = merged + tv_test_flat_offset(base, i);
        memcpy(to, part(list, flat, tv_parameter_index(list, p->role, p->layer)), p->count * sizeof *to);
        for (uint32_t t = 0; t < list->adapter.target_count; t++) {
            const tv_adapter_target *target = &list->adapter.targets[t];
            if (target->role != p->role)
                continue;
            const float *a =
                part(list, flat, tv_parameter_adapter(list, t, p->layer, TV_PARAMETER_ADAPTER_A));
            const float *b =
                part(list, flat, tv_parameter_adapter(list, t, p->layer, TV_PARAMETER_ADAPTER_B));
            uint64_t rank = list->adapter.rank, columns = p->shape[1];
            for (uint64_t row = 0; row < target->rows; row++)
                for (uint64_t c = 0; c < columns; c++) {
                    double sum = 0;
                    for (uint64_t r = 0; r < rank; r++)
                        sum += (double)b[row * rank + r] * (double)a[r * columns + c];
                    float *w = &to[(target->first_row + row) * columns + c];
                    *w = (float)((double)*w + tv_adapter_scale(&list->adapter) * sum);
                }
        }
    }
}

static void add(double product, double *sum, double *size) {
    *sum += product;
    *size += fabs(product);
}

/* d_A and d_B of a target by the chain rule from the gradient of the merged matrix, and the norms of what the
 * sizes of their products add up to. */
static void expected_gradients(const tv_parameter_list *list, const float *flat,
                               const tv_parameter_list *base, const float *gradient, uint32_t t,
                               uint32_t layer, float *d_a, float *d_b, double sizes[2]) {
    const tv_adapter_target *target = &list->adapter.targets[t];
    uint32_t matrix = tv_parameter_index(base, target->role, layer);
    uint64_t rank = list->adapter.rank, columns = base->items[matrix].shape[1];
    const float *g = part(base, gradient, matrix) + target->first_row * columns;
    const float *a = part(list, flat, tv_parameter_adapter(list, t, layer, TV_PARAMETER_ADAPTER_A));
    const float *b = part(list, flat, tv_parameter_adapter(list, t, layer, TV_PARAMETER_ADAPTER_B));
    double scale = tv_adapter_scale(&list->adapter);
    sizes[0] = sizes[1] = 0;
    for (uint64_t r = 0; r < rank; r++) {
        for (uint64_t c = 0; c < columns; c++) {
            double sum = 0, size = 0;
            for (uint64_t row = 0; row < target->rows; row++)
                add((double)b[row * rank + r] * (double)g[row * columns + c], &sum, &size);
            d_a[r * columns + c] = (float)(scale * sum);
            sizes[0] += scale * scale * size * size;
        }
        for (uint64_t row = 0; row < target->rows; row++) {
            double sum = 0, size = 0;
            for (uint64_t c = 0; c < columns; c++)
                add((double)g[row * columns + c] * (double)a[r * columns + c], &sum, &size);
            d_b[row * rank + r] = (float)(scale * sum);
            sizes[1] += scale * scale * size * size;
        }
    }
    sizes[0] = sqrt(sizes[0]);
    sizes[1] = sqrt(sizes[1]);
}

static double norm_of(const float *values, uint64_t count) {
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)values[i] * (double)values[i];
    return sqrt(sum);
}

/* `size`: the norm that the tolerance is a share of. */
static void expect_near(const char *name, const float *found, const float *expected, uint64_t count,
                        double size) {
    double distance = tv_test_relative_distance(found, expected, count) * norm_of(expected, count);
    if (!(distance <= tolerance * size))
        fail_msg("%s: %.3g away from the merged model's, of %.3g", name, distance, size);
}

static void compare_gradients(const tv_parameter_list *list, const float *flat, const float *found,
                              const tv_parameter_list *base, const float *gradient, bool frozen) {
    static float d_a[CHANNELS * FFN], d_b[108 * CHANNELS];
    double sizes[2];
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        if (p->role == TV_PARAMETER_ADAPTER_B)
            continue;
        if (p->role == TV_PARAMETER_ADAPTER_A) {
            expected_gradients(list, flat, base, gradient, p->target, p->layer, d_a, d_b, sizes);
            expect_near(p->name, part(list, found, i), d_a, p->count, sizes[0]);
            expect_near(p[1].name, part(list, found, i + 1), d_b, p[1].count, sizes[1]);
        } else if (!frozen) {
            uint32_t there = tv_parameter_index(base, p->role, p->layer);
            const float *expected = part(base, gradient, there);
            expect_near(p->name, part(list, found, i), expected, p->count, norm_of(expected, p->count));
        }
    }
}

typedef struct variant {
    tv_architecture architecture;
    tv_adapter adapter;
    bool frozen, recompute;
} variant;

static void equals_the_merged_model(tv_device *device, const variant *v) {
    const tv_model_config config = config_of(v->architecture);
    uint32_t tokens[ROWS], targets[ROWS];
    const tv_test_batch batch = batch_of(tokens, targets);
    tv_parameter_list *base = NULL, *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &base));
    bool *trainable = calloc(base->count, sizeof *trainable);
    for (uint32_t i = 0; i < base->count; i++)
        trainable[i] = true;
    assert_ok(tv_parameter_list_create_chosen(
        &config, &(tv_parameter_choice){.adapter = &v->adapter, .trainable = v->frozen ? NULL : trainable},
        &list));
    float *flat = calloc(4 * list->elements, sizeof *flat);
    float *found = flat + list->elements, *merged = found + list->elements,
          *gradient = merged + list->elements;
    tv_test_draw_parameters(list, 11, flat);
    merge(list, flat, base, merged);
    tv_test_language_model lm = tv_test_language_model_create(device, list, &batch, v->recompute);
    tv_test_language_model whole = tv_test_language_model_create(device, base, &batch, false);
    tv_test_set_parameters(&lm, flat);
    tv_test_set_parameters(&whole, merged);
    double loss = tv_test_loss(&lm, NULL), expected = tv_test_loss(&whole, NULL);
    if (!(fabs(loss - expected) <= 1e-5))
        fail_msg("loss %.8g, of the merged model %.8g", loss, expected);
    tv_test_gradients(&lm, found);
    tv_test_gradients(&whole, gradient);
    compare_gradients(list, flat, found, base, gradient, v->frozen);
    tv_test_language_model_free(&lm);
    tv_test_language_model_free(&whole);
    free(flat);
    free(trainable);
    tv_parameter_list_destroy(&list);
    tv_parameter_list_destroy(&base);
}

static void adapted_equals_merged(void **state) {
    for (int a = 0; a < 2; a++)
        for (int i = 0; i < 4; i++) {
            tv_architecture architecture = a ? TV_ARCH_LLAMA : TV_ARCH_GPT2;
            equals_the_merged_model(*state, &(variant){architecture, all_linear(architecture),
                                                       .frozen = i & 1, .recompute = i & 2});
        }
}

/* The value matrix and the second of the MLP alone: backward stops above the first of them. */
static void some_targets(void **state) {
    const tv_adapter some = {
        .rank = 8,
        .alpha = 16,
        .target_count = 2,
        .targets = {{TV_PARAMETER_QKV_WEIGHT, 36, 12}, {TV_PARAMETER_MLP_OUT_WEIGHT, 0, 36}}};
    for (int i = 0; i < 2; i++)
        equals_the_merged_model(*state, &(variant){TV_ARCH_LLAMA, some, .frozen = true, .recompute = i});
}

/* With norms between the products and what they join. */
static void gemma_adapters_equal_the_merged_model(void **state) {
    for (int i = 0; i < 2; i++)
        equals_the_merged_model(*state,
                                &(variant){TV_ARCH_GEMMA3, all_linear(TV_ARCH_GEMMA3), .recompute = i});
}

/* ---- finite differences ---- */

enum { SINGLE = 6, DIRECTIONS = 2 }; /* of each tensor of an adapter */

typedef struct differences {
    const tv_parameter_list *list;
    const tv_test_batch *batch;
    const float *flat, *gradient;
    double *moved, *r; /* as `flat`: where the loss is taken, and the direction, 0 outside of one tensor */
} differences;

static double loss_at(const differences *d, double step) {
    for (uint64_t i = 0; i < d->list->elements; i++)
        d->moved[i] = (double)d->flat[i] + step * d->r[i];
    return tv_test_double_loss(d->list, d->batch, d->moved);
}

/* Central differences of a loss of 4 to 8 in double, summed from some 1e5 terms: each is off by less than
 * 1e-14, their quotient by 1e-14 / h, and by h^2 / 6 of the third derivative, which a direction of length |r|
 * makes |r|^3 times that of an element. With h = 1e-4 / |r| that is 1e-10 |r| and some 2e-9 |r|, which
 * `exact` leaves room for. The device's gradient is off by `tolerance` of the tensor's norm in all, and so at
 * most by that times |r| along r. */
static void compare_difference(const differences *d, uint32_t index) {
    static const double exact = 2e-8;
    uint64_t at = tv_test_flat_offset(d->list, index), count = d->list->items[index].count;
    double square = 0, expected = 0;
    for (uint64_t i = at; i < at + count; i++) {
        square += d->r[i] * d->r[i];
        expected += d->r[i] * (double)d->gradient[i];
    }
    double length = sqrt(square), norm = norm_of(d->gradient + at, count), h = 1e-4 / length;
    double found = (loss_at(d, h) - loss_at(d, -h)) / (2 * h);
    if (!(fabs(found - expected) <= length * (tolerance * norm + exact)) || !(norm > 1e-3))
        fail_msg("%s: gradient along r %.9g, finite difference %.9g (|r| %.3g, norm %.3g)",
                 d->list->items[index].name, expected, found, length, norm);
}

static void compare_differences(const differences *d, uint32_t index) {
    uint64_t at = tv_test_flat_offset(d->list, index), count = d->list->items[index].count;
    tv_rng rng = {.seed = 13, .stream = TV_STREAM_TEST, .step = index};
    for (uint64_t k = 0; k < SINGLE; k++) {
        uint64_t element = at + tv_uniform_below(&rng, k, count);
        d->r[element] = 1;
        compare_difference(d, index);
        d->r[element] = 0;
    }
    for (uint32_t k = 0; k < DIRECTIONS; k++) {
        rng.rank = (uint16_t)(k + 1);
        for (uint64_t i = 0; i < count; i++)
            d->r[at + i] = (double)tv_normal(&rng, i);
        compare_difference(d, index);
    }
    memset(d->r + at, 0, count * sizeof *d->r);
}

static void gradients_equal_finite_differences(void **state) {
    for (int i = 0; i < 4; i++) {
        tv_architecture architecture = i & 1 ? TV_ARCH_LLAMA : TV_ARCH_GPT2;
        const tv_model_config config = config_of(architecture);
        const tv_adapter adapter = all_linear(architecture);
        uint32_t tokens[ROWS], targets[ROWS];
        const tv_test_batch batch = batch_of(tokens, targets);
        tv_parameter_list *list = NULL;
        assert_ok(
            tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &adapter}, &list));
        float *flat = calloc(2 * list->elements, sizeof *flat);
        double *moved = calloc(2 * list->elements, sizeof *moved);
        assert_non_null(flat);
        assert_non_null(moved);
        const differences d = {
            list, &batch, flat, flat + list->elements, moved, moved + list->elements,
        };
        tv_test_draw_parameters(list, 11, flat);
        tv_test_language_model lm = tv_test_language_model_create(*state, list, &batch, i & 2);
        tv_test_set_parameters(&lm, flat);
        double loss = tv_test_loss(&lm, NULL), expected = loss_at(&d, 0);
        if (!(fabs(loss - expected) <= 1e-5))
            fail_msg("loss %.8g, in double %.8g", loss, expected);
        tv_test_gradients(&lm, flat + list->elements);
        for (uint32_t k = 0; k < list->count; k++)
            if (tv_parameter_is_of_adapter(&list->items[k]))
                compare_differences(&d, k);
        tv_test_language_model_free(&lm);
        free(moved);
        free(flat);
        tv_parameter_list_destroy(&list);
    }
}

/* As it begins, with B = 0, an adapter changes no bit. */
static void an_untrained_adapter_changes_no_bit(void **state) {
    for (int a = 0; a < 2; a++) {
        tv_architecture architecture = a ? TV_ARCH_LLAMA : TV_ARCH_GPT2;
        const tv_model_config config = config_of(architecture);
        const tv_adapter adapter = all_linear(architecture);
        uint32_t tokens[ROWS], targets[ROWS];
        const tv_test_batch batch = batch_of(tokens, targets);
        tv_parameter_list *base = NULL, *list = NULL;
        assert_ok(tv_parameter_list_create(&config, &base));
        assert_ok(
            tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &adapter}, &list));
        float *flat = calloc(2 * list->elements, sizeof *flat), *plain = flat + list->elements;
        tv_test_draw_parameters(list, 11, flat);
        for (uint32_t i = 0; i < list->count; i++)
            if (tv_parameter_is_of_adapter(&list->items[i]))
                tv_parameter_initialise(list, i, 1, 0, list->items[i].shape[0],
                                        flat + tv_test_flat_offset(list, i));
        for (uint32_t i = 0; i < base->count; i++) {
            const tv_parameter *p = &base->items[i];
            memcpy(plain + tv_test_flat_offset(base, i),
                   part(list, flat, tv_parameter_index(list, p->role, p->layer)), p->count * sizeof *plain);
        }
        /* A is drawn between its bounds, and reaches near them. */
        uint32_t first = tv_parameter_adapter(list, 0, 0, TV_PARAMETER_ADAPTER_A);
        float least = 0, most = 0;
        for (uint64_t i = 0; i < list->items[first].count; i++) {
            least = fminf(least, part(list, flat, first)[i]);
            most = fmaxf(most, part(list, flat, first)[i]);
        }
        assert_true(least >= -1.0f / 6 && least < -0.14f && most <= 1.0f / 6 && most > 0.14f);
        float losses[2][ROWS];
        tv_test_language_model lm = tv_test_language_model_create(*state, list, &batch, false);
        tv_test_set_parameters(&lm, flat);
        tv_test_loss(&lm, losses[0]);
        tv_test_language_model_free(&lm);
        lm = tv_test_language_model_create(*state, base, &batch, false);
        tv_test_set_parameters(&lm, plain);
        tv_test_loss(&lm, losses[1]);
        tv_test_language_model_free(&lm);
        assert_memory_equal(losses[0], losses[1], sizeof losses[0]);
        free(flat);
        tv_parameter_list_destroy(&list);
        tv_parameter_list_destroy(&base);
    }
}

/* ---- training ---- */

static tv_status one_batch(void *context, tv_micro_batch *batch) {
    const tv_test_batch *given = context;
    memcpy(batch->tokens, given->token, ROWS * sizeof *batch->tokens);
    memcpy(batch->targets, given->target, ROWS * sizeof *batch->targets);
    return TV_OK;
}

enum { STEPS = 12, DIAGONAL = 100 };

/* Losses of the steps of a list's model, whose base is drawn by seed; A is DIAGONAL times the identity. */
static void train(tv_device *device, const tv_parameter_list *list, const tv_test_batch *batch,
                  double *loss) {
    const tv_trainer_options options = {.stage = "test", .batch = BATCH, .tokens = TOKENS, .train = true};
    const struct tv_step_constants constants = tv_step_constants_make(2e-3, 0, 0.9, 0.95, 1e-8, 0);
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    assert_ok(tv_model_create(device, list, true, &model));
    float *values = calloc(list->max_elements, sizeof *values);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        tv_rng rng = {.seed = 7, .stream = TV_STREAM_TEST, .step = p->role * LAYERS + p->layer % LAYERS};
        for (uint64_t k = 0; k < p->count; k++)
            values[k] = p->role == TV_PARAMETER_ADAPTER_A
                            ? DIAGONAL * (float)(k / p->shape[1] == k % p->shape[1])
                        : p->role == TV_PARAMETER_ADAPTER_B ? 0
                        : p->init == TV_INIT_ONE            ? 1
                                                            : 0.2f * tv_normal(&rng, k);
        assert_ok(tv_upload(device, tv_model_parameter_at(model, i).span, values, p->count * sizeof *values));
    }
    free(values);
    assert_ok(tv_trainer_create(model, &options, &trainer));
    tv_step_result result;
    bool has_result;
    for (int step = 0; step < STEPS; step++) {
        assert_ok(
            tv_trainer_step(trainer, &constants, one_batch, (void *)(uintptr_t)batch, &result, &has_result));
        if (has_result)
            loss[result.number] = result.loss;
    }
    for (has_result = true; has_result;) {
        assert_ok(tv_trainer_drain(trainer, &result, &has_result));
        if (has_result)
            loss[result.number] = result.loss;
    }
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
}

/* With r = in, A = 100 I and scale 1/100, B is what full training adds to W, gradient and AdamW's step alike.
 * A moves too, by at most 2e-3 a step and element, so that 12 steps move A x by at most 12 * 2e-3 sqrt(36) /
 * 100 = 0.14 % of x's norm, and the loss by as much of what B has made it fall. */
static void full_rank_follows_full_training(void **state) {
    const tv_model_config config = config_of(TV_ARCH_LLAMA);
    const tv_adapter adapter = {
        .rank = CHANNELS,
        .alpha = (double)CHANNELS / DIAGONAL,
        .target_count = 2,
        .targets = {{TV_PARAMETER_MLP_IN_WEIGHT, 0, FFN}, {TV_PARAMETER_MLP_IN_WEIGHT, FFN, FFN}}};
    uint32_t tokens[ROWS], targets[ROWS];
    const tv_test_batch batch = batch_of(tokens, targets);
    tv_parameter_list *every = NULL, *full = NULL, *list = NULL;
    assert_ok(tv_parameter_list_create(&config, &every));
    bool *trainable = calloc(every->count, sizeof *trainable);
    for (uint32_t i = 0; i < every->count; i++)
        trainable[i] = every->items[i].role == TV_PARAMETER_MLP_IN_WEIGHT;
    assert_ok(
        tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.trainable = trainable}, &full));
    assert_ok(tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &adapter}, &list));
    double of_full[STEPS] = {0}, of_adapter[STEPS] = {0};
    train(*state, full, &batch, of_full);
    train(*state, list, &batch, of_adapter);
    assert_true(of_full[STEPS - 1] < of_full[0] - 0.3);
    for (int step = 0; step < STEPS; step++) {
        double fallen = of_full[0] - of_full[step], bound = step < 2 ? 1e-5 : 3e-3 * fallen;
        if (!(fabs(of_adapter[step] - of_full[step]) <= bound))
            fail_msg("step %d: loss %.7f, in full training %.7f", step, of_adapter[step], of_full[step]);
    }
    free(trainable);
    tv_parameter_list_destroy(&list);
    tv_parameter_list_destroy(&full);
    tv_parameter_list_destroy(&every);
}

static void targets_outside_of_matrices_are_refused(void **state) {
    (void)state;
    const tv_model_config config = config_of(TV_ARCH_LLAMA);
    const tv_adapter good = all_linear(TV_ARCH_LLAMA);
    tv_adapter bad[5] = {good, good, good, good, good};
    bad[0].targets[2].rows = 13;
    bad[1].targets[0].role = TV_PARAMETER_NORM1_GAIN;
    bad[2].targets[1].first_row = 20; /* over the one before */
    bad[3].rank = 0;
    bad[4].targets[6].first_row = UINT64_MAX;
    for (size_t i = 0; i < TV_COUNT(bad); i++) {
        tv_parameter_list *list = NULL;
        assert_int_equal(
            tv_parameter_list_create_chosen(&config, &(tv_parameter_choice){.adapter = &bad[i]}, &list),
            TV_E_USAGE);
        assert_null(list);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapted_equals_merged),
        cmocka_unit_test(some_targets),
        cmocka_unit_test(gemma_adapters_equal_the_merged_model),
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(an_untrained_adapter_changes_no_bit),
        cmocka_unit_test(full_rank_follows_full_training),
        cmocka_unit_test(targets_outside_of_matrices_are_refused),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
