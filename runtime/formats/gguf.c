/* Reader of GGUF: see gguf.h. The writer is in gguf_write.c. */
#include "formats/gguf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/files.h"
#include "base/forms.h"

/* What published files stay far below: metadata of 64 MiB are a vocabulary of a million long tokens. */
#define MAX_METADATA_BYTES UINT64_C(268435456)

enum { MAX_KEY_BYTES = 65535, MAX_NAME_BYTES = 255, WINDOW = 1 << 16, CHUNK_ELEMENTS = 8192 };

struct tv_gguf {
    char *where;
    tv_file *file;        /* NULL: the caller's bytes */
    const uint8_t *bytes; /* of the whole file */
    uint64_t size;
    tv_arena *arena;
    tv_gguf_value *values; /* by key */
    uint64_t value_count;
    tv_gguf_tensor *tensors; /* by name */
    uint64_t tensor_count;
    uint64_t alignment, data_at, data_bytes;
    /* Where the header is read, and a window of the file around it. */
    uint64_t at, window_at, window_size;
    uint8_t window[WINDOW];
};

static tv_status read_bytes(const tv_gguf *f, uint64_t offset, void *out, uint64_t size) {
    if (f->file)
        return tv_file_read_at(f->file, offset, out, size);
    if (f->bytes && size)
        memcpy(out, f->bytes + offset, size);
    return TV_OK;
}

/* ---- the header, from front to back ---- */

static uint64_t left(const tv_gguf *f) {
    return f->size - f->at;
}

static tv_status cut_short(const tv_gguf *f, const char *what, const char *name) {
    return tv_fail(TV_E_DATA, "%s: the file ends within %s%s%.80s%s; it may be cut short", f->where, what,
                   name ? " \"" : "", name ? name : "", name ? "\"" : "");
}

/* The next `size` bytes of the header, which the caller knows to be there. */
static tv_status take(tv_gguf *f, void *out, uint64_t size) {
    if (size > WINDOW) {
        TV_RETURN_IF_FAILED(read_bytes(f, f->at, out, size));
    } else {
        if (f->at < f->window_at || f->at - f->window_at > f->window_size ||
            f->window_size - (f->at - f->window_at) < size) {
            f->window_at = f->at;
            f->window_size = tv_min_u64(WINDOW, left(f));
            TV_RETURN_IF_FAILED(read_bytes(f, f->at, f->window, f->window_size));
        }
        memcpy(out, f->window + (f->at - f->window_at), size);
    }
    f->at += size;
    return f->at <= MAX_METADATA_BYTES
               ? TV_OK
               : tv_fail(TV_E_DATA, "%s: expected at most %llu MiB of metadata, found more", f->where,
                         (unsigned long long)MAX_METADATA_BYTES >> 20);
}

static tv_status take_number(tv_gguf *f, uint64_t size, const char *what, const char *name, uint64_t *value) {
    *value = 0;
    return left(f) < size ? cut_short(f, what, name) : take(f, value, size);
}

/* A text of 1 (or, where `empty`, 0) to `longest` bytes. */
static tv_status take_text(tv_gguf *f, uint64_t longest, bool empty, const char *what, const char *name,
                           const char **text) {
    uint64_t length;
    TV_RETURN_IF_FAILED(take_number(f, sizeof length, what, name, &length));
    if (length > left(f))
        return tv_fail(
            TV_E_DATA,
            "%s: %s%s%.80s%s holds a text of %llu bytes, but only %llu follow; the file may be cut "
            "short",
            f->where, what, name ? " \"" : "", name ? name : "", name ? "\"" : "", (unsigned long long)length,
            (unsigned long long)left(f));
    if (length > longest || (length == 0 && !empty))
        return tv_fail(TV_E_DATA, "%s: expected 1 to %llu bytes for %s, found %llu", f->where,
                       (unsigned long long)longest, what, (unsigned long long)length);
    if (length > MAX_METADATA_BYTES)
        return tv_fail(TV_E_DATA, "%s: expected at most %llu MiB of metadata, found more", f->where,
                       (unsigned long long)MAX_METADATA_BYTES >> 20);
    char *copy = tv_arena_alloc(f->arena, length + 1, 1);
    if (!copy)
        return TV_E_MEMORY;
    TV_RETURN_IF_FAILED(take(f, copy, length));
    if (memchr(copy, '\0', length))
        return tv_fail(TV_E_DATA, "%s: %s%s%.80s%s holds a text with a byte 0, which no text has", f->where,
                       what, name ? " \"" : "", name ? name : "", name ? "\"" : "");
    *text = copy;
    return TV_OK;
}

