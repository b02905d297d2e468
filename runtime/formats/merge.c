/* W + scale B A: see merge.h. */
#include "formats/merge.h"

#include <stdlib.h>

#include "base/bytes.h"

struct tv_merged {
    const tv_model_directory *directory;
    tv_parameter_list *list;
};

tv_status tv_merged_create(const tv_model_directory *directory, tv_merged **out) {
    *out = NULL;
    tv_merged *merged = calloc(1, sizeof *merged);
    if (!merged)
        return tv_fail(TV_E_MEMORY, "out of host memory for a merged model");
    merged->directory = directory;
    tv_status status =
        tv_parameter_list_create(&tv_model_directory_parameters(directory)->config, &merged->list);
    if (status != TV_OK)
        tv_merged_destroy(&merged);
    *out = merged;
    return status;
}

void tv_merged_destroy(tv_merged **merged) {
    if (*merged) {
        tv_parameter_list_destroy(&(*merged)->list);
        free(*merged);
    }
    *merged = NULL;
}

const tv_parameter_list *tv_merged_parameters(const tv_merged *merged) {
    return merged->list;
}

/* values (rows, columns) += scale b (rows, r) a (r, columns). */
static void add_product(double scale, const float *b, const float *a, uint64_t rows, uint64_t rank,
                        uint64_t columns, double *sums, float *values) {
    for (uint64_t row = 0; row < rows; row++) {
        for (uint64_t c = 0; c < columns; c++)
            sums[c] = 0;
        for (uint64_t r = 0; r < rank; r++)
            for (uint64_t c = 0; c < columns; c++)
                sums[c] += (double)b[row * rank + r] * (double)a[r * columns + c];
        for (uint64_t c = 0; c < columns; c++)
            values[row * columns + c] = (float)((double)values[row * columns + c] + scale * sums[c]);
    }
}

/* Adds what target `t` gives to the rows of its matrix that lie in [first_row, first_row + rows). */
static tv_status add_target(const tv_merged *merged, uint32_t t, uint32_t layer, uint64_t columns,
                            uint64_t first_row, uint64_t rows, float *values) {
    const tv_parameter_list *list = tv_model_directory_parameters(merged->directory);
    const tv_adapter_target *target = &list->adapter.targets[t];
    uint64_t from = tv_max_u64(first_row, target->first_row), rank = list->adapter.rank;
    uint64_t to = tv_min_u64(first_row + rows, target->first_row + target->rows);
    if (from >= to)
        return TV_OK;
    tv_status status;
    float *a = calloc(rank * columns, sizeof *a), *b = calloc((to - from) * rank, sizeof *b);
    double *sums = calloc(columns, sizeof *sums);
    if (!a || !b || !sums) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the product of an adapter");
        goto done;
    }
    TV_TRY(tv_model_directory_read_rows(
        merged->directory, tv_parameter_adapter(list, t, layer, TV_PARAMETER_ADAPTER_A), 0, rank, TV_F32, a));
    TV_TRY(tv_model_directory_read_rows(merged->directory,
                                        tv_parameter_adapter(list, t, layer, TV_PARAMETER_ADAPTER_B),
                                        from - target->first_row, to - from, TV_F32, b));
    add_product(tv_adapter_scale(&list->adapter), b, a, to - from, rank, columns, sums,
                values + (from - first_row) * columns);
done:
    free(a);
    free(b);
    free(sums);
    return status;
}

tv_status tv_merged_source(void *context, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out) {
    const tv_merged *merged = context;
    const tv_parameter_list *list = tv_model_directory_parameters(merged->directory);
    const tv_parameter *p = &merged->list->items[index];
    uint32_t there = tv_parameter_index(list, p->role, p->layer);
    if (!tv_adapter_adds_to(&list->adapter, p->role))
        return tv_model_directory_read_rows(merged->directory, there, first_row, rows, dtype, out);
    uint64_t columns = p->shape[1];
    tv_status status;
    float *values = dtype == TV_F32 ? out : calloc(rows * columns, sizeof *values);
    if (!values)
        return tv_fail(TV_E_MEMORY, "out of host memory for a piece of a merged model");
    TV_TRY(tv_model_directory_read_rows(merged->directory, there, first_row, rows, TV_F32, values));
    for (uint32_t t = 0; t < list->adapter.target_count; t++)
        if (list->adapter.targets[t].role == p->role)
            TV_TRY(add_target(merged, t, p->layer, columns, first_row, rows, values));
    if (dtype != TV_F32)
        tv_dtype_from_f32(dtype, columns, rows, values, out);
done:
    if (dtype != TV_F32)
        free(values);
    return status;
}
