/* Steps as command lines, and which of them are done: see align_rounds.h. */
#include "tools/align_rounds.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/launched.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/module.h"
#include "base/os.h"
#include "base/shell_word.h"
#include "report/report.h"
#include "run/checkpoint.h"
#include "tools/commands.h"

/* ---- the words of a command ---- */

typedef struct words {
    char **items;
    uint64_t count, capacity;
    bool failed; /* memory is out */
} words;

static void add(words *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(words *w, const char *format, ...) {
    char text[64];
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    char *word = length < 0 ? NULL : malloc((size_t)length + 1);
    if (word)
        vsnprintf(word, (size_t)length + 1, format, again);
    va_end(again);
    void *items = w->items;
    /* One more than there are: argv ends with NULL. */
    if (!word || tv_grow(&items, &w->capacity, w->count + 2, sizeof *w->items) != TV_OK) {
        free(word);
        w->failed = true;
        return;
    }
    w->items = items;
    w->items[w->count++] = word;
    w->items[w->count] = NULL;
}

/* "--name=value": a value may begin with dashes. */
static void add_option(words *w, const char *name, const char *value) {
    add(w, "--%s=%s", name, value);
}

static void free_words(words *w) {
    for (uint64_t i = 0; i < w->count; i++)
        free(w->items[i]);
    free(w->items);
    *w = (words){0};
}

/* As a shell reads it, behind `launcher` where there is one; NULL when memory is out. */
static char *as_typed(const words *w, const char *launcher, const char *program) {
    char *text = tv_format("%s", launcher ? launcher : "");
    for (uint64_t i = 0; text && i <= w->count; i++) {
        char *word = tv_shell_word(i ? w->items[i - 1] : program);
        char *longer = word ? tv_format("%s%s%s", text, text[0] ? " " : "", word) : NULL;
        free(word);
        free(text);
        text = longer;
    }
    return text;
}

/* ---- steps ---- */

typedef struct align_step {
    const char *name; /* the command's, and that of its run and its mark */
    tv_status (*command)(int argc, char **argv);
    int stage; /* tv_stage_kind of a training step; -1: none */
} align_step;

typedef struct align_run {
    const tv_align_options *options;
    const tv_align_plan *plan;
    align_step steps[5];
    uint64_t step_count; /* of a round */
    uint64_t round;      /* from 1 */
} align_run;

static void list_steps(align_run *run) {
    tv_stage_kind training[2] = {0};
    const uint64_t count = tv_align_training_steps(run->plan, training);
    run->steps[run->step_count++] = (align_step){"sample", cmd_sample, -1};
    if (tv_align_has_rankings(run->plan)) {
        run->steps[run->step_count++] = (align_step){"rank", cmd_rank, -1};
        run->steps[run->step_count++] = (align_step){"prefs", cmd_prefs, -1};
    }
    for (uint64_t i = 0; i < count && i < TV_COUNT(training); i++)
        run->steps[run->step_count++] = (align_step){tv_stage_kind_name(training[i]),
                                                     training[i] == TV_STAGE_REWARD ? cmd_reward
                                                     : training[i] == TV_STAGE_DPO  ? cmd_dpo
                                                     : training[i] == TV_STAGE_PPO  ? cmd_ppo
                                                                                    : cmd_grpo,
                                                     (int)training[i]};
}

/* The step that makes the round's policy. */
static const char *policy_step(const align_run *run) {
    return run->steps[run->step_count - 1].name;
}

static void add_policy(const align_run *run, words *w) {
    if (run->round == 1)
        add_option(w, "model", run->plan->model);
    else
        add(w, "--model=%s/round-%" PRIu64 "/%s", run->plan->out, run->round - 1, policy_step(run));
}

static void add_prompts(const align_run *run, words *w) {
    add(w, "--prompts");
    for (uint64_t i = 0; i < run->plan->prompts.count; i++)
        add(w, "%s", run->plan->prompts.items[i]);
}

static void add_seed(const align_run *run, words *w) {
    add(w, "--seed=%" PRIu64, run->plan->seed + run->round - 1);
}

static void add_device(const align_run *run, words *w) {
    if (run->options->common->device)
        add_option(w, "device", run->options->common->device);
    if (run->options->common->tier)
        add_option(w, "tier", run->options->common->tier);
}

/* A file or folder of this round. */
static void add_here(const align_run *run, words *w, const char *option, const char *name) {
    add(w, "--%s=%s/round-%" PRIu64 "/%s", option, run->plan->out, run->round, name);
}

static void describe_sample(const align_run *run, words *w) {
    const tv_align_plan *plan = run->plan;
    add_policy(run, w);
    add_prompts(run, w);
    if (plan->reward) {
        add_option(w, "keep", "ranked");
        add_option(w, "reward", plan->reward);
        add_here(run, w, "out", "prefs.jsonl");
        add_here(run, w, "drawn", "candidates.jsonl");
    } else {
        add_here(run, w, "out", "candidates.jsonl");
    }
    add(w, "--candidates=%" PRIu64, plan->candidates);
    add(w, "--max-tokens=%" PRIu64, plan->max_tokens);
    add(w, "--temperature=%.15g", plan->temperature);
    add(w, "--top-k=%" PRIu64, plan->top_k);
    add(w, "--top-p=%.15g", plan->top_p);
    add(w, "--rows=%" PRIu64, plan->rows);
    add_seed(run, w);
    add_device(run, w);
}

static void describe_rank(const align_run *run, words *w) {
    add_here(run, w, "candidates", "candidates.jsonl");
    add_here(run, w, "out", "rankings.jsonl");
    if (run->plan->judge) {
        add_option(w, "judge", run->plan->judge);
    } else {
        add(w, "--web");
        for (uint64_t i = 0; i < run->options->page->count; i++)
            add(w, "%s", run->options->page->items[i]);
    }
    add_seed(run, w);
}

static void describe_prefs(const align_run *run, words *w) {
    add_here(run, w, "rankings", "rankings.jsonl");
    add_here(run, w, "out", "prefs.jsonl");
}

/* A run that has a checkpoint goes on, with all that it began with. */
static tv_status describe_training(const align_run *run, const align_step *step, words *w) {
    const tv_align_plan *plan = run->plan;
    char *directory = tv_format("%s/round-%" PRIu64 "/%s", plan->out, run->round, step->name), *found = NULL;
    char **sets = NULL;
    uint64_t count = 0;
    if (!directory)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_checkpoint_find_last(directory, &found);
    if (status != TV_OK && status != TV_E_CONFIG)
        goto done;
    add_option(w, "out", directory);
    add_device(run, w);
    if (status == TV_OK) {
        add(w, "--resume");
        goto done;
    }
    /* A reward model learns from the model that the rounds began with, and from all that was judged so far.
     */
    if (step->stage == TV_STAGE_REWARD)
        add_option(w, "model", plan->model);
    else
        add_policy(run, w);
    if (step->stage == TV_STAGE_REWARD || step->stage == TV_STAGE_DPO) {
        add(w, "--data");
        for (uint64_t k = step->stage == TV_STAGE_REWARD ? 1 : run->round; k <= run->round; k++)
            add(w, "%s/round-%" PRIu64 "/prefs.jsonl", plan->out, k);
        if (plan->val_fraction > 0)
            add(w, "--val-fraction=%.15g", plan->val_fraction);
    } else {
        add_prompts(run, w);
        add_here(run, w, "reward", "reward");
    }
    TV_TRY(tv_align_sets_of(plan, (tv_stage_kind)step->stage, &sets, &count));
    for (uint64_t i = 0; i < count; i++)
        add_option(w, "set", sets[i]);
    add_seed(run, w);
done:
    tv_align_sets_free(&sets, count);
    free(found);
    free(directory);
    return status == TV_E_CONFIG ? TV_OK : status;
}

/* --launcher: of the steps that several ranks can do together. */
static const char *launcher_of(const align_run *run, const align_step *step) {
    return step->stage >= 0 || step->command == cmd_sample ? run->options->launcher : NULL;
}

static tv_status describe(const align_run *run, const align_step *step, words *w) {
    tv_status status = TV_OK;
    add(w, "%s", step->name);
    if (step->stage >= 0)
        status = describe_training(run, step, w);
    else if (step->command == cmd_sample)
        describe_sample(run, w);
    else if (step->command == cmd_rank)
        describe_rank(run, w);
    else
        describe_prefs(run, w);
    if (run->options->common->quiet)
        add(w, "--quiet");
    if (status == TV_OK && w->failed)
        status = tv_fail(TV_E_MEMORY, "out of host memory for the words of a step");
    return status;
}

/* ---- what is done ---- */

static char *mark_of(const align_run *run, const align_step *step) {
    return tv_format("%s/round-%" PRIu64 "/%s.finished", run->plan->out, run->round, step->name);
}

static tv_status write_mark(const char *path, const char *command, double seconds) {
    cJSON *root = cJSON_CreateObject();
    bool built =
        root && tv_json_set_string(root, "command", command) && tv_json_set_number(root, "seconds", seconds);
    tv_status status = built ? tv_json_write_file(path, root)
                             : tv_fail(TV_E_MEMORY, "out of host memory for the mark of a step");
    cJSON_Delete(root);
    return status;
}

/* Says at which step it was, and how to go on. */
static tv_status say_where(const align_run *run, const align_step *step, tv_status status) {
    if (status == TV_E_INTERRUPTED) {
        char *out = tv_shell_word(run->plan->out);
        tv_fail(status, "interrupted in round %" PRIu64 ", %s; go on with: trivium align --out %s --resume",
                run->round, step->name, out ? out : "DIR");
        free(out);
        return status;
    }
    return tv_fail_context(status, "round %" PRIu64 ", %s", run->round, step->name);
}

/* In this process, or by the ranks that the launcher starts. */
static tv_status carry_out(const align_run *run, const align_step *step, const words *w) {
    const char *launcher = launcher_of(run, step);
    char *program = NULL, *typed = NULL, *command = NULL;
    int exit_code = 0;
    tv_status status;
    if (!launcher)
        return step->command((int)w->count, w->items);
    TV_TRY(tv_program_path(&program));
    typed = as_typed(w, launcher, program);
    command = typed ? tv_format("exec %s", typed) : NULL;
    if (!command) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a step");
        goto done;
    }
    TV_TRY(tv_run_program(command, &exit_code));
    if (exit_code != 0 && !tv_interrupted_with_it())
        status = tv_fail(TV_E_IO, "%s ended with exit code %d", launcher, exit_code);
done:
    free(command);
    free(typed);
    free(program);
    return status;
}

