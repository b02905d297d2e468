/* The backward pass: see backward.h. forward.c is its mirror image. */
#include "model/backward.h"

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/column_sums.h"
#include "kernels/embedding.h"
#include "kernels/head_norm.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/rotary.h"
#include "model/adapters.h"

typedef struct pass {
    tv_recorder *recorder;
    const tv_model *model;
    const tv_model_config *config;
    const tv_activations *a;
    const tv_model_inputs *inputs;
    tv_column_sums *sums;           /* gradients of vectors, which a layer adds together */
    tv_gradients_finished finished; /* NULL: nobody is told */
    void *context;
} pass;

/* Whether anything before a parameter is trained, as the forward pass meets them. */
static bool flows_below(const pass *p, tv_parameter_role role, uint32_t layer) {
    return tv_model_flows_below(p->model, tv_parameter_index(tv_model_list(p->model), role, layer));
}

/* A bias that is absent, or whose gradient what lies behind it adds up. */
#define NO_BIAS TV_PARAMETER_ROLES

static tv_tensor bias_gradient(const pass *p, tv_parameter_role bias, uint32_t layer) {
    return bias == NO_BIAS ? TV_ABSENT : tv_model_gradient(p->model, bias, layer);
}

/* Of y = x W^T + b: d_x = d_y W, d_W += d_y^T x, d_b += column sums of d_y; what nobody asks for is left
 * out. */
static tv_status linear(const pass *p, tv_parameter_role weight, tv_parameter_role bias, uint32_t layer,
                        uint64_t in, uint64_t out, tv_tensor x, tv_tensor d_y, tv_tensor d_x) {
    uint64_t rows = p->a->rows;
    tv_record_push_label(p->recorder, "%s", tv_parameter_operation(weight));
    tv_tensor d_weight = tv_model_gradient(p->model, weight, layer), d_bias = bias_gradient(p, bias, layer);
    if (tv_tensor_present(d_weight))
        TV_RETURN_IF_FAILED(tv_matmul_record(p->recorder, &(tv_matmul){.m = out,
                                                                       .n = in,
                                                                       .k = rows,
                                                                       .transpose_a = true,
                                                                       .accumulate = true,
                                                                       .scratch = p->a->scratch,
                                                                       .a = d_y,
                                                                       .b = x,
                                                                       .c = d_weight}));
    if (tv_tensor_present(d_bias))
        TV_RETURN_IF_FAILED(tv_column_sums_rows(p->recorder, p->sums, rows, out, d_y, d_bias));
    bool flows = flows_below(p, weight, layer);
    if (flows)
        TV_RETURN_IF_FAILED(
            tv_matmul_record(p->recorder, &(tv_matmul){.m = rows,
                                                       .n = in,
                                                       .k = out,
                                                       .a = d_y,
                                                       .b = tv_model_parameter(p->model, weight, layer),
                                                       .c = d_x}));
    TV_RETURN_IF_FAILED(tv_adapters_backward(
        p->recorder, &(tv_adapted){p->model, p->a, weight, layer, in, out}, x, d_y, flows ? d_x : TV_ABSENT));
    tv_record_pop_label(p->recorder);
    return TV_OK;
}

static tv_status embed(const pass *p) {
    tv_record_push_label(p->recorder, "embedding backward");
    tv_status status = tv_embedding_backward_record(
        p->recorder,
        &(tv_embedding_backward){
            .rows = p->a->rows,
            .tokens_per_row = p->a->options.tokens,
            .channels = p->config->channels,
            .vocab = p->config->vocab_size,
            .max_positions = p->config->max_positions,
            .scale = tv_model_config_embedding_scale(p->config),
            .tokens = p->inputs->tokens,
            .positions = p->inputs->positions,
            .d_output = p->a->d_stream,
            .d_token_table = tv_model_gradient(p->model, TV_PARAMETER_EMBEDDING, TV_NO_LAYER),
            .d_position_table = tv_model_gradient(p->model, TV_PARAMETER_POSITIONS, TV_NO_LAYER)});
    tv_record_pop_label(p->recorder);
    return status;
}

static tv_status rotate_back(const pass *p, uint32_t l, tv_tensor d_qkv) {
    const tv_model_config *c = p->config;
    if (c->positions != TV_POSITIONS_ROTARY)
        return TV_OK;
    tv_record_push_label(p->recorder, "rotary");
    tv_status status = tv_rotary_record(
        p->recorder, &(tv_rotary){.rows = p->a->rows,
                                  .tokens_per_row = p->a->options.tokens,
                                  .heads = c->n_head + c->n_kv_head,
                                  .head_size = c->head_size,
                                  .row_stride = (c->n_head + 2 * c->n_kv_head) * c->head_size,
                                  .inverse = true,
                                  .positions = p->inputs->positions,
                                  .table = tv_model_rotary_table(p->model, l),
                                  .qkv = d_qkv});
    tv_record_pop_label(p->recorder);
    return status;
}

