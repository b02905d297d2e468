/* trivium prefs: what people judged as preference data, and how far they agree. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"
#include "base/output.h"
#include "human/agreement.h"
#include "human/preference_lines.h"
#include "tools/commands.h"
#include "tools/named_beside.h"
#include "tools/options.h"
#include "tools/reward_agreement.h"

static bool add_totals(cJSON *result, const tv_preference_lines_options *options,
                       const tv_preference_lines_totals *totals) {
    return tv_json_set_string(result, "prefs", options->out) &&
           (!(options->val_fraction > 0) || tv_json_set_string(result, "prefs_val", options->val_out)) &&
           tv_json_set_number(result, "judgments", (double)totals->judgments) &&
           tv_json_set_number(result, "skipped", (double)totals->skipped) &&
           tv_json_set_number(result, "repeats", (double)totals->repeats) &&
           tv_json_set_number(result, "all_bad", (double)totals->all_bad) &&
           tv_json_set_number(result, "prompts", (double)totals->prompts) &&
           tv_json_set_number(result, "val_prompts", (double)totals->val_prompts) &&
           (options->verdicts == TV_VERDICTS_EACH ||
            tv_json_set_number(result, "items", (double)totals->items)) &&
           tv_json_set_number(result, "pairs", (double)totals->pairs) &&
           tv_json_set_number(result, "ties", (double)totals->ties) &&
           tv_json_set_number(result, "same", (double)totals->same) &&
           tv_json_set_number(result, "lines", (double)totals->lines) &&
           tv_json_set_number(result, "val_lines", (double)totals->val_lines);
}

static void say_totals(const tv_preference_lines_options *options, const tv_preference_lines_totals *totals) {
    if (options->verdicts == TV_VERDICTS_MAJORITY)
        tv_info("of every two answers of %llu items what most of their annotators say",
                (unsigned long long)totals->items);
    tv_info("%llu judgments, %llu of them skips and %llu repeats: %llu strict pairs, %llu ties%s; %llu pairs "
            "of twice the same text do not count",
            (unsigned long long)totals->judgments, (unsigned long long)totals->skipped,
            (unsigned long long)totals->repeats, (unsigned long long)totals->pairs,
            (unsigned long long)totals->ties, options->ties ? "" : " (left out)",
            (unsigned long long)totals->same);
    tv_info("%s: %llu lines", options->out, (unsigned long long)totals->lines);
    if (options->val_fraction > 0)
        tv_info("%s: %llu lines, of %llu of the %llu prompts", options->val_out,
                (unsigned long long)totals->val_lines, (unsigned long long)totals->val_prompts,
                (unsigned long long)totals->prompts);
}

/* Takes `item` over. */
static tv_status add_item(cJSON *object, const char *key, cJSON *item) {
    if (item && cJSON_AddItemToObject(object, key, item))
        return TV_OK;
    cJSON_Delete(item);
    return tv_fail(TV_E_MEMORY, "out of host memory for the result");
}

/* `reward` has no model: of people alone. */
static tv_status report_agreement(const tv_rankings *rankings, const tv_score_texts_options *reward,
                                  cJSON *result, bool json) {
    tv_agreement *agreement = NULL;
    tv_reward_agreement model;
    tv_status status;
    TV_TRY(tv_agreement_measure(rankings, &agreement));
    if (reward->model)
        TV_TRY(tv_reward_agreement_measure(rankings, reward, &model));
    if (json) {
        TV_TRY(add_item(result, "agreement", tv_agreement_json(agreement)));
        if (reward->model)
            TV_TRY(add_item(result, "reward", tv_reward_agreement_json(&model)));
    } else {
        tv_agreement_print(agreement, stdout);
        if (reward->model)
            tv_reward_agreement_print(&model, agreement->all.agreement, stdout);
    }
done:
    tv_agreement_destroy(&agreement);
    return status;
}

/* As the command line has it. */
typedef struct prefs_options {
    tv_texts paths;
    const char *out; /* NULL: a report alone */
    bool agreement;
    int annotators; /* tv_verdicts */
    tv_preference_lines_options options;
    tv_score_texts_options reward;
    tv_common_options common;
} prefs_options;

