/* What rewards: see reward_command.h. */
#include "tools/reward_command.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"
#include "reward/checks.h"

/* A longer one cannot be looked at before the question. */
enum { LONGEST_SHOWN = 1000 };

tv_status tv_allow_reward_command(void *context, const char *command, const char *where) {
    const char *again = context ? context : "--reward-cmd CMD, or --reward DIR instead";
    bool shown = strlen(command) <= LONGEST_SHOWN;
    if (shown && tv_somebody_can_answer()) {
        tv_warn("%s names a program that scores, and this command line does not: %s", where, command);
        if (tv_ask("Run it? Only if this run is your own, or you know what the program does."))
            return TV_OK;
        return tv_fail(TV_E_USAGE,
                       "the program was not run, and nothing was changed; to go on, give beside --resume %s",
                       again);
    }
    return tv_fail(
        TV_E_USAGE,
        "%s names a program that scores: %.*s%s; a run's directory may come from somebody else, so "
        "what it names is not run unasked%s. Give it once more beside --resume, with %s",
        where, LONGEST_SHOWN, command, shown ? "" : "...",
        shown ? ", and here nobody can be asked" : ", and it is too long to be shown and asked for", again);
}

/* One of a list: a number, or with `texts` a text; NULL with a sentence where it is none. */
static cJSON *item_of(const char *key, const char *item, int length, bool texts) {
    char *word = tv_format("%.*s", length, item), *end = word;
    cJSON *made = NULL;
    if (!word) {
        tv_fail(TV_E_MEMORY, "out of host memory for the options");
        return NULL;
    }
    const double number = strtod(word, &end);
    if (texts && length)
        made = cJSON_CreateString(word);
    else if (!texts && length && !*end && isfinite(number))
        made = cJSON_CreateNumber(number);
    else
        tv_fail(TV_E_USAGE, "--reward-%s: expected %s with commas between them, found \"%s\"", key,
                texts ? "names" : "numbers", word);
    free(word);
    return made;
}

/* "1,0.5" as a set of a setting, "rewards.weights=[1,0.5]". */
static tv_status setting_of(const char *key, const char *list, bool texts, char **set) {
    cJSON *items = cJSON_CreateArray();
    tv_status status = items ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for the options");
    for (const char *item = list; status == TV_OK; item += strcspn(item, ",") + 1) {
        int length = (int)strcspn(item, ",");
        cJSON *made = item_of(key, item, length, texts);
        status = made && cJSON_AddItemToArray(items, made) ? TV_OK : TV_E_USAGE;
        if (item[length] == '\0')
            break;
    }
    char *printed = status == TV_OK ? cJSON_PrintUnformatted(items) : NULL;
    *set = printed ? tv_format("rewards.%s=%s", key, printed) : NULL;
    cJSON_free(printed);
    cJSON_Delete(items);
    return status == TV_OK && !*set ? tv_fail(TV_E_MEMORY, "out of host memory for the options") : status;
}

/* Before anything else is read: what is no check needs no model to be refused. */
static tv_status expect_checks(const tv_texts *checks) {
    for (uint64_t i = 0; i < checks->count; i++) {
        tv_check check;
        TV_RETURN_IF_FAILED(tv_fail_context(tv_check_parse(checks->items[i], &check), "--check"));
        tv_check_free(&check);
    }
    return TV_OK;
}

tv_status tv_rewards_asked_run(const tv_rewards_asked *asked, const tv_run_options *options,
                               tv_status (*train)(const tv_policy_options *options, tv_run_result *result),
                               tv_run_result *result) {
    const tv_texts *const lists[TV_REWARD_KINDS] = {[TV_REWARD_MODEL] = &asked->models,
                                                    [TV_REWARD_PROGRAM] = &asked->programs,
                                                    [TV_REWARD_CHECK] = &asked->checks};
    uint64_t count = asked->models.count + asked->programs.count + asked->checks.count, at = 0;
    tv_reward_given *given = calloc(count + 1, sizeof *given);
    const char **sets = calloc(options->set_count + 2, sizeof *sets);
    char *weights = NULL, *names = NULL;
    tv_status status = TV_OK;
    tv_policy_options ppo = {.run = *options,
                             .rewards = given,
                             .reward_count = count,
                             .reference = asked->reference,
                             .allow_command = tv_allow_reward_command};
    if (!given || !sets) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the options");
        goto done;
    }
    TV_TRY(expect_checks(&asked->checks));
    if (asked->weights)
        TV_TRY(setting_of("weights", asked->weights, false, &weights));
    if (asked->names)
        TV_TRY(setting_of("names", asked->names, true, &names));
    for (int kind = 0; kind < TV_REWARD_KINDS; kind++)
        for (uint64_t i = 0; i < lists[kind]->count; i++)
            given[at++] = (tv_reward_given){(tv_reward_kind)kind, lists[kind]->items[i]};
    if (options->set_count)
        memcpy(sets, options->sets, options->set_count * sizeof *sets);
    ppo.run.sets = sets;
    if (weights)
        sets[ppo.run.set_count++] = weights;
    if (names)
        sets[ppo.run.set_count++] = names;
    status = train(&ppo, result);
done:
    free(given);
    free(sets);
    free(weights);
    free(names);
    return status;
}

void tv_rewards_asked_free(tv_rewards_asked *asked) {
    tv_texts_free(&asked->models);
    tv_texts_free(&asked->programs);
    tv_texts_free(&asked->checks);
}
