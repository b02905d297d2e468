/* Where rewards and reference come from: see sources.h. */
#include "stages/policy/sources.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/visible.h"
#include "reward/checks.h"

enum { SHOWN_BYTES = 120, NAME_BYTES = 40 };

/* Under which keys a checkpoint has them: a text where there is one, else a list. */
static const char *const kind_keys[] = {
    [TV_REWARD_MODEL] = "reward", [TV_REWARD_PROGRAM] = "reward_cmd", [TV_REWARD_CHECK] = "check"};

static tv_status keep_text(const char *given, const cJSON *root, const char *key, const char *where,
                           char **kept) {
    const char *text = given;
    if (!text && root)
        TV_RETURN_IF_FAILED(tv_json_string(root, key, where, NULL, &text));
    *kept = text ? tv_format("%s", text) : NULL;
    return !text || *kept ? TV_OK : tv_fail(TV_E_MEMORY, "out of host memory for a path");
}

/* A directory is data: what it says is not run because it says so. */
static tv_status allow_command(const tv_policy_options *options, const char *command, const char *where) {
    if (options->allow_command)
        return options->allow_command(options->allow_context, command, where);
    return tv_fail(TV_E_USAGE,
                   "%s names a program that scores, \"%.*s\", which nobody here asked for; it was not run",
                   where, SHOWN_BYTES, command);
}

/* ---- which rewards ---- */

static tv_status add_reward(tv_policy_sources *s, tv_reward_kind kind, const char *text) {
    if (s->count == TV_MOST_REWARDS)
        return tv_fail(TV_E_USAGE, "expected at most %d rewards, found more", TV_MOST_REWARDS);
    tv_reward_source *source = &s->rewards[s->count];
    *source = (tv_reward_source){.kind = kind, .text = tv_format("%s", text), .weight = 1};
    if (!source->text)
        return tv_fail(TV_E_MEMORY, "out of host memory for a reward's source");
    s->count++;
    return TV_OK;
}

static tv_status read_state(const cJSON *state, const char *where, tv_policy_sources *s) {
    for (int kind = 0; kind < TV_REWARD_KINDS; kind++) {
        const cJSON *value = tv_json_get(state, kind_keys[kind]), *item = value;
        if (!value || cJSON_IsNull(value))
            continue;
        if (cJSON_IsArray(value))
            item = value->child;
        for (; item; item = cJSON_IsArray(value) ? item->next : NULL) {
            if (!cJSON_IsString(item))
                return tv_fail(TV_E_DATA, "%s: expected a text, or a list of them, for \"%s\"", where,
                               kind_keys[kind]);
            TV_RETURN_IF_FAILED(add_reward(s, (tv_reward_kind)kind, item->valuestring));
        }
    }
    return TV_OK;
}

static tv_status find_rewards(const tv_policy_options *o, const cJSON *state, const char *where,
                              tv_policy_sources *s) {
    for (uint64_t i = 0; i < o->reward_count; i++)
        if (o->rewards[i].text)
            TV_RETURN_IF_FAILED(add_reward(s, o->rewards[i].kind, o->rewards[i].text));
    const bool given = s->count > 0;
    if (!given)
        TV_RETURN_IF_FAILED(read_state(state, where, s));
    if (s->count == 0)
        return tv_fail(TV_E_USAGE,
                       "expected a reward: --reward DIR, a reward model, --reward-cmd CMD, a program, or "
                       "--check CHECK, built in; found none");
    for (uint64_t i = 0; i < s->count && !given && !o->run.dry_run; i++)
        if (s->rewards[i].kind == TV_REWARD_PROGRAM)
            TV_RETURN_IF_FAILED(allow_command(o, s->rewards[i].text, where));
    return TV_OK;
}

/* ---- names and weights ---- */

static bool is_of_names(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
}

static void copy_name(const char *text, size_t length, char name[NAME_BYTES]) {
    size_t used = 0;
    for (size_t i = 0; i < length && used + 1 < NAME_BYTES - 4; i++)
        if (is_of_names(text[i]))
            name[used++] = text[i];
    name[used] = '\0';
}

/* The last folder of a path that says something: of RUN/checkpoints/best the run. */
static void name_of_path(const char *path, char name[NAME_BYTES]) {
    size_t end = strlen(path);
    for (name[0] = '\0'; end > 0;) {
        while (end > 0 && path[end - 1] == '/')
            end--;
        size_t begin = end;
        while (begin > 0 && path[begin - 1] != '/')
            begin--;
        copy_name(path + begin, end - begin, name);
        if (strcmp(name, "best") != 0 && strcmp(name, "last") != 0 && strcmp(name, "checkpoints") != 0 &&
            strncmp(name, "step-", 5) != 0)
            return;
        end = begin;
    }
}

