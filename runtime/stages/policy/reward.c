/* Rewards of a rollout: see reward.h. */
#include "stages/policy/reward.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "formats/directory.h"
#include "reward/checks.h"
#include "reward/scorer.h"
#include "run/parameter_choice.h"
#include "stages/policy/program.h"
#include "stages/sampling.h"
#include "text/json_text.h"

/* Of the reward model, side by side: with fewer a GPU waits for its own launches. */
enum { LEAST_BATCH_TOKENS = 512 };

struct tv_policy_reward {
    tv_policy_reward_options options;
    tv_reward_model model;
    bool has_model, same_tokenizer, agreed;
    uint64_t batch_tokens; /* side by side, as measured */
    uint64_t needed;       /* tokens of a sequence of another tokenizer that was longer than planned */
    tv_scorer *scorer;
    tv_reward_program *program;
    uint64_t asked; /* of the rollout's answers */
    tv_check check;
};

tv_status tv_policy_reward_open(const tv_policy_reward_options *options, tv_policy_reward **out) {
    tv_policy_reward *reward = calloc(1, sizeof *reward);
    *out = reward;
    if (!reward)
        return tv_fail(TV_E_MEMORY, "out of host memory for the reward");
    reward->options = *options;
    tv_status status = TV_OK;
    if (options->kind == TV_REWARD_CHECK)
        status = tv_check_parse(options->text, &reward->check);
    if (options->kind == TV_REWARD_MODEL) {
        status = tv_reward_model_open(options->text, NULL, &reward->model);
        reward->has_model = status == TV_OK;
        if (status == TV_OK)
            status = tv_reward_model_store(&reward->model, options->weights);
    }
    if (status != TV_OK) {
        tv_policy_reward_close(out);
        return status;
    }
    reward->same_tokenizer =
        reward->has_model && tv_reward_model_same_tokenizer(&reward->model, options->tokenizer);
    return TV_OK;
}

const tv_reward_model *tv_policy_reward_model(const tv_policy_reward *reward) {
    return reward->has_model ? &reward->model : NULL;
}

bool tv_policy_reward_same_tokenizer(const tv_policy_reward *reward) {
    return reward->same_tokenizer;
}

static uint64_t positions(const tv_policy_reward *reward) {
    return tv_reward_model_list(&reward->model)->config.max_positions;
}

/* Another tokenizer may need more tokens for a text: room for twice as many is planned, not for all that the
 * model has positions for, which may be hundreds of thousands; make_room makes more where a text needs it. */
static tv_scorer_options scorer_options(const tv_policy_reward *reward) {
    uint64_t tokens = reward->options.max_tokens * (reward->same_tokenizer ? 1 : 2);
    /* More than was planned needs activations of its own. */
    return (tv_scorer_options){.max_tokens =
                                   tv_min_u64(tv_max_u64(tokens, reward->needed), positions(reward)),
                               .batch_tokens = reward->batch_tokens,
                               .ranks = reward->options.ranks,
                               .shared = reward->needed ? NULL : reward->options.shared};
}

bool tv_policy_reward_shares_base(const tv_policy_reward *reward, const tv_parameter_list *policy) {
    return reward->has_model && tv_parameters_share_base(policy, reward->model.directory);
}

uint64_t tv_policy_reward_context(const tv_policy_reward *reward, const tv_parameter_list *policy) {
    return tv_policy_reward_shares_base(reward, policy) ? scorer_options(reward).max_tokens : 0;
}

/* As many tokens side by side as the activations of the other roles have room for, but enough for a device to
 * be busy with: how many there are changes no score. */
static tv_status choose_batch(const tv_parameter_list *list, const tv_caps *caps,
                              const tv_activation_arena *arena, tv_scorer_options *options) {
    tv_scorer_options alone = *options;
    const uint64_t room = arena ? tv_activation_arena_bytes(arena) : 0;
    alone.shared = NULL;
    alone.batch_tokens = TV_SCORER_BATCH_TOKENS;
    for (; alone.batch_tokens > LEAST_BATCH_TOKENS; alone.batch_tokens /= 2) {
        uint64_t bytes;
        TV_RETURN_IF_FAILED(tv_scorer_measure(list, caps, &alone, &bytes));
        if (bytes <= room)
            break;
    }
    options->batch_tokens = alone.batch_tokens;
    return TV_OK;
}

