/* Adapters as a person uses them: trained by sft, reward, dpo and ppo, stopped and resumed, read in a model's
 * place, laid over a named base, merged by export; and a sentence for every mistake.
 *
 * Tried: the adapter's scale left out of the merge, and the reference of PPO without the adapter that the
 * policy began with: each fails here.
 */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/planted.h"
#include "support/small_run.h"

static char *demonstrations(const tv_planted *p) {
    char *path = tv_format("%s/demonstrations.jsonl", p->dir);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < 24; i++)
        fprintf(file, "{\"prompt\": \"tell %d\", \"completion\": \" a b%d c d\"}\n", i, i % 3);
    assert_int_equal(fclose(file), 0);
    return path;
}

static tv_child_result fine_tune(const char *model, const char *data, const char *out, const char *stop_after,
                                 const char *set) {
    return tv_run_trivium("sft", "--model", model, "--data", data, "--out", out, "--quiet", "--set",
                          "train.batch_size=2", "--set", "train.epochs=6", "--set", "train.lr=2e-2", "--set",
                          "train.checkpoint_every=3", "--set", "data.seq_len=24", "--stop-after", stop_after,
                          "--set", set);
}

/* Text that eval reads. */
static char *text_beside(const tv_planted *p) {
    char *path = tv_format("%s/text.txt", p->dir);
    tv_write_text(path, "tell 1 a b1 c d\ntell 2 a b2 c d\ntell 3 a b0 c d\n");
    return path;
}

/* A number of the JSON line that a command ends with. */
static double number_of(tv_child_result *run, const char *key) {
    cJSON *result = NULL;
    tv_expect_exit(run, 0);
    const char *line = strrchr(run->out, '{');
    assert_non_null(line);
    assert_ok(tv_json_parse(line, strlen(line), "output", &result));
    double value = tv_json_get(result, key)->valuedouble;
    cJSON_Delete(result);
    tv_child_result_free(run);
    return value;
}

static double loss_of(const char *model, const char *data) {
    tv_child_result run = tv_run_trivium("eval", "--model", model, "--data", data, "--json", "--quiet");
    return number_of(&run, "loss");
}

/* The `key` of a line of a run's metrics, counted from 0; -1: the last. */
static double metric_of(const char *run, int line, const char *key) {
    char *path = tv_format("%s/metrics.jsonl", run), *text = NULL;
    assert_ok(tv_read_file(path, &text, NULL));
    double value = NAN;
    int number = 0;
    for (char *at = strtok(text, "\n"); at; at = strtok(NULL, "\n"), number++) {
        cJSON *root = cJSON_Parse(at);
        const cJSON *item = tv_json_get(root, key);
        if (item && (line < 0 || number == line))
            value = item->valuedouble;
        cJSON_Delete(root);
    }
    tv_free_all(path, text);
    return value;
}

static void expect_same_adapters(const char *a, const char *b, const char *below) {
    static const char *const files[] = {"adapter_model.safetensors", "adapter_config.json",
                                        "adapter_base.json", "config.json",
                                        "training_state/optimizer.safetensors"};
    for (size_t i = 0; i < TV_COUNT(files); i++) {
        char *name = tv_format("checkpoints/last/%s%s", below, files[i]);
        tv_expect_same_file(a, b, name);
        free(name);
    }
}

static bool on_matrices(void) {
    const char *caps = getenv("TRIVIUM_CAPS_MAX");
    return caps && strstr(caps, "tier=cm-");
}

