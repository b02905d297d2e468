/* Parts and widths of a micro-batch: see trainer_layout.h. */
#include "train/trainer_layout.h"

#include "model/heads.h"
#include "push_constants.h"
#include "vk/transfer.h"

static uint32_t plan_widths(const tv_trainer_options *options, uint64_t *widths) {
    uint64_t step = tv_align_up(tv_div_up(options->tokens, TV_TRAINER_WIDTHS), TV_WIDTH_STEP);
    uint32_t count = 0;
    for (uint64_t width = step; options->narrow && width < options->tokens; width += step)
        widths[count++] = width;
    widths[count++] = options->tokens;
    return count;
}

uint64_t tv_trainer_width(const tv_trainer_options *options, uint64_t longest) {
    uint64_t widths[TV_TRAINER_WIDTHS];
    uint32_t count = plan_widths(options, widths), w = 0;
    while (w + 1 < count && widths[w] < longest)
        w++;
    return widths[w];
}

static tv_loss_head head_of(const tv_trainer_options *options, uint64_t rows, uint64_t width) {
    if (!options->head)
        return tv_language_loss_head(rows, width);
    return options->head(options->head_settings, rows, width);
}

tv_trainer_layout tv_trainer_layout_make(const tv_parameter_list *list, const tv_trainer_options *options) {
    tv_trainer_layout layout = {
        .options = *options, .list = list, .partials = options->train ? tv_step_partials(list) : 0};
    layout.count = plan_widths(options, layout.widths);
    for (uint32_t w = 0; w < layout.count; w++) {
        uint64_t fitting = options->batch * options->tokens / tv_max_u64(1, layout.widths[w]);
        layout.rows[w] = options->more_rows ? fitting : options->batch;
        layout.heads[w] = head_of(options, layout.rows[w], layout.widths[w]);
    }
    return layout;
}

uint64_t tv_trainer_layout_upload_words(const tv_trainer_layout *layout, uint32_t width, uint32_t part) {
    const tv_trainer_options *options = &layout->options;
    if (part >= TV_UPLOAD_INPUTS)
        return layout->heads[width].input_words[part - TV_UPLOAD_INPUTS];
    if ((part == TV_UPLOAD_POSITIONS && !options->positions) ||
        (part == TV_UPLOAD_DOC_START && !options->document_mask))
        return 0;
    return layout->rows[width] * layout->widths[width];
}

static uint64_t aligned_words(uint64_t words) {
    return tv_align_up(words * sizeof(uint32_t), TV_TENSOR_ALIGNMENT) / sizeof(uint32_t);
}

uint64_t tv_trainer_layout_upload_offset(const tv_trainer_layout *layout, uint32_t part) {
    uint64_t words = 0;
    for (uint32_t i = 0; i < part; i++) {
        uint64_t most = 0;
        for (uint32_t w = 0; w < layout->count; w++)
            most = tv_max_u64(most, tv_trainer_layout_upload_words(layout, w, i));
        words += aligned_words(most);
    }
    return words;
}

uint64_t tv_trainer_layout_output_offset(const tv_trainer_layout *layout, uint32_t output) {
    uint64_t words = 0;
    for (uint32_t i = 0; i < output; i++) {
        uint64_t most = 0;
        for (uint32_t w = 0; w < layout->count; w++)
            most = tv_max_u64(most, layout->heads[w].output_words[i]);
        words += aligned_words(most);
    }
    return words;
}

/* ---- the device ---- */

static uint64_t part_words(const tv_trainer_layout *layout, uint32_t width, uint32_t part) {
    const tv_loss_head *head = &layout->heads[width];
    if (part < TV_PART_OUTPUTS)
        return tv_trainer_layout_upload_words(layout, width, part - TV_PART_UPLOAD);
    if (part < TV_PART_SCRATCH)
        return head->output_words[part - TV_PART_OUTPUTS];
    if (part < TV_PART_CONSTANTS)
        return head->scratch_words[part - TV_PART_SCRATCH];
    if (part >= TV_PART_MUON)
        return layout->muon[part - TV_PART_MUON];
    switch (part) {
    case TV_PART_CONSTANTS:
        return sizeof(struct tv_step_constants) / sizeof(uint32_t);
    case TV_PART_STATE:
        return sizeof(struct tv_update_state) / sizeof(uint32_t);
    case TV_PART_STATS:
    case TV_PART_STAT_SUMS:
        return TV_HEAD_STATS;
    case TV_PART_TABLE:
        return layout->table;
    default:
        return layout->partials;
    }
}

