/* The chat template of tokenizers that have none. */
#ifndef TV_TEXT_CHAT_BUILTIN_H
#define TV_TEXT_CHAT_BUILTIN_H

#include "text/tokenizer.h"

/* Appends it, a Jinja template with the tokenizer's own tokens, and a terminating zero:
 *   ChatML   <|im_start|>ROLE\n CONTENT <|im_end|> \n, where those are tokens
 *   plain    User:\n CONTENT \n, with the end-of-text token behind each content of the assistant
 * each after what texts of the tokenizer begin with. *name is "ChatML" or "plain text". A tokenizer without
 * any token to end answers with is TV_E_DATA. */
tv_status tv_chat_builtin(const tv_tokenizer *tokenizer, tv_text *jinja, const char **name);

#endif
