/* train/stage_reward and train/scorer: sanity gates 4 and 5 of the stages, the scale in reward.json, and that
 * a score is read where it should be.
 *
 * Gate 4: a padded and an unpadded input get the same reward.
 * Gate 5: with the head zeroed the loss is ln 2 and the accuracy one half; with the default head the loss
 * lies between ln 2 - 0.05 and 1.0; trained, the model orders held-out prompts better than that.
 */
#include "support/device.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/rng.h"
#include "model/score_head.h"
#include "reward/model.h"
#include "reward/score_file.h"
#include "reward/scorer.h"
#include "stages/reward.h"
#include "support/planted.h"
#include "support/stage_run.h"
#include "text/bpe_train.h"
#include "text/preferences.h"
#include "text/tokenizer_json.h"
#include "vk/transfer.h"

/* ---- gate 4 ---- */

enum { LONG = 64, SEQUENCES = 21 };

/* One sequence in one row, and nothing beside it. */
static tv_status fill_row(void *context, tv_micro_batch *batch) {
    const tv_sequence *sequence = context;
    memcpy(batch->tokens, sequence->ids, sequence->length * sizeof *sequence->ids);
    return TV_OK;
}

static tv_status keep_values(void *context, const tv_micro_batch *batch,
                             const float *const outputs[TV_HEAD_TENSORS]) {
    (void)batch;
    memcpy(context, outputs[TV_VALUE_VALUES], LONG * sizeof(float));
    return TV_OK;
}

static void expect_same(const float *a, const float *b, uint64_t count, const char *what) {
    for (uint64_t i = 0; i < count; i++)
        if (!(fabsf(a[i] - b[i]) <= 0))
            fail_msg("%s: sequence %llu has the score %.9g, expected %.9g", what, (unsigned long long)i,
                     (double)a[i], (double)b[i]);
}

/* The same sequences: each alone without padding; all in one scorer, where most rows are padded and others
 * stand beside them; in reverse order; and as the beginnings of the longest one, whose values in one forward
 * pass are their scores, because nothing that follows a token is seen by it. All bits are equal.
 *
 * Tried on 2026-11-26: the score read in the row's last column, and one before the sequence's end; scores
 * left in the order of the batch; each fails here. */
static void check_padding(tv_device *device, tv_architecture architecture) {
    tv_planted planted = tv_planted_create(architecture);
    char *path = tv_planted_reward(&planted, "reward", 1);
    tv_reward_model reward;
    assert_ok(tv_reward_model_open(path, NULL, &reward));
    assert_ok(tv_reward_model_load(&reward, device, NULL));
    uint32_t ids[LONG];
    const tv_rng rng = {.seed = 2, .stream = TV_STREAM_TEST};
    for (uint64_t i = 0; i < LONG; i++)
        ids[i] = 1 + (uint32_t)tv_uniform_below(&rng, i, 200);
    tv_sequence sequences[SEQUENCES], reversed[SEQUENCES];
    float alone[SEQUENCES], together[SEQUENCES], backwards[SEQUENCES], beginnings[SEQUENCES], values[LONG];
    for (uint64_t i = 0; i < SEQUENCES; i++) {
        sequences[i] = (tv_sequence){ids, i + 1 < SEQUENCES ? 1 + (i * 37 + 5) % LONG : LONG};
        reversed[SEQUENCES - 1 - i] = sequences[i];
    }

    tv_scorer *scorer = NULL;
    assert_ok(tv_scorer_create(reward.model, &(tv_scorer_options){.max_tokens = LONG, .batch_tokens = 256},
                               &scorer));
    assert_ok(tv_scorer_score(scorer, sequences, SEQUENCES, together));
    assert_ok(tv_scorer_score(scorer, reversed, SEQUENCES, backwards));
    tv_scorer_destroy(&scorer);
    for (uint64_t i = 0; i < SEQUENCES; i++) {
        assert_ok(tv_scorer_create(reward.model,
                                   &(tv_scorer_options){.max_tokens = sequences[i].length, .batch_tokens = 1},
                                   &scorer));
        assert_ok(tv_scorer_score(scorer, &sequences[i], 1, &alone[i]));
        tv_scorer_destroy(&scorer);
    }
    const tv_value_settings no_loss = {0};
    tv_trainer *trainer = NULL;
    assert_ok(tv_trainer_create(
        reward.model,
        &(tv_trainer_options){
            .stage = "test", .batch = 1, .tokens = LONG, .head = tv_value_head, .head_settings = &no_loss},
        &trainer));
    assert_ok(tv_trainer_forward(trainer, 1, fill_row, &sequences[SEQUENCES - 1], keep_values, values));
    tv_trainer_destroy(&trainer);
    for (uint64_t i = 0; i < SEQUENCES; i++) {
        beginnings[i] = values[sequences[i].length - 1];
        assert_true(i == 0 || fabsf(alone[i] - alone[0]) > 1e-4f ||
                    sequences[i].length == sequences[0].length);
        float swap = backwards[SEQUENCES - 1 - i];
        if (i < SEQUENCES - 1 - i) {
            backwards[SEQUENCES - 1 - i] = backwards[i];
            backwards[i] = swap;
        }
    }
    expect_same(together, alone, SEQUENCES, "padded");
    expect_same(backwards, alone, SEQUENCES, "in reverse");
    expect_same(beginnings, alone, SEQUENCES, "in one pass");
    tv_reward_model_close(&reward);
    free(path);
    tv_planted_destroy(&planted);
}

