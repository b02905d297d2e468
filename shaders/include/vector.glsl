/* One source for rows read element by element or four at a time (-DTV_VEC4, where the row length is a multiple of 4).
 *
 * TV_WIDTH elements make a tv_vec (arithmetic), a TV_ACTS (activations in memory), a TV_PARAMS (parameters), or a TV_NARROWS: activations
 * that are halves with -DTV_HALVES, which goes with TV_VEC4. These are read through tv_value and made by TV_NARROWED.
 */
#ifndef TV_VECTOR_GLSL
#define TV_VECTOR_GLSL

#include "types.glsl"

#ifdef TV_VEC4
#define TV_WIDTH 4
#define tv_vec vec4
#define TV_ACTS TV_ACT4
#define TV_PARAMS TV_PARAM4
#else
#define TV_WIDTH 1
#define tv_vec float
#define TV_ACTS TV_ACT
#define TV_PARAMS TV_PARAM
#endif

float tv_value(float v) {
    return v;
}

vec4 tv_value(vec4 v) {
    return v;
}

#ifdef TV_HALVES
#define TV_NARROWS uvec2
#define TV_NARROWED(v) tv_narrowed(v)

vec4 tv_value(uvec2 words) {
    return vec4(tv_unpack_two(words.x, tv_half_type), tv_unpack_two(words.y, tv_half_type));
}

uvec2 tv_narrowed(vec4 v) {
    return uvec2(tv_pack_two(v.xy, tv_half_type), tv_pack_two(v.zw, tv_half_type));
}
#else
#define TV_NARROWS TV_ACTS
#define TV_NARROWED(v) TV_ACTS(v)
#endif

float tv_sum_of(float v) {
    return v;
}

float tv_sum_of(vec4 v) {
    return (v.x + v.y) + (v.z + v.w);
}

float tv_max_of(float v) {
    return v;
}

float tv_max_of(vec4 v) {
    return max(max(v.x, v.y), max(v.z, v.w));
}

#endif
