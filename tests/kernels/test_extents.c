/* Every launcher against every tensor that is smaller than its arguments say: refused by the kernel's name,
 * nothing recorded past a tensor's end. And spans alone: parts, parts of parts, copies.
 *
 * Tried: a tensor that a launcher binds whole, parts that are not poisoned; each fails here.
 */
#include "support/device.h"

#include <string.h>

#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/cache_copy.h"
#include "kernels/classifier.h"
#include "kernels/decode.h"
#include "kernels/embedding.h"
#include "kernels/gae.h"
#include "kernels/group.h"
#include "kernels/logprobs.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/optimizer.h"
#include "kernels/ppo.h"
#include "kernels/preference.h"
#include "kernels/reduce.h"
#include "kernels/rotary.h"
#include "kernels/sample.h"
#include "push_constants.h"
#include "vk/transfer.h"

enum { R = 6, C = 8, V = 12, T = 3, H = 2, D = 4, S = R / T, MOST = 10 };

/* A launcher, and the 32-bit words of each tensor that it is given. */
typedef struct launcher {
    const char *name; /* in the sentence */
    tv_status (*record)(tv_recorder *recorder, const tv_tensor *t);
    uint64_t words[MOST]; /* up to the first 0 */
} launcher;

static tv_status gelu(tv_recorder *r, const tv_tensor *t) {
    return tv_gelu_forward(r, R * C, t[0], t[1]);
}
static tv_status gelu_back(tv_recorder *r, const tv_tensor *t) {
    return tv_gelu_backward(r, R * C, t[0], t[1], t[1]);
}
static tv_status swiglu(tv_recorder *r, const tv_tensor *t) {
    return tv_swiglu_forward(r, R, C, t[0], t[1]);
}
static tv_status swiglu_back(tv_recorder *r, const tv_tensor *t) {
    return tv_swiglu_backward(r, R, C, t[0], t[1]);
}
static tv_status matmul(tv_recorder *r, const tv_tensor *t) {
    return tv_matmul_record(
        r, &(tv_matmul){
               .m = R, .n = V, .k = C, .transpose_b = true, .a = t[0], .b = t[1], .c = t[2], .bias = t[3]});
}
static tv_status norm(tv_recorder *r, const tv_tensor *t) {
    return tv_norm_forward_record(r, &(tv_norm_forward){.kind = TV_NORM_LAYER,
                                                        .rows = R,
                                                        .channels = C,
                                                        .input = t[0],
                                                        .residual = t[1],
                                                        .gain = t[2],
                                                        .bias = t[3],
                                                        .sum = t[4],
                                                        .output = t[5],
                                                        .mean = t[6],
                                                        .rstd = t[7]});
}
static tv_status norm_back(tv_recorder *r, const tv_tensor *t) {
    tv_column_sums sums = {.scratch = t[9]};
    return tv_norm_backward_record(r, &(tv_norm_backward){.kind = TV_NORM_LAYER,
                                                          .rows = R,
                                                          .channels = C,
                                                          .d_output = t[0],
                                                          .sum = t[1],
                                                          .gain = t[2],
                                                          .mean = t[3],
                                                          .rstd = t[4],
                                                          .d_residual = t[5],
                                                          .d_sum = t[6],
                                                          .d_gain = t[7],
                                                          .d_bias = t[8],
                                                          .sums = &sums});
}
static tv_status sum(tv_recorder *r, const tv_tensor *t) {
    return tv_reduce_sum(r, R * C, t[0], t[1], 2, false, t[2]);
}
static tv_status sum_rows(tv_recorder *r, const tv_tensor *t) {
    return tv_sum_rows(r, R, C, t[0], t[1], t[2]);
}
/* One tensor, in one pass of the update. */
static tv_status update(tv_recorder *r, const tv_update_tensor *tensor, tv_update *of,
                        tv_status (*pass)(tv_recorder *, const tv_update *)) {
    tv_update_plan *plan;
    TV_RETURN_IF_FAILED(tv_update_plan_create(tv_recorder_caps(r), tensor, 1, &plan));
    of->plan = plan;
    tv_status status = pass(r, of);
    tv_update_plan_destroy(&plan);
    return status;
}
static tv_status norm_add(tv_recorder *r, const tv_tensor *t) {
    return update(r, &(tv_update_tensor){.count = R * C, .rule = TV_UPDATE_ELSEWHERE, .gradient = t[0]},
                  &(tv_update){.partials = t[1], .table = t[2]}, tv_gradient_norm_add);
}
static tv_status norm_finish(tv_recorder *r, const tv_tensor *t) {
    return update(r, &(tv_update_tensor){.count = R * C, .rule = TV_UPDATE_ELSEWHERE},
                  &(tv_update){.partials = t[0], .step = t[1], .state = t[2]}, tv_gradient_norm_finish);
}
static tv_status adamw(tv_recorder *r, const tv_tensor *t) {
    return update(
        r, &(tv_update_tensor){.count = R * C, .parameter = t[0], .gradient = t[1], .m = t[2], .v = t[3]},
        &(tv_update){.step = t[4], .state = t[5], .table = t[6]}, tv_adamw_record);
}
static tv_status embedding(tv_recorder *r, const tv_tensor *t) {
    return tv_embedding_forward(r, &(tv_embedding){.rows = R,
                                                   .tokens_per_row = T,
                                                   .channels = C,
                                                   .vocab = V,
                                                   .max_positions = T,
                                                   .tokens = t[0],
                                                   .positions = t[1],
                                                   .token_table = t[2],
                                                   .position_table = t[3],
                                                   .output = t[4]});
}
static tv_status embedding_back(tv_recorder *r, const tv_tensor *t) {
    return tv_embedding_backward_record(r, &(tv_embedding_backward){.rows = R,
                                                                    .tokens_per_row = T,
                                                                    .channels = C,
                                                                    .vocab = V,
                                                                    .max_positions = T,
                                                                    .tokens = t[0],
                                                                    .positions = t[1],
                                                                    .d_output = t[2],
                                                                    .d_token_table = t[3],
                                                                    .d_position_table = t[4]});
}
static tv_status cross_entropy(tv_recorder *r, const tv_tensor *t) {
    return tv_cross_entropy_record(r, &(tv_cross_entropy){.rows = R,
                                                          .vocab = V,
                                                          .gradient = true,
                                                          .logits = t[0],
                                                          .targets = t[1],
                                                          .losses = t[2],
                                                          .hits = t[3],
                                                          .step = t[4]});
}
static tv_status logprobs(tv_recorder *r, const tv_tensor *t) {
    return tv_token_logprobs_record(r, &(tv_token_logprobs){.rows = R,
                                                            .vocab = V,
                                                            .inverse_temperature = 1,
                                                            .logits = t[0],
                                                            .targets = t[1],
                                                            .logprobs = t[2],
                                                            .lse = t[3],
                                                            .entropies = t[4]});
}
static tv_status token_gradient(tv_recorder *r, const tv_tensor *t) {
    return tv_token_gradient_record(r, &(tv_token_gradient){.rows = R,
                                                            .vocab = V,
                                                            .inverse_temperature = 1,
                                                            .logits = t[0],
                                                            .targets = t[1],
                                                            .lse = t[2],
                                                            .d_logprobs = t[3]});
}
static tv_status policy(tv_recorder *r, const tv_tensor *t) {
    return tv_ppo_policy_record(r, &(tv_ppo_policy){.rows = R,
                                                    .clip = 1,
                                                    .targets = t[0],
                                                    .logprobs = t[1],
                                                    .old_logprobs = t[2],
                                                    .advantages = t[3],
                                                    .entropies = t[4],
                                                    .step = t[5],
                                                    .d_logprobs = t[6],
                                                    .stats = t[7]});
}
static tv_status value(tv_recorder *r, const tv_tensor *t) {
    return tv_ppo_value_record(r, &(tv_ppo_value){.rows = R,
                                                  .targets = t[0],
                                                  .values = t[1],
                                                  .old_values = t[2],
                                                  .returns = t[3],
                                                  .step = t[4],
                                                  .d_values = t[5],
                                                  .stats = t[6]});
}
static tv_status gae(tv_recorder *r, const tv_tensor *t) {
    return tv_gae_record(r, &(tv_gae){.sequences = S,
                                      .tokens = T,
                                      .estimator = TV_KL_1,
                                      .whiten = true,
                                      .extents = t[0],
                                      .beta = t[1],
                                      .old_logprobs = t[2],
                                      .ref_logprobs = t[3],
                                      .values = t[4],
                                      .advantages = t[5],
                                      .returns = t[6],
                                      .sums = t[7],
                                      .totals = t[8],
                                      .scratch = t[9]});
}
static tv_status preference(tv_recorder *r, const tv_tensor *t) {
    return tv_preference_loss_record(r, &(tv_preference_loss){.groups = S,
                                                              .group_size = 3,
                                                              .rows = R,
                                                              .mode = TV_PREFERENCE_PAIRS,
                                                              .members = t[0],
                                                              .ranks = t[1],
                                                              .margins = t[2],
                                                              .values = t[3],
                                                              .step = t[4],
                                                              .d_values = t[5],
                                                              .stats = t[6]});
}
static tv_status dpo(tv_recorder *r, const tv_tensor *t) {
    return tv_dpo_record(r, &(tv_dpo){.pairs = S,
                                      .rows = R,
                                      .loss = {.beta = 1, .agree = 1},
                                      .table = t[0],
                                      .logprobs = t[1],
                                      .step = t[2],
                                      .d_logprobs = t[3],
                                      .stats = t[4]});
}
static tv_status group(tv_recorder *r, const tv_tensor *t) {
    return tv_group_policy_record(r, &(tv_group_policy){.rows = R,
                                                        .targets = t[0],
                                                        .logprobs = t[1],
                                                        .entropies = t[2],
                                                        .sequence_ratios = t[3],
                                                        .table = t[4],
                                                        .step = t[5],
                                                        .d_logprobs = t[6],
                                                        .stats = t[7]});
}
static tv_status group_sequence(tv_recorder *r, const tv_tensor *t) {
    return tv_group_sequence_record(r, &(tv_group_sequence){.sequences = R / T,
                                                            .tokens = T,
                                                            .targets = t[0],
                                                            .logprobs = t[1],
                                                            .table = t[2],
                                                            .sequence_ratios = t[3]});
}
static tv_status sample(tv_recorder *r, const tv_tensor *t) {
    return tv_sample_record(r, &(tv_sample){.rows = R,
                                            .vocab = V,
                                            .logits = t[0],
                                            .settings = t[1],
                                            .sequences = t[2],
                                            .positions = t[3],
                                            .tokens = t[4],
                                            .logprobs = t[5]});
}
static tv_status rotary(tv_recorder *r, const tv_tensor *t) {
    return tv_rotary_record(r, &(tv_rotary){.rows = R,
                                            .tokens_per_row = T,
                                            .heads = H,
                                            .head_size = D,
                                            .row_stride = 3 * H * D,
                                            .table = t[0],
                                            .qkv = t[1]});
}
static tv_attention attention_of(const tv_tensor *t) {
    return (tv_attention){.batch = S,
                          .tokens = T,
                          .heads = H,
                          .kv_heads = H,
                          .head_size = D,
                          .qkv = t[0],
                          .doc_start = t[1],
                          .output = t[2],
                          .lse = t[3]};
}
static tv_status attention(tv_recorder *r, const tv_tensor *t) {
    const tv_attention a = attention_of(t);
    return tv_attention_forward(r, &a);
}
static tv_status attention_back(tv_recorder *r, const tv_tensor *t) {
    return tv_attention_backward_record(
        r, &(tv_attention_backward){attention_of(t), .d_output = t[4], .d_qkv = t[5], .delta = t[6]});
}
static tv_status decode(tv_recorder *r, const tv_tensor *t) {
    return tv_attention_decode_record(r, &(tv_attention_decode){.rows = R,
                                                                .heads = H,
                                                                .kv_heads = H,
                                                                .head_size = D,
                                                                .max_tokens = T,
                                                                .qkv = t[0],
                                                                .positions = t[1],
                                                                .k_cache = t[2],
                                                                .v_cache = t[3],
                                                                .output = t[4],
                                                                .slots = t[5],
                                                                .slot_count = S});
}
static tv_status decode_prefixes(tv_recorder *r, const tv_tensor *t) {
    return tv_attention_decode_record(r, &(tv_attention_decode){.rows = R,
                                                                .heads = H,
                                                                .kv_heads = H,
                                                                .head_size = D,
                                                                .max_tokens = 2 * T,
                                                                .qkv = t[0],
                                                                .positions = t[1],
                                                                .k_cache = t[2],
                                                                .v_cache = t[3],
                                                                .output = t[4],
                                                                .prefixes = t[5],
                                                                .prefix_count = S,
                                                                .prefix_tokens = T,
                                                                .own_tokens = 3});
}
/* Its last slot, to the last element. */
static tv_status cache_copy(tv_recorder *r, const tv_tensor *t) {
    return tv_cache_copy_record(r, &(tv_cache_copy){.slots = S,
                                                    .kv_heads = H,
                                                    .max_tokens = T,
                                                    .head_size = D,
                                                    .k = t[0],
                                                    .v = t[1],
                                                    .from = S - 1,
                                                    .to = 0,
                                                    .count = T});
}
static tv_status advance(tv_recorder *r, const tv_tensor *t) {
    return tv_decode_advance_record(r, &(tv_decode_advance){.rows = R,
                                                            .max_tokens = T,
                                                            .tokens = t[0],
                                                            .drawn = t[1],
                                                            .bounds = t[2],
                                                            .ends = t[3],
                                                            .positions = t[4],
                                                            .finished = t[5],
                                                            .prompts = t[6],
                                                            .recent = t[7]});
}