static void an_adapter_is_trained_resumed_and_merged(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++) {
        tv_planted p = tv_planted_create(a ? TV_ARCH_LLAMA : TV_ARCH_GPT2);
        char *data = demonstrations(&p), *whole = tv_format("%s/whole", p.dir);
        char *parts = tv_format("%s/parts", p.dir), *full = tv_format("%s/full", p.dir);
        char *merged = tv_format("%s/merged", p.dir), *moved = tv_format("%s/moved", p.dir);
        tv_child_result run = fine_tune(p.base, data, whole, "0", "lora.rank=4");
        tv_expect_exit(&run, 0);
        tv_child_result_free(&run);
        run = fine_tune(p.base, data, parts, "4", "lora.rank=4");
        tv_expect_exit(&run, 0);
        tv_child_result_free(&run);
        tv_trivium_exits(0, "sft", "--out", parts, "--resume", "--quiet");
        expect_same_adapters(whole, parts, "");
        char *weights = tv_format("%s/checkpoints/last/model.safetensors", whole);
        assert_false(tv_path_exists(weights));
        /* B begins as 0: the first loss is the frozen model's, which full training's is too. In a tier of
         * 16-bit activations full training rounds to these, and a model with adapters does not. */
        run = fine_tune(p.base, data, full, "1", "lora.rank=0");
        tv_expect_exit(&run, 0);
        tv_child_result_free(&run);
        assert_near(metric_of(whole, 0, "loss"), metric_of(full, 0, "loss"), on_matrices() ? 1e-4 : 0);
        /* As far as a drawn head, which stays as it is, lets it. */
        assert_true(metric_of(whole, -1, "loss") < metric_of(whole, 0, "loss") - 0.25);
        tv_trivium_exits(0, "export", "--model", whole, "--format", "hf", "--out", merged, "--quiet");
        char *text = text_beside(&p);
        double base = loss_of(p.base, text), adapted = loss_of(whole, text),
               of_merged = loss_of(merged, text);
        assert_true(fabs(adapted - base) > 0.1);
        /* There a merged matrix is rounded once, the base and the adapter each for itself. */
        assert_near(of_merged, adapted, on_matrices() ? 1e-3 : 1e-5);
        /* Over a base that lies elsewhere by now. */
        assert_ok(tv_rename_durable(p.base, moved));
        run =
            tv_run_trivium("eval", "--model", moved, "--adapter", whole, "--data", text, "--json", "--quiet");
        assert_near(number_of(&run, "loss"), adapted, 0);
        tv_trivium_says(2, "no directory here", "eval", "--model", whole, "--data", text, "--quiet");
        tv_child_result said[2] = {tv_run_trivium("generate", "--model", moved, "--adapter", whole,
                                                  "--prompt", "tell 4", "--temperature", "0", "--max-tokens",
                                                  "8", "--quiet"),
                                   tv_run_trivium("generate", "--model", merged, "--prompt", "tell 4",
                                                  "--temperature", "0", "--max-tokens", "8", "--quiet")};
        tv_expect_exit(&said[0], 0);
        tv_expect_exit(&said[1], 0);
        assert_string_equal(said[0].out, said[1].out);
        tv_child_result_free(&said[0]);
        tv_child_result_free(&said[1]);
        tv_free_all(weights, text, data, whole, parts, full, merged, moved);
        tv_planted_destroy(&p);
    }
}

static uint64_t bytes_of(const char *text, const char *row) {
    double value = 0;
    char unit[8] = "";
    const char *at = strstr(text, row);
    if (!at || sscanf(at + strlen(row), " %lf %7s", &value, unit) != 2)
        fail_msg("no row \"%s\" in:\n%s", row, text);
    return (uint64_t)(value * (unit[0] == 'M' ? 1048576 : unit[0] == 'K' ? 1024 : 1));
}

