/* trivium settings: what people read is what is accepted, and docs/settings.md is what the command prints. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/json.h"
#include "run/settings.h"
#include "support/small_run.h"
#include "support/subprocess.h"

static void the_page_is_what_the_command_prints(void **state) {
    (void)state;
    char *page = NULL;
    uint64_t size;
    assert_ok(tv_read_file(TRIVIUM_SOURCE_DIR "/docs/settings.md", &page, &size));
    tv_child_result run = tv_run_trivium("settings", "--markdown");
    tv_expect_exit(&run, 0);
    if (strcmp(run.out, page) != 0)
        fail_msg("docs/settings.md is not what the table says now; write it with "
                 "`build/bin/trivium settings --markdown >docs/settings.md`");
    tv_child_result_free(&run);
    free(page);
}

/* Every key, its default and its sentence; none of another stage. */
static void a_stage_lists_what_it_uses(void **state) {
    (void)state;
    for (int stage = 0; stage < TV_STAGE_KINDS; stage++) {
        tv_child_result run = tv_run_trivium("settings", tv_stage_kind_name((tv_stage_kind)stage));
        tv_expect_exit(&run, 0);
        for (uint64_t i = 0; i < tv_setting_count; i++) {
            const tv_setting *setting = &tv_settings[i];
            char value[64];
            tv_setting_default(setting, (tv_stage_kind)stage, value, sizeof value);
            char *line =
                tv_format("%s.%s = %s\n    %s (", setting->section, setting->field.key, value, setting->help);
            bool used = setting->stages >> stage & 1u;
            if ((strstr(run.out, line) != NULL) != used)
                fail_msg("%s %s: \"%s\"", tv_stage_kind_name((tv_stage_kind)stage), used ? "lacks" : "has",
                         line);
            free(line);
        }
        tv_child_result_free(&run);
        run = tv_run_trivium(tv_stage_kind_name((tv_stage_kind)stage), "--help");
        tv_expect_exit(&run, 0);
        for (uint64_t i = 0; i < tv_setting_count; i++) {
            char *key = tv_format(" %s.%s", tv_settings[i].section, tv_settings[i].field.key);
            if (tv_settings[i].stages >> stage & 1u && !strstr(run.out, key))
                fail_msg("%s --help lacks%s", tv_stage_kind_name((tv_stage_kind)stage), key);
            free(key);
        }
        tv_child_result_free(&run);
    }
}

static void mistakes_and_json(void **state) {
    (void)state;
    tv_trivium_says(2, "the nearest is \"reward\"", "settings", "rewards");
    tv_child_result run = tv_run_trivium("settings", "dpo", "--json");
    tv_expect_exit(&run, 0);
    cJSON *root = NULL;
    assert_ok(tv_json_parse(run.out, strlen(run.out), "result", &root));
    const cJSON *item, *list = tv_json_get(root, "settings");
    bool smoothing = false;
    assert_true(cJSON_GetArraySize(list) > 20);
    cJSON_ArrayForEach(item, list) {
        bool is_smoothing = strcmp(tv_json_get(item, "key")->valuestring, "dpo.label_smoothing") == 0;
        smoothing |= is_smoothing && strcmp(tv_json_get(item, "default")->valuestring, "0") == 0;
    }
    assert_true(smoothing);
    cJSON_Delete(root);
    tv_child_result_free(&run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_is_what_the_command_prints),
        cmocka_unit_test(a_stage_lists_what_it_uses),
        cmocka_unit_test(mistakes_and_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
