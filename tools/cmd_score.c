/* trivium score: what a reward model says of preferences, responses or candidates. */
#include <stdio.h>

#include "base/json.h"
#include "reward/score_file.h"
#include "tools/commands.h"
#include "tools/open_model.h"
#include "tools/options.h"
#include "tools/ranks_command.h"

typedef struct scoring_command {
    tv_score_options score;
    tv_common_options common;
    tv_score_result result;
} scoring_command;

static const char *const shapes[] = {"preferences", "responses", "candidates"};

static tv_status print_json(const void *context) {
    const tv_score_result *result = &((const scoring_command *)context)->result;
    const tv_reward_scale *scale = &result->scale;
    cJSON *object = cJSON_CreateObject();
    bool built = object && tv_json_set_string(object, "shape", shapes[result->shape]) &&
                 tv_json_set_number(object, "responses", (double)result->responses) &&
                 tv_json_set_number(object, "mean", result->mean) &&
                 tv_json_set_number(object, "deviation", result->deviation) &&
                 tv_json_set_number(object, "min", result->least) &&
                 tv_json_set_number(object, "max", result->most) &&
                 tv_json_set_number(object, "normalised_mean", tv_reward_normalise(scale, result->mean));
    built = built && tv_json_set_number(object, "too_long", (double)result->too_long);
    if (built && result->shape == TV_SCORE_PREFERENCES)
        built = tv_json_set_number(object, "groups", (double)result->groups) &&
                tv_json_set_number(object, "accuracy", result->accuracy) &&
                tv_json_set_number(object, "margin", result->margin) &&
                tv_json_set_number(object, "normalised_margin",
                                   tv_reward_normalise(scale, scale->mean + result->margin));
    return tv_print_result(object, built);
}

static void print_text(const void *context) {
    const tv_score_result *result = &((const scoring_command *)context)->result;
    const tv_reward_scale *scale = &result->scale;
    printf("responses   %llu\n", (unsigned long long)result->responses);
    printf("scores      mean %.4f, deviation %.4f, from %.4f to %.4f\n", result->mean, result->deviation,
           result->least, result->most);
    if (scale->samples)
        printf(
            "normalised  mean %.4f, from %.4f to %.4f (reference: %llu samples, mean %.4f, deviation %.4f)\n",
            tv_reward_normalise(scale, result->mean), tv_reward_normalise(scale, result->least),
            tv_reward_normalise(scale, result->most), (unsigned long long)scale->samples, scale->mean,
            scale->deviation);
    if (result->shape != TV_SCORE_PREFERENCES && result->too_long)
        printf("left out    %llu responses that are too long for the model (nan in --out)\n",
               (unsigned long long)result->too_long);
    if (result->shape != TV_SCORE_PREFERENCES)
        return;
    printf("accuracy    %.2f %% of %llu groups in order, equal scores count half\n", 100 * result->accuracy,
           (unsigned long long)result->groups);
    printf("margin      %.4f\n", result->margin);
    if (result->too_long)
        printf("left out    %llu groups that are too long for the model\n",
               (unsigned long long)result->too_long);
}

static tv_status measure(void *context) {
    scoring_command *c = context;
    return tv_score_file(&c->score, &c->result);
}

static tv_status run(void *context, tv_ranks *ranks) {
    scoring_command *c = context;
    tv_score_options *score = &c->score;
    if (score->normalised && !score->out)
        return tv_ranks_agree(
            ranks,
            tv_fail(TV_E_USAGE, "--normalised says how scores are written; name their file with --out F"));
    score->ranks = ranks;
    score->device = (tv_device_options){c->common.device, c->common.tier};
    const tv_ranks_measuring measuring = {
        .files = {score->model, score->adapter, "file of data", &score->data, 1},
        .settings = "",
        .measure = measure,
        .print_json = print_json,
        .print_text = print_text,
        .context = c,
    };
    return tv_ranks_measure(ranks, &measuring, c->common.json);
}

tv_status cmd_score(int argc, char **argv) {
    scoring_command command = {0};
    tv_score_options *score = &command.score;
    const tv_option options[] = {
        tv_opt_required(tv_opt_existing(tv_opt_text(
            "model", "DIR", &score->model, "a reward model's directory, or a run of trivium reward"))),
        tv_opt_adapter(&score->adapter),
        tv_opt_required(tv_opt_existing(tv_opt_text(
            "data", "F", &score->data,
            "JSON lines: preferences, {\"prompt\", \"response\"}, or the candidates of trivium sample"))),
        tv_opt_output(tv_opt_short(
            'o', tv_opt_text("out", "F", &score->out, "write one score per response, in order, one a line"))),
        tv_opt_flag("normalised", &score->normalised,
                    "write them less the mean and divided by the deviation in the model's reward.json"),
    };
    const tv_command_line line = {
        .command = "score",
        .summary = "Scores responses with a reward model. Of preferences it also says how often the better "
                   "answer has the higher score, and by how much.",
        .notes =
            "examples:\n  trivium score --model runs/reward --data heldout_prefs.jsonl --json\n"
            "  trivium score --model runs/reward --data candidates.jsonl --out scores.txt --normalised\n\n"
            "The scores of a preference's answers are written best answer first. Ranks that mpirun started "
            "share the work; the file is that of one.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &command.common,
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_JSON | TV_COMMON_QUIET,
    };
    return tv_ranks_command_run(&(tv_ranks_command){.line = &line, .run = run, .context = &command}, argc,
                                argv);
}
