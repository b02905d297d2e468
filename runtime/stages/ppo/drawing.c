/* Drawing answers: see drawing.h. */
#include "stages/ppo/drawing.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/rng.h"

tv_status tv_ppo_prompts_read(const tv_run *run, uint64_t most, bool answers, const tv_data_source *sources,
                              uint64_t count, tv_prompts **prompts) {
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
                                                             .answers = answers},
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

static tv_status keep_response(void *context, uint64_t index, const tv_decoder_row *row) {
    tv_ppo_rollout_set(context, index, row->tokens, row->length, row->prompt_length,
                       row->finished == TV_DECODE_END_OF_TEXT);
    return TV_OK;
}

tv_status tv_ppo_draw(const tv_ppo_drawing *drawing, const tv_prompts *prompts, uint64_t first,
                      tv_ppo_rollout *rollout) {
    uint64_t count = rollout->sequences;
    tv_rollout_request *requests = calloc(count + 1, sizeof *requests);
    if (!requests)
        return tv_fail(TV_E_MEMORY, "out of host memory for %" PRIu64 " prompts", count);
    for (uint64_t s = 0; s < count; s++) {
        const tv_prompt *prompt = &prompts->items[rollout->items[s].prompt];
        rollout->items[s].number = first + s;
        requests[s] = (tv_rollout_request){prompt->ids, prompt->length, (uint32_t)(first + s)};
    }
    tv_status status = tv_rollout_run(drawing->drawer, requests, count, drawing->settings,
                                      drawing->max_new_tokens, keep_response, rollout);
    free(requests);
    return status;
}