/* A policy that SFT left, a reward model and a value model of their own adapters, a reference with SFT's. */
static void all_stages_take_adapters(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_LLAMA);
    char *data = demonstrations(&p), *prefs = tv_planted_preferences(&p, "prefs.jsonl", 0, 40, 2, false);
    char *more = tv_planted_preferences(&p, "more.jsonl", 0, 160, 2, false);
    char *sft = tv_format("%s/sft", p.dir), *reward = tv_format("%s/reward", p.dir);
    char *dpo = tv_format("%s/dpo", p.dir), *whole = tv_format("%s/whole", p.dir);
    char *parts = tv_format("%s/parts", p.dir), *prompts = tv_format("%s/prompts.jsonl", p.dir);
    tv_write_text(prompts, "{\"prompt\": \"tell 1\"}\n{\"prompt\": \"tell 2\"}\n{\"prompt\": \"tell 3\"}\n");
    tv_child_result run = fine_tune(p.base, data, sft, "0", "train.trainable=lora");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);

    tv_trivium_exits(0, "reward", "--model", p.base, "--data", more, "--val-fraction", "0.25", "--out",
                     reward, "--quiet", "--set", "lora.rank=4", "--set", "train.epochs=4", "--set",
                     "train.lr=1e-2", "--set", "train.batch_size=4", "--set", "data.seq_len=48");
    /* Seen: 0.975 of 40 pairs held out, 0.95 of the 40 below (standard errors of 0.03). With 32 pairs to
     * learn from it was 0.875 of 8 and 0.75 of 40: two near ties from the bound. */
    assert_true(metric_of(reward, -1, "val_accuracy") > 0.7);
    run = tv_run_trivium("score", "--model", reward, "--data", prefs, "--json", "--quiet");
    assert_true(number_of(&run, "accuracy") > 0.7);

    tv_trivium_exits(0, "dpo", "--model", sft, "--data", prefs, "--out", dpo, "--quiet", "--set",
                     "train.epochs=4", "--set", "train.lr=1e-2", "--set", "dpo.beta=3", "--set",
                     "train.batch_size=4", "--set", "data.seq_len=48");
    assert_near(metric_of(dpo, 0, "loss"), log(2), 1e-6);

    /* Over the last of four epochs: one update's four pairs are anything. */
    double last = 0;
    for (int i = 30; i < 40; i++)
        last += metric_of(dpo, i, "loss") / 10;
    assert_true(last < 0.55);

    char *planned = tv_format("%s/planned", p.dir);
    uint64_t size = 0, reference = 0;
    const char *const outs[] = {whole, parts, planned};
    const char *const of_run[] = {"ppo.iterations=4", "ppo.prompts=4",         "ppo.minibatch=4",
                                  "ppo.epochs=2",     "ppo.max_new_tokens=12", "train.checkpoint_every=2"};
    for (int i = 0; i < 3; i++) {
        const char *argv[40] = {TRIVIUM_COMMAND, "ppo",   "--model", sft,     "--reward", reward,
                                "--prompts",     prompts, "--out",   outs[i], "--quiet"};
        int count = 11;
        for (size_t s = 0; s < TV_COUNT(of_run); s++) {
            argv[count++] = "--set";
            argv[count++] = of_run[s];
        }
        if (i == 1) {
            argv[count++] = "--stop-after";
            argv[count++] = "2";
        } else if (i == 2) {
            argv[count++] = "--dry-run";
        }
        run = tv_child_run(argv);
        tv_expect_exit(&run, 0);
        if (i == 2) {
            /* None of the roles has weights of the base's size of its own: activations aside, the reference
             * has none but SFT's adapter. */
            char *weights = tv_format("%s/model.safetensors", p.base);
            assert_ok(tv_file_size(weights, &size));
            assert_true(bytes_of(run.out, "\n  parameters") < size + size / 2);
            reference = bytes_of(run.out, "\n  reference, policy's base ");
            (void)bytes_of(run.out, "\n  value model, policy's base ");
            (void)bytes_of(run.out, "\n  reward model, policy's base ");
            free(weights);
        }
        tv_child_result_free(&run);
    }
    /* Over whole models the reference has weights of its own, which are what it has not here. */
    run = tv_run_trivium("ppo", "--model", p.base, "--reward", reward, "--prompts", prompts, "--out", planned,
                         "--quiet", "--dry-run", "--set", "ppo.prompts=4", "--set", "ppo.minibatch=4",
                         "--set", "ppo.max_new_tokens=12", "--set", "ppo.iterations=4");
    assert_null(strstr(run.out, "policy's base"));
    uint64_t own = bytes_of(run.out, "\n  reference ");
    tv_child_result_free(&run);
    run = tv_run_trivium("grpo", "--model", sft, "--reward", reward, "--prompts", prompts, "--out", planned,
                         "--quiet", "--dry-run", "--set", "grpo.prompts=2", "--set", "grpo.answers=2",
                         "--set", "grpo.max_new_tokens=12", "--set", "grpo.kl_coef=0.1");
    (void)bytes_of(run.out, "\n  reference, policy's base ");
    (void)bytes_of(run.out, "\n  reward model, policy's base ");
    tv_child_result_free(&run);
    if (!(own > reference + size / 2))
        fail_msg("a reference of its own takes %llu bytes, one on the base %llu, and the base has %llu",
                 (unsigned long long)own, (unsigned long long)reference, (unsigned long long)size);
    tv_trivium_exits(0, "ppo", "--out", parts, "--resume", "--quiet");
    expect_same_adapters(whole, parts, "");
    expect_same_adapters(whole, parts, "value/");
    /* The untouched policy is the reference, whose weights it shares. */
    assert_near(metric_of(whole, 0, "objective/kl"), 0, 0);
    assert_true(metric_of(whole, -1, "objective/kl") != 0);
    tv_free_all(planned, data, prefs, more, sft, reward, dpo, whole, parts, prompts);
    tv_planted_destroy(&p);
}

