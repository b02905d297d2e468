/* Hugging Face model directories: see directory.h. */
#include "formats/directory.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "formats/directory_own.h"

static tv_status no_memory(const char *path) {
    return tv_fail(TV_E_MEMORY, "out of host memory for the model in %s", path);
}

static tv_status join(const char *path, const char *name, char **joined) {
    *joined = tv_format("%s/%s", path, name);
    return *joined ? TV_OK : no_memory(path);
}

/* Opens DIR/name as the next shard; `shards` has room. */
static tv_status open_shard(tv_model_directory *d, const char *name) {
    shard *next = &d->shards[d->n_shards];
    TV_RETURN_IF_FAILED(join(d->path, name, &next->path));
    next->name = next->path + strlen(d->path) + 1;
    d->n_shards++;
    return tv_safetensors_open(next->path, &next->file);
}

static tv_status open_single(tv_model_directory *d) {
    d->shards = calloc(1, sizeof *d->shards);
    if (!d->shards)
        return no_memory(d->path);
    TV_RETURN_IF_FAILED(open_shard(d, TV_WEIGHTS_NAME));
    const shard *only = d->shards;
    uint64_t count = tv_safetensors_count(only->file);
    d->places = calloc(count ? count : 1, sizeof *d->places);
    if (!d->places)
        return no_memory(d->path);
    for (; d->n_places < count; d->n_places++)
        d->places[d->n_places] = (place){tv_safetensors_at(only->file, d->n_places), only, false};
    return TV_OK;
}

/* The shard that the index names for a tensor, opened at its first mention. The name is a file in this
 * directory and nowhere else. */
static tv_status find_shard(tv_model_directory *d, const cJSON *item, const char *where,
                            const shard **found) {
    const char *name = cJSON_GetStringValue(item);
    if (!name || !name[0] || name[0] == '.' || strchr(name, '/'))
        return tv_fail(TV_E_DATA, "%s: expected the name of a file beside it for \"%s\", found \"%.80s\"",
                       where, item->string, name ? name : "(not a text)");
    for (uint64_t i = 0; i < d->n_shards; i++)
        if (d->shards[i].name && strcmp(d->shards[i].name, name) == 0) {
            *found = &d->shards[i];
            return TV_OK;
        }
    *found = &d->shards[d->n_shards];
    tv_status status = open_shard(d, name);
    if (status != TV_OK && !tv_path_exists((*found)->path))
        return tv_fail(TV_E_DATA, "%s is missing; %s names it", (*found)->path, where);
    return status;
}

static int compare_places(const void *a, const void *b) {
    return strcmp(((const place *)a)->tensor->name, ((const place *)b)->tensor->name);
}

static place *find_place(const tv_model_directory *d, const char *name) {
    tv_safetensor named = {.name = name};
    place key = {.tensor = &named};
    return d->n_places ? bsearch(&key, d->places, d->n_places, sizeof key, compare_places) : NULL;
}

static tv_status read_weight_map(tv_model_directory *d, const cJSON *map, const char *where) {
    if (!cJSON_IsObject(map))
        return tv_fail(TV_E_DATA, "%s: expected an object \"weight_map\" of tensor and file names", where);
    uint64_t entries = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, map) {
        entries++;
    }
    /* At most one shard for each tensor; never moved, because places point into it. */
    d->shards = calloc(entries ? entries : 1, sizeof *d->shards);
    d->places = calloc(entries ? entries : 1, sizeof *d->places);
    if (!d->shards || !d->places)
        return no_memory(d->path);
    cJSON_ArrayForEach(item, map) {
        const shard *s = NULL;
        TV_RETURN_IF_FAILED(find_shard(d, item, where, &s));
        const tv_safetensor *tensor = tv_safetensors_find(s->file, item->string);
        if (!tensor)
            return tv_fail(TV_E_DATA, "%s: tensor \"%s\" is missing; %s promises it there", s->path,
                           item->string, where);
        d->places[d->n_places++] = (place){tensor, s, false};
    }
    qsort(d->places, d->n_places, sizeof *d->places, compare_places);
    for (uint64_t i = 1; i < d->n_places; i++)
        if (compare_places(&d->places[i - 1], &d->places[i]) == 0)
            return tv_fail(TV_E_DATA, "%s names tensor \"%s\" twice", where, d->places[i].tensor->name);
    return TV_OK;
}

/* What a shard holds, the index names there and nowhere else: other readers take the whole of every shard, so
 * that a tensor of two shards would be one here and another there. */
