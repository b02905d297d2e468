/* Fingerprints and their list: see inputs.h. */
#include "run/inputs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/checkpoint.h"

enum { PIECES = 64, PIECE_BYTES = 1 << 20, MOST_DEPTH = 32 };

/* ---- fingerprints ---- */

/* The size, and pieces from the first bytes to the last. */
static tv_status add_pieces(tv_hash *hash, const char *path) {
    tv_file *file = NULL;
    tv_status status;
    uint8_t *piece = malloc(PIECE_BYTES);
    if (!piece)
        return tv_fail(TV_E_MEMORY, "out of host memory for a fingerprint");
    TV_TRY(tv_file_open(path, &file));
    uint64_t size = tv_file_bytes(file);
    tv_hash_add(hash, &size, sizeof size);
    if (size < PIECE_BYTES) {
        status = tv_fail(TV_E_DATA, "%s: it became shorter while it was read", path);
        goto done;
    }
    for (uint64_t i = 0; i <= PIECES; i++) {
        uint64_t last = size - PIECE_BYTES, step = last / (PIECES - 1) * i;
        TV_TRY(tv_file_read_at(file, step < last ? step : last, piece, PIECE_BYTES));
        tv_hash_add(hash, piece, PIECE_BYTES);
    }
done:
    tv_file_close(&file);
    free(piece);
    return status;
}

static tv_status add_file(tv_hash *hash, const char *path, uint64_t size) {
    return size > TV_FINGERPRINT_WHOLE ? add_pieces(hash, path) : tv_hash_add_file(hash, path);
}

