/* Reader and writer of safetensors: see safetensors.h. */
#include "formats/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/forms.h"
#include "base/json.h"

/* The limit of the format's own reader. */
#define MAX_HEADER_BYTES UINT64_C(100000000)

enum { TRANSPOSED_BLOCK = 16, CHUNK_ELEMENTS = 8192 };

typedef enum conversion { FROM_F32, FROM_F16, FROM_BF16, FROM_F64, FROM_NOTHING } conversion;

typedef struct file_type {
    const char *name;
    uint64_t bytes;
    conversion conversion;
} file_type;

static const file_type file_types[] = {
    {"F32", 4, FROM_F32},         {"F16", 2, FROM_F16},         {"BF16", 2, FROM_BF16},
    {"F64", 8, FROM_F64},         {"I64", 8, FROM_NOTHING},     {"U64", 8, FROM_NOTHING},
    {"I32", 4, FROM_NOTHING},     {"U32", 4, FROM_NOTHING},     {"I16", 2, FROM_NOTHING},
    {"U16", 2, FROM_NOTHING},     {"I8", 1, FROM_NOTHING},      {"U8", 1, FROM_NOTHING},
    {"BOOL", 1, FROM_NOTHING},    {"F8_E4M3", 1, FROM_NOTHING}, {"F8_E5M2", 1, FROM_NOTHING},
    {"F8_E8M0", 1, FROM_NOTHING}, {"C64", 8, FROM_NOTHING},
};

static const file_type *find_type(const char *name) {
    for (size_t i = 0; i < TV_COUNT(file_types); i++)
        if (strcmp(file_types[i].name, name) == 0)
            return &file_types[i];
    return NULL;
}

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
    const file_type *type = cJSON_IsString(dtype) ? find_type(dtype->valuestring) : NULL;
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

/* The element at unaligned `source`. */
static float convert(conversion from, const uint8_t *source) {
    float single = 0;
    double wide;
    uint16_t half;
    switch (from) {
    case FROM_F32:
        memcpy(&single, source, sizeof single);
        return single;
    case FROM_F16:
        memcpy(&half, source, sizeof half);
        return tv_half_to_float(half);
    case FROM_BF16:
        memcpy(&half, source, sizeof half);
        return tv_bfloat16_to_float(half);
    case FROM_F64:
        memcpy(&wide, source, sizeof wide);
        return (float)wide;
    case FROM_NOTHING:
        break;
    }
    return single;
}

static tv_status read_converted(const tv_safetensors *file, const tv_safetensor *tensor,
                                const file_type *type, uint64_t first, uint64_t count, float *out) {
    uint8_t chunk[CHUNK_ELEMENTS * 8];
    for (uint64_t done = 0, part; done < count; done += part) {
        part = tv_min_u64(CHUNK_ELEMENTS, count - done);
        TV_RETURN_IF_FAILED(
            tv_safetensors_copy(file, tensor, first + done * type->bytes, part * type->bytes, chunk));
        for (uint64_t i = 0; i < part; i++)
            out[done + i] = convert(type->conversion, chunk + i * type->bytes);
    }
    return TV_OK;
}

/* By blocks of rows, so that a cache line of `out` is filled at once. */
static tv_status read_transposed(const tv_safetensors *file, const tv_safetensor *tensor,
                                 const file_type *type, uint64_t first, uint64_t rows, uint64_t columns,
                                 float *out) {
    const uint64_t row_bytes = columns * type->bytes;
    uint8_t *chunk = malloc(tv_min_u64(TRANSPOSED_BLOCK, rows) * row_bytes);
    tv_status status =
        chunk ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory while reading %s", file->where);
    for (uint64_t block = 0; block < rows && status == TV_OK; block += TRANSPOSED_BLOCK) {
        uint64_t end = tv_min_u64(block + TRANSPOSED_BLOCK, rows);
        status =
            tv_safetensors_copy(file, tensor, first + block * row_bytes, (end - block) * row_bytes, chunk);
        for (uint64_t c = 0; c < columns && status == TV_OK; c++)
            for (uint64_t r = block; r < end; r++)
                out[c * rows + r] =
                    convert(type->conversion, chunk + ((r - block) * columns + c) * type->bytes);
    }
    free(chunk);
    return status;
}

tv_status tv_safetensors_read(const tv_safetensors *file, const tv_safetensor *tensor, uint64_t first_row,
                              uint64_t rows, bool transposed, float *out) {
    const file_type *type = find_type(tensor->dtype);
    uint64_t all_rows = tensor->rank ? tensor->shape[0] : 1;
    if (!type || type->conversion == FROM_NOTHING)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" has the type %s; expected weights as F32, F16, BF16 or F64",
                       file->where, tensor->name, tensor->dtype);
    if (first_row > all_rows || rows > all_rows - first_row)
        return tv_fail(TV_E_USAGE, "%s: rows %llu to %llu of tensor \"%s\", which has %llu", file->where,
                       (unsigned long long)first_row, (unsigned long long)(first_row + rows), tensor->name,
                       (unsigned long long)all_rows);
    if (rows == 0 || tensor->count == 0)
        return TV_OK;
    uint64_t columns = tensor->count / all_rows;
    uint64_t first = first_row * columns * type->bytes;
    if (!transposed && type->conversion == FROM_F32)
        return tv_safetensors_copy(file, tensor, first, rows * columns * sizeof *out, out);
    return transposed ? read_transposed(file, tensor, type, first, rows, columns, out)
                      : read_converted(file, tensor, type, first, rows * columns, out);
}

