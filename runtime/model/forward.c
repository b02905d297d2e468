/* The forward pass: see forward.h. backward.c mirrors this file. */
#include "model/forward.h"

#include "kernels/activation.h"
#include "kernels/attention.h"
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
    const tv_kv_cache *cache; /* NULL: a row attends to the row's other tokens in the batch */
    bool reads;               /* the cache is all that is wanted */
} pass;

static tv_status embed(const pass *p) {
    tv_record_push_label(p->recorder, "embedding");
    tv_status status = tv_embedding_forward(
        p->recorder,
        &(tv_embedding){.rows = p->a->rows,
                        .tokens_per_row = p->a->options.tokens,
                        .channels = p->config->channels,
                        .vocab = p->config->vocab_size,
                        .max_positions = p->config->max_positions,
                        .scale = tv_model_config_embedding_scale(p->config),
                        .tokens = p->inputs->tokens,
                        .positions = p->inputs->positions,
                        .token_table = tv_model_parameter(p->model, TV_PARAMETER_EMBEDDING, TV_NO_LAYER),
                        .position_table = tv_model_parameter(p->model, TV_PARAMETER_POSITIONS, TV_NO_LAYER),
                        .output = p->a->blocks[0].sum1});
    tv_record_pop_label(p->recorder);
    return status;
}

static tv_status rotate(const pass *p, uint32_t l, tv_tensor qkv) {
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
                                  .positions = p->inputs->positions,
                                  .table = tv_model_rotary_table(p->model, l),
                                  .qkv = qkv});
    tv_record_pop_label(p->recorder);
    return status;
}

#define NO_BIAS TV_PARAMETER_ROLES

/* sum (+)= residual, output = norm(sum). */
static tv_norm_forward norm_of(const pass *p, tv_parameter_role gain, tv_parameter_role bias, uint32_t layer,
                               tv_tensor sum, tv_tensor residual, tv_tensor output, tv_tensor mean,
                               tv_tensor rstd) {
    return (tv_norm_forward){.kind = p->config->norm,
                             .rows = p->a->rows,
                             .channels = p->config->channels,
                             .eps = (float)p->config->norm_eps,
                             .gain_from_one = p->config->gain_from_one,
                             .input = sum,
                             .residual = residual,
                             .gain = tv_model_parameter(p->model, gain, layer),
                             .bias = bias == NO_BIAS ? TV_ABSENT : tv_model_parameter(p->model, bias, layer),
                             .sum = tv_tensor_present(residual) ? sum : TV_ABSENT,
                             .output = output,
                             .mean = mean,
                             .rstd = rstd};
}

static tv_status norm(const pass *p, tv_parameter_role gain, tv_norm_forward what) {
    tv_record_push_label(p->recorder, "%s", tv_parameter_operation(gain));
    tv_status status = tv_norm_forward_record(p->recorder, &what);
    tv_record_pop_label(p->recorder);
    return status;
}

/* Of the input of block l; `residual` is the stream before the MLP of the block below, absent where sum1 is
 * already whole. */
static tv_norm_forward norm1_of(const pass *p, uint32_t l, tv_tensor residual) {
    const tv_block_activations *b = &p->a->blocks[l];
    return norm_of(p, TV_PARAMETER_NORM1_GAIN, TV_PARAMETER_NORM1_BIAS, l, b->sum1, residual, b->norm1,
                   b->mean1, b->rstd1);
}

static tv_norm_forward norm2_of(const pass *p, uint32_t l) {
    const tv_block_activations *b = &p->a->blocks[l];
    return norm_of(p, TV_PARAMETER_NORM2_GAIN, TV_PARAMETER_NORM2_BIAS, l, b->sum2, b->sum1, b->norm2,
                   b->mean2, b->rstd2);
}

static tv_norm_forward final_norm_of(const pass *p) {
    const tv_activations *a = p->a;
    return norm_of(p, TV_PARAMETER_FINAL_NORM_GAIN, TV_PARAMETER_FINAL_NORM_BIAS, TV_NO_LAYER, a->sum_final,
                   a->blocks[p->config->n_layer - 1].sum2, a->final, a->mean_final, a->rstd_final);
}

/* Whether a product that goes into the stream takes the next norm along: where nothing comes between them and
 * its statistics are not asked for. */
static bool norms_behind(const pass *p, tv_parameter_role weight) {
    return p->cache && tv_tensor_present(p->cache->arrived) && !p->config->post_norms &&
           !tv_adapter_adds_to(&tv_model_list(p->model)->adapter, weight);
}

