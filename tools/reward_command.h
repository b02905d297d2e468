/* Asks whether a program may run that scores answers and that only a checkpoint names, which may be a
 * stranger's.
 */
#ifndef TV_TOOLS_REWARD_COMMAND_H
#define TV_TOOLS_REWARD_COMMAND_H

#include "base/status.h"

/* For tv_ppo_options.allow_command; `context` is how the program is named on the command line, a text; NULL:
 * as for ppo and grpo. TV_E_USAGE where nobody allows it. */
tv_status tv_allow_reward_command(void *context, const char *command, const char *where);

#endif
