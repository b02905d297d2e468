/* trivium sample: stage 3a, answers of a policy for people to rank. */
#include <inttypes.h>
#include <stdio.h>

#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "run/inputs.h"
#include "stages/sample.h"
#include "tools/commands.h"
#include "tools/open_model.h"
#include "tools/sampling_options.h"

static double rate(const tv_stage_sample_result *result) {
    return result->seconds > 0 ? (double)result->tokens / result->seconds : 0;
}

static tv_status print_result(const tv_stage_sample_result *result) {
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_number(object, "prompts", (double)result->prompts) &&
                 tv_json_set_number(object, "resumed", (double)result->resumed) &&
                 tv_json_set_number(object, "responses", (double)result->responses) &&
                 tv_json_set_number(object, "ended", (double)result->ended) &&
                 tv_json_set_number(object, "tokens", (double)result->tokens) &&
                 tv_json_set_number(object, "prompt_tokens", (double)result->prompt_tokens) &&
                 tv_json_set_number(object, "seconds", result->seconds) &&
                 tv_json_set_number(object, "tokens_per_second", rate(result));
    tv_status status =
        built ? tv_print_json(object) : tv_fail(TV_E_MEMORY, "out of host memory for the result");
    cJSON_Delete(object);
    return status;
}

static tv_status sample(tv_stage_sample_options *options, const char *model, const char *adapter,
                        const tv_common_options *common) {
    tv_open_model open;
    TV_RETURN_IF_FAILED(tv_open_model_open(model, adapter, common, true, &open));
    tv_stage_sample_result result;
    options->model = open.model;
    options->tokenizer = open.tokenizer;
    options->policy = open.path;
    char fingerprint[TV_HASH_TEXT];
    tv_catch_interrupts();
    tv_status status = tv_fingerprint_model(open.path, fingerprint);
    options->policy_fingerprint = fingerprint;
    if (status == TV_OK)
        status = tv_open_model_result(&open, tv_stage_sample(options, &result));
    if (status == TV_OK && !options->dry_run) {
        tv_info("%" PRIu64 " prompts in %s: %" PRIu64 " responses drawn, %" PRIu64
                " tokens at %.1f tokens/s, %.0f %% "
                "ended by themselves",
                result.prompts, options->out, result.responses, result.tokens, rate(&result),
                result.responses ? 100 * (double)result.ended / (double)result.responses : 0);
        if (common->json)
            status = print_result(&result);
    }
    options->policy_fingerprint = NULL; /* it was this function's */
    tv_open_model_close(&open);
    return status;
}

tv_status cmd_sample(int argc, char **argv) {
    tv_common_options common = {.seed = 1};
    const char *model = NULL, *adapter = NULL;
    tv_texts prompts = {0};
    tv_stage_sample_options sampling = {
        .candidates = 4, .max_new = 128, .rows = 64, .sampling = {.temperature = 0.8, .top_p = 1}};
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &model,
                        "the policy: a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_adapter(&adapter),
        tv_opt_required(tv_opt_existing(tv_opt_list(
            "prompts", "F", &prompts,
            "JSON lines {\"prompt\": text or messages} (and \"id\"); messages get the chat template"))),
        tv_opt_short('k', tv_opt_uint("candidates", "N", &sampling.candidates, 1, TV_MAX_CANDIDATES,
                                      "answers to each prompt; people can rank 2 to 16")),
        tv_opt_output(tv_opt_required(
            tv_opt_short('o', tv_opt_text("out", "F", &sampling.out, "the candidates, one line a prompt")))),
        tv_opt_uint("max-tokens", "N", &sampling.max_new, 1, UINT32_MAX,
                    "tokens of an answer at most; the model's context ends it too"),
        tv_opt_temperature(&sampling.sampling.temperature),
        tv_opt_top_k(&sampling.sampling.top_k),
        tv_opt_top_p(&sampling.sampling.top_p),
        tv_opt_flag("accept-changes", &sampling.accept_changes,
                    "go on behind lines that another model drew, or other settings; without it they are "
                    "refused by name"),
        tv_opt_uint("rows", "R", &sampling.rows, 1, 1 << 16,
                    "answers drawn side by side; they do not depend on it"),
    };
    const tv_command_line line = {
        .command = "sample",
        .summary =
            "Draws k answers of a model to each prompt (stage 3a) and writes them as candidates for "
            "`trivium rank`, each prompt's line as soon as it is complete. Interrupted, the same command "
            "goes on behind the last whole line of --out; a file of other prompts, of another model or of "
            "other settings is refused.",
        .notes = "example:\n  trivium sample --model runs/sft --prompts prompts.jsonl -k 4 --out "
                 "candidates.jsonl\n\nAn answer depends on --seed, the number of its prompt and its own, not "
                 "on -k, "
                 "--rows or the other answers. \"tokens\" counts the end token; --json prints {\"prompts\", "
                 "\"resumed\", \"responses\", \"ended\", \"tokens\", \"prompt_tokens\", \"seconds\", "
                 "\"tokens_per_second\"}.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET |
                       TV_COMMON_CAPTURE | TV_COMMON_DRY_RUN,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    sampling.prompts = prompts.items;
    sampling.prompt_paths = prompts.count;
    sampling.sampling.seed = common.seed;
    sampling.dry_run = common.dry_run;
    sampling.capture_step = common.capture_given ? common.capture_step : 0;
    tv_status status = sample(&sampling, model, adapter, &common);
    tv_texts_free(&prompts);
    return status;
}
