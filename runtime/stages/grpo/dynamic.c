/* Other groups for those that teach nothing: see dynamic.h. */
#include "stages/grpo/dynamic.h"

#include <math.h>
#include <string.h>

#include "base/os.h"
#include "stages/grpo/advantages.h"
#include "stages/policy/drawing.h"

/* Answers to `groups` further prompts, scored, in g->further. */
static tv_status draw_further(tv_grpo *g, tv_grpo_score *score, uint64_t groups, tv_grpo_further *f) {
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    tv_policy_rollout *further = &g->further;
    const uint64_t first = g->run->state.examples + g->rollout.sequences + f->answers;
    const tv_policy_drawing drawing = {.ranks = g->run->options->ranks,
                                       .drawer = g->drawer,
                                       .settings = &g->drawing,
                                       .max_new_tokens = settings->max_new_tokens,
                                       .rewards = g->scorers};
    double begin = tv_seconds();
    further->sequences = groups * settings->answers;
    for (uint64_t s = 0; s < further->sequences; s++)
        further->items[s] = (tv_policy_sequence){
            .prompt = tv_policy_prompt_at(g->run, g->prompts->count, (first + s) / settings->answers)};
    TV_RETURN_IF_FAILED(tv_policy_draw(&drawing, g->prompts, first, further));
    double drawn = tv_seconds();
    TV_RETURN_IF_FAILED(score(g));
    f->draw_seconds += drawn - begin;
    f->score_seconds += tv_seconds() - drawn;
    f->answers += further->sequences;
    for (uint64_t s = 0; s < further->sequences; s++) {
        const bool rated = !isnan(further->items[s].score);
        f->reward += rated ? further->items[s].score : 0;
        f->rated += rated;
    }
    return TV_OK;
}

/* Of those that have a reward. */
static bool differ(const tv_policy_sequence *items, uint64_t answers) {
    double least = INFINITY, most = -INFINITY;
    for (uint64_t a = 0; a < answers; a++) {
        least = fmin(least, items[a].score);
        most = fmax(most, items[a].score);
    }
    return least < most;
}

/* Group `from` of what was drawn further, in the place of group `to`. */
static void replace(tv_grpo *g, uint64_t from, uint64_t to) {
    const uint64_t k = g->run->settings.grpo.answers, T = g->rollout.tokens;
    tv_policy_rollout *r = &g->rollout;
    const tv_policy_rollout *f = &g->further;
    memcpy(r->items + to * k, f->items + from * k, k * sizeof *r->items);
    memcpy(r->ids + to * k * (T + 1), f->ids + from * k * (T + 1), k * (T + 1) * sizeof *r->ids);
    memcpy(r->targets + to * k * T, f->targets + from * k * T, k * T * sizeof *r->targets);
    memcpy(r->old_logprobs + to * k * T, f->old_logprobs + from * k * T, k * T * sizeof *r->old_logprobs);
    memcpy(r->entropies + to * k * T, f->entropies + from * k * T, k * T * sizeof *r->entropies);
    g->equal[to] = 0;
}

tv_status tv_grpo_replace_equal(tv_grpo *g, tv_grpo_score *score, tv_grpo_further *f) {
    const tv_grpo_settings *settings = &g->run->settings.grpo;
    *f = (tv_grpo_further){0};
    uint64_t missing =
        settings->dynamic_sampling ? tv_group_equal(settings, g->rewards, g->rollout.sequences, g->equal) : 0;
    for (uint64_t time = 0; time < settings->dynamic_sampling && missing > 0; time++) {
        const uint64_t groups = missing;
        uint64_t to = 0;
        TV_RETURN_IF_FAILED(draw_further(g, score, groups, f));
        for (uint64_t from = 0; from < groups; from++) {
            if (!differ(g->further.items + from * settings->answers, settings->answers))
                continue;
            while (!g->equal[to])
                to++;
            replace(g, from, to);
            missing--;
        }
    }
    return TV_OK;
}

uint64_t tv_grpo_first_val(const tv_run *run) {
    const tv_grpo_settings *grpo = &run->settings.grpo;
    const uint64_t most = grpo->prompts * grpo->answers * (1 + grpo->dynamic_sampling);
    const uint64_t left = run->total_steps > run->state.step ? run->total_steps - run->state.step : 0;
    /* Where the settings are what they were, the first of both, for no iteration drew more. */
    return tv_max_u64(run->total_steps * most, run->state.examples + left * most);
}