static tv_status do_step(const align_run *run, const align_step *step, tv_align_result *result) {
    words w = {0};
    char *mark = mark_of(run, step), *command = NULL, *folder = NULL;
    tv_status status;
    result->steps++;
    if (!mark) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    if (tv_path_exists(mark)) {
        status = TV_OK;
        goto done;
    }
    folder = tv_format("%s/round-%" PRIu64, run->plan->out, run->round);
    TV_TRY(describe(run, step, &w));
    command = as_typed(&w, launcher_of(run, step), "trivium");
    if (!folder || !command) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a step");
        goto done;
    }
    TV_TRY(tv_make_dirs(folder));
    tv_info("round %" PRIu64 " of %" PRIu64 ": %s", run->round, run->plan->rounds, command);
    const double begin = tv_seconds();
    status = carry_out(run, step, &w);
    if (status == TV_OK && tv_interrupted())
        status = TV_E_INTERRUPTED;
    if (status != TV_OK) {
        status = say_where(run, step, status);
        goto done;
    }
    TV_TRY(write_mark(mark, command, tv_seconds() - begin));
    result->done++;
done:
    free_words(&w);
    free(folder);
    free(command);
    free(mark);
    return status;
}

/* The page of all rounds so far, once at the end of each. */
static tv_status write_report(const align_run *run) {
    const align_step report = {"report", cmd_report, -1};
    char *path = tv_format("%s/report.html", run->plan->out), *mark = mark_of(run, &report), *command = NULL;
    const double begin = tv_seconds();
    words w = {0};
    tv_status status = TV_OK;
    if (path && mark && tv_path_exists(mark))
        goto done;
    add(&w, "report");
    add(&w, "%s", run->plan->out);
    add_option(&w, "out", path ? path : "");
    command = as_typed(&w, NULL, "trivium");
    if (!path || !mark || w.failed || !command) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
        goto done;
    }
    TV_TRY(tv_report_write(&run->plan->out, 1, NULL, path));
    TV_TRY(write_mark(mark, command, tv_seconds() - begin));
