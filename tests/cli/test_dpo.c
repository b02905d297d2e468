/* trivium dpo as a person runs it: a run with all its files, exact resume also when the model it began from
 * is gone, the memory plan, and a sentence for every mistake.
 *
 * Tried on 2026-11-26, each fails in resume_continues_exactly: pairs counted from 0 after a resume;
 * references computed anew from the checkpoint's model.
 */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "support/planted.h"
#include "support/small_run.h"

static tv_child_result start(const tv_planted *p, const char *data, const char *out, const char *stop_after) {
    return tv_run_trivium("dpo", "--model", p->base, "--data", data, "--val-fraction", "0.3", "--out", out,
                          "--quiet", "--set", "train.batch_size=3", "--set", "train.grad_accum=2", "--set",
                          "train.epochs=2", "--set", "train.lr=1e-2", "--set", "train.eval_every=4", "--set",
                          "train.checkpoint_every=3", "--set", "data.seq_len=48", "--stop-after", stop_after);
}

/* 36 training pairs, six a step, stopped after 5 of 12 steps. The second half finds the model it began from
 * no more. */
static void resume_continues_exactly(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_LLAMA);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 51, 2, false);
    char *whole = tv_format("%s/whole", p.dir), *parts = tv_format("%s/parts", p.dir);
    char *others = tv_planted_preferences(&p, "others.jsonl", 9, 51, 2, false);
    tv_child_result run = start(&p, data, whole, "0");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    run = start(&p, data, parts, "5");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    assert_ok(tv_remove_tree(p.base));
    /* Other data than the references are of. */
    char *set = tv_format("data.train=[\"%s\"]", others);
    tv_trivium_says(2, "data.train[0] was ", "dpo", "--out", parts, "--quiet", "--resume", "--set", set);
    /* The reference is gone, so other pairs cannot be taken over. */
    tv_trivium_says(2, "other pairs than data.train gives now", "dpo", "--out", parts, "--quiet", "--resume",
                    "--set", set, "--accept-changes");
    run = tv_run_trivium("dpo", "--out", parts, "--quiet", "--resume", "--json");
    tv_expect_exit(&run, 0);
    cJSON *result = NULL;
    assert_ok(tv_json_parse(run.out, strlen(run.out), "output", &result));
    assert_near(tv_json_get(result, "step")->valuedouble, 12, 0);
    assert_true(cJSON_IsTrue(tv_json_get(result, "finished")));
    double planned = tv_json_get(result, "planned_bytes")->valuedouble;
    assert_near(tv_json_get(result, "device_bytes")->valuedouble, planned, 0.02 * planned);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    tv_expect_same_run(whole, parts);
    tv_expect_same_file(whole, parts, "checkpoints/last/reference_logprobs.safetensors");
    tv_expect_metrics_in_order(parts, false);
    tv_expect_whole_checkpoints(parts);
    tv_free_all(set, others, whole, parts, data);
    tv_planted_destroy(&p);
}

/* simpo reads no reference: no file of one, and a resumed run is the whole one. Another loss is another run.
 *
 * Tried on 2026-11-29, and fails here: references scored all the same. */
static void a_loss_without_a_reference_keeps_none(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 24, 2, false);
    char *out[] = {tv_format("%s/whole", p.dir), tv_format("%s/parts", p.dir)};
    for (int i = 0; i < 2; i++) {
        tv_child_result run =
            tv_run_trivium("dpo", "--model", p.base, "--data", data, "--out", out[i], "--quiet", "--set",
                           "dpo.loss=simpo", "--set", "train.batch_size=4", "--set", "train.lr=1e-2", "--set",
                           "data.seq_len=48", "--stop-after", i ? "2" : "0");
        tv_expect_exit(&run, 0);
        assert_null(strstr(run.err, "reference"));
        tv_child_result_free(&run);
    }
    tv_trivium_says(2, "a run keeps what stands in its checkpoints", "dpo", "--out", out[1], "--quiet",
                    "--resume", "--set", "dpo.loss=sigmoid");
    tv_child_result run = tv_run_trivium("dpo", "--out", out[1], "--quiet", "--resume");
    tv_expect_exit(&run, 0);
    tv_child_result_free(&run);
    tv_expect_same_run(out[0], out[1]);
    char *references = tv_format("%s/checkpoints/last/reference_logprobs.safetensors", out[1]);
    assert_false(tv_path_exists(references));
    tv_free_all(references, out[1], out[0], data);
    tv_planted_destroy(&p);
}

static void a_dry_run_writes_nothing(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 8, 2, true), *out = tv_format("%s/run", p.dir);
    tv_child_result run = tv_run_trivium("dpo", "--model", p.base, "--data", data, "--out", out, "--dry-run",
                                         "--set", "data.seq_len=48");
    tv_expect_exit(&run, 0);
    assert_non_null(strstr(run.out, "parameters"));
    assert_false(tv_path_exists(out));
    tv_child_result_free(&run);
    free(out);
    free(data);
    tv_planted_destroy(&p);
}

static void mistakes_get_a_sentence(void **state) {
    (void)state;
    tv_planted p = tv_planted_create(TV_ARCH_GPT2);
    char *data = tv_planted_preferences(&p, "prefs.jsonl", 0, 8, 2, true), *out = tv_format("%s/run", p.dir);
    char *broken = tv_format("%s/broken.jsonl", p.dir), *reward = tv_planted_reward(&p, "reward", 1);
    tv_write_text(broken,
                  "{\"prompt\": \"a\", \"chosen\": \" b\", \"rejected\": \" c\"}\n{\"prompt\": \"a\"}\n");
    const struct {
        const char *model, *data, *set, *word;
    } cases[] = {
        {NULL, data, "data.seq_len=48", "--model"},
        {p.base, NULL, "data.seq_len=48", "--data"},
        {p.base, broken, "data.seq_len=48", "broken.jsonl line 2"},
        {reward, data, "data.seq_len=48", "expected a language model, found a reward model"},
        {p.base, data, "data.seq_len=4096", "seq_len"},
        {p.base, data, "data.seq_len=3", "none"},
        {p.base, data, "dpo.beta=-1", "beta"},
        {p.base, data, "lora.rank=-1", "lora.rank"},
    };
    for (size_t i = 0; i < TV_COUNT(cases); i++) {
        const char *argv[16] = {TRIVIUM_COMMAND, "dpo", "--quiet", "--out", out, "--set", cases[i].set};
        int count = 7;
        if (cases[i].model) {
            argv[count++] = "--model";
            argv[count++] = cases[i].model;
        }
        if (cases[i].data) {
            argv[count++] = "--data";
            argv[count++] = cases[i].data;
        }
        tv_child_result run = tv_child_run(argv);
        tv_expect_sentence(&run, 2, cases[i].word, cases[i].word);
        tv_child_result_free(&run);
        assert_false(tv_path_exists(out));
    }
    tv_free_all(reward, broken, out, data);
    tv_planted_destroy(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resume_continues_exactly),
        cmocka_unit_test(a_loss_without_a_reference_keeps_none),
        cmocka_unit_test(a_dry_run_writes_nothing),
        cmocka_unit_test(mistakes_get_a_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
