/* From a stream of tokens to its loss: see evaluate.h. */
#include "run/evaluate.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/log.h"
#include "formats/load.h"
#include "formats/model_tokenizer.h"
#include "kernels/classifier.h"
#include "run/checkpoint.h"
#include "run/evaluate_choice.h"
#include "run/evaluate_examples.h"
#include "run/ranks_run.h"
#include "text/shard.h"
#include "text/source.h"
#include "train/trainer.h"
#include "vk/device.h"

enum {
    LONGEST_DEFAULT_WINDOW = 1024, /* beyond it the default would ask for memory that nobody meant to spend */
    ROWS_PER_BATCH = 2048          /* enough for a GPU to be busy; a CPU gains nothing from more */
};

typedef struct evaluating {
    const tv_evaluate_options *options;
    char *path; /* of the model */
    tv_model_directory *directory;
    const tv_parameter_list *list;
    /* The stream: a shard, or the ids of a text. */
    tv_shard *shard;
    tv_tokenizer *tokenizer;
    tv_ids ids;
    tv_source_totals totals;
    uint64_t count;
    tv_multiple_choice *questions; /* or these */
    tv_examples *examples;         /* or these */
    uint64_t T, stride, batch;
    uint64_t window; /* the next one */
    tv_device *device;
    tv_model *model;
    tv_trainer *trainer;
    tv_writer *logprobs;
    tv_text lines;
    uint64_t seen; /* targets that were handed out */
    bool begins;   /* the first token is what the tokenizer puts before a text */
} evaluating;

/* ---- the stream ---- */

/* By content; a name that ends in .bin says what was meant where the content is wrong. */
static tv_status is_shard(const char *path, bool *shard) {
    uint8_t bytes[4] = {0};
    uint64_t length = strlen(path), got = 0, size;
    tv_reader *reader = NULL;
    *shard = length > 4 && strcmp(path + length - 4, ".bin") == 0;
    /* What a pipe gave once it does not give again. */
    if (tv_file_size(path, &size) != TV_OK)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_reader_open(path, &reader));
    tv_status status = tv_reader_read(reader, bytes, sizeof bytes, &got);
    tv_reader_close(&reader);
    *shard |= got == sizeof bytes && tv_shard_begins(bytes);
    return status;
}

static tv_status add_document(void *context, const uint8_t *bytes, uint64_t length) {
    evaluating *e = context;
    uint32_t end = tv_tokenizer_info_of(e->tokenizer)->end_of_text;
    bool first = e->ids.size == 0;
    TV_RETURN_IF_FAILED(tv_tokenizer_begin_document(e->tokenizer, &e->ids));
    e->begins |= first && e->ids.size > 0;
    TV_RETURN_IF_FAILED(tv_tokenizer_encode(e->tokenizer, bytes, length, false, &e->ids));
    return end == TV_NO_TOKEN ? TV_OK : tv_ids_append(&e->ids, &end, 1);
}

static tv_status load_tokenizer(evaluating *e) {
    const char *path = tv_model_tokenizer_path(e->directory);
    if (!tv_model_has_tokenizer(path))
        return tv_fail(TV_E_DATA,
                       "%s is text and %s has no tokenizer.json to read it with; put the tokenizer there, or "
                       "give a token shard",
                       e->options->data, e->path);
    TV_RETURN_IF_FAILED(tv_model_tokenizer_load(path, &e->tokenizer));
    return tv_tokenizer_expect_vocab(e->tokenizer, e->list->config.vocab_size, e->path);
}

static tv_status check_vocabulary(const evaluating *e, const uint32_t *ids, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        if (ids[i] >= e->list->config.vocab_size)
            return tv_fail(TV_E_DATA,
                           "%s: the tokenizer gives token %" PRIu32 " and the model's vocab_size is %" PRIu64
                           "; they do not belong together",
                           e->path, ids[i], e->list->config.vocab_size);
    return TV_OK;
}

static tv_status read_text(evaluating *e) {
    TV_RETURN_IF_FAILED(load_tokenizer(e));
    if (tv_tokenizer_info_of(e->tokenizer)->end_of_text == TV_NO_TOKEN)
        tv_warn("%s has no end-of-text token: nothing stands between documents", e->path);
    TV_RETURN_IF_FAILED(tv_source_read(&e->options->data, 1, false, add_document, e, &e->totals));
    TV_RETURN_IF_FAILED(check_vocabulary(e, e->ids.data, e->ids.size));
    e->count = e->ids.size;
    return TV_OK;
}

/* ---- questions, where each ending is a sequence of its own ---- */

