/* The public API's language model over model, trainer and decoder: see trivium/language_model.h. */
#include "api/language_model.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "formats/adapter_base.h"
#include "formats/load.h"
#include "kernels/classifier.h"

_Static_assert(TV_NO_TARGET == TV_IGNORED_TARGET, "the public constant is the kernels'");

tv_language_model_options tv_language_model_default_options(void) {
    return (tv_language_model_options){.train = false};
}

static tv_status allocate(tv_device *device, const tv_language_model_options *options,
                          tv_language_model **out) {
    *out = calloc(1, sizeof **out);
    if (!*out)
        return tv_fail(TV_E_MEMORY, "out of host memory for a model");
    (*out)->device = device;
    (*out)->train = (options ? *options : tv_language_model_default_options()).train;
    return TV_OK;
}

tv_status tv_language_model_create(tv_device *device, const char *config_json, uint64_t seed,
                                   const tv_language_model_options *options, tv_language_model **out) {
    tv_status status;
    tv_language_model *lm = NULL;
    cJSON *tree = NULL;
    tv_model_config config;
    *out = NULL;
    TV_TRY_OR_FAIL(allocate(device, options, &lm));
    TV_TRY_OR_FAIL(tv_json_parse(config_json, strlen(config_json), "config_json", &tree));
    TV_TRY_OR_FAIL(tv_model_config_read(tree, "config_json", false, &config));
    TV_TRY_OR_FAIL(tv_model_config_expect_head(&config, TV_MODEL_HEAD_LANGUAGE, "config_json"));
    TV_TRY_OR_FAIL(tv_parameter_list_create(&config, &lm->own_list));
    TV_TRY_OR_FAIL(tv_model_create(device, lm->own_list, lm->train, &lm->model));
    TV_TRY_OR_FAIL(tv_model_initialise(lm->model, seed));
    cJSON_Delete(tree);
    *out = lm;
    return TV_OK;
fail:
    cJSON_Delete(tree);
    tv_language_model_destroy(&lm);
    return status;
}

tv_status tv_language_model_load(tv_device *device, const char *directory,
                                 const tv_language_model_options *options, tv_language_model **out) {
    tv_status status;
    tv_language_model *lm = NULL;
    *out = NULL;
    TV_TRY_OR_FAIL(allocate(device, options, &lm));
    TV_TRY_OR_FAIL(tv_model_directory_open(directory, &lm->directory));
    TV_TRY_OR_FAIL(tv_adapter_base_check(lm->directory));
    TV_TRY_OR_FAIL(tv_model_config_expect_head(&tv_model_directory_parameters(lm->directory)->config,
                                               TV_MODEL_HEAD_LANGUAGE, directory));
    TV_TRY_OR_FAIL(
        tv_model_create(device, tv_model_directory_parameters(lm->directory), lm->train, &lm->model));
    TV_TRY_OR_FAIL(tv_model_load(lm->model, lm->directory));
    *out = lm;
    return TV_OK;
fail:
    tv_language_model_destroy(&lm);
    return status;
}

tv_status tv_language_model_save(tv_language_model *lm, const char *directory) {
    TV_RETURN_IF_FAILED(tv_make_dirs(directory));
    return tv_model_directory_write(directory, tv_model_list(lm->model), tv_model_source, lm->model);
}

void tv_language_model_destroy(tv_language_model **handle) {
    if (!handle || !*handle)
        return;
    tv_language_model *lm = *handle;
    tv_decoder_destroy(&lm->decoder);
    tv_trainer_destroy(&lm->reader);
    tv_trainer_destroy(&lm->trainer);
    tv_model_destroy(&lm->model);
    tv_model_directory_close(&lm->directory);
    tv_parameter_list_destroy(&lm->own_list);
    free(lm);
    *handle = NULL;
}

uint64_t tv_language_model_parameters(const tv_language_model *lm) {
    return tv_model_list(lm->model)->elements;
}

uint64_t tv_language_model_vocab(const tv_language_model *lm) {
    return tv_model_list(lm->model)->config.vocab_size;
}

uint64_t tv_language_model_positions(const tv_language_model *lm) {
    return tv_model_list(lm->model)->config.max_positions;
}

tv_status tv_language_model_check_ids(const tv_language_model *lm, const char *what, const uint32_t *ids,
                                      uint64_t count, bool may_ignore) {
    uint64_t vocab = tv_language_model_vocab(lm);
    for (uint64_t i = 0; i < count; i++)
        if (ids[i] >= vocab && !(may_ignore && ids[i] == TV_NO_TARGET))
            return tv_fail(TV_E_DATA, "%s[%llu]: expected an id below %llu, found %u", what,
                           (unsigned long long)i, (unsigned long long)vocab, ids[i]);
    return TV_OK;
}
