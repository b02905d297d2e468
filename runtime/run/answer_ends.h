/* What the model that a run saves says about the end of its answers.
 *
 * Promise: config.json, generation_config.json and tokenizer_config.json name the token that ended the
 * answers which were learned. transformers stops at generation_config.json's ids, vLLM at these and the
 * tokenizer's eos_token, llama.cpp at eos_token alone: where a template ends turns with a token of its own,
 * that is the eos_token, and what the model ended with before stays behind it in the lists. Where that token
 * cannot be learned, because the head is frozen and has the same row for tokens that were never seen, it is
 * said.
 */
#ifndef TV_RUN_ANSWER_ENDS_H
#define TV_RUN_ANSWER_ENDS_H

#include "run/run.h"
#include "text/prompts.h"

/* Before the model is made: run->list may become run->own_list. */
tv_status tv_run_save_ends(tv_run *run, const tv_answer_ends *ends);

#endif
