/* The table of element types: see safetensors_types.h. */
#include "formats/safetensors_types.h"

static const tv_safetensors_type types[] = {
    {"F32", 4, true, TV_F32},      {"F16", 2, true, TV_F16},      {"BF16", 2, true, TV_BF16},
    {"F64", 8, true, TV_F64},      {"I64", 8, false, TV_F32},     {"U64", 8, false, TV_F32},
    {"I32", 4, false, TV_F32},     {"U32", 4, false, TV_F32},     {"I16", 2, false, TV_F32},
    {"U16", 2, false, TV_F32},     {"I8", 1, false, TV_F32},      {"U8", 1, false, TV_F32},
    {"BOOL", 1, false, TV_F32},    {"F8_E4M3", 1, false, TV_F32}, {"F8_E5M2", 1, false, TV_F32},
    {"F8_E8M0", 1, false, TV_F32}, {"C64", 8, false, TV_F32},
};

const tv_safetensors_type *tv_safetensors_find_type(const char *name) {
    for (size_t i = 0; i < TV_COUNT(types); i++)
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    return NULL;
}
