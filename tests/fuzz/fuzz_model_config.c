/* Fuzz target: bytes as a config.json. What is read must have a list of parameters, and must be read the same
 * from what is written. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "model/parameters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(const tv_model_config *config) {
    tv_parameter_list *list = NULL;
    if (tv_parameter_list_create(config, &list) != TV_OK)
        abort();
    uint64_t elements = 0;
    for (uint32_t i = 0; i < list->count; i++)
        elements += list->items[i].count;
    if (elements != list->elements || elements >= UINT64_C(1) << 58)
        abort();
    tv_parameter_list_destroy(&list);

    cJSON *tree = NULL, *again = NULL;
    tv_model_config copy;
    if (tv_model_config_tree(config, &tree) != TV_OK ||
        tv_model_config_read(tree, "written", true, &copy) != TV_OK ||
        tv_model_config_tree(&copy, &again) != TV_OK || !cJSON_Compare(tree, again, true))
        abort();
    cJSON_Delete(tree);
    cJSON_Delete(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *root = NULL;
    if (tv_json_parse((const char *)data, size, "fuzz", &root) != TV_OK)
        return 0;
    tv_model_config config;
    if (tv_model_config_read(root, "fuzz", false, &config) == TV_OK)
        check_config(&config);
    if (tv_model_config_read(root, "fuzz", true, &config) == TV_OK)
        check_config(&config);
    cJSON_Delete(root);
    return 0;
}
