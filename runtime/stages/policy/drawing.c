/* Drawing answers: see drawing.h. */
#include "stages/policy/drawing.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/os.h"
#include "base/rng.h"
#include "kernels/logprobs.h"

tv_status tv_policy_prompts_read(const tv_run *run, uint64_t most, const tv_policy_sources *rewards,
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
    tv_status status =
        tv_prompts_read(&(tv_prompts_options){.paths = paths,
                                              .path_count = count,
                                              .tokenizer = run->tokenizer,
                                              .max_tokens = positions - most,
                                              .answers = tv_policy_sources_have_answers(rewards),
                                              .fields = tv_policy_sources_have_fields(rewards)},
                        prompts);
    tv_free_paths(&paths);
    return status;
}

uint64_t tv_policy_prompts_longest(const tv_prompts *prompts) {
    uint64_t longest = 1;
    for (uint64_t i = 0; prompts && i < prompts->count; i++)
        longest = tv_max_u64(longest, prompts->items[i].length);
    return longest;
}

const tv_chat_template *tv_policy_prompts_chat(const tv_prompts *prompts) {
    for (uint64_t i = 0; i < prompts->count; i++)
        if (prompts->items[i].is_chat)
            return &prompts->chat;
    return NULL;
}

uint64_t tv_policy_prompt_at(const tv_run *run, uint64_t count, uint64_t number) {
    const tv_rng rng = {
        .seed = run->settings.train.seed, .stream = TV_STREAM_PROMPTS, .step = (uint32_t)(number / count)};
    return run->settings.data.shuffle ? tv_permute(&rng, number % count, count) : number % count;
}

float tv_policy_drawing_scale(const tv_model *policy, double temperature) {
    return tv_decoder_has_training_bits(policy) ? tv_inverse_temperature(temperature) : 0;
}

uint64_t tv_policy_drawing_rows(const tv_ranks *ranks, uint64_t prompts, uint64_t answers) {
    return tv_div_up(prompts, tv_ranks_count(ranks)) * answers;
}

/* ---- drawing ---- */

typedef struct drawing {
    const tv_policy_drawing *of;
    const tv_prompts *prompts;
    tv_policy_rollout *rollout;
    uint64_t *own;        /* (S) the sequences that this rank draws */
    uint64_t count, kept; /* of them: all; those that have ended */
    tv_text drawn;        /* several ranks: what it drew, a `text` and its arrays each */
    bool alone, tells, posts;
    const char *held; /* TRIVIUM_INJECT_HELD_DRAWING, for tests; NULL: nothing holds it */
} drawing;

/* Behind it its tokens and, where it is rated, its log-probabilities and entropies, (length) each. */
typedef struct text {
    uint64_t sequence, length, prompt_length, ended, rated;
} text;

static void put(const drawing *d, const text *own, const uint32_t *tokens, const float *logprobs,
                const float *entropies) {
    tv_policy_rollout_set(d->rollout, own->sequence, tokens, own->length, own->prompt_length, own->ended);
    if (own->rated)
        tv_policy_rollout_rate(d->rollout, own->sequence, logprobs, entropies);
}

static uint64_t arrays_of(const text *own) {
    return own->rated ? 3 : 1;
}

/* The first of the texts in `bytes` bytes, which another rank may have drawn; adds where it ends to *at. */
static tv_status set_text(const drawing *d, const uint8_t *bytes, uint64_t count, uint64_t *at, text *one) {
    const tv_policy_rollout *r = d->rollout;
    bool good = count >= sizeof *one;
    if (good)
        memcpy(one, bytes, sizeof *one);
    good = good && one->sequence < r->sequences && one->length <= r->tokens + 1 && one->prompt_length > 0 &&
           one->prompt_length <= one->length &&
           arrays_of(one) * one->length <= (count - sizeof *one) / sizeof(uint32_t);
    if (!good)
        return tv_fail(TV_E_IO, "a rank handed an answer round that no prompt has");
    const void *const arrays = bytes + sizeof *one;
    const float *logprobs = (const float *)arrays + one->length;
    put(d, one, arrays, logprobs, logprobs + one->length);
    *at += sizeof *one + arrays_of(one) * one->length * sizeof(uint32_t);
    return TV_OK;
}

