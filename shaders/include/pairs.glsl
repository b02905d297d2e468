/* One source for elements read one by one, or as halves two at a time (-DTV_HALVES): TV_EACH elements make a tv_pair (arithmetic) and a
 * TV_PAIRS (in memory), read through tv_pair_value and made by TV_PAIRED.
 */
#ifndef TV_PAIRS_GLSL
#define TV_PAIRS_GLSL

#include "types.glsl"

#ifdef TV_HALVES
#define TV_EACH 2
#define tv_pair vec2
#define TV_PAIRS uint
#define TV_PAIRED(v) tv_pack_two(v, tv_half_type)

vec2 tv_pair_value(uint word) {
    return tv_unpack_two(word, tv_half_type);
}
#else
#define TV_EACH 1
#define tv_pair float
#define TV_PAIRS TV_ACT
#define TV_PAIRED(v) TV_ACT(v)

float tv_pair_value(float v) {
    return v;
}
#endif

float tv_pair_sum(float v) {
    return v;
}

float tv_pair_sum(vec2 v) {
    return v.x + v.y;
}

/* Elements TV_EACH i and on of a list of floats. */
#ifdef TV_HALVES
#define TV_PAIR_OF(list, i) vec2(list[2 * (i)], list[2 * (i) + 1])
#else
#define TV_PAIR_OF(list, i) float(list[i])
#endif

/* One element of a list. */
#ifdef TV_HALVES
#define TV_ONE_OF(list, i) tv_pair_value(list[(i) / 2])[(i) % 2]
#else
#define TV_ONE_OF(list, i) float(list[i])
#endif

#endif
