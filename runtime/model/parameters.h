/* The parameters of a model, in the order in which the forward pass meets them.
 *
 * Promise: the list and its order are a pure function of the config. Every matrix is stored as the weight of
 * a linear layer, (out, in) row-major, so y = x W^T + b whatever the family. q, k and v are one parameter
 * with rows q, then k, then v; a gated MLP's gate and up are one with rows gate, then up. Published names and
 * layouts are the business of layout.h.
 */
#ifndef TV_MODEL_PARAMETERS_H
#define TV_MODEL_PARAMETERS_H

#include "base/dtype.h"
#include "model/config.h"

typedef enum tv_parameter_role {
    TV_PARAMETER_EMBEDDING,                /* (V, C) */
    TV_PARAMETER_POSITIONS,                /* (max_positions, C), learned positions only */
    TV_PARAMETER_NORM1_GAIN,               /* (C) */
    TV_PARAMETER_NORM1_BIAS,               /* (C), LayerNorm only */
    TV_PARAMETER_QKV_WEIGHT,               /* ((H + 2 Hkv) D, C) */
    TV_PARAMETER_QKV_BIAS,                 /* ((H + 2 Hkv) D), attention_bias only */
    TV_PARAMETER_Q_NORM_GAIN,              /* (D), qk_norm only: of every query head */
    TV_PARAMETER_K_NORM_GAIN,              /* (D), qk_norm only: of every key head */
    TV_PARAMETER_ATTN_OUT_WEIGHT,          /* (C, H D) */
    TV_PARAMETER_ATTN_OUT_BIAS,            /* (C), attention_out_bias only */
    TV_PARAMETER_POST_ATTENTION_NORM_GAIN, /* (C), post_norms only */
    TV_PARAMETER_NORM2_GAIN,               /* (C) */
    TV_PARAMETER_NORM2_BIAS,               /* (C), LayerNorm only */
    TV_PARAMETER_MLP_IN_WEIGHT,            /* (F, C), or (2F, C) where gated */
    TV_PARAMETER_MLP_IN_BIAS,              /* (F) or (2F), mlp_bias only */
    TV_PARAMETER_MLP_OUT_WEIGHT,           /* (C, F) */
    TV_PARAMETER_MLP_OUT_BIAS,             /* (C), mlp_bias only */
    TV_PARAMETER_POST_MLP_NORM_GAIN,       /* (C), post_norms only */
    TV_PARAMETER_FINAL_NORM_GAIN,          /* (C) */
    TV_PARAMETER_FINAL_NORM_BIAS,          /* (C), LayerNorm only */
    TV_PARAMETER_HEAD_WEIGHT,              /* (V, C), untied language head only */
    TV_PARAMETER_SCORE_WEIGHT, /* (1, C), score head only: score = final . weight, without a bias */
    TV_PARAMETER_ADAPTER_A,    /* (r, columns of the matrix), behind the matrix that it adds to */
    TV_PARAMETER_ADAPTER_B,    /* (rows of the target, r) */
    TV_PARAMETER_ROLES
} tv_parameter_role;

typedef enum tv_parameter_init {
    TV_INIT_NORMAL,
    TV_INIT_UNIFORM,
    TV_INIT_ZERO,
    TV_INIT_ONE
} tv_parameter_init;

/* How what is trained is updated, in the order of the choices of train.optimizer. */
typedef enum tv_optimizer { TV_OPTIMIZER_ADAMW, TV_OPTIMIZER_MUON, TV_OPTIMIZER_ADAMW8 } tv_optimizer;

/* The layer of a parameter that belongs to none, and the index of a parameter that a model lacks. */
#define TV_NO_LAYER     UINT32_MAX
#define TV_NO_PARAMETER UINT32_MAX

