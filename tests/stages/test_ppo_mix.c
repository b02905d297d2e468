/* The pretraining mix of PPO: the gradient of `ppo.ptx_coef` times the language loss on token shards joins
 * that of the policy, and the loss is reported.
 *
 * Tried on 2026-11-26: the coefficient's sign turned; a coefficient of 1 always; the mix left out of the
 * memory plan. Each fails. Resuming in the middle of the mix: tests/cli/test_ppo.c.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "stages/ppo/ppo.h"
#include "support/answering.h"
#include "support/device.h"
#include "support/open_model.h"
#include "support/stage_run.h"
#include "text/prompts.h"
#include "text/shard.h"
#include "text/tokenizer_json.h"
#include "train/step.h"

enum { MAX_NEW = 6, ROWS = 64 };

/* Rows of the policy's batches: the longest prompt and response, less one. */
static uint64_t row_length(const tv_answering *place, const char *policy, uint32_t *vocab) {
    const char *const paths[] = {place->prompts};
    tv_tokenizer *tokenizer = NULL;
    tv_prompts *prompts = NULL;
    uint64_t longest = 0;
    assert_ok(tv_tokenizer_load(policy, &tokenizer));
    assert_ok(tv_prompts_read(&(tv_prompts_options){.paths = paths, .path_count = 1, .tokenizer = tokenizer},
                              &prompts));
    for (uint64_t i = 0; i < prompts->count; i++)
        longest = tv_max_u64(longest, prompts->items[i].length);
    *vocab = tv_tokenizer_vocab_size(tokenizer);
    tv_prompts_destroy(&prompts);
    tv_tokenizer_destroy(&tokenizer);
    return longest + MAX_NEW - 1;
}

/* What stands at place t of every row, so that all batches are one. */
static uint32_t token_at(uint64_t t, uint64_t length, uint32_t vocab) {
    return (uint32_t)((t % length * 37 + 11) % vocab);
}

static char *write_shard(const tv_answering *place, uint64_t length, uint32_t vocab) {
    char *path = tv_answering_path(place, "mix.bin");
    tv_shard_writer *writer = NULL;
    assert_ok(tv_shard_writer_open(path, vocab, &writer));
    for (uint64_t i = 0; i <= ROWS * length; i++) {
        uint32_t id = token_at(i, length, vocab);
        assert_ok(tv_shard_writer_add(writer, &id, 1));
    }
    assert_ok(tv_shard_writer_commit(&writer));
    return path;
}

static void train(const tv_answering *place, const char *run, const char *shard, const char *coefficient,
                  const char *iterations) {
    char *data = tv_format("data.train=[\"%s\"]", place->prompts),
         *mix = tv_format("data.ptx=[\"%s\"]", shard);
    const char *const sets[] = {data,
                                mix,
                                coefficient,
                                iterations,
                                "ppo.prompts=12",
                                "ppo.minibatch=12",
                                "ppo.epochs=1",
                                "ppo.max_new_tokens=6",
                                "ppo.temperature=1",
                                "train.batch_size=4",
                                "train.lr=1e-3",
                                "train.schedule=constant",
                                "train.warmup_steps=0"};
    tv_run_result result;
    assert_ok(tv_ppo_train(
        &(tv_policy_options){
            .run = {.run = run, .init = place->model, .sets = sets, .set_count = TV_COUNT(sets)},
            .rewards = &(tv_reward_given){TV_REWARD_PROGRAM, place->reward},
            .reward_count = 1},
        &result));
    assert_near(result.device_bytes, result.planned_bytes, 0.02 * (double)result.planned_bytes);
    free(mix);
    free(data);
}

typedef struct repeated_row {
    uint64_t length;
    uint32_t vocab;
} repeated_row;

static tv_status fill(void *context, tv_micro_batch *batch) {
    const repeated_row *row = context;
    for (uint64_t t = 0; t < row->length; t++) {
        batch->tokens[t] = token_at(t, row->length, row->vocab);
        batch->targets[t] = token_at(t + 1, row->length, row->vocab);
    }
    return TV_OK;
}

/* Loss and norm of the gradient of that row, by a trainer of pretraining. */
static tv_step_result alone(tv_device *device, const char *policy, repeated_row row) {
    tv_model_directory *directory = NULL;
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    tv_step_result result;
    bool has_result = false;
    tv_test_open_model(device, policy, true, &directory, &model);
    assert_ok(tv_trainer_create(
        model,
        &(tv_trainer_options){
            .stage = "test", .batch = 1, .tokens = row.length, .grad_accum = 1, .train = true},
        &trainer));
    const struct tv_step_constants constants = tv_step_constants_make(0, 0, 0.9, 0.95, 1e-8, 0);
    assert_ok(tv_trainer_step(trainer, &constants, fill, &row, &result, &has_result));
    if (!has_result)
        assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_true(has_result);
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_model_directory_close(&directory);
    return result;
}

/* With g of the policy and x of the mix, |g + c x|^2 at c = 0, 1 and 2 has the second difference 2 |x|^2; and
 * the loss on the mix falls. Norms of fp32 gradients hold 1e-5 of their squares.
 */
static void the_mix_joins_the_gradient(void **state) {
    tv_log_set_level(TV_LOG_WARNING);
    tv_answering place = tv_answering_create(TV_ARCH_GPT2, 40);
    char *policy = tv_format("%s/checkpoints/last", place.model);
    repeated_row row = {0};
    row.length = row_length(&place, policy, &row.vocab);
    char *shard = write_shard(&place, row.length, row.vocab);
    static const char *const coefficients[] = {"ppo.ptx_coef=0", "ppo.ptx_coef=1", "ppo.ptx_coef=2"};
    double squares[3];
    const tv_step_result expected = alone(*state, policy, row);
    for (int i = 0; i < 3; i++) {
        char *run = tv_format("%s/mix-%d", place.planted.dir, i);
        train(&place, run, shard, coefficients[i], i == 1 ? "ppo.iterations=8" : "ppo.iterations=1");
        double norm = tv_expect_metric(run, 1, "grad_norm");
        squares[i] = norm * norm;
        if (i > 0)
            assert_near(tv_expect_metric(run, 1, "loss/ptx"), expected.loss, 1e-5 * expected.loss);
        if (i == 1)
            assert_true(tv_expect_metric(run, 8, "loss/ptx") < expected.loss - 0.1);
        free(run);
    }
    double square = expected.grad_norm * expected.grad_norm;
    print_message("policy %.4f, mix %.4f, loss %.4f\n", sqrt(squares[0]), expected.grad_norm, expected.loss);
    assert_near((squares[2] - 2 * squares[1] + squares[0]) / 2, square, 1e-4 * (squares[2] + square));
    free(shard);
    free(policy);
    tv_answering_destroy(&place);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_mix_joins_the_gradient)};
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
