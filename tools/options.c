/* Tables against argv: see options.h. The help is in options_help.c. */
#include "tools/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/choices.h"
#include "base/files.h"
#include "base/json.h"
#include "base/log.h"
#include "tools/options_describe.h"
#include "tools/options_help.h"
#include "train/ranks.h"

void tv_texts_free(tv_texts *texts) {
    free(texts->items);
    *texts = (tv_texts){0};
}

tv_option tv_opt_flag(const char *name, bool *slot, const char *help) {
    return (tv_option){.name = name, .type = TV_OPTION_FLAG, .help = help, .slot.flag = slot};
}

tv_option tv_opt_text(const char *name, const char *value, const char **slot, const char *help) {
    return (tv_option){.name = name, .value = value, .type = TV_OPTION_TEXT, .help = help, .slot.text = slot};
}

tv_option tv_opt_uint(const char *name, const char *value, uint64_t *slot, uint64_t minimum, uint64_t maximum,
                      const char *help) {
    return (tv_option){.name = name,
                       .value = value,
                       .type = TV_OPTION_UINT,
                       .help = help,
                       .minimum = (double)minimum,
                       .maximum = (double)maximum,
                       .slot.uint = slot};
}

tv_option tv_opt_number(const char *name, const char *value, double *slot, double minimum, double maximum,
                        const char *help) {
    return (tv_option){.name = name,
                       .value = value,
                       .type = TV_OPTION_NUMBER,
                       .help = help,
                       .minimum = minimum,
                       .maximum = maximum,
                       .slot.number = slot};
}

tv_option tv_opt_choice(const char *name, const char *choices, int *slot, const char *help) {
    return (tv_option){.name = name,
                       .value = choices,
                       .choices = choices,
                       .type = TV_OPTION_CHOICE,
                       .help = help,
                       .slot.choice = slot};
}

tv_option tv_opt_list(const char *name, const char *value, tv_texts *slot, const char *help) {
    return (tv_option){
        .name = name, .value = value, .type = TV_OPTION_LIST, .help = help, .slot.texts = slot};
}

tv_option tv_opt_repeated(const char *name, const char *value, tv_texts *slot, const char *help) {
    return (tv_option){
        .name = name, .value = value, .type = TV_OPTION_REPEATED, .help = help, .slot.texts = slot};
}

tv_option tv_opt_positional(const char *name, const char **slot, const char *help) {
    return (tv_option){.name = name,
                       .value = name,
                       .type = TV_OPTION_POSITIONAL,
                       .help = help,
                       .required = !*slot,
                       .slot.text = slot};
}

tv_option tv_opt_positionals(const char *name, tv_texts *slot, const char *help) {
    return (tv_option){.name = name,
                       .value = name,
                       .type = TV_OPTION_POSITIONALS,
                       .help = help,
                       .required = true,
                       .slot.texts = slot};
}

tv_option tv_opt_words(const char *words, tv_option option) {
    option.choices = words;
    return option;
}

tv_option tv_opt_required(tv_option option) {
    option.required = true;
    return option;
}

tv_option tv_opt_short(char short_name, tv_option option) {
    option.short_name = short_name;
    return option;
}

tv_option tv_opt_existing(tv_option option) {
    option.must_exist = true;
    return option;
}

tv_option tv_opt_output(tv_option option) {
    option.output = true;
    return option;
}

tv_option tv_opt_given(bool *given, tv_option option) {
    option.given = given;
    return option;
}

enum { MAX_OPTIONS = 64, MAX_COMMON = 8 };

/* The declaration of the common options; returns how many the mask selects. */
static uint64_t common_options(unsigned mask, tv_common_options *common, tv_option options[MAX_COMMON]) {
    uint64_t count = 0;
    if (mask & TV_COMMON_DEVICE) {
        options[count++] =
            tv_opt_text("device", "N|NAME", &common->device,
                        "the device, by its number or a part of its name in `trivium devices`");
        options[count++] = tv_opt_text(
            "tier", "TIER", &common->tier,
            "fp32, cm-f16 or cm-bf16, where the device has it: another tier than it takes by itself");
    }
    if (mask & TV_COMMON_SEED)
        options[count++] =
            tv_opt_given(&common->seed_given, tv_opt_uint("seed", "N", &common->seed, 0, UINT64_MAX,
                                                          "seed of everything that is drawn at random"));
    if (mask & TV_COMMON_JSON)
        options[count++] =
            tv_opt_flag("json", &common->json, "machine-readable result as the last line of standard output");
    if (mask & TV_COMMON_QUIET)
        options[count++] = tv_opt_flag("quiet", &common->quiet, "only warnings and errors");
    if (mask & TV_COMMON_CAPTURE)
        options[count++] = tv_opt_given(&common->capture_given,
                                        tv_opt_uint("capture-step", "N", &common->capture_step, 0, UINT64_MAX,
                                                    "capture this step when started under RenderDoc"));
    if (mask & TV_COMMON_DRY_RUN)
        options[count++] = tv_opt_flag("dry-run", &common->dry_run,
                                       "print the plan and the memory that it needs, then stop");
    return count;
}

