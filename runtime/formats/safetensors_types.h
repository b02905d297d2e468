/* The element types of safetensors files, for the files that read and write them. */
#ifndef TV_FORMATS_SAFETENSORS_TYPES_H
#define TV_FORMATS_SAFETENSORS_TYPES_H

#include "base/bytes.h"
#include "base/dtype.h"

typedef struct tv_safetensors_type {
    const char *name;
    uint64_t bytes;
    bool is_weights; /* values that weights are read from, as `dtype` */
    tv_dtype dtype;
} tv_safetensors_type;

/* NULL for a type that the format lacks. */
const tv_safetensors_type *tv_safetensors_find_type(const char *name);

#endif