static tv_status read_questions(evaluating *e) {
    const tv_evaluate_options *o = e->options;
    uint64_t positions = e->list->config.max_positions;
    if (o->tokens || o->stride)
        return tv_fail(
            TV_E_USAGE,
            "%s: expected no --seq-len and no --stride for questions with endings, which are read whole",
            o->data);
    TV_RETURN_IF_FAILED(load_tokenizer(e));
    TV_RETURN_IF_FAILED(tv_multiple_choice_read(
        o->data, &(tv_multiple_choice_options){.tokenizer = e->tokenizer, .max_tokens = positions + 1},
        &e->questions));
    for (uint64_t i = 0; i < e->questions->ending_count; i++)
        TV_RETURN_IF_FAILED(
            check_vocabulary(e, e->questions->endings[i].ids, e->questions->endings[i].length));
    e->T = e->questions->longest - 1;
    e->batch = o->batch ? o->batch : tv_max_u64(1, ROWS_PER_BATCH / e->T);
    return TV_OK;
}

/* ---- demonstrations, whose answers are the targets ---- */

static tv_status read_examples(evaluating *e) {
    const tv_evaluate_options *o = e->options;
    if (o->tokens || o->stride)
        return tv_fail(TV_E_USAGE,
                       "%s: expected no --seq-len and no --stride for prompts with completions, which are "
                       "read whole",
                       o->data);
    TV_RETURN_IF_FAILED(load_tokenizer(e));
    TV_RETURN_IF_FAILED(
        tv_examples_read(&(tv_examples_options){.paths = &o->data,
                                                .path_count = 1,
                                                .tokenizer = e->tokenizer,
                                                .max_tokens = e->list->config.max_positions + 1},
                         &e->examples));
    for (uint64_t i = 0; i < e->examples->count; i++)
        TV_RETURN_IF_FAILED(check_vocabulary(e, e->examples->items[i].ids, e->examples->items[i].length));
    if (e->examples->truncated || e->examples->dropped)
        tv_warn("%s: %" PRIu64 " examples were cut at the model's %" PRIu64 " positions and %" PRIu64
                " left out, as nothing of their answers was left",
                o->data, e->examples->truncated, e->list->config.max_positions, e->examples->dropped);
    e->T = tv_examples_longest(e->examples);
    e->batch = tv_min_u64(e->examples->count, o->batch ? o->batch : tv_max_u64(1, ROWS_PER_BATCH / e->T));
    return TV_OK;
}

static tv_status answer_questions(evaluating *e, tv_evaluate_result *result) {
    uint64_t count = e->questions->ending_count;
    double *logprobs = calloc(count, sizeof *logprobs);
    if (!logprobs)
        return tv_fail(TV_E_MEMORY, "out of host memory for %" PRIu64 " endings", count);
    tv_status status;
    TV_TRY(tv_choice_score(e->trainer, e->questions, logprobs));
    for (uint64_t i = 0; i < count && e->logprobs; i++) {
        char line[32];
        int length = snprintf(line, sizeof line, "%.9g\n", logprobs[i]);
        TV_TRY(tv_writer_write(e->logprobs, line, (uint64_t)length));
    }
    *result = (tv_evaluate_result){
        .questions = e->questions->count, .endings = count, .seq_len = e->T, .batch = e->batch};
    tv_choice_accuracy(e->questions, logprobs, &result->accuracy, &result->accuracy_norm);
done:
    free(logprobs);
    return status;
}

/* ---- either ---- */

static tv_status open_stream(evaluating *e) {
    bool shard;
    TV_RETURN_IF_FAILED(is_shard(e->options->data, &shard));
    if (shard) {
        TV_RETURN_IF_FAILED(
            tv_fail_advice(tv_shard_open(e->options->data, (uint32_t)e->list->config.vocab_size, &e->shard),
                           TV_E_DATA, "`trivium data pack` makes shards"));
        e->count = tv_shard_count(e->shard);
    } else {
        TV_RETURN_IF_FAILED(read_text(e));
    }
    if (e->count < 2)
        return tv_fail(TV_E_DATA,
                       "%s: expected at least two tokens, one to read and one to predict, found %" PRIu64,
                       e->options->data, e->count);
    return TV_OK;
}

static tv_status read_tokens(const evaluating *e, uint64_t start, uint64_t count, uint32_t *out) {
    if (e->shard)
        return tv_shard_read(e->shard, start, count, out);
    memcpy(out, e->ids.data + start, count * sizeof *out);
    return TV_OK;
}

/* ---- windows: number w reads tokens [w * stride, w * stride + T) and predicts the ones after them ---- */

static uint64_t window_count(const evaluating *e) {
    uint64_t targets = e->count - 1;
    return targets <= e->T ? 1 : 1 + tv_div_up(targets - e->T, tv_max_u64(1, e->stride));
}

