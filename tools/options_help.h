/* The help text of a command, from the same table that the parser reads.
 *
 * Promise: one line per option (longer explanations wrap), with the default that the variables hold; the
 * command's own options first, then the common ones.
 */
#ifndef TV_TOOLS_OPTIONS_HELP_H
#define TV_TOOLS_OPTIONS_HELP_H

#include "tools/options.h"

/* To standard output. */
void tv_options_print_help(const tv_command_line *line, const tv_option *common, uint64_t common_count);

/* "-o, --out FILE", or "    --out FILE". */
void tv_help_left(const tv_option *option, char *text, size_t size);
/* "the help (default: 4; may be repeated)" */
void tv_help_text(const tv_option *option, char *text, size_t size);

/* Takes the next paragraph of prose from a command's notes, or the next line that stands as it is because it
 * begins with a blank or is empty; false for such a one. */
bool tv_help_note(const char **notes, const char **note, size_t *length);

/* One row of a help table: `left` in a column, `text` wrapped beside it. */
void tv_help_row(const char *left, int left_width, const char *text);

#endif
