/* Fuzz target: bytes as questions with endings. What is read must keep its promises. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fuzz/tokenizer.h"
#include "text/multiple_choice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const tv_multiple_choice *set, uint64_t limit) {
    uint64_t endings = 0;
    for (uint64_t q = 0; q < set->count; q++) {
        const tv_question *question = &set->questions[q];
        if (question->first != endings || question->count < 2 || question->count > TV_MOST_ENDINGS ||
            question->right >= question->count)
            abort();
        endings += question->count;
    }
    if (endings != set->ending_count || set->count == 0)
        abort();
    for (uint64_t i = 0; i < endings; i++) {
        const tv_ending *ending = &set->endings[i];
        if (ending->first < 1 || ending->first >= ending->length || ending->length > set->longest ||
            (limit && ending->length > limit) || ending->bytes == 0)
            abort();
        for (uint64_t t = 0; t < ending->length; t++)
            if (ending->ids[t] >= TV_MIN_VOCAB_SIZE)
                abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint64_t limits[] = {0, 12};
    for (int i = 0; i < 2; i++) {
        const tv_multiple_choice_options options = {.tokenizer = fuzz_tokenizer(), .max_tokens = limits[i]};
        tv_multiple_choice *set = NULL;
        if (tv_multiple_choice_read_bytes(data, size, "fuzz", &options, &set) == TV_OK)
            check(set, limits[i]);
        else if (set)
            abort();
        tv_multiple_choice_destroy(&set);
    }
    return 0;
}
