/* run/settings: defaults, --set, what is refused and by which words, and the way back to a file. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "model/parameters.h"
#include "run/defaults.h"
#include "run/settings.h"

static void defaults_are_the_documented_ones(void **state) {
    (void)state;
    tv_run_settings s;
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_PRETRAIN, &s));
    assert_null(s.model);
    assert_true(s.data.shuffle && !s.data.document_mask);
    const tv_train_settings *t = &s.train;
    assert_int_equal(t->steps, 1000);
    assert_near(t->epochs, 0, 0);
    assert_int_equal(t->batch_size, 16);
    assert_int_equal(t->grad_accum, 1);
    assert_int_equal(t->schedule, TV_SCHEDULE_COSINE);
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
    assert_int_equal(t->optimizer, TV_OPTIMIZER_ADAMW);
    tv_run_settings_free(&s);
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_SFT, &s));
    assert_true(s.sft.packing);
    tv_run_settings_free(&s);
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_DPO, &s));
    assert_int_equal(s.dpo.loss, TV_PREFERENCE_SIGMOID);
    tv_run_settings_free(&s);
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_PPO, &s));
    assert_near(s.ppo.temperature, 0.7, 0);
    assert_near(s.ppo.lambda, 0.95, 0);
    assert_near(s.ppo.missing_eos_score, -1, 0);
    assert_int_equal(s.ppo.kl_estimator, TV_KL_K1);
    tv_run_settings_free(&s);
}

static const char example[] =
    "{\"model\": {\"architectures\": [\"LlamaForCausalLM\"], \"hidden_size\": 64},\n"
    " \"data\": {\"train\": [\"a.bin\", {\"path\": \"b.bin\", \"weight\": 2.5}], \"val\": [\"v.bin\"], "
    "\"seq_len\": 64},\n"
    " \"train\": {\"epochs\": 1.5, \"lr\": 3e-5, \"schedule\": \"wsd\", \"seed\": "
    "\"18446744073709551615\"}}\n";

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
    assert_true(first.train.seed == UINT64_MAX);
    assert_int_equal(first.train.schedule, TV_SCHEDULE_WSD);
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
    assert_string_equal(first.train.trainable, second.train.trainable);
    first.train.trainable = second.train.trainable; /* one text of two trees */
    assert_memory_equal(&first.train, &second.train, sizeof first.train);
    assert_int_equal(second.data.train_count, 2);
    assert_near(second.data.train[1].weight, 2.5, 0);
    assert_int_equal(second.data.seq_len, 64);
    assert_string_equal(tv_json_get(second.root, "model")->child->string, "architectures");
    assert_null(tv_json_get(second.root, "ppo"));
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
        {{"train.lr=1e999", "data.seq_len=8"}, TV_E_CONFIG, "found a number beyond all range"},
        {{"train.seed=-1", "data.seq_len=8"},
         TV_E_CONFIG,
         "from 0 to 9007199254740992 (in quotes up to 2^64 - 1)"},
        {{"train.steps=1.5", "data.seq_len=8"}, TV_E_CONFIG, "whole number"},
        {{"train.batch_size=0", "data.seq_len=8"}, TV_E_CONFIG, "batch_size"},
        {{"train.beta2=1", "data.seq_len=8"}, TV_E_CONFIG, "beta2"},
        {{"train.schedule=cosin", "data.seq_len=8"}, TV_E_CONFIG, "cosine|linear|constant|wsd"},
        {{"train.optimizer=sgd", "data.seq_len=8"}, TV_E_CONFIG, "one of adamw"},
        {{"train.steps=5", "train.epochs=1"}, TV_E_CONFIG, "found both"},
        {{"train.min_lr=1e-2", "train.lr=1e-3"}, TV_E_CONFIG, "min_lr"},
        {{"data.seq_len=0", "train.lr=1e-3"}, TV_E_CONFIG, "seq_len"},
        {{"data.shuffle=no", "train.lr=1e-3"}, TV_E_CONFIG, "true or false"},
        {{"data.train=a.bin", "train.lr=1e-3"}, TV_E_CONFIG, "list"},
        {{"lr=1e-3", "train.lr=1e-3"}, TV_E_CONFIG, "it stands in its section, as train.lr"},
        {{"data.lr=1e-3", "train.lr=1e-3"}, TV_E_CONFIG, "as train.lr"},
        {{"train.clip=1", "train.lr=1e-3"}, TV_E_CONFIG, "see `trivium settings pretrain`"}, /* ppo's */
        {{"data.train=shard.bin", "train.lr=1e-3"}, TV_E_CONFIG, "a list as"},
        {{"data.train=[3]", "train.lr=1e-3"}, TV_E_CONFIG, "train[0]"},
        {{"data.train=[\"a\",{\"weight\":1}]", "train.lr=1e-3"}, TV_E_CONFIG, "train[1]"},
        {{"data.val=[{\"path\":\"a\",\"weight\":0}]", "train.lr=1e-3"}, TV_E_CONFIG, "weight"},
        {{"train.recompute=blocks", "train.lr=1e-3"}, TV_E_CONFIG, "none|block"},
        {{"ppo.kl_estimator=k1", "train.lr=1e-3"}, TV_E_CONFIG, "not a setting of pretrain (only of ppo)"},
        {{"data.val_fraction=0.1", "train.lr=1e-3"}, TV_E_CONFIG, "only of sft, reward, dpo"},
        {{"lora.rank=8", "train.lr=1e-3"}, TV_E_CONFIG, "only of sft, reward, dpo, ppo"},
        {{"model=[]", "train.lr=1e-3"}, TV_E_CONFIG, "model"},
        /* Crashed when it was first written: the members of a list have no keys. */
        {{"train=[1]", "data.seq_len=8"}, TV_E_CONFIG, "train: expected an object"},
        {{"train.lr", "train.lr=1e-3"}, TV_E_USAGE, "--set: expected KEY=VALUE"},
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
    assert_fails(tv_run_settings_from_tree(root, "twice", NULL, 0, TV_STAGE_PRETRAIN, &s), TV_E_CONFIG,
                 "\"lr\" again");
    assert_int_equal(tv_run_settings_read("/nonexistent.json", NULL, 0, TV_STAGE_PRETRAIN, &s), TV_E_IO);
}

