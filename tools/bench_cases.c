/* The cases of trivium bench kernels: see bench_cases.h. */
#include "tools/bench_cases.h"

#include <stdlib.h>

#include "base/rng.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/classifier.h"
#include "kernels/embedding.h"
#include "kernels/gae.h"
#include "kernels/group_add.h"
#include "kernels/logprobs.h"
#include "kernels/matmul.h"
#include "kernels/muon.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/rotary.h"
#include "kernels/sample.h"
#include "push_constants.h"
#include "run/peak.h"
#include "tools/options.h"
#include "train/step.h"
#include "vk/transfer.h"

enum { MUON_MATRICES = 8 }; /* of a batch, on a GPU */

/* ---- tensors ---- */

typedef enum content { NOISE, ZEROS, GIVEN } content;

static tv_status next_tensor(tv_kernel_run *run, content filled, uint64_t count, tv_dtype dtype,
                             const void *given, tv_tensor *tensor) {
    uint32_t slot = run->next++;
    uint64_t bytes = count * tv_dtype_bytes(dtype);
    bool fresh = !run->buffers[slot];
    if (fresh)
        TV_RETURN_IF_FAILED(
            tv_buffer_create(run->device, bytes, TV_MEMORY_DEVICE, "bench", &run->buffers[slot]));
    *tensor = (tv_tensor){tv_span_part(tv_buffer_span(run->buffers[slot]), 0, bytes), dtype};
    if (!fresh)
        return TV_OK;
    if (filled == GIVEN)
        return tv_upload(run->device, tensor->span, given, bytes);
    if (filled == NOISE)
        return tv_fill_noise(run->device, tensor->span, count);
    return tv_clear(run->device, tensor->span);
}

static tv_status noise(tv_kernel_run *run, uint64_t count, tv_tensor *tensor) {
    return next_tensor(run, NOISE, count, TV_F32, NULL, tensor);
}

static tv_status zeros(tv_kernel_run *run, uint64_t count, tv_tensor *tensor) {
    return next_tensor(run, ZEROS, count, TV_F32, NULL, tensor);
}

static tv_status structure(tv_kernel_run *run, const void *values, uint64_t bytes, tv_tensor *tensor) {
    return next_tensor(run, GIVEN, bytes / sizeof(uint32_t), TV_U32, values, tensor);
}

static tv_status tokens_below(tv_kernel_run *run, uint64_t count, uint64_t vocab, tv_tensor *tensor) {
    const tv_rng rng = {.stream = TV_STREAM_TEST};
    uint32_t *tokens = malloc(count * sizeof *tokens);
    if (!tokens)
        return tv_fail(TV_E_MEMORY, "out of host memory for tokens");
    for (uint64_t i = 0; i < count; i++)
        tokens[i] = (uint32_t)tv_uniform_below(&rng, i, vocab);
    tv_status status = next_tensor(run, GIVEN, count, TV_U32, tokens, tensor);
    free(tokens);
    return status;
}

/* ---- kernels; d holds the numbers of the shape, in its order ---- */

static tv_status matmul(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d, bool transpose_a,
                        bool transpose_b) {
    tv_matmul product = {
        .m = d[0], .n = d[1], .k = d[2], .transpose_a = transpose_a, .transpose_b = transpose_b};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[2], &product.a));
    TV_RETURN_IF_FAILED(noise(run, d[2] * d[1], &product.b));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &product.c));
    return tv_matmul_record(recorder, &product);
}

static tv_status matmul_nn(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return matmul(recorder, run, d, false, false);
}

static tv_status matmul_nt(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return matmul(recorder, run, d, false, true);
}

static tv_status matmul_tn(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return matmul(recorder, run, d, true, false);
}

/* d: B, T, H, Hkv, D */
static tv_status make_attention(tv_kernel_run *run, const uint64_t *d, tv_attention *attention) {
    uint64_t rows = d[0] * d[1];
    *attention =
        (tv_attention){.batch = d[0], .tokens = d[1], .heads = d[2], .kv_heads = d[3], .head_size = d[4]};
    TV_RETURN_IF_FAILED(noise(run, rows * (d[2] + 2 * d[3]) * d[4], &attention->qkv));
    TV_RETURN_IF_FAILED(zeros(run, rows * d[2] * d[4], &attention->output));
    return zeros(run, rows * d[2], &attention->lse);
}