typedef struct tv_parameter {
    const char *name; /* "layer 3 qkv weight": for sentences and labels */
    tv_parameter_role role;
    uint32_t layer;         /* from 0, or TV_NO_LAYER */
    uint32_t rank;          /* 1 or 2 */
    uint64_t shape[2];      /* (rows, columns); columns is 1 where the rank is 1 */
    uint64_t count;         /* elements */
    bool decay;             /* weight decay applies: rank 2 */
    tv_dtype storage;       /* of the weights that the passes read; see tv_parameter_choice */
    bool trainable;         /* has a gradient and moments; else the parameter stays as it was loaded */
    tv_optimizer optimizer; /* of what is trained: decides its moments and its update. Muon's are hidden
                               matrices, those with moments of 8 bits have tv_moment8_words; the rest
                               of such a list is AdamW's */
    tv_parameter_init init;
    float init_std;  /* of TV_INIT_NORMAL; of TV_INIT_UNIFORM the bound */
    uint32_t target; /* of an adapter's parameter: the number of its target */
} tv_parameter;

/* The rows of a matrix that one pair of A and B adds to: a published matrix, such as q of the fused qkv. */
typedef struct tv_adapter_target {
    tv_parameter_role role;
    uint64_t first_row, rows;
} tv_adapter_target;

/* An adapter set (LoRA, see adapters.h): the same targets in every layer. */
enum { TV_ADAPTER_TARGETS = 8 };
typedef struct tv_adapter {
    uint64_t rank; /* r; 0: none */
    double alpha;
    bool rslora;           /* scale alpha / sqrt(r) and not alpha / r */
    uint32_t target_count; /* in the order of the roles, and of the rows within one */
    tv_adapter_target targets[TV_ADAPTER_TARGETS];
    /* For those who write adapters: where the frozen weights are, and which (formats/adapter_base.h). */
    const char *base, *base_values;
} tv_adapter;

/* What x A^T B^T is multiplied with. */
double tv_adapter_scale(const tv_adapter *adapter);
/* The number of a target among those of its matrix, and the most that one matrix has. */
uint32_t tv_adapter_place(const tv_adapter *adapter, uint32_t target);
uint32_t tv_adapter_places(const tv_adapter *adapter);
bool tv_adapter_adds_to(const tv_adapter *adapter, tv_parameter_role matrix);

/* The processes that train a model together and divide the state of what is trained among them (stretches.h),
 * and which of them this one is. A count of 0 or 1: there is no other. */
typedef struct tv_owners {
    uint32_t own, count;
} tv_owners;

/* The list's order is the order of the forward pass, so that what lies before a parameter is what its
 * gradient flows to: the backward pass relies on it. */
typedef struct tv_parameter_list {
    tv_model_config config;
    const tv_parameter *items;
    uint32_t count;
    uint64_t elements;                  /* of all parameters; the model's size as people state it */
    uint64_t trainable_elements;        /* of those that are trained */
    uint32_t trainable_count;           /* of them */
    uint64_t max_elements;              /* of the largest one */
    uint32_t first[TV_PARAMETER_ROLES]; /* index in layer 0, or TV_NO_PARAMETER */
    uint32_t per_layer;                 /* parameters of one layer, those of adapters too */
    tv_adapter adapter;                 /* rank 0: none */
    tv_optimizer optimizer;             /* that was chosen; each parameter has what it comes to for it */
    tv_owners owners;                   /* set by whoever makes the list for several processes */
} tv_parameter_list;

/* What is decided of a list besides its config. */
typedef struct tv_parameter_choice {
    const bool *trainable; /* of each parameter of the config's list; NULL: all, or with an adapter none */
    bool score;            /* with an adapter and without `trainable`: a score head is trained too */
    /* The type that each is to be stored as; NULL: f32. Vectors, positions, score heads and adapters are f32
     * all the same; where q4_0 is asked of what is trained, or blocks of rows that are no multiple of 32, it
     * is bf16. */
    const tv_dtype *storage;
    const tv_adapter *adapter; /* its own parameters are trained; NULL: none */
    tv_optimizer optimizer;
} tv_parameter_choice;

/* Checks the config first. Without a choice everything is trained. */
tv_status tv_parameter_list_create(const tv_model_config *config, tv_parameter_list **list);
tv_status tv_parameter_list_create_chosen(const tv_model_config *config, const tv_parameter_choice *choice,
                                          tv_parameter_list **list);
