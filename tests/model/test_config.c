/* model/config: config.json of both families as older and newer transformers write it, trivium's own strict
 * form, impossible values, and what is written back. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "model/config.h"

static const char *const gpt2_file =
    "{\"activation_function\": \"gelu_new\", \"architectures\": [\"GPT2LMHeadModel\"], \"attn_pdrop\": 0.1,"
    " \"bos_token_id\": 50256, \"embd_pdrop\": 0.1, \"eos_token_id\": 50256, \"initializer_range\": 0.02,"
    " \"layer_norm_epsilon\": 1e-05, \"model_type\": \"gpt2\", \"n_ctx\": 1024, \"n_embd\": 768,"
    " \"n_head\": 12, \"n_layer\": 12, \"n_positions\": 1024, \"resid_pdrop\": 0.1,"
    " \"summary_activation\": null, \"summary_first_dropout\": 0.1, \"summary_proj_to_labels\": true,"
    " \"summary_type\": \"cls_index\", \"summary_use_proj\": true,"
    " \"task_specific_params\": {\"text-generation\": {\"do_sample\": true}}, \"vocab_size\": 50257}";

static const char *const llama_older =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"attention_bias\": false,"
    " \"bos_token_id\": 1, \"eos_token_id\": [2, 5, 7], \"hidden_act\": \"silu\", \"hidden_size\": 64,"
    " \"intermediate_size\": 172, \"max_position_embeddings\": 256, \"mlp_bias\": false,"
    " \"num_attention_heads\": 8, \"num_hidden_layers\": 5, \"num_key_value_heads\": 4, \"pad_token_id\": -1,"
    " \"rms_norm_eps\": 1e-05, \"rope_scaling\": null, \"rope_theta\": 500000.0,"
    " \"tie_word_embeddings\": true, \"torch_dtype\": \"bfloat16\", \"vocab_size\": 512}";

static const char *const llama_newer =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"dtype\": \"bfloat16\","
    " \"attention_bias\": true, \"mlp_bias\": true, \"head_dim\": 10, \"hidden_size\": 64,"
    " \"intermediate_size\": 172, \"num_attention_heads\": 8, \"num_hidden_layers\": 5,"
    " \"rope_parameters\": {\"rope_theta\": 250000.0, \"rope_type\": \"default\"}, \"vocab_size\": 512,"
    " \"some_new_key\": {}}";

/* As Trainer of transformers 4.5x writes it: id2label and label2id, never num_labels. */
static const char *const gpt2_score =
    "{\"activation_function\": \"gelu_new\", \"architectures\": [\"GPT2ForSequenceClassification\"],"
    " \"attn_pdrop\": 0.1, \"bos_token_id\": 95, \"embd_pdrop\": 0.1, \"eos_token_id\": 95,"
    " \"id2label\": {\"0\": \"LABEL_0\"}, \"initializer_range\": 0.02, \"label2id\": {\"LABEL_0\": 0},"
    " \"layer_norm_epsilon\": 1e-05, \"model_type\": \"gpt2\", \"n_embd\": 8, \"n_head\": 2, \"n_inner\": "
    "null,"
    " \"n_layer\": 1, \"n_positions\": 64, \"pad_token_id\": 96, \"problem_type\": null, \"resid_pdrop\": "
    "0.1,"
    " \"torch_dtype\": \"float32\", \"transformers_version\": \"4.52.4\", \"use_cache\": true,"
    " \"vocab_size\": 100}";

/* The published form of a Llama that gives one number, with a label of its own name. */
static const char *const llama_score =
    "{\"architectures\": [\"LlamaForSequenceClassification\"], \"model_type\": \"llama\", \"hidden_size\": "
    "64,"
    " \"id2label\": {\"0\": \"reward\"}, \"label2id\": {\"reward\": 0}, \"num_labels\": 1,"
    " \"intermediate_size\": 172, \"num_attention_heads\": 8, \"num_hidden_layers\": 5,"
    " \"num_key_value_heads\": 4, \"pad_token_id\": 3, \"tie_word_embeddings\": false, \"vocab_size\": 512}";

static tv_status read_text(const char *text, bool strict, tv_model_config *config) {
    cJSON *root = NULL;
    assert_ok(tv_json_parse(text, strlen(text), "test", &root));
    tv_status status = tv_model_config_read(root, "config.json", strict, config);
    cJSON_Delete(root);
    return status;
}