static void gate_4_padding_changes_nothing(void **state) {
    check_padding(*state, TV_ARCH_GPT2);
    check_padding(*state, TV_ARCH_LLAMA);
}

static void impossible_sequences_are_refused(void **state) {
    tv_device *device = *state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *path = tv_planted_reward(&planted, "reward", 1), *broken = tv_planted_reward(&planted, "nan", NAN);
    tv_reward_model reward;
    tv_scorer *scorer = NULL;
    uint32_t ids[9] = {0};
    float scores[2];
    assert_ok(tv_reward_model_open(path, NULL, &reward));
    assert_ok(tv_reward_model_load(&reward, device, NULL));
    assert_int_equal(
        tv_scorer_create(reward.model, &(tv_scorer_options){.max_tokens = 129, .batch_tokens = 0}, &scorer),
        TV_E_CONFIG);
    assert_int_equal(
        tv_scorer_create(reward.model, &(tv_scorer_options){.max_tokens = 0, .batch_tokens = 0}, &scorer),
        TV_E_CONFIG);
    assert_ok(
        tv_scorer_create(reward.model, &(tv_scorer_options){.max_tokens = 8, .batch_tokens = 16}, &scorer));
    assert_ok(tv_scorer_score(scorer, NULL, 0, NULL));
    const tv_sequence bad[2] = {{ids, 9}, {ids, 0}};
    for (int i = 0; i < 2; i++) {
        const tv_sequence two[2] = {{ids, 8}, bad[i]};
        assert_fails(tv_scorer_score(scorer, two, 2, scores), TV_E_DATA, "sequence 1");
    }
    tv_scorer_destroy(&scorer);
    tv_reward_model_close(&reward);
    assert_ok(tv_reward_model_open(broken, NULL, &reward));
    assert_fails(tv_reward_model_load(&reward, device, NULL), TV_E_DATA, "score.weight");
    tv_reward_model_close(&reward);
    assert_ok(tv_reward_model_open(path, NULL, &reward));
    assert_ok(tv_reward_model_load(&reward, device, NULL));
    tv_tensor head = tv_model_parameter(reward.model, TV_PARAMETER_SCORE_WEIGHT, TV_NO_LAYER);
    assert_ok(tv_upload(device, tv_span_part(head.span, 0, sizeof(float)), &(float){NAN}, sizeof(float)));
    assert_ok(
        tv_scorer_create(reward.model, &(tv_scorer_options){.max_tokens = 8, .batch_tokens = 16}, &scorer));
    assert_int_equal(tv_scorer_score(scorer, &(tv_sequence){ids, 8}, 1, scores), TV_E_NUMERIC);
    tv_scorer_destroy(&scorer);
    tv_reward_model_close(&reward);
    free(broken);
    free(path);
    tv_planted_destroy(&planted);
}

