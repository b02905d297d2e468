/* A model as a Hugging Face directory: config.json and model.safetensors, or shards with their index.
 *
 * Promise: a directory that was opened has every tensor that its config asks for, in the right shape and a
 * type of weights, and no tensor that the config does not explain; reading a parameter then cannot meet a
 * surprise. Parameters come and go in the internal layout of parameters.h. Writing goes into a directory that
 * the caller made and later renames; replacing a model atomically is the checkpoint's business.
 */
#ifndef TV_FORMATS_DIRECTORY_H
#define TV_FORMATS_DIRECTORY_H

#include "model/parameters.h"

typedef struct tv_model_directory tv_model_directory;

/* Reads the config and the headers; weights stay on disk, mapped. TV_E_CONFIG for the config's values,
 * TV_E_DATA for a file that is missing or wrong, TV_E_IO for one that cannot be read. */
tv_status tv_model_directory_open(const char *path, tv_model_directory **directory);
void tv_model_directory_close(tv_model_directory **directory);

/* The parameters of the directory's config (which is in the list); lives as long as the directory. */
const tv_parameter_list *tv_model_directory_parameters(const tv_model_directory *directory);

/* As it was opened; for sentences. */
const char *tv_model_directory_path(const tv_model_directory *directory);

/* One parameter, in the internal layout, as fp32: `out` takes its `count` floats. */
tv_status tv_model_directory_read(const tv_model_directory *directory, uint32_t index, float *out);

/* Writes config.json, generation_config.json (for a language model) and model.safetensors (F32) into the
 * existing directory `path`, asking `source` for each parameter once, in order. Needs host memory for two of
 * the largest parameter. */
tv_status tv_model_directory_write(const char *path, const tv_parameter_list *list,
                                   tv_parameter_source source, void *context);

#endif
