/* Score heads against PyTorch in float64 (tests/golden/make_scores.py): the scores of six sequences, and for
 * each loss of preferences its value and the norm of the whole model's gradient, over both families.
 *
 * Tolerances: a score is a sum of 64 products of magnitude 0.1; PyTorch's own float32 is off by 2.4e-7 of a
 * loss and 3.4e-7 of a norm (tests/golden/README.md). 5e-6 and 1e-5 leave room for another order of
 * summation. Measured on lavapipe, 2026-11-26: scores within 8e-7, losses
 * 1.5e-7, norms 3e-7 of them.
 *
 * Tried on 2026-11-26: the margin's sign turned, the center's term missing from one gradient, no gradient for
 * the score weight: each fails.
 */
#include "support/golden.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "formats/load.h"
#include "model/score_head.h"
#include "reward/scorer.h"
#include "text/shard.h"
#include "train/step.h"
#include "vk/transfer.h"

enum { STRIDE = 40, SEQUENCES = 6, TOKENS = STRIDE * SEQUENCES };
static const uint64_t lengths[SEQUENCES] = {33, 40, 21, 17, 5, 28};
static const double tolerance = 5e-6, norm_tolerance = 1e-5;

typedef struct golden_scores {
    cJSON *root;
    const cJSON *figures; /* of the model */
    tv_model_directory *directory;
    tv_parameter_list *list;
    tv_model *model;
    uint32_t tokens[TOKENS];
} golden_scores;

static void set_head(tv_model *model) {
    uint32_t index = tv_parameter_index(tv_model_list(model), TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER);
    float weight[64];
    assert_int_equal(tv_model_list(model)->items[index].count, TV_COUNT(weight));
    for (int c = 0; c < (int)TV_COUNT(weight); c++)
        weight[c] = (float)(sin(c + 1) / 8);
    assert_ok(
        tv_upload(tv_model_device(model), tv_model_parameter_at(model, index).span, weight, sizeof weight));
}

static golden_scores open_golden(tv_device *device, const char *name) {
    golden_scores g = {0};
    char *path = tv_test_golden_path(name, ""), *json = tv_test_golden_path("scores", ".json"),
         *shard_path = tv_test_golden_path("tokens", ".bin");
    tv_shard *shard = NULL;
    assert_ok(tv_json_read_file(json, &g.root));
    g.figures = tv_json_get(g.root, name);
    assert_ok(tv_model_directory_open(path, &g.directory));
    tv_model_config config = tv_model_directory_parameters(g.directory)->config;
    config.head = TV_MODEL_HEAD_SCORE;
    assert_ok(tv_parameter_list_create(&config, &g.list));
    assert_ok(tv_model_create(device, g.list, true, &g.model));
    assert_ok(tv_model_load_body(g.model, g.directory, 1));
    set_head(g.model);
    assert_ok(tv_shard_open(shard_path, (uint32_t)config.vocab_size, &shard));
    assert_ok(tv_shard_read(shard, 0, TOKENS, g.tokens));
    tv_shard_close(&shard);
    tv_free_all(shard_path, json, path);
    return g;
}

static void close_golden(golden_scores *g) {
    tv_model_destroy(&g->model);
    tv_parameter_list_destroy(&g->list);
    tv_model_directory_close(&g->directory);
    cJSON_Delete(g->root);
}

static void scores_equal_pytorchs(void **state) {
    static const char *const names[] = {"gpt2_100k", "llama_100k"};
    for (int m = 0; m < 2; m++) {
        golden_scores g = open_golden(*state, names[m]);
        tv_sequence sequences[SEQUENCES];
        float scores[SEQUENCES];
        for (uint64_t i = 0; i < SEQUENCES; i++)
            sequences[i] = (tv_sequence){g.tokens + STRIDE * i, lengths[i]};
        tv_scorer *scorer = NULL;
        assert_ok(tv_scorer_create(g.model, &(tv_scorer_options){.max_tokens = STRIDE, .batch_tokens = 120},
                                   &scorer));
        assert_ok(tv_scorer_score(scorer, sequences, SEQUENCES, scores));
        tv_scorer_destroy(&scorer);
        const cJSON *expected = tv_json_get(g.figures, "scores")->child;
        for (uint64_t i = 0; i < SEQUENCES; i++, expected = expected->next)
            assert_near(scores[i], expected->valuedouble, tolerance);
        close_golden(&g);
    }
}

/* The groups of make_scores.py. */
typedef struct groups {
    const golden_scores *golden;
    uint64_t count, size;
    uint32_t ranks[SEQUENCES];
    float margins[3];
} groups;

static tv_status fill_groups(void *context, tv_micro_batch *batch) {
    const groups *g = context;
    uint32_t *members = batch->inputs[TV_SCORE_MEMBERS];
    for (uint64_t i = 0; i < SEQUENCES; i++) {
        /* What stands behind a sequence is the next token of the shard: it must not be seen. */
        memcpy(batch->tokens + STRIDE * i, g->golden->tokens + STRIDE * i, STRIDE * sizeof(uint32_t));
        members[i] = (uint32_t)(STRIDE * i + lengths[i] - 1);
    }
    memcpy(batch->inputs[TV_SCORE_RANKS], g->ranks, sizeof g->ranks);
    memcpy(batch->inputs[TV_SCORE_MARGINS], g->margins, g->count * sizeof(float));
    batch->terms = g->count;
    return TV_OK;
}

static void compare_loss(const golden_scores *golden, const char *name, uint32_t mode, const groups *g) {
    const tv_preference_settings settings = {g->size, mode, 0.01};
    tv_trainer *trainer = NULL;
    assert_ok(tv_trainer_create(golden->model,
                                &(tv_trainer_options){.stage = "test",
                                                      .batch = SEQUENCES,
                                                      .tokens = STRIDE,
                                                      .grad_accum = 1,
                                                      .head = tv_preference_head,
                                                      .head_settings = &settings,
                                                      .train = true},
                                &trainer));
    const struct tv_step_constants constants = tv_step_constants_make(0, 0, 0.9, 0.999, 1e-8, 0);
    tv_step_result result;
    bool has_result;
    groups copy = *g;
    assert_ok(tv_trainer_step(trainer, &constants, fill_groups, &copy, &result, &has_result));
    if (!has_result)
        assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_true(has_result);
    const cJSON *expected = tv_json_get(golden->figures, name);
    double loss = tv_json_get(expected, "loss")->valuedouble,
           norm = tv_json_get(expected, "grad_norm")->valuedouble;
    assert_near(result.loss, loss, tolerance);
    assert_near(result.grad_norm, norm, norm_tolerance * norm);
    tv_trainer_destroy(&trainer);
}

static void losses_and_gradients_equal_pytorchs(void **state) {
    static const char *const names[] = {"gpt2_100k", "llama_100k"};
    for (int m = 0; m < 2; m++) {
        golden_scores g = open_golden(*state, names[m]);
        const groups pairs = {&g, 3, 2, {0, 1, 0, 1, 0, 0}, {0, 0.5f, 0}};
        const groups lists = {&g, 2, 3, {0, 1, 2, 0, 1, 1}, {0}};
        compare_loss(&g, "pairs", TV_PREFERENCE_PAIRS, &pairs);
        compare_loss(&g, "kwise", TV_PREFERENCE_KWISE, &lists);
        compare_loss(&g, "listwise", TV_PREFERENCE_LISTWISE, &lists);
        close_golden(&g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_equal_pytorchs),
        cmocka_unit_test(losses_and_gradients_equal_pytorchs),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
