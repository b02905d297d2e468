/* A small model for tests of commands: see small_model.h. */
#include "support/small_model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"

#define GOLDEN TRIVIUM_SOURCE_DIR "/tests/golden/llama_100k/"
#define TEXT   TRIVIUM_SOURCE_DIR "/tests/text/data/excerpt.txt"

static void copy_file(const char *folder, const char *name) {
    char *text = NULL, *source = tv_format("%s%s", GOLDEN, name), *target = tv_format("%s/%s", folder, name);
    uint64_t size;
    assert_ok(tv_read_file(source, &text, &size));
    assert_ok(tv_write_file(target, text, size));
    tv_free_all(text, source, target);
}

int tv_small_model_make_with(void **state, const char *command) {
    tv_small_model *small = calloc(1, sizeof *small);
    assert_non_null(small);
    small->dir = tv_test_dir();
    small->model = tv_format("%s/model", small->dir);
    assert_ok(tv_make_dirs(small->model));
    copy_file(small->model, "config.json");
    copy_file(small->model, "model.safetensors");
    /* The model's vocabulary has 307 tokens. */
    const char *const train[] = {command,        "tokenizer", "train", "--input",    TEXT,
                                 "--vocab-size", "307",       "--out", small->model, NULL};
    tv_child_result run = tv_child_run(train);
    if (run.exit_code != 0)
        fail_msg("%s", run.err);
    tv_child_result_free(&run);
    const char *const generate[] = {command, "generate",     "--model", small->model, "--prompt",
                                    "x",     "--max-tokens", "1",       NULL};
    run = tv_child_run(generate);
    int code = run.exit_code;
    if (code == 3)
        fprintf(stderr, "skipped: %s", run.err);
    tv_child_result_free(&run);
    if (code == 3)
        exit(TV_TEST_SKIPPED);
    *state = small;
    return 0;
}

int tv_small_model_remove(void **state) {
    tv_small_model *small = *state;
    tv_test_dir_remove(&small->dir);
    free(small->model);
    free(small);
    return 0;
}

char *tv_small_model_file(const tv_small_model *small, const char *name, const char *text) {
    char *path = tv_format("%s/%s", small->dir, name);
    assert_ok(tv_write_file(path, text, strlen(text)));
    return path;
}
