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

/* GELU, the tanh approximation: x/2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2/pi) (x + 0.044715 x^3). This is its e^-2u; precise, so
 * that every kernel computes the same bits. */
const float tv_sqrt_2_over_pi = 0.7978845608028654;

float tv_gelu_exp(float x) {
    precise float double_u = 2.0 * tv_sqrt_2_over_pi * x * (1.0 + 0.044715 * x * x);
    return tv_exp_minus(double_u);
}

vec4 tv_gelu_exp(vec4 x) {
    precise vec4 double_u = 2.0 * tv_sqrt_2_over_pi * x * (1.0 + 0.044715 * x * x);
    return tv_exp_minus(double_u);
}

/* e^x - 1 with all its digits near 0, where the difference would lose them, and exactly 0 at 0. The series to the ninth power errs
 * below 1e-8 relative at -0.5 and 0.5; from there on the exponential is good. */
float tv_expm1(float x) {
    if (abs(x) < 0.5)
        return x * (1.0 + x / 2.0 * (1.0 + x / 3.0 * (1.0 + x / 4.0 * (1.0 + x / 5.0 *
               (1.0 + x / 6.0 * (1.0 + x / 7.0 * (1.0 + x / 8.0 * (1.0 + x / 9.0))))))));
    /* Below -80 it is -1 in fp32; the bound also takes minus infinity. */
    return exp(max(x, -80.0)) - 1.0;
}

/* log(1 + x) for x >= 0 with all its digits near 0: 2 atanh(x / (2 + x)), whose series to the ninth power errs below 1e-8 relative at 0.5;
 * from there on the logarithm is good. */
float tv_log1p(float x) {
    if (x > 0.5)
        return log(1.0 + x);
    float s = x / (2.0 + x), q = s * s;
    return 2.0 * s * (1.0 + q * (1.0 / 3.0 + q * (1.0 / 5.0 + q * (1.0 / 7.0 + q * (1.0 / 9.0)))));
}

/* log(1 + e^x) = -log sigmoid(-x), for any finite x. */
float tv_softplus(float x) {
    return max(x, 0.0) + tv_log1p(tv_exp_minus(abs(x)));
}

float tv_sigmoid(float x) {
    return 1.0 / (1.0 + tv_exp_minus(x));
}

/* Written out, because some drivers take functions of NaN for numbers. */
bool tv_is_finite(float x) {
    return abs(x) <= 3.4028234e38;
}

#define TV_NAN uintBitsToFloat(0x7fc00000u)

#endif
