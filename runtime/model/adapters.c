/* Products of adapters: see adapters.h. */
#include "model/adapters.h"

#include "kernels/matmul.h"

/* One of the matrix's targets. */
typedef struct part {
    const tv_adapter_target *target;
    uint64_t rank;
    float scale;
    uint32_t a, b; /* positions in the list */
    tv_tensor t, d_t;
} part;

/* From element `first` on; the launcher takes starts that are not aligned. */
static tv_tensor from(tv_tensor tensor, uint64_t first) {
    uint64_t skipped = first * sizeof(float);
    if (tv_tensor_present(tensor))
        tensor.span = tv_span_part(tensor.span, skipped, tensor.span.bytes - skipped);
    return tensor;
}

/* The next target of the product's matrix after number `*next`; false when there is none. The parts of one
 * matrix have places of their own in the activations, so that their products need not wait for each other. */
static bool next_part(const tv_adapted *product, uint32_t *next, part *found) {
    const tv_parameter_list *list = tv_model_list(product->model);
    const tv_adapter *adapter = &list->adapter;
    for (; *next < adapter->target_count; (*next)++) {
        const tv_adapter_target *target = &adapter->targets[*next];
        if (target->role != product->weight)
            continue;
        uint64_t place = product->activations->rows * adapter->rank * tv_adapter_place(adapter, *next);
        *found = (part){.target = target,
                        .rank = adapter->rank,
                        .scale = (float)tv_adapter_scale(adapter),
                        .a = tv_parameter_adapter(list, *next, product->layer, TV_PARAMETER_ADAPTER_A),
                        .b = tv_parameter_adapter(list, *next, product->layer, TV_PARAMETER_ADAPTER_B),
                        .t = from(product->activations->adapter_t, place),
                        .d_t = from(product->activations->d_adapter_t, place)};
        (*next)++;
        return true;
    }
    return false;
}

/* t (N, r) = x A^T, for every target of the matrix. */
static tv_status down(tv_recorder *recorder, const tv_adapted *product, tv_tensor x) {
    part p;
    for (uint32_t next = 0; next_part(product, &next, &p);)
        TV_RETURN_IF_FAILED(
            tv_matmul_record(recorder, &(tv_matmul){.m = product->activations->rows,
                                                    .n = p.rank,
                                                    .k = product->in,
                                                    .transpose_b = true,
                                                    .a = x,
                                                    .b = tv_model_parameter_at(product->model, p.a),
                                                    .c = p.t}));
    return TV_OK;
}

tv_status tv_adapters_forward(tv_recorder *recorder, const tv_adapted *product, tv_tensor x, tv_tensor y) {
    part p;
    uint32_t next = 0;
    if (!next_part(product, &next, &p))
        return TV_OK;
    tv_record_push_label(recorder, "adapter");
    TV_RETURN_IF_FAILED(down(recorder, product, x));
    for (next = 0; next_part(product, &next, &p);)
        TV_RETURN_IF_FAILED(
            tv_matmul_record(recorder, &(tv_matmul){.m = product->activations->rows,
                                                    .n = p.target->rows,
                                                    .k = p.rank,
                                                    .transpose_b = true,
                                                    .accumulate = true,
                                                    .scale = p.scale,
                                                    .ldc = product->out,
                                                    .a = p.t,
                                                    .b = tv_model_parameter_at(product->model, p.b),
                                                    .c = from(y, p.target->first_row)}));
    tv_record_pop_label(recorder);
    return TV_OK;
}

/* Of one target; its t stands. */
static tv_status backward_part(tv_recorder *recorder, const tv_adapted *product, const part *p, tv_tensor x,
                               tv_tensor d_y, tv_tensor d_x) {
    const tv_model *model = product->model;
    uint64_t rows = product->activations->rows;
    tv_tensor own_d_y = from(d_y, p->target->first_row), d_a = tv_model_gradient_at(model, p->a),
              d_b = tv_model_gradient_at(model, p->b);
    TV_RETURN_IF_FAILED(tv_matmul_record(recorder, &(tv_matmul){.m = rows,
                                                                .n = p->rank,
                                                                .k = p->target->rows,
                                                                .scale = p->scale,
                                                                .lda = product->out,
                                                                .a = own_d_y,
                                                                .b = tv_model_parameter_at(model, p->b),
                                                                .c = p->d_t}));
    if (tv_tensor_present(d_b))
        TV_RETURN_IF_FAILED(tv_matmul_record(recorder, &(tv_matmul){.m = p->target->rows,
                                                                    .n = p->rank,
                                                                    .k = rows,
                                                                    .transpose_a = true,
                                                                    .accumulate = true,
                                                                    .scale = p->scale,
                                                                    .lda = product->out,
                                                                    .a = own_d_y,
                                                                    .b = p->t,
                                                                    .c = d_b}));
    if (tv_tensor_present(d_a))
        TV_RETURN_IF_FAILED(tv_matmul_record(recorder, &(tv_matmul){.m = p->rank,
                                                                    .n = product->in,
                                                                    .k = rows,
                                                                    .transpose_a = true,
                                                                    .accumulate = true,
                                                                    .a = p->d_t,
                                                                    .b = x,
                                                                    .c = d_a}));
    if (!tv_tensor_present(d_x))
        return TV_OK;
    return tv_matmul_record(recorder, &(tv_matmul){.m = rows,
                                                   .n = product->in,
                                                   .k = p->rank,
                                                   .accumulate = true,
                                                   .a = p->d_t,
                                                   .b = tv_model_parameter_at(model, p->a),
                                                   .c = d_x});
}

tv_status tv_adapters_backward(tv_recorder *recorder, const tv_adapted *product, tv_tensor x, tv_tensor d_y,
                               tv_tensor d_x) {
    part p;
    uint32_t next = 0;
    if (!next_part(product, &next, &p))
        return TV_OK;
    tv_record_push_label(recorder, "adapter");
    TV_RETURN_IF_FAILED(down(recorder, product, x));
    for (next = 0; next_part(product, &next, &p);)
        TV_RETURN_IF_FAILED(backward_part(recorder, product, &p, x, d_y, d_x));
    tv_record_pop_label(recorder);
    return TV_OK;
}