static tv_status attention_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_attention attention;
    TV_RETURN_IF_FAILED(make_attention(run, d, &attention));
    return tv_attention_forward(recorder, &attention);
}

/* The log-sum-exp is 0 for every row, which changes values and not the work. */
static tv_status attention_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_attention_backward attention = {0};
    uint64_t rows = d[0] * d[1];
    TV_RETURN_IF_FAILED(make_attention(run, d, &attention.forward));
    TV_RETURN_IF_FAILED(noise(run, rows * d[2] * d[4], &attention.d_output));
    TV_RETURN_IF_FAILED(zeros(run, rows * (d[2] + 2 * d[3]) * d[4], &attention.d_qkv));
    TV_RETURN_IF_FAILED(zeros(run, rows * d[2], &attention.delta));
    return tv_attention_backward_record(recorder, &attention);
}

/* d: rows, C */
static tv_status norm_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d,
                              tv_norm_kind kind) {
    tv_norm_forward norm = {.kind = kind, .rows = d[0], .channels = d[1], .eps = 1e-5f};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &norm.input));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &norm.residual));
    TV_RETURN_IF_FAILED(noise(run, d[1], &norm.gain));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &norm.sum));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &norm.output));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &norm.rstd));
    if (kind == TV_NORM_LAYER) {
        TV_RETURN_IF_FAILED(noise(run, d[1], &norm.bias));
        TV_RETURN_IF_FAILED(zeros(run, d[0], &norm.mean));
    }
    return tv_norm_forward_record(recorder, &norm);
}

static tv_status norm_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d,
                               tv_norm_kind kind) {
    tv_column_sums sums = {0};
    tv_norm_backward norm = {.kind = kind, .rows = d[0], .channels = d[1], .sums = &sums};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &norm.d_output));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &norm.sum));
    TV_RETURN_IF_FAILED(noise(run, d[1], &norm.gain));
    TV_RETURN_IF_FAILED(noise(run, d[0], &norm.rstd));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &norm.d_residual));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &norm.d_sum));
    TV_RETURN_IF_FAILED(zeros(run, d[1], &norm.d_gain));
    TV_RETURN_IF_FAILED(
        zeros(run, tv_column_sums_scratch(tv_recorder_caps(recorder), d[0], 2 * d[1], d[1]) / sizeof(float),
              &sums.scratch));
    if (kind == TV_NORM_LAYER) {
        TV_RETURN_IF_FAILED(noise(run, d[0], &norm.mean));
        TV_RETURN_IF_FAILED(zeros(run, d[1], &norm.d_bias));
    }
    TV_RETURN_IF_FAILED(tv_norm_backward_record(recorder, &norm));
    return tv_column_sums_add(recorder, &sums);
}

static tv_status layernorm_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return norm_forward(recorder, run, d, TV_NORM_LAYER);
}

static tv_status layernorm_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return norm_backward(recorder, run, d, TV_NORM_LAYER);
}

static tv_status rmsnorm_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return norm_forward(recorder, run, d, TV_NORM_RMS);
}

static tv_status rmsnorm_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    return norm_backward(recorder, run, d, TV_NORM_RMS);
}

/* d: rows, F */
static tv_status gelu_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_tensor x, y;
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &x));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &y));
    return tv_gelu_forward(recorder, d[0] * d[1], x, y);
}

static tv_status gelu_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_tensor x, d_y, d_x;
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &x));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &d_y));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &d_x));
    return tv_gelu_backward(recorder, d[0] * d[1], x, d_y, d_x);
}

static tv_status swiglu_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_tensor gate_up, y;
    TV_RETURN_IF_FAILED(noise(run, d[0] * 2 * d[1], &gate_up));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &y));
    return tv_swiglu_forward(recorder, d[0], d[1], gate_up, y);
}

static tv_status swiglu_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_tensor gate_up, d_y;
    TV_RETURN_IF_FAILED(noise(run, d[0] * 2 * d[1], &gate_up));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &d_y));
    return tv_swiglu_backward(recorder, d[0], d[1], gate_up, d_y);
}

