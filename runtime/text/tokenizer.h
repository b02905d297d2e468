/* Byte-level BPE tokenizer (Sennrich et al. 2016, on bytes as in GPT-2): text to ids and back.
 *
 * Promise: decoding the ids of a text gives its bytes back exactly, whatever they are, as long as the
 * tokenizer has no normalizer, no add_prefix_space and no added token that strips
 * (tv_tokenizer_is_reversible); encoding takes time n log n in the longest piece. An object serves one thread
 * at a time (it caches words); threads each load their own. Encoding and decoding stand in
 * trivium/tokenizer.h; tokenizer_json.h reads and writes it, bpe_train.h makes one from text.
 */
#ifndef TV_TEXT_TOKENIZER_H
#define TV_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "text/buffers.h"
#include "text/pretokenizer.h"
#include "text/utf8.h"
#include "text/vocabulary.h"
#include "trivium/tokenizer.h"

/* The tokens that a tokenizer trained here reserves, with ids 0 to 3 in this order. */
#define TV_TOKEN_END_OF_TEXT "<|endoftext|>"
#define TV_TOKEN_IM_START    "<|im_start|>"
#define TV_TOKEN_IM_END      "<|im_end|>"
#define TV_TOKEN_PAD         "<|pad|>"

enum { TV_MAX_TOKEN_ID = 4194303, TV_MAX_NORMAL_FORMS = 8, TV_MAX_BEGIN = 4 };

/* What a tokenizer is made of; its maker's, and copied. */
typedef struct tv_tokenizer_parts {
    const tv_token *tokens; /* each id at most once; ids may leave gaps */
    uint64_t token_count;
    const tv_merge *merges; /* by priority, first merges first; the token `merged` is left and right joined */
    uint64_t merge_count;
    bool ignore_merges; /* a piece that is a token as a whole is that token */
    bool add_prefix_space;
    tv_normal_form normal_forms[TV_MAX_NORMAL_FORMS];
    uint32_t normal_form_count;
    tv_pretokenizer **pretokenizer; /* taken over: cleared when the tokenizer is made */
} tv_tokenizer_parts;

/* Fails with TV_E_DATA and `where` in front when ids clash or a byte has no token. */
tv_status tv_tokenizer_create(const tv_tokenizer_parts *parts, const char *where, tv_tokenizer **tokenizer);

/* What the files say beyond the tokens. Ids are TV_NO_TOKEN and texts NULL where they say nothing. */
typedef struct tv_tokenizer_info {
    uint32_t end_of_text; /* ends a document: <|endoftext|> or its like, otherwise eos */
    uint32_t eos, pad;
    const char *chat_template;
    uint32_t begin[TV_MAX_BEGIN]; /* what a text begins with: <s>, <|begin_of_text|> (post_processor.h) */
    uint32_t begin_count;
    const char *begins_by;     /* which file says so, a constant; for the log */
    const char *json, *config; /* the files as they were read; NULL for a tokenizer trained here */
    const char *jinja;         /* chat_template.jinja as it was read; NULL where there is none */
} tv_tokenizer_info;
const tv_tokenizer_info *tv_tokenizer_info_of(const tv_tokenizer *tokenizer);
/* As tv_tokenizer_begin_text, for a document that follows others, each ended by end_of_text: where a text
 * begins with that very token, it stands there already. */
tv_status tv_tokenizer_begin_document(const tv_tokenizer *tokenizer, tv_ids *ids);

/* Replaces it; texts are copied, end_of_text is found by name, else stays, else is eos. */
tv_status tv_tokenizer_describe(tv_tokenizer *tokenizer, const tv_tokenizer_info *info);

bool tv_tokenizer_is_reversible(const tv_tokenizer *tokenizer);
/* NULL for an id that stands for no token. The bytes belong to the tokenizer. */
const tv_token *tv_tokenizer_token(const tv_tokenizer *tokenizer, uint32_t id);
uint64_t tv_tokenizer_merge_count(const tv_tokenizer *tokenizer);
const tv_merge *tv_tokenizer_merges(const tv_tokenizer *tokenizer);

#endif
