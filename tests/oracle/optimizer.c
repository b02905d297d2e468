/* Double-precision references of the update: see optimizer.h. */
#include "oracle/optimizer.h"

#include <math.h>

#include "base/rng.h"

double oracle_norm(uint64_t count, const float *x) {
    double sum = 0;
    for (uint64_t i = 0; i < count; i++)
        sum += (double)x[i] * (double)x[i];
    return sqrt(sum);
}

void oracle_adamw(const oracle_adamw_settings *s, uint64_t t, int decay, uint64_t count,
                  const double *gradient, double *parameter, double *m, double *v) {
    double correction1 = 1 - pow(s->beta1, (double)t), correction2 = 1 - pow(s->beta2, (double)t);
    for (uint64_t i = 0; i < count; i++) {
        if (decay)
            parameter[i] *= 1 - s->lr * s->weight_decay;
        m[i] = s->beta1 * m[i] + (1 - s->beta1) * gradient[i];
        v[i] = s->beta2 * v[i] + (1 - s->beta2) * gradient[i] * gradient[i];
        double denominator = sqrt(v[i]) / sqrt(correction2) + s->eps;
        parameter[i] -= s->lr / correction1 * m[i] / denominator;
    }
}

/* ---- moments of 8 bits ---- */

enum { TOP = 15, BIAS = 127, LEAST = 65 };

double oracle_moment8_value(unsigned code, int bits, unsigned exponent) {
    double fraction = (double)(code & ((1u << bits) - 1)) / (double)(1u << bits);
    int level = (int)(code >> bits);
    if (exponent == 0)
        return 0;
    if (level == 0)
        return ldexp(fraction, (int)exponent - BIAS - TOP + 1);
    return ldexp(1 + fraction, (int)exponent - BIAS - TOP + level);
}

/* The least exponent under whose top code every element rounds. */
static unsigned exponent_of(double largest, int bits, int *doubt) {
    int power;
    if (!(largest > 0))
        return LEAST;
    double size = 2 * frexp(largest, &power), limit = 2 - ldexp(1, -bits); /* 1 to 2 */
    *doubt |= fabs(size - limit) < 1e-5 || size > 2 - 1e-5;
    int exponent = power - 1 + BIAS + (size >= limit);
    return exponent > LEAST ? (unsigned)exponent : LEAST;
}

static unsigned code_of(double x, int bits, unsigned exponent, unsigned random, unsigned char *doubt) {
    int power;
    frexp(x, &power);
    int level = power - 1 + BIAS - (int)exponent + TOP, lowest = level > 1 ? level : 1;
    if (!(x > 0) || 1 - level > 8 + bits) /* too small to be rounded up */
        return 0;
    double steps = ldexp(x, -((int)exponent - BIAS - TOP + lowest - bits));
    double below = floor(steps), missing = below + 1 - steps, luck = (random + 0.5) / 65536;
    *doubt |= fabs(missing - luck) < 2e-4;
    return ((unsigned)(lowest - 1) << bits) + (unsigned)below + (luck >= missing);
}

void oracle_adamw8(const oracle_adamw_settings *s, uint64_t t, int decay, uint32_t number, uint64_t count,
                   const double *gradient, double *parameter, oracle_moment8 *m, oracle_moment8 *v) {
    enum { M_BITS = 3, ROOT_BITS = 4 };
    const tv_rng rng = {.seed = number, .stream = TV_STREAM_MOMENTS, .step = (uint32_t)t};
    double first[ORACLE_MOMENT_BLOCK], second[ORACLE_MOMENT_BLOCK];
    for (uint64_t begin = 0; begin < count; begin += ORACLE_MOMENT_BLOCK) {
        uint64_t block = begin / ORACLE_MOMENT_BLOCK,
                 size = count - begin < ORACLE_MOMENT_BLOCK ? count - begin : ORACLE_MOMENT_BLOCK;
        double largest = 0, largest_root = 0;
        for (uint64_t i = 0; i < size; i++) {
            unsigned char code = m->codes[begin + i];
            double value = oracle_moment8_value(code & 0x7f, M_BITS, m->exponents[block]),
                   root = oracle_moment8_value(v->codes[begin + i], ROOT_BITS, v->exponents[block]);
            first[i] = code & 0x80 ? -value : value;
            second[i] = root * root;
        }
        oracle_adamw(s, t, decay, size, gradient + begin, parameter + begin, first, second);
        for (uint64_t i = 0; i < size; i++) {
            largest = fmax(largest, fabs(first[i]));
            largest_root = fmax(largest_root, sqrt(second[i]));
        }
        int doubt_m = 0, doubt_v = 0;
        m->exponents[block] = exponent_of(largest, M_BITS, &doubt_m);
        v->exponents[block] = exponent_of(largest_root, ROOT_BITS, &doubt_v);
        for (uint64_t i = 0; i < size; i++) {
            uint32_t words[4];
            tv_philox(&rng, (begin + i) / 4, words);
            uint32_t random = words[(begin + i) % 4];
            unsigned char *in_doubt_m = &m->doubt[begin + i], *in_doubt_v = &v->doubt[begin + i];
            *in_doubt_m = doubt_m ? 2 : 0;
            *in_doubt_v = doubt_v ? 2 : 0;
            unsigned code = code_of(fabs(first[i]), M_BITS, m->exponents[block], random & 0xffff, in_doubt_m);
            m->codes[begin + i] = (unsigned char)(code | (signbit(first[i]) ? 0x80 : 0));
            code = code_of(sqrt(second[i]), ROOT_BITS, v->exponents[block], random >> 16, in_doubt_v);
            v->codes[begin + i] = (unsigned char)(code ? code : 1);
        }
    }
}