/* d: rows, V */
static tv_status cross_entropy(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    const struct tv_step_constants constants = {.loss_scale = 1};
    tv_cross_entropy loss = {.rows = d[0], .vocab = d[1], .gradient = true};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &loss.logits));
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], d[1], &loss.targets));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &loss.losses));
    TV_RETURN_IF_FAILED(structure(run, &constants, sizeof constants, &loss.step));
    return tv_cross_entropy_record(recorder, &loss);
}

/* d: rows, V */
static tv_status token_logprobs(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_token_logprobs l = {.rows = d[0], .vocab = d[1], .inverse_temperature = 1};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &l.logits));
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], d[1], &l.targets));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &l.logprobs));
    TV_RETURN_IF_FAILED(zeros(run, 2 * d[0], &l.lse));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &l.entropies));
    return tv_token_logprobs_record(recorder, &l);
}

/* d: rows, V */
static tv_status token_gradient(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_token_gradient g = {.rows = d[0], .vocab = d[1], .inverse_temperature = 1};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &g.logits));
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], d[1], &g.targets));
    TV_RETURN_IF_FAILED(zeros(run, 2 * d[0], &g.lse));
    TV_RETURN_IF_FAILED(noise(run, d[0], &g.d_logprobs));
    return tv_token_gradient_record(recorder, &g);
}

/* d: sequences, T */
static tv_status gae(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_gae g = {
        .sequences = d[0], .tokens = d[1], .estimator = TV_KL_1, .gamma = 1, .lambda = 0.95f, .whiten = true};
    uint64_t words = sizeof(struct tv_gae_extent) / sizeof(uint32_t);
    /* Extents from random words are as good as any: they are cut to the row. */
    TV_RETURN_IF_FAILED(tokens_below(run, d[0] * words, d[1] / 2, &g.extents));
    TV_RETURN_IF_FAILED(noise(run, 1, &g.beta));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &g.old_logprobs));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &g.ref_logprobs));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &g.values));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &g.advantages));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &g.returns));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * TV_GAE_SUMS, &g.sums));
    TV_RETURN_IF_FAILED(zeros(run, TV_GAE_SUMS, &g.totals));
    TV_RETURN_IF_FAILED(zeros(run, tv_gae_scratch(d[0]) / sizeof(float), &g.scratch));
    return tv_gae_record(recorder, &g);
}

/* d: rows, C, V, T */
static tv_status embedding_forward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_embedding embedding = {
        .rows = d[0], .channels = d[1], .vocab = d[2], .tokens_per_row = d[3], .max_positions = d[3]};
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], d[2], &embedding.tokens));
    TV_RETURN_IF_FAILED(noise(run, d[2] * d[1], &embedding.token_table));
    TV_RETURN_IF_FAILED(noise(run, d[3] * d[1], &embedding.position_table));
    TV_RETURN_IF_FAILED(zeros(run, d[0] * d[1], &embedding.output));
    return tv_embedding_forward(recorder, &embedding);
}

static tv_status embedding_backward(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_embedding_backward embedding = {
        .rows = d[0], .channels = d[1], .vocab = d[2], .tokens_per_row = d[3], .max_positions = d[3]};
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], d[2], &embedding.tokens));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &embedding.d_output));
    TV_RETURN_IF_FAILED(zeros(run, d[2] * d[1], &embedding.d_token_table));
    TV_RETURN_IF_FAILED(zeros(run, d[3] * d[1], &embedding.d_position_table));
    return tv_embedding_backward_record(recorder, &embedding);
}

/* d: rows, H + Hkv, D, T; without v behind them */
static tv_status rotary(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_rotary rotation = {
        .rows = d[0], .heads = d[1], .head_size = d[2], .tokens_per_row = d[3], .row_stride = d[1] * d[2]};
    TV_RETURN_IF_FAILED(noise(run, d[3] * d[2], &rotation.table));
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1] * d[2], &rotation.qkv));
    return tv_rotary_record(recorder, &rotation);
}

