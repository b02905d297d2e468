/* Fuzz target: bytes as a configuration file. What is read must be written back and read as the same. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "run/defaults.h"
#include "run/schedule.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cJSON *root = NULL, *resolved = NULL, *again = NULL;
    tv_run_settings first, second;
    tv_log_set_level(TV_LOG_ERROR);
    if (tv_json_parse((const char *)data, size, "fuzz", &root) != TV_OK ||
        tv_run_settings_from_tree(root, "fuzz", NULL, 0, TV_STAGE_PRETRAIN, &first) != TV_OK)
        return 0;
    /* What is "auto" is not written before it is worked out. */
    tv_defaults_of_model(&first, 1000000, 128);
    tv_defaults_of_data(&first, 1000);
    tv_defaults_of_schedule(&first, first.train.steps ? first.train.steps : 100);
    /* A finite rate at every step that the settings allow, and at their ends. */
    const uint64_t total = first.train.steps ? first.train.steps : 100;
    const uint64_t steps[] = {0, first.train.warmup_steps, total / 2, total - 1, total};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        double lr = tv_schedule_lr(&first.train, steps[i], total);
        if (!(lr >= 0 && lr <= 1e3))
            abort();
    }
    if (tv_run_settings_resolve(&first, &resolved) != TV_OK)
        abort();
    if (tv_run_settings_from_tree(cJSON_Duplicate(resolved, true), "written", NULL, 0, TV_STAGE_PRETRAIN,
                                  &second) != TV_OK ||
        tv_run_settings_resolve(&second, &again) != TV_OK)
        abort();
    /* As texts: a model tree may hold a key twice, which cJSON_Compare calls different from itself. */
    char *one = cJSON_PrintUnformatted(resolved), *two = cJSON_PrintUnformatted(again);
    if (!one || !two || strcmp(one, two) != 0)
        abort();
    cJSON_free(one);
    cJSON_free(two);
    cJSON_Delete(resolved);
    cJSON_Delete(again);
    tv_run_settings_free(&first);
    tv_run_settings_free(&second);
    return 0;
}
