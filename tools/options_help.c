/* Help from option tables: see options_help.h. */
#include "tools/options_help.h"

#include <stdio.h>
#include <string.h>

#include "base/choices.h"

enum { HELP_COLUMNS = 96, MAX_LEFT = 34 };

/* Prints `size` bytes of `text` from column `column` on, wrapped at HELP_COLUMNS with a hanging indent. */
static void print_wrapped(const char *text, size_t size, int indent, int column) {
    const char *end = text + size;
    while (text < end) {
        int length = (int)strcspn(text, " \n");
        if (column > indent && column + 1 + length > HELP_COLUMNS) {
            printf("\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            putchar(' ');
            column++;
        }
        printf("%.*s", length, text);
        column += length;
        text += length;
        text += strspn(text, " \n");
    }
    putchar('\n');
}

void tv_help_row(const char *left, int left_width, const char *text) {
    int used = printf("  %s", left);
    int indent = left_width + 4;
    if (used + 2 > indent)
        printf("\n%*s", indent, "");
    else
        printf("%*s", indent - used, "");
    print_wrapped(text, strlen(text), indent, indent);
}

static bool takes_many(const tv_option *option) {
    return option->type == TV_OPTION_LIST || option->type == TV_OPTION_POSITIONALS;
}

void tv_help_left(const tv_option *option, char *text, size_t size) {
    const char *dots = takes_many(option) ? "..." : "";
    if (option->type >= TV_OPTION_POSITIONAL) {
        snprintf(text, size, "%s%s", option->name, dots);
        return;
    }
    char letter[8] = "    ";
    if (option->short_name)
        snprintf(letter, sizeof letter, "-%c, ", option->short_name);
    const char *value = option->value ? option->value : "";
    snprintf(text, size, "%s--%s%s%s%s", letter, option->name, *value ? " " : "", value, dots);
}

void tv_help_text(const tv_option *option, char *text, size_t size) {
    char value[256] = "";
    if (option->given) {
        value[0] = '\0';
    } else if (option->type == TV_OPTION_TEXT || option->type == TV_OPTION_POSITIONAL) {
        if (*option->slot.text)
            snprintf(value, sizeof value, "%s", *option->slot.text);
    } else if (option->type == TV_OPTION_UINT) {
        snprintf(value, sizeof value, "%llu", (unsigned long long)*option->slot.uint);
    } else if (option->type == TV_OPTION_NUMBER) {
        snprintf(value, sizeof value, "%g", *option->slot.number);
    } else if (option->type == TV_OPTION_CHOICE && *option->slot.choice >= 0) {
        tv_choice_word(option->choices, *option->slot.choice, value, sizeof value);
    }
    if (option->required)
        snprintf(text, size, "%s (required)", option->help);
    else if (value[0])
        snprintf(text, size, "%s (default: %s)", option->help, value);
    else if (option->type == TV_OPTION_REPEATED)
        snprintf(text, size, "%s (may be repeated)", option->help);
    else
        snprintf(text, size, "%s", option->help);
}

static void print_group(const char *title, const tv_option *options, uint64_t count, int left_width) {
    if (count == 0)
        return;
    printf("\n%s:\n", title);
    for (uint64_t i = 0; i < count; i++) {
        char left[128], text[1024];
        tv_help_left(&options[i], left, sizeof left);
        tv_help_text(&options[i], text, sizeof text);
        tv_help_row(left, left_width, text);
    }
}

static int widest(const tv_option *options, uint64_t count, int width) {
    for (uint64_t i = 0; i < count; i++) {
        char left[128];
        tv_help_left(&options[i], left, sizeof left);
        int length = (int)strlen(left);
        if (length > width && length <= MAX_LEFT)
            width = length;
    }
    return width;
}

bool tv_help_note(const char **notes, const char **note, size_t *length) {
    *note = *notes;
    *length = strcspn(*note, "\n");
    const bool prose = *length > 0 && **note != ' ';
    while (prose && (*note)[*length] && !strchr(" \n", (*note)[*length + 1]))
        *length += 1 + strcspn(*note + *length + 1, "\n");
    *notes += *length + ((*note)[*length] == '\n');
    return prose;
}

static void print_notes(const char *notes) {
    const char *note;
    size_t length;
    while (*notes) {
        if (tv_help_note(&notes, &note, &length))
            print_wrapped(note, length, 0, 0);
        else
            printf("%.*s\n", (int)length, note);
    }
}

void tv_options_print_help(const tv_command_line *line, const tv_option *common, uint64_t common_count) {
    const tv_option help = {
        .name = "help", .short_name = 'h', .type = TV_OPTION_FLAG, .help = "print this text and stop"};
    char usage[1024];
    size_t used = (size_t)snprintf(usage, sizeof usage, "usage: trivium %s", line->command);
    for (uint64_t i = 0; i < line->option_count && used < sizeof usage; i++) {
        const tv_option *option = &line->options[i];
        const char *dots = takes_many(option) ? "..." : "";
        bool optional = !option->required;
        if (option->type >= TV_OPTION_POSITIONAL)
            used += (size_t)snprintf(usage + used, sizeof usage - used, " %s%s%s%s", optional ? "[" : "",
                                     option->name, dots, optional ? "]" : "");
        else if (option->required)
            used += (size_t)snprintf(usage + used, sizeof usage - used, " --%s%s%s%s", option->name,
                                     option->value ? " " : "", option->value ? option->value : "", dots);
    }
    if (used < sizeof usage)
        snprintf(usage + used, sizeof usage - used, " [options]");
    print_wrapped(usage, strlen(usage), 4, 0);
    putchar('\n');
    print_wrapped(line->summary, strlen(line->summary), 0, 0);
    int width = widest(common, common_count, widest(line->options, line->option_count, 12));
    print_group("options", line->options, line->option_count, width);
    print_group("common options", common, common_count, width);
    if (common_count == 0)
        printf("\ncommon options:\n");
    char left[128];
    tv_help_left(&help, left, sizeof left);
    tv_help_row(left, width, help.help);
    if (line->notes) {
        putchar('\n');
        print_notes(line->notes);
    }
}
