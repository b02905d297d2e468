/* Stage 1: see pretrain.h. */
#include "stages/pretrain.h"

#include <math.h>
#include <stdlib.h>

#include "text/loader.h"

typedef struct pretraining {
    tv_loader *train, *val;
    tv_metric_number *mix; /* tokens that each source gave; NULL without weights */
} pretraining;

/* ---- model and data ---- */

/* The configuration's model, drawn by seed, where nothing is continued. */
static tv_status choose_model(void *self, tv_run *run) {
    (void)self;
    if (run->source)
        return TV_OK;
    if (!run->settings.model)
        return tv_fail(TV_E_CONFIG, "expected a \"model\" in the configuration or --init DIR, found neither");
    tv_model_config config;
    const char *where = run->options->config ? run->options->config : "settings";
    TV_RETURN_IF_FAILED(tv_model_config_read(run->settings.model, where, true, &config));
    if (run->tokenizer && config.eos_token_id < 0) {
        uint32_t end = tv_tokenizer_info_of(run->tokenizer)->end_of_text;
        if (end != TV_NO_TOKEN && end < config.vocab_size)
            config.eos_token_id = end;
    }
    TV_RETURN_IF_FAILED(tv_parameter_list_create(&config, &run->own_list));
    run->list = run->own_list;
    return TV_OK;
}

static uint32_t end_of_text(const tv_run *run) {
    uint32_t end = run->tokenizer ? tv_tokenizer_info_of(run->tokenizer)->end_of_text : TV_NO_TOKEN;
    return end != TV_NO_TOKEN ? end : (uint32_t)run->list->config.eos_token_id;
}

tv_status tv_pretrain_loader_advice(tv_status status, bool shuffle) {
    tv_fail_advice(status, TV_E_FIT, "pack more text or lower data.seq_len%s",
                   shuffle ? "" : " or train.batch_size");
    tv_fail_advice(status, TV_E_MEMORY, "lower train.batch_size or data.seq_len");
    return tv_fail_advice(status, TV_E_DATA, "`trivium data pack` makes shards");
}

static tv_status open_loader(const tv_run *run, const tv_data_source *sources, uint64_t count, bool training,
                             tv_loader **loader) {
    const tv_data_settings *data = &run->settings.data;
    tv_loader_source *list = calloc(count + 1, sizeof *list);
    if (!list)
        return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    bool weighted = false;
    for (uint64_t i = 0; i < count; i++)
        weighted |= sources[i].weight != 1;
    for (uint64_t i = 0; i < count; i++)
        list[i] = (tv_loader_source){sources[i].path, training && weighted ? sources[i].weight : 0};
    tv_status status =
        tv_loader_create(&(tv_loader_options){.sources = list,
                                              .source_count = count,
                                              .batch_size = (uint32_t)run->settings.train.batch_size,
                                              .seq_len = (uint32_t)data->seq_len,
                                              .vocab_size = (uint32_t)run->list->config.vocab_size,
                                              .shuffle = training && data->shuffle,
                                              .keep_tail = !training,
                                              .document_mask = data->document_mask,
                                              .end_of_text = end_of_text(run),
                                              .seed = run->settings.train.seed,
                                              .first_row = training ? run->state.examples : 0},
                         loader);
    free(list);
    return tv_pretrain_loader_advice(status, training && data->shuffle);
}

/* Names for the tokens of each source, where the loader draws among several. */
static tv_status name_mix(pretraining *p, const tv_run *run) {
    uint64_t count = tv_loader_stream_count(p->train);
    if (count < 2)
        return TV_OK;
    p->mix = calloc(count, sizeof *p->mix);
    for (uint64_t i = 0; p->mix && i < count; i++) {
        p->mix[i].name = tv_format("tokens of %s", run->settings.data.train[i].path);
        if (!p->mix[i].name)
            return tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
    }
    return p->mix ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the list of data");
}

static void free_mix(pretraining *p) {
    for (uint64_t i = 0; p->mix && i < tv_loader_stream_count(p->train); i++)
        free((char *)(uintptr_t)p->mix[i].name);
    free(p->mix);
    p->mix = NULL;
}

