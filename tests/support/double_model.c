/* A language model in double precision: see double_model.h. */
#include "support/double_model.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "oracle/activation.h"
#include "oracle/attention.h"
#include "oracle/rotary.h"

typedef struct whole {
    const tv_parameter_list *list;
    const tv_model_config *config;
    const tv_test_batch *batch;
    const double *flat;
    uint64_t rows;
    uint32_t layer;
} whole;

static double *zeros(uint64_t count) {
    double *values = calloc(count, sizeof *values);
    assert_non_null(values);
    return values;
}

/* NULL: the model has none. */
static const double *values_of(const whole *w, tv_parameter_role role) {
    uint32_t index = tv_parameter_index(w->list, role, w->layer);
    return index == TV_NO_PARAMETER ? NULL : w->flat + tv_test_flat_offset(w->list, index);
}

/* y (N, out) = scale x (N, in) W^T, added where `add`; rows of y are `stride` apart. */
static void product(uint64_t rows, uint64_t in, uint64_t out, double scale, const double *x,
                    const double *weight, bool add, uint64_t stride, double *y) {
    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t o = 0; o < out; o++) {
            double sum = 0;
            for (uint64_t i = 0; i < in; i++)
                sum += x[r * in + i] * weight[o * in + i];
            y[r * stride + o] = scale * sum + (add ? y[r * stride + o] : 0);
        }
}

static void linear(const whole *w, tv_parameter_role weight, tv_parameter_role bias, uint64_t in,
                   uint64_t out, const double *x, double *y) {
    const tv_adapter *adapter = &w->list->adapter;
    const double *b = values_of(w, bias);
    product(w->rows, in, out, 1, x, values_of(w, weight), false, out, y);
    for (uint64_t i = 0; b && i < w->rows * out; i++)
        y[i] += b[i % out];
    double rank = (double)adapter->rank, scale = adapter->alpha / (adapter->rslora ? sqrt(rank) : rank);
    double *t = zeros(w->rows * (adapter->rank + 1));
    for (uint32_t k = 0; k < adapter->target_count; k++) {
        const tv_adapter_target *target = &adapter->targets[k];
        if (target->role != weight)
            continue;
        uint32_t of_a = tv_parameter_adapter(w->list, k, w->layer, TV_PARAMETER_ADAPTER_A);
        uint32_t of_b = tv_parameter_adapter(w->list, k, w->layer, TV_PARAMETER_ADAPTER_B);
        product(w->rows, in, adapter->rank, 1, x, w->flat + tv_test_flat_offset(w->list, of_a), false,
                adapter->rank, t);
        product(w->rows, adapter->rank, target->rows, scale, t, w->flat + tv_test_flat_offset(w->list, of_b),
                true, out, y + target->first_row);
    }
    free(t);
}

static void norm(const whole *w, tv_parameter_role gain, tv_parameter_role bias, const double *x, double *y) {
    const double *g = values_of(w, gain), *b = values_of(w, bias);
    uint64_t channels = w->config->channels;
    for (uint64_t r = 0; r < w->rows; r++, x += channels, y += channels) {
        double mean = 0, square = 0;
        for (uint64_t c = 0; c < channels && w->config->norm == TV_NORM_LAYER; c++)
            mean += x[c] / (double)channels;
        for (uint64_t c = 0; c < channels; c++)
            square += (x[c] - mean) * (x[c] - mean) / (double)channels;
        for (uint64_t c = 0; c < channels; c++)
            y[c] = (x[c] - mean) / sqrt(square + w->config->norm_eps) * g[c] + (b ? b[c] : 0);
    }
}

/* stream += attention(norm1(stream)). */
static void attend(const whole *w, double *stream) {
    const tv_model_config *c = w->config;
    uint64_t width = (c->n_head + 2 * c->n_kv_head) * c->head_size, inner = c->n_head * c->head_size;
    double *normed = zeros(w->rows * (2 * c->channels + width + inner));
    double *out = normed + w->rows * c->channels, *qkv = out + w->rows * c->channels,
           *attended = qkv + w->rows * width;
    uint32_t *positions = calloc(w->rows, sizeof *positions);
    assert_non_null(positions);
    for (uint64_t r = 0; r < w->rows; r++)
        positions[r] = (uint32_t)(r % w->batch->tokens);
    norm(w, TV_PARAMETER_NORM1_GAIN, TV_PARAMETER_NORM1_BIAS, stream, normed);
    linear(w, TV_PARAMETER_QKV_WEIGHT, TV_PARAMETER_QKV_BIAS, c->channels, width, normed, qkv);
    if (c->positions == TV_POSITIONS_ROTARY)
        oracle_rotary(w->rows, c->n_head + c->n_kv_head, c->head_size, width, c->rotary.theta, 1, positions,
                      qkv);
    oracle_attention_forward(&(oracle_attention){.batch = w->batch->batch,
                                                 .tokens = w->batch->tokens,
                                                 .heads = c->n_head,
                                                 .kv_heads = c->n_kv_head,
                                                 .head_size = c->head_size},
                             qkv, attended, NULL);
    linear(w, TV_PARAMETER_ATTN_OUT_WEIGHT, TV_PARAMETER_ATTN_OUT_BIAS, inner, c->channels, attended, out);
    for (uint64_t i = 0; i < w->rows * c->channels; i++)
        stream[i] += out[i];
    free(positions);
    free(normed);
}

