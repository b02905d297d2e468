/* The self-tests of matrix tiers: see matrices.h. */
#include "kernels/matrices.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/attention_rows.h"
#include "kernels/matmul.h"
#include "kernels/verdict.h"
#include "sizes.h"
#include "vk/once.h"
#include "vk/transfer.h"

/* Two slices of k. Sides that are no multiples of a tile's, and a few rows of them. */
enum { M = TV_MATMUL_LARGE_TILE + 8, N = TV_MATMUL_LARGE_TILE + 24, K = TV_MATMUL_SLICE + 32, FEW = 9 };

/* ---- a product, several times over ---- */

/* A product of `m` rows; what `batch` copies of it gave, one behind the other. */
typedef struct trial_product {
    bool transpose_a, transpose_b;
    uint64_t m, n, k, batch;
    tv_dtype dtype; /* of A, B and C */
} trial_product;

typedef float problem(uint32_t row, uint32_t column);

/* Whole numbers: exact in every type, and so are their sums in fp32. */
static float whole(uint32_t row, uint32_t column) {
    return (float)((row * 2654435761u ^ column * 2246822519u) >> 7 & 7) - (float)(row % 2 + column % 3);
}

/* No two sums of such agree in their last bits by chance alone. */
static float fraction(uint32_t row, uint32_t column) {
    return (float)(((row * 2654435761u ^ column * 2246822519u) * 40503u >> 8 & 0xffff) + 1) / 40000 - 0.8f;
}

static void *fill(problem *of, uint64_t rows, uint64_t columns, bool transposed, uint32_t salt,
                  tv_dtype dtype) {
    float *values = malloc(rows * columns * sizeof *values);
    for (uint32_t row = 0; values && row < rows; row++)
        for (uint32_t column = 0; column < columns; column++)
            values[transposed ? column * rows + row : row * columns + column] = of(row + salt, column);
    if (!values || dtype == TV_F32)
        return values;
    void *narrow = malloc(tv_align_up(rows * columns * tv_dtype_bytes(dtype), sizeof(uint32_t)));
    if (narrow)
        tv_dtype_from_f32(dtype, rows * columns, 1, values, narrow);
    free(values);
    return narrow;
}

static tv_status record(tv_device *device, const tv_matmul *product) {
    tv_recorder *recorder = NULL;
    tv_status status;
    TV_TRY_OR_FAIL(
        tv_recorder_begin(device, &(tv_recorder_options){.name = "self-test of matrices"}, &recorder));
    TV_TRY_OR_FAIL(tv_matmul_record(recorder, product));
    return tv_run_once(&recorder);
fail:
    tv_recorder_abort(&recorder);
    return status;
}

/* The caller frees *c: `batch` results, each (m, n). The rows of A are the problem's from `first` on. */
static tv_status answer(tv_device *device, const trial_product *p, problem *of, uint32_t first, void **c) {
    const uint64_t unit = tv_dtype_bytes(p->dtype), bytes_a = tv_align_up(p->m * p->k * unit, 4),
                   bytes_b = tv_align_up(p->k * p->n * unit, 4),
                   bytes_c = tv_align_up(p->batch * p->m * p->n * unit, 4);
    const uint64_t at_b = tv_align_up(bytes_a, TV_TENSOR_ALIGNMENT),
                   at_c = at_b + tv_align_up(bytes_b, TV_TENSOR_ALIGNMENT);
    tv_buffer *buffer = NULL;
    void *a = fill(of, p->m, p->k, p->transpose_a, first, p->dtype),
         *b = fill(of, p->k, p->n, p->transpose_b, M, p->dtype);
    tv_status status;
    *c = malloc(bytes_c);
    if (!a || !b || !*c) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a self-test");
        goto done;
    }
    TV_TRY(tv_buffer_create(device, at_c + bytes_c, TV_MEMORY_DEVICE, "self-test", &buffer));
    tv_span whole_buffer = tv_buffer_span(buffer);
    tv_span in_a = tv_span_part(whole_buffer, 0, bytes_a), in_b = tv_span_part(whole_buffer, at_b, bytes_b),
            out = tv_span_part(whole_buffer, at_c, bytes_c);
    TV_TRY(tv_upload(device, in_a, a, bytes_a));
    TV_TRY(tv_upload(device, in_b, b, bytes_b));
    TV_TRY(record(device, &(tv_matmul){.m = p->m,
                                       .n = p->n,
                                       .k = p->k,
                                       .transpose_a = p->transpose_a,
                                       .transpose_b = p->transpose_b,
                                       .ldb = p->transpose_b ? p->k : p->n,
                                       .batch = p->batch,
                                       .stride_c = p->m * p->n,
                                       .a = {in_a, p->dtype},
                                       .b = {in_b, p->dtype},
                                       .c = {out, p->dtype}}));
    TV_TRY(tv_download(device, out, *c, bytes_c));