struct tv_safetensors_writer {
    tv_writer *out;
    char *path;
    uint64_t expected, written; /* bytes of tensors */
};

static bool add_tensor(cJSON *header, const tv_safetensor *tensor, uint64_t begin, uint64_t end) {
    cJSON *entry = cJSON_AddObjectToObject(header, tensor->name);
    cJSON *shape = NULL, *offsets = NULL;
    if (!entry || !tv_json_set_string(entry, "dtype", tensor->dtype) ||
        !(shape = cJSON_AddArrayToObject(entry, "shape")) ||
        !(offsets = cJSON_AddArrayToObject(entry, "data_offsets")))
        return false;
    for (uint32_t d = 0; d < tensor->rank; d++)
        if (!cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)tensor->shape[d])))
            return false;
    return cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)begin)) &&
           cJSON_AddItemToArray(offsets, cJSON_CreateNumber((double)end));
}

/* The header's text, padded with spaces so that the data starts at a multiple of 8, and the data's size. */
static tv_status make_header(const char *path, const tv_safetensor *tensors, uint64_t count, char **text,
                             uint64_t *data_bytes) {
    cJSON *header = cJSON_CreateObject();
    cJSON *metadata = header ? cJSON_AddObjectToObject(header, "__metadata__") : NULL;
    bool done = metadata && tv_json_set_string(metadata, "format", "pt");
    uint64_t offset = 0;
    char *line = NULL;
    tv_status status = TV_OK;
    for (uint64_t i = 0; done && status == TV_OK && i < count; i++) {
        const file_type *type = find_type(tensors[i].dtype);
        uint64_t bytes = type ? type->bytes : 0, end = 0;
        bool fits = type && tensors[i].rank <= TV_SAFETENSORS_MAX_RANK;
        for (uint32_t d = 0; fits && d < tensors[i].rank; d++)
            fits = tv_mul_u64(bytes, tensors[i].shape[d], &bytes);
        if (!fits || !tv_add_u64(offset, bytes, &end)) {
            status = tv_fail(TV_E_USAGE, "%s: tensor \"%s\" has a type or shape that the format lacks", path,
                             tensors[i].name);
        } else {
            done = add_tensor(header, &tensors[i], offset, end);
            offset = end;
        }
    }
    if (status == TV_OK && done)
        status = tv_json_print_line(header, &line);
    cJSON_Delete(header);
    if (status != TV_OK)
        return status;
    if (line) {
        uint64_t length = strlen(line);
        *text = tv_format("%-*s", (int)tv_align_up(length, 8), line);
        free(line);
    }
    if (!line || !*text)
        return tv_fail(TV_E_MEMORY, "out of host memory for the header of %s", path);
    *data_bytes = offset;
    return TV_OK;
}

tv_status tv_safetensors_writer_open(const char *path, const tv_safetensor *tensors, uint64_t count,
                                     tv_safetensors_writer **writer) {
    tv_status status;
    char *header = NULL;
    *writer = NULL;
    tv_safetensors_writer *made = calloc(1, sizeof *made);
    if (!made)
        return tv_fail(TV_E_MEMORY, "out of host memory for %s", path);
    TV_TRY_OR_FAIL(make_header(path, tensors, count, &header, &made->expected));
    made->path = tv_format("%s", path);
    if (!made->path) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for %s", path);
        goto fail;
    }
    uint64_t length = strlen(header);
    TV_TRY_OR_FAIL(tv_writer_open(path, &made->out));
    TV_TRY_OR_FAIL(tv_writer_write(made->out, &length, sizeof length));
    TV_TRY_OR_FAIL(tv_writer_write(made->out, header, length));
    free(header);
    *writer = made;
    return TV_OK;
fail:
    free(header);
    tv_safetensors_writer_abort(&made);
    return status;
}

tv_status tv_safetensors_write(tv_safetensors_writer *writer, const void *bytes, uint64_t size) {
    if (size > writer->expected - writer->written)
        return tv_fail(TV_E_USAGE, "%s: more bytes than its header announced", writer->path);
    TV_RETURN_IF_FAILED(tv_writer_write(writer->out, bytes, size));
    writer->written += size;
    return TV_OK;
}

tv_status tv_safetensors_writer_commit(tv_safetensors_writer **writer) {
    tv_safetensors_writer *w = *writer;
    tv_status status =
        w->written == w->expected
            ? tv_writer_commit(&w->out)
            : tv_fail(TV_E_USAGE, "%s: its header announced %llu bytes, but %llu were written", w->path,
                      (unsigned long long)w->expected, (unsigned long long)w->written);
    tv_safetensors_writer_abort(writer);
    return status;
}

void tv_safetensors_writer_abort(tv_safetensors_writer **writer) {
    tv_safetensors_writer *w = *writer;
    if (w) {
        if (w->out)
            tv_writer_abort(&w->out);
        free(w->path);
        free(w);
    }
    *writer = NULL;
}