/* ---- gate 5 ---- */

/* Further settings end with NULL. */
static tv_run_result train(const char *run, const char *model, const char *data, const char *const *sets) {
    tv_stage_settings settings = tv_stage_settings_make(TV_TEXTS("data.seq_len=48"), data, sets);
    const tv_run_options options = {
        .run = run, .init = model, .sets = settings.all, .set_count = settings.count};
    tv_run_result result;
    assert_ok(tv_reward(&options, &result));
    tv_stage_settings_free(&settings);
    return result;
}

/* Every score is 0, so every pair is a coin toss, whatever the loss: -log sigmoid(0) a pair, and Plackett and
 * Luce's log 2 of two answers. The metrics of a step are from before its update. fp32 holds ln 2 to 3e-8.
 *
 * Tried on 2026-11-26: equal scores counted as wrong (accuracy 0); the drawn head left as it is (loss 1.13).
 */
static void gate_5_a_zeroed_head_tosses_a_coin(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *zero = tv_planted_reward(&planted, "zero", 0);
    char *pairs = tv_planted_preferences(&planted, "pairs.jsonl", 0, 24, 2, false);
    static const char *const losses[] = {"reward.loss=pairs", "reward.loss=kwise", "reward.loss=listwise"};
    for (int i = 0; i < 3; i++) {
        char *run = tv_format("%s/run%d", planted.dir, i);
        train(run, zero, pairs,
              TV_TEXTS(losses[i], "train.batch_size=4", "train.steps=1", "data.val_fraction=0.5",
                       "train.lr=0"));
        assert_near(tv_first_metric(run, "loss"), log(2), 1e-7);
        assert_near(tv_first_metric(run, "accuracy"), 0.5, 0);
        assert_near(tv_first_metric(run, "margin"), 0, 0);
        assert_near(tv_first_metric(run, "val_loss"), log(2), 1e-7);
        assert_near(tv_first_metric(run, "val_accuracy"), 0.5, 0);
        free(run);
    }
    free(pairs);
    free(zero);
    tv_planted_destroy(&planted);
}

/* The default head over all pairs at once, three heads: scores of deviation 1 differ by less within a pair.
 * Measured on lavapipe, 2026-11-26: 0.698, 0.696, 0.728.
 *
 * Tried on 2026-11-26: a head drawn with deviation 1 instead of 1/sqrt(C + 1) gives 1.75 for
 * the third. */
static void gate_5_the_default_head_knows_little(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *pairs = tv_planted_preferences(&planted, "pairs.jsonl", 0, 96, 2, false);
    static const char *const seeds[] = {"train.seed=1", "train.seed=2", "train.seed=3"};
    for (int i = 0; i < 3; i++) {
        char *run = tv_format("%s/run%d", planted.dir, i);
        train(run, planted.base, pairs,
              TV_TEXTS("train.batch_size=96", "train.steps=1", "train.lr=0", seeds[i]));
        double loss = tv_first_metric(run, "loss");
        print_message("%s: loss %.4f\n", seeds[i], loss);
        if (!(loss >= log(2) - 0.05 && loss <= 1))
            fail_msg("%s: the untrained loss is %.4f", seeds[i], loss);
        free(run);
    }
    free(pairs);
    tv_planted_destroy(&planted);
}

/* Training: 96 prompts, and 40 others that are held out. An untrained model orders half of the pairs, within
 * 5 * 0.5 / sqrt(40) = 0.4 either way; after training 0.95 are asked for. Measured on lavapipe, 2026-11-26:
 * all of them with each loss.
 *
 * Tried on 2026-11-26: the gradient's sign turned (accuracy 0.40); ranks turned around (the command then
 * finds 0 of the pairs in order); every score read at the prompt's last token (0.50). */