/* The state of one parse. */
typedef struct parser {
    const tv_command_line *line;
    tv_option options[MAX_OPTIONS];
    bool seen[MAX_OPTIONS];
    uint64_t count;
    int argc, next;
    char **argv;
    bool only_positionals;
} parser;

/* "--out" as the person wrote or could write it. */
static const char *spelled(const tv_option *option, char text[96]) {
    snprintf(text, 96, "%s%.80s", option->type >= TV_OPTION_POSITIONAL ? "" : "--", option->name);
    return text;
}

static tv_status see_help(const parser *p, tv_status status) {
    if (status != TV_E_USAGE)
        return status;
    char *sentence = tv_format("%s (see trivium %s --help)", tv_last_error(), p->line->command);
    if (sentence)
        tv_fail(TV_E_USAGE, "%s", sentence);
    free(sentence);
    return status;
}

static tv_status unknown_option(const parser *p, const char *name, uint64_t length) {
    const char *names[MAX_OPTIONS + 1];
    uint64_t count = 0;
    for (uint64_t i = 0; i < p->count; i++)
        if (p->options[i].type < TV_OPTION_POSITIONAL)
            names[count++] = p->options[i].name;
    names[count++] = "help";
    char *word = tv_format("%.*s", (int)length, name);
    const char *nearest = word ? tv_nearest_word(word, names, count) : NULL;
    tv_status status =
        nearest ? tv_fail(TV_E_USAGE, "unknown option --%s; the nearest known one is --%s", word, nearest)
                : tv_fail(TV_E_USAGE, "unknown option --%.*s", (int)length, name);
    free(word);
    return status;
}

static tv_status append_text(tv_texts *texts, const char *value) {
    const char **grown = realloc(texts->items, (texts->count + 1) * sizeof *grown);
    if (!grown)
        return tv_fail(TV_E_MEMORY, "out of host memory for the command line");
    texts->items = grown;
    texts->items[texts->count++] = value;
    return TV_OK;
}

static tv_status read_uint(const tv_option *option, const char *value) {
    char name[96];
    char *end = NULL;
    errno = 0;
    unsigned long long number = strtoull(value, &end, 10);
    bool digits = value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;
    if (!digits || (double)number < option->minimum || (double)number > option->maximum) {
        if (option->maximum >= 0x1p63)
            return tv_fail(TV_E_USAGE, "%s expects a whole number from %.0f on, found \"%s\"",
                           spelled(option, name), option->minimum, value);
        return tv_fail(TV_E_USAGE, "%s expects a whole number from %.0f to %.0f, found \"%s\"",
                       spelled(option, name), option->minimum, option->maximum, value);
    }
    *option->slot.uint = number;
    return TV_OK;
}

static tv_status read_number(const tv_option *option, const char *value) {
    char name[96];
    char *end = NULL;
    double number = strtod(value, &end);
    /* The comparison is also false for NaN. */
    if (end == value || *end != '\0' || !(number >= option->minimum && number <= option->maximum))
        return tv_fail(TV_E_USAGE, "%s expects a number from %g to %g, found \"%s\"", spelled(option, name),
                       option->minimum, option->maximum, value);
    *option->slot.number = number;
    return TV_OK;
}

static tv_status read_choice(const tv_option *option, const char *value) {
    char name[96];
    int position = tv_choice_find(option->choices, value);
    if (position >= 0) {
        *option->slot.choice = position;
        return TV_OK;
    }
    return tv_fail(TV_E_USAGE, "%s expects one of %s, found \"%s\"", spelled(option, name), option->choices,
                   value);
}