/* What every norm's gradient has in common; `given` says the rest, and where d_sum goes if anything asks for
 * it. */
static tv_status record_norm(const pass *p, tv_parameter_role gain, uint32_t layer, tv_norm_backward given) {
    given.kind = p->config->norm;
    given.rows = p->a->rows;
    given.channels = p->config->channels;
    given.gain_from_one = p->config->gain_from_one;
    given.gain = tv_model_parameter(p->model, gain, layer);
    given.d_gain = tv_model_gradient(p->model, gain, layer);
    given.sums = p->sums;
    if (!flows_below(p, gain, layer))
        given.d_sum = TV_ABSENT;
    tv_record_push_label(p->recorder, "%s", tv_parameter_operation(gain));
    tv_status status = tv_norm_backward_record(p->recorder, &given);
    tv_record_pop_label(p->recorder);
    return status;
}

/* d_out = gradient of what attention or the MLP gave, from d_stream, that of it normed. */
static tv_status post_norm(const pass *p, tv_parameter_role gain, uint32_t layer, tv_tensor x, tv_tensor rstd,
                           tv_tensor d_out) {
    return record_norm(
        p, gain, layer,
        (tv_norm_backward){.d_output = p->a->d_stream, .sum = x, .rstd = rstd, .d_sum = d_out});
}

static tv_status norm_heads(const pass *p, uint32_t l, tv_tensor d_qkv) {
    const tv_model_config *c = p->config;
    const tv_block_activations *b = &p->a->blocks[l];
    if (!c->qk_norm)
        return TV_OK;
    tv_record_push_label(p->recorder, "%s", tv_parameter_operation(TV_PARAMETER_Q_NORM_GAIN));
    tv_status status = tv_head_norm_backward_record(
        p->recorder, &(tv_head_norm_backward){
                         .forward = {.rows = p->a->rows,
                                     .heads = c->n_head,
                                     .kv_heads = c->n_kv_head,
                                     .head_size = c->head_size,
                                     .gain_from_one = c->gain_from_one,
                                     .q_gain = tv_model_parameter(p->model, TV_PARAMETER_Q_NORM_GAIN, l),
                                     .k_gain = tv_model_parameter(p->model, TV_PARAMETER_K_NORM_GAIN, l),
                                     .raw = b->qk_raw,
                                     .rstd = b->qk_rstd},
                         .d_qkv = d_qkv,
                         .gains_alone = !flows_below(p, TV_PARAMETER_Q_NORM_GAIN, l),
                         .d_q_gain = tv_model_gradient(p->model, TV_PARAMETER_Q_NORM_GAIN, l),
                         .d_k_gain = tv_model_gradient(p->model, TV_PARAMETER_K_NORM_GAIN, l),
                         .sums = p->sums});
    tv_record_pop_label(p->recorder);
    return status;
}

/* d_stream -> d_attended (d_narrow) -> d_qkv (d_wide) -> d_norm1 (d_narrow). */
static tv_status attention(const pass *p, uint32_t l) {
    const tv_model_config *c = p->config;
    const tv_activations *a = p->a;
    const tv_block_activations *b = &a->blocks[l];
    uint64_t qkv_width = (c->n_head + 2 * c->n_kv_head) * c->head_size, width = c->n_head * c->head_size;
    tv_tensor d_out = a->d_stream, d_attended = tv_activations_as(a->d_narrow, a->heads),
              d_qkv = tv_activations_as(a->d_wide, a->heads);
    if (c->post_norms) {
        d_out = tv_activations_as(a->d_wide, TV_F32);
        TV_RETURN_IF_FAILED(
            post_norm(p, TV_PARAMETER_POST_ATTENTION_NORM_GAIN, l, b->attn_out, b->rstd_attn_out, d_out));
        if (!flows_below(p, TV_PARAMETER_POST_ATTENTION_NORM_GAIN, l))
            return TV_OK;
    }
    TV_RETURN_IF_FAILED(linear(p, TV_PARAMETER_ATTN_OUT_WEIGHT,
                               c->post_norms ? TV_PARAMETER_ATTN_OUT_BIAS : NO_BIAS, l, width, c->channels,
                               b->attended, d_out, d_attended));
    if (!flows_below(p, TV_PARAMETER_ATTN_OUT_WEIGHT, l))
        return TV_OK;
    tv_record_push_label(p->recorder, "attention");
    TV_RETURN_IF_FAILED(tv_attention_backward_record(
        p->recorder, &(tv_attention_backward){.forward = {.batch = a->options.batch,
                                                          .tokens = a->options.tokens,
                                                          .heads = c->n_head,
                                                          .kv_heads = c->n_kv_head,
                                                          .head_size = c->head_size,
                                                          .scale = tv_model_config_score_scale(c),
                                                          .window = tv_model_config_window(c, l),
                                                          .qkv = b->qkv,
                                                          .doc_start = p->inputs->doc_start,
                                                          .output = b->attended,
                                                          .lse = b->lse},
                                              .d_output = d_attended,
                                              .d_qkv = d_qkv,
                                              .delta = a->delta}));
    tv_record_pop_label(p->recorder);
    TV_RETURN_IF_FAILED(rotate_back(p, l, d_qkv));
    TV_RETURN_IF_FAILED(norm_heads(p, l, d_qkv));
    return linear(p, TV_PARAMETER_QKV_WEIGHT, TV_PARAMETER_QKV_BIAS, l, c->channels, qkv_width, b->norm1,
                  d_qkv, a->d_narrow);
}

