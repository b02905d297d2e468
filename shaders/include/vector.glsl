/* One source for rows read element by element or four at a time (-DTV_VEC4, where the row length is a multiple of 4).
 *
 * TV_WIDTH elements make a tv_vec (arithmetic), a TV_ACTS (activations in memory) or a TV_PARAMS (parameters).
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