static void gpt2_as_published(void **state) {
    (void)state;
    tv_model_config c;
    assert_ok(read_text(gpt2_file, true, &c));
    assert_int_equal(c.architecture, TV_ARCH_GPT2);
    assert_int_equal(c.norm, TV_NORM_LAYER);
    assert_int_equal(c.positions, TV_POSITIONS_LEARNED);
    assert_int_equal(c.activation, TV_ACTIVATION_GELU_TANH);
    assert_true(c.attention_bias && c.attention_out_bias && c.mlp_bias && c.tied);
    assert_int_equal(c.vocab_size, 50257);
    assert_int_equal(c.n_layer, 12);
    assert_int_equal(c.n_head, 12);
    assert_int_equal(c.n_kv_head, 12);
    assert_int_equal(c.channels, 768);
    assert_int_equal(c.head_size, 64);
    assert_int_equal(c.ffn, 3072);
    assert_int_equal(c.max_positions, 1024);
    assert_near(c.norm_eps, 1e-5, 0);
    assert_near(c.initializer_range, 0.02, 0);
    assert_int_equal(c.eos_token_id, 50256);
    assert_int_equal(c.bos_token_id, 50256);
    assert_int_equal(c.pad_token_id, -1);
    assert_int_equal(c.more_eos_token_ids[0], -1);
}

static void llama_of_both_generations(void **state) {
    (void)state;
    tv_model_config c;
    assert_ok(read_text(llama_older, false, &c));
    assert_int_equal(c.architecture, TV_ARCH_LLAMA);
    assert_int_equal(c.norm, TV_NORM_RMS);
    assert_int_equal(c.positions, TV_POSITIONS_ROTARY);
    assert_int_equal(c.activation, TV_ACTIVATION_SWIGLU);
    assert_true(!c.attention_bias && !c.mlp_bias && c.tied);
    assert_int_equal(c.n_kv_head, 4);
    assert_int_equal(c.head_size, 8);
    assert_int_equal(c.ffn, 172);
    assert_int_equal(c.max_positions, 256);
    assert_near(c.rotary.theta, 500000, 0);
    assert_near(c.norm_eps, 1e-5, 0);
    assert_int_equal(c.eos_token_id, 2);
    assert_int_equal(c.more_eos_token_ids[0], 5);
    assert_int_equal(c.more_eos_token_ids[1], 7);
    assert_int_equal(c.more_eos_token_ids[2], -1);
    assert_int_equal(c.pad_token_id, -1);

    assert_ok(read_text(llama_newer, false, &c));
    assert_true(c.attention_bias && c.attention_out_bias && c.mlp_bias && !c.tied);
    assert_int_equal(c.n_kv_head, 8);
    assert_int_equal(c.head_size, 10);
    assert_int_equal(c.max_positions, 2048);
    assert_near(c.rotary.theta, 250000, 0);
    assert_near(c.norm_eps, 1e-6, 0);
    assert_int_equal(c.eos_token_id, -1);
}

/* Qwen2.5-0.5B as published: biases on q, k, v alone, and a window that is not used. */
static const char *const qwen2_file =
    "{\"architectures\": [\"Qwen2ForCausalLM\"], \"attention_dropout\": 0.0, \"bos_token_id\": 151643,"
    " \"eos_token_id\": 151643, \"hidden_act\": \"silu\", \"hidden_size\": 896, \"initializer_range\": 0.02,"
    " \"intermediate_size\": 4864, \"max_position_embeddings\": 32768, \"max_window_layers\": 24,"
    " \"model_type\": \"qwen2\", \"num_attention_heads\": 14, \"num_hidden_layers\": 24,"
    " \"num_key_value_heads\": 2, \"rms_norm_eps\": 1e-06, \"rope_theta\": 1000000.0,"
    " \"sliding_window\": 32768, \"tie_word_embeddings\": true, \"torch_dtype\": \"bfloat16\","
    " \"transformers_version\": \"4.40.1\", \"use_cache\": true, \"use_mrope\": false,"
    " \"use_sliding_window\": false, \"vocab_size\": 151936}";

static void qwen2_as_published(void **state) {
    (void)state;
    tv_model_config c;
    assert_ok(read_text(qwen2_file, false, &c));
    assert_int_equal(c.architecture, TV_ARCH_QWEN2);
    assert_true(c.attention_bias && !c.attention_out_bias && !c.mlp_bias && c.tied && c.window == 0);
    assert_true(c.head_size == 64 && c.n_kv_head == 2 && !c.qk_norm);
    assert_near(c.rotary.theta, 1e6, 0);
    assert_near(tv_model_config_score_scale(&c), 0.125, 0);
    tv_model_config out = c;
    assert_ok(tv_model_config_check_published(&out));
    out.attention_out_bias = true;
    assert_int_equal(tv_model_config_check_published(&out), TV_E_CONFIG);
}

