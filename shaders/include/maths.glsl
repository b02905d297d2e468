/* Functions that drivers give less of than the mathematics promises. */
#ifndef TV_MATHS_GLSL
#define TV_MATHS_GLSL

/* e^-x for sigmoids, tanh and their kin: held below 2^126, so that neither it nor 1/(1 + e^-x) leaves the normal numbers. Write tanh as
 * 2/(1 + tv_exp_minus(2x)) - 1: some drivers compute it as a quotient of exponentials and return NaN for large arguments.
 */
float tv_exp_minus(float x) {
    return exp(-max(x, -87.0));
}

vec4 tv_exp_minus(vec4 x) {
    return exp(-max(x, -87.0));
}

#endif
