/* Option tables as a manual page and as completion: see options_describe.h. */
#include "tools/options_describe.h"

#include <stdio.h>
#include <string.h>

#include "run/settings.h"
#include "tools/options_help.h"

tv_describe tv_describe_asked(int argc, char **argv) {
    if (argc != 2)
        return TV_DESCRIBE_NOTHING;
    if (strcmp(argv[1], "--man-page") == 0)
        return TV_DESCRIBE_MAN;
    return strcmp(argv[1], "--bash-completion") == 0 ? TV_DESCRIBE_BASH : TV_DESCRIBE_NOTHING;
}

static bool is_top(const char *path) {
    return !strchr(path, ' ');
}

/* ---- the manual page ---- */

/* Text as roff takes it: hyphens that may be typed, no backslash and no request by accident. */
static void roff_part(const char *text, size_t size) {
    bool start = true;
    for (const char *end = text + size; text < end; text++) {
        if (start && (*text == '.' || *text == '\''))
            fputs("\\&", stdout);
        if (*text == '-')
            fputs("\\-", stdout);
        else if (*text == '\\')
            fputs("\\e", stdout);
        else
            putchar(*text);
        start = *text == '\n';
    }
}

static void roff(const char *text) {
    roff_part(text, strlen(text));
}

static void man_row(const char *left, const char *text) {
    fputs(".TP\n.B ", stdout);
    roff(left + strspn(left, " "));
    putchar('\n');
    roff(text);
    putchar('\n');
}

static void man_begin(const char *path, const char *summary, const tv_command *table) {
    if (is_top(path)) {
        printf(
            ".TH TRIVIUM 1 \"\" \"trivium %s\"\n.SH NAME\ntrivium \\- trains and runs language models on any "
            "Vulkan GPU\n.SH SYNOPSIS\n.B trivium\nCOMMAND [options]\n.SH DESCRIPTION\n",
            TRIVIUM_VERSION);
        roff(summary);
        fputs("\n.SH COMMANDS\n", stdout);
        for (const tv_command *command = table; command->name; command++)
            man_row(command->name, command->summary);
        fputs(".SH OPTIONS\nEvery command has\n.BR \\-\\-help ,\nwhich prints what stands here.\n", stdout);
    }
}

static void man_command(const tv_command_line *line, const tv_option *common, uint64_t common_count) {
    fputs(".SS trivium ", stdout);
    roff(line->command);
    putchar('\n');
    roff(line->summary);
    putchar('\n');
    for (uint64_t i = 0; i < line->option_count + common_count; i++) {
        char left[128], text[1024];
        const tv_option *option =
            i < line->option_count ? &line->options[i] : &common[i - line->option_count];
        tv_help_left(option, left, sizeof left);
        tv_help_text(option, text, sizeof text);
        man_row(left, text);
    }
    if (line->notes) {
        const char *notes = line->notes, *note;
        size_t length;
        fputs(".PP\n", stdout);
        bool filled = true;
        while (*notes) {
            bool prose = tv_help_note(&notes, &note, &length);
            if (prose != filled)
                fputs(prose ? ".fi\n" : ".nf\n", stdout);
            filled = prose;
            roff_part(note, length);
            putchar('\n');
        }
        fputs(filled ? "" : ".fi\n", stdout);
    }
}

static void man_end(void) {
    fputs(
        ".SH SETTINGS\nWhat a configuration file and\n.B \\-\\-set\ntake; trivium settings prints ranges and "
        "defaults.\n",
        stdout);
    for (uint64_t i = 0; i < tv_setting_count; i++) {
        char key[128];
        snprintf(key, sizeof key, "%s.%s", tv_settings[i].section, tv_settings[i].field.key);
        man_row(key, tv_settings[i].help);
    }
    fputs(".SH EXIT STATUS\n0: done. 1: the system or the device failed. 2: what was asked for or given is "
          "wrong. 3: no usable device. 130: interrupted, after saving.\n",
          stdout);
}

/* ---- completion ---- */

