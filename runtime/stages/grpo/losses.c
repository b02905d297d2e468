/* The table of losses of groups: see losses.h. */
#include "stages/grpo/losses.h"

typedef enum weighing {
    PER_TOKEN,       /* all tokens of the step alike */
    PER_ANSWER,      /* each answer's mean, all answers alike */
    PER_MICRO_BATCH, /* the mean of each micro-batch's tokens */
    PER_ROOM         /* the sum of an answer over the longest that it could be */
} weighing;

typedef struct kind {
    const char *name;
    weighing weighing;
    uint32_t mode;
    bool sequence;
    double clip_low, clip_high; /* what is usual */
} kind;

static const kind kinds[TV_GRPO_LOSSES] = {
    [TV_GRPO_DAPO] = {"dapo", PER_TOKEN, TV_GROUP_CLIP, false, 0.2, 0.2},
    [TV_GRPO_GRPO] = {"grpo", PER_ANSWER, TV_GROUP_CLIP, false, 0.2, 0.2},
    [TV_GRPO_BNPO] = {"bnpo", PER_MICRO_BATCH, TV_GROUP_CLIP, false, 0.2, 0.2},
    [TV_GRPO_DR_GRPO] = {"dr_grpo", PER_ROOM, TV_GROUP_CLIP, false, 0.2, 0.2},
    [TV_GRPO_CISPO] = {"cispo", PER_TOKEN, TV_GROUP_CISPO, false, 0, 5},
    [TV_GRPO_GSPO] = {"gspo", PER_ANSWER, TV_GROUP_CLIP, true, 3e-4, 4e-4},
};

tv_status tv_group_loss_choose(tv_run_settings *settings, tv_group_settings *head) {
    tv_grpo_settings *grpo = &settings->grpo;
    const kind *k = &kinds[grpo->loss];
    if (!tv_setting_given(settings, "grpo", "clip_low"))
        grpo->clip_low = k->clip_low;
    else if (k->mode == TV_GROUP_CISPO)
        return tv_fail(TV_E_CONFIG, "grpo.clip_low is %g, and grpo.loss=%s has no lower bound; leave it out",
                       grpo->clip_low, k->name);
    if (!tv_setting_given(settings, "grpo", "clip_high"))
        grpo->clip_high = k->clip_high;
    bool penalty_in_reward =
        grpo->advantages == TV_ADVANTAGES_RLOO || grpo->advantages == TV_ADVANTAGES_REINFORCE;
    *head = (tv_group_settings){.mode = k->mode,
                                .sequence = k->sequence,
                                .clip_low = grpo->clip_low,
                                .clip_high = grpo->clip_high,
                                .beta = penalty_in_reward ? 0 : grpo->kl_coef,
                                .temperature = grpo->temperature};
    return TV_OK;
}

double tv_group_weight(const tv_grpo_settings *settings, uint64_t tokens, uint64_t micro_tokens) {
    switch (kinds[settings->loss].weighing) {
    case PER_ANSWER:
        return 1.0 / (double)tv_max_u64(tokens, 1);
    case PER_MICRO_BATCH:
        return 1.0 / (double)tv_max_u64(micro_tokens, 1);
    case PER_ROOM:
        return 1.0 / (double)tv_max_u64(settings->max_new_tokens, 1);
    case PER_TOKEN:
        break;
    }
    return 1;
}

uint64_t tv_group_terms(const tv_grpo_settings *settings, uint64_t answers, uint64_t micro_tokens) {
    weighing w = kinds[settings->loss].weighing;
    return w == PER_TOKEN ? micro_tokens : w == PER_MICRO_BATCH ? micro_tokens > 0 : answers;
}
