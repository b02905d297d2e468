/* run/settings: defaults, --set, what is refused and by which words, and the way back to a file. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "run/settings.h"

static void defaults_are_the_documented_ones(void **state) {
    (void)state;
    tv_run_settings s;
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_PRETRAIN, &s));
    assert_null(s.model);
    assert_int_equal(s.data.seq_len, 128);
    assert_true(s.data.shuffle && !s.data.document_mask);
    const tv_train_settings *t = &s.train;
    assert_int_equal(t->steps, 1000);
    assert_near(t->epochs, 0, 0);
    assert_int_equal(t->batch_size, 16);
    assert_int_equal(t->grad_accum, 1);
    assert_near(t->lr, 6e-4, 0);
    assert_near(t->min_lr, 6e-5, 0);
    assert_int_equal(t->schedule, TV_SCHEDULE_COSINE);
    assert_int_equal(t->warmup_steps, 50);
    assert_near(t->weight_decay, 0.1, 0);
    assert_near(t->beta1, 0.9, 0);
    assert_near(t->beta2, 0.95, 0);
    assert_near(t->eps, 1e-8, 0);
    assert_near(t->grad_clip, 1, 0);
    assert_int_equal(t->eval_every, 100);
    assert_int_equal(t->eval_tokens, 16384);
    assert_int_equal(t->checkpoint_every, 500);
    assert_int_equal(t->keep, 2);
    assert_int_equal(t->seed, 1);
    assert_int_equal(t->recompute, TV_RECOMPUTE_NONE);
    assert_true(s.sft.packing);
    assert_near(s.dpo.beta, 0.1, 0);
    assert_int_equal(s.ppo.iterations, 100);
    assert_near(s.ppo.temperature, 0.7, 0);
    assert_near(s.ppo.lambda, 0.95, 0);
    assert_near(s.ppo.missing_eos_score, -1, 0);
    assert_int_equal(s.lora.rank, 0);
    assert_near(s.lora.alpha, 16, 0);
    tv_run_settings_free(&s);
}

static const char example[] =
    "{\"model\": {\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 64},\n"
    " \"data\": {\"train\": [\"a.bin\", {\"path\": \"b.bin\", \"weight\": 2.5}], \"val\": [\"v.bin\"], "
    "\"seq_len\": 64},\n"
    " \"train\": {\"epochs\": 1.5, \"lr\": 3e-5, \"schedule\": \"wsd\", \"seed\": "
    "\"18446744073709551615\"},\n"
    " \"ppo\": {\"kl_controller\": \"adaptive\"}}\n";

static void a_file_resolves_to_itself(void **state) {
    (void)state;
    char *dir = tv_test_dir(), *path = tv_format("%s/run.json", dir),
         *again = tv_format("%s/again.json", dir);
    const char *const sets[] = {"train.lr=1e-4", "data.shuffle=false", "train.lr=2e-5"};
    tv_run_settings first, second;
    assert_ok(tv_write_file(path, example, strlen(example)));
    assert_ok(tv_run_settings_read(path, sets, 3, TV_STAGE_PRETRAIN, &first));
    assert_int_equal(first.train.steps, 0);
    assert_near(first.train.epochs, 1.5, 0);
    assert_near(first.train.lr, 2e-5, 0);
    /* No floor was given and the default one lies above this peak. */
    assert_near(first.train.min_lr, 2e-6, 1e-20);
    assert_true(first.train.seed == UINT64_MAX);
    assert_int_equal(first.train.schedule, TV_SCHEDULE_WSD);
    assert_int_equal(first.ppo.kl_controller, TV_KL_ADAPTIVE);
    assert_false(first.data.shuffle);
    assert_int_equal(first.data.train_count, 2);
    assert_string_equal(first.data.train[0].path, "a.bin");
    assert_near(first.data.train[0].weight, 1, 0);
    assert_string_equal(first.data.train[1].path, "b.bin");
    assert_near(first.data.train[1].weight, 2.5, 0);
    assert_int_equal(first.data.val_count, 1);

    cJSON *a = NULL, *b = NULL;
    assert_ok(tv_run_settings_resolve(&first, &a));
    assert_ok(tv_json_write_file(again, a));
    assert_ok(tv_run_settings_read(again, NULL, 0, TV_STAGE_PRETRAIN, &second));
    assert_memory_equal(&first.train, &second.train, sizeof first.train);
    assert_memory_equal(&first.ppo, &second.ppo, sizeof first.ppo);
    assert_int_equal(second.data.train_count, 2);
    assert_near(second.data.train[1].weight, 2.5, 0);
    assert_int_equal(second.data.seq_len, 64);
    assert_string_equal(tv_json_get(second.root, "model")->child->string, "architectures");
    assert_non_null(tv_json_get(second.root, "ppo"));
    assert_null(tv_json_get(second.root, "dpo"));
    assert_ok(tv_run_settings_resolve(&second, &b));
    assert_true(cJSON_Compare(a, b, true));
    cJSON_Delete(a);
    cJSON_Delete(b);
    tv_run_settings_free(&first);
    tv_run_settings_free(&second);
    free(path);
    free(again);
    tv_test_dir_remove(&dir);
}

