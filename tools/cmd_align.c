/* trivium align: stage 3, round after round. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "human/candidates.h"
#include "stages/sample.h"
#include "tools/align_rounds.h"
#include "tools/commands.h"
#include "tools/reward_command.h"
#include "tools/sampling_options.h"

static tv_status print_result(const tv_align_plan *plan, const tv_align_result *result) {
    cJSON *object = cJSON_CreateObject();
    char *report = tv_format("%s/report.html", plan->out);
    bool built = object && tv_json_set_number(object, "rounds", (double)plan->rounds) &&
                 tv_json_set_number(object, "steps", (double)result->steps) &&
                 tv_json_set_number(object, "done", (double)result->done) &&
                 tv_json_set_string(object, "policy", result->policy) && report &&
                 tv_json_set_string(object, "report", report);
    tv_status status = tv_print_result(object, built);
    free(report);
    return status;
}

/* How people reach the page: words for `trivium rank --web`. */
typedef struct page_options {
    tv_texts annotators;
    const char *guidelines, *listen, *url;
    uint64_t port;
    double away, until;
    bool given; /* any of them */
} page_options;

static tv_status add_word(tv_texts *words, char *word) {
    const char **items = word ? realloc(words->items, (words->count + 1) * sizeof *items) : NULL;
    if (!items) {
        free(word);
        return tv_fail(TV_E_MEMORY, "out of host memory for the words of the page");
    }
    words->items = items;
    items[words->count++] = word;
    return TV_OK;
}

static tv_status describe_page(const page_options *page, const char *out, tv_texts *words) {
    TV_RETURN_IF_FAILED(add_word(words, tv_format("--links=%s/links", out)));
    TV_RETURN_IF_FAILED(add_word(words, tv_format("--until=%.15g", page->until)));
    TV_RETURN_IF_FAILED(add_word(words, tv_format("--away=%.15g", page->away)));
    if (page->port)
        TV_RETURN_IF_FAILED(add_word(words, tv_format("--port=%llu", (unsigned long long)page->port)));
    if (page->guidelines)
        TV_RETURN_IF_FAILED(add_word(words, tv_format("--guidelines=%s", page->guidelines)));
    if (page->listen)
        TV_RETURN_IF_FAILED(add_word(words, tv_format("--listen=%s", page->listen)));
    if (page->url)
        TV_RETURN_IF_FAILED(add_word(words, tv_format("--url=%s", page->url)));
    for (uint64_t i = 0; i < page->annotators.count; i++)
        TV_RETURN_IF_FAILED(add_word(words, tv_format("--annotator=%s", page->annotators.items[i])));
    return TV_OK;
}

static void free_words(tv_texts *words) {
    for (uint64_t i = 0; i < words->count; i++)
        free((void *)(uintptr_t)words->items[i]);
    tv_texts_free(words);
}

/* A program runs when the command line names it; one that only align.json does may be a stranger's. */
static tv_status take_begun(const char *out, const char *judge, uint64_t rounds, bool rounds_given,
                            tv_align_plan *plan) {
    TV_RETURN_IF_FAILED(tv_align_plan_read(out, plan));
    if (judge && (!plan->judge || strcmp(judge, plan->judge) != 0))
        return tv_fail(TV_E_USAGE, "--judge: the rounds in %s are judged by %.200s; give another --out", out,
                       plan->judge    ? plan->judge
                       : plan->people ? "people"
                                      : plan->reward);
    if (rounds_given)
        plan->rounds = rounds;
    if (plan->judge && !judge) {
        char *path = tv_format("%s/align.json", out);
        tv_status status = path ? tv_allow_reward_command("--judge CMD", plan->judge, path)
                                : tv_fail(TV_E_MEMORY, "out of host memory for a path");
        free(path);
        return status;
    }
    return TV_OK;
}

/* As the command line has it. */
typedef struct align_options {
    tv_align_plan plan;
    bool plan_given, rounds_given; /* plan_given: of what stands in align.json, --rounds and --judge apart */
    bool resume;
    page_options page;
    const char *launcher;
    tv_common_options common;
} align_options;

/* With --resume the plan is what the directory began with; without it the number of rounds alone is, where
 * nobody says another. */
