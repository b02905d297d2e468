/* Launchers of the non-linearities: see activation.h. */
#include "kernels/activation.h"

#include "push_constants.h"

/* SWIGLU_TILE: enough for every invocation of a workgroup to run a few vec4s, little enough that one row
 * fills several. */
enum { SWIGLU_WORKGROUP = 256, SWIGLU_TILE = 4096 };

/* `tensors` arrays of `count`, elementwise; the last is written. */
static tv_status record_elementwise(tv_recorder *recorder, const char *what, tv_program_id scalar,
                                    tv_program_id vec4, tv_program_id halves, uint64_t count,
                                    const tv_tensor *arrays, uint32_t tensors) {
    uint64_t bytes[TV_MAX_BINDINGS], most;
    TV_RETURN_IF_FAILED(tv_check_halves(what, arrays, tensors, count, 4));
    for (uint32_t i = 0; i < tensors; i++)
        bytes[i] = tv_dtype_bytes(arrays[i].dtype);
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, what, count, bytes, tensors, &most));
    tv_part part = {0};
    while (tv_next_part(&part, count, most)) {
        uint64_t width = part.count % 4 == 0 ? 4 : 1;
        tv_count_push push = {(uint32_t)part.count};
        tv_launch launch = {.program = tv_is_half(arrays[0].dtype) ? halves
                                       : width == 4                ? vec4
                                                                   : scalar,
                            .halves = arrays[0].dtype,
                            .push = &push,
                            .invocations = part.count / width,
                            .shape = {part.count}};
        for (uint32_t i = 0; i < tensors; i++)
            launch.bindings[i] = tv_tensor_rows(arrays[i], 1, part.first, part.count);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

tv_status tv_gelu_forward(tv_recorder *recorder, uint64_t count, tv_tensor x, tv_tensor y) {
    return record_elementwise(recorder, "gelu", TV_PROGRAM_gelu_forward_base, TV_PROGRAM_gelu_forward_vec4,
                              TV_PROGRAM_gelu_forward_halves_vec4, count, (const tv_tensor[]){x, y}, 2);
}

tv_status tv_gelu_backward(tv_recorder *recorder, uint64_t count, tv_tensor x, tv_tensor d_y, tv_tensor d_x) {
    return record_elementwise(recorder, "gelu", TV_PROGRAM_gelu_backward_base, TV_PROGRAM_gelu_backward_vec4,
                              TV_PROGRAM_gelu_backward_halves_vec4, count, (const tv_tensor[]){x, d_y, d_x},
                              3);
}

typedef struct programs {
    tv_program_id scalar, vec4, halves;
} programs;
/* Where d_x of a row is made, it is at hand for the sums. */
static tv_status record_gelu_columns(tv_recorder *recorder, uint64_t rows, uint64_t columns, tv_tensor x,
                                     tv_tensor d_y, tv_tensor d_x, tv_column_sums *sums,
                                     tv_tensor d_columns) {
    const uint64_t row_bytes[] = {columns * tv_dtype_bytes(x.dtype), columns * tv_dtype_bytes(d_y.dtype)};
    const bool halves = tv_is_half(x.dtype);
    tv_column_chunks chunks;
    tv_tensor partials;
    TV_RETURN_IF_FAILED(tv_check_halves("gelu", (const tv_tensor[]){x, d_y, d_x}, 3, columns, 4));
    TV_RETURN_IF_FAILED(tv_column_chunks_choose(recorder, "gelu", rows, row_bytes, 2, columns, &chunks));
    TV_RETURN_IF_FAILED(tv_column_sums_place(recorder, sums, &chunks, columns, &d_columns, 1, &partials));
    tv_part part = {0};
    while (tv_next_part(&part, rows, chunks.most)) {
        uint64_t blocks = tv_div_up(part.count, chunks.rows);
        tv_sum_rows_push push = {.rows = (uint32_t)part.count,
                                 .columns = (uint32_t)columns,
                                 .rows_per_block = (uint32_t)chunks.rows};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = halves ? TV_PROGRAM_gelu_backward_columns_halves_vec4
                                                     : TV_PROGRAM_gelu_backward_columns_vec4,
                                   .halves = x.dtype,
                                   .push = &push,
                                   .invocations = blocks * columns / 4,
                                   .bindings = {tv_tensor_rows(x, columns, part.first, part.count),
                                                tv_tensor_rows(d_y, columns, part.first, part.count),
                                                tv_tensor_rows(d_x, columns, part.first, part.count),
                                                tv_tensor_window(partials, part.first / chunks.rows * columns,
                                                                 blocks * columns, &push.first)},
                                   .shape = {part.count, columns}}));
    }
    return TV_OK;
}

