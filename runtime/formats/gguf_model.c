/* Weights into GGUF files and out of them: see gguf_model.h. */
#include "formats/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "formats/gguf_config.h"
#include "formats/gguf_names.h"
#include "formats/gguf_rotary.h"
#include "formats/gguf_tokenizer.h"

/* ---- out ---- */

static const tv_gguf_type *type_of(const tv_gguf_export *export, const tv_gguf_entry *entry) {
    tv_parameter_role role = export->list->items[entry->parameter].role;
    if (entry->rank == 1 || role == TV_PARAMETER_POSITIONS)
        return tv_gguf_type_named("F32");
    return entry->columns % export->type->block ? tv_gguf_type_named("F16") : export->type;
}

/* Half precision ends at 65504; what is beyond would become infinite without a word. */
static tv_status check_range(const tv_gguf_export *export, const tv_gguf_entry *entry,
                             const tv_gguf_type *type, const float *row) {
    float most = strcmp(type->name, "F16") == 0    ? 65504
                 : strcmp(type->name, "Q8_0") == 0 ? 65504.0f * 127
                                                   : INFINITY;
    for (uint64_t i = 0; i < entry->columns; i++)
        if (!(fabsf(row[i]) <= most))
            return tv_fail(TV_E_DATA, "%s: tensor %s holds %g, which %s cannot; take bf16 or f32",
                           export->where, entry->published, (double)row[i], type->name);
    return TV_OK;
}

/* A tensor of one dimension is one row of the file, but as many of the parameter as it has elements. */
static uint64_t row_bytes_of(const tv_gguf_type *type, const tv_gguf_entry *entry) {
    return entry->columns / type->block * type->bytes;
}

/* The entry's rows, in the file's order and type, in pieces of whole heads where heads are turned. */
static tv_status write_entry(tv_gguf_writer *writer, const tv_gguf_export *export,
                             const tv_gguf_entry *entry) {
    const tv_gguf_type *type = type_of(export, entry);
    const uint64_t row_bytes = row_bytes_of(type, entry);
    const uint64_t unit = entry->turned_heads ? entry->rows / entry->turned_heads : 1;
    const uint64_t most = tv_align_up(tv_parameter_piece_rows(&export->list->items[entry->parameter]), unit);
    const uint64_t piece = tv_min_u64(most, entry->rows);
    tv_status status = TV_OK;
    float *values = malloc(piece * entry->columns * sizeof *values);
    uint8_t *bytes = malloc(piece * row_bytes);
    if (!values || !bytes)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the weights of %s", export->where);
    for (uint64_t first = 0; first < entry->rows && status == TV_OK; first += piece) {
        const uint64_t rows = tv_min_u64(piece, entry->rows - first);
        TV_TRY(export->source(export->context, entry->parameter, entry->first_row + first, rows, TV_F32,
                              values));
        for (uint64_t r = 0; r < rows; r++) {
            float *row = values + (tv_gguf_entry_row(entry, first + r) - first) * entry->columns;
            if (entry->from_one)
                *row += 1;
            TV_TRY(check_range(export, entry, type, row));
            tv_gguf_encode(type, row, entry->columns, bytes + r * row_bytes);
        }
        TV_TRY(tv_gguf_write(writer, bytes, rows * row_bytes));
    }
done:
    free(values);
    free(bytes);
    return status;
}

static tv_status write_factors(tv_gguf_writer *writer, const tv_model_config *config) {
    const uint64_t bytes = config->head_size / 2 * sizeof(float);
    float *factors = malloc(bytes);
    if (!factors)
        return tv_fail(TV_E_MEMORY, "out of host memory for rotary positions");
    tv_gguf_rotary_factors(config, factors);
    tv_status status = tv_gguf_write(writer, factors, bytes);
    free(factors);
    return status;
}

