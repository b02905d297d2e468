/* What a model directory is inside, for the files that open it and that read its weights. */
#ifndef TV_FORMATS_DIRECTORY_OWN_H
#define TV_FORMATS_DIRECTORY_OWN_H

#include "formats/directory.h"
#include "formats/gguf_model.h"
#include "formats/layout.h"
#include "formats/peft.h"
#include "formats/safetensors.h"

typedef struct shard {
    char *path;
    const char *name; /* the last part of the path */
    tv_safetensors *file;
} shard;

/* Where a named tensor lies; the name is the tensor's. */
typedef struct place {
    const tv_safetensor *tensor;
    const shard *shard;
    bool used;
} place;

struct tv_model_directory {
    char *path;
    tv_gguf_model *gguf; /* the model is this file; NULL: a directory */
    tv_parameter_list *list;
    tv_layout *layout;
    shard *shards;
    uint64_t n_shards;
    place *places; /* sorted by name */
    uint64_t n_places;
    uint64_t *of_entry; /* for each entry of the layout, the number of its place */
    tv_peft *peft;      /* of an adapter, which has none of layout to of_entry; */
    tv_model_directory *base;
};

#endif
