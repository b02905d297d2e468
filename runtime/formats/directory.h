/* A model as a Hugging Face directory: config.json and model.safetensors, or shards with their index; as an
 * adapter over such a directory (formats/peft.h), which counts as one model; or as a GGUF file, which is read
 * as if it were one.
 *
 * Promise: a directory that was opened has every tensor that its config asks for, in the right shape and a
 * type of weights, and no tensor that the config does not explain; reading a parameter then cannot meet a
 * surprise. Parameters come and go in the internal layout of parameters.h. Writing goes into a directory that
 * the caller made and later renames; replacing a model atomically is the checkpoint's business.
 */
#ifndef TV_FORMATS_DIRECTORY_H
#define TV_FORMATS_DIRECTORY_H

#include "model/parameters.h"

#define TV_WEIGHTS_NAME "model.safetensors"
#define TV_INDEX_NAME   "model.safetensors.index.json"
/* Where transformers cuts weights into shards. */
#define TV_SHARD_BYTES UINT64_C(5000000000)

typedef struct tv_model_directory tv_model_directory;

/* Reads the config and the headers; weights stay on disk. TV_E_CONFIG for the config's values,
 * TV_E_DATA for a file that is missing or wrong, TV_E_IO for one that cannot be read. */
tv_status tv_model_directory_open(const char *path, tv_model_directory **directory);
/* An adapter's directory over another base than it names, or the one that it names (NULL); what
 * tv_model_directory_open does with one. The list then has the adapter's parameters behind their matrices
 * (parameters.h), and its adapter.base is the base's absolute path. A config.json beside the adapter must
 * have the base's sizes, and says which tokens begin and end a text. */
tv_status tv_model_directory_open_adapted(const char *base, const char *adapter,
                                          tv_model_directory **directory);
void tv_model_directory_close(tv_model_directory **directory);

/* The parameters of the directory's config (which is in the list), stored in the types that they are
 * published in; lives as long as the directory. */
const tv_parameter_list *tv_model_directory_parameters(const tv_model_directory *directory);

/* As it was opened; for sentences. */
const char *tv_model_directory_path(const tv_model_directory *directory);

/* Of an adapter: its base's directory; NULL otherwise. */
const tv_model_directory *tv_model_directory_base(const tv_model_directory *directory);
/* The same without opening it: the absolute path of the base of the adapter in `path`; NULL where there is no
 * adapter. The caller frees *base. */
tv_status tv_model_directory_find_base(const char *path, char **base);

/* Rows of one parameter, in the internal layout, as `dtype`: rows of tv_dtype_row_bytes (dtype.h), as a
 * device has them. A value that is no number, or none that f16 can hold, is TV_E_DATA. */
tv_status tv_model_directory_read_rows(const tv_model_directory *directory, uint32_t index,
                                       uint64_t first_row, uint64_t rows, tv_dtype dtype, void *out);
/* The type that a parameter is published in, of those that weights are stored in: F64 and matrices of several
 * types are F32, types of GGUF without arithmetic here Q8_0. */
tv_dtype tv_model_directory_dtype(const tv_model_directory *directory, uint32_t index);
/* All of it: `out` takes its `count` floats. */
tv_status tv_model_directory_read(const tv_model_directory *directory, uint32_t index, float *out);

/* Writes config.json, generation_config.json (for a language model) and model.safetensors into the existing
 * directory `path` (of a list with an adapter, the adapter's files in place of the model's, always as
 * floats), the weights as `dtype` (F32, F16, BF16; rounded to nearest even, TV_E_DATA for what f16 cannot
 * hold). Weights of more than `shard_bytes` (0: TV_SHARD_BYTES) become shards with an index. `source` is
 * asked for floats piece by piece, in order, and again where a turned tensor is larger than 32 MiB. Holds
 * some pieces. */
tv_status tv_model_directory_write_as(const char *path, const tv_parameter_list *list, tv_dtype dtype,
                                      uint64_t shard_bytes, tv_parameter_source source, void *context);
/* As floats, cut at TV_SHARD_BYTES. */
tv_status tv_model_directory_write(const char *path, const tv_parameter_list *list,
                                   tv_parameter_source source, void *context);

#endif
