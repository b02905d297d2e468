/* The table of published families: what config.json calls things, and which switches a family sets.
 *
 * A new family is a row here, the names of its tensors in formats/layout.c, and a switch of tv_model_config
 * where its arithmetic is new. Nothing else asks which family a model is of.
 */
#ifndef TV_MODEL_FAMILIES_H
#define TV_MODEL_FAMILIES_H

#include "model/config.h"

/* A size under the name that a family gives it. */
typedef struct tv_size_key {
    const char *key, *alias;
    size_t offset; /* of a uint64_t in tv_model_config */
    uint64_t maximum;
    uint64_t fallback; /* TV_SIZE_REQUIRED, TV_SIZE_DERIVED, or the family's default */
} tv_size_key;
enum { TV_SIZE_REQUIRED = 0, TV_SIZE_DERIVED = UINT32_MAX };

/* With these bounds a layer has fewer than 2^45 parameters, all layers fewer than 2^57. */
enum {
    TV_MAX_HEADS = 1 << 16,
    TV_MAX_HEAD_SIZE = 1 << 16,
    TV_MAX_CHANNELS = 1 << 20,
    TV_MAX_FFN = 1 << 22,
    TV_MAX_ROWS = INT32_MAX, /* vocabulary, positions */
};

/* A key with values that mean what the arithmetic does, absent ones included; any other is refused. */
typedef struct tv_fixed_key {
    const char *key;
    const char *texts[2]; /* either; both NULL: the key is a number or a flag */
    double number;        /* or a flag as 0 or 1; NAN: only null, false and 0, which switch it off */
} tv_fixed_key;

/* Which layers are local. */
typedef enum tv_window_style {
    TV_WINDOW_NONE,     /* none */
    TV_WINDOW_ALL,      /* all, where sliding_window is a number */
    TV_WINDOW_SWITCHED, /* from max_window_layers on, or as layer_types says, where use_sliding_window is true
                         */
    TV_WINDOW_PATTERN,  /* all but every sliding_window_pattern-th, or as layer_types says */
} tv_window_style;

typedef struct tv_family {
    const char *name, *model_type;
    const char *architectures[2]; /* in the order of tv_model_head */
    const char *headless;         /* files of the body alone; read as a language model */
    const char *channels_key, *heads_key;
    const tv_size_key *sizes;
    uint64_t size_count;
    const char *norm_eps_key;
    const char *attention_bias_key; /* sets both biases of attention; NULL: as in the defaults */
    const char *mlp_bias_key;       /* likewise */
    bool whole_heads;               /* H D = C and Hkv = H */
    tv_window_style window_style;
    uint64_t window_fallback; /* of sliding_window where the key is absent */
    bool has_local_rotary;    /* local layers have a base of their own, and rope_parameters a part for each */
    const char *query_scalar_key; /* NULL: D */
    tv_model_config defaults;     /* switches and constants; sizes are 0, no token ids */
    tv_fixed_key fixed[8];        /* up to the first without a key */
    const char *other_keys[16];   /* known besides, up to the first NULL */
} tv_family;

/* Of an architecture below TV_ARCH_COUNT. */
const tv_family *tv_family_of(tv_architecture architecture);

#endif
