/* Weights into GGUF files: see gguf_model.h. */
#include "formats/gguf_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "formats/gguf_config.h"
#include "formats/gguf_names.h"
#include "formats/gguf_tokenizer.h"

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
