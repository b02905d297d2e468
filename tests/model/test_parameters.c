/* model/parameters: counts against published totals, shapes and order, initialisation statistics. */
#include "support/small_config.h"
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/parameters.h"

static tv_model_config gpt2_small(void) {
    tv_model_config c = tv_test_config(TV_ARCH_GPT2, (tv_test_sizes){.vocab = 50257,
                                                                     .layers = 12,
                                                                     .heads = 12,
                                                                     .channels = 768,
                                                                     .head_size = 64,
                                                                     .ffn = 3072,
                                                                     .positions = 1024});
    return c;
}

static tv_model_config llama_3_8b(void) {
    tv_model_config c = tv_test_config(TV_ARCH_LLAMA, (tv_test_sizes){.vocab = 128256,
                                                                      .layers = 32,
                                                                      .heads = 32,
                                                                      .kv_heads = 8,
                                                                      .channels = 4096,
                                                                      .head_size = 128,
                                                                      .ffn = 14336,
                                                                      .positions = 8192});
    return c;
}

/* 124,439,808 and 8,030,261,248 are the sizes that the model cards of GPT-2 and Llama 3 8B state. */
static void totals_equal_the_published_ones(void **state) {
    (void)state;
    tv_parameter_list *list = NULL;
    tv_model_config c = gpt2_small();
    assert_ok(tv_parameter_list_create(&c, &list));
    assert_true(list->elements == 124439808);
    assert_int_equal(list->count, 12 * 12 + 4);
    assert_true(list->max_elements == 50257 * 768);
    tv_parameter_list_destroy(&list);
    assert_null(list);
    tv_parameter_list_destroy(&list);

    c = llama_3_8b();
    assert_ok(tv_parameter_list_create(&c, &list));
    assert_true(list->elements == 8030261248);
    assert_int_equal(list->count, 32 * 6 + 3);
    tv_parameter_list_destroy(&list);
}

static void check_shape(const tv_parameter_list *list, tv_parameter_role role, uint32_t layer, uint32_t rank,
                        uint64_t rows, uint64_t columns) {
    uint32_t index = tv_parameter_index(list, role, layer);
    assert_true(index < list->count);
    const tv_parameter *p = &list->items[index];
    assert_int_equal(p->role, role);
    assert_true(p->layer == layer);
    assert_int_equal(p->rank, rank);
    assert_true(p->shape[0] == rows && p->shape[1] == columns && p->count == rows * columns);
    assert_true(p->decay == (rank == 2));
}

static void shapes_and_lookup(void **state) {
    (void)state;
    tv_parameter_list *list = NULL;
    tv_model_config c = llama_3_8b();
    c.n_layer = 3;
    c.head_size = 100; /* H * D is not C */
    c.attention_bias = c.attention_out_bias = true;
    assert_ok(tv_parameter_list_create(&c, &list));
    check_shape(list, TV_PARAMETER_EMBEDDING, TV_NO_LAYER, 2, 128256, 4096);
    check_shape(list, TV_PARAMETER_HEAD_WEIGHT, TV_NO_LAYER, 2, 128256, 4096);
    for (uint32_t layer = 0; layer < 3; layer++) {
        check_shape(list, TV_PARAMETER_QKV_WEIGHT, layer, 2, (32 + 16) * 100, 4096);
        check_shape(list, TV_PARAMETER_QKV_BIAS, layer, 1, (32 + 16) * 100, 1);
        check_shape(list, TV_PARAMETER_ATTN_OUT_WEIGHT, layer, 2, 4096, 3200);
        check_shape(list, TV_PARAMETER_ATTN_OUT_BIAS, layer, 1, 4096, 1);
        check_shape(list, TV_PARAMETER_MLP_IN_WEIGHT, layer, 2, 2 * 14336, 4096);
        check_shape(list, TV_PARAMETER_MLP_OUT_WEIGHT, layer, 2, 4096, 14336);
        check_shape(list, TV_PARAMETER_NORM2_GAIN, layer, 1, 4096, 1);
    }
    assert_true(tv_parameter_index(list, TV_PARAMETER_QKV_WEIGHT, 3) == TV_NO_PARAMETER);
    assert_true(tv_parameter_index(list, TV_PARAMETER_POSITIONS, TV_NO_LAYER) == TV_NO_PARAMETER);
    assert_true(tv_parameter_index(list, TV_PARAMETER_NORM1_BIAS, 0) == TV_NO_PARAMETER);
    assert_true(tv_parameter_index(list, TV_PARAMETER_MLP_IN_BIAS, 0) == TV_NO_PARAMETER);
    assert_true(tv_parameter_head(list) == list->count - 1);
    assert_string_equal(list->items[tv_parameter_index(list, TV_PARAMETER_QKV_BIAS, 2)].name,
                        "layer 2 qkv bias");
    /* Forward order: layers ascend, and roles ascend within a layer. */
    for (uint32_t i = 1; i < list->count; i++) {
        const tv_parameter *a = &list->items[i - 1], *b = &list->items[i];
        assert_true(b->layer == a->layer ? b->role > a->role
                                         : b->layer == TV_NO_LAYER || b->layer == a->layer + 1);
    }
    tv_parameter_list_destroy(&list);

    c = gpt2_small();
    assert_ok(tv_parameter_list_create(&c, &list));
    assert_int_equal(tv_parameter_head(list), 0);
    check_shape(list, TV_PARAMETER_POSITIONS, TV_NO_LAYER, 2, 1024, 768);
    check_shape(list, TV_PARAMETER_MLP_IN_WEIGHT, 11, 2, 3072, 768);
    tv_parameter_list_destroy(&list);

    c.n_head = 5;
    assert_int_equal(tv_parameter_list_create(&c, &list), TV_E_CONFIG);
    assert_null(list);
}