static tv_status measure_scorer(const tv_parameter_list *list, const tv_parameter_list *base,
                                const tv_caps *caps, const tv_scorer_options *options, uint64_t *bytes) {
    tv_model_bytes model;
    uint64_t scorer;
    TV_RETURN_IF_FAILED(tv_model_measure_over(base, list, caps, false, &model));
    TV_RETURN_IF_FAILED(tv_scorer_measure(list, caps, options, &scorer));
    *bytes = model.parameters + scorer;
    if (!base)
        *bytes += tv_model_table_bytes(&list->config, options->max_tokens);
    return TV_OK;
}

tv_status tv_policy_reward_measure(tv_policy_reward *reward, const tv_parameter_list *policy,
                                   const tv_caps *caps, uint64_t *bytes) {
    *bytes = 0;
    if (!reward->has_model)
        return TV_OK;
    const tv_parameter_list *list = tv_reward_model_list(&reward->model);
    tv_scorer_options options = scorer_options(reward);
    bool shared = tv_policy_reward_shares_base(reward, policy);
    TV_RETURN_IF_FAILED(choose_batch(list, caps, reward->options.shared, &options));
    reward->batch_tokens = options.batch_tokens;
    return measure_scorer(list, shared ? policy : NULL, caps, &options, bytes);
}

tv_status tv_policy_reward_measure_as(const tv_policy_reward *reward, const tv_parameter_list *list,
                                      const tv_parameter_list *base, const tv_caps *caps, uint64_t max_tokens,
                                      tv_activation_arena *arena, uint64_t *bytes) {
    const uint64_t tokens = max_tokens * (reward->same_tokenizer ? 1 : 2);
    tv_scorer_options options = {.max_tokens = tv_min_u64(tokens, positions(reward)), .shared = arena};
    TV_RETURN_IF_FAILED(choose_batch(list, caps, arena, &options));
    return measure_scorer(list, base, caps, &options, bytes);
}

tv_status tv_policy_reward_start(tv_policy_reward *reward, const tv_model *policy) {
    if (reward->options.kind == TV_REWARD_CHECK)
        return TV_OK;
    if (reward->options.kind == TV_REWARD_PROGRAM && !tv_ranks_leads(reward->options.ranks))
        return TV_OK;
    if (reward->options.kind == TV_REWARD_PROGRAM)
        return tv_reward_program_start(&(tv_reward_program_options){.command = reward->options.text,
                                                                    .name = reward->options.name,
                                                                    .batch = reward->options.batch,
                                                                    .timeout = reward->options.timeout,
                                                                    .late = reward->options.ranks != NULL},
                                       &reward->program);
    const tv_scorer_options options = scorer_options(reward);
    TV_RETURN_IF_FAILED(
        tv_reward_model_load(&reward->model, tv_model_device(policy),
                             tv_policy_reward_shares_base(reward, tv_model_list(policy)) ? policy : NULL));
    return tv_scorer_create(reward->model.model, &options, &reward->scorer);
}

/* Scores do not depend on the room: a sequence's are the same bits in every batch. What has too many tokens
 * for the model itself is the scorer's to refuse. */
static tv_status make_room(tv_policy_reward *reward, const tv_sequence *sequences, uint64_t count) {
    uint64_t longest = 0, before = scorer_options(reward).max_tokens;
    for (uint64_t s = 0; s < count; s++)
        longest = tv_max_u64(longest, sequences[s].length);
    if (longest <= before || before == positions(reward))
        return TV_OK;
    reward->needed = tv_align_up(longest + longest / 4, TV_WIDTH_STEP);
    const tv_scorer_options options = scorer_options(reward);
    tv_info("a response has %" PRIu64 " tokens for the reward model: it gets room for %" PRIu64
            " in place of %" PRIu64,
            longest, options.max_tokens, before);
    tv_scorer_destroy(&reward->scorer);
    return tv_scorer_create(reward->model.model, &options, &reward->scorer);
}

void tv_policy_reward_close(tv_policy_reward **handle) {
    if (!handle || !*handle)
        return;
    tv_policy_reward *reward = *handle;
    tv_reward_program_close(&reward->program);
    tv_scorer_destroy(&reward->scorer);
    if (reward->has_model)
        tv_reward_model_close(&reward->model);
    tv_check_free(&reward->check);
    free(reward);
    *handle = NULL;
}

