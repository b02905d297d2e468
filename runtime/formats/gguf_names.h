/* The tensors of a model as GGUF names them, and which rows of which parameter each holds.
 *
 * Promise: the entries are those of layout.h, in its order, under their names in llama.cpp; every matrix is
 * (out, in) there too. Where llama.cpp turns neighbouring channels of queries and keys instead of the two
 * halves of a head (the family "llama"), `turned_heads` says how many heads the entry's rows are, and row 2 i
 * + j of a head in the file is row j D/2 + i here. Source: gguf-py's tensor_mapping.py and
 * convert_hf_to_gguf.py of ggml-org/llama.cpp.
 */
#ifndef TV_FORMATS_GGUF_NAMES_H
#define TV_FORMATS_GGUF_NAMES_H

#include "formats/layout.h"

typedef struct tv_gguf_entry {
    const char *name;
    const char *published; /* the name in transformers */
    uint32_t parameter;
    uint64_t first_row, rows, columns; /* of the parameter */
    uint32_t rank;
    uint64_t turned_heads; /* 0: rows lie as they are */
    bool from_one;         /* the file holds 1 + the gain */
} tv_gguf_entry;

typedef struct tv_gguf_names {
    const char *family; /* general.architecture */
    const tv_gguf_entry *entries;
    uint64_t count;
} tv_gguf_names;

/* TV_E_CONFIG for a model that GGUF has no form for. */
tv_status tv_gguf_names_create(const tv_parameter_list *list, tv_gguf_names **names);
void tv_gguf_names_destroy(tv_gguf_names **names);

/* What general.architecture calls a class of transformers ("LlamaForCausalLM"); NULL where none is known. */
const char *tv_gguf_family_of(const char *architecture);
/* The class of a family; NULL for a family that is not read. */
const char *tv_gguf_architecture_of(const char *family);

/* The row of an entry that stands in row `row` of the file. */
uint64_t tv_gguf_entry_row(const tv_gguf_entry *entry, uint64_t row);

#endif
