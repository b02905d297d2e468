/* trivium settings: every key of a run's configuration, from the table that reads them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/choices.h"
#include "base/json.h"
#include "run/settings.h"
#include "tools/commands.h"
#include "tools/options.h"

enum { SMALL = 64, TEXT = 256 };
static const char stage_words[] = "pretrain|sft|reward|dpo|ppo|grpo|all";

/* "a number from 0 to 1", "cosine, linear or wsd", ... */
static const char *describe_type(const tv_config_field *field, char *text, size_t size) {
    switch (field->type) {
    case TV_CONFIG_BOOL:
        snprintf(text, size, "true or false");
        break;
    case TV_CONFIG_UINT:
        snprintf(text, size, "whole number, %.15g to %.15g", field->minimum, field->maximum);
        break;
    case TV_CONFIG_NUMBER:
        snprintf(text, size, "number, %.9g to %.9g", field->minimum, field->maximum);
        break;
    case TV_CONFIG_STRING:
        snprintf(text, size, "text");
        break;
    case TV_CONFIG_TREE:
        snprintf(text, size, "list");
        break;
    case TV_CONFIG_CHOICE:
        tv_choices_list(field->choices, text, size);
        break;
    }
    return text;
}

static bool uses(const tv_setting *setting, int stage) {
    return setting->stages >> stage & 1u;
}

/* The default of one stage, or of all that use it: "0.1 (sft 0, reward 0)", the first stage's where they
 * agree. */
static const char *describe_default(const tv_setting *setting, int stage, char *text, size_t size) {
    char first[SMALL] = "", other[SMALL];
    size_t used = 0;
    if (stage >= 0)
        return tv_setting_default(setting, (tv_stage_kind)stage, text, size);
    for (int kind = 0; kind < TV_STAGE_KINDS; kind++) {
        if (!uses(setting, kind))
            continue;
        tv_setting_default(setting, (tv_stage_kind)kind, other, sizeof other);
        if (!first[0]) {
            snprintf(first, sizeof first, "%s", other);
            used = (size_t)snprintf(text, size, "%s", first);
        } else if (strcmp(first, other) != 0 && used < size) {
            used += (size_t)snprintf(text + used, size - used, "%s%s %s", strchr(text, '(') ? ", " : " (",
                                     tv_stage_kind_name((tv_stage_kind)kind), other);
        }
    }
    if (strchr(text, '(') && used < size)
        snprintf(text + used, size - used, ")");
    return text;
}

static const char *describe_stages(const tv_setting *setting, char *text, size_t size) {
    uint32_t all = (1u << TV_STAGE_KINDS) - 1;
    size_t used = 0;
    if ((setting->stages & all) == all) {
        snprintf(text, size, "all");
        return text;
    }
    for (int kind = 0; kind < TV_STAGE_KINDS; kind++)
        if (uses(setting, kind) && used < size)
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? ", " : "",
                                     tv_stage_kind_name((tv_stage_kind)kind));
    return text;
}

static void print_text(int stage) {
    const char *section = "";
    for (uint64_t i = 0; i < tv_setting_count; i++) {
        const tv_setting *setting = &tv_settings[i];
        char type[TEXT], value[TEXT], stages[TEXT];
        if (stage >= 0 ? !uses(setting, stage) : !setting->stages)
            continue;
        if (strcmp(section, setting->section) != 0)
            printf("%s", section[0] ? "\n" : "");
        section = setting->section;
        printf("%s.%s = %s\n    %s (%s%s%s)\n", setting->section, setting->field.key,
               describe_default(setting, stage, value, sizeof value), setting->help,
               describe_type(&setting->field, type, sizeof type), stage < 0 ? "; " : "",
               stage < 0 ? describe_stages(setting, stages, sizeof stages) : "");
    }
    printf(
        "\nauto: worked out from model and data, and written into the run's config.json; none: absent.\n"
        "model.KEY: the keys of a Hugging Face config.json, for a model that is drawn (pretrain).\n"
        "Each goes into a configuration file, {\"train\": {\"lr\": 1e-3}}, or behind --set train.lr=1e-3.\n");
}