/* What a model is, of the names in its directory. */
static bool is_of_model(const char *name) {
    static const char *const names[] = {
        "config.json",    "generation_config.json", "model.safetensors.index.json",
        "tokenizer.json", "tokenizer_config.json",  "chat_template.jinja",
        "reward.json",    "adapter_config.json",    "adapter_model.safetensors"};
    for (size_t i = 0; i < TV_COUNT(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    const char *suffix = strstr(name, ".safetensors");
    return strncmp(name, "model", strlen("model")) == 0 && suffix && !suffix[strlen(".safetensors")];
}

/* Names and contents, in the order of the names; what is neither file nor folder is no data. */
static tv_status add_folder(tv_hash *hash, const char *path, bool model, int depth) {
    char **names = NULL, *entry = NULL;
    uint64_t count = 0, size;
    tv_status status = TV_OK;
    if (depth > MOST_DEPTH)
        return tv_fail(TV_E_DATA, "%s: expected at most %d folders in one another, found more", path,
                       MOST_DEPTH);
    TV_RETURN_IF_FAILED(tv_list_dir(path, &names, &count));
    for (uint64_t i = 0; i < count; i++) {
        if (model && !is_of_model(names[i]))
            continue;
        entry = tv_format("%s/%s", path, names[i]);
        if (!entry) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
            goto done;
        }
        bool folder = tv_path_is_directory(entry);
        if (folder ? !model : tv_file_size(entry, &size) == TV_OK) {
            tv_hash_add(hash, names[i], strlen(names[i]) + 1);
            TV_TRY(folder ? add_folder(hash, entry, false, depth + 1) : add_file(hash, entry, size));
        }
        free(entry);
        entry = NULL;
    }
done:
    free(entry);
    tv_free_names(&names, count);
    return status;
}

static tv_status fingerprint(const char *path, bool model, char text[TV_HASH_TEXT]) {
    tv_hash *hash = NULL;
    uint64_t size = 0;
    text[0] = '\0';
    bool folder = tv_path_is_directory(path);
    if (!folder && tv_file_size(path, &size) != TV_OK)
        return TV_OK;
    tv_status status;
    TV_TRY(tv_hash_create(&hash));
    TV_TRY(folder ? add_folder(hash, path, model, 0) : add_file(hash, path, size));
    tv_hash_print(hash, text);
done:
    tv_hash_destroy(&hash);
    return status;
}

tv_status tv_fingerprint(const char *path, char text[TV_HASH_TEXT]) {
    return fingerprint(path, false, text);
}

tv_status tv_fingerprint_model(const char *given, char text[TV_HASH_TEXT]) {
    char *path = NULL;
    TV_RETURN_IF_FAILED(tv_model_path_resolve(given, &path));
    tv_status status = fingerprint(path, true, text);
    free(path);
    return status;
}

/* ---- the list ---- */

/* `fingerprint` is a text of its own length, empty included. */
static tv_status append(tv_inputs *inputs, const char *name, const char *path, const char *print) {
    tv_input *items = realloc(inputs->items, (inputs->count + 1) * sizeof *items);
    if (!items)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of inputs");
    inputs->items = items;
    tv_input *item = &items[inputs->count];
    *item = (tv_input){.name = tv_format("%s", name), .path = tv_format("%s", path)};
    snprintf(item->fingerprint, sizeof item->fingerprint, "%s", print);
    inputs->count++;
    return item->name && item->path ? TV_OK
                                    : tv_fail(TV_E_MEMORY, "out of host memory for the list of inputs");
}

tv_status tv_inputs_add(tv_inputs *inputs, const char *name, const char *path) {
    char text[TV_HASH_TEXT];
    TV_RETURN_IF_FAILED(tv_fingerprint(path, text));
    return append(inputs, name, path, text);
}

tv_status tv_inputs_add_model(tv_inputs *inputs, const char *name, const char *given) {
    char text[TV_HASH_TEXT];
    TV_RETURN_IF_FAILED(tv_fingerprint_model(given, text));
    return append(inputs, name, given, text);
}

tv_status tv_inputs_keep(tv_inputs *inputs, const tv_input *item) {
    if (!item)
        return TV_OK;
    for (uint64_t i = 0; i < inputs->count; i++) {
        tv_input *same = &inputs->items[i];
        if (strcmp(same->name, item->name) != 0)
            continue;
        char *path = tv_format("%s", item->path);
        if (!path)
            return tv_fail(TV_E_MEMORY, "out of host memory for the list of inputs");
        free(same->path);
        same->path = path;
        memcpy(same->fingerprint, item->fingerprint, sizeof same->fingerprint);
        return TV_OK;
    }
    return append(inputs, item->name, item->path, item->fingerprint);
}

const tv_input *tv_inputs_find(const tv_inputs *inputs, const char *name) {
    for (uint64_t i = 0; i < inputs->count; i++)
        if (strcmp(inputs->items[i].name, name) == 0)
            return &inputs->items[i];
    return NULL;
}

void tv_inputs_free(tv_inputs *inputs) {
    for (uint64_t i = 0; i < inputs->count; i++) {
        free(inputs->items[i].name);
        free(inputs->items[i].path);
    }
    free(inputs->items);
    *inputs = (tv_inputs){0};
}

/* ---- JSON ---- */

static int by_name(const void *a, const void *b) {
    return strcmp((*(const tv_input *const *)a)->name, (*(const tv_input *const *)b)->name);
}

tv_status tv_inputs_tree(const tv_inputs *inputs, cJSON **out) {
    cJSON *root = cJSON_CreateObject();
    /* By name: a run that was resumed, which finds its inputs in another order, writes the same file. */
    const tv_input **order = calloc(inputs->count + 1, sizeof *order);
    bool built = root && order;
    for (uint64_t i = 0; built && i < inputs->count; i++)
        order[i] = &inputs->items[i];
    if (built)
        qsort((void *)order, inputs->count, sizeof *order, by_name);
    for (uint64_t i = 0; built && i < inputs->count; i++) {
        const tv_input *item = order[i];
        cJSON *object = cJSON_AddObjectToObject(root, item->name);
        built = object && tv_json_set_string(object, "path", item->path) &&
                tv_json_set_string(object, "fingerprint", item->fingerprint);
    }
    free((void *)order);
    *out = built ? root : NULL;
    if (built)
        return TV_OK;
    cJSON_Delete(root);
    return tv_fail(TV_E_MEMORY, "out of host memory for the list of inputs");
}

tv_status tv_inputs_read(const cJSON *root, const char *where, tv_inputs *inputs) {
    const cJSON *item;
    cJSON_ArrayForEach(item, root) {
        const char *path, *print;
        TV_RETURN_IF_FAILED(tv_json_string(item, "path", where, "", &path));
        TV_RETURN_IF_FAILED(tv_json_string(item, "fingerprint", where, "", &print));
        if (!item->string || strlen(print) >= TV_HASH_TEXT)
            return tv_fail(TV_E_DATA, "%s: expected a fingerprint of %d digits, found \"%.40s\"", where,
                           TV_HASH_TEXT - 1, print);
        TV_RETURN_IF_FAILED(append(inputs, item->string, path, print));
    }
    return TV_OK;
}
