/* run/memory_advice and the plans of models that people have: what the issue of memory promises fits 8 GB by
 * the plan's own figures; where a step does not fit, the least harmful change that does is named, with bytes
 * that the changed step's own plan confirms.
 *
 * Tried: an adapter's weights left as they were; the batch changed before recomputation; what the stage keeps
 * besides left out. Each fails.
 */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/json.h"
#include "formats/peft.h"
#include "run/memory_advice.h"
#include "support/device.h"

static const uint64_t EIGHT = UINT64_C(8000000000);

/* Published configs, as far as sizes go. */
static const char qwen_1_5b[] =
    "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"vocab_size\": 151936, "
    "\"hidden_size\": 1536,"
    " \"intermediate_size\": 8960, \"num_hidden_layers\": 28, \"num_attention_heads\": 12, "
    "\"num_key_value_heads\": 2,"
    " \"max_position_embeddings\": 32768, \"rope_theta\": 1000000.0, \"rms_norm_eps\": 1e-06,"
    " \"tie_word_embeddings\": true, \"hidden_act\": \"silu\"}";
static const char llama_7b[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 32000, "
    "\"hidden_size\": 4096,"
    " \"intermediate_size\": 11008, \"num_hidden_layers\": 32, \"num_attention_heads\": 32,"
    " \"num_key_value_heads\": 32, \"max_position_embeddings\": 4096, \"rms_norm_eps\": 1e-05,"
    " \"tie_word_embeddings\": false, \"hidden_act\": \"silu\"}";

/* The model with weights of a type and, with a rank, an adapter on every matrix. */
static tv_parameter_list *list_of(const char *json, tv_dtype weights, uint64_t rank) {
    static const char *const every[] = {"all-linear"};
    cJSON *tree = NULL;
    tv_model_config config;
    tv_parameter_list *plain = NULL, *list = NULL;
    tv_adapter adapter = {.rank = rank, .alpha = 16};
    assert_ok(tv_json_parse(json, strlen(json), "config", &tree));
    assert_ok(tv_model_config_read(tree, "config", true, &config));
    if (rank)
        assert_ok(tv_peft_targets(&config, "targets", every, 1, &adapter));
    assert_ok(tv_parameter_list_create(&config, &plain));
    tv_dtype *storage = calloc(plain->count, sizeof *storage);
    assert_non_null(storage);
    for (uint32_t i = 0; i < plain->count; i++)
        storage[i] = weights;
    const tv_parameter_choice choice = {.adapter = rank ? &adapter : NULL, .storage = storage};
    assert_ok(tv_parameter_list_create_chosen(&config, &choice, &list));
    tv_parameter_list_destroy(&plain);
    cJSON_Delete(tree);
    free(storage);
    return list;
}

/* A device as people have it: bindings and buffers of 2 and 4 GiB. */
static tv_caps caps_of(tv_device *device) {
    tv_caps caps = *tv_device_caps(device);
    caps.storage_range = UINT64_C(1) << 31;
    caps.buffer_bytes = UINT64_C(1) << 32;
    return caps;
}

static tv_trainer_options step_of(uint64_t batch, uint64_t tokens, bool recompute) {
    return (tv_trainer_options){.stage = "sft",
                                .batch = batch,
                                .tokens = tokens,
                                .grad_accum = 1,
                                .recompute = recompute,
                                .train = true};
}

static void models_that_fit_8_gb(void **state) {
    static const struct {
        const char *json;
        tv_dtype weights;
        uint64_t tokens;
        bool recompute, fits;
    } cases[] = {
        {qwen_1_5b, TV_Q8_0, 1024, false, true},  {qwen_1_5b, TV_Q8_0, 2048, true, true},
        {qwen_1_5b, TV_Q8_0, 2048, false, false}, {qwen_1_5b, TV_F32, 1024, false, false},
        {llama_7b, TV_Q4_0, 512, true, true},     {llama_7b, TV_Q8_0, 512, true, false},
        {llama_7b, TV_Q4_0, 512, false, false},
    };
    const tv_caps caps = caps_of(*state);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_parameter_list *list = list_of(cases[i].json, cases[i].weights, 16);
        tv_trainer_bytes bytes;
        const tv_trainer_options step = step_of(1, cases[i].tokens, cases[i].recompute);
        assert_ok(tv_trainer_measure(list, &caps, &step, &bytes));
        print_message("case %zu: %.2f GB\n", i, (double)bytes.total / 1e9);
        assert_true((bytes.total <= EIGHT) == cases[i].fits);
        tv_parameter_list_destroy(&list);
    }
}

static tv_memory_advice advice_of(const tv_parameter_list *list, const tv_caps *caps,
                                  const tv_trainer_options *step, uint64_t more, uint64_t available) {
    tv_memory_advice advice;
    assert_ok(tv_memory_advise(list, caps, step, more, NULL, available, &advice));
    return advice;
}