static tv_status plan_windows(evaluating *e) {
    const tv_evaluate_options *o = e->options;
    uint64_t positions = e->list->config.max_positions;
    if (o->tokens > positions)
        return tv_fail(TV_E_CONFIG,
                       "a window of %" PRIu64 " tokens was asked for and the model has positions for %" PRIu64
                       "; use a smaller --seq-len",
                       o->tokens, positions);
    e->T = o->tokens ? o->tokens : tv_min_u64(positions, LONGEST_DEFAULT_WINDOW);
    e->stride = o->stride ? o->stride : e->T;
    if (e->stride > e->T)
        return tv_fail(TV_E_USAGE,
                       "a stride of %" PRIu64 " leaves out tokens between windows of %" PRIu64
                       "; use a --stride of at most --seq-len",
                       e->stride, e->T);
    if (e->count - 1 < e->T) {
        e->T = e->count - 1;
        e->stride = tv_min_u64(e->stride, e->T);
    }
    e->batch = o->batch ? o->batch : tv_max_u64(1, ROWS_PER_BATCH / e->T);
    e->batch = tv_min_u64(e->batch, window_count(e));
    return TV_OK;
}

/* What is outside the stream, or was counted by the window before, is an ignored target. */
static tv_status fill_window(const evaluating *e, uint64_t window, uint32_t *tokens, uint32_t *targets) {
    uint64_t start = tv_min_u64(window * e->stride, e->count - 1);
    uint64_t inside = window < window_count(e) ? tv_min_u64(e->T, e->count - 1 - start) : 0;
    uint64_t counted_before = window == 0 ? 0 : e->T - e->stride;
    TV_RETURN_IF_FAILED(read_tokens(e, start, inside, tokens));
    TV_RETURN_IF_FAILED(read_tokens(e, start + 1, inside, targets));
    for (uint64_t t = 0; t < e->T; t++) {
        if (t >= inside)
            tokens[t] = 0;
        if (t >= inside || t < counted_before)
            targets[t] = TV_IGNORED_TARGET;
    }
    return TV_OK;
}

static tv_status next_batch(void *context, tv_micro_batch *batch) {
    evaluating *e = context;
    for (uint64_t b = 0; b < e->batch; b++)
        TV_RETURN_IF_FAILED(fill_window(e, e->window++, batch->tokens + b * e->T, batch->targets + b * e->T));
    return TV_OK;
}

/* ---- losses ---- */

static tv_status visit_losses(void *context, const float *losses, const uint32_t *targets, uint64_t count) {
    evaluating *e = context;
    e->lines.size = 0;
    for (uint64_t i = 0; i < count; i++) {
        if (targets[i] == TV_IGNORED_TARGET)
            continue;
        e->seen++;
        if (!isfinite(losses[i]))
            return tv_fail(TV_E_NUMERIC,
                           "%s: the loss of token %" PRIu64
                           " of %s is not finite; the weights are broken, or "
                           "too large for fp32",
                           e->path, e->seen, e->options->data);
        if (!e->logprobs)
            continue;
        char line[32];
        int length = snprintf(line, sizeof line, "%.9g\n", -(double)losses[i]);
        TV_RETURN_IF_FAILED(tv_text_append(&e->lines, line, (uint64_t)length));
    }
    return e->logprobs ? tv_writer_write(e->logprobs, e->lines.data, e->lines.size) : TV_OK;
}

static tv_trainer_options trainer_options(const evaluating *e) {
    tv_trainer_options options =
        e->questions  ? tv_choice_trainer(e->T + 1, e->batch)
        : e->examples ? tv_examples_trainer(e->T, e->batch)
                      : (tv_trainer_options){.stage = "eval", .batch = e->batch, .tokens = e->T};
    options.ranks = e->options->ranks;
    return options;
}

/* A batch that nobody asked for gives way to the device's memory. */
static tv_status fit_batch(evaluating *e) {
    uint64_t available = tv_device_bytes_available(e->device);
    for (;; e->batch /= 2) {
        tv_trainer_options planned = trainer_options(e);
        tv_trainer_bytes bytes;
        char needed[32], there[32];
        tv_status status = tv_trainer_measure(e->list, tv_device_caps(e->device), &planned, &bytes);
        if (status == TV_OK && bytes.total <= available)
            return TV_OK;
        if ((status == TV_OK || status == TV_E_FIT) && !e->options->batch && e->batch > 1)
            continue;
        if (status != TV_OK)
            return status;
        return tv_fail(TV_E_FIT,
                       "%s of %" PRIu64 " tokens, %" PRIu64
                       " side by side, take %s of device memory and %s has %s; use a smaller %s--batch-size",
                       e->questions  ? "endings with their texts"
                       : e->examples ? "examples"
                                     : "windows",
                       e->T, e->batch, tv_format_bytes(bytes.total, needed, sizeof needed),
                       tv_device_caps(e->device)->name, tv_format_bytes(available, there, sizeof there),
                       e->questions || e->examples ? "" : "--seq-len or ");
    }
}

