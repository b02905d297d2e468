/* Fuzz target: bytes as align.json. A plan that is read can be checked, and its settings go to the steps. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/align_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_align_plan plan = {0};
    tv_stage_kind steps[2];
    if (tv_align_plan_parse((const char *)data, size, "fuzz", &plan) != TV_OK)
        return 0;
    if (plan.rounds < 1 || plan.rounds > 1000 || plan.candidates < 1 || plan.rows < 1)
        abort();
    (void)tv_align_plan_check(&plan);
    const uint64_t count = tv_align_training_steps(&plan, steps);
    for (uint64_t i = 0; i < count; i++) {
        char **sets;
        uint64_t set_count;
        if (tv_align_sets_of(&plan, steps[i], &sets, &set_count) != TV_OK)
            continue;
        if (set_count > plan.sets.count)
            abort();
        tv_align_sets_free(&sets, set_count);
    }
    tv_align_plan_free(&plan);
    return 0;
}