/* The last word of a command that is the name of a file, without its ending; else its first word. */
static void name_of_command(const char *command, char name[NAME_BYTES]) {
    static const char *const ends[] = {".py", ".sh", ".pl", ".rb", ".js", ".awk", ".mjs", ".lua"};
    const char *word = command + strspn(command, " \t");
    size_t length = strcspn(word, " \t");
    for (const char *next = word; *next; next += strspn(next, " \t;|&<>")) {
        size_t size = strcspn(next, " \t;|&<>'\"");
        for (size_t i = 0; i < TV_COUNT(ends); i++) {
            size_t end = strlen(ends[i]);
            if (size > end && memcmp(next + size - end, ends[i], end) == 0) {
                word = next;
                length = size - end;
            }
        }
        next += size + (next[size] == '\'' || next[size] == '"');
    }
    while (memchr(word, '/', length)) {
        size_t skipped = (size_t)((const char *)memchr(word, '/', length) - word) + 1;
        word += skipped;
        length -= skipped;
    }
    copy_name(word, length, name);
}

static void usual_name(const tv_reward_source *source, char name[NAME_BYTES]) {
    if (source->kind == TV_REWARD_MODEL)
        name_of_path(source->text, name);
    else if (source->kind == TV_REWARD_PROGRAM)
        name_of_command(source->text, name);
    else
        copy_name(source->text, strcspn(source->text, ":"), name);
    if (!name[0])
        snprintf(name, NAME_BYTES, "reward");
}

static bool is_taken(const cJSON *names, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach(item, names)
        if (strcmp(item->valuestring, name) == 0)
            return true;
    return false;
}

static tv_status add_item(cJSON *list, cJSON *item) {
    if (item && cJSON_AddItemToArray(list, item))
        return TV_OK;
    cJSON_Delete(item);
    return tv_fail(TV_E_MEMORY, "out of host memory for the names of rewards");
}

static tv_status fill_names(const tv_policy_sources *s, cJSON *names) {
    for (uint64_t i = 0; i < s->count; i++) {
        char usual[NAME_BYTES], name[NAME_BYTES + 8];
        usual_name(&s->rewards[i], usual);
        snprintf(name, sizeof name, "%s", usual);
        for (unsigned number = 2; is_taken(names, name); number++)
            snprintf(name, sizeof name, "%s%u", usual, number);
        TV_RETURN_IF_FAILED(add_item(names, cJSON_CreateString(name)));
    }
    return TV_OK;
}

static tv_status fill_weights(const tv_policy_sources *s, cJSON *weights) {
    for (uint64_t i = 0; i < s->count; i++)
        TV_RETURN_IF_FAILED(add_item(weights, cJSON_CreateNumber(1)));
    return TV_OK;
}

/* What nobody named becomes a setting, so that config.json has it. */
static tv_status settle(tv_run *run, const tv_policy_sources *s, const char *key,
                        tv_status (*fill)(const tv_policy_sources *s, cJSON *list), const cJSON **list) {
    if (*list)
        return TV_OK;
    cJSON *made = cJSON_CreateArray();
    if (!made || !cJSON_AddItemToArray(run->settings.defaults, made)) {
        cJSON_Delete(made);
        return tv_fail(TV_E_MEMORY, "out of host memory for the %s of rewards", key);
    }
    TV_RETURN_IF_FAILED(fill(s, made));
    *list = made;
    return TV_OK;
}

static tv_status check_list(const tv_policy_sources *s, const char *key, const cJSON *list) {
    if (cJSON_IsArray(list) && (uint64_t)cJSON_GetArraySize(list) == s->count)
        return TV_OK;
    return tv_fail(TV_E_CONFIG,
                   "rewards.%s: expected a list with one for each of the %" PRIu64
                   " rewards (models, then programs, then checks), found %s",
                   key, s->count, cJSON_IsArray(list) ? "another number of them" : tv_json_kind(list));
}