static tv_status go_on(align_options *given) {
    tv_align_plan *plan = &given->plan, begun = {0};
    if (given->resume) {
        if (given->plan_given || given->common.seed_given || plan->prompts.count || plan->sets.count)
            return tv_fail(TV_E_USAGE,
                           "--resume goes on with what align.json says; beside it stand only --out, "
                           "--rounds, --judge, --device, --launcher and how people reach the page "
                           "(or give the whole command without --resume, and it is compared)");
        tv_status status = take_begun(plan->out, plan->judge, plan->rounds, given->rounds_given, &begun);
        tv_align_plan_free(plan);
        *plan = begun;
        return status;
    }
    if (!given->rounds_given && tv_align_is_begun(plan->out)) {
        TV_RETURN_IF_FAILED(tv_align_plan_read(plan->out, &begun));
        plan->rounds = begun.rounds;
        tv_align_plan_free(&begun);
    }
    return TV_OK;
}

static tv_status align(align_options *given) {
    const tv_align_plan *plan = &given->plan;
    tv_status status;
    tv_align_result result = {0};
    tv_texts words = {0};
    TV_TRY(go_on(given));
    TV_TRY(tv_align_plan_check(plan));
    if ((given->page.given || given->page.annotators.count) && !plan->people) {
        status = tv_fail(TV_E_USAGE, "--annotator, --port, --guidelines, --listen, --url, --away and --until "
                                     "are for --people, who are not asked");
        goto done;
    }
    TV_TRY(describe_page(&given->page, plan->out, &words));
    const tv_align_options options = {
        .plan = plan, .page = &words, .launcher = given->launcher, .common = &given->common};
    if (given->common.dry_run) {
        status = tv_align_print(&options);
        goto done;
    }
    TV_TRY(tv_align_run(&options, &result));
    tv_info("done: %llu rounds; the policy is %s, the report %s/report.html",
            (unsigned long long)plan->rounds, result.policy, plan->out);
    if (given->common.json)
        status = print_result(plan, &result);
done:
    free(result.policy);
    free_words(&words);
    return status;
}

