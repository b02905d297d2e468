/* Tokenizers of models: see model_tokenizer.h. */
#include "formats/model_tokenizer.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/files.h"
#include "formats/gguf_tokenizer.h"

const char *tv_model_tokenizer_path(const tv_model_directory *directory) {
    const char *own = tv_model_directory_path(directory);
    const tv_model_directory *base = tv_model_directory_base(directory);
    char *json = tv_format("%s/tokenizer.json", own);
    bool there = json && tv_path_exists(json);
    free(json);
    return there || !base ? own : tv_model_directory_path(base);
}

bool tv_model_has_tokenizer(const char *path) {
    tv_gguf *file = NULL;
    bool there;
    if (tv_path_is_directory(path)) {
        char *json = tv_format("%s/tokenizer.json", path);
        there = json && tv_path_exists(json);
        free(json);
        char *base = NULL;
        if (!there && tv_model_directory_find_base(path, &base) == TV_OK && base)
            there = tv_model_has_tokenizer(base);
        free(base);
        return there;
    }
    /* A file that cannot be opened is left to whoever loads from it, who says why. */
    there = tv_gguf_open(path, &file) != TV_OK || tv_gguf_has_tokenizer(file);
    tv_gguf_close(&file);
    return there;
}

tv_status tv_model_tokenizer_load(const char *path, tv_tokenizer **tokenizer) {
    tv_gguf *file = NULL;
    *tokenizer = NULL;
    char *json = tv_format("%s/tokenizer.json", path), *base = NULL;
    bool there = json && tv_path_exists(json);
    free(json);
    if (!there)
        TV_RETURN_IF_FAILED(tv_model_directory_find_base(path, &base));
    if (base) {
        tv_status status = tv_model_tokenizer_load(base, tokenizer);
        free(base);
        return status;
    }
    if (!tv_gguf_is_one(path))
        return tv_tokenizer_load(path, tokenizer);
    TV_RETURN_IF_FAILED(tv_gguf_open(path, &file));
    tv_status status = tv_gguf_get_tokenizer(file, tokenizer);
    tv_gguf_close(&file);
    return status;
}