done:
    tv_buffer_destroy(&buffer);
    free(a);
    free(b);
    return status;
}

/* As many copies as make a device take its large tiles. */
static uint64_t large_batch(const tv_device *device) {
    enum { TILES = ((M - 1) / TV_MATMUL_LARGE_TILE + 1) * ((N - 1) / TV_MATMUL_LARGE_TILE + 1) };
    return tv_div_up(tv_device_caps(device)->compute_units, TILES);
}

/* ---- right answers ---- */

/* The first result against its sums, the others against it. */
static bool is_right(const trial_product *p, const void *c) {
    const uint64_t unit = tv_dtype_bytes(p->dtype), count = p->m * p->n;
    for (uint32_t row = 0; row < p->m; row++)
        for (uint32_t column = 0; column < p->n; column++) {
            double sum = 0;
            for (uint32_t k = 0; k < p->k; k++)
                sum += (double)whole(row, k) * (double)whole(k + M, column);
            const float value = (float)sum;
            uint16_t half = 0;
            if (p->dtype != TV_F32)
                tv_dtype_from_f32(p->dtype, 1, 1, &value, &half);
            const void *expected = p->dtype == TV_F32 ? (const void *)&value : &half;
            if (memcmp((const char *)c + (row * p->n + column) * unit, expected, unit) != 0)
                return false;
        }
    for (uint64_t i = 1; i < p->batch; i++)
        if (memcmp((const char *)c + i * count * unit, c, count * unit) != 0)
            return false;
    return true;
}

static tv_status check(tv_device *device, const trial_product *p, bool *sound) {
    void *c = NULL;
    if (!*sound)
        return TV_OK;
    tv_status status = answer(device, p, whole, 0, &c);
    *sound = status == TV_OK && is_right(p, c);
    free(c);
    return status;
}

tv_status tv_matrices_test(tv_device *device, bool *sound) {
    const tv_dtype type = tv_tier_dtype(tv_device_caps(device)->tier);
    *sound = true;
    for (int form = 0; form < 4; form++)
        for (int large = 0; large < 2; large++)
            for (uint64_t slow = 0; slow < 2; slow++)
                TV_RETURN_IF_FAILED(check(device,
                                          &(trial_product){.transpose_a = form & 1,
                                                           .transpose_b = form & 2,
                                                           .m = M - slow,
                                                           .n = N - slow,
                                                           .k = K - slow,
                                                           .batch = large ? large_batch(device) : 1,
                                                           .dtype = slow ? type : TV_F32},
                                          sound));
    for (uint64_t slow = 0; slow < 2; slow++)
        TV_RETURN_IF_FAILED(check(device,
                                  &(trial_product){.transpose_b = true,
                                                   .m = FEW,
                                                   .n = N - slow,
                                                   .k = K - slow,
                                                   .batch = 1,
                                                   .dtype = slow ? type : TV_F32},
                                  sound));
    return TV_OK;
}

