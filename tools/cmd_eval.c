/* trivium eval: the loss of a model on text, JSON lines or a token shard. */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "run/evaluate.h"
#include "tools/commands.h"
#include "tools/open_model.h"
#include "tools/options.h"
#include "tools/ranks_command.h"

typedef struct measuring_command {
    tv_evaluate_options eval;
    tv_common_options common;
    tv_evaluate_result result;
} measuring_command;

static bool add_answers(cJSON *object, const tv_evaluate_result *result) {
    return tv_json_set_number(object, "accuracy", result->accuracy) &&
           tv_json_set_number(object, "accuracy_norm", result->accuracy_norm) &&
           tv_json_set_number(object, "questions", (double)result->questions) &&
           tv_json_set_number(object, "endings", (double)result->endings);
}

static bool add_loss(cJSON *object, const tv_evaluate_result *result) {
    bool built = tv_json_set_number(object, "loss", result->loss) &&
                 tv_json_set_number(object, "perplexity", result->perplexity) &&
                 tv_json_set_number(object, "tokens", (double)result->tokens);
    if (built && result->bytes)
        built = tv_json_set_number(object, "bytes", (double)result->bytes) &&
                tv_json_set_number(object, "bits_per_byte", result->bits_per_byte);
    return built;
}

static tv_status print_json(const void *context) {
    const tv_evaluate_result *result = &((const measuring_command *)context)->result;
    cJSON *object = cJSON_CreateObject();
    bool built = object && (result->questions ? add_answers : add_loss)(object, result);
    return tv_print_result(object, built);
}

static void print_text(const void *context) {
    const tv_evaluate_result *result = &((const measuring_command *)context)->result;
    if (result->questions) {
        printf("accuracy       %.2f %%\n", 100 * result->accuracy);
        printf("accuracy_norm  %.2f %%, by the length of endings\n", 100 * result->accuracy_norm);
        printf("questions      %llu, with %llu endings\n", (unsigned long long)result->questions,
               (unsigned long long)result->endings);
        return;
    }
    printf("loss        %.6f nats per token\n", result->loss);
    printf("perplexity  %.4f\n", result->perplexity);
    printf("tokens      %llu predicted, windows of up to %llu\n", (unsigned long long)result->tokens,
           (unsigned long long)result->seq_len);
    if (result->bytes)
        printf("text        %.4f bits per byte, %llu bytes\n", result->bits_per_byte,
               (unsigned long long)result->bytes);
}

static tv_status measure(void *context) {
    measuring_command *c = context;
    return tv_evaluate(&c->eval, &c->result);
}

static tv_status run(void *context, tv_ranks *ranks) {
    measuring_command *c = context;
    tv_evaluate_options *eval = &c->eval;
    char settings[128];
    eval->ranks = ranks;
    eval->device = (tv_device_options){c->common.device, c->common.tier};
    snprintf(settings, sizeof settings, "%llu %llu %llu", (unsigned long long)eval->tokens,
             (unsigned long long)eval->stride, (unsigned long long)eval->batch);
    const tv_ranks_measuring measuring = {
        .files = {eval->model, eval->adapter, "file of data", &eval->data, 1},
        .settings = settings,
        .measure = measure,
        .print_json = print_json,
        .print_text = print_text,
        .context = c,
    };
    return tv_ranks_measure(ranks, &measuring, c->common.json);
}

tv_status cmd_eval(int argc, char **argv) {
    measuring_command command = {0};
    tv_evaluate_options *eval = &command.eval;
    bool given[3] = {false};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &eval->model,
                        "a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_adapter(&eval->adapter),
        tv_opt_required(tv_opt_existing(tv_opt_text(
            "data", "F", &eval->data,
            "a token shard, a text, a folder of texts, {\"text\": ...} JSON lines (*.jsonl), lines of "
            "questions, {\"ctx\": ..., \"endings\": [...], \"label\": 0}, or demonstrations as sft reads "
            "them, {\"prompt\": ..., \"completion\": ...}; text may be gzip or zstd compressed and needs the "
            "model's tokenizer.json"))),
        tv_opt_given(&given[0],
                     tv_opt_uint("seq-len", "T", &eval->tokens, 1, UINT64_C(1) << 24,
                                 "tokens of a window (default: the model's positions, at most 1024)")),
        tv_opt_given(
            &given[1],
            tv_opt_uint("stride", "S", &eval->stride, 1, UINT64_C(1) << 24,
                        "begin a window every S tokens and count only its last S targets, which then "
                        "see at least T - S tokens before them (default: T, windows side by side)")),
        tv_opt_given(&given[2], tv_opt_uint("batch-size", "B", &eval->batch, 1, UINT64_C(1) << 20,
                                            "windows side by side (default: by the window)")),
        tv_opt_output(
            tv_opt_text("logprobs", "F", &eval->logprobs,
                        "write the log-probability of each target token, or ending, in order, one a line")),
    };
    const tv_command_line line = {
        .command = "eval",
        .summary = "Measures a model's loss, in nats per token, on data that it may never have seen. Every "
                   "token but the first is predicted once. Text is read as data pack does: the end-of-text "
                   "token follows each document and is predicted too.",
        .notes =
            "example:\n  trivium eval --model runs/quickstart --data heldout.txt --json\n\nbits_per_byte "
            "counts every token of a text; the first, which nothing predicts, at log2 of the vocabulary.\n\n"
            "Of demonstrations only the answers are predicted, as in sft.\n\n"
            "Of questions with several endings (HellaSwag's form; docs/data.md) the likeliest ending is the "
            "answer: accuracy takes its log-probability, accuracy_norm that over the ending's bytes.\n\n"
            "Ranks that mpirun started share the work; the numbers are those of one.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &command.common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    return tv_ranks_command_run(&(tv_ranks_command){.line = &line, .run = run, .context = &command}, argc,
                                argv);
}
