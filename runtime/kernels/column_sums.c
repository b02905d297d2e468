/* Launchers of sums over rows: see column_sums.h. */
#include "kernels/column_sums.h"

#include "push_constants.h"

/* Chunks are short where rows are few, so that a device is filled, and their number is bounded, so that
 * adding them stays short. CPUs are filled by few and pay for partial sums. */
enum { LEAST_ROWS = 8, LEAST_ROWS_CPU = 32, MOST_CHUNKS = 512, MOST_CHUNKS_CPU = 256 };

static uint64_t least_rows(const tv_caps *caps) {
    return caps->cpu_kernels ? LEAST_ROWS_CPU : LEAST_ROWS;
}

static uint64_t most_chunks(const tv_caps *caps) {
    return caps->cpu_kernels ? MOST_CHUNKS_CPU : MOST_CHUNKS;
}

uint64_t tv_column_sums_scratch(const tv_caps *caps, uint64_t rows, uint64_t columns, uint64_t widest) {
    uint64_t chunks = tv_min_u64(tv_div_up(rows, least_rows(caps)), most_chunks(caps));
    /* Where few rows are bound at once, a chunk has more than half of them. */
    uint64_t bound = tv_max_u64(2, caps->storage_range / tv_max_u64(1, widest * sizeof(float))), part = 2;
    while (2 * part <= bound)
        part *= 2;
    chunks = tv_max_u64(chunks, tv_div_up(2 * rows, part));
    /* Each gradient begins on an aligned byte. */
    return columns * chunks * sizeof(float) + (uint64_t)TV_COLUMN_SUMS * TV_TENSOR_ALIGNMENT;
}

tv_status tv_column_chunks_choose(const tv_recorder *recorder, const char *what, uint64_t rows,
                                  const uint64_t *row_bytes, uint32_t tensors, uint64_t columns,
                                  tv_column_chunks *chunks) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    uint64_t chunk = least_rows(caps), bound = caps->storage_range / (columns * sizeof(float));
    uint64_t most = tv_max_u64(1, tv_min_u64(most_chunks(caps), bound)), part;
    while (tv_div_up(rows, chunk) > most)
        chunk *= 2;
    TV_RETURN_IF_FAILED(tv_split_rows(recorder, what, rows, row_bytes, tensors, &part));
    /* Both are multiples of powers of two, so whole chunks also begin on aligned bytes. */
    if (part < rows) {
        while (chunk > part)
            chunk /= 2;
        part = part / chunk * chunk;
    }
    *chunks = (tv_column_chunks){.what = what, .rows = chunk, .chunks = tv_div_up(rows, chunk), .most = part};
    if (chunks->chunks * columns * sizeof(float) > caps->storage_range)
        return tv_fail(
            TV_E_FIT,
            "%s: sums over %llu rows of %llu columns are over the %llu bytes that this device binds "
            "at once; use a smaller model or sequence",
            what, (unsigned long long)rows, (unsigned long long)columns,
            (unsigned long long)caps->storage_range);
    return TV_OK;
}

tv_status tv_column_sums_place(tv_recorder *recorder, tv_column_sums *sums, const tv_column_chunks *chunks,
                               uint64_t columns, const tv_tensor *gradients, uint32_t count,
                               tv_tensor *partials) {
    const uint64_t each = chunks->chunks * columns * sizeof(float);
    uint64_t places = 0;
    for (uint32_t i = 0; i < count; i++) {
        TV_RETURN_IF_FAILED(tv_span_check(tv_tensor_first(gradients[i], columns).span, chunks->what));
        places += tv_tensor_present(gradients[i]);
    }
    const uint64_t bytes = tv_align_up(places * each, TV_TENSOR_ALIGNMENT);
    if (sums->count + count > TV_COLUMN_SUMS || sums->chunks != chunks->chunks ||
        sums->used + bytes > sums->scratch.span.bytes)
        TV_RETURN_IF_FAILED(tv_column_sums_add(recorder, sums));
    if (places * each > sums->scratch.span.bytes - tv_min_u64(sums->used, sums->scratch.span.bytes))
        return tv_fail(TV_E_USAGE, "%s: partial sums take %llu bytes and the scratch tensor has %llu",
                       chunks->what, (unsigned long long)(places * each),
                       (unsigned long long)sums->scratch.span.bytes);
    tv_span place = tv_span_part(sums->scratch.span, sums->used, places * each);
    *partials = (tv_tensor){place, TV_F32};
    sums->chunks = chunks->chunks;
    sums->used += bytes;
    for (uint32_t i = 0, at = 0; i < count; i++) {
        if (!tv_tensor_present(gradients[i]))
            continue;
        uint32_t number = sums->count++;
        sums->pending[number].partials = tv_span_part(place, at++ * each, each);
        sums->pending[number].gradient = tv_tensor_first(gradients[i], columns);
        sums->pending[number].columns = columns;
    }
    return TV_OK;
}

