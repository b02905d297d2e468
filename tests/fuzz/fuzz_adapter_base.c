/* Fuzz target: bytes as adapter_base.json, beside an adapter and its base. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/log.h"
#include "formats/adapter_base.h"
#include "formats/peft.h"
#include "fuzz/small_adapter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_model_directory *d = NULL;
    tv_log_set_level(TV_LOG_ERROR);
    tv_fuzz_write(tv_fuzz_adapter_file(TV_ADAPTER_BASE_NAME), data, size);
    if (tv_model_directory_open_adapted(tv_fuzz_base(), tv_fuzz_adapter(), &d) != TV_OK)
        abort();
    (void)tv_adapter_base_check(d);
    tv_model_directory_close(&d);
    return 0;
}
