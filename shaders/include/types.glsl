/* Storage and arithmetic types: a shader is written over these names, so that a half-precision tier is a variant of
 * the same source (-DTV_STORAGE_F16).
 *
 * TV_ACT: activations and their gradients in memory. TV_PARAM: parameters as the forward and backward passes read them.
 * Arithmetic, statistics, gradients of parameters and optimizer state are always float.
 */
#ifndef TV_TYPES_GLSL
#define TV_TYPES_GLSL

#ifdef TV_STORAGE_F16
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#define TV_ACT float16_t
#define TV_ACT4 f16vec4
#define TV_PARAM float16_t
#define TV_PARAM4 f16vec4
#else
#define TV_ACT float
#define TV_ACT4 vec4
#define TV_PARAM float
#define TV_PARAM4 vec4
#endif

#endif