tv_status tv_gguf_model_write(const char *path, const tv_gguf_export *export) {
    const tv_model_config *config = &export->list->config;
    tv_gguf_names *names = NULL;
    tv_gguf_writer *writer = NULL;
    tv_status status;
    if (export->list->adapter.rank > 0)
        return tv_fail(TV_E_CONFIG,
                       "%s: the model has an adapter beside it, for which one GGUF file has no place",
                       export->where);
    TV_TRY(tv_gguf_names_create(export->list, &names));
    TV_TRY(tv_gguf_writer_create(path, &writer));
    TV_TRY(tv_gguf_set_config(writer, config, export->name, export->type, export->where));
    if (export->tokenizer)
        TV_TRY(tv_gguf_set_tokenizer(writer, export->tokenizer, config, export->where));
    else
        tv_gguf_set_text(writer, "tokenizer.ggml.model", "none");
    for (uint64_t i = 0; i < names->count; i++) {
        const tv_gguf_entry *entry = &names->entries[i];
        const uint64_t shape[2] = {entry->rows, entry->columns};
        tv_gguf_add_tensor(writer, entry->name, type_of(export, entry), entry->rank, shape);
    }
    const uint64_t pairs = config->head_size / 2;
    if (tv_gguf_has_rotary_factors(config))
        tv_gguf_add_tensor(writer, TV_GGUF_ROTARY_FACTORS, tv_gguf_type_named("F32"), 1, &pairs);
    TV_TRY(tv_gguf_writer_begin(writer));
    for (uint64_t i = 0; i < names->count; i++)
        TV_TRY(write_entry(writer, export, &names->entries[i]));
    if (tv_gguf_has_rotary_factors(config))
        TV_TRY(write_factors(writer, config));
    TV_TRY(tv_gguf_writer_commit(&writer));
done:
    tv_gguf_writer_abort(&writer);
    tv_gguf_names_destroy(&names);
    return status;
}

/* ---- in ---- */

struct tv_gguf_model {
    tv_gguf *file;
    tv_parameter_list *list;
    tv_gguf_names *names;
    const tv_gguf_tensor **tensors; /* of each entry */
};

/* "(64, 192)" */
static void print_shape(const uint64_t *shape, uint32_t rank, char text[128]) {
    int used = snprintf(text, 128, "(");
    for (uint32_t i = 0; i < rank && i < TV_GGUF_MAX_RANK; i++)
        used += snprintf(text + used, (size_t)(128 - used), "%s%llu", i ? ", " : "",
                         (unsigned long long)shape[i]);
    snprintf(text + used, (size_t)(128 - used), ")");
}

static tv_status check_entry(const tv_gguf_model *m, const tv_gguf_entry *entry,
                             const tv_gguf_tensor *tensor) {
    const char *where = tv_gguf_where(m->file);
    const uint64_t shape[TV_GGUF_MAX_RANK] = {entry->rows, entry->columns};
    char expected[128], found[128];
    print_shape(shape, entry->rank, expected);
    if (!tensor)
        return tv_fail(TV_E_DATA,
                       "%s: tensor \"%s\" with the shape %s is missing; the file's metadata ask for it",
                       where, entry->name, expected);
    bool same = tensor->rank == entry->rank;
    for (uint32_t i = 0; same && i < entry->rank && i < TV_GGUF_MAX_RANK; i++)
        same = tensor->shape[i] == shape[i];
    if (same)
        return TV_OK;
    print_shape(tensor->shape, tensor->rank, found);
    return tv_fail(TV_E_DATA, "%s: tensor \"%s\": expected the shape %s from the file's metadata, found %s",
                   where, entry->name, expected, found);
}

static tv_status match(tv_gguf_model *m) {
    const uint64_t count = tv_gguf_tensor_count(m->file);
    bool *seen = calloc(count + 1, sizeof *seen);
    m->tensors = calloc(m->names->count, sizeof *m->tensors);
    tv_status status = seen && m->tensors ? TV_OK
                                          : tv_fail(TV_E_MEMORY, "out of host memory for the tensors of %s",
                                                    tv_gguf_where(m->file));
    for (uint64_t i = 0; i < m->names->count && status == TV_OK; i++) {
        const tv_gguf_entry *entry = &m->names->entries[i];
        m->tensors[i] = tv_gguf_tensor_find(m->file, entry->name);
        TV_TRY(check_entry(m, entry, m->tensors[i]));
        seen[m->tensors[i] - tv_gguf_tensor_at(m->file, 0)] = true;
    }
    for (uint64_t i = 0; i < count && status == TV_OK; i++) {
        const char *name = tv_gguf_tensor_at(m->file, i)->name;
        if (!seen[i] && strcmp(name, TV_GGUF_ROTARY_FACTORS) != 0)
            status = tv_fail(TV_E_DATA,
                             "%s: tensor \"%s\" has no place in the model that the file's metadata describe",
                             tv_gguf_where(m->file), name);
    }
done:
    free(seen);
    return status;
}

