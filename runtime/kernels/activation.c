/* Launchers of the non-linearities: see activation.h. */
#include "kernels/activation.h"

#include "push_constants.h"

enum { LOCAL_SIZE = 256 };

tv_status tv_gelu_forward(tv_recorder *recorder, uint64_t count, tv_tensor x, tv_tensor y) {
    const uint64_t bytes[] = {tv_dtype_bytes(x.dtype), tv_dtype_bytes(y.dtype)};
    uint64_t part;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, "gelu", count, bytes, 2, &part));
    for (uint64_t first = 0; first < count; first += part) {
        uint64_t size = tv_min_u64(part, count - first);
        tv_count_push push = {(uint32_t)size};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder,
            &(tv_launch){.program = TV_PROGRAM_gelu_forward_base,
                         .push = &push,
                         .groups = tv_div_up(size, LOCAL_SIZE),
                         .bindings = {tv_tensor_rows(x, 1, first, size), tv_tensor_rows(y, 1, first, size)},
                         .shape = {size}}));
    }
    return TV_OK;
}
