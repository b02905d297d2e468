/* An iteration of PPO computed anew: its draws, log-probabilities in double from logits of each sequence
 * alone, values by the scorer, rewards, advantages and returns by the oracle, the norm of an update's
 * gradient. */
#ifndef TV_TESTS_PPO_ANEW_H
#define TV_TESTS_PPO_ANEW_H

#include "stages/ppo_runs.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/tokens.h"
#include "formats/load.h"
#include "model/forward.h"
#include "model/heads.h"
#include "model/policy_head.h"
#include "model/score_head.h"
#include "oracle/gae.h"
#include "oracle/logprobs.h"
#include "reward/scorer.h"
#include "run/checkpoint.h"
#include "stages/policy/rollout.h"
#include "stages/rollout.h"
#include "stages/sampling.h"
#include "text/prompts.h"
#include "text/tokenizer_json.h"
#include "train/step.h"
#include "vk/transfer.h"

enum { MAX_NEW = 6, MOST = 64, VOCAB = 384 };

typedef struct opened {
    tv_model_directory *directory;
    tv_model *model;
    const tv_parameter_list *list;
} opened;

static opened open_model(tv_device *device, const char *path, bool train_it) {
    opened o = {0};
    assert_ok(tv_model_directory_open(path, &o.directory));
    o.list = tv_model_directory_parameters(o.directory);
    assert_ok(tv_model_create(device, o.list, train_it, &o.model));
    assert_ok(tv_model_load(o.model, o.directory));
    return o;
}

static void close_model(opened *o) {
    tv_model_destroy(&o->model);
    tv_model_directory_close(&o->directory);
}

/* What the iteration must have drawn, and what was made of it. */
typedef struct expectation {
    tv_policy_rollout rollout;
    tv_text texts[S];
    double kl, entropy, token_entropy, non_score, score, ended, tokens, value_loss, explained;
} expectation;

static tv_status keep(void *context, uint64_t index, const tv_decoder_row *row) {
    expectation *e = context;
    tv_policy_rollout_set(&e->rollout, index, row->tokens, row->length, row->prompt_length,
                          row->finished == TV_DECODE_END_OF_TEXT);
    return TV_OK;
}

/* Responses to S prompts of the file from number `first` on; their draws are addressed from `address` on. */
static void draw_at(tv_device *device, const char *path, const char *policy, uint64_t first, uint64_t address,
                    double temperature, expectation *e) {
    opened o = open_model(device, policy, false);
    tv_tokenizer *tokenizer = NULL;
    tv_prompts *prompts = NULL;
    assert_ok(tv_tokenizer_load(policy, &tokenizer));
    assert_ok(tv_prompts_read(&(tv_prompts_options){.paths = &path, .path_count = 1, .tokenizer = tokenizer},
                              &prompts));
    uint64_t longest = 0;
    assert_true(prompts->count > 0);
    if (prompts->count == 0) /* clang-tidy does not know that the line above does not return */
        return;
    for (uint64_t i = 0; i < prompts->count; i++)
        longest = tv_max_u64(longest, prompts->items[i].length);
    assert_in_range(longest + MAX_NEW, 2, MOST);
    assert_ok(tv_policy_rollout_create(S, longest + MAX_NEW - 1, &e->rollout));
    tv_rollout_request requests[S];
    for (uint64_t s = 0; s < S; s++) {
        uint64_t number = (first + s) % prompts->count;
        const tv_prompt *prompt = &prompts->items[number];
        e->rollout.items[s].prompt = number;
        requests[s] = (tv_rollout_request){prompt->ids, prompt->length, (uint32_t)(address + s)};
    }
    const tv_sampling sampling = {1, temperature, 0, 1};
    const tv_decoder_settings settings = tv_sampling_settings(&sampling, &o.list->config, tokenizer, NULL);
    tv_rollout *rollout = NULL;
    assert_ok(tv_rollout_create(o.model, &(tv_rollout_options){.rows = 3, .max_tokens = MOST}, &rollout));
    assert_ok(tv_rollout_run(rollout, requests, S, &settings, MAX_NEW, keep, e));
    for (uint64_t s = 0; s < S; s++) {
        const tv_policy_sequence *item = &e->rollout.items[s];
        for (uint64_t t = item->prompt_length; t < item->length - item->ended; t++)
            assert_ok(tv_sampling_decode(tokenizer, e->rollout.ids[s * (e->rollout.tokens + 1) + t], false,
                                         &e->texts[s]));
        assert_ok(tv_text_append(&e->texts[s], "", 1));
    }
    tv_rollout_destroy(&rollout);
    tv_prompts_destroy(&prompts);
    tv_tokenizer_destroy(&tokenizer);
    close_model(&o);
}