/* Bytes of an element in the file; 0 for one that has no fixed size or is none. */
static uint64_t kind_bytes(uint64_t kind) {
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return kind < TV_COUNT(bytes) ? bytes[kind] : 0;
}

static tv_status take_texts(tv_gguf *f, tv_gguf_value *value) {
    /* Each text takes eight bytes for its length at least. */
    if (value->count > left(f) / 8)
        return tv_fail(
            TV_E_DATA,
            "%s: key \"%.80s\" claims %llu texts, more than the %llu bytes that follow can hold; the "
            "file may be cut short",
            f->where, value->key, (unsigned long long)value->count, (unsigned long long)left(f));
    if (value->count > MAX_METADATA_BYTES / 8)
        return tv_fail(TV_E_DATA, "%s: key \"%.80s\" has %llu texts, more than any vocabulary", f->where,
                       value->key, (unsigned long long)value->count);
    const char **texts = tv_arena_alloc(f->arena, value->count, sizeof *texts);
    if (!texts)
        return TV_E_MEMORY;
    for (uint64_t i = 0; i < value->count; i++)
        TV_RETURN_IF_FAILED(take_text(f, UINT64_MAX, true, "key", value->key, &texts[i]));
    value->texts = texts;
    return TV_OK;
}

static tv_status take_value(tv_gguf *f, tv_gguf_value *value) {
    uint64_t kind;
    TV_RETURN_IF_FAILED(take_text(f, MAX_KEY_BYTES, false, "the name of a key", NULL, &value->key));
    TV_RETURN_IF_FAILED(take_number(f, 4, "key", value->key, &kind));
    value->count = 1;
    if (kind == TV_GGUF_ARRAY) {
        value->array = true;
        TV_RETURN_IF_FAILED(take_number(f, 4, "key", value->key, &kind));
        TV_RETURN_IF_FAILED(take_number(f, 8, "key", value->key, &value->count));
    }
    value->kind = (tv_gguf_kind)kind;
    if (kind == TV_GGUF_STRING)
        return take_texts(f, value);
    uint64_t size = kind_bytes(kind);
    if (!size)
        return tv_fail(TV_E_DATA, "%s: key \"%.80s\" has the type %llu; expected a number, a flag, a text%s",
                       f->where, value->key, (unsigned long long)kind,
                       value->array ? " within a list" : " or a list of these");
    if (value->count > left(f) / size)
        return tv_fail(
            TV_E_DATA,
            "%s: key \"%.80s\" claims %llu elements, more than the %llu bytes that follow; the file may "
            "be cut short",
            f->where, value->key, (unsigned long long)value->count, (unsigned long long)left(f));
    if (value->count > MAX_METADATA_BYTES / size)
        return tv_fail(TV_E_DATA, "%s: expected at most %llu MiB of metadata, found more", f->where,
                       (unsigned long long)MAX_METADATA_BYTES >> 20);
    uint8_t *bytes = tv_arena_alloc(f->arena, value->count, size);
    if (!bytes)
        return TV_E_MEMORY;
    TV_RETURN_IF_FAILED(take(f, bytes, value->count * size));
    value->bytes = bytes;
    return TV_OK;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(((const tv_gguf_value *)a)->key, ((const tv_gguf_value *)b)->key);
}

static tv_status take_values(tv_gguf *f) {
    f->values = tv_arena_alloc(f->arena, f->value_count, sizeof *f->values);
    if (!f->values)
        return TV_E_MEMORY;
    for (uint64_t i = 0; i < f->value_count; i++)
        TV_RETURN_IF_FAILED(take_value(f, &f->values[i]));
    qsort(f->values, f->value_count, sizeof *f->values, compare_keys);
    for (uint64_t i = 1; i < f->value_count; i++)
        if (compare_keys(&f->values[i - 1], &f->values[i]) == 0)
            return tv_fail(TV_E_DATA, "%s has key \"%.80s\" twice", f->where, f->values[i].key);
    return TV_OK;
}

