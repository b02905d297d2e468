/* What a tokenizer's files put before a text: the beginning-of-text token of Llama 2, Llama 3 and others.
 *
 * Promise: `add_bos_token` of tokenizer_config.json decides where it is set, otherwise the post-processor of
 * tokenizer.json (TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel and a Sequence of these),
 * as in transformers. What a post-processor puts behind a text is not taken: the stages end texts themselves.
 */
#ifndef TV_TEXT_POST_PROCESSOR_H
#define TV_TEXT_POST_PROCESSOR_H

#include "base/json.h"
#include "text/tokenizer.h"

/* Sets begin, begin_count and begins_by of info by the member "post_processor" of a tokenizer.json, or NULL.
 * Tokens that the tokenizer lacks, or more than TV_MAX_BEGIN, are TV_E_DATA with `where` in front. */
tv_status tv_post_processor_read(const tv_tokenizer *tokenizer, const cJSON *item, const char *where,
                                 tv_tokenizer_info *info);
/* The same by a tokenizer_config.json, which goes before; without an opinion in it info stays as it is. */
tv_status tv_post_processor_read_config(const tv_tokenizer *tokenizer, const cJSON *config, const char *where,
                                        tv_tokenizer_info *info);

/* A token by name ("bos_token": "x" or {"content": "x"}) in a tokenizer_config.json, or TV_NO_TOKEN. */
uint32_t tv_tokenizer_named_token(const tv_tokenizer *tokenizer, const cJSON *config, const char *key);

#endif