static tv_status take_settings(tv_policy_sources *s, const tv_rewards_settings *settings) {
    TV_RETURN_IF_FAILED(check_list(s, "names", settings->names));
    TV_RETURN_IF_FAILED(check_list(s, "weights", settings->weights));
    for (uint64_t i = 0; i < s->count; i++) {
        const cJSON *name = cJSON_GetArrayItem(settings->names, (int)i),
                    *weight = cJSON_GetArrayItem(settings->weights, (int)i);
        bool good =
            cJSON_IsString(name) && name->valuestring[0] && strlen(name->valuestring) < NAME_BYTES + 8;
        for (const char *c = good ? name->valuestring : ""; *c; c++)
            good = good && is_of_names(*c);
        if (!good)
            return tv_fail(
                TV_E_CONFIG,
                "rewards.names: expected names of up to %d letters, digits, \"_\", \"-\" or \".\", found "
                "another for reward %" PRIu64,
                NAME_BYTES, i + 1);
        for (uint64_t j = 0; j < i; j++)
            if (strcmp(s->rewards[j].name, name->valuestring) == 0)
                return tv_fail(TV_E_CONFIG, "rewards.names: expected each name once, found \"%s\" twice",
                               name->valuestring);
        if (!cJSON_IsNumber(weight) || !isfinite(weight->valuedouble))
            return tv_fail(TV_E_CONFIG, "rewards.weights: expected finite numbers, found %s for \"%s\"",
                           weight ? tv_json_kind(weight) : "none", name->valuestring);
        s->rewards[i].name = name->valuestring;
        s->rewards[i].weight = weight->valuedouble;
    }
    return TV_OK;
}

tv_status tv_policy_sources_find(const tv_policy_options *o, tv_run *run, const cJSON *state,
                                 const char *where, tv_policy_sources *s) {
    tv_rewards_settings *settings = &run->settings.rewards;
    TV_RETURN_IF_FAILED(find_rewards(o, state, where, s));
    TV_RETURN_IF_FAILED(settle(run, s, "names", fill_names, &settings->names));
    TV_RETURN_IF_FAILED(settle(run, s, "weights", fill_weights, &settings->weights));
    TV_RETURN_IF_FAILED(take_settings(s, settings));
    TV_RETURN_IF_FAILED(keep_text(o->reference, state, "reference", where, &s->reference));
    if (!s->reference)
        TV_RETURN_IF_FAILED(keep_text(run->init, NULL, "reference", where, &s->reference));
    return TV_OK;
}

/* ---- what they are for ---- */

static uint64_t count_of(const tv_policy_sources *s, tv_reward_kind kind) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < s->count; i++)
        count += s->rewards[i].kind == kind;
    return count;
}

bool tv_policy_sources_add(const tv_policy_sources *s, cJSON *state) {
    bool built = !s->reference || tv_json_set_string(state, "reference", s->reference);
    for (uint64_t i = 0; i < s->count && built; i++) {
        const tv_reward_source *source = &s->rewards[i];
        const char *key = kind_keys[source->kind];
        if (count_of(s, source->kind) == 1) {
            built = tv_json_set_string(state, key, source->text);
            continue;
        }
        cJSON *list = cJSON_GetObjectItemCaseSensitive(state, key), *item = cJSON_CreateString(source->text);
        if (!list)
            list = cJSON_AddArrayToObject(state, key);
        built = list && item && cJSON_AddItemToArray(list, item);
        if (!built)
            cJSON_Delete(item);
    }
    return built;
}

tv_status tv_policy_sources_add_inputs(const tv_policy_sources *s, tv_run *run) {
    const bool several = count_of(s, TV_REWARD_MODEL) > 1;
    for (uint64_t i = 0; i < s->count; i++) {
        char name[NAME_BYTES + 24];
        snprintf(name, sizeof name, several ? "reward %s" : "reward", s->rewards[i].name);
        if (s->rewards[i].kind == TV_REWARD_MODEL)
            TV_RETURN_IF_FAILED(tv_inputs_add_model(&run->now.inputs, name, s->rewards[i].text));
    }
    return s->reference ? tv_inputs_add_model(&run->now.inputs, "reference", s->reference) : TV_OK;
}

bool tv_policy_sources_have_answers(const tv_policy_sources *s) {
    for (uint64_t i = 0; i < s->count; i++)
        if (s->rewards[i].kind == TV_REWARD_CHECK && tv_check_compares(s->rewards[i].text))
            return true;
    return false;
}

bool tv_policy_sources_have_fields(const tv_policy_sources *s) {
    return count_of(s, TV_REWARD_PROGRAM) > 0;
}

void tv_policy_sources_print(const tv_policy_sources *s, const tv_policy_options *options) {
    static const char *const kinds[] = {"the model", "the program", "the check"};
    char shown[4096];
    for (uint64_t i = 0; i < s->count; i++) {
        const tv_reward_source *source = &s->rewards[i];
        printf("reward     ");
        if (s->count > 1)
            printf("%s, weight %g: ", source->name, source->weight);
        printf("%s %s%s\n", kinds[source->kind], tv_visible_line(source->text, shown, sizeof shown),
               source->kind == TV_REWARD_PROGRAM && options->reward_count == 0
                   ? " (only the checkpoint names it: it runs only when allowed)"
                   : "");
    }
}

void tv_policy_sources_free(tv_policy_sources *s) {
    for (uint64_t i = 0; i < s->count; i++)
        free(s->rewards[i].text);
    free(s->reference);
    *s = (tv_policy_sources){0};
}
