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
    uint8_t marks[2000]; /* the bits of other bytes */
    for (uint64_t i = 0; i < length; i++)
        marks[i] = data[size - 1 - i] & 1;
    for (int way = 0; way < 3; way++) {
        ids.size = text.size = 0;
        tv_status status = way < 2 ? tv_tokenizer_encode(tokenizer, data, length, way == 1, &ids)
                                   : tv_tokenizer_encode_marked(tokenizer, data, length, marks, &ids);
        if (status != TV_OK)
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
