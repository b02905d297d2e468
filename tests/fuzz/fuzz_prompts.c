/* Fuzz target: bytes as JSON lines of prompts. What is read must keep its promises, and its JSON must be
 * JSON.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/tokenizer.h"
#include "text/prompts.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const tv_prompts_options options = {.tokenizer = fuzz_tokenizer(), .max_tokens = 4096};
    tv_prompts *prompts = NULL;
    if (tv_prompts_read_bytes(&options, data, size, "fuzz", &prompts) != TV_OK) {
        if (prompts)
            abort();
        return 0;
    }
    for (uint64_t i = 0; i < prompts->count; i++) {
        const tv_prompt *prompt = &prompts->items[i];
        cJSON *json = NULL;
        if (prompt->length == 0 || prompt->length > 4096 || !prompt->id[0] ||
            tv_json_parse(prompt->json, strlen(prompt->json), "prompt", &json) != TV_OK ||
            !!cJSON_IsArray(json) != prompt->is_chat)
            abort();
        for (uint64_t t = 0; t < prompt->length; t++)
            if (prompt->ids[t] >= TV_MIN_VOCAB_SIZE)
                abort();
        cJSON_Delete(json);
    }
    tv_prompts_destroy(&prompts);
    return 0;
}