static void gate_5_training_orders_new_prompts(void **state) {
    (void)state;
    static const char *const losses[] = {"reward.loss=pairs", "reward.loss=kwise", "reward.loss=listwise"};
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    for (int i = 0; i < 3; i++) {
        char *run = tv_format("%s/run%d", planted.dir, i);
        char *data = tv_planted_preferences(&planted, "train.jsonl", 0, 96, i == 0 ? 2 : 4, i == 0);
        char *held = tv_planted_preferences(&planted, "held.jsonl", 1000, 40, 2, false);
        char *val = tv_format("data.val=[\"%s\"]", held);
        tv_run_result result = train(run, planted.base, data,
                                     TV_TEXTS(losses[i], "train.batch_size=8", "train.epochs=4",
                                              "train.lr=3e-3", val, "train.warmup_steps=4"));
        double accuracy = tv_last_metric(run, "val_accuracy");
        if (!(accuracy >= 0.95))
            fail_msg("%s: %.3f of the held-out pairs are in order", losses[i], accuracy);
        assert_true(result.finished);

        /* What the command says of the same file, from the saved model. */
        char *checkpoint = tv_format("%s/checkpoints/last", run);
        tv_score_result scored;
        assert_ok(tv_score_file(&(tv_score_options){.model = checkpoint, .data = held}, &scored));
        assert_near(scored.accuracy, accuracy, 1e-6);
        assert_near(scored.margin, tv_last_metric(run, "val_margin"), 1e-5);
        assert_near(scored.least, tv_last_metric(run, "val_min_reward"), 1e-6);
        assert_near(scored.most, tv_last_metric(run, "val_max_reward"), 1e-6);
        assert_near(scored.mean, tv_last_metric(run, "val_mean_reward"), 1e-5);
        tv_free_all(checkpoint, val, held, data, run);
    }
    tv_planted_destroy(&planted);
}

/* Pairs of very different lengths, all in one micro-batch as wide as the longest, or each in one of its own
 * width, shortest last: the same step. Sums of eight pairs in another order: 1e-6 of numbers about 1.
 *
 * Tried on 2026-11-27: rows laid out at a stride of T; scores read at one: each fails. */
static void narrow_micro_batches_make_the_same_step(void **state) {
    (void)state;
    static const char *const keys[] = {"loss",       "grad_norm",     "accuracy",        "margin",
                                       "val_loss",   "mean_reward",   "val_mean_reward", "val_margin",
                                       "min_reward", "val_min_reward"};
    tv_planted planted = tv_planted_create(TV_ARCH_LLAMA);
    char *together = tv_format("%s/together", planted.dir), *apart = tv_format("%s/apart", planted.dir);
    char *data = tv_planted_uneven(&planted, "uneven.jsonl"), *val = tv_format("data.val=[\"%s\"]", data);
    train(together, planted.base, data,
          TV_TEXTS("data.seq_len=64", "train.batch_size=8", "train.steps=1", val));
    train(apart, planted.base, data,
          TV_TEXTS("data.seq_len=64", "train.batch_size=1", "train.grad_accum=8", "train.steps=1", val));
    for (size_t i = 0; i < TV_COUNT(keys); i++) {
        double expected = tv_first_metric(together, keys[i]);
        assert_near(tv_first_metric(apart, keys[i]), expected, 1e-6 + 1e-6 * fabs(expected));
    }
    tv_free_all(val, data, apart, together);
    tv_planted_destroy(&planted);
}

/* ---- reward.json ---- */

/* All responses of the training data are scored (fewer than the limit), so the scale is that of the file: its
 * scores, normalised, have mean 0 and deviation 1. Also of a checkpoint in the middle, by its own weights.
 *
 * Tried on 2026-11-26: the deviation's root left out; the first answer of each group alone: each fails. */