static tv_status check_shards(const tv_model_directory *d, const char *where) {
    for (uint64_t i = 0; i < d->n_shards; i++)
        for (uint64_t k = 0; k < tv_safetensors_count(d->shards[i].file); k++) {
            const char *name = tv_safetensors_at(d->shards[i].file, k)->name;
            const place *named = find_place(d, name);
            if (!named)
                return tv_fail(TV_E_DATA, "%s: tensor \"%s\" is in this shard, but %s does not name it",
                               d->shards[i].path, name, where);
            if (named->shard != &d->shards[i])
                return tv_fail(TV_E_DATA, "%s: tensor \"%s\" is also in %s, where %s promises it",
                               d->shards[i].path, name, named->shard->name, where);
        }
    return TV_OK;
}

static tv_status open_sharded(tv_model_directory *d, const char *index_path) {
    cJSON *root = NULL;
    TV_RETURN_IF_FAILED(tv_json_read_file(index_path, &root));
    tv_status status = read_weight_map(d, tv_json_get(root, "weight_map"), index_path);
    if (status == TV_OK)
        status = check_shards(d, index_path);
    cJSON_Delete(root);
    return status;
}

/* What people have in place of the files that are read. */
static tv_status other_weights(const tv_model_directory *d) {
    static const char pickle[] =
        "a pickle, which can hold programs and is not read; save the model as safetensors";
    static const struct {
        const char *name, *what;
    } others[] = {
        {"pytorch_model.bin", pickle},
        {"pytorch_model.bin.index.json", pickle},
        {"consolidated.00.pth", pickle},
        {"adapter_model.safetensors", "an adapter alone; merge it into its model"},
        {"tf_model.h5", "of TensorFlow; save the model as safetensors"},
        {"flax_model.msgpack", "of Flax; save the model as safetensors"},
    };
    for (size_t i = 0; i < TV_COUNT(others); i++) {
        char *path = NULL;
        TV_RETURN_IF_FAILED(join(d->path, others[i].name, &path));
        bool exists = tv_path_exists(path);
        free(path);
        if (exists)
            return tv_fail(TV_E_DATA, "%s: expected %s or %s, found %s: %s", d->path, TV_WEIGHTS_NAME,
                           TV_INDEX_NAME, others[i].name, others[i].what);
    }
    return tv_fail(TV_E_DATA, "%s: expected %s or %s, found neither", d->path, TV_WEIGHTS_NAME,
                   TV_INDEX_NAME);
}

static tv_status open_weights(tv_model_directory *d) {
    char *single = NULL, *index = NULL;
    tv_status status;
    TV_TRY(join(d->path, TV_WEIGHTS_NAME, &single));
    TV_TRY(join(d->path, TV_INDEX_NAME, &index));
    if (tv_path_exists(single))
        status = open_single(d);
    else if (tv_path_exists(index))
        status = open_sharded(d, index);
    else
        status = other_weights(d);
done:
    free(single);
    free(index);
    return status;
}

/* Files of the headless model (GPT2Model, LlamaModel) leave the prefix out. */
static place *find_entry(tv_model_directory *d, const char *name) {
    size_t prefix = strlen(d->layout->prefix);
    place *found = find_place(d, name);
    if (!found && strncmp(name, d->layout->prefix, prefix) == 0)
        found = find_place(d, name + prefix);
    return found;
}

/* "(64, 192)" */
static void print_shape(const uint64_t *shape, uint32_t rank, char text[256]) {
    int used = snprintf(text, 256, "(");
    for (uint32_t i = 0; i < rank; i++)
        used += snprintf(text + used, (size_t)(256 - used), "%s%llu", i ? ", " : "",
                         (unsigned long long)shape[i]);
    snprintf(text + used, (size_t)(256 - used), ")");
}

static tv_status check_entry(const tv_layout_entry *entry, const place *found) {
    const tv_safetensor *tensor = found->tensor;
    bool same = tensor->rank == entry->rank;
    for (uint32_t i = 0; same && i < entry->rank; i++)
        same = tensor->shape[i] == entry->shape[i];
    if (!same) {
        char expected[256], actual[256];
        print_shape(entry->shape, entry->rank, expected);
        print_shape(tensor->shape, tensor->rank, actual);
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\": expected the shape %s from config.json, found %s; they "
                       "belong to different models",
                       found->shard->path, tensor->name, expected, actual);
    }
    /* Reading no rows checks the type alone. */
    return tv_safetensors_read(found->shard->file, tensor, 0, 0, false, NULL);
}

