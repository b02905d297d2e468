/* See command_result.h. */
#include "support/command_result.h"

#include "support/support.h"

#include <math.h>
#include <string.h>

cJSON *tv_result_of(const tv_child_result *run) {
    if (run->exit_code != 0)
        fail_msg("exit code %d: %s", run->exit_code, run->err);
    uint64_t length = strlen(run->out);
    assert_true(length > 1 && run->out[length - 1] == '\n');
    const char *line = run->out + length - 1;
    while (line > run->out && line[-1] != '\n')
        line--;
    cJSON *result = NULL;
    assert_ok(tv_json_parse(line, strlen(line), "output", &result));
    return result;
}

double tv_result_number(const cJSON *result, const char *key) {
    const cJSON *item = tv_json_get(result, key);
    if (!cJSON_IsNumber(item) || !isfinite(item->valuedouble))
        fail_msg("expected a number at \"%s\"", key);
    return item->valuedouble;
}