/* Mistral-7B-v0.1, Qwen3-0.6B and gemma-3-1b as published, but for layers. */
static const char *const mistral_file =
    "{\"architectures\": [\"MistralForCausalLM\"], \"bos_token_id\": 1, \"eos_token_id\": 2, \"hidden_act\": "
    "\"silu\", \"hidden_size\": 4096, \"initializer_range\": 0.02, \"intermediate_size\": 14336,"
    " \"max_position_embeddings\": 32768, \"model_type\": \"mistral\", \"num_attention_heads\": 32,"
    " \"num_hidden_layers\": 3, \"num_key_value_heads\": 8, \"rms_norm_eps\": 1e-05, \"rope_theta\": 10000.0,"
    " \"sliding_window\": 4096, \"tie_word_embeddings\": false, \"torch_dtype\": \"bfloat16\","
    " \"transformers_version\": \"4.34.0.dev0\", \"use_cache\": true, \"vocab_size\": 32000}";
static const char *const qwen3_file =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    " \"bos_token_id\": 151643, \"eos_token_id\": 151645, \"head_dim\": 128, \"hidden_act\": \"silu\","
    " \"hidden_size\": 1024, \"initializer_range\": 0.02, \"intermediate_size\": 3072,"
    " \"max_position_embeddings\": 40960, \"max_window_layers\": 3, \"model_type\": \"qwen3\","
    " \"num_attention_heads\": 16, \"num_hidden_layers\": 3, \"num_key_value_heads\": 8, \"rms_norm_eps\": "
    "1e-06,"
    " \"rope_scaling\": null, \"rope_theta\": 1000000, \"sliding_window\": null, \"tie_word_embeddings\": "
    "true,"
    " \"torch_dtype\": \"bfloat16\", \"use_cache\": true, \"use_sliding_window\": false, \"vocab_size\": "
    "151936}";
static const char *const gemma3_file =
    "{\"architectures\": [\"Gemma3ForCausalLM\"], \"attention_bias\": false, \"attention_dropout\": 0.0,"
    " \"attn_logit_softcapping\": null, \"bos_token_id\": 2, \"cache_implementation\": \"hybrid\","
    " \"eos_token_id\": [1, 106], \"final_logit_softcapping\": null, \"head_dim\": 256,"
    " \"hidden_activation\": \"gelu_pytorch_tanh\", \"hidden_size\": 1152, \"initializer_range\": 0.02,"
    " \"intermediate_size\": 6912, \"max_position_embeddings\": 32768, \"model_type\": \"gemma3_text\","
    " \"num_attention_heads\": 4, \"num_hidden_layers\": 14, \"num_key_value_heads\": 1, \"pad_token_id\": 0,"
    " \"query_pre_attn_scalar\": 256, \"rms_norm_eps\": 1e-06, \"rope_local_base_freq\": 10000,"
    " \"rope_scaling\": null, \"rope_theta\": 1000000, \"sliding_window\": 512, \"sliding_window_pattern\": "
    "6,"
    " \"torch_dtype\": \"bfloat16\", \"use_cache\": true, \"vocab_size\": 262144}";

/* As transformers 5 writes them: positions for each type of layer, a list of the layers. */
static const char *const gemma3_newer =
    "{\"architectures\": [\"Gemma3TextForSequenceClassification\"], \"_sliding_window_pattern\": 6,"
    " \"head_dim\": 8, \"hidden_size\": 16, \"id2label\": {\"0\": \"LABEL_0\"}, \"intermediate_size\": 20,"
    " \"layer_types\": [\"full_attention\", \"sliding_attention\", \"sliding_attention\"],"
    " \"model_type\": \"gemma3_text\", \"num_attention_heads\": 2, \"num_hidden_layers\": 3,"
    " \"num_key_value_heads\": 1, \"query_pre_attn_scalar\": 13, \"rope_parameters\": {\"full_attention\":"
    " {\"factor\": 8.0, \"rope_theta\": 1000000.0, \"rope_type\": \"linear\"}, \"sliding_attention\":"
    " {\"rope_theta\": 20000.0, \"rope_type\": \"default\"}}, \"sliding_window\": 5, \"vocab_size\": 100}";

static const char *const qwen3_window =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"attention_bias\": true, \"head_dim\": 8, \"hidden_size\": "
    "16,"
    " \"intermediate_size\": 20, \"max_window_layers\": 1, \"num_attention_heads\": 2, "
    "\"num_hidden_layers\": 3,"
    " \"num_key_value_heads\": 1, \"sliding_window\": 7, \"use_sliding_window\": true, \"vocab_size\": 100}";

/* Which layers are local, as bits. */
static uint64_t local_layers(const tv_model_config *c) {
    uint64_t bits = 0;
    for (uint64_t l = 0; l < c->n_layer; l++)
        bits |= (uint64_t)tv_model_config_is_local(c, l) << l;
    return bits;
}