/* d_stream -> d_mlp_act (d_wide) -> d_mlp_in (d_wide, or in mlp_in's own place) -> d_norm2 (d_narrow). */
static tv_status mlp(const pass *p, uint32_t l) {
    const tv_model_config *c = p->config;
    const tv_activations *a = p->a;
    const tv_block_activations *b = &a->blocks[l];
    bool gated = tv_model_config_is_gated(c);
    tv_tensor d_out = a->d_stream;
    if (c->post_norms) {
        d_out = tv_activations_as(a->d_narrow, TV_F32);
        TV_RETURN_IF_FAILED(
            post_norm(p, TV_PARAMETER_POST_MLP_NORM_GAIN, l, b->mlp_out, b->rstd_mlp_out, d_out));
        if (!flows_below(p, TV_PARAMETER_POST_MLP_NORM_GAIN, l))
            return TV_OK;
    }
    TV_RETURN_IF_FAILED(linear(p, TV_PARAMETER_MLP_OUT_WEIGHT,
                               c->post_norms ? TV_PARAMETER_MLP_OUT_BIAS : NO_BIAS, l, c->ffn, c->channels,
                               b->mlp_act, d_out, a->d_wide));
    if (!flows_below(p, TV_PARAMETER_MLP_OUT_WEIGHT, l))
        return TV_OK;
    tv_record_push_label(p->recorder, "activation");
    tv_tensor d_mlp_in = gated ? b->mlp_in : a->d_wide;
    if (c->activation == TV_ACTIVATION_GEGLU_TANH)
        TV_RETURN_IF_FAILED(tv_geglu_backward(p->recorder, a->rows, c->ffn, b->mlp_in, a->d_wide));
    else if (gated)
        TV_RETURN_IF_FAILED(tv_swiglu_backward(p->recorder, a->rows, c->ffn, b->mlp_in, a->d_wide));
    else
        TV_RETURN_IF_FAILED(
            tv_gelu_backward_columns(p->recorder, a->rows, c->ffn, b->mlp_in, a->d_wide, d_mlp_in, p->sums,
                                     tv_model_gradient(p->model, TV_PARAMETER_MLP_IN_BIAS, l)));
    tv_record_pop_label(p->recorder);
    return linear(p, TV_PARAMETER_MLP_IN_WEIGHT, gated ? TV_PARAMETER_MLP_IN_BIAS : NO_BIAS, l, c->channels,
                  gated ? 2 * c->ffn : c->ffn, b->norm2, d_mlp_in, a->d_narrow);
}

/* d_stream = norm's gradient of d_narrow + what comes past the norm (`past`: d_stream itself, or absent
 * behind the last block). It is also the gradient of what the projection before the norm gave, whose bias,
 * `before` of layer `layer_before`, is added up on the way; with post_norms it is not. */
static tv_status norm(const pass *p, tv_parameter_role gain, tv_parameter_role bias, uint32_t layer,
                      tv_parameter_role before, uint32_t layer_before, tv_tensor sum, tv_tensor mean,
                      tv_tensor rstd, tv_tensor past) {
    return record_norm(p, gain, layer,
                       (tv_norm_backward){.d_output = p->a->d_narrow,
                                          .sum = sum,
                                          .mean = mean,
                                          .rstd = rstd,
                                          .d_residual = past,
                                          .d_sum = p->a->d_stream,
                                          .d_bias = tv_model_gradient(p->model, bias, layer),
                                          .d_columns = bias_gradient(
                                              p, p->config->post_norms ? NO_BIAS : before, layer_before)});
}