tv_status tv_trainer_layout_plan(tv_trainer_layout *layout, const tv_caps *caps, tv_memory_plan *plan) {
    if (layout->options.train) {
        TV_RETURN_IF_FAILED(tv_step_table_words(layout->list, caps, &layout->table));
        TV_RETURN_IF_FAILED(tv_muon_plan(layout->list, caps, layout->muon));
    }
    for (uint32_t part = 0; part < TV_PART_COUNT; part++) {
        uint64_t words = part < TV_PART_MUON;
        for (uint32_t w = 0; w < layout->count; w++)
            words = tv_max_u64(words, part_words(layout, w, part));
        layout->parts[part] = (tv_plan_item){.bytes = words * sizeof(uint32_t)};
    }
    return tv_memory_plan_sequence(layout->parts, TV_PART_COUNT, caps->buffer_bytes, plan);
}

uint64_t tv_trainer_layout_muon_bytes(const tv_trainer_layout *layout) {
    uint64_t bytes = 0;
    for (uint32_t t = 0; t < TV_MUON_TENSORS; t++)
        bytes += tv_align_up(layout->muon[t] * sizeof(float), TV_TENSOR_ALIGNMENT);
    return bytes;
}

/* Absent for 0 words. */
static tv_tensor tensor_of(const tv_trainer_layout *layout, uint32_t width, const tv_device_arena *arena,
                           uint32_t part, tv_dtype dtype) {
    uint64_t bytes = part_words(layout, width, part) * sizeof(uint32_t);
    if (bytes == 0)
        return TV_ABSENT;
    return (tv_tensor){tv_span_part(tv_device_arena_span(arena, &layout->parts[part]), 0, bytes), dtype};
}

tv_step_tensors tv_trainer_layout_tensors(const tv_trainer_layout *layout, uint32_t width,
                                          const tv_device_arena *arena) {
    tv_step_tensors tensors = {
        .inputs = {.tokens = tensor_of(layout, width, arena, TV_PART_UPLOAD + TV_UPLOAD_TOKENS, TV_U32),
                   .positions = tensor_of(layout, width, arena, TV_PART_UPLOAD + TV_UPLOAD_POSITIONS, TV_U32),
                   .doc_start =
                       tensor_of(layout, width, arena, TV_PART_UPLOAD + TV_UPLOAD_DOC_START, TV_U32)},
        .head = {.stats = tensor_of(layout, width, arena, TV_PART_STATS, TV_F32),
                 .step = tensor_of(layout, width, arena, TV_PART_CONSTANTS, TV_U32)},
        .stat_sums = tensor_of(layout, width, arena, TV_PART_STAT_SUMS, TV_F32),
        .state = tensor_of(layout, width, arena, TV_PART_STATE, TV_U32),
        .partials = tensor_of(layout, width, arena, TV_PART_PARTIALS, TV_F32),
        .table = tensor_of(layout, width, arena, TV_PART_TABLE, TV_U32),
    };
    for (uint32_t t = 0; t < TV_MUON_TENSORS; t++)
        tensors.muon[t] = tensor_of(layout, width, arena, TV_PART_MUON + t, TV_F32);
    for (uint32_t i = 0; i < TV_HEAD_TENSORS; i++) {
        tensors.head.inputs[i] =
            tensor_of(layout, width, arena, TV_PART_UPLOAD + TV_UPLOAD_INPUTS + i, TV_U32);
        tensors.head.outputs[i] = tensor_of(layout, width, arena, TV_PART_OUTPUTS + i, TV_F32);
        tensors.head.scratch[i] = tensor_of(layout, width, arena, TV_PART_SCRATCH + i, TV_F32);
    }
    return tensors;
}
