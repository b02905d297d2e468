/* kernels.def as a table of programs: see registry.h. */
#include "kernels/registry.h"

#include "push_constants.h"

#define TV_KERNEL(name, push_type, flops_formula, bytes_formula, ...)                                        \
    static void cost_##name(const void *push, double *flops, double *bytes) {                                \
        const push_type *p = push;                                                                           \
        (void)p;                                                                                             \
        *flops = (flops_formula);                                                                            \
        *bytes = (bytes_formula);                                                                            \
    }                                                                                                        \
    static const tv_access access_##name[] = {__VA_ARGS__};                                                  \
    enum { push_bytes_##name = sizeof(push_type) };
#define TV_VARIANT(kernel, variant, source, defines, local_size)
#include "kernels/kernels.def"
#undef TV_KERNEL
#undef TV_VARIANT

static const tv_program programs[] = {
#define TV_KERNEL(name, push, flops, bytes, ...)
#define TV_VARIANT(kernel, variant, source, defines, invocations)                                            \
    TV_TIER_VARIANT(TV_TIER_FP32, kernel, variant, source, defines, invocations)
#define TV_TIER_VARIANT(needed, kernel, variant, source, defines, invocations)                               \
    {.name = #kernel "." #variant,                                                                           \
     .tier = needed,                                                                                         \
     .shader = &tv_embedded_shaders[TV_PROGRAM_##kernel##_##variant],                                        \
     .local_size = invocations,                                                                              \
     .push_bytes = push_bytes_##kernel,                                                                      \
     .binding_count = sizeof access_##kernel / sizeof *access_##kernel,                                      \
     .access = access_##kernel,                                                                              \
     .cost = cost_##kernel},
#include "kernels/kernels.def"
#undef TV_KERNEL
#undef TV_VARIANT
};

const tv_program *tv_program_get(tv_program_id id) {
    return &programs[id];
}

tv_program_id tv_program_of_tier(tv_program_id f16, tv_tier tier) {
    return (tv_program_id)(f16 + (tier == TV_TIER_CM_BF16));
}
