/* Fuzz target: bytes as a token shard. What is accepted must be readable to its last token, all inside the
 * vocabulary. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "text/shard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    enum { VOCAB_SIZE = 1000 };
    for (int any = 0; any < 2; any++) {
        tv_shard_view view;
        if (tv_shard_check(data, size, "fuzz", any ? 0 : VOCAB_SIZE, &view) != TV_OK)
            continue;
        for (uint64_t i = 0; i < view.count; i++) {
            uint32_t token;
            tv_shard_view_read(&view, i, 1, &token);
            if (!any && token >= VOCAB_SIZE)
                abort();
        }
    }
    return 0;
}
