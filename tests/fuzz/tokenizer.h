/* A small tokenizer for fuzz targets, made once. */
#ifndef TV_TESTS_FUZZ_TOKENIZER_H
#define TV_TESTS_FUZZ_TOKENIZER_H

#include <stdlib.h>

#include "text/bpe_train.h"

static inline tv_tokenizer *fuzz_tokenizer(void) {
    static tv_tokenizer *tokenizer;
    tv_bpe_trainer *trainer = NULL;
    if (tokenizer)
        return tokenizer;
    if (tv_bpe_trainer_create(TV_MIN_VOCAB_SIZE, 0, &trainer) != TV_OK ||
        tv_bpe_trainer_add(trainer, (const uint8_t *)"text", 4) != TV_OK ||
        tv_bpe_trainer_finish(trainer, &tokenizer) != TV_OK)
        abort();
    tv_bpe_trainer_destroy(&trainer);
    return tokenizer;
}

#endif
