/* Writing model directories: see directory.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "formats/directory.h"
#include "formats/layout.h"
#include "formats/peft.h"
#include "formats/safetensors.h"

/* What a turned tensor is made in: matrices of GPT-2 at once, of its giants in two or three turns. */
static const uint64_t TURNED_BYTES = UINT64_C(32) << 20;

static tv_status no_memory(const char *path) {
    return tv_fail(TV_E_MEMORY, "out of host memory for the model in %s", path);
}

static tv_status join(const char *path, const char *name, char **joined) {
    *joined = tv_format("%s/%s", path, name);
    return *joined ? TV_OK : no_memory(path);
}

/* ---- configs ---- */

/* What generation in transformers starts from; only the ids that there are. */
static tv_status write_generation_config(const char *path, const tv_model_config *config) {
    static const char *const keys[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    cJSON *tree = NULL;
    TV_RETURN_IF_FAILED(tv_model_config_tree(config, &tree));
    cJSON *root = cJSON_CreateObject();
    bool done = root && tv_json_set_bool(root, "_from_model_config", true);
    for (int i = 0; i < 3; i++) {
        cJSON *id = cJSON_DetachItemFromObjectCaseSensitive(tree, keys[i]);
        if (!done || !id || cJSON_IsNull(id))
            cJSON_Delete(id);
        else
            done = cJSON_AddItemToObject(root, keys[i], id);
    }
    tv_status status = done ? tv_json_write_file(path, root) : no_memory(path);
    cJSON_Delete(root);
    cJSON_Delete(tree);
    return status;
}

/* With the type of the weights, which transformers loads them as. */
static tv_status write_config(const char *path, const tv_model_config *config, tv_dtype dtype) {
    cJSON *tree = NULL;
    TV_RETURN_IF_FAILED(tv_model_config_tree(config, &tree));
    const char *name = dtype == TV_BF16 ? "bfloat16" : dtype == TV_F16 ? "float16" : "float32";
    tv_status status =
        tv_json_set_string(tree, "torch_dtype", name) ? tv_json_write_file(path, tree) : no_memory(path);
    cJSON_Delete(tree);
    return status;
}

/* ---- weights ---- */

typedef struct weights_writer {
    const char *path; /* of the directory */
    const tv_parameter_list *list;
    const tv_layout *layout;
    tv_safetensor *tensors; /* of the layout's entries */
    uint64_t *shard_ends;   /* entries up to the end of each shard */
    uint64_t shards;
    tv_parameter_source source;
    void *context;
    tv_dtype dtype;
    float *piece;       /* rows of a parameter */
    uint8_t *converted; /* the piece as the file has it */
    uint8_t *turned;    /* (some columns, rows) */
} weights_writer;

static tv_status convert(const weights_writer *w, uint32_t index, uint64_t count) {
    uint16_t *halves = (uint16_t *)(void *)w->converted;
    if (w->dtype == TV_F32)
        memcpy(w->converted, w->piece, count * sizeof(float));
    for (uint64_t i = 0; w->dtype == TV_BF16 && i < count; i++)
        halves[i] = tv_float_to_bfloat16(w->piece[i]);
    for (uint64_t i = 0; w->dtype == TV_F16 && i < count; i++) {
        halves[i] = tv_float_to_half(w->piece[i]);
        if ((halves[i] & 0x7fff) == 0x7c00 && isfinite(w->piece[i]))
            return tv_fail(
                TV_E_DATA,
                "%s: the parameter \"%s\" holds %g, and f16 ends at 65504; write it as bf16 or f32", w->path,
                w->list->items[index].name, (double)w->piece[i]);
    }
    return TV_OK;
}

/* Rows [first, first + rows) of a parameter as `converted`. */
static tv_status fetch(const weights_writer *w, uint32_t index, uint64_t first, uint64_t rows) {
    TV_RETURN_IF_FAILED(w->source(w->context, index, first, rows, TV_F32, w->piece));
    return convert(w, index, rows * w->list->items[index].shape[1]);
}

static tv_status write_straight(const weights_writer *w, const tv_layout_entry *entry,
                                tv_safetensors_writer *out) {
    const tv_parameter *p = &w->list->items[entry->parameter];
    const uint64_t piece = tv_parameter_piece_rows(p), size = tv_dtype_bytes(w->dtype);
    for (uint64_t done = 0, rows; done < entry->rows; done += rows) {
        rows = tv_min_u64(piece, entry->rows - done);
        TV_RETURN_IF_FAILED(fetch(w, entry->parameter, entry->first_row + done, rows));
        TV_RETURN_IF_FAILED(tv_safetensors_write(out, w->converted, rows * p->shape[1] * size));
    }
    return TV_OK;
}

/* A block of columns at a time, for which the parameter is asked for anew; all of them fit but in giants. */
static tv_status write_turned(const weights_writer *w, const tv_layout_entry *entry,
                              tv_safetensors_writer *out) {
    const tv_parameter *p = &w->list->items[entry->parameter];
    const uint64_t piece = tv_parameter_piece_rows(p), size = tv_dtype_bytes(w->dtype);
    const uint64_t columns = p->shape[1], block = tv_max_u64(1, TURNED_BYTES / (entry->rows * size));
    for (uint64_t first = 0, width; first < columns; first += width) {
        width = tv_min_u64(block, columns - first);
        for (uint64_t done = 0, rows; done < entry->rows; done += rows) {
            rows = tv_min_u64(piece, entry->rows - done);
            TV_RETURN_IF_FAILED(fetch(w, entry->parameter, entry->first_row + done, rows));
            for (uint64_t c = 0; c < width; c++)
                for (uint64_t r = 0; r < rows; r++)
                    memcpy(w->turned + (c * entry->rows + done + r) * size,
                           w->converted + (r * columns + first + c) * size, size);
        }
        TV_RETURN_IF_FAILED(tv_safetensors_write(out, w->turned, width * entry->rows * size));
    }
    return TV_OK;
}

static tv_status write_shard(const weights_writer *w, const char *name, uint64_t first, uint64_t end) {
    tv_status status;
    tv_safetensors_writer *out = NULL;
    char *path = NULL;
    TV_TRY(join(w->path, name, &path));
    TV_TRY(tv_safetensors_writer_open(path, w->tensors + first, end - first, &out));
    for (uint64_t i = first; i < end; i++) {
        const tv_layout_entry *entry = &w->layout->entries[i];
        TV_TRY(entry->transposed ? write_turned(w, entry, out) : write_straight(w, entry, out));
    }
    TV_TRY(tv_safetensors_writer_commit(&out));
done:
    tv_safetensors_writer_abort(&out);
    free(path);
    return status;
}

/* Tensors in their order, a new shard where the next one would go beyond the limit, as huggingface_hub does.
 */
static uint64_t cut_shards(weights_writer *w, uint64_t limit) {
    uint64_t total = 0, shard = 0;
    for (uint64_t i = 0; i < w->layout->count; i++) {
        const tv_layout_entry *entry = &w->layout->entries[i];
        uint64_t bytes = entry->rows * w->list->items[entry->parameter].shape[1] * tv_dtype_bytes(w->dtype);
        if (shard && bytes > limit - tv_min_u64(limit, shard)) {
            w->shard_ends[w->shards++] = i;
            shard = 0;
        }
        shard += bytes;
        total += bytes;
    }
    w->shard_ends[w->shards++] = w->layout->count;
    return total;
}

static void shard_name(uint64_t shard, uint64_t shards, char name[64]) {
    snprintf(name, 64, "model-%05llu-of-%05llu.safetensors", (unsigned long long)shard + 1,
             (unsigned long long)shards);
}

static tv_status write_index(const weights_writer *w, uint64_t total) {
    char *path = NULL, name[64];
    cJSON *root = cJSON_CreateObject();
    cJSON *metadata = cJSON_AddObjectToObject(root, "metadata");
    cJSON *map = cJSON_AddObjectToObject(root, "weight_map");
    bool made = metadata && map && cJSON_AddNumberToObject(metadata, "total_size", (double)total);
    for (uint64_t s = 0, i = 0; s < w->shards; s++) {
        shard_name(s, w->shards, name);
        for (; made && i < w->shard_ends[s]; i++)
            made = cJSON_AddStringToObject(map, w->layout->entries[i].name, name) != NULL;
    }
    tv_status status = made ? join(w->path, TV_INDEX_NAME, &path) : no_memory(w->path);
    if (status == TV_OK)
        status = tv_json_write_file(path, root);
    free(path);
    cJSON_Delete(root);
    return status;
}

/* What an earlier model left under the name that is not written now: readers would take it for this one's. */
static tv_status remove_other(const char *path, const char *name) {
    char *other = NULL;
    TV_RETURN_IF_FAILED(join(path, name, &other));
    tv_status status = tv_remove_tree(other);
    free(other);
    return status;
}

static tv_status write_files(weights_writer *w, uint64_t limit) {
    char name[64];
    uint64_t total = cut_shards(w, limit);
    if (w->shards == 1) {
        TV_RETURN_IF_FAILED(write_shard(w, TV_WEIGHTS_NAME, 0, w->layout->count));
        return remove_other(w->path, TV_INDEX_NAME);
    }
    for (uint64_t s = 0; s < w->shards; s++) {
        shard_name(s, w->shards, name);
        TV_RETURN_IF_FAILED(write_shard(w, name, s ? w->shard_ends[s - 1] : 0, w->shard_ends[s]));
    }
    TV_RETURN_IF_FAILED(write_index(w, total));
    return remove_other(w->path, TV_WEIGHTS_NAME);
}

static const char *file_type(tv_dtype dtype) {
    return dtype == TV_BF16 ? "BF16" : dtype == TV_F16 ? "F16" : "F32";
}

static tv_status write_weights(weights_writer *w, uint64_t limit) {
    const uint64_t elements = tv_parameter_piece_elements(w->list), size = tv_dtype_bytes(w->dtype);
    uint64_t turned = 0;
    w->tensors = calloc(w->layout->count, sizeof *w->tensors);
    w->shard_ends = calloc(w->layout->count + 1, sizeof *w->shard_ends);
    w->piece = malloc(elements * sizeof *w->piece);
    w->converted = malloc(elements * size);
    for (uint64_t i = 0; w->tensors && i < w->layout->count; i++) {
        const tv_layout_entry *entry = &w->layout->entries[i];
        w->tensors[i] = (tv_safetensor){.name = entry->name,
                                        .dtype = file_type(w->dtype),
                                        .rank = entry->rank,
                                        .shape = {entry->shape[0], entry->shape[1]}};
        uint64_t row = entry->rows * size, all = row * w->list->items[entry->parameter].shape[1];
        if (entry->transposed)
            turned = tv_max_u64(turned, tv_min_u64(all, tv_max_u64(row, TURNED_BYTES)));
    }
    w->turned = turned ? malloc(turned) : NULL;
    tv_status status = w->tensors && w->shard_ends && w->piece && w->converted && (w->turned || !turned)
                           ? write_files(w, limit)
                           : no_memory(w->path);
    free(w->tensors);
    free(w->shard_ends);
    free(w->piece);
    free(w->converted);
    free(w->turned);
    return status;
}

tv_status tv_model_directory_write_as(const char *path, const tv_parameter_list *list, tv_dtype dtype,
                                      uint64_t shard_bytes, tv_parameter_source source, void *context) {
    tv_status status;
    char *config = NULL, *generation = NULL;
    tv_layout *layout = NULL;
    if (dtype != TV_F32 && dtype != TV_F16 && dtype != TV_BF16)
        return tv_fail(TV_E_USAGE, "%s: weights are written as f32, f16 or bf16", path);
    TV_TRY(tv_layout_create(list, &layout));
    TV_TRY(join(path, "config.json", &config));
    TV_TRY(join(path, "generation_config.json", &generation));
    TV_TRY(write_config(config, &list->config, dtype));
    if (list->config.head == TV_MODEL_HEAD_LANGUAGE)
        TV_TRY(write_generation_config(generation, &list->config));
    if (list->adapter.rank) {
        status = tv_peft_write(path, list, source, context);
        goto done;
    }
    weights_writer writer = {
        .path = path, .list = list, .layout = layout, .source = source, .context = context, .dtype = dtype};
    TV_TRY(write_weights(&writer, shard_bytes ? shard_bytes : TV_SHARD_BYTES));
done:
    free(config);
    free(generation);
    tv_layout_destroy(&layout);
    return status;
}

tv_status tv_model_directory_write(const char *path, const tv_parameter_list *list,
                                   tv_parameter_source source, void *context) {
    return tv_model_directory_write_as(path, list, TV_F32, 0, source, context);
}
