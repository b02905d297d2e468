/* Runs on preferences and their pairs: see pair_runs.h. */
#include "support/pair_runs.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "base/tokens.h"
#include "stages/kto_examples.h"
#include "support/open_model.h"
#include "support/support.h"
#include "text/tokenizer_json.h"

tv_run_result tv_train_on_pairs(const char *run, const char *model, const char *data, const char *val,
                                const char *const *sets) {
    char *val_set = val ? tv_format("data.val=[\"%s\"]", val) : NULL;
    tv_stage_settings settings = tv_stage_settings_make(TV_TEXTS("data.seq_len=48", val_set), data, sets);
    const tv_run_options options = {
        .run = run, .init = model, .sets = settings.all, .set_count = settings.count};
    tv_run_result result;
    assert_ok(tv_dpo_train(&options, &result));
    tv_stage_settings_free(&settings);
    free(val_set);
    return result;
}

typedef struct sequence {
    const tv_preference_response *response;
    double logprob;
} sequence;

static tv_status fill_sequence(void *context, tv_micro_batch *batch) {
    const tv_preference_response *r = ((const sequence *)context)->response;
    for (uint64_t t = 0; t < TV_PAIR_SEQ_LEN; t++) {
        batch->tokens[t] = t < r->length ? r->ids[t] : 0;
        bool counts = t + 1 >= r->prompt_length && t + 1 < r->length;
        batch->targets[t] = counts ? r->ids[t + 1] : TV_IGNORED_TARGET;
    }
    return TV_OK;
}

static double logprob_of(tv_trainer *trainer, const tv_preference_response *response) {
    sequence s = {.response = response};
    double losses;
    uint64_t targets;
    assert_ok(tv_trainer_evaluate(trainer, 1, fill_sequence, &s, NULL, NULL, &losses, &targets));
    assert_int_equal(targets, response->length - response->prompt_length);
    return -losses;
}

void tv_pair_logprobs(tv_device *device, const char *directory, const tv_dpo_pairs *pairs, double *logprobs) {
    tv_model_directory *source = NULL;
    tv_model *model = NULL;
    tv_trainer *trainer = NULL;
    tv_test_open_model(device, directory, false, &source, &model);
    assert_ok(tv_trainer_create(
        model, &(tv_trainer_options){.stage = "test", .batch = 1, .tokens = TV_PAIR_SEQ_LEN, .grad_accum = 1},
        &trainer));
    for (uint64_t i = 0; i < pairs->count; i++) {
        logprobs[2 * i] = logprob_of(trainer, pairs->items[i].chosen);
        logprobs[2 * i + 1] = logprob_of(trainer, pairs->items[i].rejected);
    }
    tv_trainer_destroy(&trainer);
    tv_model_destroy(&model);
    tv_model_directory_close(&source);
}

tv_pair_file tv_pair_file_open(const char *model, const char *data) {
    tv_pair_file f = {0};
    assert_ok(tv_tokenizer_load(model, &f.tokenizer));
    assert_ok(tv_preferences_read(
        &(tv_preferences_options){.paths = &data, .path_count = 1, .tokenizer = f.tokenizer}, &f.set));
    f.groups = calloc(f.set->count, sizeof *f.groups);
    assert_non_null(f.groups);
    for (uint64_t i = 0; i < f.set->count; i++)
        f.groups[i] = &f.set->groups[i];
    assert_ok(tv_dpo_pairs_create(&(tv_preference_list){f.groups, f.set->count}, TV_PAIR_SEQ_LEN, &f.pairs));
    return f;
}

void tv_pair_file_close(tv_pair_file *f) {
    tv_dpo_pairs_free(&f->pairs);
    free((void *)f->groups);
    tv_preferences_destroy(&f->set);
    tv_tokenizer_destroy(&f->tokenizer);
}

tv_pair_file tv_pair_file_open_examples(const char *model, const char *data) {
    tv_pair_file f = {0};
    assert_ok(tv_tokenizer_load(model, &f.tokenizer));
    assert_ok(tv_preferences_read(
        &(tv_preferences_options){
            .paths = &data, .path_count = 1, .tokenizer = f.tokenizer, .unpaired = true},
        &f.set));
    f.groups = calloc(f.set->count, sizeof *f.groups);
    assert_non_null(f.groups);
    uint64_t count = 0;
    for (uint64_t i = 0; i < f.set->count; i++)
        if (f.set->groups[i].count == 1 || f.set->groups[i].responses[1].rank > 0)
            f.groups[count++] = &f.set->groups[i];
    assert_ok(tv_kto_examples_create(&(tv_preference_list){f.groups, count}, TV_PAIR_SEQ_LEN, &f.pairs));
    return f;
}

void tv_pair_logprobs_before(tv_device *device, const char *base, const char *run, int step,
                             const tv_dpo_pairs *pairs, double *logprobs) {
    char *directory = step ? tv_format("%s/checkpoints/step-%d", run, step) : tv_format("%s", base);
    tv_pair_logprobs(device, directory, pairs, logprobs);
    free(directory);
}
