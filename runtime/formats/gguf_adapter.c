/* Adapters into GGUF files: see gguf_adapter.h. */
#include "formats/gguf_adapter.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "formats/gguf_names.h"

/* The tensor that a target of a layer adds to; NULL where the family has none. */
static const tv_gguf_entry *entry_of(const tv_parameter_list *list, const tv_gguf_names *names,
                                     uint32_t target, uint32_t layer) {
    const tv_adapter_target *wanted = &list->adapter.targets[target];
    const uint32_t matrix = tv_parameter_index(list, wanted->role, layer);
    for (uint64_t i = 0; i < names->count; i++)
        if (names->entries[i].parameter == matrix && names->entries[i].first_row == wanted->first_row &&
            names->entries[i].rows == wanted->rows)
            return &names->entries[i];
    return NULL;
}

/* In two, or tests/check_facts.sh takes its end for a setting. */
#define ALPHA_KEY                                                                                            \
    "adapter.lora"                                                                                           \
    ".alpha"

static const char *const endings[] = {".lora_a", ".lora_b"};
static const tv_parameter_role roles[] = {TV_PARAMETER_ADAPTER_A, TV_PARAMETER_ADAPTER_B};

static tv_status announce(tv_gguf_writer *writer, const tv_gguf_export *export, const tv_gguf_entry *entry,
                          uint32_t target, uint32_t layer) {
    for (int i = 0; i < 2; i++) {
        const tv_parameter *p =
            &export->list->items[tv_parameter_adapter(export->list, target, layer, roles[i])];
        char name[160];
        snprintf(name, sizeof name, "%.128s%s", entry->name, endings[i]);
        tv_gguf_add_tensor(writer, name, export->type, 2, p->shape);
    }
    return TV_OK;
}

/* A as it is, B with its rows where those of the matrix are. */
static tv_status write_pair(tv_gguf_writer *writer, const tv_gguf_export *export, const tv_gguf_entry *entry,
                            uint32_t target, uint32_t layer) {
    tv_status status = TV_OK;
    for (int i = 0; i < 2 && status == TV_OK; i++) {
        const uint32_t index = tv_parameter_adapter(export->list, target, layer, roles[i]);
        const tv_parameter *p = &export->list->items[index];
        const uint64_t rows = p->shape[0], columns = p->shape[1], row_bytes = columns * export->type->bytes;
        float *values = malloc(p->count * sizeof *values);
        uint8_t *bytes = malloc(rows * row_bytes);
        if (!values || !bytes)
            status = tv_fail(TV_E_MEMORY, "out of host memory for the adapter of %s", export->where);
        if (status == TV_OK)
            status = export->source(export->context, index, 0, rows, TV_F32, values);
        for (uint64_t r = 0; r < rows && status == TV_OK; r++) {
            const float *row = values + (i == 1 ? tv_gguf_entry_row(entry, r) : r) * columns;
            for (uint64_t c = 0; c < columns; c++)
                if (!isfinite(row[c]) || (export->type->number == 1 && fabsf(row[c]) > 65504))
                    status = tv_fail(TV_E_DATA, "%s: the adapter of %s holds %g, which %s cannot",
                                     export->where, entry->published, (double)row[c], export->type->name);
            tv_gguf_encode(export->type, row, columns, bytes + r * row_bytes);
        }
        if (status == TV_OK)
            status = tv_gguf_write(writer, bytes, rows * row_bytes);
        free(values);
        free(bytes);
    }
    return status;
}

typedef tv_status (*pair_step)(tv_gguf_writer *writer, const tv_gguf_export *export,
                               const tv_gguf_entry *entry, uint32_t target, uint32_t layer);

static tv_status for_each_pair(tv_gguf_writer *writer, const tv_gguf_export *export,
                               const tv_gguf_names *names, pair_step step) {
    const tv_parameter_list *list = export->list;
    for (uint32_t layer = 0; layer < list->config.n_layer; layer++)
        for (uint32_t target = 0; target < list->adapter.target_count; target++) {
            const tv_gguf_entry *entry = entry_of(list, names, target, layer);
            if (!entry)
                return tv_fail(TV_E_CONFIG,
                               "%s: the adapter adds to a matrix that has no tensor of its own in GGUF",
                               export->where);
            TV_RETURN_IF_FAILED(step(writer, export, entry, target, layer));
        }
    return TV_OK;
}

tv_status tv_gguf_adapter_write(const char *path, const tv_gguf_export *export) {
    const tv_adapter *adapter = &export->list->adapter;
    tv_gguf_names *names = NULL;
    tv_gguf_writer *writer = NULL;
    tv_status status;
    if (adapter->rank == 0)
        return tv_fail(TV_E_DATA, "%s: expected an adapter (adapter_config.json), found a model without one",
                       export->where);
    if (export->type->block > 1)
        return tv_fail(TV_E_CONFIG, "%s: an adapter is written in f32, f16 or bf16, not in %s", export->where,
                       export->type->name);
    TV_TRY(tv_gguf_names_create(export->list, &names));
    TV_TRY(tv_gguf_writer_create(path, &writer));
    tv_gguf_set_text(writer, "general.type", "adapter");
    tv_gguf_set_text(writer, "general.architecture", names->family);
    tv_gguf_set_text(writer, "general.name", export->name);
    tv_gguf_set_uint32(writer, "general.file_type", export->type->file_type);
    tv_gguf_set_text(writer, "adapter.type", "lora");
    tv_gguf_set_float32(writer, ALPHA_KEY, tv_adapter_scale(adapter) * (double)adapter->rank);
    TV_TRY(for_each_pair(writer, export, names, announce));
    TV_TRY(tv_gguf_writer_begin(writer));
    TV_TRY(for_each_pair(writer, export, names, write_pair));
    TV_TRY(tv_gguf_writer_commit(&writer));
done:
    tv_gguf_writer_abort(&writer);
    tv_gguf_names_destroy(&names);
    return status;
}