/* The response of a sequence as bytes, without its end token. */
static tv_status response_text(const tv_policy_reward *reward, const tv_prompts *prompts,
                               const tv_policy_rollout *rollout, uint64_t sequence, tv_text *text) {
    const tv_policy_sequence *item = &rollout->items[sequence];
    const tv_decoder_row row = {
        .tokens = rollout->ids + sequence * (rollout->tokens + 1),
        .length = item->length,
        .prompt_length = item->prompt_length,
        .finished = item->ended ? TV_DECODE_END_OF_TEXT : TV_DECODE_LENGTH,
    };
    return tv_sampling_text(reward->options.tokenizer, &row, prompts->items[item->prompt].is_chat, text);
}

/* ---- by a model ---- */

/* The sequences' tokens for the reward model: the policy's own, or the texts encoded again. */
static tv_status collect(tv_policy_reward *reward, const tv_prompts *prompts,
                         const tv_policy_rollout *rollout, tv_sequence *sequences, tv_ids *ids,
                         tv_text *text) {
    uint64_t *starts = calloc(rollout->sequences + 1, sizeof *starts);
    tv_status status = TV_OK;
    if (!starts)
        return tv_fail(TV_E_MEMORY, "out of host memory for the reward");
    for (uint64_t s = 0; s < rollout->sequences; s++) {
        const tv_policy_sequence *item = &rollout->items[s];
        starts[s] = ids->size;
        if (reward->same_tokenizer) {
            TV_TRY(tv_ids_append(ids, rollout->ids + s * (rollout->tokens + 1), item->length));
        } else {
            text->size = 0;
            TV_TRY(response_text(reward, prompts, rollout, s, text));
            TV_TRY(tv_reward_model_encode(&reward->model,
                                          &(tv_reward_text){.prompt = prompts->items[item->prompt].json,
                                                            .response = text->data,
                                                            .length = text->size,
                                                            .ended = item->ended},
                                          ids));
        }
    }
    starts[rollout->sequences] = ids->size;
    for (uint64_t s = 0; s < rollout->sequences; s++)
        sequences[s] = (tv_sequence){ids->data + starts[s], starts[s + 1] - starts[s]};
done:
    free(starts);
    return status;
}

/* By all ranks, once: a device with less room than the others would make other batches, and of those each
 * rank computes every Nth. */
static tv_status agree_on_batch(tv_policy_reward *reward) {
    uint64_t least;
    if (reward->agreed)
        return TV_OK;
    reward->agreed = true;
    TV_RETURN_IF_FAILED(tv_ranks_least(reward->options.ranks, reward->batch_tokens, &least));
    if (least == reward->batch_tokens)
        return TV_OK;
    reward->batch_tokens = least;
    const tv_scorer_options options = scorer_options(reward);
    tv_scorer_destroy(&reward->scorer);
    return tv_scorer_create(reward->model.model, &options, &reward->scorer);
}

static tv_status score_by_model(tv_policy_reward *reward, const tv_prompts *prompts,
                                const tv_policy_rollout *rollout, double *scores) {
    tv_ids ids = {0};
    tv_text text = {0};
    tv_status status;
    tv_sequence *sequences = calloc(rollout->sequences, sizeof *sequences);
    float *raw = calloc(rollout->sequences, sizeof *raw);
    if (!sequences || !raw) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the reward");
        goto done;
    }
    TV_TRY(agree_on_batch(reward));
    TV_TRY(collect(reward, prompts, rollout, sequences, &ids, &text));
    TV_TRY(make_room(reward, sequences, rollout->sequences));
    TV_TRY(tv_scorer_score(reward->scorer, sequences, rollout->sequences, raw));
    for (uint64_t s = 0; s < rollout->sequences; s++) {
        scores[s] = tv_reward_normalise(&reward->model.scale, (double)raw[s]);
        if (!isfinite(scores[s])) {
            status = tv_fail(TV_E_DATA,
                             "the reward model %s scores a response to prompt %s with %g; expected a finite "
                             "number",
                             reward->options.text, prompts->items[rollout->items[s].prompt].id, scores[s]);
            goto done;
        }
    }
done:
    free(sequences);
    free(raw);
    tv_ids_free(&ids);
    tv_text_free(&text);
    return status;
}

/* ---- by a program ---- */

/* Appends {"id": the number of its draws, "prompt_id": text, "prompt": as it was read, further members of its
 * line, "response": text} of one sequence. */