static tv_status check_choices(const prefs_options *given) {
    if (!given->out && !given->agreement)
        return tv_fail(TV_E_USAGE, "--out FILE is missing: where the preference data go (or --agreement "
                                   "for a report alone; see trivium prefs --help)");
    if (given->options.listwise && given->annotators == TV_VERDICTS_MAJORITY)
        return tv_fail(TV_E_USAGE, "--annotators majority makes pairs, for what most say of every two "
                                   "answers need not be an order; leave --listwise out");
    if (given->reward.model && !given->agreement)
        return tv_fail(TV_E_USAGE, "--reward DIR is a part of the report on agreement; add --agreement");
    return TV_OK;
}

/* Preference data, the report, and with --json what both found as `result`. */
static tv_status make_preferences(const prefs_options *given, const char *val_out, cJSON *result) {
    tv_rankings *rankings = NULL;
    tv_preference_lines_totals totals;
    tv_status status;
    tv_preference_lines_options options = given->options;
    tv_score_texts_options reward = given->reward;
    reward.device = given->common.device;
    reward.tier = given->common.tier;
    options.verdicts = (tv_verdicts)given->annotators;
    options.out = given->out;
    options.val_out = val_out;
    options.seed = given->common.seed;
    TV_TRY(tv_fail_advice(tv_rankings_read(given->paths.items, given->paths.count, &rankings), TV_E_USAGE,
                          "`trivium rank` writes one"));
    if (given->out) {
        TV_TRY(tv_preference_lines_write(rankings, &options, &totals));
        say_totals(&options, &totals);
        if (!add_totals(result, &options, &totals)) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for the result");
            goto done;
        }
    }
    if (given->agreement)
        TV_TRY(report_agreement(rankings, &reward, result, given->common.json));
    if (given->common.json)
        TV_TRY(tv_print_json(result));
done:
    tv_rankings_destroy(&rankings);
    return status;
}

static tv_status prefs(const tv_command_line *line, const prefs_options *given) {
    TV_RETURN_IF_FAILED(check_choices(given));
    char *val_out = given->out ? tv_named_beside(given->out, "_val") : NULL;
    cJSON *result = cJSON_CreateObject();
    tv_status status = result && (!given->out || val_out)
                           ? TV_OK
                           : tv_fail(TV_E_MEMORY, "out of host memory for the result");
    if (status == TV_OK && given->options.val_fraction > 0 && given->out) {
        status = tv_options_check_output(line, val_out);
        if (status == TV_OK)
            status = tv_output_check(val_out, &given->out, 1);
    }
    if (status == TV_OK)
        status = make_preferences(given, val_out, result);
    cJSON_Delete(result);
    free(val_out);
    return status;
}

tv_status cmd_prefs(int argc, char **argv) {
    prefs_options given = {.annotators = TV_VERDICTS_EACH, .common = {.seed = 1}};
    const tv_option table[] = {
        tv_opt_required(tv_opt_existing(tv_opt_list(
            "rankings", "FILE", &given.paths,
            "judgments from trivium rank, or items that were judged elsewhere (PandaLM, UltraFeedback, "
            "Argilla), of any number of annotators"))),
        tv_opt_choice("annotators", "majority|each", &given.annotators,
                      "of an item that several judged: pairs by majority, or each one's own, so that a pair "
                      "counts as often as it was said"),
        tv_opt_output(
            tv_opt_short('o', tv_opt_text("out", "FILE", &given.out, "preference data as JSON lines"))),
        tv_opt_flag("listwise", &given.options.listwise,
                    "whole orders, {\"prompt\", \"answers\"}, instead of pairs"),
        tv_opt_flag("ties", &given.options.ties,
                    "ties become pairs too, marked \"tie\": true (soft target 1/2)"),
        tv_opt_number("val-fraction", "SHARE", &given.options.val_fraction, 0, 0.9,
                      "this share of the prompts goes to FILE with _val in its name"),
        tv_opt_flag("agreement", &given.agreement, "report how far annotators agree, and their biases"),
        tv_opt_existing(tv_opt_text("reward", "DIR", &given.reward.model,
                                    "with --agreement: how far this reward model agrees with them")),
    };
    const tv_command_line line = {
        .command = "prefs",
        .summary = "Turns judgments into preference data for reward models and DPO, and measures agreement: "
                   "pairwise, Krippendorff's alpha, Kendall's tau-b, position and length.",
        .notes =
            "example:\n"
            "  trivium prefs --rankings ann.jsonl bob.jsonl --out prefs.jsonl --val-fraction 0.1 --agreement",
        .options = table,
        .option_count = TV_COUNT(table),
        .common_mask = TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET,
        .common = &given.common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    tv_status status = prefs(&line, &given);
    tv_texts_free(&given.paths);
    return status;
}