/* The file's by its path, an option's by its name; what no single one of them is guilty of is the file's. */
static void mistakes_are_named_by_where_they_stand(void **state) {
    (void)state;
    const struct {
        const char *file, *set, *sentence;
    } cases[] = {
        {"{\"train\": {\"lr\": \"fast\"}}", "train.steps=5", "run.json: train.lr: expected"},
        {"{\"train\": {\"lr\": 1e-3}}", "train.lr=fast", "--set: train.lr: expected"},
        {"{\"train\": {\"lr\": 1e-3}}", "train.larning_rate=1", "--set: train: unknown key"},
        {"{}", "trian.lr=1", "--set: unknown key \"trian\""},
        {"{}", "ppo.kl_estimator=k1", "--set: ppo.kl_estimator: not a setting of pretrain"},
        {"{}", "data.train=[3]", "--set: data.train[0]: expected a path"},
        {"{}", "model=[]", "--set.model: expected an object"},
        {"{\"train\": {\"steps\": 5}}", "train.epochs=1", "run.json: train: expected steps or epochs"},
    };
    char *dir = tv_test_dir(), *path = tv_format("%s/run.json", dir);
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_run_settings s;
        assert_ok(tv_write_file(path, cases[i].file, strlen(cases[i].file)));
        tv_status status = tv_run_settings_read(path, &cases[i].set, 1, TV_STAGE_PRETRAIN, &s);
        const char *at = strstr(tv_last_error(), cases[i].sentence);
        /* Behind the path's folders; an option's name comes first. */
        if (status != TV_E_CONFIG || !at || (at != tv_last_error() && at[-1] != '/'))
            fail_msg("%s with %s: status %d, \"%s\"", cases[i].file, cases[i].set, (int)status,
                     tv_last_error());
    }
    free(path);
    tv_test_dir_remove(&dir);
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
    assert_fails(tv_run_settings_read(NULL, sets, 2, TV_STAGE_REWARD, &s), TV_E_CONFIG, "found both");
}

/* What a stage does not use is refused, with the stage that does. Tried: without the check, train.steps under
 * PPO is read, written back, and changes nothing. */
