#include "support/attention_lab.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/attention.h"
#include "vk/submit.h"

tv_attention_sample tv_attention_sample_make(const tv_attention_shape *s, float scale) {
    tv_attention_sample x = {.shape = *s};
    uint64_t rows = s->batch * s->tokens;
    x.qkv_count = rows * (s->heads + 2 * s->kv_heads) * s->head_size;
    x.output_count = rows * s->heads * s->head_size;
    x.lse_count = rows * s->heads;
    x.qkv = malloc(x.qkv_count * sizeof(float));
    x.d_output = malloc(x.output_count * sizeof(float));
    x.doc_start = calloc(rows, sizeof(uint32_t));
    x.output = malloc(x.output_count * sizeof(float));
    x.lse = malloc(x.lse_count * sizeof(float));
    x.d_qkv = malloc(x.qkv_count * sizeof(float));
    x.delta = malloc(x.lse_count * sizeof(float));
    tv_test_random(x.qkv, x.qkv_count, 1);
    tv_test_random(x.d_output, x.output_count, 2);
    for (uint64_t i = 0; i < x.qkv_count; i++)
        x.qkv[i] *= scale;
    /* Documents of 1, 13, 25, ... tokens, shifted from one batch element to the next. */
    if (s->documents == SOME_DOCUMENTS)
        for (uint64_t b = 0; b < s->batch; b++) {
            uint64_t start = 0, length = 1 + 5 * b;
            for (uint64_t t = 0; t < s->tokens; t++) {
                if (t == start + length) {
                    start = t;
                    length += 12;
                }
                x.doc_start[b * s->tokens + t] = (uint32_t)start;
            }
        }
    return x;
}

void tv_attention_sample_narrow(tv_attention_sample *x, tv_dtype dtype) {
    float *const values[] = {x->qkv, x->d_output};
    const uint64_t counts[] = {x->qkv_count, x->output_count};
    x->dtype = dtype;
    for (int i = 0; i < 2; i++) {
        void *narrow = malloc(tv_dtype_row_bytes(dtype, counts[i]));
        assert_non_null(narrow);
        tv_dtype_from_f32(dtype, counts[i], 1, values[i], narrow);
        tv_dtype_to_f32(dtype, counts[i], 1, narrow, values[i]);
        free(narrow);
    }
}

/* As tv_test_floats, in the sample's type. */
static tv_test_tensor make_tensor(tv_device *device, tv_dtype dtype, uint64_t count, const float *values) {
    if (dtype == TV_F32)
        return tv_test_floats(device, count, values);
    uint64_t bytes = tv_dtype_row_bytes(dtype, count);
    void *narrow = malloc(bytes);
    assert_non_null(narrow);
    memset(narrow, 0xff, bytes); /* NaN */
    if (values)
        tv_dtype_from_f32(dtype, count, 1, values, narrow);
    tv_test_tensor result = tv_test_bytes(device, bytes, narrow);
    result.tensor.dtype = dtype;
    result.count = count;
    free(narrow);
    return result;
}

static void read_tensor(const tv_test_tensor *tensor, float *out) {
    if (tensor->tensor.dtype == TV_F32) {
        tv_test_read(tensor, out);
        return;
    }
    void *narrow = malloc(tv_dtype_row_bytes(tensor->tensor.dtype, tensor->count));
    assert_non_null(narrow);
    tv_test_read(tensor, narrow);
    tv_dtype_to_f32(tensor->tensor.dtype, tensor->count, 1, narrow, out);
    free(narrow);
}

void tv_attention_sample_free(tv_attention_sample *x) {
    tv_free_all(x->qkv, x->d_output, x->doc_start, x->output, x->lse, x->d_qkv, x->delta);
}

