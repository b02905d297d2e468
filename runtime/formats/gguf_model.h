/* Models as GGUF files.
 *
 * Promise: what is read is what llama.cpp would make of the file, blocks without arithmetic here taken apart
 * to floats; what is written says in llama.cpp what it says here; a file is under its name only when it is
 * whole. Norms, biases and tables of positions are F32, matrices of the type asked for, and F16 where a row
 * is no whole number of its blocks.
 */
#ifndef TV_FORMATS_GGUF_MODEL_H
#define TV_FORMATS_GGUF_MODEL_H

#include "formats/gguf.h"
#include "model/parameters.h"
#include "text/tokenizer.h"

typedef struct tv_gguf_export {
    const tv_parameter_list *list;
    tv_parameter_source source; /* asked once for each parameter, in order */
    void *context;
    const tv_tokenizer *tokenizer; /* NULL: the model has none */
    const char *where;             /* the model's path, for sentences */
    const char *name;              /* for people */
    const tv_gguf_type *type;
} tv_gguf_export;

tv_status tv_gguf_model_write(const char *path, const tv_gguf_export *export);

/* A model that is read from a file: every tensor that its config asks for is there in the right shape, and no
 * other but what holds no weights. */
typedef struct tv_gguf_model tv_gguf_model;
tv_status tv_gguf_model_open(const char *path, tv_gguf_model **model);
void tv_gguf_model_close(tv_gguf_model **model);
/* Lives as long as the model. */
const tv_parameter_list *tv_gguf_model_parameters(const tv_gguf_model *model);
/* The type that a parameter's weights have in the file; TV_Q8_0 for those that have no arithmetic here. */
tv_dtype tv_gguf_model_stored(const tv_gguf_model *model, uint32_t index);
/* As tv_model_directory_read_rows, in rows of tv_dtype_row_bytes and in any type that takes the row; blocks
 * of the file's own type keep their bits. */
tv_status tv_gguf_model_read_rows(const tv_gguf_model *model, uint32_t index, uint64_t first_row,
                                  uint64_t rows, tv_dtype dtype, void *out);

#endif
