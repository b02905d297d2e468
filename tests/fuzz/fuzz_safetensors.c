/* Fuzz target: bytes as a safetensors file. What opens must be readable to its last element. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_safetensors *file = NULL;
    if (tv_safetensors_open_bytes(data, size, "fuzz", &file) != TV_OK)
        return 0;
    for (uint64_t i = 0; i < tv_safetensors_count(file); i++) {
        const tv_safetensor *tensor = tv_safetensors_at(file, i);
        if (tv_safetensors_find(file, tensor->name) != tensor || tensor->bytes > size)
            abort();
        float *out = malloc(tensor->count ? tensor->count * sizeof *out : 1);
        if (!out)
            continue;
        uint64_t rows = tensor->rank ? tensor->shape[0] : 1;
        tv_status straight = tv_safetensors_read(file, tensor, 0, rows, false, out);
        tv_status turned = tv_safetensors_read(file, tensor, rows / 2, rows - rows / 2, true, out);
        if (straight != turned)
            abort();
        free(out);
    }
    (void)tv_safetensors_metadata(file, "format");
    tv_safetensors_close(&file);
    return 0;
}