tv_status tv_gelu_backward_columns(tv_recorder *recorder, uint64_t rows, uint64_t columns, tv_tensor x,
                                   tv_tensor d_y, tv_tensor d_x, tv_column_sums *sums, tv_tensor d_columns) {
    bool summed = tv_tensor_present(d_columns);
    if (summed && !tv_recorder_caps(recorder)->cpu_kernels && columns % 4 == 0)
        return record_gelu_columns(recorder, rows, columns, x, d_y, d_x, sums, d_columns);
    TV_RETURN_IF_FAILED(tv_gelu_backward(recorder, rows * columns, x, d_y, d_x));
    return summed ? tv_column_sums_rows(recorder, sums, rows, columns, d_x, d_columns) : TV_OK;
}

/* Row-shaped arrays of `row_elements[i]` each: the bindings, in order. */
static tv_status record_swiglu(tv_recorder *recorder, const programs *of, uint64_t rows, uint64_t features,
                               const tv_tensor *arrays, const uint64_t *row_elements, uint32_t tensors) {
    uint64_t bytes[TV_MAX_BINDINGS], most;
    TV_RETURN_IF_FAILED(tv_check_halves("swiglu", arrays, tensors, features, 4));
    for (uint32_t i = 0; i < tensors; i++)
        bytes[i] = row_elements[i] * tv_dtype_bytes(arrays[i].dtype);
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "swiglu", rows, bytes, tensors, &most));
    tv_part part = {0};
    while (tv_next_part(&part, rows, most)) {
        uint64_t tiles = tv_div_up(features, SWIGLU_TILE);
        tv_swiglu_push push = {.rows = (uint32_t)part.count,
                               .features = (uint32_t)features,
                               .tile = SWIGLU_TILE,
                               .tiles = (uint32_t)tiles};
        tv_launch launch = {.program = tv_is_half(arrays[0].dtype) ? of->halves
                                       : features % 4 == 0         ? of->vec4
                                                                   : of->scalar,
                            .halves = arrays[0].dtype,
                            .push = &push,
                            .groups = part.count * tiles,
                            .specialization = {tv_row_workgroup(recorder, SWIGLU_WORKGROUP)},
                            .specialization_count = 1,
                            .shape = {part.count, features}};
        for (uint32_t i = 0; i < tensors; i++)
            launch.bindings[i] = tv_tensor_rows(arrays[i], row_elements[i], part.first, part.count);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

/* The programs of a gated non-linearity. */
typedef struct gate_programs {
    programs forward, backward;
} gate_programs;
static const gate_programs silu = {
    {TV_PROGRAM_swiglu_forward_base, TV_PROGRAM_swiglu_forward_vec4, TV_PROGRAM_swiglu_forward_halves_vec4},
    {TV_PROGRAM_swiglu_backward_base, TV_PROGRAM_swiglu_backward_vec4,
     TV_PROGRAM_swiglu_backward_halves_vec4}};
static const gate_programs gelu = {{TV_PROGRAM_swiglu_forward_gelu, TV_PROGRAM_swiglu_forward_gelu_vec4,
                                    TV_PROGRAM_swiglu_forward_halves_gelu_vec4},
                                   {TV_PROGRAM_swiglu_backward_gelu, TV_PROGRAM_swiglu_backward_gelu_vec4,
                                    TV_PROGRAM_swiglu_backward_halves_gelu_vec4}};

static tv_status record_forward(tv_recorder *recorder, const gate_programs *gate, uint64_t rows,
                                uint64_t features, tv_tensor gate_up, tv_tensor y) {
    return record_swiglu(recorder, &gate->forward, rows, features, (const tv_tensor[]){gate_up, y},
                         (const uint64_t[]){2 * features, features}, 2);
}

static tv_status record_backward(tv_recorder *recorder, const gate_programs *gate, uint64_t rows,
                                 uint64_t features, tv_tensor gate_up, tv_tensor d_y) {
    return record_swiglu(recorder, &gate->backward, rows, features, (const tv_tensor[]){gate_up, d_y},
                         (const uint64_t[]){2 * features, features}, 2);
}

tv_status tv_swiglu_forward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                            tv_tensor y) {
    return record_forward(recorder, &silu, rows, features, gate_up, y);
}

tv_status tv_swiglu_backward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                             tv_tensor d_y) {
    return record_backward(recorder, &silu, rows, features, gate_up, d_y);
}

tv_status tv_geglu_forward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                           tv_tensor y) {
    return record_forward(recorder, &gelu, rows, features, gate_up, y);
}

tv_status tv_geglu_backward(tv_recorder *recorder, uint64_t rows, uint64_t features, tv_tensor gate_up,
                            tv_tensor d_y) {
    return record_backward(recorder, &gelu, rows, features, gate_up, d_y);
}
