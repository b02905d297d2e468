/* Fuzz target: bytes as JSON lines of demonstrations. What is read must keep its promises. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fuzz/tokenizer.h"
#include "text/examples.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const tv_examples *examples, uint64_t max_tokens) {
    uint64_t tokens = 0, trained = 0;
    for (uint64_t i = 0; i < examples->count; i++) {
        const tv_example *item = &examples->items[i];
        if (item->length < 2 || (max_tokens && item->length > max_tokens) || item->trained[0] ||
            !item->trained[item->length - 1] || item->line == 0)
            abort();
        tokens += item->length;
        for (uint64_t t = 0; t < item->length; t++) {
            if (item->trained[t] > 1 || item->ids[t] >= TV_MIN_VOCAB_SIZE)
                abort();
            trained += item->trained[t];
        }
    }
    if (examples->count == 0 || examples->tokens != tokens || examples->trained_tokens != trained)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint64_t limits[] = {0, 24};
    for (int i = 0; i < 2; i++) {
        const tv_examples_options options = {.tokenizer = fuzz_tokenizer(), .max_tokens = limits[i]};
        tv_examples *examples = NULL;
        if (tv_examples_read_bytes(&options, data, size, "fuzz", &examples) == TV_OK)
            check(examples, limits[i]);
        else if (examples)
            abort();
        tv_examples_destroy(&examples);
    }
    return 0;
}
