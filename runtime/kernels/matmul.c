/* Launcher of the matrix products: see matmul.h.
 *
 * An operand over the storage range is cut along its stored rows: C and A along m, A^T and B along k (the
 * later parts accumulate), B^T along n. A part need not start on an aligned byte: the binding starts on the
 * aligned byte before it and the shader is told the distance.
 *
 * Everything is counted in units: 2 bytes for halves on matrix units, else words of 4 bytes, which are
 * elements for floats. A B of another type is a matrix of the words of its rows; it is never cut within a
 * row.
 */
#include "kernels/matmul.h"

#include "kernels/texels.h"
#include "push_constants.h"
#include "sizes.h"

enum {
    TILE = TV_MATMUL_TILE,
    LARGE_TILE = TV_MATMUL_LARGE_TILE,
    SLICE = TV_MATMUL_SLICE,
    SIDE = TV_MATMUL_CM_SIDE,
};

/* A matrix of a batch of equal ones: `rows` stored rows of `columns` units of `unit` bytes, `ld` apart. */
typedef struct operand {
    tv_tensor tensor;
    uint64_t unit, rows, columns, ld, stride;
} operand;

typedef struct parts {
    uint64_t m, n, k, batch;
} parts;

static bool extent(const operand *matrix, uint64_t batch, uint64_t *elements) {
    uint64_t rows, products;
    if (matrix->rows == 0 || matrix->columns == 0) {
        *elements = 0;
        return true;
    }
    return tv_mul_u64(matrix->rows - 1, matrix->ld, &rows) &&
           tv_mul_u64(batch - 1, matrix->stride, &products) && tv_add_u64(rows, products, elements) &&
           tv_add_u64(*elements, matrix->columns, elements);
}

static tv_status check_operand(const char *name, const operand *matrix, uint64_t batch) {
    uint64_t elements;
    TV_RETURN_IF_FAILED(tv_span_check(matrix->tensor.span, "matmul"));
    if (matrix->ld < matrix->columns)
        return tv_fail(TV_E_USAGE, "matmul: rows of %s have %llu elements and lie only %llu apart", name,
                       (unsigned long long)matrix->columns, (unsigned long long)matrix->ld);
    if (!extent(matrix, batch, &elements) || elements > matrix->tensor.span.bytes / matrix->unit)
        return tv_fail(TV_E_USAGE,
                       "matmul: %s (%llu x %llu, batch %llu) is larger than its tensor of %llu bytes", name,
                       (unsigned long long)matrix->rows, (unsigned long long)matrix->columns,
                       (unsigned long long)batch, (unsigned long long)matrix->tensor.span.bytes);
    return TV_OK;
}

/* The most of `rows` that fit `limit` elements when the last one takes `columns` and they lie `ld` apart.
 * Cuts keep whole tiles and the alignment of bindings where they can. */
static uint64_t fitting(uint64_t rows, uint64_t ld, uint64_t columns, uint64_t limit) {
    if (columns > limit)
        return 0;
    uint64_t most = ld ? (limit - columns) / ld + 1 : rows;
    if (most >= rows)
        return rows;
    return most >= TILE ? most / TILE * TILE : most >= 4 ? most / 4 * 4 : most;
}

static tv_status choose_parts(const tv_recorder *recorder, const tv_matmul *product, const operand *a,
                              const operand *b, const operand *c, parts *part) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    /* A binding may start this much before its first element. */
    const operand *operands[] = {a, b, c};
    uint64_t rows[3], limits[3];
    for (int i = 0; i < 3; i++) {
        uint64_t slack = TV_TENSOR_ALIGNMENT / operands[i]->unit - 1;
        limits[i] = caps->storage_range / operands[i]->unit - slack;
        rows[i] = fitting(operands[i]->rows, operands[i]->ld, operands[i]->columns, limits[i]);
        if (rows[i] == 0 && operands[i]->rows > 0)
            return tv_fail(
                TV_E_FIT,
                "matmul: a row of %llu bytes is over the %llu bytes that this device binds at once; use "
                "a smaller model or sequence",
                (unsigned long long)(operands[i]->columns * operands[i]->unit),
                (unsigned long long)caps->storage_range);
    }
    *part = (parts){rows[2], product->n, product->k, 1};
    if (product->transpose_a)
        part->k = tv_min_u64(part->k, rows[0]);
    else
        part->m = tv_min_u64(part->m, rows[0]);
    if (product->transpose_b)
        part->n = tv_min_u64(part->n, rows[1]);
    else
        part->k = tv_min_u64(part->k, rows[1]);
    /* Whole slices, so that the sums of GPUs stay as they are. */
    if (part->k < product->k && part->k >= SLICE && tv_cpu_lanes(caps) == 0)
        part->k = part->k / SLICE * SLICE;
    if (part->m < product->m || part->n < product->n || part->k < product->k)
        return TV_OK;
    part->batch = tv_min_u64(product->batch, caps->group_count_z);
    for (int i = 0; i < 3; i++) {
        uint64_t elements;
        if (extent(operands[i], 1, &elements))
            part->batch =
                tv_min_u64(part->batch, fitting(part->batch, operands[i]->stride, elements, limits[i]));
    }
    return TV_OK;
}