static void families_as_published(void **state) {
    (void)state;
    tv_model_config c;
    assert_ok(read_text(mistral_file, true, &c));
    assert_int_equal(c.architecture, TV_ARCH_MISTRAL);
    assert_true(c.window == 4096 && local_layers(&c) == 7 && c.head_size == 128);
    assert_false(tv_model_config_has_local_rotary(&c));

    assert_ok(read_text(qwen3_file, true, &c));
    assert_int_equal(c.architecture, TV_ARCH_QWEN3);
    assert_true(c.qk_norm && !c.attention_bias && c.tied && c.window == 0 && local_layers(&c) == 0);
    assert_true(c.head_size == 128 && c.rotary.theta >= 1e6);

    assert_ok(read_text(gemma3_file, false, &c));
    assert_int_equal(c.architecture, TV_ARCH_GEMMA3);
    assert_true(c.qk_norm && c.post_norms && c.gain_from_one && c.scaled_embedding && c.tied);
    assert_int_equal(c.activation, TV_ACTIVATION_GEGLU_TANH);
    assert_true(c.window == 512 && local_layers(&c) == 0x37DF); /* all but the 6th and the 12th */
    assert_true(tv_model_config_has_local_rotary(&c));
    assert_near(c.rotary.theta, 1e6, 0);
    assert_near(c.rotary_local.theta, 1e4, 0);
    assert_near(tv_model_config_score_scale(&c), 1.0 / 16, 0);
    assert_near(tv_model_config_embedding_scale(&c), (double)(float)sqrt(1152), 0);
    assert_int_equal(c.more_eos_token_ids[0], 106);

    assert_ok(read_text(gemma3_newer, true, &c));
    assert_int_equal(c.head, TV_MODEL_HEAD_SCORE);
    assert_true(c.window == 5 && local_layers(&c) == 6 && c.max_positions == 131072);
    assert_int_equal(c.rotary.kind, TV_ROTARY_LINEAR);
    assert_int_equal(c.rotary_local.kind, TV_ROTARY_PLAIN);
    assert_near(c.rotary_local.theta, 20000, 0);
    assert_near(tv_model_config_score_scale(&c), 1 / sqrt(13), 1e-8);

    assert_ok(read_text(qwen3_window, true, &c));
    assert_true(c.window == 7 && local_layers(&c) == 6 && c.attention_bias && c.attention_out_bias);
}

#define LLAMA_WITH(more)                                                                                     \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 100, \"num_hidden_layers\": 1, "            \
    "\"num_attention_heads\": 4, \"hidden_size\": 16, \"intermediate_size\": 20, "                           \
    "\"max_position_embeddings\": 64, " more "}"

/* Scaled positions in both spellings. */
static const char *const scaled_files[] = {
    LLAMA_WITH("\"rope_theta\": 500000.0, \"rope_scaling\": {\"factor\": 32.0, \"high_freq_factor\": 4.0, "
               "\"low_freq_factor\": 1.0, \"original_max_position_embeddings\": 8192, \"rope_type\": "
               "\"llama3\"}"),
    LLAMA_WITH("\"rope_parameters\": {\"rope_theta\": 500000.0, \"factor\": 32.0, \"high_freq_factor\": 4.0, "
               "\"low_freq_factor\": 1.0, \"original_max_position_embeddings\": 8192, \"rope_type\": "
               "\"llama3\"}"),
    LLAMA_WITH("\"rope_scaling\": {\"factor\": 4.0, \"type\": \"yarn\"}"),
    LLAMA_WITH("\"rope_scaling\": {\"factor\": 4.0, \"type\": \"yarn\", \"mscale\": 0.5, "
               "\"mscale_all_dim\": 2, \"truncate\": false, \"beta_slow\": 2}"),
    LLAMA_WITH("\"rope_scaling\": {\"factor\": 2.5, \"type\": \"linear\"}"),
};

static void scaled_positions(void **state) {
    (void)state;
    tv_model_config c;
    for (int i = 0; i < 2; i++) {
        assert_ok(read_text(scaled_files[i], true, &c));
        assert_int_equal(c.rotary.kind, TV_ROTARY_LLAMA3);
        assert_near(c.rotary.theta, 500000, 0);
        assert_near(c.rotary.factor, 32, 0);
        assert_near(c.rotary.low_factor, 1, 0);
        assert_near(c.rotary.high_factor, 4, 0);
        assert_near(c.rotary.original_positions, 8192, 0);
    }
    assert_ok(read_text(scaled_files[2], true, &c));
    assert_int_equal(c.rotary.kind, TV_ROTARY_YARN);
    assert_near(c.rotary.original_positions, 64, 0);
    assert_near(c.rotary.fast_rotations, 32, 0);
    assert_near(c.rotary.slow_rotations, 1, 0);
    assert_near(c.rotary.attention_factor, 1.138629436111989, 1e-15);
    assert_false(c.rotary.exact_range);
    assert_ok(read_text(scaled_files[3], true, &c));
    assert_near(c.rotary.attention_factor, 1.0693147180559945 / 1.277258872223978, 1e-15);
    assert_true(c.rotary.exact_range);
    assert_ok(read_text(scaled_files[4], true, &c));
    assert_int_equal(c.rotary.kind, TV_ROTARY_LINEAR);
    assert_near(c.rotary.factor, 2.5, 0);
    assert_near(c.rotary.theta, 10000, 0);
}