/* A list of the same parameters, with what was decided of them, for a config that differs in nothing of their
 * shapes. */
tv_status tv_parameter_list_create_like(const tv_parameter_list *other, const tv_model_config *config,
                                        tv_parameter_list **list);
/* A list that differs in the types of storage alone, those of a choice. */
tv_status tv_parameter_list_create_stored(const tv_parameter_list *other, const tv_dtype *storage,
                                          tv_parameter_list **list);
/* A list that differs in how what is trained is updated. */
tv_status tv_parameter_list_create_optimized(const tv_parameter_list *other, tv_optimizer optimizer,
                                             tv_parameter_list **list);
void tv_parameter_list_destroy(tv_parameter_list **list);

/* What a parameter is there for, as the labels of recorded work say it: "qkv", "mlp in", "norm1". */
const char *tv_parameter_operation(tv_parameter_role role);
/* The role itself: "qkv weight", "norm1 gain". */
const char *tv_parameter_role_name(tv_parameter_role role);

/* The rows of each published matrix that a matrix of a block holds (q, k, v; gate, up; or itself), in their
 * order. Returns how many there are. */
enum { TV_PARAMETER_MATRICES = 3 };
uint32_t tv_parameter_matrices(const tv_model_config *config, const tv_parameter *parameter,
                               uint64_t rows[TV_PARAMETER_MATRICES]);

/* Position in the list, or TV_NO_PARAMETER. `layer` is not looked at for roles outside the layers. */
uint32_t tv_parameter_index(const tv_parameter_list *list, tv_parameter_role role, uint32_t layer);
bool tv_parameter_is_of_adapter(const tv_parameter *parameter);
/* Of a target of the adapter in a layer: TV_PARAMETER_ADAPTER_A or _B. */
uint32_t tv_parameter_adapter(const tv_parameter_list *list, uint32_t target, uint32_t layer,
                              tv_parameter_role role);
/* The same parameter in `list`, by role, layer and target of its own list's `adapter`; TV_NO_PARAMETER where
 * there is none. */
uint32_t tv_parameter_in(const tv_parameter_list *list, const tv_parameter *parameter,
                         const tv_adapter *adapter);
/* The matrix that makes logits: HEAD_WEIGHT, or EMBEDDING where tied; TV_NO_PARAMETER with a score head. */
uint32_t tv_parameter_head(const tv_parameter_list *list);

/* Yields rows [first_row, first_row + rows) of parameter `index` as `dtype`: fills `out`. Whoever asks does
 * so in pieces, so that the host never holds a large tensor as a whole. */
typedef tv_status (*tv_parameter_source)(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                                         tv_dtype dtype, void *out);

/* How many rows of a parameter make a piece: within TV_PIECE_BYTES as floats, but four rows at least, so that
 * every piece begins at a multiple of 4 bytes in any type. */
#define TV_PIECE_BYTES (UINT64_C(16) << 20)
uint64_t tv_parameter_piece_rows(const tv_parameter *parameter);
/* Elements of the largest piece of any parameter. */
uint64_t tv_parameter_piece_elements(const tv_parameter_list *list);
/* TV_E_USAGE for another type than TV_F32, in sources that know no other. */
tv_status tv_parameter_expect_floats(tv_dtype dtype);

/* GPT-2's initialisation (Radford et al. 2019; residual projections scaled by 1/sqrt(2L)), and normal(0,
 * 1/sqrt(C + 1)) for a score head (Stiennon et al. 2020, so that scores start near deviation 1), of rows
 * [first_row, first_row + rows) of one parameter. Element i of the parameter is drawn at (seed,
 * TV_STREAM_INIT, step = index in the list, i). */
void tv_parameter_initialise(const tv_parameter_list *list, uint32_t index, uint64_t seed, uint64_t first_row,
                             uint64_t rows, float *out);
/* The same as rows of any type that weights are stored in, by way of floats. */
tv_status tv_parameter_initialise_as(const tv_parameter_list *list, uint32_t index, uint64_t seed,
                                     uint64_t first_row, uint64_t rows, tv_dtype dtype, void *out);

#endif
