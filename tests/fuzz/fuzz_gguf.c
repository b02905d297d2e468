/* Fuzz target: bytes as a GGUF file, as a model's config and as a tokenizer in it. What opens must be
 * readable to its last element, and a tokenizer that is made must encode and decode. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "formats/gguf.h"
#include "formats/gguf_config.h"
#include "formats/gguf_tokenizer.h"

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
    tv_model_config config;
    if (tv_gguf_get_config(file, &config) == TV_OK && (config.n_layer == 0 || config.head_size == 0))
        abort();
    tv_tokenizer *tokenizer = NULL;
    if (size < 16384 && tv_gguf_get_tokenizer(file, &tokenizer) == TV_OK) {
        static const char sample[] = "a b  the\n\xff";
        tv_ids ids = {0};
        tv_text back = {0};
        if (tv_tokenizer_encode(tokenizer, sample, sizeof sample - 1, true, &ids) == TV_OK &&
            tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &back) != TV_OK)
            abort();
        tv_ids_free(&ids);
        tv_text_free(&back);
        tv_tokenizer_destroy(&tokenizer);
    }
    tv_gguf_close(&file);
    return 0;
}
