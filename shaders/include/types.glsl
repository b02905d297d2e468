/* Types of bindings: a shader is written over these names, so that one source has variants by the types of its bindings.
 *
 * TV_ACT: activations and their gradients that are always fp32, such as the residual stream. TV_PARAM: parameters as the forward and
 * backward passes read them. Those that may be halves are TV_NARROWS of vector.glsl or TV_PAIRS of pairs.glsl. Arithmetic,
 * statistics, gradients of parameters and optimizer state are always float.
 */
#ifndef TV_TYPES_GLSL
#define TV_TYPES_GLSL

#define TV_ACT float
#define TV_ACT4 vec4
#define TV_PARAM float
#define TV_PARAM4 vec4

#ifdef TV_HALVES
#include "halves.glsl"
/* Which halves: TV_TYPE_F16 or TV_TYPE_BF16. The launcher sets it beside the workgroup's size, constant 0. */
layout(constant_id = 1) const uint tv_half_type = TV_TYPE_F16;
#endif

#endif
