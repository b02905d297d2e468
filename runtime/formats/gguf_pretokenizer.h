/* The pre-tokenizers that a GGUF names and does not spell: the patterns that tokenizer.json has in their
 * place.
 *
 * Promise: a name stands for exactly the patterns that the published tokenizer of that name has, in both
 * directions; what has no name is not guessed. Source: src/llama-vocab.cpp of ggml-org/llama.cpp.
 */
#ifndef TV_FORMATS_GGUF_PRETOKENIZER_H
#define TV_FORMATS_GGUF_PRETOKENIZER_H

#include <stdbool.h>

#include "base/json.h"

enum { TV_GGUF_MAX_PATTERNS = 7 };

typedef struct tv_gguf_pretokenizer {
    const char *name;                               /* as it is written */
    const char *aliases[6];                         /* further names that mean the same */
    bool ignore_merges;                             /* what llama.cpp takes for granted under this name */
    bool normal_form_c;                             /* the published tokenizer normalizes to NFC */
    const char *patterns[TV_GGUF_MAX_PATTERNS + 1]; /* of Split steps, ended by NULL; ByteLevel follows */
} tv_gguf_pretokenizer;

/* NULL where none has the name. */
const tv_gguf_pretokenizer *tv_gguf_pretokenizer_named(const char *name);
/* The one with the steps of this member "pre_tokenizer" of a tokenizer.json of byte-level BPE; NULL where
 * none has them. Of two with the same steps that with this ignore_merges. */
const tv_gguf_pretokenizer *tv_gguf_pretokenizer_of(const cJSON *steps, bool ignore_merges);

#endif