/* ---- the same bits ---- */

/* Whether the rows from `first` on have the bits that they have among all, whose result is `among`. */
static tv_status compare(tv_device *device, const trial_product *p, uint32_t first, const float *among,
                         bool *same) {
    void *c = NULL;
    tv_status status = answer(device, p, fraction, first, &c);
    *same = *same && status == TV_OK && memcmp(c, among + first * N, p->m * N * sizeof *among) == 0;
    free(c);
    return status;
}

tv_status tv_matrix_rows_test(tv_device *device, bool *sound) {
    tv_status status = TV_OK;
    *sound = true;
    for (int form = 0; form < 4 && status == TV_OK; form++) {
        void *among = NULL;
        trial_product p = {.transpose_a = form & 1,
                           .transpose_b = form & 2,
                           .m = M,
                           .n = N,
                           .k = K,
                           .batch = large_batch(device),
                           .dtype = TV_F32};
        TV_TRY(answer(device, &p, fraction, 0, &among));
        p.batch = 1;
        TV_TRY(compare(device, &p, 0, among, sound));
        for (p.m = 1; form == 2 && p.m <= FEW; p.m += FEW - 1) {
            TV_TRY(compare(device, &p, 0, among, sound));
            TV_TRY(compare(device, &p, (uint32_t)(M - p.m), among, sound));
        }
    done:
        free(among);
    }
    return status;
}

/* ---- devices ---- */

static uint64_t shaders_of(tv_tier tier) {
    uint64_t hash = 0;
    for (int id = 0; id < TV_PROGRAM_COUNT; id++) {
        const tv_program *program = tv_program_get((tv_program_id)id);
        if (program->tier == tier)
            hash = tv_hash_bytes(program->shader->words, program->shader->count * sizeof(uint32_t), hash);
    }
    return hash;
}

static bool is_sound(tv_device *device) {
    tv_tier tier = tv_device_caps(device)->tier;
    if (tier == TV_TIER_FP32)
        return true;
    /* A CPU's compiler takes seconds for each kernel, ten times that on a busy machine. */
    tv_self_test test = {
        .name = "matrices",
        .of = "matrix products",
        .consequence = "so a lower tier is taken, which is slower; another version of the driver may help",
        .seconds = 600,
        .shaders = shaders_of(tier),
        .tier = tv_tier_name(tier),
        .run = tv_matrices_test,
    };
    if (!tv_device_is_sound(device, &test))
        return false;
    test.name = "matrix_rows";
    test.of = "rows of matrix products";
    test.consequence = "so the last digits of a text depend on how many texts are beside it";
    test.run = tv_matrix_rows_test;
    bool alike = tv_device_is_sound(device, &test);
    test.name = "attention_rows";
    test.of = "attention in decoding beside whole texts";
    test.consequence =
        "so a rollout's distribution differs in its last digits from the one that its update starts at";
    test.run = tv_attention_rows_test;
    alike = tv_device_is_sound(device, &test) && alike;
    *tv_device_rows_verdict(device) = alike ? TV_SOUND : TV_UNSOUND;
    return true;
}

bool tv_rows_have_one_order(tv_device *device) {
    return tv_device_caps(device)->tier == TV_TIER_FP32 || *tv_device_rows_verdict(device) == TV_SOUND;
}

tv_status tv_device_open(const tv_device_options *options, tv_device **device) {
    tv_device_options next = options ? *options : tv_device_default_options();
    for (;;) {
        TV_RETURN_IF_FAILED(tv_device_open_untested(&next, device));
        if (is_sound(*device))
            return TV_OK;
        tv_tier tier = tv_device_caps(*device)->tier;
        do
            tier--;
        while (!tv_caps_has_tier(tv_device_caps(*device), tier));
        next.tier = tv_tier_name(tier);
        tv_device_close(device);
    }
}
