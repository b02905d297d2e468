/* Fuzz target: bytes as a GGUF file. What opens must be readable to its last element. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/gguf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_gguf *file = NULL;
    if (tv_gguf_open_bytes(data, size, "fuzz", &file) != TV_OK)
        return 0;
    for (uint64_t i = 0; i < tv_gguf_tensor_count(file); i++) {
        const tv_gguf_tensor *tensor = tv_gguf_tensor_at(file, i);
        if (tv_gguf_tensor_find(file, tensor->name) != tensor || tensor->bytes > size)
            abort();
        float *out = malloc(tensor->count * sizeof *out);
        if (!out)
            continue;
        if (tv_gguf_read(file, tensor, 0, tensor->rows, out) != TV_OK)
            abort();
        free(out);
    }
    const char *text = NULL;
    (void)tv_gguf_text(file, "general.architecture", &text);
    const tv_gguf_value *list;
    if (tv_gguf_array(file, "tokenizer.ggml.tokens", TV_GGUF_STRING, &list) == TV_OK && list && list->count &&
        !list->texts[list->count - 1])
        abort();
    tv_gguf_close(&file);
    return 0;
}
