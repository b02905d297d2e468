/* What layers that do not know each other must agree on about tokens. Needs nothing. */
#ifndef TV_BASE_TOKENS_H
#define TV_BASE_TOKENS_H

#include <stdint.h>

/* A target that counts for nothing: loss 0, gradient 0. The loader writes it, the classifier skips it. */
#define TV_IGNORED_TARGET UINT32_MAX

#endif