/* What has no arithmetic here. */
static void say_conversions(const tv_gguf_model *m) {
    static const char *const names[] = {"Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"};
    char list[64] = "";
    for (size_t k = 0; k < TV_COUNT(names); k++) {
        bool there = false;
        for (uint64_t i = 0; i < m->names->count; i++)
            there |= strcmp(m->tensors[i]->type->name, names[k]) == 0;
        if (there)
            snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", list[0] ? ", " : "", names[k]);
    }
    if (list[0])
        tv_info("%s: weights of the type %s are converted: to q8_0, unless another type is asked for",
                tv_gguf_where(m->file), list);
}

tv_status tv_gguf_model_open(const char *path, tv_gguf_model **model) {
    tv_status status;
    tv_model_config config;
    *model = NULL;
    tv_gguf_model *m = calloc(1, sizeof *m);
    if (!m)
        return tv_fail(TV_E_MEMORY, "out of host memory for the model in %s", path);
    TV_TRY_OR_FAIL(tv_gguf_open(path, &m->file));
    TV_TRY_OR_FAIL(tv_gguf_get_config(m->file, &config));
    TV_TRY_OR_FAIL(tv_parameter_list_create(&config, &m->list));
    TV_TRY_OR_FAIL(tv_gguf_names_create(m->list, &m->names));
    TV_TRY_OR_FAIL(match(m));
    say_conversions(m);
    *model = m;
    return TV_OK;
fail:
    tv_gguf_model_close(&m);
    return status;
}

void tv_gguf_model_close(tv_gguf_model **model) {
    tv_gguf_model *m = *model;
    if (m) {
        tv_gguf_names_destroy(&m->names);
        tv_parameter_list_destroy(&m->list);
        tv_gguf_close(&m->file);
        free(m->tensors);
        free(m);
    }
    *model = NULL;
}

const tv_parameter_list *tv_gguf_model_parameters(const tv_gguf_model *model) {
    return model->list;
}

/* What a tensor's elements are on a device; false where that is another type than theirs, whose own
 * arithmetic is not there. */
static bool find_stored(const tv_gguf_type *type, tv_dtype *dtype) {
    static const struct {
        const char *name;
        tv_dtype dtype;
    } kept[] = {{"F32", TV_F32}, {"F16", TV_F16}, {"BF16", TV_BF16}, {"Q8_0", TV_Q8_0}, {"Q4_0", TV_Q4_0}};
    *dtype = TV_Q8_0;
    for (size_t i = 0; i < TV_COUNT(kept); i++)
        if (strcmp(kept[i].name, type->name) == 0) {
            *dtype = kept[i].dtype;
            return true;
        }
    return false;
}

static tv_dtype stored_as(const tv_gguf_type *type) {
    tv_dtype dtype;
    (void)find_stored(type, &dtype);
    return dtype;
}

tv_dtype tv_gguf_model_stored(const tv_gguf_model *m, uint32_t index) {
    /* The widest of a parameter's tensors, which a mixture of types stores apart. */
    static const tv_dtype widest[] = {TV_F32, TV_BF16, TV_F16, TV_Q8_0, TV_Q4_0};
    size_t best = TV_COUNT(widest) - 1;
    for (uint64_t i = 0; i < m->names->count; i++)
        for (size_t k = 0; k < best; k++)
            if (m->names->entries[i].parameter == index && stored_as(m->tensors[i]->type) == widest[k])
                best = k;
    return widest[best];
}

/* A row out of a file's blocks is whole, or its NaN says where it is not. */
static tv_status check_finite(const tv_gguf_model *m, const tv_gguf_entry *entry, tv_dtype dtype,
                              const float *row) {
    for (uint64_t c = 0; c < entry->columns; c++)
        if (!isfinite(row[c]))
            return tv_fail(
                TV_E_DATA,
                "%s: tensor \"%s\" holds %g, which is no weight; the file is damaged, or the training that "
                "wrote it diverged",
                tv_gguf_where(m->file), entry->name, (double)row[c]);
    for (uint64_t c = 0; dtype == TV_F16 && c < entry->columns; c++)
        if (!(fabsf(row[c]) <= 65504))
            return tv_fail(TV_E_DATA,
                           "%s: tensor \"%s\" holds %g, which f16 cannot hold (its largest is 65504)",
                           tv_gguf_where(m->file), entry->name, (double)row[c]);
    return TV_OK;
}