static tv_status print_question(const tv_policy_reward *reward, const tv_prompts *prompts,
                                const tv_policy_rollout *rollout, uint64_t sequence, tv_text *response,
                                tv_text *line) {
    const tv_prompt *prompt = &prompts->items[rollout->items[sequence].prompt];
    char before[64];
    snprintf(before, sizeof before, "{\"id\":%" PRIu64 ",\"prompt_id\":", rollout->items[sequence].number);
    response->size = 0;
    TV_RETURN_IF_FAILED(response_text(reward, prompts, rollout, sequence, response));
    TV_RETURN_IF_FAILED(tv_json_append(line, before));
    TV_RETURN_IF_FAILED(tv_json_append_string(prompt->id, strlen(prompt->id), line));
    TV_RETURN_IF_FAILED(tv_json_append(line, ",\"prompt\":"));
    TV_RETURN_IF_FAILED(tv_json_append(line, prompt->json));
    TV_RETURN_IF_FAILED(tv_json_append(line, prompt->fields ? prompt->fields : ""));
    TV_RETURN_IF_FAILED(tv_json_append(line, ",\"response\":"));
    TV_RETURN_IF_FAILED(tv_json_append_string(response->data, response->size, line));
    return tv_json_append(line, "}");
}

tv_status tv_policy_reward_begin(tv_policy_reward *reward, uint64_t count) {
    reward->asked = 0;
    return reward->program ? tv_reward_program_begin(reward->program, count) : TV_OK;
}

tv_status tv_policy_reward_drawn(tv_policy_reward *reward, const tv_prompts *prompts,
                                 const tv_policy_rollout *rollout) {
    tv_text response = {0}, line = {0};
    tv_status status;
    if (!reward->program)
        return TV_OK;
    const tv_policy_sequence *item = &rollout->items[reward->asked];
    TV_TRY(print_question(reward, prompts, rollout, reward->asked, &response, &line));
    TV_TRY(tv_reward_program_ask(reward->program,
                                 &(tv_reward_question){.id = item->number,
                                                       .prompt = prompts->items[item->prompt].id,
                                                       .line = (const char *)line.data,
                                                       .length = line.size}));
    reward->asked++;
done:
    tv_text_free(&response);
    tv_text_free(&line);
    return status;
}

void tv_policy_reward_abandon(tv_policy_reward *reward) {
    if (reward->program)
        tv_reward_program_abandon(reward->program);
}

static tv_status score_by_program(tv_policy_reward *reward, const tv_prompts *prompts,
                                  const tv_policy_rollout *rollout, double *scores) {
    while (reward->asked < rollout->sequences)
        TV_RETURN_IF_FAILED(tv_policy_reward_drawn(reward, prompts, rollout));
    return tv_reward_program_scores(reward->program, scores);
}

/* ---- by a check ---- */

static tv_status score_by_check(const tv_policy_reward *reward, const tv_prompts *prompts,
                                const tv_policy_rollout *rollout, double *scores) {
    tv_text text = {0};
    tv_status status = TV_OK;
    for (uint64_t s = 0; s < rollout->sequences; s++) {
        text.size = 0;
        TV_TRY(response_text(reward, prompts, rollout, s, &text));
        scores[s] = tv_check_score(&reward->check, text.data, text.size,
                                   prompts->items[rollout->items[s].prompt].answer);
    }
done:
    tv_text_free(&text);
    return status;
}

tv_status tv_policy_reward_finish(tv_policy_reward *reward) {
    return reward->program ? tv_reward_program_finish(reward->program) : TV_OK;
}

tv_status tv_policy_reward_score(tv_policy_reward *reward, const tv_prompts *prompts,
                                 const tv_policy_rollout *rollout, double *scores) {
    if (reward->options.kind == TV_REWARD_CHECK)
        return score_by_check(reward, prompts, rollout, scores);
    if (reward->options.kind == TV_REWARD_MODEL)
        return score_by_model(reward, prompts, rollout, scores);
    tv_ranks *ranks = reward->options.ranks;
    TV_RETURN_IF_FAILED(tv_ranks_agree(
        ranks, tv_ranks_leads(ranks) ? score_by_program(reward, prompts, rollout, scores) : TV_OK));
    return tv_ranks_broadcast(ranks, 0, scores, rollout->sequences * sizeof *scores);
}
