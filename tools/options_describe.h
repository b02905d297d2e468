/* The manual page and the completion for bash, from the tables that the parser and the settings read.
 *
 * `trivium --man-page` and `trivium --bash-completion` print them when the program is built; neither is in
 * --help, because people meet them installed. Each command prints its own part when it comes to parse that
 * word, so a command cannot be forgotten.
 */
#ifndef TV_TOOLS_OPTIONS_DESCRIBE_H
#define TV_TOOLS_OPTIONS_DESCRIBE_H

#include "tools/commands.h"
#include "tools/options.h"

typedef enum tv_describe { TV_DESCRIBE_NOTHING, TV_DESCRIBE_MAN, TV_DESCRIBE_BASH } tv_describe;

/* What argv[1] asks for, where it is the only word. */
tv_describe tv_describe_asked(int argc, char **argv);

/* Before and after the commands of a table; `path` is "trivium" or "trivium bench". */
void tv_describe_begin(tv_describe describe, const char *path, const char *summary, const tv_command *table);
void tv_describe_end(tv_describe describe, const char *path);
/* One command. */
void tv_describe_command(tv_describe describe, const tv_command_line *line, const tv_option *common,
                         uint64_t common_count);

#endif