uint32_t tv_attention_sample_run_within(tv_device *device, tv_attention_sample *x, double budget) {
    const tv_attention_shape *s = &x->shape;
    tv_test_tensor qkv = make_tensor(device, x->dtype, x->qkv_count, x->qkv);
    tv_test_tensor d_output = make_tensor(device, x->dtype, x->output_count, x->d_output);
    tv_test_tensor doc_start = tv_test_uints(device, s->batch * s->tokens, x->doc_start);
    tv_test_tensor output = make_tensor(device, x->dtype, x->output_count, NULL);
    tv_test_tensor lse = tv_test_floats(device, x->lse_count, NULL);
    tv_test_tensor delta = tv_test_floats(device, x->lse_count, NULL);
    tv_test_tensor d_qkv = make_tensor(device, x->dtype, x->qkv_count, NULL);
    tv_attention forward = {
        .batch = s->batch,
        .tokens = s->tokens,
        .heads = s->heads,
        .kv_heads = s->kv_heads,
        .head_size = s->head_size,
        .scale = s->scale,
        .window = s->window,
        .qkv = qkv.tensor,
        .output = output.tensor,
        .lse = lse.tensor,
    };
    if (s->documents == SOME_DOCUMENTS)
        forward.doc_start = doc_start.tensor;
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    uint64_t value;
    assert_ok(tv_recorder_begin(device, &(tv_recorder_options){.name = "attention", .flop_budget = budget},
                                &recorder));
    assert_ok(tv_attention_forward(recorder, &forward));
    assert_ok(tv_attention_backward_record(
        recorder, &(tv_attention_backward){forward, d_output.tensor, d_qkv.tensor, delta.tensor}));
    assert_ok(tv_recorder_end(&recorder, &recording));
    assert_ok(tv_submit(device, &recording, 1, &value));
    assert_ok(tv_wait(device, value));
    uint32_t dispatches = tv_recording_get_info(recording).dispatches;
    tv_recording_destroy(&recording);
    read_tensor(&output, x->output);
    tv_test_read(&lse, x->lse);
    read_tensor(&d_qkv, x->d_qkv);
    tv_test_read(&delta, x->delta);
    tv_test_tensor *all[] = {&qkv, &d_output, &doc_start, &output, &lse, &delta, &d_qkv};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        tv_test_free(all[i]);
    return dispatches;
}

void tv_attention_sample_run(tv_device *device, tv_attention_sample *x) {
    tv_attention_sample_run_within(device, x, 0);
}

void tv_attention_sample_forward(tv_device *device, const tv_attention_sample *x, float *output) {
    const tv_attention_shape *s = &x->shape;
    tv_test_tensor qkv = make_tensor(device, x->dtype, x->qkv_count, x->qkv);
    tv_test_tensor doc_start = tv_test_uints(device, s->batch * s->tokens, x->doc_start);
    tv_test_tensor out = make_tensor(device, x->dtype, x->output_count, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_attention_forward(
        recorder, &(tv_attention){.batch = s->batch,
                                  .tokens = s->tokens,
                                  .heads = s->heads,
                                  .kv_heads = s->kv_heads,
                                  .head_size = s->head_size,
                                  .scale = s->scale,
                                  .window = s->window,
                                  .qkv = qkv.tensor,
                                  .doc_start = s->documents == SOME_DOCUMENTS ? doc_start.tensor : TV_ABSENT,
                                  .output = out.tensor}));
    tv_test_run(device, recorder);
    read_tensor(&out, output);
    tv_test_free(&qkv);
    tv_test_free(&doc_start);
    tv_test_free(&out);
}

double *tv_test_doubles(const float *values, uint64_t count) {
    double *result = calloc(count ? count : 1, sizeof *result);
    for (uint64_t i = 0; values && i < count; i++)
        result[i] = (double)values[i];
    return result;
}