static void the_scale_is_of_the_training_responses(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_LLAMA);
    char *run = tv_format("%s/run", planted.dir), *out = tv_format("%s/scores.txt", planted.dir);
    char *data = tv_planted_preferences(&planted, "train.jsonl", 0, 21, 3, true);
    train(run, planted.base, data,
          TV_TEXTS("reward.loss=kwise", "train.batch_size=4", "train.lr=1e-3", "train.checkpoint_every=3",
                   "train.steps=5"));
    static const char *const steps[] = {"step-3", "step-5"};
    double means[2];
    for (int i = 0; i < 2; i++) {
        char *checkpoint = tv_format("%s/checkpoints/%s", run, steps[i]), *text = NULL;
        tv_score_result scored;
        assert_ok(tv_score_file(
            &(tv_score_options){.model = checkpoint, .data = data, .out = out, .normalised = true}, &scored));
        assert_int_equal(scored.responses, 63);
        assert_int_equal(scored.scale.samples, 63);
        assert_near(scored.scale.mean, scored.mean, 1e-6);
        assert_near(scored.scale.deviation, scored.deviation, 1e-6);
        means[i] = scored.mean;
        assert_ok(tv_read_file(out, &text, NULL));
        double sum = 0, squares = 0;
        int lines = 0;
        for (char *line = text; *line; lines++) {
            double score = strtod(line, &line);
            assert_true(*line == '\n');
            line++;
            sum += score;
            squares += score * score;
        }
        assert_int_equal(lines, 63);
        assert_near(sum / 63, 0, 1e-5);
        assert_near(sqrt(squares / 63), 1, 1e-4);
        free(text);
        free(checkpoint);
    }
    assert_true(fabs(means[0] - means[1]) > 1e-6);
    tv_free_all(data, out, run);
    tv_planted_destroy(&planted);
}

static void scales_are_read_and_written(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/reward.json", dir);
    tv_reward_scale scale;
    assert_ok(tv_reward_scale_read(dir, &scale));
    assert_true(scale.samples == 0);
    assert_near(tv_reward_normalise(&scale, 1.25), 1.25, 0);
    const float scores[] = {1, 2, 3, 6};
    scale = tv_reward_scale_of(scores, 4);
    assert_near(scale.mean, 3, 0);
    assert_near(scale.deviation, sqrt(3.5), 1e-15);
    assert_ok(tv_reward_scale_write(dir, &scale));
    tv_reward_scale read;
    assert_ok(tv_reward_scale_read(dir, &read));
    assert_near(read.mean, scale.mean, 0);
    assert_near(read.deviation, scale.deviation, 0);
    assert_int_equal(read.samples, 4);
    assert_near(tv_reward_normalise(&read, 3 + sqrt(3.5)), 1, 1e-12);
    /* Scores that are all equal. */
    scale = tv_reward_scale_of(scores, 1);
    assert_near(tv_reward_normalise(&scale, 4), 3, 0);
    static const char *const broken[] = {
        "{",
        "[]",
        "{}",
        "{\"mean\": 1, \"deviation\": 1}",
        "{\"mean\": 1, \"deviation\": -1, \"samples\": 3}",
        "{\"mean\": 1e999, \"deviation\": 1, \"samples\": 3}",
        "{\"mean\": 1, \"deviation\": null, \"samples\": 3}",
        "{\"mean\": \"1\", \"deviation\": 1, \"samples\": 3}",
        "{\"mean\": 1, \"deviation\": 1, \"samples\": 0}",
    };
    for (size_t i = 0; i < TV_COUNT(broken); i++) {
        assert_ok(tv_write_file(path, broken[i], strlen(broken[i])));
        if (tv_reward_scale_read(dir, &read) != TV_E_DATA || !strstr(tv_last_error(), "reward.json"))
            fail_msg("%s: \"%s\"", broken[i], tv_last_error());
    }
    free(path);
    tv_test_dir_remove(&dir);
}

/* ---- texts ---- */