/* Files of tied models may hold the head too; it must be what it is tied to, bit for bit. */
static tv_status check_tied_head(tv_model_directory *d, const place *head) {
    const place *embedding = find_entry(d, d->layout->tied_to);
    bool same = strcmp(head->tensor->dtype, embedding->tensor->dtype) == 0 &&
                head->tensor->bytes == embedding->tensor->bytes;
    uint8_t a[1 << 15], b[sizeof a];
    for (uint64_t at = 0, part; same && at < head->tensor->bytes; at += part) {
        part = tv_min_u64(sizeof a, head->tensor->bytes - at);
        TV_RETURN_IF_FAILED(tv_safetensors_copy(head->shard->file, head->tensor, at, part, a));
        TV_RETURN_IF_FAILED(tv_safetensors_copy(embedding->shard->file, embedding->tensor, at, part, b));
        same = memcmp(a, b, part) == 0;
    }
    if (same)
        return TV_OK;
    return tv_fail(TV_E_DATA,
                   "%s: tensor \"%s\" differs from \"%s\", but config.json ties them; set "
                   "\"tie_word_embeddings\" to false there if the head is its own",
                   head->shard->path, head->tensor->name, embedding->tensor->name);
}

/* Every entry of the layout has its tensor, and every tensor its entry. */
static tv_status match_tensors(tv_model_directory *d) {
    d->of_entry = calloc(d->layout->count, sizeof *d->of_entry);
    if (!d->of_entry)
        return no_memory(d->path);
    for (uint64_t i = 0; i < d->layout->count; i++) {
        const tv_layout_entry *entry = &d->layout->entries[i];
        place *found = find_entry(d, entry->name);
        if (!found) {
            char expected[256];
            print_shape(entry->shape, entry->rank, expected);
            return tv_fail(TV_E_DATA,
                           "%s: tensor \"%s\" with the shape %s is missing from the model's weights; "
                           "config.json asks for it",
                           d->path, entry->name, expected);
        }
        TV_RETURN_IF_FAILED(check_entry(entry, found));
        found->used = true;
        d->of_entry[i] = (uint64_t)(found - d->places);
    }
    for (uint64_t i = 0; i < d->n_places; i++) {
        const place *p = &d->places[i];
        const char *name = p->tensor->name;
        if (p->used || tv_layout_is_buffer(name))
            continue;
        if (!d->layout->tied_head || strcmp(name, d->layout->tied_head) != 0)
            return tv_fail(TV_E_DATA,
                           "%s: tensor \"%s\" has no place in the model that config.json describes; they "
                           "belong to different models",
                           p->shard->path, name);
        TV_RETURN_IF_FAILED(check_tied_head(d, p));
    }
    return TV_OK;
}

/* ---- types ---- */

/* The list again, each parameter stored as it is published. */
static tv_status take_types(tv_model_directory *d) {
    const tv_parameter_list *list = tv_model_directory_parameters(d);
    tv_parameter_list *typed = NULL;
    tv_dtype *types = calloc(list->count, sizeof *types);
    uint32_t count = 0;
    if (!types)
        return no_memory(d->path);
    for (uint32_t i = 0; i < list->count; i++)
        if (!tv_parameter_is_of_adapter(&list->items[i]))
            types[count++] = tv_model_directory_dtype(d, i);
    tv_status status = tv_parameter_list_create_stored(list, types, &typed);
    free(types);
    if (status != TV_OK)
        return status;
    tv_parameter_list_destroy(&d->list);
    d->list = typed;
    return TV_OK;
}

/* ---- adapters ---- */

/* A directory that holds whole weights is a model, whatever lies beside them. */
static bool is_adapter(const char *path) {
    char *weights = tv_format("%s/%s", path, TV_WEIGHTS_NAME);
    bool whole = weights && tv_path_exists(weights);
    free(weights);
    return !whole && tv_peft_is(path);
}

static bool is_model(const char *path) {
    return tv_path_is_directory(path) || tv_gguf_is_one(path);
}

/* The base's place: as it was given, or as the adapter names it, from here or from the adapter's folder. */
static tv_status find_base(const char *given, const tv_peft *peft, const char *adapter, char **base) {
    const char *named = given ? given : tv_peft_base(peft);
    char *beside = NULL;
    if (!named)
        return tv_fail(TV_E_DATA,
                       "%s: its %s does not name the base that it adapts; name the base's directory", adapter,
                       TV_PEFT_CONFIG_NAME);
    tv_status status = TV_OK;
    if (named[0] != '/' && !is_model(named)) {
        beside = tv_format("%s/%s", adapter, named);
        if (!beside)
            return no_memory(adapter);
    }
    if (is_model(beside ? beside : named))
        status = tv_real_path(beside ? beside : named, base);
    else
        status =
            tv_fail(TV_E_DATA,
                    "%s: it adapts \"%.200s\", which is no directory here; name the directory where that "
                    "model lies",
                    adapter, named);
    free(beside);
    if (status == TV_OK && is_adapter(*base)) {
        status = tv_fail(TV_E_DATA, "%s: its base %s is an adapter too; merge that one into its model first",
                         adapter, *base);
        free(*base);
        *base = NULL;
    }
    return status;
}