/* n normal draws: the mean lies within 5 std / sqrt(n), the deviation within 5 / sqrt(2 n) of std relative.
 */
static void check_draws(const tv_parameter_list *list, tv_parameter_role role, double std) {
    uint32_t index = tv_parameter_index(list, role, 1);
    const tv_parameter *p = &list->items[index];
    float *a = malloc(p->count * sizeof *a), *b = malloc(p->count * sizeof *b);
    assert_non_null(a);
    assert_non_null(b);
    tv_parameter_initialise(list, index, 7, 0, p->shape[0], a);
    double n = (double)p->count, sum = 0, squares = 0;
    for (uint64_t i = 0; i < p->count; i++) {
        sum += a[i];
        squares += (double)a[i] * a[i];
    }
    assert_near(sum / n, 0, 5 * std / sqrt(n));
    assert_near(sqrt(squares / n), std, 5 * std / sqrt(2 * n));
    tv_parameter_initialise(list, index, 7, 0, p->shape[0], b);
    assert_memory_equal(a, b, p->count * sizeof *a);
    /* A piece is what it is in the whole. */
    uint64_t last = p->shape[0] - 1;
    tv_parameter_initialise(list, index, 7, last, 1, b);
    assert_memory_equal(a + last * p->shape[1], b, p->shape[1] * sizeof *a);
    tv_parameter_initialise(list, index, 8, 0, p->shape[0], b);
    assert_memory_not_equal(a, b, p->count * sizeof *a);
    free(a);
    free(b);
}

static void initialisation_is_gpt2s(void **state) {
    (void)state;
    tv_parameter_list *list = NULL;
    tv_model_config c = tv_test_config(TV_ARCH_GPT2, (tv_test_sizes){.vocab = 500,
                                                                     .layers = 8,
                                                                     .heads = 4,
                                                                     .channels = 64,
                                                                     .head_size = 16,
                                                                     .ffn = 256,
                                                                     .positions = 128});
    assert_ok(tv_parameter_list_create(&c, &list));
    check_draws(list, TV_PARAMETER_EMBEDDING, 0.02);
    check_draws(list, TV_PARAMETER_POSITIONS, 0.02);
    check_draws(list, TV_PARAMETER_QKV_WEIGHT, 0.02);
    check_draws(list, TV_PARAMETER_MLP_IN_WEIGHT, 0.02);
    /* 1/sqrt(2 * 8) = 1/4 */
    check_draws(list, TV_PARAMETER_ATTN_OUT_WEIGHT, 0.005);
    check_draws(list, TV_PARAMETER_MLP_OUT_WEIGHT, 0.005);
    float values[256];
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        if (p->rank == 2)
            continue;
        assert_true(p->count <= 256);
        tv_parameter_initialise(list, i, 7, 0, p->shape[0], values);
        bool gain = strstr(p->name, "gain") != NULL;
        for (uint64_t k = 0; k < p->count; k++)
            assert_near(values[k], gain ? 1 : 0, 0);
    }
    tv_parameter_list_destroy(&list);
}

/* The score replaces the head, tied or not: one row of C, and nothing that makes logits. */
static void score_head_replaces_the_language_head(void **state) {
    (void)state;
    tv_parameter_list *language = NULL, *score = NULL;
    tv_model_config configs[] = {gpt2_small(), llama_3_8b()};
    for (int i = 0; i < 2; i++) {
        tv_model_config c = configs[i];
        assert_ok(tv_parameter_list_create(&c, &language));
        c.head = TV_MODEL_HEAD_SCORE;
        assert_ok(tv_parameter_list_create(&c, &score));
        uint64_t head = c.tied ? 0 : c.vocab_size * c.channels;
        assert_true(score->elements == language->elements - head + c.channels);
        check_shape(score, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER, 2, 1, c.channels);
        assert_true(tv_parameter_index(score, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER) == score->count - 1);
        assert_true(tv_parameter_index(score, TV_PARAMETER_HEAD_WEIGHT, TV_NO_LAYER) == TV_NO_PARAMETER);
        assert_true(tv_parameter_head(score) == TV_NO_PARAMETER);
        assert_true(tv_parameter_index(language, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER) == TV_NO_PARAMETER);
        assert_string_equal(tv_parameter_operation(TV_PARAMETER_SCORE_WEIGHT), "score");
        tv_parameter_list_destroy(&language);
        tv_parameter_list_destroy(&score);
    }
    tv_model_config c = gpt2_small();
    c.n_layer = 2;
    c.channels = 9600; /* enough draws to see the deviation within 4 % */
    c.head_size = 800;
    c.vocab_size = 10;
    c.head = TV_MODEL_HEAD_SCORE;
    assert_ok(tv_parameter_list_create(&c, &score));
    check_draws(score, TV_PARAMETER_SCORE_WEIGHT, 1 / sqrt(9601));
    tv_parameter_list_destroy(&score);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_equal_the_published_ones),
        cmocka_unit_test(shapes_and_lookup),
        cmocka_unit_test(initialisation_is_gpt2s),
        cmocka_unit_test(score_head_replaces_the_language_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
