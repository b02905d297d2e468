/* trivium sample: stage 3a, answers of a policy for people to rank. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "base/output.h"
#include "reward/model.h"
#include "run/inputs.h"
#include "run/ranks_run.h"
#include "stages/keep_answers.h"
#include "stages/sample.h"
#include "tools/commands.h"
#include "tools/named_beside.h"
#include "tools/open_model.h"
#include "tools/ranks_command.h"
#include "tools/sampling_options.h"

static double rate(const tv_stage_sample_result *result) {
    return result->seconds > 0 ? (double)result->tokens / result->seconds : 0;
}

typedef struct keep_choice {
    int keep; /* tv_keep, where `given` */
    bool given;
    const char *reward;
    const char *drawn; /* where the candidates go then */
    const char *out;
    tv_keep_result result;
} keep_choice;

static bool add_kept(cJSON *object, const keep_choice *keeping) {
    const tv_keep_result *kept = &keeping->result;
    return tv_json_set_string(object, "candidates", keeping->drawn) &&
           tv_json_set_number(object, "lines", (double)kept->lines) &&
           tv_json_set_number(object, "score", kept->mean) &&
           tv_json_set_number(object, "best_score", kept->best) &&
           tv_json_set_number(object, "too_long", (double)kept->too_long) &&
           tv_json_set_number(object, "cut", (double)kept->cut) &&
           tv_json_set_number(object, "same", (double)kept->same);
}

static tv_status print_result(const tv_stage_sample_result *result, const keep_choice *keeping) {
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_number(object, "prompts", (double)result->prompts) &&
                 tv_json_set_number(object, "resumed", (double)result->resumed) &&
                 tv_json_set_number(object, "responses", (double)result->responses) &&
                 tv_json_set_number(object, "ended", (double)result->ended) &&
                 tv_json_set_number(object, "tokens", (double)result->tokens) &&
                 tv_json_set_number(object, "prompt_tokens", (double)result->prompt_tokens) &&
                 tv_json_set_number(object, "seconds", result->seconds) &&
                 tv_json_set_number(object, "tokens_per_second", rate(result)) &&
                 (!keeping->given || add_kept(object, keeping));
    return tv_print_result(object, built);
}

typedef struct sampling_command {
    tv_stage_sample_options options;
    const char *model, *adapter;
    tv_texts prompts;
    tv_common_options common;
    keep_choice keeping;
    char *drawn; /* the name of the candidates where it was made here */
    const tv_command_line *line;
} sampling_command;

/* What other ranks must have too. */
static tv_status compare(const sampling_command *c) {
    const tv_stage_sample_options *o = &c->options;
    const tv_sampling *drawing = &o->sampling;
    char settings[256];
    snprintf(settings, sizeof settings, "%" PRIu64 " %" PRIu64 " %" PRIu64 " %.17g %" PRIu64 " %.17g",
             o->candidates, o->max_new, drawing->seed, drawing->temperature, drawing->top_k, drawing->top_p);
    return tv_ranks_compare_files(
        o->ranks, settings,
        &(tv_ranks_files){c->model, c->adapter, "file of prompts", o->prompts, o->prompt_paths});
}

static tv_status open_policy(const sampling_command *c, tv_open_model *open, char fingerprint[TV_HASH_TEXT]) {
    TV_RETURN_IF_FAILED(tv_open_model_open(c->model, c->adapter, &c->common, true, open));
    tv_status status = tv_fingerprint_model(open->path, fingerprint);
    if (status != TV_OK)
        tv_open_model_close(open);
    return status;
}

static tv_status keep(keep_choice *keeping, const tv_common_options *common) {
    const tv_keep_options options = {.candidates = keeping->drawn,
                                     .out = keeping->out,
                                     .keep = (tv_keep)keeping->keep,
                                     .reward = {keeping->reward, common->device, common->tier}};
    const tv_keep_result *kept = &keeping->result;
    TV_RETURN_IF_FAILED(tv_output_check(keeping->out, &keeping->drawn, 1));
    TV_RETURN_IF_FAILED(tv_keep_answers(&options, &keeping->result));
    tv_info("%s: %" PRIu64 " lines of %" PRIu64 " prompts; mean score %.4g, of the best answers %.4g",
            keeping->out, kept->lines, kept->prompts, kept->mean, kept->best);
    if (kept->too_long)
        tv_warn("%" PRIu64 " answers have no score: the reward model has no positions for them",
                kept->too_long);
    if (kept->cut)
        tv_warn("%" PRIu64 " of the best answers were cut at --max-tokens, and would teach to end there",
                kept->cut);
    return TV_OK;
}

