/* A text as it is drawn: what is seen of it first, whatever the length of its prompt.
 *
 * Seen to fail with: as many steps before the first look as the prompt has tokens, though passes read it.
 */
#include "support/device.h"

#include <string.h>

#include "model/decoder.h"
#include "stages/sampling.h"
#include "support/open_model.h"

enum { CONTEXT = 128, NEW = 20 };

typedef struct looks {
    uint64_t count, first, last, stop_at;
} looks;

static tv_status look(void *context, const tv_decoder_row *row, bool *go_on) {
    looks *l = context;
    uint64_t drawn = row->length - row->prompt_length;
    if (l->count++ == 0)
        l->first = drawn;
    l->last = drawn;
    *go_on = !l->stop_at || drawn < l->stop_at;
    return TV_OK;
}

static void the_first_look_is_at_the_first_draw(void **state) {
    tv_device *device = *state;
    tv_model_directory *directory = NULL;
    tv_model *model = NULL;
    tv_decoder *decoder = NULL;
    tv_test_open_model(device, TRIVIUM_SOURCE_DIR "/tests/golden/llama_100k", false, &directory, &model);
    assert_ok(tv_decoder_create(model, &(tv_decoder_options){.rows = 1, .max_tokens = CONTEXT}, &decoder));
    uint32_t tokens[CONTEXT];
    for (uint32_t i = 0; i < CONTEXT; i++)
        tokens[i] = i * 7 % 300;
    const tv_decoder_settings greedy = {.top_p = 1};
    /* One token, a few that ride along in steps, many that passes read. */
    static const uint64_t lengths[] = {1, 5, 40, CONTEXT - NEW};
    for (size_t i = 0; i < TV_COUNT(lengths); i++) {
        const tv_decoder_prompt prompt = {.tokens = tokens, .length = lengths[i], .max_new = NEW};
        looks seen = {0}, cut = {.stop_at = 1};
        double seconds = -1;
        assert_ok(tv_decoder_start(decoder, &prompt, 1, &greedy));
        assert_ok(tv_sampling_run(decoder, look, &seen, &seconds));
        assert_int_equal(seen.first, 1);
        assert_int_equal(seen.last, NEW);
        assert_true(seen.count > 1);
        assert_true(seconds > 0);
        /* One who stops there waits for no more. */
        assert_ok(tv_decoder_start(decoder, &prompt, 1, &greedy));
        assert_ok(tv_sampling_run(decoder, look, &cut, NULL));
        assert_int_equal(cut.count, 1);
        assert_int_equal(cut.last, 1);
    }
    tv_decoder_destroy(&decoder);
    tv_model_destroy(&model);
    tv_model_directory_close(&directory);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_look_is_at_the_first_draw),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
