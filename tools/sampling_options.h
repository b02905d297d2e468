/* The options of every command that draws text, so that they read and mean the same everywhere. */
#ifndef TV_TOOLS_SAMPLING_OPTIONS_H
#define TV_TOOLS_SAMPLING_OPTIONS_H

#include "tools/options.h"

static inline tv_option tv_opt_temperature(double *slot) {
    return tv_opt_number("temperature", "X", slot, 0, 1e6,
                         "flattens (above 1) or sharpens the choice; 0 always takes the likeliest token");
}

static inline tv_option tv_opt_top_k(uint64_t *slot) {
    return tv_opt_uint("top-k", "K", slot, 0, UINT32_MAX, "only the K likeliest tokens; 0: all");
}

static inline tv_option tv_opt_top_p(double *slot) {
    return tv_opt_number("top-p", "P", slot, 1e-6, 1,
                         "only the likeliest tokens that reach this probability together");
}

#endif