void tv_attention_sample_compare(const tv_attention_sample *x, double tolerance) {
    const tv_attention_shape *s = &x->shape;
    oracle_attention reference = {s->batch,     s->tokens,    s->heads,  s->kv_heads,
                                  s->head_size, x->doc_start, s->window, (double)s->scale};
    double *qkv = tv_test_doubles(x->qkv, x->qkv_count),
           *d_output = tv_test_doubles(x->d_output, x->output_count);
    double *output = tv_test_doubles(NULL, x->output_count), *lse = tv_test_doubles(NULL, x->lse_count);
    double *d_qkv = tv_test_doubles(NULL, x->qkv_count);
    char what[128];
    oracle_attention_forward(&reference, qkv, output, lse);
    oracle_attention_backward(&reference, qkv, d_output, d_qkv);
    snprintf(what, sizeof what, "%s of B %d T %d H %d/%d D %d window %d", "output", (int)s->batch,
             (int)s->tokens, (int)s->heads, (int)s->kv_heads, (int)s->head_size, (int)s->window);
    tv_test_compare(what, x->output, output, x->output_count, tolerance, 0);
    memcpy(what, "   lse", 6);
    tv_test_compare(what, x->lse, lse, x->lse_count, tolerance, 1e-6);
    memcpy(what, " d_qkv", 6);
    tv_test_compare(what, x->d_qkv, d_qkv, x->qkv_count, 4 * tolerance, 0);
    tv_free_all(qkv, d_output, output, lse, d_qkv);
}

void tv_attention_check(tv_device *device, const tv_attention_shape *s) {
    tv_attention_sample x = tv_attention_sample_make(s, 1);
    tv_attention_sample_run(device, &x);
    tv_attention_sample_compare(&x, 5e-6);
    tv_attention_sample_free(&x);
}

static void run_decode(tv_device *device, const tv_attention_shape *s, tv_attention_decode decode) {
    decode.heads = s->heads;
    decode.kv_heads = s->kv_heads;
    decode.head_size = s->head_size;
    decode.scale = s->scale;
    decode.window = s->window;
    uint64_t bytes = tv_attention_decode_scratch(tv_device_caps(device), decode.rows, s->heads, s->kv_heads,
                                                 s->head_size, decode.max_tokens);
    tv_test_tensor scratch = tv_test_floats(device, bytes / sizeof(float) + 1, NULL);
    if (bytes > 0)
        decode.scratch = scratch.tensor;
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_attention_decode_record(recorder, &decode));
    tv_test_run(device, recorder);
    tv_test_free(&scratch);
}

/* All tokens of all sequences side by side, sequence b in slot `batch` - b of caches with a slot to spare,
 * and one row that names no slot: outputs and caches have the bits of `steps` and `caches` (k, v), which came
 * token after token. */
static void decode_at_once(tv_device *device, const tv_attention_shape *s, const tv_attention_sample *x,
                           uint64_t max_tokens, const float *steps, float *const *caches) {
    uint64_t rows = s->batch * s->tokens + 1, slots = s->batch + 1, D = s->head_size;
    uint64_t qkv_row = (s->heads + 2 * s->kv_heads) * D, output_row = s->heads * D;
    uint64_t cache_row = s->kv_heads * max_tokens * D;
    float *qkv = calloc(rows * qkv_row, sizeof *qkv), *found = malloc(rows * output_row * sizeof *found);
    float *cache = malloc(slots * cache_row * sizeof *cache);
    uint32_t *positions = calloc(rows, sizeof *positions), *named = malloc(rows * sizeof *named);
    assert_true(qkv && found && cache && positions && named);
    memcpy(qkv, x->qkv, x->qkv_count * sizeof *qkv);
    for (uint64_t r = 0; r < rows; r++) {
        bool none = r == rows - 1;
        positions[r] = none ? 0 : (uint32_t)(r % s->tokens);
        named[r] = (uint32_t)(none ? slots : s->batch - r / s->tokens);
    }
    const tv_dtype held = tv_attention_cache_type(tv_device_caps(device), D);
    tv_test_tensor in = make_tensor(device, x->dtype, rows * qkv_row, qkv),
                   at = tv_test_uints(device, rows, positions), of = tv_test_uints(device, rows, named),
                   out = make_tensor(device, x->dtype, rows * output_row, NULL),
                   k = make_tensor(device, held, slots * cache_row, NULL),
                   v = make_tensor(device, held, slots * cache_row, NULL);
    for (int alone = 1; alone >= 0; alone--) { /* first the caches alone */
        run_decode(device, s,
                   (tv_attention_decode){.rows = rows,
                                         .max_tokens = max_tokens,
                                         .qkv = in.tensor,
                                         .positions = at.tensor,
                                         .k_cache = k.tensor,
                                         .v_cache = v.tensor,
                                         .output = alone ? TV_ABSENT : out.tensor,
                                         .slots = of.tensor,
                                         .slot_count = slots});
        for (int which = 0; which < 2; which++) {
            read_tensor(which ? &v : &k, cache);
            for (uint64_t b = 0; b < s->batch; b++)
                assert_memory_equal(cache + (s->batch - b) * cache_row, caches[which] + b * cache_row,
                                    cache_row * sizeof *cache);
            for (uint64_t i = 0; i < cache_row; i++)
                assert_true(isnan(cache[i]));
        }
    }
    read_tensor(&out, found);
    assert_memory_equal(found, steps, x->output_count * sizeof *found);
    for (uint64_t i = x->output_count; i < rows * output_row; i++)
        assert_true(isnan(found[i]));
    tv_test_tensor *tensors[] = {&in, &at, &of, &out, &k, &v};
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++)
        tv_test_free(tensors[i]);
    tv_free_all(qkv, found, cache, positions, named);
}

