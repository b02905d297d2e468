/* Fuzz target: bytes as a file of documents, as JSON lines and their texts, as a text and by line, compressed
 * or not. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "text/source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads every byte; stops a bomb. */
static tv_status sum_up(void *context, const uint8_t *bytes, uint64_t length) {
    uint64_t *sum = context;
    if (length == 0)
        abort();
    for (uint64_t i = 0; i < length; i++)
        *sum += bytes[i];
    return *sum < UINT64_C(1) << 32 ? TV_OK : tv_fail(TV_E_DATA, "enough");
}

static tv_status read_line(void *context, const tv_json_line *line) {
    tv_text out = {0};
    tv_status status;
    TV_TRY(tv_json_line_print(line, line->root, &out));
    TV_TRY(sum_up(context, out.data, out.size));
done:
    tv_text_free(&out);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t sum = 0;
    (void)tv_source_read_json_bytes(data, size, "fuzz", read_line, &sum);
    (void)tv_source_read_bytes(data, size, "fuzz.jsonl", false, sum_up, &sum);
    (void)tv_source_read_bytes(data, size, "fuzz.txt", false, sum_up, &sum);
    (void)tv_source_read_bytes(data, size, "fuzz.txt", true, sum_up, &sum);
    return 0;
}
