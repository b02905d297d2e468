/* Fuzz target: bytes as adapter_config.json, beside an adapter's weights and its base. What opens must be
 * readable to its last parameter. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/log.h"
#include "formats/peft.h"
#include "fuzz/small_directory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char directory[] = "/tmp/trivium-fuzz-adapter-XXXXXX";
static char *base, *adapter, *config_path;

static void clean(void) {
    (void)tv_remove_tree(directory);
    free(base);
    free(adapter);
    free(config_path);
}

static void write_model(const char *path, const tv_model_config *config, const tv_adapter *over) {
    tv_parameter_list *list = NULL;
    if (!path || tv_make_dirs(path) != TV_OK ||
        tv_parameter_list_create_chosen(config, &(tv_parameter_choice){.adapter = over}, &list) != TV_OK ||
        tv_model_directory_write(path, list, tv_fuzz_zeros, list) != TV_OK)
        abort();
    tv_parameter_list_destroy(&list);
}

/* A Llama of one layer and an adapter of rank 2 over its q, once for all inputs. */
static void make_models(void) {
    static const char *const names[] = {"q_proj"};
    tv_adapter over = {.rank = 2, .alpha = 4};
    tv_model_config config = tv_fuzz_config();
    if (!mkdtemp(directory) || tv_peft_targets(&config, "fuzz", names, 1, &over) != TV_OK)
        abort();
    atexit(clean);
    base = tv_format("%s/base", directory);
    adapter = tv_format("%s/adapter", directory);
    config_path = tv_format("%s/adapter/%s", directory, TV_PEFT_CONFIG_NAME);
    write_model(base, &config, NULL);
    write_model(adapter, &config, &over);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_model_directory *d = NULL;
    tv_log_set_level(TV_LOG_ERROR);
    if (!config_path)
        make_models();
    tv_fuzz_write(config_path, data, size);
    if (tv_model_directory_open_adapted(base, adapter, &d) != TV_OK)
        return 0;
    tv_fuzz_read_all(d);
    tv_model_directory_close(&d);
    return 0;
}
