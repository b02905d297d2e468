/* Fuzz target: bytes as a tokenizer.json. What is read must encode the bytes themselves, and give them back
 * when it says that it does. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_tokenizer *tokenizer = NULL;
    if (tv_tokenizer_parse((const char *)data, size, "fuzz", &tokenizer) != TV_OK)
        return 0;
    tv_ids ids = {0};
    tv_text text = {0};
    uint64_t length = size < 2000 ? size : 2000;
    for (int special = 0; special < 2; special++) {
        ids.size = text.size = 0;
        if (tv_tokenizer_encode(tokenizer, data, length, special, &ids) != TV_OK)
            continue;
        if (tv_tokenizer_decode(tokenizer, ids.data, ids.size, false, &text) != TV_OK)
            abort();
        if (tv_tokenizer_is_reversible(tokenizer) &&
            (text.size != length || memcmp(text.data, data, length) != 0))
            abort();
    }
    tv_ids_free(&ids);
    tv_text_free(&text);
    tv_tokenizer_destroy(&tokenizer);
    return 0;
}