/* What the adapter's own config.json says of tokens; its sizes must be the base's. */
static tv_status take_own_config(const char *adapter, const char *base, tv_model_config *config) {
    tv_model_config own = {0};
    char *path = NULL;
    TV_RETURN_IF_FAILED(join(adapter, "config.json", &path));
    tv_status status = tv_path_exists(path) ? tv_model_config_read_file(path, &own) : TV_OK;
    bool there = tv_path_exists(path);
    free(path);
    if (status != TV_OK || !there)
        return status;
    if (!tv_model_config_same_body(&own, config))
        return tv_fail(
            TV_E_DATA,
            "%s: it was made for a model of other sizes than %s has (their config.json differ); an "
            "adapter fits its own base alone",
            adapter, base);
    config->bos_token_id = own.bos_token_id;
    config->eos_token_id = own.eos_token_id;
    config->pad_token_id = own.pad_token_id;
    memcpy(config->more_eos_token_ids, own.more_eos_token_ids, sizeof config->more_eos_token_ids);
    return TV_OK;
}

tv_status tv_model_directory_open_adapted(const char *given, const char *adapter,
                                          tv_model_directory **directory) {
    tv_status status;
    char *base = NULL;
    *directory = NULL;
    tv_model_directory *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory(adapter);
    d->path = tv_format("%s", adapter);
    if (!d->path) {
        status = no_memory(adapter);
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_peft_open(adapter, &d->peft));
    TV_TRY_OR_FAIL(find_base(given, d->peft, adapter, &base));
    TV_TRY_OR_FAIL(tv_model_directory_open(base, &d->base));
    tv_model_config config = tv_model_directory_parameters(d->base)->config;
    TV_TRY_OR_FAIL(take_own_config(adapter, base, &config));
    TV_TRY_OR_FAIL(tv_peft_match(d->peft, &config, base, &d->list));
    TV_TRY_OR_FAIL(take_types(d));
    free(base);
    *directory = d;
    return TV_OK;
fail:
    free(base);
    tv_model_directory_close(&d);
    return status;
}

const tv_model_directory *tv_model_directory_base(const tv_model_directory *directory) {
    return directory->base;
}

tv_status tv_model_directory_find_base(const char *path, char **base) {
    tv_peft *peft = NULL;
    *base = NULL;
    if (!is_adapter(path))
        return TV_OK;
    tv_status status = tv_peft_open(path, &peft);
    if (status == TV_OK)
        status = find_base(NULL, peft, path, base);
    tv_peft_close(&peft);
    return status;
}

tv_status tv_model_directory_open(const char *path, tv_model_directory **directory) {
    tv_status status;
    tv_model_config config;
    char *config_path = NULL;
    *directory = NULL;
    if (is_adapter(path))
        return tv_model_directory_open_adapted(NULL, path, directory);
    bool gguf = tv_gguf_is_one(path);
    if (!gguf && !tv_path_is_directory(path))
        return tv_fail(
            TV_E_DATA,
            "%s: expected a model directory with config.json and %s, found no directory, nor a GGUF file",
            path, TV_WEIGHTS_NAME);
    tv_model_directory *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory(path);
    d->path = tv_format("%s", path);
    if (!d->path) {
        status = no_memory(path);
        goto fail;
    }
    if (gguf) {
        TV_TRY_OR_FAIL(tv_gguf_model_open(path, &d->gguf));
        TV_TRY_OR_FAIL(take_types(d));
        *directory = d;
        return TV_OK;
    }
    TV_TRY_OR_FAIL(join(path, "config.json", &config_path));
    if (!tv_path_exists(config_path)) {
        status = tv_fail(TV_E_DATA, "%s: expected a model directory with config.json, found none", path);
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_model_config_read_file(config_path, &config));
    TV_TRY_OR_FAIL(tv_parameter_list_create(&config, &d->list));
    TV_TRY_OR_FAIL(tv_layout_create(d->list, &d->layout));
    TV_TRY_OR_FAIL(open_weights(d));
    TV_TRY_OR_FAIL(match_tensors(d));
    TV_TRY_OR_FAIL(take_types(d));
    free(config_path);
    *directory = d;
    return TV_OK;
fail:
    free(config_path);
    tv_model_directory_close(&d);
    return status;
}

void tv_model_directory_close(tv_model_directory **directory) {
    tv_model_directory *d = *directory;
    if (d) {
        for (uint64_t i = 0; i < d->n_shards; i++) {
            tv_safetensors_close(&d->shards[i].file);
            free(d->shards[i].path);
        }
        tv_gguf_model_close(&d->gguf);
        tv_model_directory_close(&d->base);
        tv_peft_close(&d->peft);
        tv_layout_destroy(&d->layout);
        tv_parameter_list_destroy(&d->list);
        free(d->of_entry);
        free(d->places);
        free(d->shards);
        free(d->path);
        free(d);
    }
    *directory = NULL;
}

const char *tv_model_directory_path(const tv_model_directory *directory) {
    return directory->path;
}
