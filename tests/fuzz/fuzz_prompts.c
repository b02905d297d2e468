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

/* What a program is told of the line's other members is valid within an object, and no second line. */
static void check_fields(const char *fields) {
    size_t size = strlen(fields);
    char *object = malloc(size + sizeof "{\"id\":1}");
    cJSON *root = NULL;
    if (!object || strchr(fields, '\n'))
        abort();
    memcpy(object, "{\"id\":1", 7);
    memcpy(object + 7, fields, size);
    memcpy(object + 7 + size, "}", 2);
    if (tv_json_parse(object, size + 8, "fields", &root) != TV_OK)
        abort();
    cJSON_Delete(root);
    free(object);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const tv_prompts_options options = {.tokenizer = fuzz_tokenizer(), .max_tokens = 4096, .fields = true};
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
        check_fields(prompt->fields);
    }
    tv_prompts_destroy(&prompts);
    return 0;
}
