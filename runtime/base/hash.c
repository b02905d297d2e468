/* XXH3 of xxHash: see hash.h. */
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/files.h"

enum { CHUNK = 1 << 20 };

struct tv_hash {
    XXH3_state_t *state;
};

tv_status tv_hash_create(tv_hash **out) {
    tv_hash *hash = calloc(1, sizeof *hash);
    *out = hash;
    if (hash)
        hash->state = XXH3_createState();
    if (!hash || !hash->state || XXH3_128bits_reset(hash->state) != XXH_OK) {
        tv_hash_destroy(out);
        return tv_fail(TV_E_MEMORY, "out of host memory for a hash");
    }
    return TV_OK;
}

void tv_hash_add(tv_hash *hash, const void *bytes, uint64_t size) {
    if (size > 0) /* which cannot fail with a state and bytes */
        (void)XXH3_128bits_update(hash->state, bytes, size);
}

void tv_hash_print(const tv_hash *hash, char text[TV_HASH_TEXT]) {
    const XXH128_hash_t digest = XXH3_128bits_digest(hash->state);
    snprintf(text, TV_HASH_TEXT, "%016llx%016llx", (unsigned long long)digest.high64,
             (unsigned long long)digest.low64);
}

void tv_hash_destroy(tv_hash **hash) {
    if (!hash || !*hash)
        return;
    XXH3_freeState((*hash)->state);
    free(*hash);
    *hash = NULL;
}

tv_status tv_hash_add_file(tv_hash *hash, const char *path) {
    tv_reader *reader = NULL;
    tv_status status;
    uint64_t got;
    uint8_t *bytes = malloc(CHUNK);
    if (!bytes)
        return tv_fail(TV_E_MEMORY, "out of host memory while reading %s", path);
    TV_TRY(tv_reader_open(path, &reader));
    do {
        TV_TRY(tv_reader_read(reader, bytes, CHUNK, &got));
        tv_hash_add(hash, bytes, got);
    } while (got > 0);
done:
    tv_reader_close(&reader);
    free(bytes);
    return status;
}

tv_status tv_hash_file(const char *path, char text[TV_HASH_TEXT]) {
    tv_hash *hash = NULL;
    TV_RETURN_IF_FAILED(tv_hash_create(&hash));
    tv_status status = tv_hash_add_file(hash, path);
    if (status == TV_OK)
        tv_hash_print(hash, text);
    tv_hash_destroy(&hash);
    return status;
}