/* Rows [first, end) of an entry's tensor in the file. */
static tv_status read_file_rows(const tv_gguf_model *m, uint64_t number, uint64_t first, uint64_t end,
                                float *values) {
    const tv_gguf_entry *entry = &m->names->entries[number];
    if (entry->rank != 1)
        return tv_gguf_read(m->file, m->tensors[number], first, end - first, values);
    /* One row of the file, as many of the parameter as it has elements. */
    float *all = malloc(entry->rows * sizeof *all);
    tv_status status =
        all ? tv_gguf_read(m->file, m->tensors[number], 0, 1, all)
            : tv_fail(TV_E_MEMORY, "out of host memory for the weights of %s", tv_gguf_where(m->file));
    if (status == TV_OK)
        memcpy(values, all + first, (end - first) * sizeof *values);
    free(all);
    return status;
}

/* Rows [from, from + rows) of an entry, as the parameter has them, out of [first, end) of the file. */
static tv_status read_entry(const tv_gguf_model *m, uint64_t number, uint64_t from, uint64_t rows,
                            tv_dtype dtype, uint8_t *out) {
    const tv_gguf_entry *entry = &m->names->entries[number];
    const tv_gguf_type *type = m->tensors[number]->type;
    const uint64_t unit = entry->turned_heads ? entry->rows / entry->turned_heads : 1;
    /* Whole heads, because a head's rows lie among each other. */
    const uint64_t first = from / unit * unit, end = tv_align_up(from + rows, unit);
    const uint64_t to_bytes = tv_dtype_row_bytes(dtype, entry->columns);
    /* Blocks of the same type keep their bits. */
    tv_dtype own;
    const bool kept = find_stored(type, &own) && tv_dtype_is_blocks(dtype) && own == dtype;
    const uint64_t block_bytes = kept ? entry->columns / type->block * type->bytes : 0;
    tv_status status = TV_OK;
    float *values = malloc((end - first) * entry->columns * sizeof *values);
    uint8_t *blocks = malloc((end - first) * block_bytes + 1);
    if (!values || !blocks)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the weights of %s", tv_gguf_where(m->file));
    if (status == TV_OK)
        status = read_file_rows(m, number, first, end, values);
    if (status == TV_OK && kept)
        status = tv_gguf_copy(m->file, m->tensors[number], first * block_bytes, (end - first) * block_bytes,
                              blocks);
    for (uint64_t r = first; r < end && status == TV_OK; r++) {
        const uint64_t to = tv_gguf_entry_row(entry, r);
        float *row = values + (r - first) * entry->columns;
        uint8_t *there = out + (to - from) * to_bytes;
        if (to < from || to >= from + rows)
            continue;
        for (uint64_t c = 0; c < entry->columns && entry->from_one; c++)
            row[c] -= 1;
        status = check_finite(m, entry, dtype, row);
        if (kept)
            tv_dtype_from_blocks(dtype, entry->columns, 1, blocks + (r - first) * block_bytes, there);
        else
            tv_dtype_from_f32(dtype, entry->columns, 1, row, there);
    }
    free(values);
    free(blocks);
    return status;
}

tv_status tv_gguf_model_read_rows(const tv_gguf_model *m, uint32_t index, uint64_t first_row, uint64_t rows,
                                  tv_dtype dtype, void *out) {
    const uint64_t row_bytes = tv_dtype_row_bytes(dtype, m->list->items[index].shape[1]);
    for (uint64_t i = 0; i < m->names->count; i++) {
        const tv_gguf_entry *entry = &m->names->entries[i];
        const uint64_t from = tv_max_u64(first_row, entry->first_row);
        const uint64_t to = tv_min_u64(first_row + rows, entry->first_row + entry->rows);
        if (entry->parameter != index || from >= to)
            continue;
        TV_RETURN_IF_FAILED(read_entry(m, i, from - entry->first_row, to - from, dtype,
                                       (uint8_t *)out + (from - first_row) * row_bytes));
    }
    return TV_OK;
}
