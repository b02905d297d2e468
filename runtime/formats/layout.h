/* The layouts of published models: which tensors of a Hugging Face file make up which parameter.
 *
 * Promise: the entries cover every row of every parameter exactly once and stand in the order of the
 * parameters, so that walking them once reads or writes a whole model. What GPT-2 stores as Conv1D, (in,
 * out), is marked as transposed; q, k, v and gate, up of a Llama are rows of one parameter.
 */
#ifndef TV_FORMATS_LAYOUT_H
#define TV_FORMATS_LAYOUT_H

#include "model/parameters.h"

typedef struct tv_layout_entry {
    const char *name; /* as transformers writes it: "transformer.h.0.attn.c_attn.weight" */
    uint32_t parameter;
    uint64_t first_row, rows; /* of the parameter */
    bool transposed;          /* the file holds (columns, rows) */
    uint32_t rank;
    uint64_t shape[2]; /* in the file */
} tv_layout_entry;

typedef struct tv_layout {
    const tv_layout_entry *entries;
    uint64_t count;
    const char *prefix;    /* "transformer." or "model.": files of the headless model leave it out */
    const char *tied_head; /* the name of a tied head, which files may repeat; NULL when untied */
    const char *tied_to;   /* the name of the embedding */
} tv_layout;

/* Fails with TV_E_CONFIG when the switches are not those of the architecture. */
tv_status tv_layout_create(const tv_parameter_list *list, tv_layout **layout);
void tv_layout_destroy(tv_layout **layout);

/* Tensors that published files carry and that hold no parameter: causal masks, rotary frequencies. */
bool tv_layout_is_buffer(const char *name);

#endif