static tv_status take_value(parser *p, uint64_t index, const char *value) {
    const tv_option *option = &p->options[index];
    char name[96];
    p->seen[index] = true;
    if (option->given)
        *option->given = true;
    if ((option->required || option->output) && !value[0])
        return tv_fail(TV_E_USAGE, "%s is empty: %s", spelled(option, name), option->help);
    if (option->must_exist && strcmp(value, "-") != 0 && !tv_path_exists(value))
        return tv_fail(TV_E_USAGE, "%s: there is no file or directory \"%s\"", spelled(option, name), value);
    switch (option->type) {
    case TV_OPTION_FLAG:
        *option->slot.flag = true;
        return TV_OK;
    case TV_OPTION_TEXT:
    case TV_OPTION_POSITIONAL:
        *option->slot.text = value;
        return TV_OK;
    case TV_OPTION_UINT:
        return read_uint(option, value);
    case TV_OPTION_NUMBER:
        return read_number(option, value);
    case TV_OPTION_CHOICE:
        return read_choice(option, value);
    case TV_OPTION_LIST:
    case TV_OPTION_REPEATED:
    case TV_OPTION_POSITIONALS:
        return append_text(option->slot.texts, value);
    }
    return TV_OK;
}

static bool is_option(const char *word) {
    return word[0] == '-' && word[1] != '\0';
}

/* The values after option `index`; `attached` is what followed the equals sign, or NULL. */
static tv_status take_option(parser *p, uint64_t index, const char *attached) {
    const tv_option *option = &p->options[index];
    char name[96];
    if (option->type == TV_OPTION_FLAG) {
        if (attached)
            return tv_fail(TV_E_USAGE, "%s takes no value, found \"%s\"", spelled(option, name), attached);
        return take_value(p, index, "");
    }
    if (attached)
        return take_value(p, index, attached);
    if (option->type == TV_OPTION_LIST) {
        int first = p->next;
        while (p->next < p->argc && !is_option(p->argv[p->next]))
            TV_RETURN_IF_FAILED(take_value(p, index, p->argv[p->next++]));
        if (p->next == first)
            return tv_fail(TV_E_USAGE, "%s expects at least one %s", spelled(option, name), option->value);
        return TV_OK;
    }
    if (p->next == p->argc)
        return tv_fail(TV_E_USAGE, "%s expects a value (%s), found the end of the line",
                       spelled(option, name), option->value);
    const char *value = p->argv[p->next];
    if (strncmp(value, "--", 2) == 0)
        return tv_fail(TV_E_USAGE,
                       "%s expects a value (%s), found the option %s; write %s=%s if that is meant",
                       spelled(option, name), option->value, value, name, value);
    p->next++;
    return take_value(p, index, value);
}

static tv_status take_positional(parser *p, const char *word) {
    for (uint64_t i = 0; i < p->count; i++) {
        tv_option_type type = p->options[i].type;
        if (type == TV_OPTION_POSITIONALS || (type == TV_OPTION_POSITIONAL && !p->seen[i]))
            return take_value(p, i, word);
    }
    return tv_fail(TV_E_USAGE, "unexpected argument \"%s\"", word);
}

static tv_status take_word(parser *p, const char *word) {
    if (p->only_positionals || !is_option(word))
        return take_positional(p, word);
    if (strcmp(word, "--") == 0) {
        p->only_positionals = true;
        return TV_OK;
    }
    if (word[1] != '-') {
        for (uint64_t i = 0; i < p->count; i++)
            if (p->options[i].short_name == word[1])
                return take_option(p, i, word[2] ? word + 2 : NULL);
        return tv_fail(TV_E_USAGE, "unknown option \"%s\"", word);
    }
    const char *name = word + 2;
    uint64_t length = strcspn(name, "=");
    for (uint64_t i = 0; i < p->count; i++)
        if (p->options[i].type < TV_OPTION_POSITIONAL && strlen(p->options[i].name) == length &&
            memcmp(p->options[i].name, name, length) == 0)
            return take_option(p, i, name[length] ? name + length + 1 : NULL);
    return unknown_option(p, name, length);
}

static tv_status check_required(const parser *p) {
    for (uint64_t i = 0; i < p->count; i++) {
        const tv_option *option = &p->options[i];
        char name[96];
        if (!option->required || p->seen[i])
            continue;
        if (option->type >= TV_OPTION_POSITIONAL)
            return tv_fail(TV_E_USAGE, "%s is missing: %s", spelled(option, name), option->help);
        return tv_fail(TV_E_USAGE, "%s %s is missing: %s", spelled(option, name),
                       option->value ? option->value : "", option->help);
    }
    return TV_OK;
}