/* y (N, out) = x (N, in) W^T + b, where W is (out, in); or GELU of that. `behind`: a norm of y, where
 * norms_behind() said so; NULL: none. */
static tv_status linear(const pass *p, tv_parameter_role weight, tv_parameter_role bias, uint32_t layer,
                        uint64_t in, uint64_t out, bool gelu, tv_tensor x, tv_tensor y,
                        const tv_norm_forward *behind) {
    bool adapted = tv_adapter_adds_to(&tv_model_list(p->model)->adapter, weight);
    tv_record_push_label(p->recorder, "%s", tv_parameter_operation(weight));
    tv_status status =
        tv_matmul_record(p->recorder, &(tv_matmul){.m = p->a->rows,
                                                   .n = out,
                                                   .k = in,
                                                   .transpose_b = true,
                                                   .gelu = gelu && !adapted,
                                                   .a = x,
                                                   .b = tv_model_parameter(p->model, weight, layer),
                                                   .bias = tv_model_parameter(p->model, bias, layer),
                                                   .c = y,
                                                   .norm = behind,
                                                   .arrived = behind ? p->cache->arrived : TV_ABSENT});
    if (status == TV_OK)
        status =
            tv_adapters_forward(p->recorder, &(tv_adapted){p->model, p->a, weight, layer, in, out}, x, y);
    if (status == TV_OK && gelu && adapted)
        status = tv_gelu_forward(p->recorder, p->a->rows * out, y, y);
    tv_record_pop_label(p->recorder);
    return status;
}

/* Queries and keys, each head by itself. */
static tv_status norm_heads(const pass *p, uint32_t l) {
    const tv_model_config *c = p->config;
    const tv_block_activations *b = &p->a->blocks[l];
    if (!c->qk_norm)
        return TV_OK;
    tv_record_push_label(p->recorder, "%s", tv_parameter_operation(TV_PARAMETER_Q_NORM_GAIN));
    tv_status status = tv_head_norm_forward(
        p->recorder, &(tv_head_norm){.rows = p->a->rows,
                                     .heads = c->n_head,
                                     .kv_heads = c->n_kv_head,
                                     .head_size = c->head_size,
                                     .eps = (float)c->norm_eps,
                                     .gain_from_one = c->gain_from_one,
                                     .qkv = b->qkv,
                                     .q_gain = tv_model_parameter(p->model, TV_PARAMETER_Q_NORM_GAIN, l),
                                     .k_gain = tv_model_parameter(p->model, TV_PARAMETER_K_NORM_GAIN, l),
                                     .raw = b->qk_raw,
                                     .rstd = b->qk_rstd});
    tv_record_pop_label(p->recorder);
    return status;
}

/* Whole sequences attend to themselves; in decoding one token per row attends to the cache, which takes its k
 * and v first; without an output, nothing more. */
static tv_status attend(const pass *p, uint32_t l, tv_tensor output) {
    const tv_model_config *c = p->config;
    const tv_block_activations *b = &p->a->blocks[l];
    tv_record_push_label(p->recorder, "attention");
    tv_status status =
        p->cache ? tv_attention_decode_record(p->recorder,
                                              &(tv_attention_decode){.rows = p->a->rows,
                                                                     .heads = c->n_head,
                                                                     .kv_heads = c->n_kv_head,
                                                                     .head_size = c->head_size,
                                                                     .scale = tv_model_config_score_scale(c),
                                                                     .window = tv_model_config_window(c, l),
                                                                     .max_tokens = p->cache->max_tokens,
                                                                     .qkv = b->qkv,
                                                                     .positions = p->inputs->positions,
                                                                     .k_cache = p->cache->k[l],
                                                                     .v_cache = p->cache->v[l],
                                                                     .output = output,
                                                                     .slots = p->cache->slots,
                                                                     .slot_count = p->cache->slot_count,
                                                                     .prefixes = p->cache->prefixes,
                                                                     .prefix_count = p->cache->prefix_count,
                                                                     .prefix_tokens = p->cache->prefix_tokens,
                                                                     .own_tokens = p->cache->own_tokens,
                                                                     .scratch = p->a->scratch})
                 : tv_attention_forward(p->recorder, &(tv_attention){.batch = p->a->options.batch,
                                                                     .tokens = p->a->options.tokens,
                                                                     .heads = c->n_head,
                                                                     .kv_heads = c->n_kv_head,
                                                                     .head_size = c->head_size,
                                                                     .scale = tv_model_config_score_scale(c),
                                                                     .window = tv_model_config_window(c, l),
                                                                     .qkv = b->qkv,
                                                                     .doc_start = p->inputs->doc_start,
                                                                     .output = output,
                                                                     .lse = b->lse});
    tv_record_pop_label(p->recorder);
    return status;
}