static void what_a_stage_does_not_use_is_refused(void **state) {
    (void)state;
    for (uint64_t i = 0; i < tv_setting_count; i++) {
        const tv_setting *setting = &tv_settings[i];
        for (int stage = 0; stage < TV_STAGE_KINDS; stage++) {
            char text[64], *set = NULL;
            tv_run_settings s;
            tv_setting_default(setting, (tv_stage_kind)stage, text, sizeof text);
            bool value = strcmp(text, "none") != 0 && strcmp(text, "auto") != 0;
            set = tv_format("%s.%s=%s", setting->section, setting->field.key,
                            value                                       ? text
                            : setting->field.type == TV_CONFIG_TREE     ? "[]"
                            : setting->field.type == TV_CONFIG_STRING   ? "x"
                            : strcmp(setting->field.key, "min_lr") == 0 ? "0"
                                                                        : "1");
            const char *sets[] = {set};
            tv_status status = tv_run_settings_read(NULL, sets, 1, (tv_stage_kind)stage, &s);
            bool used = setting->stages >> stage & 1u;
            if (status != (used ? TV_OK : TV_E_CONFIG) ||
                (!used && !strstr(tv_last_error(), setting->field.key)))
                fail_msg("%s for %s: status %d, \"%s\"", set, tv_stage_kind_name((tv_stage_kind)stage),
                         (int)status, tv_last_error());
            if (used)
                tv_run_settings_free(&s);
            free(set);
        }
    }
}

/* The rules of defaults.h, worked out by hand. */
static void defaults_follow_model_and_data(void **state) {
    (void)state;
    const struct {
        tv_stage_kind stage;
        uint64_t parameters;
        double lr;
    } rates[] = {
        /* 6e-4 at 124 M; 6e-4 sqrt(124e6 / 1.3e9) = 1.853e-4; the largest below 11 M. */
        {TV_STAGE_PRETRAIN, 124000000, 6e-4},
        {TV_STAGE_PRETRAIN, 1300000000, 1.9e-4},
        {TV_STAGE_PRETRAIN, 260032, 2e-3},
        /* 2e-5 sqrt(7e9 / 135e6) = 1.440e-4 */
        {TV_STAGE_SFT, 135000000, 1.4e-4},
        /* With more, a model of a million parameters forgets the book while it learns 300 answers. */
        {TV_STAGE_SFT, 1071872, 5e-4},
        {TV_STAGE_SFT, 7000000000, 2e-5},
        {TV_STAGE_SFT, 70000000000, 2e-5},
        {TV_STAGE_REWARD, 1000, 3e-4},
        {TV_STAGE_DPO, 7000000000, 1e-6},
        /* 3e-6 sqrt(7e9 / 70e6) = 3e-5. At 1e-4 a model of a million parameters drifted by 20 nats in 24
           iterations. */
        {TV_STAGE_PPO, 70000000, 3e-5},
        {TV_STAGE_PPO, 875000, 5e-5},
    };
    for (size_t i = 0; i < TV_COUNT(rates); i++) {
        tv_run_settings s;
        assert_ok(tv_run_settings_read(NULL, NULL, 0, rates[i].stage, &s));
        tv_defaults_of_model(&s, rates[i].parameters, 2048);
        assert_near(s.train.lr, rates[i].lr, 0);
        assert_near(s.train.min_lr, rates[i].stage == TV_STAGE_PPO ? rates[i].lr : rates[i].lr / 10, 1e-18);
        assert_int_equal(s.data.seq_len, TV_DEFAULT_LENGTH);
        tv_run_settings_free(&s);
    }
    tv_run_settings s;
    /* Adapters: ten times 2e-5 for 7 B, four times 5e-4 for the smallest. */
    const char *adapter[] = {"train.trainable=lora"};
    for (int i = 0; i < 2; i++) {
        assert_ok(tv_run_settings_read(NULL, adapter, 1, TV_STAGE_SFT, &s));
        tv_defaults_of_model(&s, i ? 260032 : 7000000000, 2048);
        assert_near(s.train.lr, i ? 2e-3 : 2e-4, 0);
        tv_run_settings_free(&s);
    }
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_SFT, &s));
    tv_defaults_of_model(&s, 260032, 512);
    assert_int_equal(s.data.seq_len, 512);
    /* 500 examples of 50 tokens, the longest 150: 3 epochs of rows of 512 are 146; of 192, 390 and 97 steps
     * of 4. */
    tv_defaults_of_length(&s, 150, 25000);
    assert_int_equal(s.data.seq_len, 192);
    tv_defaults_of_data(&s, 130);
    assert_int_equal(s.train.batch_size, 2);
    tv_defaults_of_schedule(&s, 195);
    assert_int_equal(s.train.warmup_steps, 10);
    assert_int_equal(s.train.eval_every, 19);
    tv_run_settings_free(&s);
    assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_SFT, &s));
    tv_defaults_of_model(&s, 135000000, 8192);
    tv_defaults_of_length(&s, 150, 25000000);
    assert_int_equal(s.data.seq_len, 1024);
    tv_defaults_of_data(&s, 25000);
    assert_int_equal(s.train.batch_size, 16);
    tv_run_settings_free(&s);
    /* What is named stays. */
    const char *sets[] = {"train.lr=1e-4",        "train.min_lr=0",     "train.batch_size=3",
                          "train.warmup_steps=0", "train.eval_every=7", "data.seq_len=33"};
    assert_ok(tv_run_settings_read(NULL, sets, TV_COUNT(sets), TV_STAGE_SFT, &s));
    tv_defaults_of_model(&s, 260032, 512);
    tv_defaults_of_length(&s, 150, 25000);
    tv_defaults_of_data(&s, 130);
    tv_defaults_of_schedule(&s, 195);
    assert_true(s.train.lr == 1e-4 && s.train.min_lr == 0 && s.train.batch_size == 3 &&
                s.train.warmup_steps == 0 && s.train.eval_every == 7 && s.data.seq_len == 33);
    tv_run_settings_free(&s);
}

