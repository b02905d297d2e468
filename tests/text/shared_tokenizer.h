/* The byte tokenizer that all cases of a test read with, made before the first and destroyed after the last.
 */
#ifndef TV_TESTS_SHARED_TOKENIZER_H
#define TV_TESTS_SHARED_TOKENIZER_H

#include "text/byte_tokenizer.h"

#include "base/log.h"

static tv_tokenizer *tokenizer;

static int set_up(void **state) {
    (void)state;
    tv_log_set_level(TV_LOG_ERROR);
    tokenizer = byte_tokenizer(END_OF_TEXT | CHATML, NULL);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    tv_tokenizer_destroy(&tokenizer);
    return 0;
}

#endif
