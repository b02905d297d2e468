/* Fuzz target: bytes as model.safetensors.index.json, beside the shards of a small model. What opens must be
 * readable to its last parameter. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "formats/directory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/trivium-fuzz-index-XXXXXX";
static char *index_path;

static void clean(void) {
    (void)tv_remove_tree(directory);
    free(index_path);
}

static tv_status yield_zeros(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                             void *out) {
    const tv_parameter_list *list = context;
    (void)first_row;
    (void)dtype;
    float *values = out;
    for (uint64_t i = 0; i < rows * list->items[index].shape[1]; i++)
        values[i] = 0;
    return TV_OK;
}

/* Three shards of a Llama with one layer, once for all inputs. */
static void make_model(void) {
    tv_parameter_list *list = NULL;
    tv_model_config config = tv_model_config_defaults(TV_ARCH_LLAMA);
    config.vocab_size = 5;
    config.n_layer = 1;
    config.n_head = config.n_kv_head = 1;
    config.channels = config.head_size = config.ffn = 4;
    config.max_positions = 8;
    if (!mkdtemp(directory) || tv_parameter_list_create(&config, &list) != TV_OK ||
        tv_model_directory_write_as(directory, list, TV_BF16, 160, yield_zeros, list) != TV_OK ||
        !(index_path = tv_format("%s/%s", directory, TV_INDEX_NAME)))
        abort();
    tv_parameter_list_destroy(&list);
    atexit(clean);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_model_directory *d = NULL;
    tv_log_set_level(TV_LOG_ERROR);
    if (!index_path)
        make_model();
    FILE *file = fopen(index_path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    if (tv_model_directory_open(directory, &d) != TV_OK)
        return 0;
    const tv_parameter_list *list = tv_model_directory_parameters(d);
    float *values = malloc(list->max_elements * sizeof *values);
    for (uint32_t i = 0; values && i < list->count; i++)
        if (tv_model_directory_read(d, i, values) != TV_OK)
            abort();
    free(values);
    tv_model_directory_close(&d);
    return 0;
}