/* A reward model is a classifier of one label, in the file of either family. */
static void score_heads_are_classifiers_of_one_label(void **state) {
    (void)state;
    tv_model_config c;
    assert_ok(read_text(gpt2_score, true, &c));
    assert_int_equal(c.architecture, TV_ARCH_GPT2);
    assert_int_equal(c.head, TV_MODEL_HEAD_SCORE);
    assert_int_equal(c.pad_token_id, 96);
    assert_string_equal(tv_model_config_architecture(&c), "GPT2ForSequenceClassification");
    assert_ok(read_text(llama_score, true, &c));
    assert_int_equal(c.architecture, TV_ARCH_LLAMA);
    assert_int_equal(c.head, TV_MODEL_HEAD_SCORE);
    assert_string_equal(tv_model_config_architecture(&c), "LlamaForSequenceClassification");
    /* Either key alone says it; a language model's labels say nothing. */
    assert_ok(read_text("{\"architectures\": [\"GPT2ForSequenceClassification\"], \"vocab_size\": 100, "
                        "\"n_layer\": 1, \"n_head\": 2, \"n_embd\": 8, \"num_labels\": 1}",
                        true, &c));
    assert_int_equal(c.head, TV_MODEL_HEAD_SCORE);
    assert_ok(read_text("{\"architectures\": [\"GPT2LMHeadModel\"], \"vocab_size\": 100, \"n_layer\": 1, "
                        "\"n_head\": 2, \"n_embd\": 8, \"id2label\": {\"0\": \"a\", \"1\": \"b\"}, "
                        "\"num_labels\": 2}",
                        true, &c));
    assert_int_equal(c.head, TV_MODEL_HEAD_LANGUAGE);
    assert_ok(read_text("{\"architectures\": [\"LlamaModel\"], \"vocab_size\": 100, \"hidden_size\": 8, "
                        "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"intermediate_size\": 9}",
                        true, &c));
    assert_int_equal(c.head, TV_MODEL_HEAD_LANGUAGE);
}

/* trivium's "model" object may hold the architecture and the sizes alone. */
static void sizes_alone_are_enough(void **state) {
    (void)state;
    tv_model_config c;
    assert_ok(read_text("{\"model_type\": \"gpt2\", \"vocab_size\": 100, \"n_layer\": 1, \"n_head\": 2, "
                        "\"hidden_size\": 8}",
                        true, &c));
    assert_int_equal(c.channels, 8);
    assert_int_equal(c.ffn, 32);
    assert_int_equal(c.max_positions, 1024);
    assert_ok(read_text("{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 100, "
                        "\"num_hidden_layers\": 1, \"num_attention_heads\": 2, \"hidden_size\": 8, "
                        "\"intermediate_size\": 20}",
                        true, &c));
    assert_int_equal(c.n_kv_head, 2);
    assert_false(c.tied);
}

/* transformers writes its default id beside any vocabulary; trivium's own files are held to it. */
static void token_ids_outside_the_vocabulary(void **state) {
    (void)state;
    const char *text = "{\"model_type\": \"gpt2\", \"vocab_size\": 100, \"n_layer\": 1, \"n_head\": 2, "
                       "\"n_embd\": 8, \"eos_token_id\": 50256}";
    tv_model_config c;
    assert_ok(read_text(text, false, &c));
    assert_int_equal(c.eos_token_id, -1);
    assert_int_equal(read_text(text, true, &c), TV_E_CONFIG);
}

#define SINCE_LLAMA(name)                                                                                    \
    "{\"architectures\": [\"" name "\"], \"vocab_size\": 100, \"num_hidden_layers\": 1, "                    \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"hidden_size\": 16, \"intermediate_size\": "   \
    "20}"

