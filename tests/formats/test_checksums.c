/* The list of checksums as a stranger may write it: names that lead out of the directory, things that are no
 * files, lists that are none; and a state that was sealed twice over odd numbers reads back as its own.
 *
 * Tried: is_inside always true (the file outside is read); no check of the kind (hangs at the pipe). Each
 * fails.
 */
#include "formats/checksums.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/hash.h"
#include "support/support.h"

static cJSON *parse(const char *text) {
    cJSON *root = NULL;
    assert_ok(tv_json_parse(text, strlen(text), "a test", &root));
    return root;
}

static void lists_of_strangers(void **state) {
    (void)state;
    char *top = tv_test_dir(), hash[TV_HASH_TEXT];
    char *outside = tv_format("%s/outside", top), *directory = tv_format("%s/in", top);
    char *file = tv_format("%s/in/file", top), *fifo = tv_format("%s/in/pipe", top);
    assert_ok(tv_make_dirs(directory));
    assert_ok(tv_write_file(outside, "same", 4));
    assert_ok(tv_write_file(file, "same", 4));
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_ok(tv_hash_file(file, hash));
    char *good = tv_format("{\"checksums\": {\"file\": \"%s\"}}", hash);
    cJSON *root = parse(good);
    assert_ok(tv_checksums_check_files(root, directory));
    cJSON_Delete(root);
    static const char *const bad[] = {
        "{\"checksums\": {\"../outside\": \"%s\"}}",
        "{\"checksums\": {\"in/../../outside\": \"%s\"}}",
        "{\"checksums\": {\"/etc/hostname\": \"%s\"}}",
        "{\"checksums\": {\".\": \"%s\"}}",
        "{\"checksums\": {\"\": \"%s\"}}",
        "{\"checksums\": {\"a//b\": \"%s\"}}",
        "{\"checksums\": {\"gone\": \"%s\"}}",
        "{\"checksums\": {\"file\": 5, \"x\": \"%s\"}}",
        "{\"checksums\": {\"file\": \"%s0\"}}",
        "{\"checksums\": {\"file\": \"\", \"y\": \"%s\"}}",
        "{\"checksums\": [\"%s\"]}",
        "{\"checksums\": \"%s\"}",
    };
    for (size_t i = 0; i < TV_COUNT(bad); i++) {
        char *before = strstr(bad[i], "%s");
        char *text = tv_format("%.*s%s%s", (int)(before - bad[i]), bad[i], hash, before + 2);
        root = parse(text);
        if (tv_checksums_check_files(root, directory) != TV_E_DATA || !strstr(tv_last_error(), directory))
            fail_msg("%s: \"%s\"", text, tv_last_error());
        cJSON_Delete(root);
        free(text);
    }
    char *pipe = tv_format("{\"checksums\": {\"pipe\": \"%s\"}}", hash);
    root = parse(pipe);
    assert_int_equal(tv_checksums_check_files(root, directory), TV_E_IO);
    cJSON_Delete(root);
    tv_free_all(pipe, good, fifo, file, directory, outside);
    tv_test_dir_remove(&top);
}

static void a_state_reads_back_as_its_own(void **state) {
    (void)state;
    char *top = tv_test_dir(), *path = tv_format("%s/%s", top, TV_STATE_NAME);
    bool sealed = false;
    cJSON *root = cJSON_CreateObject();
    assert_true(root && tv_json_set_number(root, "third", 1.0 / 3) &&
                tv_json_set_number(root, "none", INFINITY) && tv_json_set_number(root, "small", 5e-324) &&
                tv_json_set_number(root, "large", 9007199254740991.0) &&
                tv_json_set_string(root, "text", "a \"b\" \x01 \xc3\xa9 /"));
    assert_ok(tv_checksums_seal(root, top));
    assert_ok(tv_json_write_file(path, root));
    cJSON_Delete(root);
    assert_ok(tv_json_read_file(path, &root));
    assert_ok(tv_checksums_check_state(root, path, &sealed));
    assert_true(sealed);
    assert_true(tv_json_set_number(root, "small", 1e-323));
    assert_fails(tv_checksums_check_state(root, path, &sealed), TV_E_DATA, path);
    cJSON_Delete(root);
    free(path);
    tv_test_dir_remove(&top);
}

/* Another program's state, and none, and one that is no JSON: weights are read as before. */
static void states_of_other_programs(void **state) {
    (void)state;
    char *top = tv_test_dir(), *path = tv_format("%s/%s", top, TV_STATE_NAME);
    static const char *const texts[] = {"{\"log_history\": [{\"loss\": 1.5}], \"epoch\": 3.0}",
                                        "{\"loss\": NaN}", "", "[]"};
    assert_ok(tv_checksums_check_weights(top));
    for (size_t i = 0; i < TV_COUNT(texts); i++) {
        assert_ok(tv_write_file(path, texts[i], strlen(texts[i])));
        assert_ok(tv_checksums_check_weights(top));
    }
    free(path);
    tv_test_dir_remove(&top);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_of_strangers),
        cmocka_unit_test(a_state_reads_back_as_its_own),
        cmocka_unit_test(states_of_other_programs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
