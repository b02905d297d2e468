/* Fuzz target: bytes as adapter_config.json, beside an adapter's weights and its base. What opens must be
 * readable to its last parameter. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "formats/peft.h"
#include "fuzz/small_adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_model_directory *d = NULL;
    tv_log_set_level(TV_LOG_ERROR);
    tv_fuzz_write(tv_fuzz_adapter_file(TV_PEFT_CONFIG_NAME), data, size);
    if (tv_model_directory_open_adapted(tv_fuzz_base(), tv_fuzz_adapter(), &d) != TV_OK)
        return 0;
    tv_fuzz_read_all(d);
    tv_model_directory_close(&d);
    return 0;
}