static tv_status open_model(evaluating *e) {
    TV_RETURN_IF_FAILED(tv_device_open(&e->options->device, &e->device));
    TV_RETURN_IF_FAILED(fit_batch(e));
    TV_RETURN_IF_FAILED(tv_model_create(e->device, e->list, false, &e->model));
    TV_RETURN_IF_FAILED(tv_model_load(e->model, e->directory));
    tv_trainer_options options = trainer_options(e);
    return tv_trainer_create(e->model, &options, &e->trainer);
}

static void describe(const evaluating *e, double loss_sum, uint64_t targets, tv_evaluate_result *result) {
    *result = (tv_evaluate_result){.loss = loss_sum / (double)targets,
                                   .perplexity = exp(loss_sum / (double)targets),
                                   .tokens = targets,
                                   .bytes = e->totals.bytes,
                                   .bits_per_byte = NAN,
                                   .seq_len = e->T,
                                   .batch = e->batch};
    if (e->totals.bytes)
        result->bits_per_byte = (loss_sum + (e->begins ? 0 : log((double)e->list->config.vocab_size))) /
                                log(2) / (double)e->totals.bytes;
}

static void release(evaluating *e) {
    tv_writer_abort(&e->logprobs);
    tv_trainer_destroy(&e->trainer);
    tv_model_destroy(&e->model);
    tv_device_close(&e->device);
    tv_shard_close(&e->shard);
    tv_tokenizer_destroy(&e->tokenizer);
    tv_multiple_choice_destroy(&e->questions);
    tv_examples_destroy(&e->examples);
    tv_model_directory_close(&e->directory);
    tv_ids_free(&e->ids);
    tv_text_free(&e->lines);
    free(e->path);
}

/* Of this rank alone. */
static tv_status open_all(evaluating *e) {
    const tv_evaluate_options *options = e->options;
    TV_RETURN_IF_FAILED(tv_model_given_open(options->model, options->adapter, &e->path, &e->directory));
    e->list = tv_model_directory_parameters(e->directory);
    TV_RETURN_IF_FAILED(tv_model_config_expect_head(&e->list->config, TV_MODEL_HEAD_LANGUAGE, e->path));
    if (tv_multiple_choice_found(options->data)) {
        TV_RETURN_IF_FAILED(read_questions(e));
    } else if (tv_examples_found(options->data)) {
        TV_RETURN_IF_FAILED(read_examples(e));
    } else {
        TV_RETURN_IF_FAILED(open_stream(e));
        TV_RETURN_IF_FAILED(plan_windows(e));
    }
    if (options->logprobs && tv_ranks_leads(options->ranks))
        TV_RETURN_IF_FAILED(tv_writer_open_named(options->logprobs, &e->logprobs));
    return open_model(e);
}

/* By all: a batch that one device had no room for is halved for all, so that batches are the same. */
static tv_status agree_on_batch(evaluating *e) {
    uint64_t least;
    TV_RETURN_IF_FAILED(tv_ranks_least(e->options->ranks, e->batch, &least));
    if (least == e->batch)
        return TV_OK;
    e->batch = least;
    tv_trainer_destroy(&e->trainer);
    tv_trainer_options options = trainer_options(e);
    return tv_trainer_create(e->model, &options, &e->trainer);
}

tv_status tv_evaluate(const tv_evaluate_options *options, tv_evaluate_result *result) {
    evaluating e = {.options = options};
    double loss_sum = 0;
    uint64_t targets = 0;
    tv_status status = tv_ranks_agree(options->ranks, open_all(&e));
    if (status != TV_OK)
        goto done;
    TV_TRY(tv_ranks_say_devices(options->ranks, e.device));
    TV_TRY(agree_on_batch(&e));
    if (e.questions)
        TV_TRY(answer_questions(&e, result));
    else if (e.examples)
        TV_TRY(tv_trainer_evaluate(e.trainer, tv_div_up(e.examples->count, e.batch), tv_examples_next,
                                   &(tv_example_batches){.examples = e.examples}, visit_losses, &e, &loss_sum,
                                   &targets));
    else
        TV_TRY(tv_trainer_evaluate(e.trainer, tv_div_up(window_count(&e), tv_max_u64(1, e.batch)), next_batch,
                                   &e, visit_losses, &e, &loss_sum, &targets));
    if (e.logprobs)
        TV_TRY(tv_writer_commit(&e.logprobs));
    if (!e.questions)
        describe(&e, loss_sum, targets, result);
done:
    release(&e);
    return status;
}