static void mistakes_get_a_sentence(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_LLAMA), other = tv_planted_create(TV_ARCH_GPT2);
    char *data = demonstrations(&p), *sft = tv_format("%s/sft", p.dir), *out = tv_format("%s/out", p.dir);
    tv_child_result run = fine_tune(p.base, data, sft, "1", "lora.rank=4");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    const struct {
        const char *model, *set, *word;
    } cases[] = {
        {sft, "lora.rank=8", "lora.rank is 8, and the adapter that is trained on has 4"},
        {sft, "lora.alpha=3", "lora.alpha is 3"},
        {sft, "lora.targets=[\"q_proj\"]", "lora.targets"},
        {sft, "train.trainable=all", "train.trainable"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        run = fine_tune(cases[i].model, data, out, "1", cases[i].set);
        tv_expect_sentence(&run, 2, cases[i].word, cases[i].set);
        tv_child_result_free(&run);
        assert_false(tv_path_exists(out));
    }
    tv_trivium_says(2, "lm_head", "sft", "--model", p.base, "--data", data, "--out", out, "--quiet", "--set",
                    "lora.rank=4", "--set", "lora.targets=[\"q_proj\", \"lm_head\"]");
    tv_trivium_says(2, "lora.alpha", "sft", "--model", p.base, "--data", data, "--out", out, "--quiet",
                    "--set", "lora.rank=4", "--set", "lora.alpha=0");
    tv_trivium_says(2, "model of other sizes", "eval", "--model", other.base, "--adapter", sft, "--data",
                    data, "--quiet");
    tv_trivium_says(2, "adapter_config.json", "eval", "--model", p.base, "--adapter", other.base, "--data",
                    data, "--quiet");
    tv_trivium_says(2, "is an adapter too", "eval", "--model", sft, "--adapter", sft, "--data", data,
                    "--quiet");
    tv_trivium_says(2, "--adapter", "sft", "--out", sft, "--resume", "--adapter", sft, "--quiet");
    assert_false(tv_path_exists(out));
    tv_free_all(data, sft, out);
    tv_planted_destroy(&p);
    tv_planted_destroy(&other);
}

/* All that read an adapter: over a base that took one step of full training, and over the adapter's own base
 * as it is rounded and as it lies in other files. */
