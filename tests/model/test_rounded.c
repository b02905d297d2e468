/* Models whose matrices are held as f16, bf16, q8_0 and q4_0 against float64 over the same rounded weights
 * (tests/golden/README.md, make_rounded.py, which rounds by a code of its own): logits, loss, and the norm of
 * the gradients of the vectors, which come through every product with a frozen matrix.
 *
 * Tolerances are those of the golden models as floats (support/golden.h); of logits 1e-4. Measured on
 * lavapipe, 2026-11-29: logits by at most 1.2e-6, norms by 9.4e-8. Tried: q4_0 with the size of the largest
 * value and not its sign; fails here.
 */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "formats/load.h"

enum { BATCH = 4, TOKENS = 64, MOST = 64 };
static const double logits_tolerance = 1e-4, loss_tolerance = 2e-6, norm_tolerance = 1e-5;

/* Matrices frozen and stored as `type`; vectors, and the position table, floats; vectors trained. */
static tv_parameter_list *list_of(const tv_parameter_list *published, tv_dtype type) {
    tv_parameter_list *list = NULL;
    tv_dtype storage[MOST];
    bool trainable[MOST];
    assert_true(published->count <= MOST);
    for (uint32_t i = 0; i < published->count; i++) {
        storage[i] = type;
        trainable[i] = published->items[i].rank == 1;
    }
    assert_ok(tv_parameter_list_create_chosen(
        &published->config, &(tv_parameter_choice){.trainable = trainable, .storage = storage}, &list));
    return list;
}

static double worst_logit(const tv_model *model, const tv_test_golden_model *golden, const cJSON *at,
                          const cJSON *expected) {
    float *logits = tv_test_all_logits(model, golden->tokens, BATCH, TOKENS);
    uint64_t vocab = tv_model_list(model)->config.vocab_size;
    double worst = 0;
    const cJSON *row, *item;
    at = at->child;
    cJSON_ArrayForEach(row, expected) {
        uint64_t b = (uint64_t)at->child->valueint, t = (uint64_t)at->child->next->valueint, v = 0;
        cJSON_ArrayForEach(item, row) {
            double off = fabs((double)logits[(b * TOKENS + t) * vocab + v++] - item->valuedouble);
            if (!(off <= worst))
                worst = off;
        }
        assert_int_equal(v, vocab);
        at = at->next;
    }
    free(logits);
    return worst;
}

static void check(tv_device *device, const char *name, tv_dtype type, const cJSON *at, const cJSON *figures) {
    tv_test_golden_model golden = tv_test_golden_open(name);
    tv_parameter_list *list = list_of(tv_model_directory_parameters(golden.directory), type);
    const tv_test_batch batch = {BATCH, TOKENS, golden.tokens, golden.targets, NULL, NULL};
    tv_test_language_model lm = tv_test_language_model_create(device, list, &batch, false);
    assert_ok(tv_model_load(lm.model, golden.directory));
    double worst = worst_logit(lm.model, &golden, at, tv_json_get(figures, "logits"));
    if (!(worst <= logits_tolerance))
        fail_msg("%s as %s: a logit is off by %.3g", name, tv_dtype_name(type), worst);
    double loss = tv_test_loss(&lm, NULL), expected = tv_json_get(figures, "loss")->valuedouble;
    if (!(fabs(loss - expected) <= loss_tolerance * expected))
        fail_msg("%s as %s: loss %.9g, expected %.9g", name, tv_dtype_name(type), loss, expected);
    float *gradient = calloc(list->elements, sizeof *gradient);
    assert_non_null(gradient);
    tv_test_gradients(&lm, gradient);
    double norm = 0;
    for (uint64_t i = 0; i < list->elements; i++)
        norm += (double)gradient[i] * (double)gradient[i];
    norm = sqrt(norm);
    expected = tv_json_get(figures, "vector_grad_norm")->valuedouble;
    if (!(fabs(norm - expected) <= norm_tolerance * expected))
        fail_msg("%s as %s: gradient norm %.9g, expected %.9g", name, tv_dtype_name(type), norm, expected);
    print_message("%s as %s: logits are off by at most %.2g, the norm by %.2g\n", name, tv_dtype_name(type),
                  worst, fabs(norm / expected - 1));
    free(gradient);
    tv_test_language_model_free(&lm);
    tv_parameter_list_destroy(&list);
    tv_test_golden_close(&golden);
}

static void stored_weights_equal_float64(void **state) {
    char *path = tv_test_golden_path("rounded", ".json");
    cJSON *root = NULL;
    assert_ok(tv_json_read_file(path, &root));
    const cJSON *at = tv_json_get(root, "logits_at"), *model;
    static const tv_dtype types[] = {TV_F16, TV_BF16, TV_Q8_0, TV_Q4_0};
    cJSON_ArrayForEach(model, tv_json_get(root, "models"))
        for (size_t i = 0; i < TV_COUNT(types); i++)
            check(*state, model->string, types[i], at, tv_json_get(model, tv_dtype_name(types[i])));
    cJSON_Delete(root);
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(stored_weights_equal_float64)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
