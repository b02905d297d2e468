/* A hub's listing of a repository: see hub_listing.h. */
#include "formats/hub_listing.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"

enum { MOST_NAME = 255, MOST_SHARDS = 10000 };

bool tv_hub_name_is_plain(const char *name) {
    size_t length = strlen(name);
    if (length == 0 || length > MOST_NAME || name[0] == '.')
        return false;
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f || name[i] == '/' || name[i] == '\\')
            return false;
    return true;
}

static bool is_word_of(const char *text, size_t length, const char *more) {
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool alphanumeric = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!alphanumeric && (!c || !strchr(more, c)))
            return false;
    }
    return true;
}

bool tv_hub_repository_is_valid(const char *repository) {
    const char *part = repository;
    for (int parts = 1; parts <= 2; parts++) {
        size_t length = strcspn(part, "/");
        if (length == 0 || length > MOST_NAME || part[0] == '.' || !is_word_of(part, length, "-_."))
            return false;
        if (!part[length])
            return true;
        part += length + 1;
    }
    return false;
}

/* Copies a hash of so many digits; anything else is none. */
static void copy_hash(const cJSON *item, size_t digits, char *hash) {
    const char *text = cJSON_GetStringValue(item);
    if (text && strlen(text) == digits && strspn(text, "0123456789abcdef") == digits)
        memcpy(hash, text, digits + 1);
}

static tv_status read_file(const cJSON *item, const char *where, tv_hub_listing *listing) {
    const char *name = cJSON_GetStringValue(tv_json_get(item, "rfilename"));
    const cJSON *large = tv_json_get(item, "lfs");
    tv_hub_file *file = &listing->files[listing->count];
    int64_t size;
    if (!name)
        return tv_fail(TV_E_DATA, "%s: expected a text \"rfilename\" of each of \"siblings\"", where);
    if (!tv_hub_name_is_plain(name)) /* folders hold what no model is read from */
        return TV_OK;
    if (tv_hub_listing_find(listing, name))
        return tv_fail(TV_E_DATA, "%s lists %s twice", where, name);
    *file = (tv_hub_file){.name = name};
    TV_RETURN_IF_FAILED(tv_json_integer(item, "size", where, 0, INT64_C(1) << 53, -1, &size));
    if (size < 0)
        TV_RETURN_IF_FAILED(tv_json_integer(large, "size", where, 0, INT64_C(1) << 53, -1, &size));
    file->sized = size >= 0;
    file->size = size >= 0 ? (uint64_t)size : 0;
    copy_hash(tv_json_get(large, "sha256"), TV_SHA256_DIGITS, file->sha256);
    if (!file->sha256[0] && !cJSON_IsObject(large))
        copy_hash(tv_json_get(item, "blobId"), TV_SHA1_DIGITS, file->blob);
    listing->count++;
    return TV_OK;
}

tv_status tv_hub_listing_parse(const char *text, uint64_t size, const char *where, tv_hub_listing *listing) {
    cJSON *root = NULL;
    uint64_t entries = 0;
    *listing = (tv_hub_listing){0};
    TV_RETURN_IF_FAILED(tv_json_parse(text, size, where, &root));
    listing->tree = root;
    const cJSON *siblings = tv_json_get(root, "siblings"), *item;
    const char *commit = cJSON_GetStringValue(tv_json_get(root, "sha"));
    if (!cJSON_IsArray(siblings))
        return tv_fail(TV_E_DATA, "%s: expected a list \"siblings\" of files, found %s", where,
                       tv_json_kind(siblings));
    if (commit) {
        size_t length = strlen(commit);
        if (length == 0 || length > TV_SHA256_DIGITS || !is_word_of(commit, length, ""))
            return tv_fail(TV_E_DATA, "%s: expected a hash for \"sha\", found \"%.80s\"", where, commit);
        memcpy(listing->commit, commit, length + 1);
    }
    cJSON_ArrayForEach(item, siblings) {
        entries++;
    }
    listing->files = calloc(entries + 1, sizeof *listing->files);
    if (!listing->files)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of files");
    cJSON_ArrayForEach(item, siblings) {
        TV_RETURN_IF_FAILED(read_file(item, where, listing));
    }
    return TV_OK;
}

void tv_hub_listing_free(tv_hub_listing *listing) {
    cJSON_Delete(listing->tree);
    free(listing->files);
    *listing = (tv_hub_listing){0};
}

const tv_hub_file *tv_hub_listing_find(const tv_hub_listing *listing, const char *name) {
    for (uint64_t i = 0; i < listing->count; i++)
        if (listing->files[i].name && strcmp(listing->files[i].name, name) == 0)
            return &listing->files[i];
    return NULL;
}

tv_status tv_hub_shards(const char *index, uint64_t size, const char *where, char ***names, uint64_t *count) {
    cJSON *root = NULL;
    tv_status status;
    *names = NULL;
    *count = 0;
    char **found = calloc(MOST_SHARDS, sizeof *found);
    if (!found)
        return tv_fail(TV_E_MEMORY, "out of host memory for the shards of %s", where);
    TV_TRY_OR_FAIL(tv_json_parse(index, size, where, &root));
    const cJSON *map = tv_json_get(root, "weight_map"), *item;
    if (map && !cJSON_IsObject(map)) {
        status = tv_fail(TV_E_DATA, "%s: expected an object for \"weight_map\", found %s", where,
                         tv_json_kind(map));
        goto fail;
    }
    cJSON_ArrayForEach(item, map) {
        const char *name = cJSON_GetStringValue(item);
        bool known = false;
        if (!name || !tv_hub_name_is_plain(name)) {
            status =
                tv_fail(TV_E_DATA, "%s: expected the name of a file beside it for \"%s\", found \"%.80s\"",
                        where, item->string, name ? name : "(not a text)");
            goto fail;
        }
        for (uint64_t i = *count; i-- > 0 && !known;)
            known = strcmp(found[i], name) == 0;
        if (known)
            continue;
        if (*count == MOST_SHARDS || !(found[*count] = tv_format("%s", name))) {
            status = tv_fail(TV_E_DATA, "%s names more than %d files", where, MOST_SHARDS);
            goto fail;
        }
        ++*count;
    }
    if (*count == 0) {
        status = tv_fail(TV_E_DATA, "%s: expected an object \"weight_map\" of tensor and file names", where);
        goto fail;
    }
    cJSON_Delete(root);
    *names = found;
    return TV_OK;
fail:
    cJSON_Delete(root);
    tv_free_names(&found, *count);
    *count = 0;
    return status;
}