static tv_status keep_response(void *context, uint64_t index, const tv_decoder_row *row) {
    drawing *d = context;
    const text own = {d->own[index], row->length, row->prompt_length, row->finished == TV_DECODE_END_OF_TEXT,
                      row->entropies != NULL};
    const void *const arrays[] = {row->tokens, row->logprobs, row->entropies};
    const uint64_t begin = d->drawn.size;
    put(d, &own, row->tokens, row->logprobs, row->entropies);
    d->kept++;
    if (!d->alone) {
        TV_RETURN_IF_FAILED(tv_text_append(&d->drawn, &own, sizeof own));
        for (uint64_t i = 0; i < arrays_of(&own); i++)
            TV_RETURN_IF_FAILED(tv_text_append(&d->drawn, arrays[i], own.length * sizeof(uint32_t)));
    }
    if (d->posts)
        TV_RETURN_IF_FAILED(tv_ranks_post(d->of->ranks, d->drawn.data + begin, d->drawn.size - begin));
    return d->tells ? tv_policy_rewards_drawn(d->of->rewards, d->prompts, d->rollout, own.sequence) : TV_OK;
}

/* ---- several ranks ---- */

/* An answer of another rank is asked about as if it were the first rank's own. */
static tv_status read_answer(void *context, const void *letter, uint64_t bytes) {
    const drawing *d = context;
    uint64_t end = 0;
    text one;
    TV_RETURN_IF_FAILED(set_text(d, letter, bytes, &end, &one));
    return tv_policy_rewards_drawn(d->of->rewards, d->prompts, d->rollout, one.sequence);
}

/* Of a drawing that is held, in its middle, until a file is there. */
static bool is_held(const drawing *d) {
    if (!d->held || 2 * d->kept < d->count || tv_path_exists(d->held))
        return false;
    tv_sleep(2e-3);
    return true;
}

static tv_status look(void *context) {
    const drawing *d = context;
    do {
        if (d->tells)
            TV_RETURN_IF_FAILED(tv_ranks_read_letters(d->of->ranks, read_answer, context));
    } while (is_held(d));
    return TV_OK;
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
    while (status == TV_OK && at < ends[count - 1])
        status = set_text(d, all + at, ends[count - 1] - at, &at, &one);
    free(all);
    free(ends);
    return status;
}

/* By all, when this rank has drawn its own. */
static tv_status meet(drawing *d) {
    const tv_policy_rollout *r = d->rollout;
    const uint64_t most_bytes = r->sequences * (sizeof(text) + (r->tokens + 1) * sizeof *r->ids);
    if (d->tells || d->posts)
        TV_RETURN_IF_FAILED(
            tv_ranks_deliver(d->of->ranks, r->sequences - d->count, most_bytes, read_answer, d));
    return hand_round(d->of->ranks, d);
}

/* Which of the rollout's sequences this rank draws, and their requests. */
static void share_out(drawing *d, uint64_t first, tv_rollout_request *requests) {
    const uint64_t ranks = tv_ranks_count(d->of->ranks), rank = tv_ranks_own(d->of->ranks);
    uint64_t number = 0;
    for (uint64_t s = 0; s < d->rollout->sequences; s++) {
        tv_policy_sequence *items = d->rollout->items;
        const tv_prompt *prompt = &d->prompts->items[items[s].prompt];
        items[s].number = first + s;
        number += s > 0 && items[s].prompt != items[s - 1].prompt;
        if (number % ranks != rank)
            continue;
        d->own[d->count] = s;
        requests[d->count++] = (tv_rollout_request){prompt->ids, prompt->length, (uint32_t)(first + s)};
    }
}

tv_status tv_policy_draw(const tv_policy_drawing *drawing_of, const tv_prompts *prompts, uint64_t first,
                         tv_policy_rollout *rollout) {
    tv_ranks *ranks = drawing_of->ranks;
    const uint64_t count = rollout->sequences;
    const bool asks = tv_policy_rewards_ask(drawing_of->rewards), leads = tv_ranks_leads(ranks),
               alone = tv_ranks_count(ranks) == 1;
    drawing d = {.of = drawing_of,
                 .prompts = prompts,
                 .rollout = rollout,
                 .own = calloc(count + 1, sizeof *d.own),
                 .alone = alone,
                 .tells = asks && leads,
                 .posts = asks && !leads,
                 .held = getenv("TRIVIUM_INJECT_HELD_DRAWING")};
    tv_rollout_request *requests = calloc(count + 1, sizeof *requests);
    tv_status status =
        d.own && requests ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for %" PRIu64 " prompts", count);
    if (status == TV_OK)
        share_out(&d, first, requests);
    if (!alone)
        tv_rollout_look(drawing_of->drawer, look, &d);
    if (status == TV_OK)
        status = tv_policy_rewards_expect(drawing_of->rewards, rollout);
    if (status == TV_OK)
        status = tv_rollout_run(drawing_of->drawer, requests, d.count, drawing_of->settings,
                                drawing_of->max_new_tokens, keep_response, &d);
    if (status == TV_OK && !alone)
        status = meet(&d);
    if (status != TV_OK)
        tv_policy_rewards_abandon(drawing_of->rewards);
    tv_rollout_look(drawing_of->drawer, NULL, NULL);
    tv_text_free(&d.drawn);
    free(d.own);
    free(requests);
    return status;
}
