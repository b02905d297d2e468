/* Demonstrations in batches: see evaluate_examples.h. */
#include "run/evaluate_examples.h"

#include "base/bytes.h"
#include "base/files.h"
#include "base/tokens.h"
#include "text/source.h"

/* Beside "text" the line is a document. */
static tv_status look(void *context, const tv_json_line *line) {
    static const char *const whole[] = {"messages", "conversations"};
    bool found = tv_json_get(line->root, "prompt") && tv_json_get(line->root, "completion");
    found = found || (tv_json_get(line->root, "instruction") && tv_json_get(line->root, "output"));
    for (size_t i = 0; i < TV_COUNT(whole); i++)
        found = found || tv_json_get(line->root, whole[i]);
    *(bool *)context = found && !tv_json_get(line->root, "text");
    return TV_E_INTERRUPTED; /* one line is enough */
}

bool tv_examples_found(const char *path) {
    return tv_source_first_line(path, look);
}

tv_trainer_options tv_examples_trainer(uint64_t tokens, uint64_t batch) {
    return (tv_trainer_options){.stage = "eval", .batch = batch, .tokens = tokens, .narrow = true};
}

uint64_t tv_examples_longest(const tv_examples *examples) {
    uint64_t longest = 1;
    for (uint64_t i = 0; i < examples->count; i++)
        longest = tv_max_u64(longest, examples->items[i].length - 1);
    return longest;
}

tv_status tv_examples_next(void *context, tv_micro_batch *batch) {
    tv_example_batches *batches = context;
    const tv_examples *all = batches->examples;
    const uint64_t count = tv_min_u64(batch->rows, all->count - tv_min_u64(batches->next, all->count));
    uint64_t longest = 1;
    for (uint64_t b = 0; b < count; b++)
        longest = tv_max_u64(longest, all->items[batches->next + b].length - 1);
    tv_micro_batch_narrow(batch, longest);
    for (uint64_t b = 0; b < batch->rows; b++) {
        const tv_example *example = b < count ? &all->items[batches->next + b] : NULL;
        for (uint64_t t = 0; t < batch->width; t++) {
            const uint64_t at = b * batch->width + t;
            bool inside = example && t + 1 < example->length;
            batch->tokens[at] = inside ? example->ids[t] : 0;
            batch->targets[at] = inside && example->trained[t + 1] ? example->ids[t + 1] : TV_IGNORED_TARGET;
        }
    }
    batches->next += count;
    return TV_OK;
}
