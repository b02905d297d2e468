/* Which weights an adapter was made over: adapter_base.json beside its two files, so that another base of the
 * same sizes is noticed wherever the adapter is read. PEFT reads only the files that it knows, so that it
 * lies in a file of its own and not in adapter_config.json, where older versions refuse further keys.
 *
 *     {"stored": "bf16", "values": [...]}
 *
 * eight values of every matrix of the blocks, as floats in the internal layout (parameters.h), at places that
 * follow from its shape alone. Shards, file formats and permutations of rows leave them as they are, and they
 * cost 16 rows to read for a layer of the Llama's. What was changed elsewhere alone is not seen.
 */
#ifndef TV_FORMATS_ADAPTER_BASE_H
#define TV_FORMATS_ADAPTER_BASE_H

#include "formats/directory.h"

/* The file's text for a base, which the caller frees with free(). */
tv_status tv_adapter_base_describe(const tv_model_directory *base, char **text);

/* Whether an opened adapter lies over the weights that it was made over. TV_E_DATA where they are others.
 * Weights that are rounded otherwise (exported as bf16, read from a GGUF file) are taken for the same as long
 * as rounding explains what they differ by, which is logged. An adapter without the file, as from PEFT, is
 * warned of where it names another base than it lies over. Of a model without an adapter nothing is asked. */
tv_status tv_adapter_base_check(const tv_model_directory *directory);

#endif
