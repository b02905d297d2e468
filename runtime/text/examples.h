/* Demonstrations for supervised fine-tuning: JSON lines to tokens with a mask.
 *
 * Promise: four shapes are read, found by the keys of a file's first line and named in the log
 * (docs/data.md):
 *   {"prompt": p, "completion": c}, both texts or both lists of messages    {"messages": [...]}
 *   {"instruction": s, "input": s, "output": s}                            {"conversations": [...]}
 * Texts get no template and end with the end-of-text token; the others get the tokenizer's chat template.
 * Texts are tokenized apart and joined. An example ends with its last trained token. One
 * over `max_tokens` is cut there and counted; where nothing trained is left, it is dropped and counted. Any
 * line of another shape, and an empty completion, is TV_E_DATA with file and line.
 */
#ifndef TV_TEXT_EXAMPLES_H
#define TV_TEXT_EXAMPLES_H

#include "base/arena.h"
#include "text/prompts.h"

typedef struct tv_example {
    const uint32_t *ids;    /* (length) */
    const uint8_t *trained; /* (length): 1 where the token is a target. The first token never is: nothing
                             * predicts it */
    uint64_t length;        /* at least 2; as inputs and targets it takes length - 1 slots */
    const char *file;
    uint64_t line;
} tv_example;

typedef struct tv_examples_options {
    const char *const *paths;
    uint64_t path_count;
    tv_tokenizer *tokenizer;
    uint64_t max_tokens; /* the longest example; a model of T positions takes T + 1. 0: no limit */
} tv_examples_options;

typedef struct tv_examples {
    tv_example *items; /* in the order of the files */
    uint64_t count;
    uint64_t tokens, trained_tokens; /* of all items */
    uint64_t truncated;              /* items that were cut */
    uint64_t dropped;                /* examples that are not among the items: nothing trained was left */
    tv_answer_ends ends;             /* of their answers */
    tv_arena *arena;                 /* what the items point into */
} tv_examples;

/* No example at all is TV_E_DATA, none that is left TV_E_FIT. */
tv_status tv_examples_read(const tv_examples_options *options, tv_examples **examples);
/* One file's bytes; `paths` of the options is not looked at. */
tv_status tv_examples_read_bytes(const tv_examples_options *options, const uint8_t *bytes, uint64_t size,
                                 const char *name, tv_examples **examples);
void tv_examples_destroy(tv_examples **examples);

#endif
