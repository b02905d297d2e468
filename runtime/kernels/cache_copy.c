/* Launcher of copies within the caches: see cache_copy.h. */
#include "kernels/cache_copy.h"

/* Heads that one binding holds: a window begins up to so many elements before them (tv_tensor_window). */
enum { WINDOW_ELEMENTS = 64 };

static uint64_t heads_at_once(const tv_recorder *recorder, const tv_cache_copy *copy) {
    const uint64_t stride = copy->max_tokens * copy->head_size,
                   bound = tv_recorder_caps(recorder)->storage_range / sizeof(float);
    return bound > WINDOW_ELEMENTS + stride ? (bound - WINDOW_ELEMENTS) / stride : 1;
}

/* Halves as words. */
static tv_cache_copy as_words(const tv_cache_copy *copy) {
    tv_cache_copy words = *copy;
    if (tv_is_half(copy->k.dtype)) {
        words.head_size /= 2;
        words.before /= 2;
        words.k.dtype = words.v.dtype = TV_F32;
    }
    return words;
}

tv_status tv_cache_copy_record(tv_recorder *recorder, const tv_cache_copy *of) {
    const tv_cache_copy words = as_words(of), *copy = &words;
    if (copy->from >= copy->slots || copy->to >= copy->slots || copy->from == copy->to ||
        copy->first + copy->count > copy->max_tokens)
        return tv_fail(
            TV_E_USAGE,
            "tokens %llu to %llu were to be copied from slot %llu to %llu of %llu, which have %llu tokens",
            (unsigned long long)copy->first, (unsigned long long)(copy->first + copy->count),
            (unsigned long long)copy->from, (unsigned long long)copy->to, (unsigned long long)copy->slots,
            (unsigned long long)copy->max_tokens);
    const uint64_t stride = copy->max_tokens * copy->head_size, width = copy->count * copy->head_size;
    tv_part heads = {0};
    while (width > 0 && tv_next_part(&heads, copy->kv_heads, heads_at_once(recorder, copy))) {
        const uint64_t first = copy->before + copy->first * copy->head_size,
                       from = first + (copy->from * copy->kv_heads + heads.first) * stride,
                       to = first + (copy->to * copy->kv_heads + heads.first) * stride,
                       elements = (heads.count - 1) * stride + width;
        tv_cache_copy_push push = {
            (uint32_t)heads.count, (uint32_t)copy->count, (uint32_t)copy->head_size, (uint32_t)stride, 0, 0};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = TV_PROGRAM_cache_copy_base,
                                   .bindings = {tv_tensor_window(copy->k, from, elements, &push.from),
                                                tv_tensor_window(copy->v, from, elements, &push.from),
                                                tv_tensor_window(copy->k, to, elements, &push.to),
                                                tv_tensor_window(copy->v, to, elements, &push.to)},
                                   .push = &push,
                                   .invocations = heads.count * width,
                                   .shape = {heads.count, copy->count, copy->head_size}}));
    }
    return TV_OK;
}
