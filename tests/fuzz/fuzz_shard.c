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
        tv_shard *shard = NULL;
        if (tv_shard_open_bytes(data, size, "fuzz", any ? 0 : VOCAB_SIZE, &shard) != TV_OK)
            continue;
        for (uint64_t i = 0; i < tv_shard_count(shard); i++) {
            uint32_t token;
            if (tv_shard_read(shard, i, 1, &token) != TV_OK || (!any && token >= VOCAB_SIZE))
                abort();
        }
        tv_shard_close(&shard);
    }
    return 0;
}
