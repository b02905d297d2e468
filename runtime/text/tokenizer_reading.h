/* The parts of a tokenizer.json, a reader each. Used by tokenizer_json.c, and by
 * post_processor.c for what all have in common.
 *
 * Promise: what is read is what Hugging Face tokenizers makes of it; what would tokenize differently here is
 * TV_E_DATA with `where` and its name, and so is what is broken.
 */
#ifndef TV_TEXT_TOKENIZER_READING_H
#define TV_TEXT_TOKENIZER_READING_H

#include "base/json.h"
#include "text/tokenizer.h"

/* json_normalizer.c: the member "normalizer", or NULL. */
tv_status tv_read_normalizer(const cJSON *item, const char *where, tv_normalizer *normalizer);

/* json_pretokenizer.c: the member "pre_tokenizer", or NULL. *byte_level: the vocabulary is spelled in the
 * byte alphabet. */
tv_status tv_read_pretokenizer(const cJSON *item, const char *where, tv_pretokenizer *pretokenizer,
                               bool *byte_level, bool *prefix_space);

/* json_decoder.c: the member "decoder", or NULL. */
tv_status tv_read_decoder(const cJSON *item, const char *where, bool byte_level, tv_token_decoder *decoder);

/* json_model.c: the members "model" and "added_tokens" of the root: tokens, merges and what belongs to them.
 * They lie in the arena and in the tree. */
tv_status tv_read_model(const cJSON *root, const char *where, bool byte_level, tv_arena *arena,
                        tv_tokenizer_parts *parts);

/* {"Regex": r} or {"String": s}, the member "pattern" of `item`. */
tv_status tv_read_pattern(const cJSON *item, const char *where, tv_pattern **pattern);

/* json_steps.c: a member that is one step, or a Sequence of steps, which may be Sequences again. */
typedef struct tv_steps {
    const char *where, *key; /* "normalizer": for sentences */
    const char *parts;       /* the member of a Sequence that lists its steps: "normalizers" */
    /* One that is no Sequence, and its "type". */
    tv_status (*read)(void *context, const cJSON *item, const char *type);
    void *context;
} tv_steps;
/* Reads them in their order; nothing where `item` is NULL or null. Sequences too deep are TV_E_DATA. */
tv_status tv_read_steps(const tv_steps *steps, const cJSON *item);

#endif
