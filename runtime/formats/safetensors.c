/* Opening safetensors: the header and its checks; see safetensors.h. */
#include "formats/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/forms.h"
#include "base/json.h"
#include "formats/safetensors_types.h"

/* The limit of the format's own reader. */
#define MAX_HEADER_BYTES UINT64_C(100000000)

struct tv_safetensors {
    char *where;
    tv_file *file;        /* NULL: the caller's bytes */
    const uint8_t *bytes; /* of the whole file */
    uint64_t size;
    uint64_t data_at, data_bytes;
    cJSON *header; /* owns the names */
    const cJSON *metadata;
    tv_safetensor *tensors; /* by name */
    uint64_t count;
};

static bool is_whole(const cJSON *item, uint64_t *value) {
    double number = cJSON_IsNumber(item) ? item->valuedouble : -1;
    /* Doubles hold whole numbers exactly up to 2^53. */
    if (!(number >= 0 && number <= 0x1p53) || number > floor(number))
        return false;
    *value = (uint64_t)number;
    return true;
}

/* One of a tensor's three keys, exactly once. */
static tv_status find_key(const cJSON *entry, const char *key, const char *where, const cJSON **value) {
    *value = NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, entry) {
        if (strcmp(item->string, key) != 0)
            continue;
        if (*value)
            return tv_fail(TV_E_DATA, "%s: tensor \"%s\" has \"%s\" twice", where, entry->string, key);
        *value = item;
    }
    if (!*value)
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\" has no \"%s\"", where, entry->string, key);
    return TV_OK;
}

/* Fills rank, shape and count from a JSON list. */
static tv_status parse_shape(const cJSON *list, const char *where, tv_safetensor *tensor) {
    if (!cJSON_IsArray(list))
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\": expected a list of sizes for \"shape\"", where,
                       tensor->name);
    tensor->count = 1;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (tensor->rank == TV_SAFETENSORS_MAX_RANK)
            return tv_fail(TV_E_DATA, "%s: tensor \"%s\" has more than %d dimensions", where, tensor->name,
                           TV_SAFETENSORS_MAX_RANK);
        uint64_t *size = &tensor->shape[tensor->rank++];
        if (!is_whole(item, size))
            return tv_fail(TV_E_DATA,
                           "%s: tensor \"%s\": expected whole numbers from 0 in \"shape\", found another "
                           "value in place %u",
                           where, tensor->name, tensor->rank);
        if (!tv_mul_u64(tensor->count, *size, &tensor->count))
            return tv_fail(TV_E_DATA, "%s: tensor \"%s\": its shape overflows 64 bits", where, tensor->name);
    }
    return TV_OK;
}

static tv_status parse_offsets(const cJSON *list, const char *where, uint64_t data_bytes,
                               tv_safetensor *tensor) {
    uint64_t begin = 0, end = 0;
    const cJSON *first = cJSON_IsArray(list) ? list->child : NULL;
    const cJSON *second = first ? first->next : NULL;
    if (!second || second->next || !is_whole(first, &begin) || !is_whole(second, &end))
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\": expected two whole numbers from 0 for \"data_offsets\"",
                       where, tensor->name);
    if (begin > end)
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\" begins at byte %llu, behind its end %llu", where,
                       tensor->name, (unsigned long long)begin, (unsigned long long)end);
    if (end > data_bytes)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" ends at byte %llu, but the file has %llu bytes of data; it may be "
                       "cut short",
                       where, tensor->name, (unsigned long long)end, (unsigned long long)data_bytes);
    tensor->offset = begin;
    tensor->bytes = end - begin;
    return TV_OK;
}

static tv_status parse_tensor(const cJSON *entry, const char *where, uint64_t data_bytes,
                              tv_safetensor *tensor) {
    const cJSON *dtype, *shape, *offsets;
    *tensor = (tv_safetensor){.name = entry->string};
    if (!cJSON_IsObject(entry))
        return tv_fail(TV_E_DATA, "%s: expected an object for tensor \"%s\"", where, entry->string);
    TV_RETURN_IF_FAILED(find_key(entry, "dtype", where, &dtype));
    TV_RETURN_IF_FAILED(find_key(entry, "shape", where, &shape));
    TV_RETURN_IF_FAILED(find_key(entry, "data_offsets", where, &offsets));
    const tv_safetensors_type *type =
        cJSON_IsString(dtype) ? tv_safetensors_find_type(dtype->valuestring) : NULL;
    if (!type)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" has the unknown type %.40s; expected F32, F16, BF16, "
                       "F64 or one of the integer types",
                       where, entry->string, cJSON_IsString(dtype) ? dtype->valuestring : "(not a text)");
    tensor->dtype = type->name;
    TV_RETURN_IF_FAILED(parse_shape(shape, where, tensor));
    TV_RETURN_IF_FAILED(parse_offsets(offsets, where, data_bytes, tensor));
    uint64_t expected;
    if (!tv_mul_u64(tensor->count, type->bytes, &expected))
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\": its shape overflows 64 bits", where, tensor->name);
    if (expected != tensor->bytes)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\": its shape and type %s make %llu bytes, but its offsets "
                       "span %llu",
                       where, tensor->name, type->name, (unsigned long long)expected,
                       (unsigned long long)tensor->bytes);
    return TV_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const tv_safetensor *)a)->name, ((const tv_safetensor *)b)->name);
}