/* Each case sets one key of a good model; the sentence must hold the words. */
static void impossible_values_are_refused(void **state) {
    (void)state;
    static const struct {
        /* "g" GPT-2, "s" GPT-2 with a score head, "l" Llama, "m" Mistral, "q" Qwen2, "e" Gemma 3, else the
         * whole text */
        const char *base;
        const char *key, *value, *words;
    } cases[] = {
        {"g", "n_head", "3", "\"n_head\" 3 does not divide \"n_embd\" 8"},
        {"g", "n_embd", "0", "\"n_embd\""},
        {"g", "n_embd", "-4", "\"n_embd\""},
        {"g", "n_embd", "8.5", "\"n_embd\""},
        {"g", "n_embd", "\"8\"", "\"n_embd\""},
        {"g", "n_embd", "1e300", "\"n_embd\""},
        {"g", "n_layer", "9007199254740993", "\"n_layer\""},
        {"g", "n_layer", "null", "\"n_layer\""},
        {"g", "vocab_size", "4294967296", "\"vocab_size\""},
        {"g", "n_inner", "0", "\"n_inner\""},
        {"g", "hidden_size", "16", "another name"},
        {"g", "model_type", "\"llama\"", "\"model_type\" says llama"},
        {"g", "architectures", "[\"MambaForCausalLM\"]", "found MambaForCausalLM"},
        {"g", "architectures", "[]", "\"architectures\""},
        {"g", "architectures", "\"GPT2LMHeadModel\"", "\"architectures\""},
        {"g", "architectures", "[7]", "\"architectures\""},
        {"g", "activation_function", "\"relu\"", "\"relu\""},
        {"g", "scale_attn_weights", "false", "\"scale_attn_weights\""},
        {"g", "scale_attn_by_inverse_layer_idx", "true", "\"scale_attn_by_inverse_layer_idx\""},
        {"g", "layer_norm_epsilon", "0", "\"layer_norm_epsilon\""},
        {"g", "layer_norm_epsilon", "1e999", "\"layer_norm_epsilon\""},
        {"g", "initializer_range", "-1", "\"initializer_range\""},
        {"g", "tie_word_embeddings", "1", "\"tie_word_embeddings\""},
        {"g", "bos_token_id", "-2", "\"bos_token_id\""},
        {"g", "eos_token_id", "[1, -1]", "\"eos_token_id\""},
        {"g", "eos_token_id", "[1, 1.5]", "\"eos_token_id\""},
        {"g", "eos_token_id", "[1,2,3,4,5,6,7,8,9]", "\"eos_token_id\""},
        {"g", "quantization_config", "{\"bits\": 4}", "\"quantization_config\""},
        {"l", "num_attention_heads", "6", "does not divide"},
        {"l", "num_key_value_heads", "3", "\"num_key_value_heads\" 3"},
        {"l", "num_key_value_heads", "8", "\"num_key_value_heads\" 8"},
        {"l", "head_dim", "5", "odd"},
        {"l", "head_dim", "65537", "\"head_dim\""},
        {"l", "intermediate_size", "null", "\"intermediate_size\""},
        {"l", "hidden_act", "\"gelu\"", "\"hidden_act\""},
        {"l", "rope_theta", "0", "\"rope_theta\""},
        {"l", "rope_scaling", "{\"type\": \"linear\"}",
         "rope_scaling: expected \"factor\" for the rope type \"linear\", found none"},
        {"l", "rope_scaling", "{\"type\": \"linear\", \"factor\": 0}", "\"factor\" above 0"},
        {"l", "rope_scaling", "{\"rope_type\": \"dynamic\", \"factor\": 2}", "found \"dynamic\""},
        {"l", "rope_scaling", "{\"rope_type\": \"longrope\", \"factor\": 2}", "found \"longrope\""},
        {"l", "rope_scaling", "{\"type\": \"su\"}", "found \"su\""},
        {"l", "rope_scaling", "{\"rope_type\": \"llama3\", \"factor\": 2}", "\"low_freq_factor\""},
        {"l", "rope_scaling",
         "{\"rope_type\": \"llama3\", \"factor\": 2, \"low_freq_factor\": 4, \"high_freq_factor\": 4}",
         "\"high_freq_factor\" above \"low_freq_factor\""},
        {"l", "rope_scaling", "{\"rope_type\": \"yarn\"}", "\"factor\""},
        {"l", "rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2, \"beta_fast\": -1}", "\"beta_fast\""},
        {"l", "rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 2, \"attention_factor\": 1e999}",
         "\"attention_factor\""},
        {"l", "rope_scaling", "{\"rope_type\": \"default\", \"type\": \"mrope\"}", "\"type\" says \"mrope\""},
        {"l", "rope_scaling", "{\"factor\": 8}", "found a \"factor\" without a \"rope_type\""},
        {"l", "rope_scaling", "2", "\"rope_scaling\""},
        {"l", "rope_parameters", "{\"full_attention\": {}}", "for each type of layer"},
        {"l", "partial_rotary_factor", "0.5", "\"partial_rotary_factor\": 0.5 is not supported, only 1"},
        {"l", "attn_logit_softcapping", "50.0", "\"attn_logit_softcapping\": 50 is not supported, only null"},
        {"l", "num_local_experts", "8", "\"num_local_experts\": 8 is not supported"},
        {"l", "rope_parameters", "{\"partial_rotary_factor\": 0.5}", "\"partial_rotary_factor\""},
        {"s", "num_labels", "3", "\"num_labels\" of 3 is a classifier"},
        {"s", "num_labels", "0", "\"num_labels\" of 0 is a classifier"},
        {"s", "num_labels", "1.5", "\"num_labels\""},
        {"s", "num_labels", "\"1\"", "\"num_labels\""},
        {"s", "num_labels", "-1", "\"num_labels\""},
        {"s", "num_labels", "null", "found neither, which means two labels"},
        {"s", "id2label", "{\"0\": \"good\", \"1\": \"bad\"}", "\"id2label\" of 2 is a classifier"},
        {"s", "id2label", "{}", "\"id2label\" of 0 is a classifier"},
        {"s", "id2label", "[\"LABEL_0\"]", "\"id2label\""},
        {"s", "id2label", "1", "\"id2label\""},
        {"s", "model_type", "\"llama\"", "\"model_type\" says llama"},
        {"s", "architectures", "[\"GPT2ForTokenClassification\"]", "found GPT2ForTokenClassification"},
        {"s", "architectures", "[\"LlamaForSequenceClassification\"]", "\"num_hidden_layers\""},
        {"m", "sliding_window", "0", "\"sliding_window\""},
        {"m", "sliding_window", "\"4096\"", "\"sliding_window\""},
        {"m", "layer_types", "[\"full_attention\"]", "expected \"sliding_attention\" alone with"},
        {"q", "layer_types", "[\"sliding_attention\"]",
         "but \"sliding_window\" with \"use_sliding_window\" gives no window"},
        {"q", "layer_types", "[\"full_attention\", \"full_attention\"]", "a list of 1 texts"},
        {"q", "layer_types", "[\"chunked_attention\"]", "found chunked_attention"},
        {"q", "layer_types", "[3]", "for each layer in \"layer_types\""},
        {"q", "layer_types", "7", "\"layer_types\""},
        {"q", "use_sliding_window", "1", "\"use_sliding_window\""},
        {"q", "num_key_value_heads", "null", "\"num_key_value_heads\" 32"},
        {"e", "final_logit_softcapping", "30.0",
         "\"final_logit_softcapping\": 30 is not supported, only null"},
        {"e", "use_bidirectional_attention", "true",
         "\"use_bidirectional_attention\": true is not supported"},
        {"e", "hidden_activation", "\"gelu\"", "\"hidden_activation\""},
        {"e", "query_pre_attn_scalar", "-4", "\"query_pre_attn_scalar\""},
        {"e", "sliding_window_pattern", "0", "\"sliding_window_pattern\""},
        {"e", "sliding_window", "null", "\"sliding_window\" is null"},
        {"e", "rope_local_base_freq", "0.5", "\"rope_local_base_freq\""},
        {"e", "rope_parameters", "{\"full_attention\": {\"rope_type\": \"dynamic\"}}",
         "rope_parameters: full_attention: expected the rope type"},
        {"e", "rope_parameters", "{\"sliding_attention\": 3}", "sliding_attention: expected an object"},
        {"[1]", NULL, NULL, "an object"},
        {"{}", NULL, NULL, "\"architectures\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *text = cases[i].base;
        if (text[0] == 'g')
            text = "{\"architectures\": [\"GPT2LMHeadModel\"], \"vocab_size\": 100, \"n_layer\": 1, "
                   "\"n_head\": 2, \"n_embd\": 8}";
        else if (text[0] == 's')
            text = "{\"architectures\": [\"GPT2ForSequenceClassification\"], \"vocab_size\": 100, "
                   "\"n_layer\": 1, \"n_head\": 2, \"n_embd\": 8, \"num_labels\": 1}";
        else if (text[0] == 'l')
            text = "{\"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": 100, "
                   "\"num_hidden_layers\": 1, \"num_attention_heads\": 4, \"hidden_size\": 16, "
                   "\"intermediate_size\": 20}";
        else if (text[0] == 'm')
            text = SINCE_LLAMA("MistralForCausalLM");
        else if (text[0] == 'q')
            text = SINCE_LLAMA("Qwen2ForCausalLM");
        else if (text[0] == 'e')
            text = SINCE_LLAMA("Gemma3ForCausalLM");
        cJSON *root = NULL;
        assert_ok(tv_json_parse(text, strlen(text), "test", &root));
        tv_model_config c;
        if (cases[i].key) {
            assert_ok(tv_model_config_read(root, "config.json", true, &c));
            cJSON *value = NULL;
            assert_ok(tv_json_parse(cases[i].value, strlen(cases[i].value), "value", &value));
            cJSON_DeleteItemFromObjectCaseSensitive(root, cases[i].key);
            assert_true(cJSON_AddItemToObject(root, cases[i].key, value));
        }
        tv_status status = tv_model_config_read(root, "config.json", false, &c);
        if (status != TV_E_CONFIG || !strstr(tv_last_error(), cases[i].words) ||
            !strstr(tv_last_error(), "config.json"))
            fail_msg("case %zu (%s): status %d, sentence \"%s\"", i, cases[i].words, status, tv_last_error());
        cJSON_Delete(root);
    }
}

static void unknown_keys_are_named_where_strict(void **state) {
    (void)state;
    const char *text = "{\"model_type\": \"gpt2\", \"vocab_size\": 100, \"n_layer\": 1, \"n_head\": 2, "
                       "\"n_embd\": 8, \"n_layers\": 1}";
    tv_model_config c;
    assert_ok(read_text(text, false, &c));
    assert_fails(read_text(text, true, &c), TV_E_CONFIG, "\"n_layers\"");
    assert_non_null(strstr(tv_last_error(), "nearest known one is \"n_layer\""));
}

static void assert_same(const tv_model_config *a, const tv_model_config *b) {
    cJSON *trees[2] = {NULL, NULL};
    assert_ok(tv_model_config_tree(a, &trees[0]));
    assert_ok(tv_model_config_tree(b, &trees[1]));
    assert_true(cJSON_Compare(trees[0], trees[1], true));
    assert_true(a->norm == b->norm && a->positions == b->positions && a->activation == b->activation);
    assert_true(a->n_kv_head == b->n_kv_head && a->head_size == b->head_size && a->ffn == b->ffn);
    assert_true(tv_model_config_same_body(a, b));
    assert_true(a->eos_token_id == b->eos_token_id && a->head == b->head);
    assert_memory_equal(a->more_eos_token_ids, b->more_eos_token_ids, sizeof a->more_eos_token_ids);
    cJSON_Delete(trees[0]);
    cJSON_Delete(trees[1]);
}

/* Written and read again, strictly: the same config, field for field. */
static void written_configs_read_the_same(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    char *path = tv_format("%s/config.json", dir);
    const char *const texts[] = {gpt2_file,       llama_older,     llama_newer,     gpt2_score,
                                 llama_score,     qwen2_file,      scaled_files[0], scaled_files[1],
                                 scaled_files[2], scaled_files[3], scaled_files[4], mistral_file,
                                 qwen3_file,      gemma3_file,     gemma3_newer,    qwen3_window};
    for (size_t i = 0; i < TV_COUNT(texts); i++) {
        tv_model_config before, after;
        assert_ok(read_text(texts[i], false, &before));
        cJSON *root = NULL;
        assert_ok(tv_model_config_tree(&before, &root));
        assert_ok(tv_json_write_file(path, root));
        cJSON_Delete(root);
        assert_ok(tv_model_config_read_file(path, &after));
        assert_same(&before, &after);
        assert_ok(tv_json_read_file(path, &root));
        assert_ok(tv_model_config_read(root, path, true, &after));
        assert_string_equal(cJSON_GetStringValue(tv_json_get(root, "torch_dtype")), "float32");
        /* len(id2label) is what transformers takes for the number of labels. */
        assert_int_equal(cJSON_GetArraySize(tv_json_get(root, "id2label")),
                         after.head == TV_MODEL_HEAD_SCORE ? 1 : 0);
        cJSON_Delete(root);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

static void the_last_end_comes_first(void **state) {
    (void)state;
    tv_model_config c = tv_model_config_defaults(TV_ARCH_LLAMA);
    assert_false(tv_model_config_ends(&c, -1));
    /* 9 ends are one too many; an end that is there moves to the front. */
    static const int64_t added[] = {5, 6, 6, 5, 7, 1, 2, 3, 4, 8, 9, 7};
    for (size_t i = 0; i < TV_COUNT(added); i++)
        tv_model_config_end_with(&c, added[i]);
    static const int64_t more[TV_MAX_MORE_EOS] = {9, 8, 4, 3, 2, 1, 5};
    assert_int_equal(c.eos_token_id, 7);
    assert_memory_equal(c.more_eos_token_ids, more, sizeof more);
    assert_true(tv_model_config_ends(&c, 7) && tv_model_config_ends(&c, 5));
    assert_false(tv_model_config_ends(&c, 6));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gpt2_as_published),
        cmocka_unit_test(the_last_end_comes_first),
        cmocka_unit_test(llama_of_both_generations),
        cmocka_unit_test(score_heads_are_classifiers_of_one_label),
        cmocka_unit_test(qwen2_as_published),
        cmocka_unit_test(families_as_published),
        cmocka_unit_test(scaled_positions),
        cmocka_unit_test(sizes_alone_are_enough),
        cmocka_unit_test(token_ids_outside_the_vocabulary),
        cmocka_unit_test(impossible_values_are_refused),
        cmocka_unit_test(unknown_keys_are_named_where_strict),
        cmocka_unit_test(written_configs_read_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
