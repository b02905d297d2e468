/* Which tensors an update takes together: many of them in one dispatch, whose workgroups look up in a table
 * which part of which tensor is theirs (shaders/include/segments.glsl).
 *
 * Promise: tensors that lie in the same buffers, as a model's do, are one dispatch as far as the device binds
 * their bytes at once. The order of every sum follows from the tensors alone: how they are cut and put
 * together changes no bit.
 */
#ifndef TV_KERNELS_UPDATE_PLAN_H
#define TV_KERNELS_UPDATE_PLAN_H

#include "kernels/launch.h"

typedef enum tv_update_rule {
    TV_UPDATE_ADAMW,
    TV_UPDATE_ADAMW8,    /* with moments of 8 bits */
    TV_UPDATE_NARROW,    /* nothing but the weights of a type narrower than fp32, made from the masters */
    TV_UPDATE_ELSEWHERE, /* its gradient counts in the norm; what else becomes of it is recorded by others */
    TV_UPDATE_FOREIGN,   /* another process's: a place in the norm's partial sums, and nothing else */
} tv_update_rule;

/* One tensor that is trained, or a stretch of one: stretches of a tensor follow each other in order, and all
 * of them are there. */
typedef struct tv_update_tensor {
    uint64_t count; /* elements */
    /* Of a stretch: the elements before it, a multiple of TV_REDUCE_BLOCK (of tv_update_moment8_granule with
     * moments of 8 bits), and those of the tensor. 0: it is all of it. */
    uint64_t first, whole;
    tv_update_rule rule;
    bool decay;          /* weight decay applies to tensors of two and more dimensions */
    tv_tensor parameter; /* fp32 master weights, updated */
    tv_tensor gradient;  /* fp32; read, then set to 0 for the next step */
    tv_tensor m, v;      /* fp32 moments, or tv_moment8_words each */
    uint32_t number;     /* in the list of parameters: whose bits round moments of 8 bits */
    tv_tensor
        weights; /* rows of `columns` in f16, bf16 or q8_0, made of the masters; absent: these are them */
    uint64_t columns;
} tv_update_tensor;

typedef enum tv_update_pass {
    TV_PASS_NORM,
    TV_PASS_ADAMW_VECTORS,
    TV_PASS_ADAMW_SCALARS,
    TV_PASS_ADAMW8,
    TV_PASS_NARROW_F16,
    TV_PASS_NARROW_BF16,
    TV_PASS_NARROW_Q8_0
} tv_update_pass;

/* What a pass binds beside the table, in the order of tv_update_group.spans. */
enum {
    TV_UPDATE_PARAMETER,
    TV_UPDATE_GRADIENT,
    TV_UPDATE_M,
    TV_UPDATE_V,
    TV_UPDATE_WEIGHTS,
    TV_UPDATE_SPANS
};

/* One dispatch. */
typedef struct tv_update_group {
    tv_update_pass pass;
    uint64_t count, workgroups;     /* elements of all segments; of all */
    uint32_t first, segments;       /* in the table */
    tv_span spans[TV_UPDATE_SPANS]; /* from the first byte of any segment to the last one of any */
} tv_update_group;

typedef struct tv_update_plan {
    struct tv_update_segment *table; /* what the device reads: tv_update_segments of each tensor at most */
    uint64_t segment_count;
    tv_update_group *groups;
    uint32_t group_count;
    uint64_t partials; /* floats of the gradient norm */
} tv_update_plan;

/* The most segments that a tensor makes. TV_E_FIT where the device binds less than a block. */
tv_status tv_update_segments(const tv_caps *caps, uint64_t count, uint64_t *segments);
/* Floats of the norm's partial sums of a tensor, a multiple of 64; those of several lie one after another. */
uint64_t tv_gradient_norm_partials(uint64_t count);
/* Of a stretch of a tensor: the place of its partial sums among those of the tensor, and how many they are.
 */
void tv_gradient_norm_place(uint64_t first, uint64_t count, uint64_t whole, uint64_t *place,
                            uint64_t *partials);

/* Words of a moment of 8 bits; 0 for a tensor that has none: of few elements, which cost nothing, or whose
 * count is no multiple of 4. */
uint64_t tv_moment8_words(uint64_t count);
/* Elements at whose multiples stretches of it may begin. */
uint64_t tv_update_moment8_granule(void);
/* Whether TV_MOMENT_WORDS words can be a piece of one: every exponent 0 or what adamw8.comp writes. */
bool tv_moment8_is_sound(const uint32_t *words);

/* `tensors` in the order in which the norm adds them. The caller destroys. */
tv_status tv_update_plan_create(const tv_caps *caps, const tv_update_tensor *tensors, uint32_t count,
                                tv_update_plan **plan);
void tv_update_plan_destroy(tv_update_plan **plan);

#endif