enum {
    HD = H * D,
    EXTENT = sizeof(tv_gae_extent) / 4,
    PAIR = sizeof(tv_dpo_pair) / 4,
    GROUP_ROW = sizeof(tv_group_row) / 4,
    STEP = TV_STEP_WORDS,
    SEGMENT = sizeof(tv_update_segment) / 4
};

/* Scratch of sums and GAE, which holds more than one of their steps needs, is whole. */
static void every_launcher_names_its_extents(void **state) {
    tv_device *device = *state;
    const launcher launchers[] = {
        {"gelu", gelu, {R * C, R * C}},
        {"gelu", gelu_back, {R * C, R * C}},
        {"swiglu", swiglu, {2 * R * C, R * C}},
        {"swiglu", swiglu_back, {2 * R * C, R * C}},
        {"matmul", matmul, {R * C, V * C, R * V, V}},
        {"norm", norm, {R * C, R * C, C, C, R * C, R * C, R, R}},
        {"norm", norm_back, {R * C, R * C, C, R, R, R * C, R * C, C, C, R / 4 * 2 * C}},
        {"sum", sum, {R * C, 3}},
        {"sum", sum_rows, {R * C, C}},
        {"gradient_norm", norm_add, {R * C, tv_gradient_norm_partials(R * C), SEGMENT}},
        {"gradient_norm_finish", norm_finish, {64, STEP, TV_STATE_WORDS}},
        {"adamw", adamw, {R * C, R * C, R * C, R * C, STEP, TV_STATE_WORDS, 2 * SEGMENT}},
        {"embedding", embedding, {R, R, V * C, T * C, R * C}},
        {"embedding", embedding_back, {R, R, R * C, V * C, T * C}},
        {"cross_entropy", cross_entropy, {R * V, R, R, R, STEP}},
        {"token_logprobs", logprobs, {R * V, R, R, 2 * R, R}},
        {"token_gradient", token_gradient, {R * V, R, 2 * R, R}},
        {"ppo_policy", policy, {R, R, R, R, R, STEP, R, R * TV_PPO_POLICY_STATS}},
        {"ppo_value", value, {R, R, R, R, STEP, R, R * TV_PPO_VALUE_STATS}},
        {"", gae, {S * EXTENT, 1, R, R, R, R, R, S * TV_GAE_SUMS, TV_GAE_SUMS}},
        {"", preference, {S * 3, S * 3, S, R, STEP, R, S * TV_PREFERENCE_STATS}},
        {"", dpo, {S * PAIR, R, STEP, R, S * TV_DPO_STATS}},
        {"group_policy", group, {R, R, R, R, R * GROUP_ROW, STEP, R, R * TV_GROUP_STATS}},
        {"group_sequence", group_sequence, {R, R, R * GROUP_ROW, R}},
        {"sample", sample, {R * V, sizeof(tv_sample_settings) / 4, R, R, R, R}},
        {"rotary", rotary, {T * D, R * 3 * HD}},
        {"attention_forward", attention, {R * 3 * HD, R, R * HD, R * H}},
        {"attention_backward", attention_back, {R * 3 * HD, R, R * HD, R * H, R * HD, R * 3 * HD, R * H}},
        {"", decode, {R * 3 * HD, R, S * T * HD, S * T * HD, R * HD, R}},
        {"", decode_prefixes, {R * 3 * HD, R, (S * T + R * 3) * HD, (S * T + R * 3) * HD, R * HD, 2 * R}},
        {"cache_copy", cache_copy, {S * T * HD, S * T * HD}},
        {"decode_advance",
         advance,
         {R, R, 2 * R, TV_DECODE_ENDS_WORDS, R, R, R * T, R * TV_DECODE_RECENT * TV_DECODE_DRAWN_WORDS}},
    };
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, MOST << 14, TV_MEMORY_DEVICE, "extents", &buffer));
    for (size_t l = 0; l < TV_COUNT(launchers); l++) {
        const launcher *given = &launchers[l];
        tv_tensor t[MOST] = {0};
        uint32_t count = 0;
        for (; count < MOST && given->words[count]; count++)
            t[count] = (tv_tensor){
                tv_span_part(tv_buffer_span(buffer), (uint64_t)count << 14, given->words[count] * 4), TV_F32};
        tv_tensor scratch = {tv_span_part(tv_buffer_span(buffer), (MOST - 1) << 14, 1 << 14), TV_F32};
        if (given->record == sum || given->record == sum_rows || given->record == gae)
            t[count] = scratch;
        for (uint32_t small = 0; small <= count; small++) {
            tv_tensor cut[MOST];
            memcpy(cut, t, sizeof cut);
            if (small < count)
                cut[small].span = tv_span_part(t[small].span, 0, t[small].span.bytes - 4);
            tv_recorder *recorder = tv_test_begin(device);
            tv_status status = given->record(recorder, cut);
            const char *sentence = status == TV_OK ? "" : tv_last_error();
            if (status != (small < count ? TV_E_USAGE : TV_OK) ||
                (small < count && !strstr(sentence, given->name)))
                fail_msg("launcher %d (%s), tensor %d of %d: status %d, \"%s\"", (int)l, given->name,
                         (int)small, (int)count, (int)status, sentence);
            tv_recorder_abort(&recorder);
        }
    }
    tv_buffer_destroy(&buffer);
}