static void bash_begin(const char *path, const tv_command *table) {
    if (is_top(path))
        fputs("# Completion of trivium for bash, made from its option tables.\n"
              "declare -A _trivium_commands _trivium_options _trivium_values\n",
              stdout);
    printf("_trivium_commands['%s']='", path);
    for (const tv_command *command = table; command->name; command++)
        printf("%s%s", command == table ? "" : " ", command->name);
    puts("'");
}

/* By the stage of this name; by any where the command is none. */
static bool is_used_by(const tv_setting *setting, const char *command) {
    for (int kind = 0; kind < TV_STAGE_KINDS; kind++)
        if (strcmp(command, tv_stage_kind_name((tv_stage_kind)kind)) == 0)
            return setting->stages >> kind & 1u;
    return true;
}

/* The words that the value of an option, or an argument, may be; nothing where files may follow or anything
 * else. */
static void bash_values(const char *command, const tv_option *option) {
    bool sets = option->type == TV_OPTION_REPEATED && strcmp(option->name, "set") == 0;
    if (!option->choices && !sets)
        return;
    printf("_trivium_values['trivium %s", command);
    if (option->type < TV_OPTION_POSITIONAL)
        printf(" --%s", option->name);
    printf("']='");
    for (uint64_t i = 0; sets && i < tv_setting_count; i++)
        if (is_used_by(&tv_settings[i], command))
            printf("%s.%s= ", tv_settings[i].section, tv_settings[i].field.key);
    for (const char *at = sets ? "" : option->choices; *at; at++)
        putchar(*at == '|' ? ' ' : *at);
    puts("'");
}

static void bash_command(const tv_command_line *line, const tv_option *common, uint64_t common_count) {
    const tv_option *options[] = {line->options, common};
    const uint64_t counts[] = {line->option_count, common_count};
    printf("_trivium_options['trivium %s']='--help", line->command);
    for (int group = 0; group < 2; group++)
        for (uint64_t i = 0; i < counts[group]; i++)
            if (options[group][i].type < TV_OPTION_POSITIONAL)
                printf(" --%s", options[group][i].name);
    puts("'");
    for (int group = 0; group < 2; group++)
        for (uint64_t i = 0; i < counts[group]; i++)
            bash_values(line->command, &options[group][i]);
}

/* The command's words are followed down the tables; behind an option whose values are known come those,
 * behind "--" the options, then the words of the command's argument, and anywhere else files. */
static void bash_end(void) {
    fputs("_trivium() {\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} path=trivium at=1\n"
          "    while [ $at -lt \"$COMP_CWORD\" ] && [[ \" ${_trivium_commands[$path]-} \" == *\" "
          "${COMP_WORDS[at]} \"* ]]; do\n"
          "        path=\"$path ${COMP_WORDS[at]}\" at=$((at + 1))\n"
          "    done\n"
          "    local words=${_trivium_values[$path $before]-}\n"
          "    [ $at != \"$COMP_CWORD\" ] || words=${words:-${_trivium_commands[$path]-}}\n"
          "    words=${words:-${_trivium_values[$path]-}}\n"
          "    [[ $word != -* ]] || words=${_trivium_options[$path]-}\n"
          "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
          "    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace\n"
          "}\n"
          "complete -o bashdefault -o default -F _trivium trivium\n",
          stdout);
}

/* ---- either ---- */

void tv_describe_begin(tv_describe describe, const char *path, const char *summary, const tv_command *table) {
    if (describe == TV_DESCRIBE_MAN)
        man_begin(path, summary, table);
    else
        bash_begin(path, table);
}

void tv_describe_command(tv_describe describe, const tv_command_line *line, const tv_option *common,
                         uint64_t common_count) {
    if (describe == TV_DESCRIBE_MAN)
        man_command(line, common, common_count);
    else
        bash_command(line, common, common_count);
}

void tv_describe_end(tv_describe describe, const char *path) {
    if (!is_top(path))
        return;
    if (describe == TV_DESCRIBE_MAN)
        man_end();
    else
        bash_end();
}
