/* text/records: lines and arrays, cut at every byte, come out as they stand; what is broken is named with its
 * line.
 *
 * Seen to fail with: an escaped quote that ends a text, brackets in texts that count, line breaks that stay
 * in items, an array that may end early, the length of a record, or of what is carried of it, not looked at.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "text/records.h"

static tv_status collect(void *context, const tv_record *record) {
    char place[64];
    int length = snprintf(place, sizeof place, "%llu.%llu<", (unsigned long long)record->line,
                          (unsigned long long)record->item);
    assert_true(record->size > 0);
    assert_ok(tv_text_append(context, place, (uint64_t)length));
    assert_ok(tv_text_append(context, record->bytes, record->size));
    return tv_text_append(context, ">", 1);
}

/* In chunks of `chunk` bytes. */
static tv_status cut(const char *text, uint64_t chunk, tv_text *out) {
    tv_records records = {.name = "file", .sink = collect, .context = out};
    const uint8_t *bytes = (const uint8_t *)text;
    uint64_t size = strlen(text);
    tv_status status = TV_OK;
    out->size = 0;
    for (uint64_t at = 0; at < size && status == TV_OK; at += chunk)
        status = tv_records_take(&records, bytes + at, tv_min_u64(chunk, size - at));
    if (status == TV_OK)
        status = tv_records_finish(&records);
    tv_records_free(&records);
    assert_ok(tv_text_append(out, "", 1));
    return status;
}

#define MARK "\xef\xbb\xbf"

static void records_are_lines_or_items(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{}\n{\"a\":1}", "1.0<{}>2.0<{\"a\":1}>"},
        {"\n \r\n{} \t\r\n\n" MARK "{}\r\n", "3.0<{}>5.0<{}>"},
        {"", ""},
        {" \n\n", ""},
        {"[]", ""},
        {"\n[ ]\n", ""},
        {"[{\"a\":1},{\"b\":2}]", "1.1<{\"a\":1}>1.2<{\"b\":2}>"},
        {" \n[\n  {\n    \"a\": [1,\n2]\n  },\r\n  {\"]\\\"}\\\\\": \"[,{\"}\n, 3 ]\n\n",
         "3.1<{     \"a\": [1, 2]   }>7.2<{\"]\\\"}\\\\\": \"[,{\"}>8.3<3>"},
        {"{}\n[1,2]\n", "1.0<{}>2.0<[1,2]>"},
    };
    tv_text out = {0};
    for (size_t i = 0; i < TV_COUNT(cases); i++)
        for (uint64_t chunk = 1; chunk < 80; chunk++) {
            assert_ok(cut(cases[i][0], chunk, &out));
            if (strcmp((const char *)out.data, cases[i][1]) != 0)
                fail_msg("%s in chunks of %llu: %s", cases[i][0], (unsigned long long)chunk, out.data);
        }
    /* The file's own mark is three bytes of the first chunk. */
    assert_ok(cut(MARK "\n[1]", 9, &out));
    assert_string_equal((const char *)out.data, "2.1<1>");
    tv_text_free(&out);
}

static void broken_arrays_are_named(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"[1,\n2", "behind 1 items: the file was cut short"},
        {"[{\"a\": \"x", "the file was cut short"},
        {"[1]\n[2]\n", "line 2: expected nothing behind the end of the array"},
        {"[1]\n{}\n", "found \"{\""},
        {"[1,\n]", "line 2: expected an item of the array, found \"]\""},
        {"[,1]", "line 1: expected an item of the array, found \",\""},
        {"[1}]", "line 1: expected an item of the array, found \"}\""},
        {"[{\"a\": \"x\ny\"}]", "line 1: expected a text to end in its line"},
    };
    tv_text out = {0};
    for (size_t i = 0; i < TV_COUNT(cases); i++)
        for (uint64_t chunk = 1; chunk < 20; chunk += 6) {
            assert_int_equal(cut(cases[i][0], chunk, &out), TV_E_DATA);
            if (!strstr(tv_last_error(), cases[i][1]) || strncmp(tv_last_error(), "file", 4) != 0)
                fail_msg("\"%s\" lacks \"%s\" or the name", tv_last_error(), cases[i][1]);
        }
    tv_text_free(&out);
}

/* Without end, as a line and as an item: refused before it is in memory. */
static void records_have_a_limit(void **state) {
    (void)state;
    enum { CHUNK = 1 << 20 };
    static const char *const beginnings[] = {"{}\n{\"a\":\"", "[{},\n{\"a\":\""};
    char *chunk = malloc(CHUNK);
    assert_non_null(chunk);
    memset(chunk, 'a', CHUNK);
    for (size_t i = 0; i < TV_COUNT(beginnings); i++) {
        tv_text out = {0};
        tv_records records = {.name = "file", .sink = collect, .context = &out};
        assert_ok(tv_records_take(&records, (const uint8_t *)beginnings[i], strlen(beginnings[i])));
        tv_status status = TV_OK;
        uint64_t taken = 0;
        for (; status == TV_OK && taken <= 2 * TV_MOST_RECORD; taken += CHUNK)
            status = tv_records_take(&records, (const uint8_t *)chunk, CHUNK);
        assert_fails(status, TV_E_DATA, "file line 2: expected records of at most 64 MiB");
        assert_true(records.carried.capacity <= 2 * TV_MOST_RECORD);
        tv_records_free(&records);
        tv_text_free(&out);
    }
    free(chunk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_are_lines_or_items),
        cmocka_unit_test(broken_arrays_are_named),
        cmocka_unit_test(records_have_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
