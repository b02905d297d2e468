/* Fuzz target: bytes as JSON lines of preferences. What is read must keep its promises. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/tokenizer.h"
#include "text/preferences.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const tv_preferences *set, uint64_t max_tokens, bool unpaired) {
    for (uint64_t g = 0; g < set->count; g++) {
        const tv_preference_group *group = &set->groups[g];
        if (group->count < (unpaired ? 1 : 2) || group->count > set->most || group->responses[0].rank != 0)
            abort();
        for (uint64_t i = 0; i < group->count; i++) {
            const tv_preference_response *response = &group->responses[i];
            if (response->prompt_length == 0 || response->length <= response->prompt_length ||
                response->length > set->longest || (max_tokens && response->length > max_tokens) ||
                response->prompt_length != group->responses[0].prompt_length ||
                memcmp(response->ids, group->responses[0].ids, response->prompt_length * sizeof(uint32_t)) !=
                    0)
                abort();
            if (i > 0 && response->rank - response[-1].rank > 1)
                abort();
            for (uint64_t t = 0; t < response->length; t++)
                if (response->ids[t] >= TV_MIN_VOCAB_SIZE)
                    abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint64_t limits[] = {0, 24};
    for (int i = 0; i < 4; i++) {
        const tv_preferences_options options = {
            .tokenizer = fuzz_tokenizer(), .max_tokens = limits[i % 2], .unpaired = i >= 2};
        tv_preferences *set = NULL;
        if (tv_preferences_read_bytes(&options, data, size, "fuzz", &set) == TV_OK)
            check(set, limits[i % 2], i >= 2);
        else if (set)
            abort();
        tv_preferences_destroy(&set);
    }
    return 0;
}