enum { SHARERS = 3 };

/* Row r of SHARERS to a sequence reads so many of t positions from the prefix. */
static uint64_t shared_of(uint64_t r, uint64_t t) {
    const uint64_t shared[SHARERS] = {t, t * 2 / 3, t / 8};
    return shared[r % SHARERS];
}

/* Caches with prefixes of up to T positions, and slots of T + 1 behind them, before position t of each row's
 * sequence is fed or, with `fed`, after it; NaN where nothing stands. Of k or v, from `cache` as
 * decode_at_once has it. */
static void lay_out(const tv_attention_shape *s, uint64_t max_tokens, uint64_t t, bool fed,
                    const float *cache, float *out) {
    const uint64_t T = s->tokens, rows = SHARERS * s->batch, D = s->head_size;
    float *own = out + s->batch * s->kv_heads * T * D;
    for (uint64_t i = 0; i < (s->batch * T + rows * (T + 1)) * s->kv_heads * D; i++)
        out[i] = NAN;
    for (uint64_t r = 0; r < rows; r++) {
        const uint64_t b = r / SHARERS, shared = shared_of(r, t);
        for (uint64_t h = 0; h < s->kv_heads; h++) {
            const float *from = cache + (b * s->kv_heads + h) * max_tokens * D;
            if (r % SHARERS == 0)
                memcpy(out + ((s->batch - 1 - b) * s->kv_heads + h) * T * D, from, t * D * sizeof *out);
            memcpy(own + (r * s->kv_heads + h) * (T + 1) * D, from + shared * D,
                   (t + fed - shared) * D * sizeof *out);
        }
    }
}

/* Several rows to a sequence, whose first positions stand in a prefix, of each row another number of them:
 * outputs and caches have the bits of `steps` and `caches` (k, v), at some positions. */