/* One tensor in one pass of the update. */
static tv_status update(tv_recorder *recorder, tv_kernel_run *run, const tv_update_tensor *tensor,
                        tv_status (*pass)(tv_recorder *, const tv_update *)) {
    const struct tv_step_constants constants = tv_step_constants_make(1e-3, 0.1, 0.9, 0.95, 1e-8, 1);
    const struct tv_update_state state = {.applied = 1, .finite = 1, .clip_scale = 1};
    tv_update_plan *plan = NULL;
    tv_update update = {0};
    tv_status status;
    TV_RETURN_IF_FAILED(tv_update_plan_create(tv_recorder_caps(recorder), tensor, 1, &plan));
    update.plan = plan;
    TV_TRY(structure(run, plan->table, plan->segment_count * sizeof *plan->table, &update.table));
    TV_TRY(zeros(run, plan->partials, &update.partials));
    TV_TRY(structure(run, &constants, sizeof constants, &update.step));
    TV_TRY(structure(run, &state, sizeof state, &update.state));
    TV_TRY(pass(recorder, &update));
done:
    tv_update_plan_destroy(&plan);
    return status;
}

/* d: elements */
static tv_status gradient_norm(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_update_tensor tensor = {.count = d[0], .rule = TV_UPDATE_ELSEWHERE};
    TV_RETURN_IF_FAILED(noise(run, d[0], &tensor.gradient));
    return update(recorder, run, &tensor, tv_gradient_norm_add);
}

static tv_status adamw(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_update_tensor tensor = {.count = d[0], .decay = true};
    TV_RETURN_IF_FAILED(noise(run, d[0], &tensor.parameter));
    TV_RETURN_IF_FAILED(noise(run, d[0], &tensor.gradient));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &tensor.m));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &tensor.v));
    return update(recorder, run, &tensor, tv_adamw_record);
}

/* d: elements */
static tv_status group_add(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    tv_tensor group, sum;
    TV_RETURN_IF_FAILED(noise(run, d[0], &group));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &sum));
    return tv_group_add(recorder, d[0], group, sum);
}

static tv_status group_round(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    const struct tv_update_state state = {.finite = 1};
    tv_group_rounding rounding;
    TV_RETURN_IF_FAILED(noise(run, d[0], &rounding.group));
    TV_RETURN_IF_FAILED(next_tensor(run, ZEROS, d[0], TV_BF16, NULL, &rounding.error));
    TV_RETURN_IF_FAILED(next_tensor(run, ZEROS, d[0], TV_BF16, NULL, &rounding.to));
    TV_RETURN_IF_FAILED(structure(run, &state, sizeof state, &rounding.state));
    return tv_group_round(recorder, d[0], &rounding);
}

/* d: rows, columns, matrices of a batch */
static tv_status muon(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    const struct tv_step_constants constants = {.lr = 1e-3f, .momentum = 0.95f, .muon_rms = 0.2f};
    const struct tv_update_state state = {.applied = 1, .finite = 1, .clip_scale = 1};
    const uint64_t elements = d[0] * d[1];
    uint64_t floats[TV_MUON_TENSORS];
    tv_muon_matrix matrices[MUON_MATRICES], all = {.decay = true};
    tv_muon update = {.rows = d[0], .columns = d[1], .count = d[2], .matrices = matrices};
    TV_RETURN_IF_FAILED(noise(run, d[2] * elements, &all.parameter));
    TV_RETURN_IF_FAILED(noise(run, d[2] * elements, &all.gradient));
    TV_RETURN_IF_FAILED(zeros(run, d[2] * elements, &all.moment));
    for (uint64_t i = 0; i < d[2]; i++) {
        matrices[i] = all;
        matrices[i].first = i * elements;
    }
    tv_muon_workspace(d[0], d[1], d[2], floats);
    for (int t = 0; t < TV_MUON_TENSORS; t++)
        TV_RETURN_IF_FAILED(zeros(run, floats[t], &update.workspace[t]));
    TV_RETURN_IF_FAILED(structure(run, &constants, sizeof constants, &update.step));
    TV_RETURN_IF_FAILED(structure(run, &state, sizeof state, &update.state));
    return tv_muon_record(recorder, &update);
}

/* d: rows, V */
static tv_status sample(tv_recorder *recorder, tv_kernel_run *run, const uint64_t *d) {
    const struct tv_sample_settings settings = {
        .seed_low = 1, .temperature = 0.8f, .top_k = 40, .top_p = 0.95f};
    tv_sample draw = {.rows = d[0], .vocab = d[1]};
    TV_RETURN_IF_FAILED(noise(run, d[0] * d[1], &draw.logits));
    TV_RETURN_IF_FAILED(structure(run, &settings, sizeof settings, &draw.settings));
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], 1000, &draw.sequences));
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], 1000, &draw.positions));
    TV_RETURN_IF_FAILED(tokens_below(run, d[0], d[1], &draw.tokens));
    TV_RETURN_IF_FAILED(zeros(run, d[0], &draw.logprobs));
    return tv_sample_record(recorder, &draw);
}