/* norm1(sum1) -> qkv, normed and rotated. `residual` as in norm1_of(). */
static tv_status project(const pass *p, uint32_t l, tv_tensor residual) {
    const tv_model_config *c = p->config;
    const tv_block_activations *b = &p->a->blocks[l];
    uint64_t qkv_width = (c->n_head + 2 * c->n_kv_head) * c->head_size;
    if (l == 0 || !norms_behind(p, TV_PARAMETER_MLP_OUT_WEIGHT))
        TV_RETURN_IF_FAILED(norm(p, TV_PARAMETER_NORM1_GAIN, norm1_of(p, l, residual)));
    TV_RETURN_IF_FAILED(linear(p, TV_PARAMETER_QKV_WEIGHT, TV_PARAMETER_QKV_BIAS, l, c->channels, qkv_width,
                               false, b->norm1, b->qkv, NULL));
    TV_RETURN_IF_FAILED(norm_heads(p, l));
    return rotate(p, l, b->qkv);
}

/* attention -> sum2, where the residual is still to be added, with post_norms by way of a norm; -> norm2. */
static tv_status attention(const pass *p, uint32_t l) {
    const tv_model_config *c = p->config;
    const tv_block_activations *b = &p->a->blocks[l];
    const tv_norm_forward norm2 = norm2_of(p, l);
    const bool behind = norms_behind(p, TV_PARAMETER_ATTN_OUT_WEIGHT);
    TV_RETURN_IF_FAILED(attend(p, l, b->attended));
    TV_RETURN_IF_FAILED(linear(p, TV_PARAMETER_ATTN_OUT_WEIGHT, TV_PARAMETER_ATTN_OUT_BIAS, l,
                               c->n_head * c->head_size, c->channels, false, b->attended,
                               c->post_norms ? b->attn_out : b->sum2, behind ? &norm2 : NULL));
    if (c->post_norms)
        TV_RETURN_IF_FAILED(norm(p, TV_PARAMETER_POST_ATTENTION_NORM_GAIN,
                                 norm_of(p, TV_PARAMETER_POST_ATTENTION_NORM_GAIN, NO_BIAS, l, b->attn_out,
                                         TV_ABSENT, b->sum2, TV_ABSENT, b->rstd_attn_out)));
    return behind ? TV_OK : norm(p, TV_PARAMETER_NORM2_GAIN, norm2);
}

/* norm2 -> mlp_in -> non-linearity -> mlp_act. */
static tv_status mlp_hidden(const pass *p, uint32_t l) {
    const tv_model_config *c = p->config;
    const tv_block_activations *b = &p->a->blocks[l];
    bool gated = tv_model_config_is_gated(c), fused = !tv_tensor_present(b->mlp_in);
    TV_RETURN_IF_FAILED(linear(p, TV_PARAMETER_MLP_IN_WEIGHT, TV_PARAMETER_MLP_IN_BIAS, l, c->channels,
                               gated ? 2 * c->ffn : c->ffn, fused, b->norm2, fused ? b->mlp_act : b->mlp_in,
                               NULL));
    if (fused)
        return TV_OK;
    tv_record_push_label(p->recorder, "activation");
    if (c->activation == TV_ACTIVATION_GEGLU_TANH)
        TV_RETURN_IF_FAILED(tv_geglu_forward(p->recorder, p->a->rows, c->ffn, b->mlp_in, b->mlp_act));
    else if (gated)
        TV_RETURN_IF_FAILED(tv_swiglu_forward(p->recorder, p->a->rows, c->ffn, b->mlp_in, b->mlp_act));
    else
        TV_RETURN_IF_FAILED(tv_gelu_forward(p->recorder, p->a->rows * c->ffn, b->mlp_in, b->mlp_act));
    tv_record_pop_label(p->recorder);
    return TV_OK;
}

/* The stream behind block l, which is the input of the next block or of the final norm. Until the next norm
 * adds the residual, it holds the MLP's output alone. */
static tv_tensor stream_behind(const pass *p, uint32_t l) {
    return l + 1 < p->config->n_layer ? p->a->blocks[l + 1].sum1 : p->a->sum_final;
}