/* Shape, type and place of a tensor, and from them its bytes. */
static tv_status take_tensor(tv_gguf *f, tv_gguf_tensor *tensor) {
    uint64_t rank, number, reversed[TV_GGUF_MAX_RANK];
    TV_RETURN_IF_FAILED(take_text(f, MAX_NAME_BYTES, false, "the name of a tensor", NULL, &tensor->name));
    TV_RETURN_IF_FAILED(take_number(f, 4, "tensor", tensor->name, &rank));
    if (rank < 1 || rank > TV_GGUF_MAX_RANK)
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\" has %llu dimensions; expected 1 to %d", f->where,
                       tensor->name, (unsigned long long)rank, TV_GGUF_MAX_RANK);
    for (uint64_t i = 0; i < rank; i++)
        TV_RETURN_IF_FAILED(take_number(f, 8, "tensor", tensor->name, &reversed[i]));
    TV_RETURN_IF_FAILED(take_number(f, 4, "tensor", tensor->name, &number));
    TV_RETURN_IF_FAILED(take_number(f, 8, "tensor", tensor->name, &tensor->offset));
    tensor->type = tv_gguf_type_of((uint32_t)number);
    if (!tensor->type)
        return tv_fail(
            TV_E_DATA,
            "%s: tensor \"%s\" has the type %s (%llu); expected F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, "
            "Q5_1, Q4_K, Q5_K or Q6_K; take the model in one of these",
            f->where, tensor->name, tv_gguf_type_name((uint32_t)number), (unsigned long long)number);
    tensor->rank = (uint32_t)rank;
    tensor->count = 1;
    tensor->rows = 1;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        tensor->shape[i] = reversed[rank - 1 - i];
        if (tensor->shape[i] == 0 || !tv_mul_u64(tensor->count, tensor->shape[i], &tensor->count))
            return tv_fail(TV_E_DATA, "%s: tensor \"%s\": its shape is empty or overflows 64 bits", f->where,
                           tensor->name);
        if (i + 1 < tensor->rank)
            tensor->rows = tensor->count;
    }
    tensor->columns = tensor->shape[rank - 1];
    if (tensor->columns % tensor->type->block)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" has rows of %llu elements, which are no whole blocks of %s",
                       f->where, tensor->name, (unsigned long long)tensor->columns, tensor->type->name);
    if (!tv_mul_u64(tensor->count / tensor->type->block, tensor->type->bytes, &tensor->bytes))
        return tv_fail(TV_E_DATA, "%s: tensor \"%s\": its shape overflows 64 bits", f->where, tensor->name);
    return TV_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const tv_gguf_tensor *)a)->name, ((const tv_gguf_tensor *)b)->name);
}

static int compare_offsets(const void *a, const void *b) {
    const tv_gguf_tensor *left_one = a, *right_one = b;
    if (left_one->offset != right_one->offset)
        return left_one->offset < right_one->offset ? -1 : 1;
    return strcmp(left_one->name, right_one->name);
}

static tv_status check_places(tv_gguf *f) {
    qsort(f->tensors, f->tensor_count, sizeof *f->tensors, compare_offsets);
    uint64_t end = 0;
    for (uint64_t i = 0; i < f->tensor_count; i++) {
        const tv_gguf_tensor *t = &f->tensors[i];
        if (t->offset % f->alignment)
            return tv_fail(
                TV_E_DATA, "%s: tensor \"%s\" begins at byte %llu of the data, which is no multiple of %llu",
                f->where, t->name, (unsigned long long)t->offset, (unsigned long long)f->alignment);
        if (t->offset > f->data_bytes || t->bytes > f->data_bytes - t->offset)
            return tv_fail(TV_E_DATA,
                           "%s: tensor \"%s\" takes %llu bytes from byte %llu on, but the file has %llu "
                           "bytes of data; it "
                           "may be cut short",
                           f->where, t->name, (unsigned long long)t->bytes, (unsigned long long)t->offset,
                           (unsigned long long)f->data_bytes);
        if (t->offset < end)
            return tv_fail(TV_E_DATA, "%s: tensors \"%s\" and \"%s\" overlap", f->where,
                           f->tensors[i - 1].name, t->name);
        end = t->offset + t->bytes;
    }
    qsort(f->tensors, f->tensor_count, sizeof *f->tensors, compare_names);
    for (uint64_t i = 1; i < f->tensor_count; i++)
        if (compare_names(&f->tensors[i - 1], &f->tensors[i]) == 0)
            return tv_fail(TV_E_DATA, "%s has tensor \"%s\" twice", f->where, f->tensors[i].name);
    return TV_OK;
}

