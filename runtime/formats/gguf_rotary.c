/* Factors of rotary frequencies: see gguf_rotary.h. */
#include "formats/gguf_rotary.h"

#include <math.h>

enum { MOST_PAIRS = 4096 };

static const double two_pi = 6.283185307179586;

bool tv_gguf_has_rotary_factors(const tv_model_config *config) {
    return config->positions == TV_POSITIONS_ROTARY && config->rotary.kind == TV_ROTARY_LLAMA3;
}

void tv_gguf_rotary_factors(const tv_model_config *config, float *factors) {
    const tv_rotary_scaling plain = {.kind = TV_ROTARY_PLAIN, .theta = config->rotary.theta};
    for (uint64_t i = 0; i < config->head_size / 2; i++)
        factors[i] = (float)(tv_rotary_frequency(&plain, config->head_size, i) /
                             tv_rotary_frequency(&config->rotary, config->head_size, i));
}

static bool gives(const tv_model_config *config, const float *factors) {
    float again[MOST_PAIRS];
    if (!(config->rotary.low_factor > 0 && config->rotary.high_factor > config->rotary.low_factor))
        return false;
    tv_gguf_rotary_factors(config, again);
    for (uint64_t i = 0; i < config->head_size / 2; i++)
        if (!(fabs((double)again[i] - (double)factors[i]) <= 1e-4 * fabs((double)factors[i])))
            return false;
    return true;
}

/* The share of a frequency that is kept is a line over its waves in the original positions, from 0 at
 * low_factor to 1 at high_factor. Two pairs on it say where the ends are; where fewer are, the ends are as
 * far out as the pairs beyond them allow. */
static void find_line(const tv_model_config *config, const float *factors, tv_rotary_scaling *r) {
    const tv_rotary_scaling plain = {.kind = TV_ROTARY_PLAIN, .theta = r->theta};
    double waves[2] = {0}, shares[2] = {0}, most_divided = 0, least_kept = INFINITY;
    int found = 0;
    for (uint64_t i = 0; i < config->head_size / 2; i++) {
        const double share = (1 / (double)factors[i] - 1 / r->factor) / (1 - 1 / r->factor);
        const double wave =
            r->original_positions * tv_rotary_frequency(&plain, config->head_size, i) / two_pi;
        if (share >= 1 - 1e-4) {
            least_kept = fmin(least_kept, wave);
        } else if (!(share > 1e-4)) {
            most_divided = fmax(most_divided, wave);
        } else {
            int to = found < 2 ? found++ : 1;
            waves[to] = wave;
            shares[to] = share;
        }
    }
    double low = most_divided > 0 ? most_divided : fmin(1, least_kept / 2);
    double high = isfinite(least_kept) ? least_kept : low * 2;
    if (found == 2) {
        const double range = (waves[0] - waves[1]) / (shares[0] - shares[1]);
        low = waves[0] - shares[0] * range;
        high = low + range;
    } else if (found == 1) {
        high = waves[0] + (1 - shares[0]) * (waves[0] - low) / shares[0];
        if (high > least_kept) {
            high = least_kept;
            low = waves[0] - shares[0] * (high - waves[0]) / (1 - shares[0]);
        }
    }
    /* Published as round numbers; the factors know seven digits. */
    r->low_factor = fabs(low - round(low)) < 1e-2 ? round(low) : low;
    r->high_factor = fabs(high - round(high)) < 1e-2 ? round(high) : high;
}

tv_status tv_gguf_get_rotary_factors(const tv_gguf *file, const tv_gguf_tensor *tensor,
                                     tv_model_config *config) {
    float factors[MOST_PAIRS];
    const uint64_t pairs = config->head_size / 2;
    tv_rotary_scaling *r = &config->rotary;
    if (tensor->count != pairs || tensor->rank != 1 || pairs > MOST_PAIRS || pairs == 0)
        return tv_fail(TV_E_DATA, "%s: expected %llu numbers in tensor \"%s\", found %llu",
                       tv_gguf_where(file), (unsigned long long)pairs, tensor->name,
                       (unsigned long long)tensor->count);
    TV_RETURN_IF_FAILED(tv_gguf_read(file, tensor, 0, 1, factors));
    *r = (tv_rotary_scaling){.kind = TV_ROTARY_LLAMA3,
                             .theta = r->theta,
                             .factor = 1,
                             .original_positions = 8192,
                             .low_factor = 1,
                             .high_factor = 4};
    for (uint64_t i = 0; i < pairs; i++)
        r->factor = fmax(r->factor, (double)factors[i]);
    if (!gives(config, factors))
        find_line(config, factors, r);
    return gives(config, factors)
               ? TV_OK
               : tv_fail(TV_E_CONFIG,
                         "%s: the factors in tensor \"%s\" are not those of Llama 3's rotary positions",
                         tv_gguf_where(file), tensor->name);
}