/* --reward scores what --keep keeps; a reward model that is none is said before anything is drawn. */
static tv_status check_keeping(const keep_choice *keeping, uint64_t candidates) {
    if (keeping->given != (keeping->reward != NULL))
        return tv_fail(TV_E_USAGE,
                       keeping->given
                           ? "--keep wants a reward model that says which answers are good: --reward DIR"
                           : "--reward scores answers for --keep, which is not given");
    if (keeping->drawn && !keeping->given)
        return tv_fail(TV_E_USAGE, "--drawn is for --keep, which is not given; --out holds the candidates");
    if (!keeping->given)
        return TV_OK;
    if (keeping->keep == TV_KEEP_RANKED && candidates < 2)
        return tv_fail(TV_E_USAGE, "--keep ranked orders the answers to a prompt, and -k 1 draws one");
    tv_reward_model reward;
    TV_RETURN_IF_FAILED(tv_reward_model_open(keeping->reward, NULL, &reward));
    tv_reward_model_close(&reward);
    return TV_OK;
}

/* With --keep the candidates get a file of their own beside --out. */
static tv_status prepare_keeping(sampling_command *c) {
    keep_choice *keeping = &c->keeping;
    TV_RETURN_IF_FAILED(check_keeping(keeping, c->options.candidates));
    if (!keeping->given)
        return TV_OK;
    keeping->out = c->options.out;
    if (!keeping->drawn)
        keeping->drawn = c->drawn = tv_named_beside(keeping->out, "_candidates");
    if (!keeping->drawn)
        return tv_fail(TV_E_MEMORY, "out of host memory for a name");
    TV_RETURN_IF_FAILED(tv_options_check_output(c->line, keeping->drawn));
    if (strcmp(keeping->drawn, keeping->out) == 0)
        return tv_fail(TV_E_USAGE,
                       "--out and --drawn are both %s; candidates and what is kept of them are two files",
                       keeping->out);
    c->options.out = keeping->drawn;
    return TV_OK;
}

static tv_status run(void *context, tv_ranks *ranks) {
    sampling_command *c = context;
    tv_stage_sample_options *options = &c->options;
    tv_stage_sample_result result;
    tv_open_model open = {0};
    char fingerprint[TV_HASH_TEXT];
    options->ranks = ranks;
    options->prompts = c->prompts.items;
    options->prompt_paths = c->prompts.count;
    options->sampling.seed = c->common.seed;
    options->dry_run = c->common.dry_run;
    options->capture_step = c->common.capture_given && tv_ranks_leads(ranks) ? c->common.capture_step : 0;
    TV_RETURN_IF_FAILED(tv_ranks_agree(ranks, prepare_keeping(c)));
    TV_RETURN_IF_FAILED(compare(c));
    TV_RETURN_IF_FAILED(tv_ranks_agree(ranks, open_policy(c, &open, fingerprint)));
    options->model = open.model;
    options->tokenizer = open.tokenizer;
    options->policy = open.path;
    options->policy_fingerprint = fingerprint;
    tv_catch_interrupts();
    tv_status status = tv_ranks_say_devices(ranks, open.device);
    const tv_ranks_since begin = tv_ranks_now(ranks);
    if (status == TV_OK)
        status = tv_open_model_result(&open, tv_stage_sample(options, &result));
    tv_open_model_close(&open);
    if (status == TV_OK && !options->dry_run)
        status = tv_ranks_say_waits(ranks, begin);
    if (status == TV_OK && !options->dry_run && tv_ranks_leads(ranks)) {
        tv_info("%" PRIu64 " prompts in %s: %" PRIu64 " responses drawn, %" PRIu64
                " tokens at %.1f tokens/s, %.0f %% ended by themselves",
                result.prompts, options->out, result.responses, result.tokens, rate(&result),
                result.responses ? 100 * (double)result.ended / (double)result.responses : 0);
        if (c->keeping.given)
            status = keep(&c->keeping, &c->common);
        if (status == TV_OK && c->common.json)
            status = print_result(&result, &c->keeping);
    }
    return status;
}

