/* What a command said with --json. */
#ifndef TV_TESTS_COMMAND_RESULT_H
#define TV_TESTS_COMMAND_RESULT_H

#include "base/json.h"
#include "support/subprocess.h"

/* The last line of standard output of a run that ended well; the caller deletes it. */
cJSON *tv_result_of(const tv_child_result *run);
/* A member that must be there, and finite. */
double tv_result_number(const cJSON *result, const char *key);

#endif
