/* A program that only a checkpoint names: see reward_command.h. */
#include "tools/reward_command.h"

#include <string.h>

#include "base/log.h"
#include "base/os.h"

/* A longer one cannot be looked at before the question. */
enum { LONGEST_SHOWN = 1000 };

tv_status tv_allow_reward_command(void *context, const char *command, const char *where) {
    const char *again = context ? context : "--reward-cmd CMD, or --reward DIR instead";
    bool shown = strlen(command) <= LONGEST_SHOWN;
    if (shown && tv_somebody_can_answer()) {
        tv_warn("%s names a program that scores, and this command line does not: %s", where, command);
        if (tv_ask("Run it? Only if this run is your own, or you know what the program does."))
            return TV_OK;
        return tv_fail(TV_E_USAGE,
                       "the program was not run, and nothing was changed; to go on, give beside --resume %s",
                       again);
    }
    return tv_fail(
        TV_E_USAGE,
        "%s names a program that scores: %.*s%s; a run's directory may come from somebody else, so "
        "what it names is not run unasked%s. Give it once more beside --resume, with %s",
        where, LONGEST_SHOWN, command, shown ? "" : "...",
        shown ? ", and here nobody can be asked" : ", and it is too long to be shown and asked for", again);
}