static int compare_offsets(const void *a, const void *b) {
    const tv_safetensor *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* Tensors in the order of their offsets must follow each other to the last byte. */
static tv_status check_coverage(const tv_safetensors *file) {
    uint64_t end = 0;
    const char *before = "the header";
    for (uint64_t i = 0; i < file->count; i++) {
        const tv_safetensor *t = &file->tensors[i];
        if (t->offset < end)
            return tv_fail(TV_E_DATA, "%s: tensors \"%s\" and \"%s\" overlap at byte %llu", file->where,
                           before, t->name, (unsigned long long)t->offset);
        if (t->offset > end)
            return tv_fail(TV_E_DATA,
                           "%s: bytes %llu to %llu, before tensor \"%s\", belong to no tensor; expected no "
                           "holes",
                           file->where, (unsigned long long)end, (unsigned long long)t->offset, t->name);
        end += t->bytes;
        before = t->name;
    }
    if (end != file->data_bytes)
        return tv_fail(TV_E_DATA,
                       "%s: the tensors end at byte %llu, but the file has %llu bytes of data; expected no "
                       "rest",
                       file->where, (unsigned long long)end, (unsigned long long)file->data_bytes);
    return TV_OK;
}

static tv_status check_metadata(const cJSON *metadata, const char *where) {
    const cJSON *item;
    if (!cJSON_IsObject(metadata))
        return tv_fail(TV_E_DATA, "%s: expected an object of texts for \"__metadata__\"", where);
    cJSON_ArrayForEach(item, metadata) {
        if (!cJSON_IsString(item))
            return tv_fail(TV_E_DATA, "%s: expected a text for \"%s\" of \"__metadata__\"", where,
                           item->string);
    }
    return TV_OK;
}

static tv_status read_bytes(const tv_safetensors *file, uint64_t offset, void *out, uint64_t size) {
    if (file->file)
        return tv_file_read_at(file->file, offset, out, size);
    if (file->bytes && size)
        memcpy(out, file->bytes + offset, size);
    return TV_OK;
}

/* Parses the header's JSON into file->header. */
static tv_status parse_header(tv_safetensors *file) {
    uint64_t size = file->size;
    if (size < 8)
        return tv_fail(TV_E_DATA, "%s: expected a safetensors file, found only %llu bytes", file->where,
                       (unsigned long long)size);
    uint64_t length = 0;
    uint8_t beginning[TV_FORM_BYTES];
    TV_RETURN_IF_FAILED(read_bytes(file, 0, &length, 8));
    /* A length may look like the beginning of something else; one that is out of range is. */
    const char *form = NULL;
    if (length > MAX_HEADER_BYTES) {
        TV_RETURN_IF_FAILED(read_bytes(file, 0, beginning, tv_min_u64(size, sizeof beginning)));
        form = tv_form_name(beginning, tv_min_u64(size, sizeof beginning));
    }
    if (form)
        return tv_fail(TV_E_DATA, "%s: expected a safetensors file, found %s", file->where, form);
    if (length > MAX_HEADER_BYTES)
        return tv_fail(TV_E_DATA,
                       "%s: its header claims %llu bytes, more than the %llu that are allowed; this is no "
                       "safetensors file",
                       file->where, (unsigned long long)length, (unsigned long long)MAX_HEADER_BYTES);
    if (length > size - 8)
        return tv_fail(TV_E_DATA,
                       "%s: its header claims %llu bytes, but only %llu follow; the file may be cut short",
                       file->where, (unsigned long long)length, (unsigned long long)(size - 8));
    file->data_at = 8 + length;
    file->data_bytes = size - 8 - length;
    /* cJSON 1.7.15 may look one byte past the end. */
    char *text = calloc(1, length + 1);
    if (!text)
        return tv_fail(TV_E_MEMORY, "out of host memory for the header of %s", file->where);
    tv_status status = read_bytes(file, 8, text, length);
    if (status == TV_OK)
        status = strlen(text) == length ? tv_json_parse(text, length, file->where, &file->header)
                                        : tv_fail(TV_E_DATA, "%s: its header has a zero byte in place %llu",
                                                  file->where, (unsigned long long)strlen(text));
    free(text);
    TV_RETURN_IF_FAILED(status);
    if (!cJSON_IsObject(file->header))
        return tv_fail(TV_E_DATA, "%s: expected a JSON object as its header", file->where);
    return TV_OK;
}

static tv_status parse_tensors(tv_safetensors *file) {
    uint64_t entries = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, file->header) {
        entries++;
    }
    file->tensors = calloc(entries ? entries : 1, sizeof *file->tensors);
    if (!file->tensors)
        return tv_fail(TV_E_MEMORY, "out of host memory for the tensors of %s", file->where);
    cJSON_ArrayForEach(item, file->header) {
        if (strcmp(item->string, "__metadata__") == 0) {
            if (file->metadata)
                return tv_fail(TV_E_DATA, "%s has \"__metadata__\" twice", file->where);
            TV_RETURN_IF_FAILED(check_metadata(item, file->where));
            file->metadata = item;
            continue;
        }
        TV_RETURN_IF_FAILED(parse_tensor(item, file->where, file->data_bytes, &file->tensors[file->count]));
        file->count++;
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_names);
    for (uint64_t i = 1; i < file->count; i++)
        if (compare_names(&file->tensors[i - 1], &file->tensors[i]) == 0)
            return tv_fail(TV_E_DATA, "%s has tensor \"%s\" twice", file->where, file->tensors[i].name);
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_offsets);
    TV_RETURN_IF_FAILED(check_coverage(file));
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_names);
    return TV_OK;
}

