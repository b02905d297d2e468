/* The plan of data and steps in words: see plan.h. */
#include "run/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

void tv_schedule_print(const tv_run_settings *settings, bool validates) {
    const tv_train_settings *train = &settings->train;
    printf("schedule   learning rate %g after %" PRIu64 " steps of warm-up", train->lr, train->warmup_steps);
    if (train->schedule != TV_SCHEDULE_CONSTANT)
        printf(", falling to %g", train->min_lr);
    if (validates && train->eval_every)
        printf("; validated every %" PRIu64 " steps", train->eval_every);
    else
        printf("; %s", validates ? "validated at the end" : "not validated");
    printf("\n");
}

static void print_data(const tv_run_plan *plan) {
    printf("data      ");
    if (plan->count)
        printf(" %" PRIu64 " %s,", plan->count, plan->items);
    printf(" %" PRIu64 " tokens", plan->tokens);
    if (plan->trained_tokens)
        printf(", %" PRIu64 " of them learned from", plan->trained_tokens);
    printf("; %" PRIu64 " %s held out", plan->held_out, plan->items);
    if (plan->count)
        printf("; %" PRIu64 " cut, %" PRIu64 " left out", plan->cut, plan->left_out);
    printf("\n");
}

void tv_run_plan_print(const tv_run_settings *settings, const tv_run_plan *plan, uint64_t steps) {
    print_data(plan);
    if (plan->slots)
        printf("padding    %.1f %% of %" PRIu64 " positions that a pass computes\n",
               100 * (1 - (double)plan->tokens / (double)plan->slots), plan->slots);
    /* A part of a pass holds some items, whose lengths differ. */
    bool exact = plan->count == 0 || plan->passes == floor(plan->passes);
    printf("run        %" PRIu64 " steps, %.3g passes through the data, %s%.0f tokens\n", steps, plan->passes,
           exact ? "" : "about ", plan->passes * (double)plan->tokens);
    tv_schedule_print(settings, plan->held_out > 0);
}
