/* What a model hub says of a repository: its files with sizes and hashes, and which of them a model is.
 *
 * Promise: everything here comes from a stranger's server and is checked: a name that is not a plain file
 * name is never handed out, so that nothing can be written outside of the directory that a person named.
 * Source: the hub's API as huggingface_hub uses it (GET /api/models/ORG/NAME/revision/REV?blobs=true).
 */
#ifndef TV_FORMATS_HUB_LISTING_H
#define TV_FORMATS_HUB_LISTING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/status.h"

enum { TV_SHA256_DIGITS = 64, TV_SHA1_DIGITS = 40 };

typedef struct tv_hub_file {
    const char *name;
    bool sized; /* `size` is known */
    uint64_t size;
    char sha256[TV_SHA256_DIGITS + 1]; /* of large files; "" where it is not told */
    char blob[TV_SHA1_DIGITS + 1];     /* git's hash of a small one; "" likewise */
} tv_hub_file;

typedef struct tv_hub_listing {
    char commit[TV_SHA256_DIGITS + 1]; /* what the names stood for; "" where it is not told */
    tv_hub_file *files;                /* of plain names alone: no folders */
    uint64_t count;
    void *tree; /* owns the names */
} tv_hub_listing;

/* `where` names the answer in sentences. TV_E_DATA for what is no listing. Free also after a failure. */
tv_status tv_hub_listing_parse(const char *text, uint64_t size, const char *where, tv_hub_listing *listing);
void tv_hub_listing_free(tv_hub_listing *listing);
/* NULL when there is none of that name. */
const tv_hub_file *tv_hub_listing_find(const tv_hub_listing *listing, const char *name);

/* A file's name without folders, dots in front, control characters or backslashes. */
bool tv_hub_name_is_plain(const char *name);
/* "ORG/NAME", or "NAME" of the oldest models: letters, digits, '-', '_' and dots that do not lead. */
bool tv_hub_repository_is_valid(const char *repository);

/* The shards that an index of weights names, each once, in their order; the caller frees with tv_free_names
 * (base/files.h). TV_E_DATA for a name that is not plain. */
tv_status tv_hub_shards(const char *index, uint64_t size, const char *where, char ***names, uint64_t *count);

#endif
