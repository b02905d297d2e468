/* A model's config from its sizes alone, for tests that make models of their own. */
#ifndef TV_TESTS_SMALL_CONFIG_H
#define TV_TESTS_SMALL_CONFIG_H

#include "model/config.h"

typedef struct tv_test_sizes {
    uint64_t vocab, layers, heads;
    uint64_t kv_heads; /* 0: as many as heads */
    uint64_t channels, head_size, ffn, positions;
} tv_test_sizes;

/* tv_model_config_defaults with these sizes. */
tv_model_config tv_test_config(tv_architecture architecture, tv_test_sizes sizes);

#endif
