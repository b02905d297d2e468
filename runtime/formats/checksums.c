/* Hashes of files in a tree of JSON: see checksums.h. */
#include "formats/checksums.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/hash.h"

static const char list_key[] = "checksums", own_key[] = "checksum";

static tv_status no_memory(const char *where) {
    return tv_fail(TV_E_MEMORY, "out of host memory for the checksums of %s", where);
}

/* ---- making ---- */

/* The files below directory/folder; `folder` is "" or ends with a slash. */
static tv_status add_files(cJSON *list, const char *directory, const char *folder) {
    char *path = tv_format("%s/%s", directory, folder), **names = NULL;
    uint64_t count = 0;
    tv_status status = path ? tv_list_dir(path, &names, &count) : no_memory(directory);
    free(path);
    for (uint64_t i = 0; i < count && status == TV_OK; i++) {
        char *name = tv_format("%s%s", folder, names[i]), *below = tv_format("%s%s/", folder, names[i]);
        char *file = tv_format("%s/%s%s", directory, folder, names[i]), hash[TV_HASH_TEXT];
        if (!name || !below || !file)
            status = no_memory(directory);
        else if (tv_path_is_directory(file))
            status = add_files(list, directory, below);
        else if (strcmp(name, TV_STATE_NAME) != 0) {
            status = tv_hash_file(file, hash);
            if (status == TV_OK && !tv_json_set_string(list, name, hash))
                status = no_memory(directory);
        }
        free(file);
        free(below);
        free(name);
    }
    tv_free_names(&names, count);
    return status;
}

/* Of the state's text without this very hash. */
static tv_status hash_state(const cJSON *state, const char *where, char text[TV_HASH_TEXT]) {
    tv_status status;
    tv_hash *hash = NULL;
    char *line = NULL;
    cJSON *copy = cJSON_Duplicate(state, true);
    if (!copy)
        return no_memory(where);
    cJSON_DeleteItemFromObjectCaseSensitive(copy, own_key);
    TV_TRY(tv_json_print_line(copy, &line));
    TV_TRY(tv_hash_create(&hash));
    tv_hash_add(hash, line, strlen(line));
    tv_hash_print(hash, text);
done:
    tv_hash_destroy(&hash);
    free(line);
    cJSON_Delete(copy);
    return status;
}

tv_status tv_checksums_seal(cJSON *state, const char *directory) {
    char hash[TV_HASH_TEXT];
    cJSON *list = cJSON_AddObjectToObject(state, list_key);
    if (!list)
        return no_memory(directory);
    TV_RETURN_IF_FAILED(add_files(list, directory, ""));
    TV_RETURN_IF_FAILED(hash_state(state, directory, hash));
    return tv_json_set_string(state, own_key, hash) ? TV_OK : no_memory(directory);
}

/* ---- checking ---- */

tv_status tv_checksums_check_state(const cJSON *state, const char *where, bool *sealed) {
    const char *expected = cJSON_GetStringValue(tv_json_get(state, own_key));
    char found[TV_HASH_TEXT];
    *sealed = tv_json_get(state, list_key) != NULL;
    if (!*sealed)
        return TV_OK;
    TV_RETURN_IF_FAILED(hash_state(state, where, found));
    if (!expected || strcmp(expected, found) != 0)
        return tv_fail(TV_E_DATA,
                       "%s: its checksum is not its own, so it was damaged or changed since it was written",
                       where);
    return TV_OK;
}

/* A name that stays in the directory. */
static bool is_inside(const char *name) {
    for (const char *part = name;; part += strcspn(part, "/") + 1) {
        size_t length = strcspn(part, "/");
        if (length == 0 || part[0] == '.')
            return false;
        if (!part[length])
            return true;
    }
}

static tv_status check_file(const cJSON *item, const char *directory) {
    const char *expected = cJSON_GetStringValue(item);
    char found[TV_HASH_TEXT];
    uint64_t size;
    if (!expected || !is_inside(item->string))
        return tv_fail(TV_E_DATA,
                       "%s/%s: expected names of files below it and their hashes in \"%s\", found \"%.80s\"",
                       directory, TV_STATE_NAME, list_key, item->string);
    char *path = tv_format("%s/%s", directory, item->string);
    if (!path)
        return no_memory(directory);
    tv_status status = TV_OK;
    if (!tv_path_exists(path))
        status = tv_fail(TV_E_DATA, "%s is missing; %s lists it", path, TV_STATE_NAME);
    else if ((status = tv_file_size(path, &size)) == TV_OK)
        status = tv_hash_file(path, found);
    if (status == TV_OK && strcmp(expected, found) != 0)
        status = tv_fail(TV_E_DATA,
                         "%s: its checksum is not the one in %s, so it was damaged or changed since it was "
                         "written",
                         path, TV_STATE_NAME);
    free(path);
    return status;
}

tv_status tv_checksums_check_files(const cJSON *state, const char *directory) {
    const cJSON *list = tv_json_get(state, list_key), *item;
    if (!cJSON_IsObject(list))
        return tv_fail(TV_E_DATA, "%s/%s: expected an object of names and hashes for \"%s\"", directory,
                       TV_STATE_NAME, list_key);
    cJSON_ArrayForEach(item, list) {
        TV_RETURN_IF_FAILED(check_file(item, directory));
    }
    return TV_OK;
}

static bool is_weights(const char *name) {
    static const char end[] = ".safetensors";
    size_t length = strlen(name), end_length = sizeof end - 1;
    return strcmp(name, "model.safetensors.index.json") == 0 ||
           (!strchr(name, '/') && length > end_length && strcmp(name + length - end_length, end) == 0);
}

tv_status tv_checksums_check_weights(const char *directory) {
    cJSON *state = NULL;
    const cJSON *item;
    tv_status status = TV_OK;
    uint64_t size;
    char *path = tv_format("%s/%s", directory, TV_STATE_NAME);
    if (!path)
        return no_memory(directory);
    /* Other programs call their state the same, in their own form; what cannot be read has no checksums. */
    if (tv_path_exists(path) && tv_file_size(path, &size) == TV_OK &&
        tv_json_read_file(path, &state) == TV_OK) {
        cJSON_ArrayForEach(item, tv_json_get(state, list_key)) {
            if (status == TV_OK && item->string && is_weights(item->string))
                status = check_file(item, directory);
        }
    }
    cJSON_Delete(state);
    free(path);
    return status;
}
