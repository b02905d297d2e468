/* Tokenizers inside GGUF files: from and to the tokenizer.json and tokenizer_config.json of a model
 * directory.
 *
 * Promise: byte-level BPE ("gpt2") and BPE with byte fallback ("llama") go in and come back with the same
 * ids; scores of "llama" are the merges' order, as those of SentencePiece's BPE are. What a GGUF cannot say
 * (a pre-tokenizer without a name there) is TV_E_DATA, what llama.cpp does otherwise is warned of.
 */
#ifndef TV_FORMATS_GGUF_TOKENIZER_H
#define TV_FORMATS_GGUF_TOKENIZER_H

#include "formats/gguf.h"
#include "model/config.h"
#include "text/tokenizer.h"

/* Sets the keys tokenizer.*; ids up to config->vocab_size, where the tokenizer has none, become unused
 * tokens. `where` names the tokenizer in sentences. */
tv_status tv_gguf_set_tokenizer(tv_gguf_writer *writer, const tv_tokenizer *tokenizer,
                                const tv_model_config *config, const char *where);

bool tv_gguf_has_tokenizer(const tv_gguf *file);
/* The tokenizer of a file, as its tokenizer.json and tokenizer_config.json would make it, which it then has.
 */
tv_status tv_gguf_get_tokenizer(const tv_gguf *file, tv_tokenizer **tokenizer);

#endif
