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

/* e^x - 1 for x <= 0 with all its digits near 0, where the difference would lose them. The series to the ninth power errs below
 * 1e-8 relative at -0.5; from there on the exponential is good. */
float tv_expm1(float x) {
    if (x > -0.5)
        return x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 *
               (1.0 + x / 6.0 * (1.0 + x / 7.0 * (1.0 + x / 8.0 * (1.0 + x / 9.0))))))));
    /* Below -80 it is -1 in fp32; the bound also takes minus infinity. */
    return exp(max(x, -80.0)) - 1.0;
}

#endif