/* `elements` from element `first` on, and how far behind the binding's start that is. */
static tv_tensor view(tv_tensor tensor, uint64_t unit, uint64_t first, uint64_t elements,
                      uint32_t *distance) {
    if (!tv_tensor_present(tensor) || elements == 0)
        return (tv_tensor){0};
    uint64_t begin = tensor.span.offset + first * unit;
    uint64_t aligned = begin / TV_TENSOR_ALIGNMENT * TV_TENSOR_ALIGNMENT;
    *distance = (uint32_t)((begin - aligned) / unit);
    tensor.span.offset = aligned;
    tensor.span.bytes = begin - aligned + tv_align_up(elements * unit, sizeof(uint32_t));
    return tensor;
}

/* The part of a matrix that starts at a stored row and column, in products `product` and on. */
static tv_tensor part_of(const operand *matrix, uint64_t product, uint64_t batch, uint64_t row, uint64_t rows,
                         uint64_t column, uint64_t columns, uint32_t *distance) {
    operand part = *matrix;
    part.rows = rows;
    part.columns = columns;
    uint64_t elements = 0;
    (void)extent(&part, batch, &elements); /* a part of what was checked */
    return view(matrix->tensor, matrix->unit, product * matrix->stride + row * matrix->ld + column, elements,
                distance);
}

/* Whether both operands of a part lie so that four neighbours make a texel. Its push constants and bindings
 * are there. */
static bool takes_texels(const tv_recorder *recorder, const tv_matmul *product, const parts *size,
                         const tv_launch *launch) {
    const tv_matmul_push *p = launch->push;
    uint64_t most =
        tv_max_u64(launch->bindings[0].span.bytes, launch->bindings[1].span.bytes) / TV_TEXEL_BYTES;
    uint64_t beside_a = product->transpose_a ? size->m : size->k,
             beside_b = product->transpose_b ? size->k : size->n;
    return size->k > 0 && most <= tv_recorder_texels(recorder) &&
           (beside_a | beside_b | p->lda | p->ldb | p->first_a | p->first_b | p->stride_a | p->stride_b) %
                   4 ==
               0;
}

/* ---- variants ---- */

enum { SMALL, LARGE, TILES };