tv_status cmd_sample(int argc, char **argv) {
    sampling_command command = {
        .options = {.candidates = 4,
                    .max_new = 128,
                    .rows = 64,
                    .sampling = {.temperature = 0.8, .top_p = 1}},
        .common = {.seed = 1},
    };
    tv_stage_sample_options *sampling = &command.options;
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(
            tv_opt_text("model", "DIR", &command.model,
                        "the policy: a model directory, or a run, whose best or last checkpoint is taken"))),
        tv_opt_adapter(&command.adapter),
        tv_opt_required(tv_opt_existing(tv_opt_list(
            "prompts", "F", &command.prompts,
            "JSON lines {\"prompt\": text or messages} (and \"id\"); messages get the chat template"))),
        tv_opt_short('k', tv_opt_uint("candidates", "N", &sampling->candidates, 1, TV_MAX_CANDIDATES,
                                      "answers to each prompt; people can rank 2 to 16")),
        tv_opt_output(tv_opt_required(
            tv_opt_short('o', tv_opt_text("out", "F", &sampling->out,
                                          "the candidates, or what is kept of them, one line a prompt")))),
        tv_opt_uint("max-tokens", "N", &sampling->max_new, 1, UINT32_MAX,
                    "tokens of an answer at most; the model's context ends it too"),
        tv_opt_temperature(&sampling->sampling.temperature),
        tv_opt_top_k(&sampling->sampling.top_k),
        tv_opt_top_p(&sampling->sampling.top_p),
        tv_opt_given(&command.keeping.given,
                     tv_opt_choice("keep", "best|ranked", &command.keeping.keep,
                                   "write what --reward likes into --out: the best answer to each prompt as "
                                   "sft learns from it, or all of them in order as reward and dpo do")),
        tv_opt_existing(tv_opt_text("reward", "DIR", &command.keeping.reward,
                                    "of --keep: the reward model that scores, a directory or a run")),
        tv_opt_output(tv_opt_text("drawn", "F", &command.keeping.drawn,
                                  "of --keep: the candidates (default: --out with _candidates in its name)")),
        tv_opt_flag("accept-changes", &sampling->accept_changes,
                    "go on behind lines that another model drew, or other settings; without it they are "
                    "refused by name"),
        tv_opt_uint("rows", "R", &sampling->rows, 1, 1 << 16,
                    "answers drawn side by side; they do not depend on it"),
    };
    const tv_command_line line = {
        .command = "sample",
        .summary = "Draws k answers of a model to each prompt (stage 3a) and writes them as candidates for "
                   "`trivium rank`, each prompt's line as soon as it is complete. Interrupted, the same "
                   "command goes on behind the last whole line of --out; a file of other prompts, of another "
                   "model or of other settings is refused.",
        .notes = "examples:\n"
                 "  trivium sample --model runs/sft --prompts prompts.jsonl -k 4 --out candidates.jsonl\n"
                 "  trivium sample --model runs/sft --prompts prompts.jsonl -k 8 --reward runs/reward \\\n"
                 "      --keep best --out best.jsonl\n"
                 "\n"
                 "An answer depends on --seed, the number of its prompt and its own, not on -k, --rows or "
                 "the other answers; nor on how many ranks draw, under mpirun. \"tokens\" counts the end "
                 "token; --json prints {\"prompts\", \"resumed\", \"responses\", \"ended\", \"tokens\", "
                 "\"prompt_tokens\", \"seconds\", \"tokens_per_second\"}.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &command.common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET |
                       TV_COMMON_CAPTURE | TV_COMMON_DRY_RUN,
    };
    command.line = &line;
    tv_status status =
        tv_ranks_command_run(&(tv_ranks_command){.line = &line, .run = run, .context = &command}, argc, argv);
    tv_texts_free(&command.prompts);
    free(command.drawn);
    return status;
}
