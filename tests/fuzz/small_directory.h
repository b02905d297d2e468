/* A model directory of one layer for fuzz targets that give one of its files: what opens must be readable to
 * its last parameter. */
#ifndef TV_TESTS_FUZZ_SMALL_DIRECTORY_H
#define TV_TESTS_FUZZ_SMALL_DIRECTORY_H

#include <stdio.h>
#include <stdlib.h>

#include "formats/directory.h"

static inline tv_model_config tv_fuzz_config(void) {
    tv_model_config config = tv_model_config_defaults(TV_ARCH_LLAMA);
    config.vocab_size = 5;
    config.n_layer = 1;
    config.n_head = config.n_kv_head = 1;
    config.channels = config.head_size = config.ffn = 4;
    config.max_positions = 8;
    return config;
}

/* A tv_parameter_source over a parameter list, of floats. */
static inline tv_status tv_fuzz_zeros(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                                      tv_dtype dtype, void *out) {
    const tv_parameter_list *list = context;
    (void)first_row;
    (void)dtype;
    float *values = out;
    for (uint64_t i = 0; i < rows * list->items[index].shape[1]; i++)
        values[i] = 0;
    return TV_OK;
}

static inline void tv_fuzz_write(const char *path, const uint8_t *data, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
}

static inline void tv_fuzz_read_all(const tv_model_directory *directory) {
    const tv_parameter_list *list = tv_model_directory_parameters(directory);
    float *values = malloc(list->max_elements * sizeof *values);
    for (uint32_t i = 0; values && i < list->count; i++)
        if (tv_model_directory_read(directory, i, values) != TV_OK)
            abort();
    free(values);
}

#endif
