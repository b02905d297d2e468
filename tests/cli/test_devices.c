/* trivium devices: the list, its JSON, and the exit code without a device. */
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "support/subprocess.h"

static void the_list_has_one_default(void **state) {
    (void)state;
    tv_child_result run = tv_run_trivium("devices", "--json");
    if (run.exit_code != 0)
        fail_msg("%s", run.err);
    cJSON *result = NULL;
    assert_ok(tv_json_parse(run.out, strlen(run.out), "output", &result));
    const cJSON *device;
    int defaults = 0;
    cJSON_ArrayForEach(device, tv_json_get(result, "devices")) {
        bool usable = cJSON_IsTrue(tv_json_get(device, "usable"));
        defaults += cJSON_IsTrue(tv_json_get(device, "default"));
        assert_non_null(tv_json_get(device, usable ? "tier_reason" : "refusal"));
        if (usable)
            assert_true(tv_json_get(tv_json_get(device, "limits"), "invocations")->valuedouble >= 256);
    }
    assert_int_equal(defaults, 1);
    cJSON_Delete(result);
    tv_child_result_free(&run);
    run = tv_child_run((const char *const[]){TRIVIUM_COMMAND, "devices", NULL});
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "the default"));
    assert_non_null(strstr(run.out, "not higher: "));
    tv_child_result_free(&run);
}

static void lowered_limits_are_shown(void **state) {
    (void)state;
    setenv("TRIVIUM_CAPS_MAX", "storage_range=1048576", 1);
    tv_child_result run = tv_child_run((const char *const[]){TRIVIUM_COMMAND, "devices", NULL});
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "1.0 MiB in one binding"));
    tv_child_result_free(&run);
    setenv("TRIVIUM_CAPS_MAX", "storage_rnage=1", 1);
    run = tv_child_run((const char *const[]){TRIVIUM_COMMAND, "devices", NULL});
    assert_int_equal(run.exit_code, 2);
    assert_non_null(strstr(run.err, "storage_range"));
    tv_child_result_free(&run);
    unsetenv("TRIVIUM_CAPS_MAX");
}

/* The loader reads these two names for the list of drivers: the newer and the older one. */
static void no_device_is_exit_code_3(void **state) {
    (void)state;
    setenv("VK_DRIVER_FILES", "/nonexistent/icd.json", 1);
    setenv("VK_ICD_FILENAMES", "/nonexistent/icd.json", 1);
    tv_child_result run = tv_run_trivium("devices", "--json");
    unsetenv("VK_DRIVER_FILES");
    unsetenv("VK_ICD_FILENAMES");
    if (run.exit_code != 3)
        fail_msg("exit code %d: %s", run.exit_code, run.err);
    assert_memory_equal(run.err, "trivium devices: ", 17);
    tv_child_result_free(&run);
    run = tv_run_trivium("devices", "extra");
    assert_int_equal(run.exit_code, 2);
    tv_child_result_free(&run);
    run = tv_run_trivium("devices", "--help");
    assert_int_equal(run.exit_code, 0);
    assert_non_null(strstr(run.out, "--json"));
    tv_child_result_free(&run);
}

/* A driver file that calls its driver one above another API, as MoltenVK's does: the loader hides such from
 * programs that do not ask. The driver behind it is the one that Mesa's file names, so that it runs here. */
static void drivers_above_another_api_are_listed(void **state) {
    (void)state;
    static const char *const files[] = {"/usr/share/vulkan/icd.d/lvp_icd.json",
                                        "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json"};
    cJSON *manifest = NULL;
    for (size_t i = 0; !manifest && !getenv("VK_DRIVER_FILES") && i < 2; i++)
        (void)tv_json_read_file(files[i], &manifest);
    if (!manifest)
        skip();
    assert_true(tv_json_set_bool(cJSON_GetObjectItem(manifest, "ICD"), "is_portability_driver", true));
    char *dir = tv_test_dir(), path[4096];
    snprintf(path, sizeof path, "%s/icd.json", dir);
    assert_ok(tv_json_write_file(path, manifest));
    setenv("VK_DRIVER_FILES", path, 1);
    setenv("VK_ICD_FILENAMES", path, 1);
    tv_child_result run = tv_run_trivium("devices");
    unsetenv("VK_DRIVER_FILES");
    unsetenv("VK_ICD_FILENAMES");
    if (run.exit_code != 0)
        fail_msg("%s", run.err);
    tv_child_result_free(&run);
    tv_test_dir_remove(&dir);
    cJSON_Delete(manifest);
}

/* Below the floor: the device is named with its reason, in the list and by every command that needs one. */
static void a_device_below_the_floor_is_refused(void **state) {
    (void)state;
    setenv("TRIVIUM_CAPS_MAX", "invocations=128", 1);
    tv_child_result list = tv_run_trivium("devices");
    tv_child_result bench = tv_run_trivium("bench", "kernels", "--filter", "gelu");
    unsetenv("TRIVIUM_CAPS_MAX");
    assert_int_equal(list.exit_code, 3);
    assert_non_null(strstr(list.out, "refused: its workgroups hold 128 invocations and 256 are needed"));
    assert_int_equal(bench.exit_code, 3);
    assert_non_null(strstr(bench.err, "its workgroups hold 128 invocations"));
    tv_child_result_free(&list);
    tv_child_result_free(&bench);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_has_one_default),
        cmocka_unit_test(lowered_limits_are_shown),
        cmocka_unit_test(no_device_is_exit_code_3),
        cmocka_unit_test(drivers_above_another_api_are_listed),
        cmocka_unit_test(a_device_below_the_floor_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
