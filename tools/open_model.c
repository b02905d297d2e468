/* A model as commands use it: see open_model.h. */
#include "tools/open_model.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/load.h"
#include "formats/model_tokenizer.h"
#include "run/checkpoint.h"
#include "text/tokenizer_json.h"
#include "vk/device.h"

static tv_status load_tokenizer(const char *path, bool needs_text, tv_tokenizer **tokenizer) {
    if (tv_model_has_tokenizer(path))
        return tv_model_tokenizer_load(path, tokenizer);
    if (!needs_text)
        return TV_OK;
    return tv_fail(TV_E_DATA,
                   "%s: this command reads and writes text and needs tokenizer.json in the model directory, "
                   "which is not there; copy it from where the model's tokens came from",
                   path);
}

tv_status tv_open_model_open(const char *given, const char *adapter, const tv_common_options *common,
                             bool needs_text, tv_open_model *open) {
    *open = (tv_open_model){0};
    tv_status status;
    /* The files first: their mistakes are found before a device is taken. */
    TV_TRY_OR_FAIL(tv_model_given_open(given, adapter, &open->path, &open->directory));
    TV_TRY_OR_FAIL(load_tokenizer(tv_model_tokenizer_path(open->directory), needs_text, &open->tokenizer));
    TV_TRY_OR_FAIL(tv_model_config_expect_head(&tv_model_directory_parameters(open->directory)->config,
                                               TV_MODEL_HEAD_LANGUAGE, open->path));
    if (open->tokenizer)
        TV_TRY_OR_FAIL(tv_tokenizer_expect_vocab(
            open->tokenizer, tv_model_directory_parameters(open->directory)->config.vocab_size, open->path));
    TV_TRY_OR_FAIL(
        tv_device_open(&(tv_device_options){.select = common->device, .tier = common->tier}, &open->device));
    TV_TRY_OR_FAIL(
        tv_model_create(open->device, tv_model_directory_parameters(open->directory), false, &open->model));
    TV_TRY_OR_FAIL(tv_model_load(open->model, open->directory));
    return TV_OK;
fail:
    tv_open_model_close(open);
    return status;
}

tv_status tv_open_model_result(const tv_open_model *open, tv_status status) {
    return status == TV_E_NUMERIC ? tv_fail_context(status, "%s", open->path) : status;
}

void tv_open_model_close(tv_open_model *open) {
    tv_model_destroy(&open->model);
    tv_model_directory_close(&open->directory);
    tv_device_close(&open->device);
    tv_tokenizer_destroy(&open->tokenizer);
    free(open->path);
    open->path = NULL;
}
