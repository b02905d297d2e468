/* BPE tokenizers (Sennrich et al. 2016), on bytes as in GPT-2 or on characters with byte fallback as in
 * SentencePiece: text to ids and back.
 *
 * Promise: decoding the ids of a text gives its bytes back exactly, whatever they are, where
 * tv_tokenizer_is_reversible says so; encoding takes time n log n in the longest piece. An object serves one
 * thread at a time (it caches words); threads each load their own. Encoding and decoding stand in
 * trivium/tokenizer.h; tokenizer_json.h reads and writes it, bpe_train.h makes one from text.
 *
 * The way of a text, as in Hugging Face tokenizers: added tokens are found (added_tokens.h); what lies
 * between is normalized (normalizer.h), searched for those that are found in normalized text, cut into pieces
 * (pretokenizer.h), and merged (bpe_encode.h). Back: token_text.h.
 */
#ifndef TV_TEXT_TOKENIZER_H
#define TV_TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "text/buffers.h"
#include "text/normalizer.h"
#include "text/pretokenizer.h"
#include "text/token_text.h"
#include "text/vocabulary.h"
#include "trivium/tokenizer.h"

/* The tokens that a tokenizer trained here reserves, with ids 0 to 3 in this order. */
#define TV_TOKEN_END_OF_TEXT "<|endoftext|>"
#define TV_TOKEN_IM_START    "<|im_start|>"
#define TV_TOKEN_IM_END      "<|im_end|>"
#define TV_TOKEN_PAD         "<|pad|>"

enum { TV_MAX_TOKEN_ID = 4194303, TV_MAX_BEGIN = 4 };

/* What a tokenizer is made of; its maker's, and copied. */
typedef struct tv_tokenizer_parts {
    const tv_token *tokens; /* each id at most once; ids may leave gaps; without a spelling it is the bytes */
    uint64_t token_count;
    const tv_merge *merges; /* by priority, first merges first; the token `merged` is left and right joined */
    uint64_t merge_count;
    bool ignore_merges; /* a piece that is a token as a whole is that token */
    /* Pieces are characters (else bytes, each of which has a token). One that has no token becomes the tokens
     * of its bytes with byte_fallback, else `unknown`, else nothing. */
    bool characters, byte_fallback, fuse_unknown;
    const char *unknown; /* its spelling, or NULL */
    tv_token_decoder decoder;
    tv_normalizer **normalizer;     /* taken over: cleared when the tokenizer is made; NULL: none */
    tv_pretokenizer **pretokenizer; /* taken over: likewise */
    bool add_prefix_space;          /* the pre-tokenizer puts a space in front */
} tv_tokenizer_parts;

/* Fails with TV_E_DATA and `where` in front when ids clash or a byte has no token
 * where each needs one. */
tv_status tv_tokenizer_create(const tv_tokenizer_parts *parts, const char *where, tv_tokenizer **tokenizer);

/* As tv_tokenizer_encode with special tokens, but for those of which any byte is marked by 1 in `literal` (0
 * to 2 for each byte of the text), and without any added token over a byte that is marked by 2: what a
 * message spells is text. */
tv_status tv_tokenizer_encode_marked(tv_tokenizer *tokenizer, const void *text, uint64_t length,
                                     const uint8_t *literal, tv_ids *ids);

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
/* The day that is today for its chat template, in seconds since 1970: that on which it was made, until it is
 * set. So a run that goes on tomorrow renders what it rendered today. */
int64_t tv_tokenizer_date(const tv_tokenizer *tokenizer);
void tv_tokenizer_set_date(tv_tokenizer *tokenizer, int64_t date);
/* As tv_tokenizer_begin_text, for a document that follows others, each ended by end_of_text: where a text
 * begins with that very token, it stands there already. */
tv_status tv_tokenizer_begin_document(const tv_tokenizer *tokenizer, tv_ids *ids);

/* Replaces it; texts are copied, end_of_text is found by name, else stays, else is eos. */
tv_status tv_tokenizer_describe(tv_tokenizer *tokenizer, const tv_tokenizer_info *info);

/* For every text: there is no normalizer, no space is put in front, no sign stands for spaces, no added token
 * strips, and no character is unknown. */
bool tv_tokenizer_is_reversible(const tv_tokenizer *tokenizer);
/* TV_E_DATA where text becomes tokens for which a model's vocabulary has no place; `where` names the model.
 * Added tokens behind its end, such as Gemma 3's for images, are only warned of: text without them is fine.
 */
tv_status tv_tokenizer_expect_vocab(const tv_tokenizer *tokenizer, uint64_t vocab_size, const char *where);
/* NULL for an id that stands for no token. The bytes belong to the tokenizer. */
const tv_token *tv_tokenizer_token(const tv_tokenizer *tokenizer, uint32_t id);
uint64_t tv_tokenizer_merge_count(const tv_tokenizer *tokenizer);
const tv_merge *tv_tokenizer_merges(const tv_tokenizer *tokenizer);

#endif
