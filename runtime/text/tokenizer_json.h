/* Tokenizers as Hugging Face files: tokenizer.json, tokenizer_config.json and chat_template.jinja.
 *
 * Promise: BPE is read as the tokenizers library means it: byte-level, or on characters with byte fallback;
 * merges as "a b" or ["a", "b"]; added tokens with their flags; the normalizers, pre-tokenizers and decoders
 * of normalizer.h, pretokenizer.h and token_text.h. Whatever would tokenize differently here than there is
 * TV_E_DATA with the key's name, and so is every broken file. What stands before a text is in
 * post_processor.h. A tokenizer that was read is saved byte for byte, but for an eos_token that was set; one
 * trained here gets a ChatML chat_template. tv_tokenizer_load and tv_tokenizer_save stand in
 * trivium/tokenizer.h.
 */
#ifndef TV_TEXT_TOKENIZER_JSON_H
#define TV_TEXT_TOKENIZER_JSON_H

#include "text/tokenizer.h"

/* The text of a tokenizer.json; `where` names it in sentences. */
tv_status tv_tokenizer_parse(const char *json, uint64_t size, const char *where, tv_tokenizer **tokenizer);

/* The text of the tokenizer_config.json that belongs to it, ended by a zero that `size` does not count. */
tv_status tv_tokenizer_parse_config(tv_tokenizer *tokenizer, const char *json, uint64_t size,
                                    const char *where);

/* Makes `id` the "eos_token" of the files that are saved, which is where other programs stop; what ends a
 * document stays as it is. */
tv_status tv_tokenizer_set_eos(tv_tokenizer *tokenizer, uint32_t id);
/* Makes the built-in chat template that of the files that are saved, where the tokenizer has none. */
tv_status tv_tokenizer_set_builtin_template(tv_tokenizer *tokenizer);

/* Appends the token as it stands in tokenizer.json: its bytes in the byte alphabet, an added token or one
 * that is spelled as text as it is.
 */
tv_status tv_token_spell(const tv_token *token, tv_text *out);

#endif
