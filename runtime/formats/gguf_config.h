/* A model's config as GGUF metadata: the keys general.* and FAMILY.*.
 *
 * Promise: what the config says of the arithmetic is said in the file, or it is TV_E_CONFIG with the name of
 * what llama.cpp has no key for (what it merely passes over is warned of); a key of a file that is not known
 * here and not switched off is TV_E_CONFIG with its name. Source: gguf-py's constants.py and
 * src/llama-model.cpp of ggml-org/llama.cpp.
 */
#ifndef TV_FORMATS_GGUF_CONFIG_H
#define TV_FORMATS_GGUF_CONFIG_H

#include "formats/gguf.h"
#include "model/config.h"

/* `name` is the model's own, for people; `type` what most of its weights are; `where` its path for sentences.
 */
tv_status tv_gguf_set_config(tv_gguf_writer *writer, const tv_model_config *config, const char *name,
                             const tv_gguf_type *type, const char *where);
/* The config of a file; shapes of tensors are its caller's to check. */
tv_status tv_gguf_get_config(const tv_gguf *file, tv_model_config *config);

#endif
