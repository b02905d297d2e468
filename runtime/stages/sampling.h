/* How texts are drawn: what generate, chat, sample and PPO share.
 *
 * One place says which tokens end a text, and how drawn tokens become bytes.
 */
#ifndef TV_STAGES_SAMPLING_H
#define TV_STAGES_SAMPLING_H

#include "model/decoder.h"
#include "text/chat_template.h"

typedef struct tv_sampling {
    uint64_t seed;
    double temperature; /* 0: greedy */
    uint64_t top_k;     /* 0: all */
    double top_p;       /* 1: all */
} tv_sampling;

/* A text ends with what the config or the tokenizer (may be NULL) calls its end, and, where `chat` is not
 * NULL, with the template's end of a turn. */
tv_decoder_settings tv_sampling_settings(const tv_sampling *sampling, const tv_model_config *config,
                                         const tv_tokenizer *tokenizer, const tv_chat_template *chat);

/* Gets the row after each look at it; false in *go_on stops the text there. */
typedef tv_status (*tv_sampling_look)(void *context, const tv_decoder_row *row, bool *go_on);
/* Runs a decoder of one row to the end of its text, with about ten looks a second, the first at the first
 * drawn token. *seconds (may be NULL) is the time after that one. */
tv_status tv_sampling_run(tv_decoder *decoder, tv_sampling_look look, void *context, double *seconds);

/* Appends the bytes of one drawn token: nothing for a special one and for one beyond the tokenizer's
 * vocabulary, which a model's may be padded over. `begins`: it is the first of a text that stands for itself,
 * an answer in a chat, and not of one that goes on from the prompt (tv_tokenizer_decode_next). */
tv_status tv_sampling_decode(const tv_tokenizer *tokenizer, uint32_t token, bool begins, tv_text *text);

/* Appends the bytes that a row drew, without the token that ended it; `answer`: they stand for themselves. */
tv_status tv_sampling_text(const tv_tokenizer *tokenizer, const tv_decoder_row *row, bool answer,
                           tv_text *text);

/* "eos" or "length", for results. */
const char *tv_sampling_finish(const tv_decoder_row *row);

#endif
