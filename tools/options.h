/* The one option parser of the trivium command, driven by a table that also prints --help.
 *
 * Promise: a command describes its options once, beside the variables they fill; ranges, choices and missing
 * files are found before the command starts; an unknown option names the nearest known one; help cannot
 * drift from what is accepted. Every mistake is TV_E_USAGE.
 *
 * Usage:
 *     const char *out = "report.html";
 *     tv_texts runs = {0};
 *     const tv_option options[] = {
 *         tv_opt_positionals("RUN", &runs, "run directories"),
 *         tv_opt_short('o', tv_opt_text("out", "FILE", &out, "the page that is written")),
 *     };
 *     const tv_command_line line = {.command = "report", .summary = "...", .options = options,
 *                                   .option_count = TV_COUNT(options), .common = &common,
 *                                   .common_mask = TV_COMMON_JSON | TV_COMMON_QUIET};
 *     bool done;
 *     TV_RETURN_IF_FAILED(tv_options_parse(&line, argc, argv, &done));
 *     if (done)
 *         return TV_OK;
 *
 * What the command line looks like: `--name value`, `--name=value`, `--flag`, `-k 4`, `-k4`; `--` ends the
 * options; a lone `-` is a value (standard input, by custom). A value that begins with "--" must be written
 * with the equals sign, so that a forgotten value does not swallow the next option.
 */
#ifndef TV_TOOLS_OPTIONS_H
#define TV_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/status.h"

/* A list of values; they point into argv, the list itself belongs to the caller after a successful parse. */
typedef struct tv_texts {
    const char **items;
    uint64_t count;
} tv_texts;
void tv_texts_free(tv_texts *texts);

typedef enum tv_option_type {
    TV_OPTION_FLAG,
    TV_OPTION_TEXT,
    TV_OPTION_UINT,
    TV_OPTION_NUMBER,
    TV_OPTION_CHOICE,
    TV_OPTION_LIST,       /* values until the next option; may be repeated */
    TV_OPTION_REPEATED,   /* one value each time it is given */
    TV_OPTION_POSITIONAL, /* one argument without a name */
    TV_OPTION_POSITIONALS /* all remaining ones, at least one */
} tv_option_type;

/* Filled by the functions below, not by hand. */
typedef struct tv_option {
    const char *name;  /* without dashes */
    const char *value; /* how help calls the value: "N", "FILE" */
    const char *help;
    const char *choices; /* "text|json" */
    tv_option_type type;
    char short_name;
    bool required, must_exist, output;
    double minimum, maximum;
    bool *given; /* set to true when the option appears; NULL: not wanted */
    union {
        bool *flag;
        const char **text;
        uint64_t *uint;
        double *number;
        int *choice;
        tv_texts *texts;
    } slot;
} tv_option;

/* The variable's value before parsing is the default, and help shows it. */
tv_option tv_opt_flag(const char *name, bool *slot, const char *help);
tv_option tv_opt_text(const char *name, const char *value, const char **slot, const char *help);
tv_option tv_opt_uint(const char *name, const char *value, uint64_t *slot, uint64_t minimum, uint64_t maximum,
                      const char *help);
tv_option tv_opt_number(const char *name, const char *value, double *slot, double minimum, double maximum,
                        const char *help);
/* *slot becomes the position in `choices` ("hf|gguf"). */
tv_option tv_opt_choice(const char *name, const char *choices, int *slot, const char *help);
tv_option tv_opt_list(const char *name, const char *value, tv_texts *slot, const char *help);
tv_option tv_opt_repeated(const char *name, const char *value, tv_texts *slot, const char *help);
/* A positional argument is required unless its variable has a default. */
tv_option tv_opt_positional(const char *name, const char **slot, const char *help);
tv_option tv_opt_positionals(const char *name, tv_texts *slot, const char *help);

/* Refinements, wrapped around one of the above. */
tv_option tv_opt_required(tv_option option);
tv_option tv_opt_short(char short_name, tv_option option);
/* Completion offers these words ("sft|ppo"); the command checks what it was given. */
tv_option tv_opt_words(const char *words, tv_option option);
/* The value is a file or directory that must be there ("-" excepted). */
tv_option tv_opt_existing(tv_option option);
/* The value is a file that the command writes: parsing refuses one that another option reads. */
tv_option tv_opt_output(tv_option option);
/* Tells whether the option was given; its default is then not shown. */
tv_option tv_opt_given(bool *given, tv_option option);

/* The options that commands share; each command names those that it takes. */
enum {
    TV_COMMON_DEVICE = 1, /* --device, --tier */
    TV_COMMON_SEED = 2,
    TV_COMMON_JSON = 4,
    TV_COMMON_QUIET = 8,
    TV_COMMON_CAPTURE = 16,
    TV_COMMON_DRY_RUN = 32,
    TV_COMMON_ALL = 63
};
typedef struct tv_common_options {
    const char *device; /* number or part of a name; NULL: the default device */
    const char *tier;   /* NULL: the highest that the device has */
    uint64_t seed;
    bool seed_given;
    bool json, quiet, dry_run; /* `quiet` is already applied to the log */
    uint64_t capture_step;
    bool capture_given;
} tv_common_options;

typedef struct tv_command_line {
    const char *command; /* "report", "tokenizer train" */
    const char *summary; /* one or more sentences */
    const char *notes; /* printed after the options: prose is wrapped, lines that begin with a blank stand as
                        * they are, such as examples; may be NULL */
    const tv_option *options;
    uint64_t option_count;
    unsigned common_mask;      /* TV_COMMON_* */
    tv_common_options *common; /* may be NULL when the mask is 0 */
} tv_command_line;

/* argv[0] is the command's own name and is skipped. `--help` or `-h` anywhere prints the help to standard
 * output and sets *done; the command then returns TV_OK. On failure, and when *done, no list is left to
 * free. */
tv_status tv_options_parse(const tv_command_line *line, int argc, char **argv, bool *done);
/* After parsing, for outputs whose names are made from an option's: TV_E_USAGE when writing `path` would take
 * the place of a file that is the value of any option, or part of a model or run whose directory is one. */
tv_status tv_options_check_output(const tv_command_line *line, const char *path);

#endif
