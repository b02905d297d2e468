/* run/made_with: which changes between a checkpoint and resuming are refused, without a device. What a whole
 * run makes of them is tests/cli/test_resume.c. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "run/made_with.h"

static tv_status compare(const char *before, const char *now) {
    tv_made_with a = {.settings = cJSON_Parse(before)}, b = {.settings = cJSON_Parse(now)};
    bool other_measure;
    assert_non_null(a.settings);
    assert_non_null(b.settings);
    tv_status status = tv_made_with_compare(&a, &b,
                                            &(tv_made_with_rules){.checkpoint = "run/checkpoints/step-3",
                                                                  .accept = true,
                                                                  .other_measure = &other_measure});
    tv_made_with_free(&a);
    tv_made_with_free(&b);
    return status;
}

/* Its moments stand in the checkpoint, so --accept-changes does not help; a checkpoint of a version that had
 * AdamW alone says nothing. */
static void the_optimizer_stays(void **state) {
    (void)state;
    const char *adamw = "{\"train\": {\"optimizer\": \"adamw\", \"lr\": 1}}",
               *other = "{\"train\": {\"optimizer\": \"other\", \"lr\": 1}}",
               *silent = "{\"train\": {\"lr\": 2}}";
    assert_ok(compare(adamw, adamw));
    assert_ok(compare(silent, adamw));
    const char *const was[] = {adamw, silent};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(compare(was[i], other), TV_E_CONFIG);
        if (!strstr(tv_last_error(), "train.optimizer was \"adamw\" and is \"other\"") ||
            !strstr(tv_last_error(), "run/checkpoints/step-3"))
            fail_msg("%s", tv_last_error());
    }
}

/* Of a key that stands twice two readers may take different ones. Tried: not looked for, or at the top alone.
 */
static void a_file_that_says_a_thing_twice_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *twice;
    } cases[] = {
        {"{\"settings\":{\"sft\":{\"packing\":true},\"sft\":{}},\"inputs\":{}}", "\"sft\" again"},
        {"{\"settings\":{\"train\":{\"lr\":1,\"seed\":2,\"lr\":1}},\"inputs\":{}}", "\"lr\" again"},
        {"{\"settings\":{\"data\":{\"train\":[{\"path\":\"a\",\"path\":\"b\"}]}},\"inputs\":{}}",
         "\"path\" again"},
        {"{\"settings\":{\"train\":{\"lr\":1},\"muon\":{\"lr\":1}},\"inputs\":{}}", NULL},
    };
    char *dir = tv_test_dir(), *path = tv_format("%s/made_with.json", dir);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tv_made_with made = {0};
        assert_ok(tv_write_file(path, cases[i].text, strlen(cases[i].text)));
        tv_status status = tv_made_with_read(dir, &made);
        if (cases[i].twice ? status != TV_E_DATA || !strstr(tv_last_error(), cases[i].twice)
                           : status != TV_OK)
            fail_msg("case %zu: status %d, %s", i, (int)status, tv_last_error());
        tv_made_with_free(&made);
    }
    free(path);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_optimizer_stays),
        cmocka_unit_test(a_file_that_says_a_thing_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
