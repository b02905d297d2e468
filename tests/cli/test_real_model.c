/* A real model with its own tokenizer: stories260K, a Llama of 260,000 parameters with a vocabulary of 512 in
 * the form of Llama 2's. Skipped without it. */
#include "support/shared_data.h"
#include "support/subprocess.h"
#include "support/support.h"

#include <string.h>

static void a_story_is_told(void **state) {
    char *model = *state;
    tv_child_result run = tv_run_trivium("generate", "--model", model, "--prompt", "Once upon a time",
                                         "--temperature", "0", "--quiet");
    if (run.exit_code != 0)
        fail_msg("exit %d: %s", run.exit_code, run.err);
    /* The prompt's own words come first; a space parts them from what follows. */
    if (!strstr(run.out, "Once upon a time, there was a little girl named Lily. She loved to play outside in "
                         "the park."))
        fail_msg("told: %s", run.out);
    tv_child_result_free(&run);
}

int main(void) {
    char *model = tv_test_shared("stories260K");
    if (!model)
        return TV_TEST_SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test_prestate(a_story_is_told, model)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(model);
    return failed;
}