/* Of one type of B. */
typedef struct typed_programs {
    tv_program_id tiles[2][TILES];                                /* A B, A B^T */
    tv_program_id cpu_nn[2], cpu_nt[2], cpu_nt_1[2], cpu_nt_4[2]; /* of 8 lanes, of 16 */
    tv_program_id rows_nt;
} typed_programs;
#define OF_LANES(program)                                                                                    \
    { TV_PROGRAM_##program, TV_PROGRAM_##program##_wide }
#define TYPED_PROGRAMS(type)                                                                                 \
    {                                                                                                        \
        {{TV_PROGRAM_matmul_##type##_nn_64, TV_PROGRAM_matmul_##type##_nn_128},                              \
         {TV_PROGRAM_matmul_##type##_nt_64, TV_PROGRAM_matmul_##type##_nt_128}},                             \
            OF_LANES(matmul_##type##_cpu_nn), OF_LANES(matmul_##type##_cpu_nt),                              \
            OF_LANES(matmul_##type##_cpu_nt_1), OF_LANES(matmul_##type##_cpu_nt_4),                          \
            TV_PROGRAM_matmul_##type##_rows_nt                                                               \
    }

/* NULL: floats, or no type that products read. */
static const typed_programs *programs_of(tv_dtype dtype) {
    static const typed_programs f16 = TYPED_PROGRAMS(f16), bf16 = TYPED_PROGRAMS(bf16),
                                q8_0 = TYPED_PROGRAMS(q8_0), q4_0 = TYPED_PROGRAMS(q4_0);
    switch (dtype) {
    case TV_F16:
        return &f16;
    case TV_BF16:
        return &bf16;
    case TV_Q8_0:
        return &q8_0;
    case TV_Q4_0:
        return &q4_0;
    default:
        return NULL;
    }
}

/* Whether all that is read and written lies in fours: stored rows, the distances between them, and where each
 * begins. A B of another type is read by words of its own. */
static bool in_fours(const tv_matmul *product, const parts *size, const tv_matmul_push *p) {
    uint64_t beside_a = product->transpose_a ? size->m : size->k,
             beside_b = product->transpose_b ? size->k : size->n;
    uint64_t sides =
        beside_a | beside_b | size->n | p->lda | p->ldc | p->first_a | p->first_c | p->stride_a | p->stride_c;
    if (product->b.dtype == TV_F32)
        sides |= p->ldb | p->first_b | p->stride_b;
    return sides % 4 == 0;
}

static void choose_cpu_variant(const tv_recorder *recorder, const tv_matmul *product, const parts *size,
                               bool gelu, tv_launch *launch) {
    /* All of them, texels or not, of 8 lanes or of 16, sum a value of C in the same order. */
    static const tv_program_id single[2][2][2] = {{OF_LANES(matmul_cpu_nn), OF_LANES(matmul_cpu_nt)},
                                                  {OF_LANES(matmul_cpu_tn), OF_LANES(matmul_cpu_tt)}};
    static const tv_program_id of_texels[2][2][2] = {
        {OF_LANES(matmul_texels_nn), OF_LANES(matmul_texels_nt)},
        {OF_LANES(matmul_texels_tn), OF_LANES(matmul_texels_tt)}};
    static const tv_program_id few_rows[2][2][2] = {
        {OF_LANES(matmul_cpu_nt_1), OF_LANES(matmul_cpu_nt_4)},
        {OF_LANES(matmul_texels_nt_1), OF_LANES(matmul_texels_nt_4)}};
    const typed_programs *typed = programs_of(product->b.dtype);
    bool texels = !typed && takes_texels(recorder, product, size, launch);
    bool nt = !product->transpose_a && product->transpose_b;
    bool nn = !product->transpose_a && !product->transpose_b;
    bool tn = product->transpose_a && !product->transpose_b;
    uint64_t lanes = tv_cpu_lanes(tv_recorder_caps(recorder));
    bool wide = lanes == TV_CPU_LANES_WIDE;
    uint64_t tile_m = TV_MATMUL_CPU_ROWS, tile_n = TV_MATMUL_CPU_EACH * lanes;
    launch->program = (texels ? of_texels : single)[product->transpose_a][product->transpose_b][wide];
    if (typed)
        launch->program = nn ? typed->cpu_nn[wide] : typed->cpu_nt[wide];
    if (texels) {
        uint64_t broadcast = TV_MATMUL_TEXEL_ROWS(lanes), across = TV_MATMUL_TEXEL_EACH(lanes, tn) * lanes;
        bool turned = nn || (nt && wide && size->m > 4);
        tile_m = turned ? across : broadcast;
        tile_n = turned ? broadcast : across;
    }
    if (nt && size->m <= 4) {
        tile_m = size->m == 1 ? 1 : 4;
        launch->program = typed         ? tile_m == 4 ? typed->cpu_nt_4[wide] : typed->cpu_nt_1[wide]
                                  : tile_m == 4 ? few_rows[texels][1][wide]
                                        : few_rows[texels][0][wide];
    }
    launch->groups = tv_div_up(size->m, tile_m) * tv_div_up(size->n, tile_n);
    const tv_matmul_push *push = launch->push;
    launch->specialization[launch->specialization_count++] = gelu;
    launch->specialization[launch->specialization_count++] = push->accumulate;
    if (texels)
        launch->specialization[launch->specialization_count++] = in_fours(product, size, push);
}

/* All kernels of GPUs give a value of C the same bits, so the choice may follow the number of rows: a large
 * tile where that still gives each compute unit one, the kernel of few rows where tiles would multiply
 * padding and leave units idle. */
static void choose_gpu_variant(const tv_recorder *recorder, const tv_matmul *product, const parts *size,
                               bool gelu, tv_launch *launch) {
    static const tv_program_id tiled[2][2][TILES] = {{{TV_PROGRAM_matmul_nn_64, TV_PROGRAM_matmul_nn_128},
                                                      {TV_PROGRAM_matmul_nt_64, TV_PROGRAM_matmul_nt_128}},
                                                     {{TV_PROGRAM_matmul_tn_64, TV_PROGRAM_matmul_tn_128},
                                                      {TV_PROGRAM_matmul_tt_64, TV_PROGRAM_matmul_tt_128}}};
    const typed_programs *typed = programs_of(product->b.dtype);
    uint64_t units = tv_recorder_caps(recorder)->compute_units;
    uint64_t small = tv_div_up(size->m, TILE) * tv_div_up(size->n, TILE);
    uint64_t large = tv_div_up(size->m, LARGE_TILE) * tv_div_up(size->n, LARGE_TILE);
    uint32_t *constants = launch->specialization, *count = &launch->specialization_count;
    constants[(*count)++] = gelu;
    constants[(*count)++] = in_fours(product, size, launch->push);
    if (!product->transpose_a && product->transpose_b &&
        (size->m <= TV_MATMUL_FEW_ROWS || size->n <= TV_MATMUL_FEW_COLUMNS ||
         (size->m <= 2 * TV_MATMUL_FEW_ROWS && small * size->batch < units))) {
        uint64_t rows = 1;
        while (rows < size->m && rows < TV_MATMUL_FEW_ROWS)
            rows *= 2;
        launch->program = typed ? typed->rows_nt : TV_PROGRAM_matmul_rows_nt;
        launch->groups = tv_div_up(size->m, rows) * tv_div_up(size->n, TV_MATMUL_FEW_COLUMNS);
        constants[(*count)++] = (uint32_t)rows;
    } else {
        bool wide = size->m > TILE && size->n > TILE && large * size->batch >= units;
        launch->program = typed ? typed->tiles[product->transpose_b][wide]
                                : tiled[product->transpose_a][product->transpose_b][wide];
        launch->groups = wide ? large : small;
    }
}

/* ---- on matrix units ---- */

/* Whether a product is one for matrix units: in a matrix tier all are but A B^T of floats with a few columns,
 * which would be padding for the most part; and where operands are T, all. m decides nothing. */
static bool takes_matrices(const tv_caps *caps, const tv_matmul *product) {
    tv_dtype type = tv_tier_dtype(caps->tier);
    if (type == TV_F32)
        return false;
    if (product->a.dtype == type || product->c.dtype == type)
        return true;
    return product->transpose_a || !product->transpose_b || product->n > TV_MATMUL_FEW_COLUMNS;
}

/* Whether an operand lies so that one load takes `each` neighbours. */
static bool lies_in(uint64_t each, uint64_t beside, uint32_t ld, uint32_t stride, uint32_t first) {
    return (beside | ld | stride | first) % each == 0;
}

static void choose_matrix_variant(const tv_caps *caps, const tv_matmul *product, const parts *size, bool gelu,
                                  tv_launch *launch) {
    static const tv_program_id tiled[2][2][TILES] = {
        {{TV_PROGRAM_matmul_cm_nn_64_f16, TV_PROGRAM_matmul_cm_nn_128_f16},
         {TV_PROGRAM_matmul_cm_nt_64_f16, TV_PROGRAM_matmul_cm_nt_128_f16}},
        {{TV_PROGRAM_matmul_cm_tn_64_f16, TV_PROGRAM_matmul_cm_tn_128_f16},
         {TV_PROGRAM_matmul_cm_tt_64_f16, TV_PROGRAM_matmul_cm_tt_128_f16}}};
    const tv_matmul_push *p = launch->push;
    uint64_t small = tv_div_up(size->m, TILE) * tv_div_up(size->n, TILE);
    uint64_t large = tv_div_up(size->m, LARGE_TILE) * tv_div_up(size->n, LARGE_TILE);
    bool wide = size->m > TILE && size->n > TILE && large * size->batch >= caps->compute_units;
    uint64_t each_a = product->transpose_a ? 4 : 8, each_b = product->transpose_b ? 8 : 4;
    uint32_t aligned =
        lies_in(each_a, product->transpose_a ? size->m : size->k, p->lda, p->stride_a, p->first_a) |
        (uint32_t)lies_in(each_b, product->transpose_b ? size->k : size->n, p->ldb, p->stride_b, p->first_b)
            << 1 |
        (uint32_t)lies_in(4, size->n, p->ldc, p->stride_c, p->first_c) << 2;
    tv_matrix_constants(caps, caps->tier, launch);
    launch->specialization[launch->specialization_count++] =
        (uint32_t)product->a.dtype | (uint32_t)product->b.dtype << 4 | (uint32_t)product->c.dtype << 8;
    launch->specialization[launch->specialization_count++] = aligned;
    launch->specialization[launch->specialization_count++] = gelu;
    tv_program_id program = tiled[product->transpose_a][product->transpose_b][wide];
    launch->groups = wide ? large : small;
    if (!product->transpose_a && product->transpose_b &&
        (size->m <= SIDE || size->n <= SIDE ||
         (size->m <= 2 * SIDE && small * size->batch < caps->compute_units))) {
        program = TV_PROGRAM_matmul_cm_rows_nt_f16;
        launch->groups = tv_div_up(size->m, SIDE) * tv_div_up(size->n, SIDE);
    }
    launch->program = tv_program_of_tier(program, caps->tier);
}

/* Program and workgroups of one part, whose push constants and bindings are there. `gelu`: of its result. */
static void choose_variant(const tv_recorder *recorder, const tv_matmul *product, const parts *size,
                           bool gelu, tv_launch *launch) {
    if (takes_matrices(tv_recorder_caps(recorder), product))
        choose_matrix_variant(tv_recorder_caps(recorder), product, size, gelu, launch);
    else if (tv_cpu_lanes(tv_recorder_caps(recorder)))
        choose_cpu_variant(recorder, product, size, gelu, launch);
    else
        choose_gpu_variant(recorder, product, size, gelu, launch);
}

/* All of a dispatch but its program. `push` stays with the launch. */
static void prepare(const tv_matmul *product, const operand *a, const operand *b, const operand *c,
                    const parts *first, const parts *size, const parts *into, tv_matmul_push *push,
                    tv_launch *launch) {
    *push = (tv_matmul_push){
        .m = (uint32_t)size->m,
        .n = (uint32_t)size->n,
        .k = (uint32_t)size->k,
        .lda = (uint32_t)a->ld,
        .ldb = (uint32_t)b->ld,
        .ldc = (uint32_t)c->ld,
        .stride_a = (uint32_t)a->stride,
        .stride_b = (uint32_t)b->stride,
        .stride_c = (uint32_t)c->stride,
        .batch = (uint32_t)size->batch,
        .accumulate = product->accumulate || into->k > 0,
        .has_bias = tv_tensor_present(product->bias) && into->k == 0,
        .scale = product->scale,
    };
    *launch = (tv_launch){
        .push = push,
        .groups_z = (uint32_t)size->batch,
        .shape = {size->m, size->n, size->k, size->batch > 1 ? size->batch : 0},
    };
    launch->bindings[0] =
        product->transpose_a
            ? part_of(a, first->batch, size->batch, first->k, size->k, first->m, size->m, &push->first_a)
            : part_of(a, first->batch, size->batch, first->m, size->m, first->k, size->k, &push->first_a);
    bool floats = !tv_dtype_is_blocks(product->b.dtype) && tv_dtype_bytes(product->b.dtype) == b->unit,
         along_k = product->transpose_b;
    uint64_t row = along_k ? first->n : first->k, rows = along_k ? size->n : size->k;
    uint64_t column = !floats ? 0 : along_k ? first->k : first->n;
    uint64_t columns = !floats ? b->columns : along_k ? size->k : size->n;
    launch->bindings[1] = part_of(b, first->batch, size->batch, row, rows, column, columns, &push->first_b);
    if (push->has_bias)
        launch->bindings[2] = view(product->bias, sizeof(float), first->n, size->n, &push->first_bias);
    launch->bindings[3] =
        part_of(c, into->batch, size->batch, into->m, size->m, into->n, size->n, &push->first_c);
}

/* One dispatch: `size` of the operands from `first` on, into the place of C that `into` names; into->k values
 * were added there before. */
static tv_status record_product(tv_recorder *recorder, const tv_matmul *product, const operand *a,
                                const operand *b, const operand *c, const parts *first, const parts *size,
                                const parts *into) {
    tv_matmul_push push;
    tv_launch launch;
    prepare(product, a, b, c, first, size, into, &push, &launch);
    choose_variant(recorder, product, size, product->gelu && first->k + size->k == product->k, &launch);
    return tv_launch_record(recorder, &launch);
}

/* ---- a norm behind it ---- */

uint64_t tv_matmul_arrived(uint64_t m) {
    return tv_div_up(m, TV_MATMUL_CPU_ROWS);
}

static bool overlap(tv_tensor x, tv_tensor y) {
    return tv_tensor_present(x) && tv_tensor_present(y) && x.span.buffer == y.span.buffer &&
           x.span.offset < y.span.offset + y.span.bytes && y.span.offset < x.span.offset + x.span.bytes;
}

/* Whether the workgroups of a product may norm its rows: while some still read A and make C, others write. */
static bool may_norm(const tv_recorder *recorder, const tv_matmul *p, const operand *c) {
    const tv_norm_forward *norm = p->norm;
    return tv_cpu_lanes(tv_recorder_caps(recorder)) && !takes_matrices(tv_recorder_caps(recorder), p) &&
           p->b.dtype == TV_F32 && !p->transpose_a && p->transpose_b && p->batch == 1 && !p->gelu &&
           !p->accumulate && c->ld == p->n && c->tensor.span.offset % TV_TENSOR_ALIGNMENT == 0 &&
           p->arrived.span.bytes >= tv_matmul_arrived(p->m) * sizeof(uint32_t) &&
           tv_norm_texels_of_lane(recorder, norm, p->m) > 0 && !overlap(norm->output, p->a) &&
           !overlap(norm->output, p->c) && !overlap(norm->output, norm->residual) &&
           !overlap(p->c, norm->residual);
}

/* The kernel that norms too, in place of the one that was chosen; false: there is none. */
static bool take_normed(tv_launch *launch) {
    static const tv_program_id pairs[][2] = {
        {TV_PROGRAM_matmul_texels_nt, TV_PROGRAM_matmul_norm_texels_nt},
        {TV_PROGRAM_matmul_texels_nt_1, TV_PROGRAM_matmul_norm_texels_nt_1},
        {TV_PROGRAM_matmul_texels_nt_4, TV_PROGRAM_matmul_norm_texels_nt_4},
        {TV_PROGRAM_matmul_texels_nt_wide, TV_PROGRAM_matmul_norm_texels_nt_wide},
        {TV_PROGRAM_matmul_texels_nt_1_wide, TV_PROGRAM_matmul_norm_texels_nt_1_wide},
        {TV_PROGRAM_matmul_texels_nt_4_wide, TV_PROGRAM_matmul_norm_texels_nt_4_wide}};
    for (size_t i = 0; i < TV_COUNT(pairs); i++)
        if (launch->program == pairs[i][0]) {
            launch->program = pairs[i][1];
            return true;
        }
    return false;
}

/* *normed: whether this was done. */
static tv_status record_normed(tv_recorder *recorder, const tv_matmul *product, const operand *a,
                               const operand *b, const operand *c, const parts *whole, bool *normed) {
    const tv_norm_forward *norm = product->norm;
    const parts first = {0};
    tv_matmul_push push;
    tv_launch launch;
    *normed = false;
    if (!may_norm(recorder, product, c))
        return TV_OK;
    prepare(product, a, b, c, &first, whole, &first, &push, &launch);
    choose_cpu_variant(recorder, product, whole, false, &launch);
    if (!in_fours(product, whole, &push) || !take_normed(&launch))
        return TV_OK;
    const uint64_t n = product->n;
    const bool has_residual = tv_tensor_present(norm->residual), has_bias = tv_tensor_present(norm->bias);
    push.norm_eps = norm->eps;
    push.norm_gain_offset = norm->gain_from_one ? 1.0F : 0.0F;
    launch.bindings[5] = tv_tensor_first(norm->gain, n);
    launch.bindings[4] = has_residual ? tv_tensor_first(norm->residual, product->m * n) : launch.bindings[5];
    launch.bindings[6] = has_bias ? tv_tensor_first(norm->bias, n) : launch.bindings[5];
    launch.bindings[7] = tv_tensor_first(norm->output, product->m * n);
    launch.bindings[8] = product->arrived;
    const uint32_t constants[] = {tv_norm_texels_of_lane(recorder, norm, product->m), has_residual, has_bias,
                                  norm->kind == TV_NORM_RMS};
    for (size_t i = 0; i < TV_COUNT(constants); i++)
        launch.specialization[launch.specialization_count++] = constants[i];
    *normed = true;
    return tv_launch_record(recorder, &launch);
}

/* ---- slices apart ---- */

uint64_t tv_matmul_scratch(uint64_t m, uint64_t n, uint64_t k) {
    enum { MOST_BYTES = 16 << 20 };
    uint64_t slices = tv_div_up(k, SLICE);
    return slices < 2 ? 0 : tv_min_u64(slices * m * n * sizeof(float), MOST_BYTES);
}

/* How many slices of k to make at once: as many as the scratch takes, because each time costs two dispatches.
 * Below 2: the product stays whole. */
static uint64_t slices_apart(const tv_recorder *recorder, const tv_matmul *product, const parts *size) {
    const tv_caps *caps = tv_recorder_caps(recorder);
    const bool on_matrices = takes_matrices(caps, product),
               nt = !product->transpose_a && product->transpose_b;
    uint64_t tiles = tv_div_up(size->m, TILE) * tv_div_up(size->n, TILE),
             value_bytes = size->m * size->n * sizeof(float);
    if (tv_cpu_lanes(caps) && !on_matrices)
        return 0;
    if (!tv_tensor_present(product->scratch) || size->batch > 1 || size->k <= SLICE ||
        tiles >= caps->compute_units)
        return 0;
    if (on_matrices ? product->c.dtype != TV_F32 || tv_dtype_is_blocks(product->b.dtype)
                    : product->b.dtype != TV_F32)
        return 0;
    /* The kernels of few rows make slices side by side as they are. */
    if (nt && (on_matrices ? size->m <= 2 * SIDE || size->n <= SIDE : size->m <= TV_MATMUL_FEW_ROWS))
        return 0;
    uint64_t bytes = tv_min_u64(product->scratch.span.bytes, caps->storage_range);
    uint64_t slices = tv_div_up(size->k, SLICE),
             most = tv_min_u64(tv_min_u64(slices, caps->group_count_z), bytes / value_bytes);
    /* On matrix units the slices are added up before C sees them, so in parts they would be other bits. */
    if (on_matrices)
        return most == slices ? slices : 0;
    return most > 0 ? tv_div_up(slices, tv_div_up(slices, most)) : 0;
}

/* `count` slices from k `first_k` on, each as a product of its own, into the scratch; the last one may be
 * short. */
static tv_status record_slices(tv_recorder *recorder, const tv_matmul *product, const operand *a,
                               const operand *b, const parts *first, const parts *size, uint64_t first_k,
                               uint64_t count) {
    uint64_t left = size->k - first_k, whole = tv_min_u64(count, left / SLICE),
             value_count = size->m * size->n;
    operand slice_a = *a, slice_b = *b;
    slice_a.stride = product->transpose_a ? SLICE * a->ld : SLICE;
    slice_b.stride = product->transpose_b ? SLICE : SLICE * b->ld;
    tv_matmul part = {.n = product->n,
                      .transpose_a = product->transpose_a,
                      .transpose_b = product->transpose_b,
                      .scale = 1,
                      .a = product->a,
                      .b = product->b};
    for (int rest = 0; rest < 2; rest++) {
        uint64_t done = rest ? whole : 0;
        parts from = {first->m, first->n, first->k + first_k + done * SLICE, 0};
        parts some = {size->m, size->n, SLICE, whole};
        if (rest)
            some = (parts){size->m, size->n, left - tv_min_u64(left, done * SLICE), 1};
        if (some.batch == 0 || (rest && whole == count))
            continue;
        operand c = {.tensor = product->scratch,
                     .unit = sizeof(float),
                     .rows = size->m,
                     .columns = size->n,
                     .ld = size->n,
                     .stride = value_count};
        c.tensor.span = tv_span_part(c.tensor.span, 0, count * value_count * sizeof(float));
        TV_RETURN_IF_FAILED(
            record_product(recorder, &part, &slice_a, &slice_b, &c, &from, &some, &(parts){.batch = done}));
    }
    return TV_OK;
}

static tv_status record_apart(tv_recorder *recorder, const tv_matmul *product, const operand *a,
                              const operand *b, const operand *c, const parts *first, const parts *size,
                              uint64_t at_once) {
    uint64_t slices = tv_div_up(size->k, SLICE), value_count = size->m * size->n;
    for (uint64_t s = 0; s < slices; s += at_once) {
        uint64_t count = tv_min_u64(at_once, slices - s);
        TV_RETURN_IF_FAILED(record_slices(recorder, product, a, b, first, size, s * SLICE, count));
        tv_matmul_slices_push push = {
            .m = (uint32_t)size->m,
            .n = (uint32_t)size->n,
            .ldc = (uint32_t)c->ld,
            .slices = (uint32_t)count,
            .accumulate = product->accumulate || first->k + s > 0,
            .has_bias = tv_tensor_present(product->bias) && first->k + s == 0,
            .scale = product->scale,
        };
        tv_launch launch = {
            .program = TV_PROGRAM_matmul_slices_base,
            .push = &push,
            .invocations = value_count,
            .shape = {count, size->m, size->n},
            .specialization = {product->gelu && s + count == slices && first->k + size->k == product->k,
                               takes_matrices(tv_recorder_caps(recorder), product)},
            .specialization_count = 2,
        };
        launch.bindings[0] = product->scratch;
        launch.bindings[0].span = tv_span_part(product->scratch.span, 0, count * value_count * sizeof(float));
        if (push.has_bias)
            launch.bindings[1] = view(product->bias, sizeof(float), first->n, size->n, &push.first_bias);
        launch.bindings[2] = part_of(c, 0, 1, first->m, size->m, first->n, size->n, &push.first_c);
        TV_RETURN_IF_FAILED(tv_launch_record(recorder, &launch));
    }
    return TV_OK;
}

static tv_status record_part(tv_recorder *recorder, const tv_matmul *product, const operand *a,
                             const operand *b, const operand *c, const parts *first, const parts *size) {
    uint64_t apart = slices_apart(recorder, product, size);
    if (apart > 1)
        return record_apart(recorder, product, a, b, c, first, size, apart);
    return record_product(recorder, product, a, b, c, first, size, first);
}

static tv_status check_types(const tv_caps *caps, const tv_matmul *p) {
    tv_dtype type = tv_tier_dtype(caps->tier);
    if ((p->a.dtype != TV_F32 && p->a.dtype != type) || (p->c.dtype != TV_F32 && p->c.dtype != type))
        return tv_fail(TV_E_USAGE,
                       "matmul: A and C must be f32 or what matrix units take (%s), found %s and %s",
                       tv_dtype_name(type), tv_dtype_name(p->a.dtype), tv_dtype_name(p->c.dtype));
    if (p->accumulate && p->c.dtype != TV_F32)
        return tv_fail(TV_E_USAGE, "matmul: C accumulates in 32-bit floats alone");
    if (p->b.dtype == TV_F32)
        return TV_OK;
    uint64_t columns = p->transpose_b ? p->k : p->n;
    bool packed = p->batch <= 1 && !p->ldb, on_matrices = takes_matrices(caps, p);
    if (!programs_of(p->b.dtype) || (!on_matrices && (p->transpose_a || !packed)) ||
        (tv_dtype_is_blocks(p->b.dtype) && !packed))
        return tv_fail(
            TV_E_USAGE,
            "matmul: a B of type %s is offered packed, alone, beside an A of floats that is not transposed, "
            "as f16, bf16, q8_0 or q4_0",
            tv_dtype_name(p->b.dtype));
    if (!tv_dtype_takes(p->b.dtype, columns))
        return tv_fail(TV_E_USAGE, "matmul: rows of %llu elements cannot be of type %s",
                       (unsigned long long)columns, tv_dtype_name(p->b.dtype));
    return TV_OK;
}

/* Shapes, units and strides of the three; those of B are of its words but where matrix units take its values.
 */
static void describe_operands(const tv_caps *caps, const tv_matmul *p, operand *a, operand *b, operand *c) {
    *a = (operand){.tensor = p->a,
                   .unit = tv_dtype_bytes(p->a.dtype),
                   .rows = p->transpose_a ? p->k : p->m,
                   .columns = p->transpose_a ? p->m : p->k,
                   .stride = p->stride_a};
    *b = (operand){.tensor = p->b,
                   .unit = sizeof(uint32_t),
                   .rows = p->transpose_b ? p->n : p->k,
                   .columns = p->transpose_b ? p->k : p->n,
                   .stride = p->stride_b};
    *c = (operand){.tensor = p->c,
                   .unit = tv_dtype_bytes(p->c.dtype),
                   .rows = p->m,
                   .columns = p->n,
                   .stride = p->stride_c};
    const uint64_t row_bytes = tv_dtype_row_bytes(p->b.dtype, b->columns);
    if (takes_matrices(caps, p) && !tv_dtype_is_blocks(p->b.dtype))
        b->unit = tv_dtype_bytes(p->b.dtype);
    else
        b->columns = row_bytes / b->unit;
    a->ld = p->lda ? p->lda : a->columns;
    b->ld = p->ldb ? p->ldb : row_bytes / b->unit;
    c->ld = p->ldc ? p->ldc : c->columns;
}

static tv_status check_product(const tv_matmul *p, const operand *a, const operand *b, const operand *c) {
    TV_RETURN_IF_FAILED(check_operand("A", a, p->batch));
    TV_RETURN_IF_FAILED(check_operand("B", b, p->batch));
    TV_RETURN_IF_FAILED(check_operand("C", c, p->batch));
    TV_RETURN_IF_FAILED(tv_span_check(p->bias.span, "matmul"));
    TV_RETURN_IF_FAILED(tv_span_check(p->scratch.span, "matmul"));
    if (p->batch > 1 && p->stride_c == 0)
        return tv_fail(TV_E_USAGE, "matmul: the products of a batch need a stride between their results");
    if (p->gelu && p->accumulate)
        return tv_fail(TV_E_USAGE, "matmul: GELU of a sum with what C held is not offered");
    if (tv_tensor_present(p->bias) &&
        (p->accumulate || p->scale != 1 || p->bias.span.bytes < p->n * sizeof(float)))
        return tv_fail(TV_E_USAGE, "matmul: a bias takes %llu floats, no scale and no accumulation",
                       (unsigned long long)p->n);
    return TV_OK;
}

static tv_status record_parts(tv_recorder *recorder, const tv_matmul *p, const operand *a, const operand *b,
                              const operand *c, const parts *part) {
    parts first = {0};
    for (first.batch = 0; first.batch < p->batch; first.batch += part->batch)
        for (first.m = 0; first.m < p->m; first.m += part->m)
            for (first.n = 0; first.n < p->n; first.n += part->n) {
                /* Once also for k = 0, which leaves the bias or zeros. */
                first.k = 0;
                do {
                    const parts size = {
                        tv_min_u64(part->m, p->m - first.m), tv_min_u64(part->n, p->n - first.n),
                        tv_min_u64(part->k, p->k - first.k), tv_min_u64(part->batch, p->batch - first.batch)};
                    TV_RETURN_IF_FAILED(record_part(recorder, p, a, b, c, &first, &size));
                    first.k += part->k;
                } while (first.k < p->k);
            }
    return TV_OK;
}

tv_status tv_matmul_record(tv_recorder *recorder, const tv_matmul *given) {
    tv_matmul p = *given;
    operand a, b, c;
    parts part = {0};
    if (p.m == 0 || p.n == 0)
        return TV_OK;
    if (p.batch == 0)
        p.batch = 1;
    if (p.scale == 0)
        p.scale = 1;
    const tv_caps *caps = tv_recorder_caps(recorder);
    TV_RETURN_IF_FAILED(check_types(caps, &p));
    describe_operands(caps, &p, &a, &b, &c);
    TV_RETURN_IF_FAILED(check_product(&p, &a, &b, &c));
    TV_RETURN_IF_FAILED(choose_parts(recorder, &p, &a, &b, &c, &part));
    if (part.k < p.k && p.c.dtype != TV_F32)
        return tv_fail(TV_E_FIT,
                       "matmul: operands of %llu x %llu x %llu are cut along k on this device, and only a C "
                       "of 32-bit floats takes the sum of the parts",
                       (unsigned long long)p.m, (unsigned long long)p.n, (unsigned long long)p.k);
    if (p.norm && part.m == p.m && part.n == p.n && part.k == p.k) {
        bool normed;
        TV_RETURN_IF_FAILED(record_normed(recorder, &p, &a, &b, &c, &part, &normed));
        if (normed)
            return TV_OK;
    }
    TV_RETURN_IF_FAILED(record_parts(recorder, &p, &a, &b, &c, &part));
    return p.norm ? tv_norm_forward_record(recorder, p.norm) : TV_OK;
}