/* What reads preferences and what reads text give the same tokens; a cut response lacks its end token. */
static void texts_become_the_tokens_of_preferences(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *path = tv_planted_reward(&planted, "reward", 1);
    tv_reward_model reward;
    assert_ok(tv_reward_model_open(path, NULL, &reward));
    static const char line[] =
        "{\"prompt\": \"Tell me of h\\u00e9\\u0000llo.\", \"chosen\": \" calm\", "
        "\"rejected\": \" foul day\"}\n"
        "{\"prompt\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"chosen\": \" calm\", "
        "\"rejected\": \" foul day\"}\n";
    static const char *const prompts[] = {"\"Tell me of h\\u00e9\\u0000llo.\"",
                                          "[{\"role\": \"user\", \"content\": \"Hi\"}]"};
    tv_preferences *set = NULL;
    assert_ok(tv_preferences_read_bytes(&(tv_preferences_options){.tokenizer = reward.tokenizer},
                                        (const uint8_t *)line, sizeof line - 1, "test", &set));
    assert_int_equal(set->count, 2);
    for (uint64_t i = 0; i < 2; i++)
        for (int k = 0; k < 4; k++) {
            const tv_preference_response *response = &set->groups[i].responses[k % 2];
            const char *text = k % 2 ? " foul day" : " calm";
            bool ended = k < 2;
            tv_ids ids = {0};
            assert_ok(tv_reward_model_encode(&reward,
                                             &(tv_reward_text){prompts[i], text, strlen(text), ended}, &ids));
            assert_int_equal(ids.size, response->length - !ended);
            assert_memory_equal(ids.data, response->ids, ids.size * sizeof *ids.data);
            tv_ids_free(&ids);
        }
    tv_preferences_destroy(&set);
    tv_ids ids = {0};
    assert_int_equal(tv_reward_model_encode(&reward, &(tv_reward_text){"7", " a", 2, true}, &ids), TV_E_DATA);
    tv_ids_free(&ids);

    assert_true(tv_reward_model_same_tokenizer(&reward, reward.tokenizer));
    tv_tokenizer *other = NULL;
    assert_ok(tv_tokenizer_load(planted.base, &other));
    assert_true(tv_reward_model_same_tokenizer(&reward, other));
    tv_tokenizer_destroy(&other);
    tv_bpe_trainer *trainer = NULL;
    static const char text[] = "other words make other merges, other words make other merges";
    assert_ok(tv_bpe_trainer_create(tv_tokenizer_vocab_size(reward.tokenizer), 0, &trainer));
    assert_ok(tv_bpe_trainer_add(trainer, (const uint8_t *)text, sizeof text - 1));
    assert_ok(tv_bpe_trainer_finish(trainer, &other));
    assert_false(tv_reward_model_same_tokenizer(&reward, other));
    tv_bpe_trainer_destroy(&trainer);
    tv_tokenizer_destroy(&other);
    tv_reward_model_close(&reward);
    free(path);
    tv_planted_destroy(&planted);
}

static void what_is_no_reward_model_is_said(void **state) {
    (void)state;
    tv_planted planted = tv_planted_create(TV_ARCH_GPT2);
    char *bare = tv_planted_reward(&planted, "bare", 1), *file = tv_format("%s/tokenizer.json", bare);
    tv_reward_model reward;
    assert_fails(tv_reward_model_open(planted.base, NULL, &reward), TV_E_DATA, "expected a reward model");
    assert_ok(tv_remove_tree(file));
    assert_fails(tv_reward_model_open(bare, NULL, &reward), TV_E_DATA, "tokenizer.json");
    free(file);
    free(bare);
    tv_planted_destroy(&planted);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate_4_padding_changes_nothing),
        cmocka_unit_test(impossible_sequences_are_refused),
        cmocka_unit_test(gate_5_a_zeroed_head_tosses_a_coin),
        cmocka_unit_test(gate_5_the_default_head_knows_little),
        cmocka_unit_test(gate_5_training_orders_new_prompts),
        cmocka_unit_test(narrow_micro_batches_make_the_same_step),
        cmocka_unit_test(the_scale_is_of_the_training_responses),
        cmocka_unit_test(scales_are_read_and_written),
        cmocka_unit_test(texts_become_the_tokens_of_preferences),
        cmocka_unit_test(what_is_no_reward_model_is_said),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