/* Ends where nothing before is trained. */
static tv_status block(const pass *p, uint32_t l) {
    const tv_block_activations *b = &p->a->blocks[l];
    TV_RETURN_IF_FAILED(mlp(p, l));
    if (!flows_below(p, TV_PARAMETER_MLP_IN_WEIGHT, l))
        return TV_OK;
    TV_RETURN_IF_FAILED(norm(p, TV_PARAMETER_NORM2_GAIN, TV_PARAMETER_NORM2_BIAS, l,
                             TV_PARAMETER_ATTN_OUT_BIAS, l, b->sum2, b->mean2, b->rstd2, p->a->d_stream));
    if (!flows_below(p, TV_PARAMETER_NORM2_GAIN, l))
        return TV_OK;
    TV_RETURN_IF_FAILED(attention(p, l));
    if (!flows_below(p, TV_PARAMETER_QKV_WEIGHT, l))
        return TV_OK;
    return norm(p, TV_PARAMETER_NORM1_GAIN, TV_PARAMETER_NORM1_BIAS, l,
                l > 0 ? TV_PARAMETER_MLP_OUT_BIAS : NO_BIAS, l - 1, b->sum1, b->mean1, b->rstd1,
                p->a->d_stream);
}

/* The gradients of biases and norms that wait. */
static tv_status add_sums(const pass *p) {
    tv_record_push_label(p->recorder, "column sums");
    tv_status status = tv_column_sums_add(p->recorder, p->sums);
    tv_record_pop_label(p->recorder);
    return status;
}

static tv_status tell(const pass *p, uint32_t index) {
    return p->finished ? p->finished(p->context, p->recorder, index) : TV_OK;
}

/* The first parameter of a layer. */
static uint32_t first_of(const pass *p, uint32_t l) {
    const tv_parameter_list *list = tv_model_list(p->model);
    uint32_t index = 0;
    while (list->items[index].layer != l)
        index++;
    return index;
}

/* Ends where nothing before is trained. */
static tv_status blocks(const pass *p) {
    uint32_t layers = (uint32_t)p->config->n_layer;
    for (uint32_t l = layers; l-- > 0;) {
        /* Behind the block lies the next one's first norm, or the final one. */
        if (l + 1 < layers ? !flows_below(p, TV_PARAMETER_NORM1_GAIN, l + 1)
                           : !flows_below(p, TV_PARAMETER_FINAL_NORM_GAIN, TV_NO_LAYER))
            return TV_OK;
        tv_record_push_label(p->recorder, "layer %u backward", l);
        /* The last block's activations still stand from the forward pass. */
        if (p->a->options.recompute && l + 1 < layers)
            TV_RETURN_IF_FAILED(tv_forward_block_again(p->recorder, p->model, p->a, p->inputs, l));
        TV_RETURN_IF_FAILED(block(p, l));
        TV_RETURN_IF_FAILED(add_sums(p));
        tv_record_pop_label(p->recorder);
        TV_RETURN_IF_FAILED(tell(p, first_of(p, l)));
    }
    return flows_below(p, TV_PARAMETER_NORM1_GAIN, 0) ? embed(p) : TV_OK;
}

static tv_status backward(const pass *p) {
    const tv_activations *a = p->a;
    uint32_t layers = (uint32_t)p->config->n_layer;
    if (!tv_model_flows_below_head(p->model))
        return TV_OK;
    tv_record_push_label(p->recorder, "final norm backward");
    TV_RETURN_IF_FAILED(norm(p, TV_PARAMETER_FINAL_NORM_GAIN, TV_PARAMETER_FINAL_NORM_BIAS, TV_NO_LAYER,
                             TV_PARAMETER_MLP_OUT_BIAS, layers - 1, a->sum_final, a->mean_final,
                             a->rstd_final, TV_ABSENT));
    tv_record_pop_label(p->recorder);
    TV_RETURN_IF_FAILED(blocks(p));
    return add_sums(p);
}

tv_status tv_backward_telling(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                              const tv_model_inputs *inputs, tv_gradients_finished finished, void *context) {
    tv_column_sums sums = {.scratch = activations->column_sums};
    const pass p = {recorder, model,  &tv_model_list(model)->config, activations, inputs, &sums,
                    finished, context};
    TV_RETURN_IF_FAILED(backward(&p));
    return tell(&p, 0);
}

tv_status tv_backward(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                      const tv_model_inputs *inputs) {
    return tv_backward_telling(recorder, model, activations, inputs, NULL, NULL);
}