/* Responses of iteration `iteration`, from 0, with the prompts in their order. */
static void draw(tv_device *device, const tv_answering *place, const char *policy, uint64_t iteration,
                 double temperature, expectation *e) {
    draw_at(device, place->prompts, policy, iteration * S, iteration * S, temperature, e);
}

static void forget(expectation *e) {
    tv_policy_rollout_free(&e->rollout);
    for (int s = 0; s < S; s++)
        tv_text_free(&e->texts[s]);
}

/* Logits of every row of one sequence, alone and unpadded: (length, V). */
static void logits_of(tv_device *device, const opened *o, const uint32_t *ids, uint64_t length,
                      float *logits) {
    tv_activations *activations = NULL;
    assert_ok(tv_model_need_context(o->model, length));
    assert_ok(tv_activations_create(device, tv_device_caps(device), o->list,
                                    &(tv_activations_options){.batch = 1, .tokens = length}, &activations));
    assert_int_equal(activations->head_rows, length);
    tv_test_tensor in = tv_test_uints(device, length, ids);
    tv_recorder *recorder = tv_test_begin(device);
    tv_tensor chunk;
    assert_ok(tv_forward(recorder, o->model, activations, &(tv_model_inputs){.tokens = in.tensor}));
    assert_ok(tv_language_logits(recorder, o->model, activations, 0, length, &chunk));
    tv_test_run(device, recorder);
    assert_ok(tv_download(device, chunk.span, logits, length * o->list->config.vocab_size * sizeof *logits));
    tv_test_free(&in);
    tv_activations_destroy(&activations);
}

/* Log-probabilities in double from those logits, at the rows of the rollout. */
static void logprobs_of(tv_device *device, const char *path, double temperature, const tv_policy_rollout *r,
                        float *logprobs, float *entropies) {
    opened o = open_model(device, path, false);
    static float logits[MOST * VOCAB];
    double own[MOST], own_entropies[MOST];
    uint64_t T = r->tokens, V = o.list->config.vocab_size;
    assert_in_range(V, 1, VOCAB);
    for (uint64_t s = 0; s < S; s++) {
        logits_of(device, &o, r->ids + s * (T + 1), r->items[s].length, logits);
        oracle_token_logprobs(r->items[s].length - 1, V, temperature, logits, r->targets + s * T, own,
                              own_entropies);
        for (uint64_t t = 0; t + 1 < r->items[s].length; t++) {
            logprobs[s * T + t] = (float)own[t];
            if (entropies)
                entropies[s * T + t] = (float)own_entropies[t];
        }
    }
    close_model(&o);
}

/* Values by the scorer: of the prefix that ends at each row. */
static void values_of(tv_device *device, const char *path, tv_policy_rollout *r) {
    opened o = open_model(device, path, false);
    tv_scorer *scorer = NULL;
    uint64_t T = r->tokens, count = 0;
    tv_sequence *prefixes = calloc(S * T, sizeof *prefixes);
    float *values = calloc(S * T, sizeof *values);
    assert_non_null(prefixes);
    assert_non_null(values);
    for (uint64_t i = 0; i < S * T; i++)
        if (r->targets[i] != TV_IGNORED_TARGET)
            prefixes[count++] = (tv_sequence){r->ids + i / T * (T + 1), i % T + 1};
    assert_ok(
        tv_scorer_create(o.model, &(tv_scorer_options){.max_tokens = MOST, .batch_tokens = 0}, &scorer));
    assert_ok(tv_scorer_score(scorer, prefixes, count, values));
    count = 0;
    for (uint64_t i = 0; i < S * T; i++)
        r->values[i] = r->targets[i] != TV_IGNORED_TARGET ? values[count++] : 0;
    tv_scorer_destroy(&scorer);
    free(values);
    free(prefixes);
    close_model(&o);
}

