/* See small_config.h. */
#include "support/small_config.h"

tv_model_config tv_test_config(tv_architecture architecture, tv_test_sizes sizes) {
    tv_model_config config = tv_model_config_defaults(architecture);
    config.vocab_size = sizes.vocab;
    config.n_layer = sizes.layers;
    config.n_head = sizes.heads;
    config.n_kv_head = sizes.kv_heads ? sizes.kv_heads : sizes.heads;
    config.channels = sizes.channels;
    config.head_size = sizes.head_size;
    config.ffn = sizes.ffn;
    config.max_positions = sizes.positions;
    return config;
}
