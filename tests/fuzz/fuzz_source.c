/* Fuzz target: bytes as a file of documents, as JSON lines, as a text and by line, compressed or not. */
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint64_t sum = 0;
    (void)tv_source_read_bytes(data, size, "fuzz.jsonl", false, sum_up, &sum);
    (void)tv_source_read_bytes(data, size, "fuzz.txt", false, sum_up, &sum);
    (void)tv_source_read_bytes(data, size, "fuzz.txt", true, sum_up, &sum);
    return 0;
}