/* In steps of 1e-4, as the reward program writes it. */
static double golden_share(const char *text) {
    char copy[256];
    int words = 0, golden = 0, share = 0;
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok(copy, " \n\t"); word; word = strtok(NULL, " \n\t")) {
        words++;
        golden += strcmp(word, "golden") == 0;
    }
    if (words)
        share = golden * 10000 / words;
    return share * 1e-4;
}

/* Sums, rewards, advantages and returns in double. */
static void compute(const oracle_gae_settings *settings, double penalty, expectation *e) {
    tv_policy_rollout *r = &e->rollout;
    uint64_t T = r->tokens;
    double *whitened = calloc(S * T, sizeof *whitened), residual[2] = {0}, spread[2] = {0};
    assert_non_null(whitened);
    for (uint64_t s = 0; s < S; s++) {
        const tv_policy_sequence *item = &r->items[s];
        uint64_t first = s * T + item->prompt_length - 1, count = item->length - item->prompt_length;
        double advantages[MOST], returns[MOST], sums[4];
        double score = golden_share((const char *)e->texts[s].data) - (item->ended ? 0 : penalty);
        oracle_gae(settings, count, score, r->old_logprobs + first, r->ref_logprobs + first,
                   r->values + first, advantages, returns, sums);
        e->score += score / S;
        e->ended += (double)item->ended / S;
        e->kl += sums[0] / S;
        e->entropy += sums[1] / S;
        e->non_score += sums[2] / S;
        for (uint64_t i = 0; i < count; i++) {
            double error = returns[i] - (double)r->values[first + i];
            whitened[(uint64_t)e->tokens++] = advantages[i];
            r->returns[first + i] = (float)returns[i];
            e->token_entropy += (double)r->entropies[first + i];
            e->value_loss += error * error / 2;
            residual[0] += error;
            residual[1] += error * error;
            spread[0] += returns[i];
            spread[1] += returns[i] * returns[i];
        }
    }
    double n = e->tokens;
    oracle_whiten((uint64_t)n, whitened);
    uint64_t next = 0;
    for (uint64_t i = 0; i < S * T; i++)
        r->advantages[i] = r->targets[i] != TV_IGNORED_TARGET ? (float)whitened[next++] : 0;
    e->token_entropy /= n;
    e->value_loss /= n;
    e->explained = 1 - (residual[1] / n - residual[0] / n * residual[0] / n) /
                           (spread[1] / n - spread[0] / n * spread[0] / n);
    free(whitened);
}

/* The gradient's norm of one update over the whole rollout, one sequence a micro-batch. */
static double norm_of_update(tv_device *device, const char *path, tv_head_maker head,
                             const void *head_settings, tv_policy_batch_kind kind,
                             const tv_policy_rollout *r) {
    opened o = open_model(device, path, true);
    tv_trainer *trainer = NULL;
    assert_ok(tv_trainer_create(o.model,
                                &(tv_trainer_options){.stage = "test",
                                                      .batch = 1,
                                                      .tokens = r->tokens,
                                                      .grad_accum = S,
                                                      .head = head,
                                                      .head_settings = head_settings,
                                                      .train = true},
                                &trainer));
    uint64_t order[S];
    for (uint64_t s = 0; s < S; s++)
        order[s] = s;
    tv_policy_batches batches = {
        .rollout = r, .kind = kind, .batch = 1, .order = order, .minibatch = S, .end = S};
    const struct tv_step_constants constants = tv_step_constants_make(0, 0, 0.9, 0.95, 1e-8, 0);
    tv_step_result result;
    bool has_result = false;
    assert_ok(tv_trainer_step(trainer, &constants, tv_policy_batches_next, &batches, &result, &has_result));
    if (!has_result)
        assert_ok(tv_trainer_drain(trainer, &result, &has_result));
    assert_true(has_result);
    tv_trainer_destroy(&trainer);
    close_model(&o);
    return result.grad_norm;
}

#endif