static tv_status check_form(tv_gguf *f) {
    uint8_t beginning[TV_FORM_BYTES];
    uint64_t size = tv_min_u64(f->size, sizeof beginning), version;
    TV_RETURN_IF_FAILED(read_bytes(f, 0, beginning, size));
    if (size < 4 || memcmp(beginning, "GGUF", 4) != 0) {
        const char *form = tv_form_name(beginning, size);
        return tv_fail(TV_E_DATA, "%s: expected a GGUF file, found %s", f->where,
                       form ? form : "something else");
    }
    f->at = 4;
    TV_RETURN_IF_FAILED(take_number(f, 4, "its version", NULL, &version));
    if (version != 2 && version != 3)
        return tv_fail(TV_E_DATA, "%s: expected a GGUF file of version 2 or 3, found version %llu%s",
                       f->where, (unsigned long long)version,
                       version && version % 65536 == 0 ? " (of a big-endian machine)" : "");
    return TV_OK;
}

static tv_status parse(tv_gguf *f) {
    TV_RETURN_IF_FAILED(check_form(f));
    TV_RETURN_IF_FAILED(take_number(f, 8, "its header", NULL, &f->tensor_count));
    TV_RETURN_IF_FAILED(take_number(f, 8, "its header", NULL, &f->value_count));
    /* A tensor takes 32 bytes and a key 13, at least. */
    if (f->tensor_count > left(f) / 32 || f->value_count > left(f) / 13)
        return tv_fail(
            TV_E_DATA,
            "%s: its header claims %llu keys and %llu tensors, more than the %llu bytes that follow can "
            "describe; the file may be cut short",
            f->where, (unsigned long long)f->value_count, (unsigned long long)f->tensor_count,
            (unsigned long long)left(f));
    if (f->tensor_count > MAX_METADATA_BYTES / 32 || f->value_count > MAX_METADATA_BYTES / 13)
        return tv_fail(TV_E_DATA, "%s: expected at most %llu MiB of metadata, found more", f->where,
                       (unsigned long long)MAX_METADATA_BYTES >> 20);
    TV_RETURN_IF_FAILED(take_values(f));
    f->alignment = TV_GGUF_ALIGNMENT;
    TV_RETURN_IF_FAILED(tv_gguf_uint(f, "general.alignment", UINT64_C(1) << 20, &f->alignment));
    if (f->alignment < 8 || (f->alignment & (f->alignment - 1)))
        return tv_fail(TV_E_DATA, "%s: expected a power of two from 8 as \"general.alignment\", found %llu",
                       f->where, (unsigned long long)f->alignment);
    f->tensors = tv_arena_alloc(f->arena, f->tensor_count, sizeof *f->tensors);
    if (!f->tensors)
        return TV_E_MEMORY;
    for (uint64_t i = 0; i < f->tensor_count; i++)
        TV_RETURN_IF_FAILED(take_tensor(f, &f->tensors[i]));
    f->data_at = tv_align_up(f->at, f->alignment);
    f->data_bytes = f->data_at < f->size ? f->size - f->data_at : 0;
    return check_places(f);
}

/* Takes `source` over, which is NULL where the bytes are the caller's. */
static tv_status open_file(tv_file *source, const uint8_t *bytes, uint64_t size, const char *where,
                           tv_gguf **file) {
    *file = NULL;
    tv_status status;
    tv_gguf *made = calloc(1, sizeof *made);
    if (!made) {
        tv_file_close(&source);
        return tv_fail(TV_E_MEMORY, "out of host memory for %s", where);
    }
    made->file = source;
    made->bytes = bytes;
    made->size = size;
    if (!(made->where = tv_format("%s", where))) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for %s", where);
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_arena_create(&made->arena));
    TV_TRY_OR_FAIL(parse(made));
    *file = made;
    return TV_OK;
