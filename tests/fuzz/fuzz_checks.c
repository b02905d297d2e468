/* Fuzz target: bytes as an answer that is checked. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "reward/checks.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const checks[] = {"number", "exact", "length:3:9", "regex:^(a|aa)+$|\\w$"};
    /* Of exactly its size, so that a byte read behind it is noticed; and the same as the reference. */
    char *text = malloc(size ? size : 1), *reference = malloc(size + 1);
    if (!text || !reference)
        abort();
    memcpy(text, data, size);
    memcpy(reference, data, size);
    reference[size] = '\0';
    for (int i = 0; i < 4; i++) {
        tv_check check;
        if (tv_check_parse(checks[i], &check) != TV_OK)
            abort();
        double score = tv_check_score(&check, text, size, reference);
        if (score != 0 && score != 1)
            abort();
        /* What is right is what stands there. */
        if (check.kind == TV_CHECK_EXACT && !memchr(text, '\0', size) && score != 1)
            abort();
        tv_check_free(&check);
    }
    free(text);
    free(reference);
    return 0;
}
