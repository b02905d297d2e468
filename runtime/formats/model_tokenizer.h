/* The tokenizer of a model, wherever the model keeps it: tokenizer.json in its directory, for an adapter
 * without one that of its base, or a GGUF file's metadata. */
#ifndef TV_FORMATS_MODEL_TOKENIZER_H
#define TV_FORMATS_MODEL_TOKENIZER_H

#include <stdbool.h>

#include "formats/directory.h"
#include "text/tokenizer.h"

/* Where an opened model's tokenizer is: its path, or its base's. */
const char *tv_model_tokenizer_path(const tv_model_directory *directory);

/* `path` is that of the model, a directory or a file. */
/* Also true of a file that is broken, so that loading says how. */
bool tv_model_has_tokenizer(const char *path);
/* TV_E_DATA where there is none. */
tv_status tv_model_tokenizer_load(const char *path, tv_tokenizer **tokenizer);

#endif
