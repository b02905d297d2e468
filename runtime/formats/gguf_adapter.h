/* Adapters as GGUF files, which llama.cpp adds to a model that it runs.
 *
 * Promise: A (r, in) and B (out, r) of every target and layer stand beside the names of gguf_names.h, B's
 * rows in the order of the matrix that it adds to; adapter.lora.alpha is such that llama.cpp's alpha / r is
 * the adapter's own scale, so rsLoRA's is alpha times sqrt(r). Source: convert_lora_to_gguf.py and
 * src/llama-adapter.cpp of ggml-org/llama.cpp.
 */
#ifndef TV_FORMATS_GGUF_ADAPTER_H
#define TV_FORMATS_GGUF_ADAPTER_H

#include "formats/gguf_model.h"

/* Of a list with an adapter; `export->tokenizer` is not looked at. TV_E_CONFIG for a type of blocks. */
tv_status tv_gguf_adapter_write(const char *path, const tv_gguf_export *export);

#endif
