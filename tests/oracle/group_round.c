/* Rounding by value, not by bits: see group_round.h. */
#include "oracle/group_round.h"

#include <math.h>

double oracle_bfloat16(double x) {
    enum { DIGITS = 8, LEAST = -133 };
    int exponent;
    if (!isfinite(x) || x == 0)
        return x;
    (void)frexp(x, &exponent);
    const int step = exponent - DIGITS > LEAST ? exponent - DIGITS : LEAST;
    const double rounded = ldexp(rint(ldexp(x, -step)), step); /* rint: halves to even */
    return fabs(rounded) >= ldexp(1, 128) ? copysign(INFINITY, x) : rounded;
}

double oracle_group_round(float group, double *error, double scale) {
    const double x = (double)(float)((double)group + scale * *error), given = oracle_bfloat16(x);
    *error = isfinite(given) ? oracle_bfloat16((x - given) / scale) : 0;
    return given;
}
