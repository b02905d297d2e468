/* Fuzz target: bytes as model.safetensors.index.json, beside the shards of a small model. What opens must be
 * readable to its last parameter. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "fuzz/small_directory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/trivium-fuzz-index-XXXXXX";
static char *index_path;

static void clean(void) {
    (void)tv_remove_tree(directory);
    free(index_path);
}

/* Three shards of a Llama with one layer, once for all inputs. */
static void make_model(void) {
    tv_parameter_list *list = NULL;
    tv_model_config config = tv_fuzz_config();
    if (!mkdtemp(directory) || tv_parameter_list_create(&config, &list) != TV_OK ||
        tv_model_directory_write_as(directory, list, TV_BF16, 160, tv_fuzz_zeros, list) != TV_OK ||
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
    tv_fuzz_write(index_path, data, size);
    if (tv_model_directory_open(directory, &d) != TV_OK)
        return 0;
    tv_fuzz_read_all(d);
    tv_model_directory_close(&d);
    return 0;
}