static void another_base_is_refused(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_LLAMA);
    char *data = demonstrations(&p), *prefs = tv_planted_preferences(&p, "prefs.jsonl", 0, 8, 2, false);
    char *sft = tv_format("%s/sft", p.dir), *full = tv_format("%s/full", p.dir);
    char *out = tv_format("%s/out", p.dir), *prompts = tv_format("%s/prompts.jsonl", p.dir);
    char *rounded = tv_format("%s/rounded", p.dir), *gguf = tv_format("%s/base.gguf", p.dir);
    char *note = tv_format("%s/checkpoints/last/adapter_base.json", sft);
    char *stepped = tv_format("%s/checkpoints/last", full), *moved = tv_format("%s/moved", p.dir);
    char *text = text_beside(&p);
    tv_write_text(prompts, "{\"prompt\": \"tell 1\"}\n");
    tv_child_result run = fine_tune(p.base, data, sft, "1", "lora.rank=4");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    run = fine_tune(p.base, data, full, "1", "lora.rank=0");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    static const char word[] = "expected the weights that this adapter was made over";
    tv_trivium_says(2, word, "eval", "--model", full, "--adapter", sft, "--data", text, "--quiet");
    tv_trivium_says(2, word, "generate", "--model", full, "--adapter", sft, "--prompt", "tell", "--quiet");
    tv_trivium_says(2, word, "chat", "--model", full, "--adapter", sft, "--quiet");
    tv_trivium_says(2, word, "sample", "--model", full, "--adapter", sft, "--prompts", prompts, "--out", out,
                    "--quiet");
    tv_trivium_says(2, word, "export", "--model", full, "--adapter", sft, "--format", "hf", "--out", out,
                    "--quiet");
    tv_trivium_says(2, word, "sft", "--model", full, "--adapter", sft, "--data", data, "--out", out,
                    "--quiet");
    assert_false(tv_path_exists(out));

    tv_trivium_exits(0, "export", "--model", p.base, "--format", "hf", "--dtype", "bf16", "--out", rounded,
                     "--quiet");
    tv_trivium_exits(0, "export", "--model", p.base, "--format", "gguf", "--out", gguf, "--quiet");
    run = tv_run_trivium("eval", "--model", rounded, "--adapter", sft, "--data", text);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "as far as rounding tells"));
    tv_child_result_free(&run);
    run = tv_run_trivium("eval", "--model", gguf, "--adapter", sft, "--data", text);
    tv_expect_exit(&run, 0);
    assert_null(strstr(run.err, "adapter was made over"));
    tv_child_result_free(&run);

    /* In the base's own place, where the adapter finds it by its name; of a reward model and a reference. */
    assert_ok(tv_rename_durable(p.base, moved));
    tv_trivium_exits(0, "export", "--model", stepped, "--format", "hf", "--out", p.base, "--quiet");
    tv_trivium_says(2, word, "eval", "--model", sft, "--data", text, "--quiet");
    tv_trivium_says(2, word, "score", "--model", sft, "--data", prefs, "--quiet");
    tv_trivium_says(2, word, "ppo", "--model", moved, "--ref", sft, "--reward-cmd", "cat", "--prompts",
                    prompts, "--out", out, "--quiet");
    tv_trivium_says(2, word, "ppo", "--model", moved, "--reward", sft, "--prompts", prompts, "--out", out,
                    "--quiet");
    tv_trivium_says(2, "base", "sft", "--out", sft, "--resume", "--quiet");
    assert_false(tv_path_exists(out));

    tv_write_text(note, "{\"stored\": \"f32\", \"values\": [1, 2]}");
    tv_trivium_says(2, "adapter_base.json: expected", "eval", "--model", sft, "--data", text, "--quiet");
    assert_ok(tv_remove_tree(note));
    run = tv_run_trivium("eval", "--model", full, "--adapter", sft, "--data", text);
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.err, "nothing in it tells"));
    tv_child_result_free(&run);
    run = tv_run_trivium("eval", "--model", p.base, "--adapter", sft, "--data", text);
    tv_expect_exit(&run, 0);
    assert_null(strstr(run.err, "nothing in it tells"));
    tv_child_result_free(&run);
    tv_free_all(text, data, prefs, sft, full, out, prompts, rounded, gguf, note, stepped, moved);
    tv_planted_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_adapter_is_trained_resumed_and_merged),
        cmocka_unit_test(all_stages_take_adapters),
        cmocka_unit_test(mistakes_get_a_sentence),
        cmocka_unit_test(another_base_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