/* ---- the table: for CPUs the shapes of samples/bench/gpt2_875k.json, for GPUs those of GPT-2 124M ---- */

const tv_kernel_case tv_kernel_cases[] = {
    {"matmul", "", matmul_nn, {512, 512, 512}, {512, 512, 512}},
    {"matmul", " nt", matmul_nt, {512, 512, 512}, {512, 512, 512}},
    {"matmul", " tn", matmul_tn, {512, 512, 512}, {512, 512, 512}},
    {"matmul", "", matmul_nn, {0}, {4096, 4096, 4096}},
    {"matmul", " nt", matmul_nt, {2048, 384, 128}, {8192, 2304, 768}}, /* qkv */
    {"matmul", " nt", matmul_nt, {2048, 512, 128}, {8192, 3072, 768}}, /* into the MLP */
    {"matmul", " nt", matmul_nt, {2048, 128, 512}, {8192, 768, 3072}}, /* out of it */
    {"matmul", "", matmul_nn, {2048, 512, 128}, {8192, 3072, 768}},    /* gradient of an input */
    {"matmul", " tn", matmul_tn, {512, 128, 2048}, {3072, 768, 8192}}, /* gradient of a weight */
    {"matmul", " nt", matmul_nt, {0}, {1024, 50257, 768}},             /* logits of a chunk */
    {"attention_forward", "", attention_forward, {16, 128, 4, 4, 32}, {8, 1024, 12, 12, 64}},
    {"attention_backward", "", attention_backward, {16, 128, 4, 4, 32}, {8, 1024, 12, 12, 64}},
    {"layernorm_forward", "", layernorm_forward, {2048, 128}, {8192, 768}},
    {"layernorm_backward", "", layernorm_backward, {2048, 128}, {8192, 768}},
    {"rmsnorm_forward", "", rmsnorm_forward, {2048, 128}, {8192, 768}},
    {"rmsnorm_backward", "", rmsnorm_backward, {2048, 128}, {8192, 768}},
    {"gelu_forward", "", gelu_forward, {2048, 512}, {8192, 3072}},
    {"gelu_backward", "", gelu_backward, {2048, 512}, {8192, 3072}},
    {"swiglu_forward", "", swiglu_forward, {2048, 512}, {8192, 2048}},
    {"swiglu_backward", "", swiglu_backward, {2048, 512}, {8192, 2048}},
    {"rotary", "", rotary, {2048, 8, 32, 128}, {8192, 24, 64, 1024}},
    {"cross_entropy", "", cross_entropy, {2048, 512}, {1024, 50257}},
    {"token_logprobs", "", token_logprobs, {2048, 512}, {1024, 50257}},
    {"token_gradient", "", token_gradient, {2048, 512}, {1024, 50257}},
    {"gae", "", gae, {64, 256}, {512, 1024}},
    {"embedding_forward", "", embedding_forward, {2048, 128, 512, 128}, {8192, 768, 50257, 1024}},
    {"embedding_backward", "", embedding_backward, {2048, 128, 512, 128}, {8192, 768, 50257, 1024}},
    {"gradient_norm", "", gradient_norm, {1 << 20}, {1 << 25}},
    {"adamw", "", adamw, {1 << 20}, {1 << 25}},
    {"group_add", "", group_add, {1 << 20}, {1 << 25}},
    {"group_round", "", group_round, {1 << 20}, {1 << 25}},
    {"muon", "", muon, {128, 128, 4}, {768, 768, MUON_MATRICES}},
    {"sample", "", sample, {8, 512}, {8, 50257}},
};
const uint64_t tv_kernel_case_count = TV_COUNT(tv_kernel_cases);

void tv_kernel_run_free(tv_kernel_run *run) {
    for (int i = 0; i < TV_KERNEL_RUN_BUFFERS; i++)
        tv_buffer_destroy(&run->buffers[i]);
}
