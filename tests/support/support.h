/* What several tests share: temporary folders, and cmocka with its includes in the right order. */
#ifndef TV_TESTS_SUPPORT_H
#define TV_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"

/* ctest counts this exit code as a skip (tests/CMakeLists.txt). */
enum { TV_TEST_SKIPPED = 77 };

/* Fails the test with trivium's own sentence. */
#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        tv_status tv_test_status_ = (call);                                                                  \
        if (tv_test_status_ != TV_OK)                                                                        \
            fail_msg("%s: %s: %s", #call, tv_status_name(tv_test_status_), tv_last_error());                 \
    } while (0)

/* That it fails with this status and `word` in the sentence. */
void tv_expect_failure(tv_status found, const char *call, tv_status expected, const char *word);
#define assert_fails(call, expected, word) tv_expect_failure((call), #call, (expected), (word))

/* Frees each of them; NULL is fine. */
void tv_free_each(void *const *pointers, size_t count);
#define tv_free_all(...)                                                                                     \
    tv_free_each((void *const[]){__VA_ARGS__}, sizeof((void *const[]){__VA_ARGS__}) / sizeof(void *))

/* |a - b| <= tolerance, and false for NaN. */
#define assert_near(a, b, tolerance)                                                                         \
    do {                                                                                                     \
        double tv_a_ = (double)(a), tv_b_ = (double)(b),                                                     \
               tv_diff_ = tv_a_ > tv_b_ ? tv_a_ - tv_b_ : tv_b_ - tv_a_;                                     \
        if (!(tv_diff_ <= (double)(tolerance)))                                                              \
            fail_msg("%s = %.9g, expected %.9g within %g", #a, tv_a_, tv_b_, (double)(tolerance));           \
    } while (0)

/* True under the sanitizers and the validation layer (TRIVIUM_TEST_ONCE), which look at each path once: what
 * is learned, repeated or gone through in all combinations is judged in the rung `tests`. */
bool tv_test_once(void);

/* A fresh folder under TMPDIR; tv_test_dir_remove deletes it with all that is in it and clears the pointer.
 */
char *tv_test_dir(void);
void tv_test_dir_remove(char **path);
/* One such folder for all tests of a group: set-up and tear-down for cmocka. */
extern char *tv_test_folder;
int tv_test_folder_make(void **state);
int tv_test_folder_remove(void **state);
/* The path of the one file in `dir` whose name begins so; the caller frees it. */
char *tv_test_only_file(const char *dir, const char *beginning);

#endif
