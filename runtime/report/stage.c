/* Stages in words: see stage.h. */
#include "report/stage.h"

#include <string.h>

#include "base/bytes.h"
#include "report/pipeline.h"

static const tv_report_stage stages[] = {
    {.name = "pretrain",
     .heading = "Stage 1: pretraining",
     .lesson =
         "The model reads text and learns to guess each next token from those before it. Nobody labels "
         "anything: the text is its own answer, and the loss says how much each token still surprises."},
    {.name = "sft",
     .heading = "Stage 2: supervised fine-tuning",
     .lesson = "The model is shown prompts with ideal answers, and learns to answer like them. Only the "
               "answers are trained on, so that it learns to reply and to stop, not to ask."},
    {.name = "reward",
     .heading = "Stage 3: reward model",
     .lesson = "People put answers to the same prompt in an order, and a copy of the model learns to give "
               "each answer a score that keeps that order. The scores then stand in for the people, who "
               "cannot be asked a million times."},
    {.name = "ppo",
     .heading = "Stage 3: reinforcement learning",
     .lesson = "The model answers prompts, the reward model scores the answers, and what scored better than "
               "expected becomes likelier. KL, the distance from the model it began as, has a price, so that "
               "it does not drift to answers that only the reward model likes.",
     .reference = true},
    {.name = "grpo",
     .heading = "Stage 3: reinforcement learning by comparing answers",
     .lesson = "The model answers each prompt several times, every answer is scored, and what scored better "
               "than the others to the same prompt becomes likelier. No model of the reward to be expected "
               "is needed: the other answers are the comparison.",
     .reference = true},
    {.name = "dpo",
     .heading = "Stage 3: direct preference optimization",
     .title = "Direct preference optimization",
     .lesson = "The model is shown pairs of answers of which people preferred one, and learns to make the "
               "preferred one likelier than the other. It needs no reward model: how much likelier than for "
               "the model it began as is the reward.",
     .reference = true},
};

/* Losses of the stage dpo that are no DPO. */
static const struct {
    const char *loss;
    tv_report_stage stage;
} losses[] = {
    {"kto",
     {.name = "dpo",
      .heading = "Stage 3: preference optimization by single judgements (KTO)",
      .title = "Preference optimization (KTO)",
      .lesson =
          "The model is shown answers that people called good or bad, one at a time, and learns to make "
          "good ones likelier and bad ones less likely. How much likelier than for the model it began "
          "as is the reward, and it is set against what all answers have on average.",
      .reference = true}},
    {"simpo",
     {.name = "dpo",
      .heading = "Stage 3: preference optimization without a reference (SimPO)",
      .title = "Preference optimization (SimPO)",
      .lesson = "The model is shown pairs of answers of which people preferred one, and learns to make the "
                "preferred one likelier than the other, by a margin. It needs neither a reward model nor the "
                "model it began as: how likely an answer is per token is the reward."}},
    {"orpo",
     {.name = "dpo",
      .heading = "Stage 3: preference optimization without a reference (ORPO)",
      .title = "Preference optimization (ORPO)",
      .lesson = "The model is shown pairs of answers of which people preferred one. It learns to write the "
                "preferred one as in fine-tuning, and at once to raise its odds above the other's. It needs "
                "neither a reward model nor the model it began as."}},
    {"cpo",
     {.name = "dpo",
      .heading = "Stage 3: preference optimization without a reference (CPO)",
      .title = "Preference optimization (CPO)",
      .lesson = "The model is shown pairs of answers of which people preferred one. It learns to write the "
                "preferred one as in fine-tuning, and at once to make it likelier than the other. It needs "
                "neither a reward model nor the model it began as."}},
};

const char *tv_report_stage_name(const tv_report_run *run) {
    return run->stage ? run->stage : tv_report_pipeline_text(run->facts, "stage");
}

const tv_report_stage *tv_report_stage_of(const tv_report_run *run) {
    const char *name = tv_report_stage_name(run),
               *loss = tv_report_pipeline_text(tv_json_get(run->config, "dpo"), "loss");
    for (uint64_t i = 0; i < TV_COUNT(losses); i++)
        if (strcmp(name, losses[i].stage.name) == 0 && strcmp(loss, losses[i].loss) == 0)
            return &losses[i].stage;
    for (uint64_t i = 0; i < TV_COUNT(stages); i++)
        if (strcmp(name, stages[i].name) == 0)
            return &stages[i];
    return NULL;
}

bool tv_report_has_reference(const tv_report_run *run) {
    const tv_report_stage *stage = tv_report_stage_of(run);
    const cJSON *kl = tv_json_get(tv_json_get(run->config, "grpo"), "kl_coef");
    if (!stage || !stage->reference)
        return false;
    return strcmp(stage->name, "grpo") != 0 || (cJSON_IsNumber(kl) && kl->valuedouble > 0);
}
