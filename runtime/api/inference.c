/* Logits and texts of the public API's language model: see trivium/language_model.h. */
#include <string.h>

#include "api/language_model.h"
#include "model/heads.h"
#include "stages/sampling.h"

_Static_assert((int)TV_MAX_ENDS == (int)TV_DECODE_MAX_ENDS, "the public constant is the kernels'");

enum { LEAST_DECODER_TOKENS = 256 };

/* A decoder for sequences of `tokens`, kept for the next calls; twice as long at least as one that was too
 * short, so that a growing conversation seldom has to be read again. */
static tv_status prepare_decoder(tv_language_model *lm, uint64_t tokens) {
    if (lm->decoder && lm->decoder_tokens >= tokens)
        return TV_OK;
    uint64_t length = tv_max_u64(tokens, tv_max_u64(2 * lm->decoder_tokens, LEAST_DECODER_TOKENS));
    length = tv_min_u64(length, tv_language_model_positions(lm));
    tv_decoder_destroy(&lm->decoder);
    lm->decoder_tokens = 0;
    TV_RETURN_IF_FAILED(
        tv_decoder_create(lm->model, &(tv_decoder_options){.rows = 1, .max_tokens = length}, &lm->decoder));
    lm->decoder_tokens = length;
    return TV_OK;
}

static tv_status begin(tv_language_model *lm, const uint32_t *tokens, uint64_t length, uint64_t max_new,
                       const tv_decoder_settings *settings) {
    uint64_t positions = tv_language_model_positions(lm);
    if (length == 0 || length >= positions || max_new == 0)
        return tv_fail(
            TV_E_USAGE,
            "a prompt of %llu ids and %llu new ones: expected at least one of each, and a prompt below %llu",
            (unsigned long long)length, (unsigned long long)max_new, (unsigned long long)positions);
    TV_RETURN_IF_FAILED(tv_language_model_check_ids(lm, "prompt", tokens, length, false));
    max_new = tv_min_u64(max_new, positions - length);
    TV_RETURN_IF_FAILED(prepare_decoder(lm, length + max_new));
    const tv_decoder_prompt prompt = {.tokens = tokens, .length = length, .max_new = max_new};
    if (lm->decoder_stale) {
        TV_RETURN_IF_FAILED(tv_decoder_start(lm->decoder, &prompt, 1, settings));
        lm->decoder_stale = false;
        return TV_OK;
    }
    TV_RETURN_IF_FAILED(tv_decoder_start(lm->decoder, NULL, 0, settings));
    return tv_decoder_continue(lm->decoder, &prompt);
}

/* ---- logits ---- */

tv_status tv_language_model_logits(tv_language_model *lm, const uint32_t *tokens, uint64_t length,
                                   float *logits) {
    uint64_t running = 1;
    TV_RETURN_IF_FAILED(begin(lm, tokens, length, 1, &(tv_decoder_settings){.top_p = 1}));
    while (running)
        TV_RETURN_IF_FAILED(tv_decoder_run(lm->decoder, 1, &running));
    return tv_decoder_logits(lm->decoder, logits);
}

typedef struct pass {
    const uint32_t *tokens;
    float *logits;
    uint64_t length, vocab;
} pass;

static tv_status feed(void *context, tv_micro_batch *batch) {
    const pass *p = context;
    memcpy(batch->tokens, p->tokens, p->length * sizeof *p->tokens);
    return TV_OK;
}

static tv_status take_logits(void *context, const tv_micro_batch *batch,
                             const float *const outputs[TV_HEAD_TENSORS]) {
    (void)batch;
    const pass *p = context;
    memcpy(p->logits, outputs[0], p->length * p->vocab * sizeof *p->logits);
    return TV_OK;
}

tv_status tv_language_model_all_logits(tv_language_model *lm, const uint32_t *tokens, uint64_t length,
                                       float *logits) {
    uint64_t positions = tv_language_model_positions(lm);
    if (length == 0 || length > positions)
        return tv_fail(TV_E_USAGE, "a text of %llu ids: expected at least one, and at most %llu",
                       (unsigned long long)length, (unsigned long long)positions);
    TV_RETURN_IF_FAILED(tv_language_model_check_ids(lm, "tokens", tokens, length, false));
    if (!lm->reader || lm->read_length != length) {
        tv_trainer_destroy(&lm->reader);
        TV_RETURN_IF_FAILED(
            tv_trainer_create(lm->model,
                              &(tv_trainer_options){.stage = "logits",
                                                    .batch = 1,
                                                    .tokens = length,
                                                    .grad_accum = 1,
                                                    .head = tv_language_logits_head,
                                                    .head_settings = &tv_model_list(lm->model)->config},
                              &lm->reader));
        lm->read_length = length;
    }
    pass p = {tokens, logits, length, tv_language_model_vocab(lm)};
    return tv_trainer_forward(lm->reader, 1, feed, &p, take_logits, &p);
}

/* ---- texts ---- */

tv_generate_settings tv_generate_default_settings(void) {
    return (tv_generate_settings){.max_new = 128, .temperature = 0.8, .top_p = 1, .seed = 1};
}

static tv_decoder_settings drawing(const tv_language_model *lm, const tv_generate_settings *s) {
    return tv_sampling_settings(&(tv_sampling){s->seed, s->temperature, s->top_k, s->top_p},
                                &tv_model_list(lm->model)->config, s->tokenizer, s->chat);
}

typedef struct caller_text {
    const tv_generate_settings *settings;
    uint32_t *tokens;
    uint64_t count;
} caller_text;

static tv_status take(void *context, const tv_decoder_row *row, bool *go_on) {
    caller_text *to = context;
    while (*go_on && row->prompt_length + to->count < row->length) {
        uint32_t token = row->tokens[row->prompt_length + to->count];
        to->tokens[to->count++] = token;
        if (to->settings->callback)
            *go_on = to->settings->callback(to->settings->context, token);
    }
    return TV_OK;
}

tv_status tv_language_model_generate(tv_language_model *lm, const uint32_t *prompt, uint64_t prompt_length,
                                     const tv_generate_settings *settings, uint32_t *tokens,
                                     uint64_t *count) {
    const tv_generate_settings given = settings ? *settings : tv_generate_default_settings();
    const tv_decoder_settings draws = drawing(lm, &given);
    caller_text to = {.settings = &given, .tokens = tokens};
    *count = 0;
    TV_RETURN_IF_FAILED(begin(lm, prompt, prompt_length, given.max_new, &draws));
    tv_status status = tv_sampling_run(lm->decoder, take, &to, NULL);
    *count = to.count;
    return status;
}

uint32_t tv_language_model_ends(const tv_language_model *lm, const tv_tokenizer *tokenizer,
                                const tv_chat_template *chat, uint32_t ends[TV_MAX_ENDS]) {
    const tv_decoder_settings draws =
        drawing(lm, &(tv_generate_settings){.tokenizer = tokenizer, .chat = chat});
    memcpy(ends, draws.ends, draws.end_count * sizeof *ends);
    return draws.end_count;
}