tv_status tv_column_sums_rows(tv_recorder *recorder, tv_column_sums *sums, uint64_t rows, uint64_t columns,
                              tv_tensor input, tv_tensor gradient) {
    const uint64_t row_bytes[] = {columns * tv_dtype_bytes(input.dtype)};
    const bool vectors = columns % 4 == 0;
    tv_column_chunks chunks;
    tv_tensor partials;
    TV_RETURN_IF_FAILED(tv_check_halves("column sums", &input, 1, columns, 4));
    TV_RETURN_IF_FAILED(
        tv_column_chunks_choose(recorder, "column sums", rows, row_bytes, 1, columns, &chunks));
    TV_RETURN_IF_FAILED(tv_column_sums_place(recorder, sums, &chunks, columns, &gradient, 1, &partials));
    tv_part part = {0};
    while (tv_next_part(&part, rows, chunks.most)) {
        uint64_t blocks = tv_div_up(part.count, chunks.rows);
        tv_sum_rows_push push = {.rows = (uint32_t)part.count,
                                 .columns = (uint32_t)columns,
                                 .rows_per_block = (uint32_t)chunks.rows};
        TV_RETURN_IF_FAILED(tv_launch_record(
            recorder, &(tv_launch){.program = tv_is_half(input.dtype) ? TV_PROGRAM_sum_rows_halves_vec4
                                              : vectors               ? TV_PROGRAM_sum_rows_vec4
                                                                      : TV_PROGRAM_sum_rows_scalar,
                                   .halves = input.dtype,
                                   .push = &push,
                                   .invocations = blocks * (vectors ? columns / 4 : columns),
                                   .bindings = {tv_tensor_rows(input, columns, part.first, part.count),
                                                tv_tensor_window(partials, part.first / chunks.rows * columns,
                                                                 blocks * columns, &push.first)},
                                   .shape = {part.count, columns}}));
    }
    return TV_OK;
}

/* How many of what is pending from `first` on one dispatch binds, and its bindings. */
static uint32_t bound_at_once(const tv_recorder *recorder, const tv_column_sums *sums, uint32_t first,
                              tv_tensor bindings[2]) {
    const uint64_t range = tv_recorder_caps(recorder)->storage_range;
    tv_span hulls[2] = {sums->pending[first].partials, sums->pending[first].gradient.span};
    /* Of a place for several, the later ones need not be aligned. */
    uint64_t before = hulls[0].offset % TV_TENSOR_ALIGNMENT;
    uint32_t i = first;
    hulls[0].offset -= before;
    hulls[0].bytes += before;
    do {
        bindings[0].span = hulls[0];
        bindings[1].span = hulls[1];
        if (++i == sums->count)
            break;
        hulls[0] = tv_span_hull(hulls[0], sums->pending[i].partials);
        hulls[1] = tv_span_hull(hulls[1], sums->pending[i].gradient.span);
    } while (hulls[0].bytes <= range && hulls[1].bytes <= range);
    return i - first;
}

static uint32_t words_behind(tv_tensor binding, tv_span span) {
    return (uint32_t)((span.offset - binding.span.offset) / sizeof(float));
}

tv_status tv_column_sums_add(tv_recorder *recorder, tv_column_sums *sums) {
    for (uint32_t first = 0, count; first < sums->count; first += count) {
        tv_launch launch = {.program = TV_PROGRAM_column_sums_base};
        count = bound_at_once(recorder, sums, first, launch.bindings);
        tv_column_sums_push push = {.count = count, .chunks = (uint32_t)sums->chunks};
        for (uint32_t i = 0; i < count; i++) {
            push.partials[i] = words_behind(launch.bindings[0], sums->pending[first + i].partials);
            push.gradients[i] = words_behind(launch.bindings[1], sums->pending[first + i].gradient.span);
            push.columns[i] = (uint32_t)sums->pending[first + i].columns;
            launch.invocations += push.columns[i];
        }
        launch.push = &push;
        launch.shape[0] = sums->chunks;
        launch.shape[1] = launch.invocations;
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    sums->count = 0;
    sums->used = 0;
    return TV_OK;
}
