/* Models as GGUF files.
 *
 * Promise: what is written says in llama.cpp what it says here; a file is under its name only when it is
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

#endif