done:
    free_words(&w);
    free(command);
    free(mark);
    free(path);
    return status;
}

/* What a kill left of files that were being written: none of them is read. */
static tv_status clear_round(const align_run *run) {
    char *folder = tv_format("%s/round-%" PRIu64, run->plan->out, run->round);
    tv_status status = folder ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
    if (status == TV_OK && tv_path_is_directory(folder))
        status = tv_remove_temporaries(folder);
    free(folder);
    return status;
}

static tv_status all_rounds(align_run *run, tv_align_result *result) {
    for (run->round = 1; run->round <= run->plan->rounds; run->round++) {
        TV_RETURN_IF_FAILED(clear_round(run));
        for (uint64_t s = 0; s < run->step_count; s++)
            TV_RETURN_IF_FAILED(do_step(run, &run->steps[s], result));
        TV_RETURN_IF_FAILED(write_report(run));
    }
    return TV_OK;
}

tv_status tv_align_run(const tv_align_options *options, tv_align_result *result) {
    align_run run = {.options = options, .plan = options->plan};
    tv_lock *lock = NULL;
    tv_status status;
    *result = (tv_align_result){0};
    list_steps(&run);
    tv_catch_interrupts();
    TV_TRY(tv_make_dirs(run.plan->out));
    TV_TRY(tv_lock_directory(run.plan->out, &lock));
    TV_TRY(tv_align_plan_settle(run.plan));
    TV_TRY(tv_remove_temporaries(run.plan->out));
    TV_TRY(all_rounds(&run, result));
    result->policy = tv_format("%s/round-%" PRIu64 "/%s", run.plan->out, run.plan->rounds, policy_step(&run));
    if (!result->policy)
        status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
done:
    tv_lock_release(&lock);
    return status;
}

tv_status tv_align_print(const tv_align_options *options) {
    align_run run = {.options = options, .plan = options->plan};
    list_steps(&run);
    for (run.round = 1; run.round <= run.plan->rounds; run.round++)
        for (uint64_t s = 0; s < run.step_count; s++) {
            words w = {0};
            char *mark = mark_of(&run, &run.steps[s]), *command = NULL;
            tv_status status = describe(&run, &run.steps[s], &w);
            if (status == TV_OK &&
                (!mark || !(command = as_typed(&w, launcher_of(&run, &run.steps[s]), "trivium"))))
                status = tv_fail(TV_E_MEMORY, "out of host memory for a step");
            if (status == TV_OK)
                printf("round %" PRIu64 "%s: %s\n", run.round, tv_path_exists(mark) ? ", finished" : "",
                       command);
            free_words(&w);
            free(command);
            free(mark);
            TV_RETURN_IF_FAILED(status);
        }
    return TV_OK;
}