/* Takes `source` over, which is NULL where the bytes are the caller's. */
static tv_status open_file(tv_file *source, const uint8_t *bytes, uint64_t size, const char *where,
                           tv_safetensors **file) {
    *file = NULL;
    tv_status status;
    tv_safetensors *made = calloc(1, sizeof *made);
    if (!made) {
        tv_file_close(&source);
        return tv_fail(TV_E_MEMORY, "out of host memory for %s", where);
    }
    *made = (tv_safetensors){.file = source, .bytes = bytes, .size = size};
    if (!(made->where = tv_format("%s", where))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for %s", where);
        goto fail;
    }
    TV_TRY_OR_FAIL(parse_header(made));
    TV_TRY_OR_FAIL(parse_tensors(made));
    *file = made;
    return TV_OK;
fail:
    tv_safetensors_close(&made);
    return status;
}

tv_status tv_safetensors_open_bytes(const uint8_t *bytes, uint64_t size, const char *where,
                                    tv_safetensors **file) {
    return open_file(NULL, bytes, size, where, file);
}

tv_status tv_safetensors_open(const char *path, tv_safetensors **file) {
    tv_file *source = NULL;
    *file = NULL;
    TV_RETURN_IF_FAILED(tv_file_open(path, &source));
    return open_file(source, NULL, tv_file_bytes(source), path, file);
}

void tv_safetensors_close(tv_safetensors **file) {
    tv_safetensors *f = *file;
    if (f) {
        cJSON_Delete(f->header);
        tv_file_close(&f->file);
        free(f->tensors);
        free(f->where);
        free(f);
    }
    *file = NULL;
}

uint64_t tv_safetensors_count(const tv_safetensors *file) {
    return file->count;
}

const tv_safetensor *tv_safetensors_at(const tv_safetensors *file, uint64_t index) {
    return &file->tensors[index];
}

const tv_safetensor *tv_safetensors_find(const tv_safetensors *file, const char *name) {
    tv_safetensor key = {.name = name};
    return bsearch(&key, file->tensors, file->count, sizeof key, compare_names);
}

const char *tv_safetensors_metadata(const tv_safetensors *file, const char *key) {
    return cJSON_GetStringValue(tv_json_get(file->metadata, key));
}

tv_status tv_safetensors_copy(const tv_safetensors *file, const tv_safetensor *tensor, uint64_t first,
                              uint64_t size, void *out) {
    return read_bytes(file, file->data_at + tensor->offset + first, out, size);
}

const char *tv_safetensors_where(const tv_safetensors *file) {
    return file->where;
}