/* stream += mlp(norm2(stream)). */
static void pass_mlp(const whole *w, double *stream) {
    const tv_model_config *c = w->config;
    bool gated = c->activation == TV_ACTIVATION_SWIGLU;
    uint64_t width = gated ? 2 * c->ffn : c->ffn;
    double *normed = zeros(w->rows * (2 * c->channels + width + c->ffn));
    double *out = normed + w->rows * c->channels, *in = out + w->rows * c->channels,
           *hidden = in + w->rows * width;
    norm(w, TV_PARAMETER_NORM2_GAIN, TV_PARAMETER_NORM2_BIAS, stream, normed);
    linear(w, TV_PARAMETER_MLP_IN_WEIGHT, TV_PARAMETER_MLP_IN_BIAS, c->channels, width, normed, in);
    for (uint64_t r = 0; r < w->rows; r++)
        for (uint64_t f = 0; f < c->ffn; f++) {
            const double *row = &in[r * width];
            hidden[r * c->ffn + f] =
                gated ? row[f] / (1 + exp(-row[f])) * row[c->ffn + f] : oracle_gelu(row[f]);
        }
    linear(w, TV_PARAMETER_MLP_OUT_WEIGHT, TV_PARAMETER_MLP_OUT_BIAS, c->ffn, c->channels, hidden, out);
    for (uint64_t i = 0; i < w->rows * c->channels; i++)
        stream[i] += out[i];
    free(normed);
}

static double cross_entropy(const double *logits, uint64_t vocab, uint32_t target) {
    double largest = -INFINITY, sum = 0;
    for (uint64_t v = 0; v < vocab; v++)
        largest = fmax(largest, logits[v]);
    for (uint64_t v = 0; v < vocab; v++)
        sum += exp(logits[v] - largest);
    return largest + log(sum) - logits[target];
}

static void check_is_known(const tv_model_config *c) {
    if (c->qk_norm || c->post_norms || c->gain_from_one || c->scaled_embedding || c->window ||
        c->query_scalar > 0 || c->activation == TV_ACTIVATION_GEGLU_TANH || c->head != TV_MODEL_HEAD_LANGUAGE)
        fail_msg("%s: the model in double knows no such switches", tv_model_config_architecture(c));
}

double tv_test_double_loss(const tv_parameter_list *list, const tv_test_batch *batch, const double *flat) {
    whole w = {list, &list->config, batch, flat, batch->batch * batch->tokens, TV_NO_LAYER};
    uint64_t channels = w.config->channels, vocab = w.config->vocab_size;
    check_is_known(w.config);
    double *stream = zeros(w.rows * (2 * channels + vocab)), *final = stream + w.rows * channels,
           *logits = final + w.rows * channels, loss = 0;
    const double *table = values_of(&w, TV_PARAMETER_EMBEDDING),
                 *positions = values_of(&w, TV_PARAMETER_POSITIONS);
    for (uint64_t i = 0; i < w.rows * channels; i++) {
        uint64_t row = i / channels, c = i % channels;
        stream[i] = table[batch->token[row] * channels + c] +
                    (positions ? positions[row % batch->tokens * channels + c] : 0);
    }
    for (w.layer = 0; w.layer < w.config->n_layer; w.layer++) {
        attend(&w, stream);
        pass_mlp(&w, stream);
    }
    w.layer = TV_NO_LAYER;
    norm(&w, TV_PARAMETER_FINAL_NORM_GAIN, TV_PARAMETER_FINAL_NORM_BIAS, stream, final);
    product(w.rows, channels, vocab, 1, final, flat + tv_test_flat_offset(list, tv_parameter_head(list)),
            false, vocab, logits);
    for (uint64_t r = 0; r < w.rows; r++)
        loss += cross_entropy(&logits[r * vocab], vocab, batch->target[r]) / (double)w.rows;
    free(stream);
    return loss;
}
