/* Lookup in command tables: see commands.h. */
#include "tools/commands.h"

#include <stdio.h>
#include <string.h>

#include "base/choices.h"
#include "base/json.h"
#include "base/os.h"
#include "tools/options_describe.h"
#include "tools/options_help.h"
#include "tools/text_stream.h"

enum { MAX_COMMANDS = 64 };

static void print_list(const char *path, const char *summary, const tv_command *table) {
    printf("usage: %s COMMAND [options]\n\n%s\n\ncommands:\n", path, summary);
    int width = 0;
    for (const tv_command *command = table; command->name; command++)
        width = (int)strlen(command->name) > width ? (int)strlen(command->name) : width;
    for (const tv_command *command = table; command->name; command++)
        tv_help_row(command->name, width, command->summary);
    printf("\n`%s COMMAND --help` shows the options of a command.\n", path);
}

/* Every command of the table describes itself; a table of tables goes down. */
static tv_status describe_all(tv_describe describe, const char *path, const char *summary,
                              const tv_command *table, char *word) {
    tv_describe_begin(describe, path, summary, table);
    for (const tv_command *command = table; command->name; command++) {
        char name[32];
        snprintf(name, sizeof name, "%s", command->name);
        TV_RETURN_IF_FAILED(command->run(2, (char *[]){name, word, NULL}));
    }
    tv_describe_end(describe, path);
    return TV_OK;
}

tv_status tv_command_dispatch(const char *path, const char *summary, const tv_command *table, int argc,
                              char **argv) {
    if (argc < 2)
        return tv_fail(TV_E_USAGE, "a command is missing; `%s --help` lists them", path);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_list(path, summary, table);
        return TV_OK;
    }
    tv_describe describe = tv_describe_asked(argc, argv);
    if (describe != TV_DESCRIBE_NOTHING)
        return describe_all(describe, path, summary, table, argv[1]);
    const char *names[MAX_COMMANDS];
    uint64_t count = 0;
    for (const tv_command *command = table; command->name; command++) {
        if (strcmp(command->name, argv[1]) == 0)
            return command->run(argc - 1, argv + 1);
        if (count < MAX_COMMANDS)
            names[count++] = command->name;
    }
    const char *nearest = tv_nearest_word(argv[1], names, count);
    if (nearest)
        return tv_fail(TV_E_USAGE,
                       "unknown command \"%s\"; the nearest known one is \"%s\" (`%s --help` lists them)",
                       argv[1], nearest, path);
    return tv_fail(TV_E_USAGE, "unknown command \"%s\"; `%s --help` lists them", argv[1], path);
}

tv_status tv_print_json(const cJSON *result) {
    char *line = NULL;
    TV_RETURN_IF_FAILED(tv_json_print_line(result, &line));
    /* JSON may hold direction marks and C1 controls as they are: a person does not get them raw. */
    tv_status status = tv_text_print(line, strlen(line), tv_stdout_is_terminal());
    cJSON_free(line);
    return status == TV_OK ? tv_text_print("\n", 1, false) : status;
}

tv_status tv_print_result(cJSON *result, bool built) {
    tv_status status =
        result && built ? tv_print_json(result) : tv_fail(TV_E_MEMORY, "out of host memory for the result");
    cJSON_Delete(result);
    return status;
}