fail:
    tv_gguf_close(&made);
    return status;
}

tv_status tv_gguf_open_bytes(const uint8_t *bytes, uint64_t size, const char *where, tv_gguf **file) {
    return open_file(NULL, bytes, size, where, file);
}

tv_status tv_gguf_open(const char *path, tv_gguf **file) {
    tv_file *source = NULL;
    *file = NULL;
    TV_RETURN_IF_FAILED(tv_file_open(path, &source));
    return open_file(source, NULL, tv_file_bytes(source), path, file);
}

void tv_gguf_close(tv_gguf **file) {
    tv_gguf *f = *file;
    if (f) {
        tv_file_close(&f->file);
        tv_arena_destroy(&f->arena);
        free(f->where);
        free(f);
    }
    *file = NULL;
}

const char *tv_gguf_where(const tv_gguf *file) {
    return file->where;
}

/* ---- metadata ---- */

uint64_t tv_gguf_value_count(const tv_gguf *file) {
    return file->value_count;
}

const tv_gguf_value *tv_gguf_value_at(const tv_gguf *file, uint64_t index) {
    return &file->values[index];
}

const tv_gguf_value *tv_gguf_find(const tv_gguf *file, const char *key) {
    tv_gguf_value named = {.key = key};
    return file->value_count ? bsearch(&named, file->values, file->value_count, sizeof named, compare_keys)
                             : NULL;
}

double tv_gguf_element(const tv_gguf_value *value, uint64_t index) {
    const uint8_t *at = (const uint8_t *)value->bytes + index * kind_bytes(value->kind);
    uint64_t whole = 0;
    double number;
    memcpy(&whole, at, kind_bytes(value->kind));
    switch (value->kind) {
    case TV_GGUF_UINT8:
    case TV_GGUF_UINT16:
    case TV_GGUF_UINT32:
    case TV_GGUF_UINT64:
    case TV_GGUF_BOOL:
        return (double)whole;
    case TV_GGUF_INT8:
        return (double)(int8_t)whole;
    case TV_GGUF_INT16:
        return (double)(int16_t)whole;
    case TV_GGUF_INT32:
        return (double)(int32_t)whole;
    case TV_GGUF_INT64:
        return (double)(int64_t)whole;
    case TV_GGUF_FLOAT32:
        return (double)tv_bits_to_float((uint32_t)whole);
    case TV_GGUF_FLOAT64:
        memcpy(&number, &whole, sizeof number);
        return number;
    case TV_GGUF_STRING:
    case TV_GGUF_ARRAY:
        break;
    }
    return 0;
}

static tv_status wrong_kind(const tv_gguf *file, const char *key, const char *expected) {
    return tv_fail(TV_E_DATA, "%s: expected %s for key \"%s\", found another type of value", file->where,
                   expected, key);
}

tv_status tv_gguf_uint(const tv_gguf *file, const char *key, uint64_t maximum, uint64_t *value) {
    const tv_gguf_value *found = tv_gguf_find(file, key);
    if (!found)
        return TV_OK;
    if (found->array || found->kind == TV_GGUF_STRING || found->kind == TV_GGUF_BOOL ||
        found->kind == TV_GGUF_FLOAT32 || found->kind == TV_GGUF_FLOAT64)
        return wrong_kind(file, key, "a whole number");
    double number = tv_gguf_element(found, 0);
    if (!(number >= 0 && number <= (double)maximum))
        return tv_fail(TV_E_DATA, "%s: expected 0 to %llu for key \"%s\", found %.0f", file->where,
                       (unsigned long long)maximum, key, number);
    *value = (uint64_t)number;
    return TV_OK;
}

