/* Functions that drivers give less of than the mathematics promises. */
#ifndef TV_MATHS_GLSL
#define TV_MATHS_GLSL

/* Some drivers compute tanh as a quotient of exponentials and return NaN for large arguments; beyond 10 it is +-1 in fp32. */
float tv_tanh(float x) {
    return tanh(clamp(x, -10.0, 10.0));
}

#endif