static void print_markdown(void) {
    printf(
        "# Settings\n\n"
        "Made by `trivium settings --markdown` from `runtime/run/settings.def`; a test holds this page to "
        "it.\n\n"
        "A configuration file is JSON, `{\"train\": {\"lr\": 1e-3}}`; `--set train.lr=1e-3` reaches the same "
        "keys. A key that a stage does\nnot use is refused there. *auto*: worked out from model and data "
        "(`runtime/run/defaults.h` has the rules) and written into the run's\n`config.json`. `model.KEY`: "
        "the keys of a Hugging Face `config.json`, for a model that is drawn.\n");
    const char *section = "";
    for (uint64_t i = 0; i < tv_setting_count; i++) {
        const tv_setting *setting = &tv_settings[i];
        char type[TEXT], value[TEXT], stages[TEXT];
        if (!setting->stages)
            continue;
        if (strcmp(section, setting->section) != 0)
            printf("\n## %s\n\n| key | default | what it is | values | stages |\n|---|---|---|---|---|\n",
                   setting->section);
        section = setting->section;
        printf("| `%s.%s` | %s | %s | %s | %s |\n", setting->section, setting->field.key,
               describe_default(setting, -1, value, sizeof value), setting->help,
               describe_type(&setting->field, type, sizeof type),
               describe_stages(setting, stages, sizeof stages));
    }
}

static tv_status print_json(int stage) {
    cJSON *result = cJSON_CreateObject();
    cJSON *list = result ? cJSON_AddArrayToObject(result, "settings") : NULL;
    bool built = list != NULL;
    for (uint64_t i = 0; i < tv_setting_count && built; i++) {
        const tv_setting *setting = &tv_settings[i];
        char type[TEXT], value[TEXT], key[TEXT], stages[TEXT];
        if (stage >= 0 ? !uses(setting, stage) : !setting->stages)
            continue;
        snprintf(key, sizeof key, "%s.%s", setting->section, setting->field.key);
        cJSON *item = cJSON_CreateObject();
        built = item && cJSON_AddItemToArray(list, item) && tv_json_set_string(item, "key", key) &&
                tv_json_set_string(item, "default", describe_default(setting, stage, value, sizeof value)) &&
                tv_json_set_string(item, "values", describe_type(&setting->field, type, sizeof type)) &&
                tv_json_set_string(item, "stages", describe_stages(setting, stages, sizeof stages)) &&
                tv_json_set_string(item, "help", setting->help);
    }
    return tv_print_result(result, built);
}

static tv_status find_stage(const char *name, int *stage) {
    const char *names[TV_STAGE_KINDS];
    *stage = -1;
    if (strcmp(name, "all") == 0)
        return TV_OK;
    for (int kind = 0; kind < TV_STAGE_KINDS; kind++) {
        names[kind] = tv_stage_kind_name((tv_stage_kind)kind);
        if (strcmp(names[kind], name) == 0)
            *stage = kind;
    }
    if (*stage >= 0)
        return TV_OK;
    const char *nearest = tv_nearest_word(name, names, TV_STAGE_KINDS);
    char known[TEXT];
    return tv_fail(TV_E_USAGE, "unknown stage \"%s\"; expected one of %s%s%s%s", name,
                   tv_choices_list(stage_words, known, sizeof known), nearest ? "; the nearest is \"" : "",
                   nearest ? nearest : "", nearest ? "\"" : "");
}

tv_status cmd_settings(int argc, char **argv) {
    const char *name = "all";
    bool markdown = false;
    int stage;
    tv_common_options common = {0};
    const tv_option options[] = {
        tv_opt_words(stage_words,
                     tv_opt_positional("STAGE", &name,
                                       "pretrain, sft, reward, dpo, ppo or grpo: only what this stage uses")),
        tv_opt_flag("markdown", &markdown, "as docs/settings.md"),
    };
    const tv_command_line line = {
        .command = "settings",
        .summary = "Lists every setting of the training stages with its default, its values and what it is.",
        .notes = "examples:\n  trivium settings sft\n  trivium sft --model DIR --data F --out RUN --set "
                 "train.lr=1e-4",
        .options = options,
        .option_count = TV_COUNT(options),
        .common_mask = TV_COMMON_JSON,
        .common = &common,
    };
    bool done;
    TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
    if (done)
        return TV_OK;
    TV_RETURN_IF_FAILED(find_stage(name, &stage));
    if (common.json)
        return print_json(stage);
    if (markdown)
        print_markdown();
    else
        print_text(stage);
    return TV_OK;
}