/* Tried: without the limits, without the powers of two, without what was named; each fails. */
static void defaults_follow_the_prompts(void **state) {
    (void)state;
    const struct {
        uint64_t prompts, longest, positions, max_new, at_once, iterations;
    } cases[] = {
        {300, 18, 128, 110, 64, 24}, /* 1500 answers */
        {5, 3, 1024, 128, 16, 20},   {63, 500, 600, 100, 32, 20},
        {600, 1, 4096, 128, 64, 47}, {100000, 1, 4096, 128, 64, 100},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_run_settings s;
        assert_ok(tv_run_settings_read(NULL, NULL, 0, TV_STAGE_PPO, &s));
        tv_defaults_of_prompts(&s, cases[i].prompts, cases[i].longest, cases[i].positions);
        assert_int_equal(s.ppo.max_new_tokens, cases[i].max_new);
        assert_int_equal(s.ppo.prompts, cases[i].at_once);
        assert_int_equal(s.ppo.iterations, cases[i].iterations);
        tv_run_settings_free(&s);
    }
    tv_run_settings s;
    const char *sets[] = {"ppo.iterations=3", "ppo.prompts=7", "ppo.max_new_tokens=9"};
    assert_ok(tv_run_settings_read(NULL, sets, TV_COUNT(sets), TV_STAGE_PPO, &s));
    tv_defaults_of_prompts(&s, 300, 18, 128);
    assert_true(s.ppo.iterations == 3 && s.ppo.prompts == 7 && s.ppo.max_new_tokens == 9);
    tv_run_settings_free(&s);
}

/* Betas and weight decay of the later stages. Tried: a swapped entry of a row fails here. */
static void stages_have_their_own_defaults(void **state) {
    (void)state;
    const struct {
        tv_stage_kind stage;
        double weight_decay, beta2, epochs;
    } cases[] = {
        {TV_STAGE_SFT, 0, 0.95, 3},
        {TV_STAGE_REWARD, 0, 0.999, 1},
        {TV_STAGE_DPO, 0, 0.999, 1},
        {TV_STAGE_PPO, 0, 0.95, 0},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        tv_run_settings s;
        assert_ok(tv_run_settings_read(NULL, NULL, 0, cases[i].stage, &s));
        assert_near(s.train.weight_decay, cases[i].weight_decay, 0);
        assert_near(s.train.beta1, 0.9, 0);
        assert_near(s.train.beta2, cases[i].beta2, 0);
        assert_near(s.train.epochs, cases[i].epochs, 0);
        assert_int_equal(s.train.steps, 0);
        tv_run_settings_free(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_have_their_own_defaults),
        cmocka_unit_test(defaults_are_the_documented_ones),
        cmocka_unit_test(a_file_resolves_to_itself),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(mistakes_are_named_by_where_they_stand),
        cmocka_unit_test(validation_data_comes_from_one_place),
        cmocka_unit_test(what_a_stage_does_not_use_is_refused),
        cmocka_unit_test(defaults_follow_model_and_data),
        cmocka_unit_test(defaults_follow_the_prompts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
