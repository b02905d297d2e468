/* Fuzz target: bytes as the state of a checkpoint, or as what it was made with; the first byte says which.
 * What is read can be written and read again, and is the same as itself.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "base/log.h"
#include "formats/checksums.h"
#include "run/checkpoint.h"
#include "run/made_with.h"
#include "small_directory.h"
#include "support/support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *dir, *state_path, *made_path;

static void clean_up(void) {
    free(state_path);
    free(made_path);
    tv_test_dir_remove(&dir);
}

static void set_up(void) {
    tv_log_set_level(TV_LOG_ERROR);
    dir = tv_test_dir();
    state_path = tv_format("%s/" TV_STATE_NAME, dir);
    made_path = tv_format("%s/made_with.json", dir);
    atexit(clean_up);
}

static void read_state(void) {
    tv_checkpoint_state state;
    bool sealed;
    const uint64_t most = UINT64_C(1) << 53;
    (void)tv_checkpoint_check(dir, &sealed);
    (void)tv_checksums_check_weights(dir);
    if (tv_checkpoint_read_state(dir, &state) == TV_OK &&
        (state.step > most || state.examples > most || state.tokens > most || state.best_step > most))
        abort();
}

static void read_made_with(void) {
    tv_made_with made = {0}, again = {0};
    bool other_measure = false;
    const tv_made_with_rules rules = {.checkpoint = dir, .other_measure = &other_measure};
    if (tv_made_with_read(dir, &made) == TV_OK) {
        if (tv_made_with_write(dir, &made) != TV_OK || tv_made_with_read(dir, &again) != TV_OK)
            abort();
        if (tv_made_with_compare(&made, &again, &rules) != TV_OK || other_measure)
            abort();
    }
    tv_made_with_free(&again);
    tv_made_with_free(&made);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!dir)
        set_up();
    if (size == 0)
        return 0;
    const bool is_state = data[0] % 2 == 0;
    tv_fuzz_write(is_state ? state_path : made_path, data + 1, size - 1);
    if (is_state)
        read_state();
    else
        read_made_with();
    return 0;
}