static void parts_beyond_their_tensor_are_poisoned(void **state) {
    tv_device *device = *state;
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, 4096, TV_MEMORY_UPLOAD, "parts", &buffer));
    tv_span half = tv_span_part(tv_buffer_span(buffer), 1024, 2048);
    assert_false(tv_span_poisoned(half));
    assert_false(tv_span_poisoned(tv_span_part(half, 2048, 0)));
    /* Each lies within the buffer, or wraps round. */
    const tv_span bad[] = {tv_span_part(half, 0, 2052), tv_span_part(half, 2052, 0),
                           tv_span_part(half, 1024, 1028), tv_span_part(half, 256, UINT64_MAX - 255),
                           tv_span_part(half, UINT64_MAX - 255, 512)};
    uint32_t word = 0;
    for (size_t i = 0; i < TV_COUNT(bad); i++) {
        assert_true(tv_span_poisoned(bad[i]));
        assert_true(tv_span_poisoned(tv_span_part(bad[i], 0, 4)));
        assert_null(tv_span_map(bad[i]));
        assert_int_equal(tv_upload(device, bad[i], &word, 4), TV_E_USAGE);
        assert_int_equal(tv_download(device, bad[i], &word, 4), TV_E_USAGE);
        assert_int_equal(tv_clear(device, bad[i]), TV_E_USAGE);
        tv_recorder *recorder = tv_test_begin(device);
        assert_int_equal(tv_record_fill(recorder, bad[i], 0), TV_E_USAGE);
        assert_int_equal(tv_record_copy(recorder, bad[i], bad[i]), TV_E_USAGE);
        tv_recorder_abort(&recorder);
    }
    tv_buffer_destroy(&buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_launcher_names_its_extents),
        cmocka_unit_test(parts_beyond_their_tensor_are_poisoned),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