/* mlp_act -> output; with post_norms by way of a norm. `behind` as in linear(). */
static tv_status mlp_out(const pass *p, uint32_t l, tv_tensor output, const tv_norm_forward *behind) {
    const tv_block_activations *b = &p->a->blocks[l];
    bool post = p->config->post_norms;
    TV_RETURN_IF_FAILED(linear(p, TV_PARAMETER_MLP_OUT_WEIGHT, TV_PARAMETER_MLP_OUT_BIAS, l, p->config->ffn,
                               p->config->channels, false, b->mlp_act, post ? b->mlp_out : output, behind));
    if (!post)
        return TV_OK;
    return norm(p, TV_PARAMETER_POST_MLP_NORM_GAIN,
                norm_of(p, TV_PARAMETER_POST_MLP_NORM_GAIN, NO_BIAS, l, b->mlp_out, TV_ABSENT, output,
                        TV_ABSENT, b->rstd_mlp_out));
}

/* Up to the MLP's hidden layer; `residual` as in project(). */
static tv_status block_hidden(const pass *p, uint32_t l, tv_tensor residual) {
    TV_RETURN_IF_FAILED(project(p, l, residual));
    TV_RETURN_IF_FAILED(attention(p, l));
    return mlp_hidden(p, l);
}

static tv_status block(const pass *p, uint32_t l) {
    tv_tensor residual = l > 0 ? p->a->blocks[l - 1].sum2 : TV_ABSENT;
    /* Behind the last keys and values nothing is asked of a pass that reads. */
    if (p->reads && l + 1 == p->config->n_layer) {
        TV_RETURN_IF_FAILED(project(p, l, residual));
        return attend(p, l, TV_ABSENT);
    }
    TV_RETURN_IF_FAILED(block_hidden(p, l, residual));
    const tv_norm_forward next =
        l + 1 < p->config->n_layer ? norm1_of(p, l + 1, p->a->blocks[l].sum2) : final_norm_of(p);
    return mlp_out(p, l, stream_behind(p, l), norms_behind(p, TV_PARAMETER_MLP_OUT_WEIGHT) ? &next : NULL);
}

/* Embedding, blocks, final norm. */
static tv_status forward(const pass *p) {
    const uint64_t tokens = p->cache ? p->cache->max_tokens : p->a->options.tokens;
    if (tokens > tv_model_context(p->model))
        return tv_fail(TV_E_USAGE,
                       "a pass over %llu tokens, and the model's tables of positions are for %llu",
                       (unsigned long long)tokens, (unsigned long long)tv_model_context(p->model));
    uint32_t layers = (uint32_t)p->config->n_layer;
    TV_RETURN_IF_FAILED(embed(p));
    for (uint32_t l = 0; l < layers; l++) {
        tv_record_push_label(p->recorder, "layer %u", l);
        TV_RETURN_IF_FAILED(block(p, l));
        tv_record_pop_label(p->recorder);
    }
    if (p->reads || norms_behind(p, TV_PARAMETER_MLP_OUT_WEIGHT))
        return TV_OK;
    return norm(p, TV_PARAMETER_FINAL_NORM_GAIN, final_norm_of(p));
}

tv_status tv_forward(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                     const tv_model_inputs *inputs) {
    return forward(&(pass){recorder, model, &tv_model_list(model)->config, activations, inputs, NULL, false});
}

tv_status tv_forward_cached(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                            const tv_model_inputs *inputs, const tv_kv_cache *cache) {
    return forward(
        &(pass){recorder, model, &tv_model_list(model)->config, activations, inputs, cache, false});
}

tv_status tv_forward_read(tv_recorder *recorder, const tv_model *model, const tv_activations *activations,
                          const tv_model_inputs *inputs, const tv_kv_cache *cache) {
    return forward(&(pass){recorder, model, &tv_model_list(model)->config, activations, inputs, cache, true});
}

tv_status tv_forward_block_again(tv_recorder *recorder, const tv_model *model,
                                 const tv_activations *activations, const tv_model_inputs *inputs,
                                 uint32_t layer) {
    const pass p = {recorder, model, &tv_model_list(model)->config, activations, inputs, NULL, false};
    TV_RETURN_IF_FAILED(block_hidden(&p, layer, TV_ABSENT));
    /* The norm behind the MLP is asked for its input and statistics; what it gives, for nothing. */
    return p.config->post_norms ? mlp_out(&p, layer, activations->d_narrow, NULL) : TV_OK;
}