static void decode_behind_prefixes(tv_device *device, const tv_attention_shape *s,
                                   const tv_attention_sample *x, uint64_t max_tokens, const float *steps,
                                   float *const *caches) {
    const uint64_t T = s->tokens, rows = SHARERS * s->batch, D = s->head_size,
                   count = (s->batch * T + rows * (T + 1)) * s->kv_heads * D,
                   qkv_row = (s->heads + 2 * s->kv_heads) * D, output_row = s->heads * D;
    const tv_dtype held = tv_attention_cache_type(tv_device_caps(device), D);
    if (count * tv_dtype_bytes(held) > tv_device_caps(device)->storage_range)
        return;
    float *qkv = calloc(rows * qkv_row, sizeof *qkv), *found = malloc(rows * output_row * sizeof *found);
    float *cache = malloc(count * sizeof *cache), *expected = malloc(count * sizeof *expected);
    uint32_t *positions = malloc(rows * sizeof *positions), *prefixes = malloc(2 * rows * sizeof *prefixes);
    assert_true(qkv && found && cache && expected && positions && prefixes);
    const uint64_t fed[] = {0, 1, T / 2, T - 2, T - 1};
    for (size_t i = 0; i < sizeof fed / sizeof *fed; i++) {
        const uint64_t t = tv_min_u64(fed[i], T - 1);
        for (uint64_t r = 0; r < rows; r++) {
            const uint64_t b = r / SHARERS;
            positions[r] = (uint32_t)t;
            prefixes[2 * r] = (uint32_t)(s->batch - 1 - b);
            prefixes[2 * r + 1] = (uint32_t)shared_of(r, t);
            memcpy(qkv + r * qkv_row, x->qkv + (b * T + t) * qkv_row, qkv_row * sizeof *qkv);
        }
        tv_test_tensor in = make_tensor(device, x->dtype, rows * qkv_row, qkv),
                       at = tv_test_uints(device, rows, positions),
                       of = tv_test_uints(device, 2 * rows, prefixes),
                       out = make_tensor(device, x->dtype, rows * output_row, NULL), kv[2];
        for (int which = 0; which < 2; which++) {
            lay_out(s, max_tokens, t, false, caches[which], cache);
            kv[which] = make_tensor(device, held, count, cache);
        }
        run_decode(device, s,
                   (tv_attention_decode){.rows = rows,
                                         .max_tokens = max_tokens,
                                         .qkv = in.tensor,
                                         .positions = at.tensor,
                                         .k_cache = kv[0].tensor,
                                         .v_cache = kv[1].tensor,
                                         .output = out.tensor,
                                         .prefixes = of.tensor,
                                         .prefix_count = s->batch,
                                         .prefix_tokens = T,
                                         .own_tokens = T + 1});
        read_tensor(&out, found);
        for (uint64_t r = 0; r < rows; r++)
            assert_memory_equal(found + r * output_row, steps + (r / SHARERS * T + t) * output_row,
                                output_row * sizeof *found);
        for (int which = 0; which < 2; which++) {
            lay_out(s, max_tokens, t, true, caches[which], expected);
            read_tensor(&kv[which], cache);
            for (uint64_t e = 0; e < count; e++)
                assert_true(isnan(expected[e]) ? isnan(cache[e]) : cache[e] == expected[e]);
            tv_test_free(&kv[which]);
        }
        tv_test_free(&in);
        tv_test_free(&at);
        tv_test_free(&of);
        tv_test_free(&out);
    }
    tv_free_all(qkv, found, cache, expected, positions, prefixes);
}

