/* Drawing answers: see drawing.h. */
#include "stages/ppo/drawing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"

tv_status tv_ppo_prompts_read(const tv_run *run, uint64_t most, const tv_ppo_sources *rewards,
                              const tv_data_source *sources, uint64_t count, tv_prompts **prompts) {
    /* Where the prompts decide how long an answer may be, they leave it a quarter of the context. */
    uint64_t positions = run->list->config.max_positions;
    if (!tv_setting_given(&run->settings, run->stage->name, "max_new_tokens"))
        most = tv_div_up(positions, 4);
    if (most >= positions)
        return tv_fail(TV_E_CONFIG,
                       "%s.max_new_tokens is %" PRIu64 " and the model has positions for %" PRIu64
                       " tokens, prompt included; use fewer",
                       run->stage->name, most, positions);
    const char **paths = tv_data_paths(sources, count);
    if (!paths)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    tv_status status = tv_prompts_read(&(tv_prompts_options){.paths = paths,
                                                             .path_count = count,
                                                             .tokenizer = run->tokenizer,
                                                             .max_tokens = positions - most,
                                                             .answers = tv_ppo_sources_have_answers(rewards),
                                                             .fields = tv_ppo_sources_have_fields(rewards)},
                                       prompts);
    tv_free_paths(&paths);
    return status;
}

uint64_t tv_ppo_prompts_longest(const tv_prompts *prompts) {
    uint64_t longest = 1;
    for (uint64_t i = 0; prompts && i < prompts->count; i++)
        longest = tv_max_u64(longest, prompts->items[i].length);
    return longest;
}

const tv_chat_template *tv_ppo_prompts_chat(const tv_prompts *prompts) {
    for (uint64_t i = 0; i < prompts->count; i++)
        if (prompts->items[i].is_chat)
            return &prompts->chat;
    return NULL;
}

uint64_t tv_ppo_prompt_at(const tv_run *run, uint64_t count, uint64_t number) {
    const tv_rng rng = {
        .seed = run->settings.train.seed, .stream = TV_STREAM_PROMPTS, .step = (uint32_t)(number / count)};
    return run->settings.data.shuffle ? tv_permute(&rng, number % count, count) : number % count;
}

uint64_t tv_ppo_drawing_rows(const tv_ranks *ranks, uint64_t prompts, uint64_t answers) {
    return tv_div_up(prompts, tv_ranks_count(ranks)) * answers;
}

/* ---- drawing ---- */

typedef struct drawing {
    const tv_ppo_drawing *of;
    const tv_prompts *prompts;
    tv_ppo_rollout *rollout;
    uint64_t *own; /* (S) the sequences that this rank draws */
    tv_text drawn; /* several ranks: what it drew, a `text` and its tokens each */
    bool alone;
} drawing;

typedef struct text {
    uint64_t sequence, length, prompt_length, ended;
} text;

static tv_status keep_response(void *context, uint64_t index, const tv_decoder_row *row) {
    drawing *d = context;
    const text own = {d->own[index], row->length, row->prompt_length, row->finished == TV_DECODE_END_OF_TEXT};
    if (d->alone) {
        tv_ppo_rollout_set(d->rollout, own.sequence, row->tokens, own.length, own.prompt_length, own.ended);
        return tv_ppo_rewards_drawn(d->of->rewards, d->prompts, d->rollout, own.sequence);
    }
    TV_RETURN_IF_FAILED(tv_text_append(&d->drawn, &own, sizeof own));
    return tv_text_append(&d->drawn, row->tokens, own.length * sizeof *row->tokens);
}

/* By all: every rank's texts into every rank's rollout. */
static tv_status hand_round(tv_ranks *ranks, const drawing *d) {
    const uint32_t count = tv_ranks_count(ranks);
    uint64_t *ends = calloc(count, sizeof *ends), at = 0;
    uint8_t *all = NULL;
    text one;
    tv_status status = ends ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the ranks");
    if (status == TV_OK)
        status = tv_ranks_collect(ranks, d->drawn.data, d->drawn.size, &all, ends);
    while (status == TV_OK && at < ends[count - 1]) {
        memcpy(&one, all + at, sizeof one);
        at += sizeof one;
        if (one.sequence >= d->rollout->sequences || one.length > d->rollout->tokens + 1 ||
            one.prompt_length > one.length) {
            status = tv_fail(TV_E_IO, "a rank handed an answer round that no prompt has");
            break;
        }
        tv_ppo_rollout_set(d->rollout, one.sequence, (const uint32_t *)(const void *)(all + at), one.length,
                           one.prompt_length, one.ended);
        at += one.length * sizeof(uint32_t);
    }
    free(all);
    free(ends);
    return status;
}

tv_status tv_ppo_draw(const tv_ppo_drawing *drawing_of, const tv_prompts *prompts, uint64_t first,
                      tv_ppo_rollout *rollout) {
    const uint64_t count = rollout->sequences, ranks = tv_ranks_count(drawing_of->ranks),
                   rank = tv_ranks_own(drawing_of->ranks);
    drawing d = {.of = drawing_of,
                 .prompts = prompts,
                 .rollout = rollout,
                 .own = calloc(count + 1, sizeof *d.own),
                 .alone = ranks == 1};
    tv_rollout_request *requests = calloc(count + 1, sizeof *requests);
    uint64_t own = 0, number = 0;
    tv_status status =
        d.own && requests ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for %" PRIu64 " prompts", count);
    for (uint64_t s = 0; s < count && status == TV_OK; s++) {
        tv_ppo_sequence *item = &rollout->items[s];
        const tv_prompt *prompt = &prompts->items[item->prompt];
        item->number = first + s;
        number += s > 0 && item->prompt != rollout->items[s - 1].prompt;
        if (number % ranks != rank)
            continue;
        d.own[own] = s;
        requests[own++] = (tv_rollout_request){prompt->ids, prompt->length, (uint32_t)(first + s)};
    }
    if (status == TV_OK)
        status = tv_ppo_rewards_expect(drawing_of->rewards, rollout);
    if (status == TV_OK)
        status = tv_rollout_run(drawing_of->drawer, requests, own, drawing_of->settings,
                                drawing_of->max_new_tokens, keep_response, &d);
    if (status == TV_OK && !d.alone)
        status = hand_round(drawing_of->ranks, &d);
    if (status != TV_OK)
        tv_ppo_rewards_abandon(drawing_of->rewards);
    tv_text_free(&d.drawn);
    free(d.own);
    free(requests);
    return status;
}