static uint64_t total_of(const char *json, tv_dtype weights, uint64_t rank, const tv_caps *caps,
                         tv_trainer_options step) {
    tv_parameter_list *list = list_of(json, weights, rank);
    tv_trainer_bytes bytes;
    assert_ok(tv_trainer_measure(list, caps, &step, &bytes));
    tv_parameter_list_destroy(&list);
    return bytes.total;
}

static uint64_t listed(const tv_memory_advice *advice, const char *keys) {
    for (uint32_t i = 0; i < advice->count; i++)
        if (strcmp(advice->changes[i].keys, keys) == 0)
            return advice->changes[i].bytes;
    fail_msg("no change \"%s\" is listed", keys);
    return 0;
}

static void the_least_harmful_change_is_named(void **state) {
    const tv_caps caps = caps_of(*state);
    const tv_trainer_options step = step_of(4, 512, false);
    tv_parameter_list *list = list_of(qwen_1_5b, TV_F32, 0);
    /* All weights trained: 25 GB and the activations. */
    const uint64_t again = total_of(qwen_1_5b, TV_F32, 0, &caps, step_of(4, 512, true));
    const uint64_t before = total_of(qwen_1_5b, TV_F32, 0, &caps, step);
    const uint64_t adapted = total_of(qwen_1_5b, TV_F32, 16, &caps, step);
    const uint64_t narrow = total_of(qwen_1_5b, TV_Q8_0, 16, &caps, step_of(1, 512, true));
    tv_memory_advice advice = advice_of(list, &caps, &step, 0, again);
    assert_true(advice.has_first);
    assert_string_equal(advice.first.keys, "train.recompute=block");
    assert_int_equal(advice.first.bytes, again);
    assert_int_equal(listed(&advice, "train.recompute=block"), again);
    assert_int_equal(listed(&advice, "lora.rank=16"), adapted);
    assert_int_equal(listed(&advice, "lora.rank=16 model.weights=q8_0"),
                     total_of(qwen_1_5b, TV_Q8_0, 16, &caps, step));
    assert_int_equal(listed(&advice, "data.seq_len=256"),
                     total_of(qwen_1_5b, TV_F32, 0, &caps, step_of(4, 256, false)));
    /* Three quarters of two moments of 1.54 G elements each. */
    assert_near((double)(before - listed(&advice, "train.optimizer=adamw8")),
                0.746 * 8 * (double)list->elements, 0.01 * 8 * (double)list->elements);
    for (uint32_t i = 1; i < advice.count; i++)
        assert_true(advice.changes[i].keys[0]);
    /* Where a smaller batch would do as well, which changes what is learned. */
    const uint64_t single = total_of(qwen_1_5b, TV_F32, 0, &caps, step_of(1, 512, false));
    assert_true(single > again);
    advice = advice_of(list, &caps, &step, 0, single);
    assert_string_equal(advice.first.keys, "train.recompute=block");
    /* A byte less than recomputation takes: the batch too. */
    advice = advice_of(list, &caps, &step, 0, again - 1);
    assert_string_equal(advice.first.keys, "train.batch_size=2 train.recompute=block");
    assert_true(advice.first.smaller_batch);
    /* What the stage keeps besides counts. */
    advice = advice_of(list, &caps, &step, 1000, again);
    assert_string_equal(advice.first.keys, "train.batch_size=2 train.recompute=block");
    /* Too little for full training of any batch. */
    advice = advice_of(list, &caps, &step, 0, narrow);
    assert_true(advice.has_first);
    assert_true(advice.first.bytes <= narrow);
    assert_non_null(strstr(advice.first.keys, "lora.rank=16 model.weights=q8_0"));
    advice = advice_of(list, &caps, &step, 0, 1000);
    assert_false(advice.has_first);
    tv_parameter_list_destroy(&list);
}

/* An adapter that is there stays; pretraining gets none. */
static void advice_is_for_the_stage(void **state) {
    const tv_caps caps = caps_of(*state);
    tv_trainer_options step = step_of(1, 512, true);
    tv_parameter_list *list = list_of(llama_7b, TV_BF16, 16);
    tv_memory_advice advice = advice_of(list, &caps, &step, 0, EIGHT);
    assert_true(advice.has_first);
    assert_string_equal(advice.first.keys, "model.weights=q4_0");
    for (uint32_t i = 0; i < advice.count; i++)
        assert_null(strstr(advice.changes[i].keys, "adamw8")); /* an adapter's moments are nothing */
    tv_parameter_list_destroy(&list);
    list = list_of(qwen_1_5b, TV_F32, 0);
    step.stage = "pretrain";
    advice = advice_of(list, &caps, &step, 0, EIGHT);
    assert_false(advice.has_first);
    assert_true(listed(&advice, "train.optimizer=adamw8") > 0);
    for (uint32_t i = 0; i < advice.count; i++)
        assert_null(strstr(advice.changes[i].keys, "lora"));
    tv_parameter_list_destroy(&list);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_that_fit_8_gb),
        cmocka_unit_test(the_least_harmful_change_is_named),
        cmocka_unit_test(advice_is_for_the_stage),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
