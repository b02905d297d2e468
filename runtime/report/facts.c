/* The table of what stages are judged by: see facts.h. */
#include "report/facts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "report/html.h"

typedef enum fact_kind { FACT_LAST, FACT_LOWEST, FACT_FIRST, FACT_TAIL } fact_kind;
typedef struct run_fact {
    const char *stage, *series, *label;
    fact_kind kind;
    bool percent;
} run_fact;

static const run_fact run_facts[] = {
    {"pretrain", "tokens", "tokens", FACT_LAST, false},
    {"pretrain", "val_loss", "validation loss", FACT_LOWEST, false},
    {"sft", "tokens", "tokens", FACT_LAST, false},
    {"sft", "val_loss", "validation loss", FACT_LOWEST, false},
    {"sft", "mean_token_accuracy", "token accuracy", FACT_TAIL, true},
    {"reward", "loss", "loss", FACT_TAIL, false},
    {"reward", "accuracy", "accuracy", FACT_TAIL, true},
    {"reward", "val_accuracy", "held-out accuracy", FACT_LAST, true},
    {"dpo", "loss", "loss", FACT_TAIL, false},
    {"dpo", "rewards/margins", "margin", FACT_TAIL, false},
    {"dpo", "rewards/accuracies", "accuracy", FACT_TAIL, true},
    {"dpo", "val_rewards/accuracies", "held-out accuracy", FACT_LAST, true},
    {"ppo", "objective/score", "reward, first", FACT_FIRST, false},
    {"ppo", "objective/score", "reward, last", FACT_TAIL, false},
    {"ppo", "eval/score", "reward on held-out prompts, first", FACT_FIRST, false},
    {"ppo", "eval/score", "reward on held-out prompts, last", FACT_LAST, false},
    {"ppo", "objective/kl", "KL per answer", FACT_TAIL, false},
    {"ppo", "response_tokens", "tokens per answer", FACT_TAIL, false},
    {"grpo", "reward/mean", "reward, first", FACT_FIRST, false},
    {"grpo", "reward/mean", "reward, last", FACT_TAIL, false},
    {"grpo", "eval/reward", "reward on held-out prompts, first", FACT_FIRST, false},
    {"grpo", "eval/reward", "reward on held-out prompts, last", FACT_LAST, false},
    {"grpo", "response_tokens", "tokens per answer", FACT_TAIL, false},
};

/* The last tenth of what was recorded is averaged: single steps are noisy. */
static double fact_of(const double *values, uint64_t count, fact_kind kind) {
    double result = NAN, sum = 0;
    uint64_t finite = 0, first = kind == FACT_TAIL ? count - (count + 9) / 10 : 0;
    for (uint64_t i = first; i < count; i++) {
        if (!isfinite(values[i]))
            continue;
        sum += values[i];
        finite++;
        bool take = kind == FACT_LAST || (kind == FACT_LOWEST && !(values[i] >= result)) ||
                    (kind == FACT_FIRST && finite == 1);
        result = take ? values[i] : result;
    }
    return kind == FACT_TAIL && finite ? sum / (double)finite : result;
}

const uint64_t tv_report_fact_count = TV_COUNT(run_facts);

const char *tv_report_say(double value, bool percent, char text[40]) {
    if (percent && isfinite(value))
        snprintf(text, 40, "%.1f %%", 100 * value);
    else if (value == floor(value) || fabs(value) >= 1000)
        tv_html_count(value, text);
    else
        snprintf(text, 40, isfinite(value) ? "%.3g" : "n/a", value);
    return text;
}

bool tv_report_fact(const tv_report_run *run, uint64_t index, const char **label, char text[40]) {
    const run_fact *fact = &run_facts[index];
    const double *values =
        run->stage && strcmp(fact->stage, run->stage) == 0 ? tv_report_values(run, fact->series) : NULL;
    double value = values ? fact_of(values, run->line_count, fact->kind) : NAN;
    *label = fact->label;
    tv_report_say(value, fact->percent, text);
    return isfinite(value);
}