static void mistakes_are_named(void **state) {
    (void)state;
    const struct {
        const char *set[2];
        tv_status status;
        const char *sentence;
    } cases[] = {
        {{"trian.lr=1", "data.seq_len=8"}, TV_E_CONFIG, "\"train\""},
        {{"train.larning_rate=1", "data.seq_len=8"}, TV_E_CONFIG, "larning_rate"},
        {{"train.warmup=3", "data.seq_len=8"}, TV_E_CONFIG, "warmup_steps"},
        {{"train.lr=fast", "data.seq_len=8"}, TV_E_CONFIG, "train.lr"},
        {{"train.lr=-1", "data.seq_len=8"}, TV_E_CONFIG, "train.lr"},
        {{"train.steps=1.5", "data.seq_len=8"}, TV_E_CONFIG, "whole number"},
        {{"train.batch_size=0", "data.seq_len=8"}, TV_E_CONFIG, "batch_size"},
        {{"train.batch_size=1048576", "data.seq_len=4096"}, TV_E_CONFIG, "micro-batch"},
        {{"train.beta2=1", "data.seq_len=8"}, TV_E_CONFIG, "beta2"},
        {{"train.schedule=cosin", "data.seq_len=8"}, TV_E_CONFIG, "cosine|linear|constant|wsd"},
        {{"train.steps=5", "train.epochs=1"}, TV_E_CONFIG, "found both"},
        {{"train.min_lr=1e-2", "train.lr=1e-3"}, TV_E_CONFIG, "min_lr"},
        {{"data.seq_len=0", "train.lr=1e-3"}, TV_E_CONFIG, "seq_len"},
        {{"data.shuffle=no", "train.lr=1e-3"}, TV_E_CONFIG, "true or false"},
        {{"data.train=a.bin", "train.lr=1e-3"}, TV_E_CONFIG, "list"},
        {{"data.train=[3]", "train.lr=1e-3"}, TV_E_CONFIG, "train[0]"},
        {{"data.train=[\"a\",{\"weight\":1}]", "train.lr=1e-3"}, TV_E_CONFIG, "train[1]"},
        {{"data.val=[{\"path\":\"a\",\"weight\":0}]", "train.lr=1e-3"}, TV_E_CONFIG, "weight"},
        {{"ppo.kl_estimator=k4", "train.lr=1e-3"}, TV_E_CONFIG, "k1|k2|k3"},
        {{"lora.targets=[1]", "train.lr=1e-3"}, TV_E_CONFIG, "names"},
        {{"data.val_fraction=0.1", "train.lr=1e-3"}, TV_E_CONFIG, "only preferences are split by prompt"},
        {{"data.val_fraction=0.95", "train.lr=1e-3"}, TV_E_CONFIG, "val_fraction"},
        {{"lora.rank=8", "train.lr=1e-3"}, TV_E_CONFIG, "adapters"},
        {{"model=[]", "train.lr=1e-3"}, TV_E_CONFIG, "model"},
        {{"train.lr", "train.lr=1e-3"}, TV_E_USAGE, "key=value"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_run_settings s;
        tv_status status = tv_run_settings_read(NULL, cases[i].set, 2, TV_STAGE_PRETRAIN, &s);
        if (status != cases[i].status || !strstr(tv_last_error(), cases[i].sentence))
            fail_msg("%s: status %d, \"%s\"", cases[i].set[0], (int)status, tv_last_error());
        assert_null(s.root);
        assert_null(s.data.train);
    }
    tv_run_settings s;
    const char *twice = "{\"train\":{\"lr\":1e-3,\"lr\":1e-4}}";
    cJSON *root = NULL;
    assert_ok(tv_json_parse(twice, strlen(twice), "twice", &root));
    assert_int_equal(tv_run_settings_from_tree(root, "twice", NULL, 0, TV_STAGE_PRETRAIN, &s), TV_E_CONFIG);
    assert_non_null(strstr(tv_last_error(), "\"lr\" again"));
    assert_int_equal(tv_run_settings_read("/nonexistent.json", NULL, 0, TV_STAGE_PRETRAIN, &s), TV_E_IO);
}

/* Only preferences are split here, and only where no validation data is named. */
static void validation_data_comes_from_one_place(void **state) {
    (void)state;
    tv_run_settings s;
    const char *sets[] = {"data.val_fraction=0.25", "data.val=[]"};
    assert_ok(tv_run_settings_read(NULL, sets, 2, TV_STAGE_REWARD, &s));
    assert_near(s.data.val_fraction, 0.25, 0);
    tv_run_settings_free(&s);
    sets[1] = "data.val=[\"held.jsonl\"]";
    assert_int_equal(tv_run_settings_read(NULL, sets, 2, TV_STAGE_REWARD, &s), TV_E_CONFIG);
    assert_non_null(strstr(tv_last_error(), "found both"));
}

/* stages.md: learning rates, betas and weight decay of the later stages; one pass over the data. Tried: a
 * swapped row of the table fails here. */
static void stages_have_their_own_defaults(void **state) {
    (void)state;
    const struct {
        tv_stage_kind stage;
        double lr, weight_decay, beta2, epochs;
    } cases[] = {
        {TV_STAGE_SFT, 2e-5, 0, 0.95, 1},
        {TV_STAGE_REWARD, 1e-5, 0, 0.999, 1},
        {TV_STAGE_DPO, 1e-6, 0, 0.999, 1},
        {TV_STAGE_PPO, 3e-6, 0, 0.95, 1},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_run_settings s;
        assert_ok(tv_run_settings_read(NULL, NULL, 0, cases[i].stage, &s));
        assert_near(s.train.lr, cases[i].lr, 0);
        assert_near(s.train.weight_decay, cases[i].weight_decay, 0);
        assert_near(s.train.beta1, 0.9, 0);
        assert_near(s.train.beta2, cases[i].beta2, 0);
        assert_near(s.train.epochs, cases[i].epochs, 0);
        assert_int_equal(s.train.steps, 0);
        assert_true(s.train.min_lr < s.train.lr);
        tv_run_settings_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_have_their_own_defaults),
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(a_file_resolves_to_itself),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(validation_data_comes_from_one_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