/* Whether a model or a run is read by files of such names. */
static bool is_part(const char *name) {
    static const char *const endings[] = {".json", ".jinja", ".safetensors", "metrics.jsonl"};
    uint64_t length = strlen(name);
    for (uint64_t i = 0; i < TV_COUNT(endings); i++) {
        uint64_t ending = strlen(endings[i]);
        if (length >= ending && strcmp(name + length - ending, endings[i]) == 0)
            return true;
    }
    return false;
}

/* `input` is a file that `path` leads to, or a directory with it among its parts. */
static tv_status check_input(const char *path, const char *input) {
    if (!tv_path_is_directory(input))
        return tv_output_check(path, &input, 1);
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if (!is_part(name))
        return TV_OK;
    char *inside = tv_format("%s/%s", input, name);
    if (!inside)
        return tv_fail(TV_E_MEMORY, "out of host memory for a path");
    tv_status status = tv_output_check(path, (const char *const *)&inside, 1);
    free(inside);
    return status;
}

tv_status tv_options_check_output(const tv_command_line *line, const char *path) {
    for (uint64_t i = 0; i < line->option_count; i++) {
        const tv_option *option = &line->options[i];
        if (option->output)
            continue;
        if ((option->type == TV_OPTION_TEXT || option->type == TV_OPTION_POSITIONAL) && *option->slot.text)
            TV_RETURN_IF_FAILED(check_input(path, *option->slot.text));
        if (option->type == TV_OPTION_LIST || option->type == TV_OPTION_REPEATED ||
            option->type == TV_OPTION_POSITIONALS)
            for (uint64_t k = 0; k < option->slot.texts->count; k++)
                TV_RETURN_IF_FAILED(check_input(path, option->slot.texts->items[k]));
    }
    return TV_OK;
}

static tv_status check_outputs(const tv_command_line *line) {
    for (uint64_t i = 0; i < line->option_count; i++)
        if (line->options[i].output && *line->options[i].slot.text)
            TV_RETURN_IF_FAILED(tv_options_check_output(line, *line->options[i].slot.text));
    return TV_OK;
}

static void free_lists(const parser *p) {
    for (uint64_t i = 0; i < p->count; i++) {
        tv_option_type type = p->options[i].type;
        if (type == TV_OPTION_LIST || type == TV_OPTION_REPEATED || type == TV_OPTION_POSITIONALS)
            tv_texts_free(p->options[i].slot.texts);
    }
}

static bool asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

tv_status tv_options_parse(const tv_command_line *line, int argc, char **argv, bool *done) {
    tv_option common[MAX_COMMON];
    uint64_t common_count = line->common ? common_options(line->common_mask, line->common, common) : 0;
    *done = false;
    tv_describe describe = tv_describe_asked(argc, argv);
    if (describe != TV_DESCRIBE_NOTHING) {
        tv_describe_command(describe, line, common, common_count);
        *done = true;
        return TV_OK;
    }
    if (asks_for_help(argc, argv)) {
        if (tv_launcher_of_environment().own == 0) /* of several ranks one speaks */
            tv_options_print_help(line, common, common_count);
        *done = true;
        return TV_OK;
    }
    parser p = {.line = line, .argc = argc, .next = 1, .argv = argv};
    if (line->option_count + common_count > MAX_OPTIONS)
        return tv_fail(TV_E_USAGE, "the option table of trivium %s is too long", line->command);
    for (uint64_t i = 0; i < line->option_count; i++)
        p.options[p.count++] = line->options[i];
    for (uint64_t i = 0; i < common_count; i++)
        p.options[p.count++] = common[i];
    tv_status status = TV_OK;
    while (p.next < argc && status == TV_OK) {
        const char *word = argv[p.next++];
        status = take_word(&p, word);
    }
    if (status == TV_OK)
        status = check_required(&p);
    if (status == TV_OK)
        status = check_outputs(line);
    if (status != TV_OK) {
        free_lists(&p);
        return see_help(&p, status);
    }
    if (line->common && line->common->quiet)
        tv_log_set_level(TV_LOG_WARNING);
    return TV_OK;
}