tv_status cmd_align(int argc, char **argv) {
    align_options given = {
        .plan = {.rounds = 2, .candidates = 4, .max_tokens = 128, .rows = 64, .temperature = 0.8, .top_p = 1},
        .page = {.away = 15, .until = 1},
        .common = {.seed = 1}};
    const tv_option options[] = {
        tv_opt_required(tv_opt_short('o', tv_opt_text("out", "DIR", &given.plan.out,
                                                      "the directory of all rounds: round-1, round-2, ..."))),
        tv_opt_given(&given.plan_given,
                     tv_opt_existing(
                         tv_opt_text("model", "DIR", &given.plan.model,
                                     "the policy to begin with: a fine-tuned model's directory, or a run"))),
        tv_opt_list("prompts", "F", &given.plan.prompts,
                    "JSON lines {\"prompt\": text or messages}, answered anew in each round"),
        tv_opt_given(&given.rounds_given,
                     tv_opt_uint("rounds", "N", &given.plan.rounds, 1, 1000,
                                 "rounds in all (default: 2); more than before adds to what is there")),
        tv_opt_text("judge", "CMD", &given.plan.judge, "a program ranks: as --judge of trivium rank"),
        tv_opt_given(&given.plan_given,
                     tv_opt_existing(tv_opt_text("reward", "DIR", &given.plan.reward,
                                                 "a reward model ranks: a directory or a run"))),
        tv_opt_given(&given.plan_given,
                     tv_opt_flag("people", &given.plan.people,
                                 "people rank on a page in each round, as with --web of trivium rank; "
                                 "the round waits for them")),
        tv_opt_list("annotator", "NAME", &given.page.annotators,
                    "of --people: who ranks; each gets a link (default: one link for anyone)"),
        tv_opt_given(
            &given.page.given,
            tv_opt_uint("port", "P", &given.page.port, 0, 65535,
                        "of --people (default: a free one); with a port of its own an open page goes on from "
                        "round to round")),
        tv_opt_given(
            &given.page.given,
            tv_opt_number("until", "SHARE", &given.page.until, 0, 1,
                          "of --people: go on once this share of the round's items has a judgment (default: "
                          "1)")),
        tv_opt_given(&given.page.given,
                     tv_opt_existing(tv_opt_text("guidelines", "FILE", &given.page.guidelines,
                                                 "of --people: what the page shows beside each item"))),
        tv_opt_given(&given.page.given,
                     tv_opt_text("listen", "ADDR", &given.page.listen,
                                 "of --people: an address of this machine that others can reach")),
        tv_opt_given(&given.page.given,
                     tv_opt_text("url", "URL", &given.page.url,
                                 "of --people: where people reach the page, such as a proxy's")),
        tv_opt_given(&given.page.given,
                     tv_opt_number("away", "MINUTES", &given.page.away, 0.01, 1e6,
                                   "of --people: who is silent for so long gives back their item "
                                   "(default: 15)")),
        tv_opt_given(&given.plan_given,
                     tv_opt_choice("learn", "dpo|ppo|grpo", &given.plan.learner,
                                   "how the policy learns (default: dpo, from preferences; ppo and "
                                   "grpo by way of a reward model, trained anew in each round)")),
        tv_opt_given(
            &given.plan_given,
            tv_opt_short('k', tv_opt_uint("candidates", "N", &given.plan.candidates, 1, TV_MAX_CANDIDATES,
                                          "answers to each prompt (default: 4); people and programs rank "
                                          "2 to 16"))),
        tv_opt_given(&given.plan_given,
                     tv_opt_uint("max-tokens", "N", &given.plan.max_tokens, 1, UINT32_MAX,
                                 "tokens of an answer that is judged, at most (default: 128)")),
        tv_opt_given(&given.plan_given, tv_opt_temperature(&given.plan.temperature)),
        tv_opt_given(&given.plan_given, tv_opt_top_k(&given.plan.top_k)),
        tv_opt_given(&given.plan_given, tv_opt_top_p(&given.plan.top_p)),
        tv_opt_given(&given.plan_given,
                     tv_opt_uint("rows", "R", &given.plan.rows, 1, 1 << 16,
                                 "answers drawn side by side (default: 64); they do not depend on "
                                 "it")),
        tv_opt_given(&given.plan_given,
                     tv_opt_number("val-fraction", "X", &given.plan.val_fraction, 0, 0.9,
                                   "hold out this share of the prompts that were judged, for the "
                                   "validation of reward and dpo (default: 0)")),
        tv_opt_repeated(
            "set", "KEY=VALUE", &given.plan.sets,
            "change a setting: dpo.beta=0.2 or ppo.iterations=50 of that step, reward.train.lr=1e-4 "
            "of a step named in front, train.batch_size=8 of each step that trains"),
        tv_opt_text(
            "launcher", "CMD", &given.launcher,
            "\"mpirun -n 4\": starts the steps that several ranks can do together (sample, reward, dpo, "
            "ppo, grpo)"),
        tv_opt_flag("resume", &given.resume,
                    "go on with what align.json in --out says; --judge is to be given again"),
    };
    const tv_command_line line = {
        .command = "align",
        .summary =
            "Stage 3 round after round in one directory: the policy answers, people, a program or a "
            "reward model judge, the policy learns from it and answers again. Each step is a command of its "
            "own (sample, rank, prefs, reward, dpo, ppo, grpo), said before it runs. Stopped at any moment, "
            "the same command, or --resume, goes on from there.",
        .notes =
            "examples:\n"
            "  trivium align --model runs/sft --prompts prompts.jsonl --reward runs/reward --out runs/align\n"
            "  trivium align --model runs/sft --prompts prompts.jsonl --judge './judge' --learn ppo --rounds "
            "3 \\\n"
            "      --set ppo.iterations=40 --set reward.train.lr=1e-4 --out runs/align\n"
            "  trivium align --model runs/sft --prompts prompts.jsonl --people --annotator kim lee --port "
            "8080 \\\n"
            "      --out runs/align\n\n"
            "--dry-run prints the steps as commands and stops.",
        .options = options,
        .option_count = TV_COUNT(options),
        .common = &given.common,
        .common_mask =
            TV_COMMON_DEVICE | TV_COMMON_SEED | TV_COMMON_JSON | TV_COMMON_QUIET | TV_COMMON_DRY_RUN,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    given.plan.seed = given.common.seed;
    tv_status status = align(&given);
    tv_texts_free(&given.page.annotators);
    tv_align_plan_free(&given.plan);
    return status;
}