static void check_decode(tv_device *device, const tv_attention_shape *s, tv_dtype dtype, double tolerance,
                         bool same_bits) {
    tv_attention_sample x = tv_attention_sample_make(s, 1);
    if (dtype != TV_F32)
        tv_attention_sample_narrow(&x, dtype);
    const tv_dtype held = tv_attention_cache_type(tv_device_caps(device), s->head_size);
    tv_attention_sample in_caches = tv_attention_sample_make(s, 1);
    if (held != TV_F32)
        tv_attention_sample_narrow(&in_caches, held);
    uint64_t rows = s->batch, T = s->tokens, D = s->head_size;
    uint64_t qkv_row = (s->heads + 2 * s->kv_heads) * D, output_row = s->heads * D;
    uint64_t max_tokens = T + 3, cache_count = rows * s->kv_heads * max_tokens * D;
    double *qkv = tv_test_doubles(x.qkv, x.qkv_count), *expected = malloc(x.output_count * sizeof *expected);
    oracle_attention_forward(
        &(oracle_attention){rows, T, s->heads, s->kv_heads, D, NULL, s->window, (double)s->scale}, qkv,
        expected, NULL);
    tv_test_tensor k_cache = make_tensor(device, held, cache_count, NULL);
    tv_test_tensor v_cache = make_tensor(device, held, cache_count, NULL);
    float *step_qkv = malloc(rows * qkv_row * sizeof *step_qkv), *cache = malloc(cache_count * sizeof *cache);
    float *step_output = malloc(rows * output_row * sizeof *step_output);
    double *step_expected = malloc(rows * output_row * sizeof *step_expected);
    uint32_t *positions = malloc(rows * sizeof *positions);
    float *steps = malloc(x.output_count * sizeof *steps), *caches[2];
    /* Row r starts r steps late and waits at position 0 until then. */
    for (uint64_t step = 0; step < T + rows - 1; step++) {
        for (uint64_t r = 0; r < rows; r++) {
            uint64_t t = step < r ? 0 : step - r < T ? step - r : T - 1;
            positions[r] = (uint32_t)t;
            memcpy(step_qkv + r * qkv_row, x.qkv + (r * T + t) * qkv_row, qkv_row * sizeof(float));
            memcpy(step_expected + r * output_row, expected + (r * T + t) * output_row,
                   output_row * sizeof(double));
        }
        tv_test_tensor in = make_tensor(device, dtype, rows * qkv_row, step_qkv);
        tv_test_tensor at = tv_test_uints(device, rows, positions);
        tv_test_tensor out = make_tensor(device, dtype, rows * output_row, NULL);
        run_decode(device, s,
                   (tv_attention_decode){.rows = rows,
                                         .max_tokens = max_tokens,
                                         .qkv = in.tensor,
                                         .positions = at.tensor,
                                         .k_cache = k_cache.tensor,
                                         .v_cache = v_cache.tensor,
                                         .output = out.tensor});
        read_tensor(&out, step_output);
        tv_test_compare("decode", step_output, step_expected, rows * output_row, tolerance, 0);
        for (uint64_t r = 0; r < rows; r++)
            memcpy(steps + (r * T + positions[r]) * output_row, step_output + r * output_row,
                   output_row * sizeof *steps);
        tv_test_free(&in);
        tv_test_free(&at);
        tv_test_free(&out);
    }
    /* What was appended stays, and nothing else was written. */
    for (int which = 0; which < 2; which++) {
        read_tensor(which ? &v_cache : &k_cache, cache);
        caches[which] = memcpy(malloc(cache_count * sizeof *cache), cache, cache_count * sizeof *cache);
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t h = 0; h < s->kv_heads; h++)
                for (uint64_t t = 0; t < max_tokens; t++)
                    for (uint64_t d = 0; d < D; d++) {
                        float found = cache[((r * s->kv_heads + h) * max_tokens + t) * D + d];
                        uint64_t head = s->heads + (which ? s->kv_heads : 0) + h;
                        if (t >= T)
                            assert_true(isnan(found));
                        else if (found != in_caches.qkv[(r * T + t) * qkv_row + head * D + d])
                            fail_msg("cache %d of row %d, head %d differs at position %d", which, (int)r,
                                     (int)h, (int)t);
                    }
    }
    decode_at_once(device, s, &x, max_tokens, steps, caches);
    decode_behind_prefixes(device, s, &x, max_tokens, steps, caches);
    if (same_bits) {
        tv_attention_sample_forward(device, &x, x.output);
        assert_memory_equal(x.output, steps, x.output_count * sizeof *steps);
    }
    tv_test_free(&k_cache);
    tv_test_free(&v_cache);
    tv_free_all(caches[0], caches[1], steps, qkv, expected, step_qkv, step_output, step_expected, cache,
                positions);
    tv_attention_sample_free(&x);
    tv_attention_sample_free(&in_caches);
}

void tv_attention_check_decode(tv_device *device, const tv_attention_shape *s, bool same_bits) {
    check_decode(device, s, TV_F32, 5e-6, same_bits);
}

void tv_attention_check_decode_of(tv_device *device, const tv_attention_shape *s, tv_dtype dtype,
                                  double tolerance) {
    check_decode(device, s, dtype, tolerance, true);
}