static tv_status open_data(void *self, tv_run *run) {
    pretraining *p = self;
    const tv_data_settings *data = &run->settings.data;
    const tv_train_settings *train = &run->settings.train;
    if (data->document_mask && !run->tokenizer && run->list->config.eos_token_id < 0)
        return tv_fail(
            TV_E_CONFIG,
            "data.document_mask needs the end-of-text token: set data.tokenizer or the model's eos_token_id");
    TV_RETURN_IF_FAILED(open_loader(run, data->train, data->train_count, true, &p->train));
    TV_RETURN_IF_FAILED(name_mix(p, run));
    if (data->val_count)
        TV_RETURN_IF_FAILED(open_loader(run, data->val, data->val_count, false, &p->val));
    uint64_t pass_steps = tv_max_u64(1, tv_loader_pass_batches(p->train) / train->grad_accum);
    /* Rows that a step in batches of another size began with may leave a part of one. */
    double done = (double)run->state.examples / (double)(train->batch_size * train->grad_accum);
    run->total_steps =
        train->steps ? train->steps
                     : run->state.step + (uint64_t)ceil(fmax(0, train->epochs * (double)pass_steps - done));
    run->trainer_options = (tv_trainer_options){
        .batch = train->batch_size, .tokens = data->seq_len, .document_mask = data->document_mask};
    return TV_OK;
}

static void plan(void *self, const tv_run *run, tv_run_plan *plan) {
    const pretraining *p = self;
    const tv_train_settings *train = &run->settings.train;
    double batches = (double)run->total_steps * (double)train->grad_accum;
    uint64_t rows = tv_loader_pass_batches(p->train) * train->batch_size;
    *plan = (tv_run_plan){.items = "tokens",
                          .held_out = p->val ? tv_loader_token_count(p->val) : 0,
                          .tokens = rows * run->settings.data.seq_len,
                          .passes = batches / (double)tv_loader_pass_batches(p->train)};
}

/* ---- steps ---- */

static tv_status fill_batch(tv_loader *loader, tv_micro_batch *batch) {
    return tv_loader_next(loader, &(tv_batch){batch->tokens, batch->targets, batch->doc_start});
}

static tv_status next_batch(void *self, tv_micro_batch *batch) {
    return fill_batch(((pretraining *)self)->train, batch);
}

static uint64_t position(const void *self) {
    return tv_loader_position(((const pretraining *)self)->train);
}

static tv_status next_val_batch(void *self, tv_micro_batch *batch) {
    return fill_batch(((pretraining *)self)->val, batch);
}

/* What each source has given so far; nothing may be in flight, so that the loader stands at this step. */
static void report_mix(const pretraining *p, tv_metrics_line *line) {
    if (!p->mix)
        return;
    line->extra = p->mix;
    line->extra_count = tv_loader_stream_count(p->train);
    for (uint64_t i = 0; i < line->extra_count; i++)
        p->mix[i].value = (double)tv_loader_stream_tokens(p->train, i);
}

static bool has_evaluation(const void *self) {
    const pretraining *p = self;
    return p->val || p->mix;
}

static tv_status evaluate(void *self, tv_run *run, tv_metrics_line *line) {
    pretraining *p = self;
    report_mix(p, line);
    if (!p->val)
        return TV_OK;
    uint64_t batch_tokens = run->settings.train.batch_size * run->settings.data.seq_len;
    uint64_t batches = tv_loader_pass_batches(p->val);
    if (run->settings.train.eval_tokens)
        batches = tv_min_u64(batches, tv_div_up(run->settings.train.eval_tokens, batch_tokens));
    double loss_sum;
    uint64_t targets;
    TV_RETURN_IF_FAILED(tv_loader_seek(p->val, 0));
    TV_RETURN_IF_FAILED(
        tv_trainer_evaluate(run->trainer, batches, next_val_batch, p, NULL, NULL, &loss_sum, &targets));
    line->val_loss = targets ? loss_sum / (double)targets : 0;
    line->has_val_loss = true;
    return TV_OK;
}

static const tv_stage stage = {
    .kind = TV_STAGE_PRETRAIN,
    .name = "pretrain",
    .doing = "pretraining",
    .no_data = "data.train: expected at least one token shard, found none; make one with trivium data pack",
    .choose_model = choose_model,
    .open_data = open_data,
    .plan = plan,
    .next = next_batch,
    .position = position,
    .has_evaluation = has_evaluation,
    .evaluate = evaluate,
};

tv_status tv_pretrain(const tv_run_options *options, tv_run_result *result) {
    pretraining p = {0};
    tv_status status = tv_run_stage(&stage, &p, options, result);
    free_mix(&p);
    tv_loader_destroy(&p.train);
    tv_loader_destroy(&p.val);
    return status;
}
