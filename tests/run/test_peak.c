/* The measured peak, its cache, and the FLOPs of a training step. */
#include "support/device.h"
#include "support/small_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "run/peak.h"

static void the_peak_is_cached(void **state) {
    char *dir = tv_test_dir();
    double measured, cached;
    assert_int_equal(setenv("TRIVIUM_CACHE_DIR", dir, 1), 0);
    assert_ok(tv_device_peak(*state, &measured));
    assert_true(isfinite(measured) && measured > 0);
    char *path = tv_test_only_file(dir, "peak-");
    /* cJSON prints 15 digits where they are within a relative 2.2e-16 of the number, else 17. */
    assert_ok(tv_device_peak(*state, &cached));
    assert_near(cached, measured, 2.3e-16 * measured);
    /* A file is believed, and a broken one is measured anew and replaced. */
    const char *own = "{\"flops_per_second\": 123}";
    assert_ok(tv_write_file(path, own, strlen(own)));
    assert_ok(tv_device_peak(*state, &cached));
    assert_true(cached == 123);
    const char *const broken[] = {"{", "{\"flops_per_second\": \"x\"}", "{\"flops_per_second\": -1}", "{}"};
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        assert_ok(tv_write_file(path, broken[i], strlen(broken[i])));
        assert_ok(tv_device_peak(*state, &cached));
        assert_true(isfinite(cached) && cached > 1e6);
    }
    assert_int_equal(unsetenv("TRIVIUM_CACHE_DIR"), 0);
    free(path);
    tv_test_dir_remove(&dir);
}

/* By hand for L 2, C 4, H 2, Hkv 1, D 3, F 5, V 7, T 9: SwiGLU's layers hold qkv 12 * 4, output 4 * 6 and MLP
 * 3 * 4 * 5 weights, the head 7 * 4: 6 * (2 * 132 + 28) = 1752. Scores and values: two products of 2 * D
 * FLOPs per head and position, five positions on average, three times for the backward pass: 3 * 2 * (2 * 6)
 * * 5 * 2 layers = 720. */
static void flops_are_counted(void **state) {
    (void)state;
    tv_model_config config = tv_test_config(
        TV_ARCH_LLAMA,
        (tv_test_sizes){
            .vocab = 7, .layers = 2, .heads = 2, .kv_heads = 1, .channels = 4, .head_size = 3, .ffn = 5});
    assert_near(tv_step_flops_per_token(&config, 9), 1752 + 720, 1e-9);
    config.activation = TV_ACTIVATION_GELU_TANH;
    assert_near(tv_step_flops_per_token(&config, 9), 1752 + 720 - 6 * 2 * 20, 1e-9);
    /* A window of 3 in one layer: 3 * 9 - 3 = 24 pairs in place of 45. */
    config.window = 3;
    tv_model_config_set_local(&config, 1);
    assert_near(tv_step_flops_per_token(&config, 9), 1752 + 720 - 6 * 2 * 20 - 360.0 * 21 / 45, 1e-9);
    config.window = 0;
    /* A score head is 4 weights in place of 28. */
    config.head = TV_MODEL_HEAD_SCORE;
    assert_near(tv_step_flops_per_token(&config, 9), 1752 + 720 - 6 * 2 * 20 - 6 * 24, 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_peak_is_cached),
        cmocka_unit_test(flops_are_counted),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
