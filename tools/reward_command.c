/* What rewards: see reward_command.h. */
#include "tools/reward_command.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "base/os.h"

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

/* "1,0.5" as a set of a setting, "rewards.weights=[1,0.5]"; texts get their quotes. NULL when memory is out.
 */
static char *setting_of(const char *key, const char *list, bool texts) {
    const char *quote = texts ? "\"" : "";
    char *set = tv_format("rewards.%s=[", key);
    for (const char *item = list; set; item += strcspn(item, ",") + 1) {
        int length = (int)strcspn(item, ",");
        bool last = item[length] == '\0';
        char *longer = tv_format("%s%s%.*s%s%s", set, quote, length, item, quote, last ? "]" : ",");
        free(set);
        set = longer;
        if (last)
            break;
    }
    return set;
}

/* Of `set`, which setting_of made of the option's value: a mistake is said under the option's own name. */
static tv_status check_weights(const char *set, const char *given) {
    cJSON *list = cJSON_Parse(strchr(set, '=') + 1);
    bool numbers = cJSON_IsArray(list);
    for (const cJSON *item = numbers ? list->child : NULL; item; item = item->next)
        numbers = numbers && cJSON_IsNumber(item);
    cJSON_Delete(list);
    return numbers ? TV_OK
                   : tv_fail(TV_E_USAGE, "--reward-weights: expected numbers, such as 1,0.5, found \"%s\"",
                             given);
}

tv_status tv_rewards_asked_run(const tv_rewards_asked *asked, const tv_run_options *options,
                               tv_status (*train)(const tv_ppo_options *options, tv_run_result *result),
                               tv_run_result *result) {
    const tv_texts *const lists[TV_REWARD_KINDS] = {[TV_REWARD_MODEL] = &asked->models,
                                                    [TV_REWARD_PROGRAM] = &asked->programs,
                                                    [TV_REWARD_CHECK] = &asked->checks};
    uint64_t count = asked->models.count + asked->programs.count + asked->checks.count, at = 0;
    tv_reward_given *given = calloc(count + 1, sizeof *given);
    const char **sets = calloc(options->set_count + 2, sizeof *sets);
    char *weights = asked->weights ? setting_of("weights", asked->weights, false) : NULL,
         *names = asked->names ? setting_of("names", asked->names, true) : NULL;
    tv_status status = TV_OK;
    tv_ppo_options ppo = {.run = *options,
                          .rewards = given,
                          .reward_count = count,
                          .reference = asked->reference,
                          .allow_command = tv_allow_reward_command};
    if (!given || !sets || (asked->weights && !weights) || (asked->names && !names)) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for the options");
        goto done;
    }
    if (weights)
        TV_TRY(check_weights(weights, asked->weights));
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