tv_status tv_gguf_number(const tv_gguf *file, const char *key, double *value) {
    const tv_gguf_value *found = tv_gguf_find(file, key);
    if (!found)
        return TV_OK;
    if (found->array || found->kind == TV_GGUF_STRING || found->kind == TV_GGUF_BOOL)
        return wrong_kind(file, key, "a number");
    double number = tv_gguf_element(found, 0);
    if (!isfinite(number))
        return wrong_kind(file, key, "a finite number");
    /* A float was a decimal of a few digits: 1e-5 and not 9.99999975e-6, where that is the same float. */
    char text[32];
    snprintf(text, sizeof text, "%.7g", number);
    double decimal = strtod(text, NULL);
    bool same =
        found->kind == TV_GGUF_FLOAT32 && tv_float_to_bits((float)decimal) == tv_float_to_bits((float)number);
    *value = same ? decimal : number;
    return TV_OK;
}

tv_status tv_gguf_bool(const tv_gguf *file, const char *key, bool *value) {
    const tv_gguf_value *found = tv_gguf_find(file, key);
    if (!found)
        return TV_OK;
    if (found->array || found->kind != TV_GGUF_BOOL)
        return wrong_kind(file, key, "true or false");
    *value = tv_gguf_element(found, 0) > 0;
    return TV_OK;
}

tv_status tv_gguf_text(const tv_gguf *file, const char *key, const char **value) {
    const tv_gguf_value *found = tv_gguf_find(file, key);
    if (!found)
        return TV_OK;
    if (found->array || found->kind != TV_GGUF_STRING)
        return wrong_kind(file, key, "a text");
    *value = found->texts[0];
    return TV_OK;
}

tv_status tv_gguf_array(const tv_gguf *file, const char *key, tv_gguf_kind kind,
                        const tv_gguf_value **value) {
    *value = tv_gguf_find(file, key);
    if (*value && (!(*value)->array || (*value)->kind != kind)) {
        *value = NULL;
        return wrong_kind(file, key, kind == TV_GGUF_STRING ? "a list of texts" : "a list of numbers");
    }
    return TV_OK;
}

/* ---- tensors ---- */

uint64_t tv_gguf_tensor_count(const tv_gguf *file) {
    return file->tensor_count;
}

const tv_gguf_tensor *tv_gguf_tensor_at(const tv_gguf *file, uint64_t index) {
    return &file->tensors[index];
}

const tv_gguf_tensor *tv_gguf_tensor_find(const tv_gguf *file, const char *name) {
    tv_gguf_tensor named = {.name = name};
    return file->tensor_count
               ? bsearch(&named, file->tensors, file->tensor_count, sizeof named, compare_names)
               : NULL;
}

tv_status tv_gguf_copy(const tv_gguf *file, const tv_gguf_tensor *tensor, uint64_t first, uint64_t size,
                       void *out) {
    return read_bytes(file, file->data_at + tensor->offset + first, out, size);
}

tv_status tv_gguf_read(const tv_gguf *file, const tv_gguf_tensor *tensor, uint64_t first_row, uint64_t rows,
                       float *out) {
    const tv_gguf_type *type = tensor->type;
    if (first_row > tensor->rows || rows > tensor->rows - first_row)
        return tv_fail(TV_E_USAGE, "%s: rows %llu to %llu of tensor \"%s\", which has %llu", file->where,
                       (unsigned long long)first_row, (unsigned long long)(first_row + rows), tensor->name,
                       (unsigned long long)tensor->rows);
    uint64_t count = rows * tensor->columns;
    uint64_t at = first_row * tensor->columns / type->block * type->bytes;
    uint8_t chunk[CHUNK_ELEMENTS * 4];
    for (uint64_t done = 0, part; done < count; done += part) {
        part = tv_min_u64(CHUNK_ELEMENTS, count - done);
        uint64_t size = part / type->block * type->bytes;
        TV_RETURN_IF_FAILED(tv_gguf_copy(file, tensor, at, size, chunk));
        tv_gguf_decode(type, chunk, part, out + done);
        at += size;
    }
    return TV_OK;
}

bool tv_gguf_is_one(const char *path) {
    tv_file *file = NULL;
    uint8_t beginning[4] = {0};
    if (!tv_path_exists(path) || tv_path_is_directory(path) || tv_path_is_stream(path) ||
        tv_file_open(path, &file) != TV_OK)
        return false;
    bool is = tv_file_bytes(file) >= sizeof beginning &&
              tv_file_read_at(file, 0, beginning, sizeof beginning) == TV_OK &&
              memcmp(beginning, "GGUF", sizeof beginning) == 0;
    tv_file_close(&file);
    return is;
}
