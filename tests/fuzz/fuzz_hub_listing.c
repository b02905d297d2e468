/* Fuzz target: bytes as a hub's listing of a repository and as an index of shards. Every name that comes out
 * is a plain one. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "formats/hub_listing.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_hub_listing listing;
    char **names = NULL;
    uint64_t count = 0;
    if (tv_hub_listing_parse((const char *)data, size, "fuzz", &listing) == TV_OK)
        for (uint64_t i = 0; i < listing.count; i++) {
            const tv_hub_file *file = &listing.files[i];
            if (!tv_hub_name_is_plain(file->name) || strchr(file->name, '/') ||
                tv_hub_listing_find(&listing, file->name) != file || (file->sha256[0] && file->blob[0]))
                abort();
        }
    tv_hub_listing_free(&listing);
    if (tv_hub_shards((const char *)data, size, "fuzz", &names, &count) == TV_OK)
        for (uint64_t i = 0; i < count; i++)
            if (!tv_hub_name_is_plain(names[i]))
                abort();
    tv_free_names(&names, count);
    return 0;
}
