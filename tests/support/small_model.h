/* A small published model with a tokenizer trained here, for tests of the commands that draw text. */
#ifndef TV_TESTS_SMALL_MODEL_H
#define TV_TESTS_SMALL_MODEL_H

#include "support/subprocess.h"
#include "support/support.h"

enum { TV_SMALL_CONTEXT = 128 };

typedef struct tv_small_model {
    char *dir, *model; /* a folder for the test, and the model directory in it */
} tv_small_model;

/* Group set-up and tear-down for cmocka; without a usable device the program ends with TV_TEST_SKIPPED. Only
 * in tests that CMake gave TRIVIUM_COMMAND. */
#define tv_small_model_make(state) tv_small_model_make_with(state, TRIVIUM_COMMAND)
int tv_small_model_make_with(void **state, const char *command);
int tv_small_model_remove(void **state);

/* Writes DIR/name; the caller frees the path. */
char *tv_small_model_file(const tv_small_model *small, const char *name, const char *text);

#endif
