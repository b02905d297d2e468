/* kernels/texels: what a device loads from texels, and that launchers go by the self-test's verdict.
 *
 * The oracle is integer arithmetic: sums of up to 7 whole numbers below 2^20 are exact in fp32.
 *
 * Tried, each fails: texelFetch of the neighbour in probe.comp (the oracle; the self-test says so and
 * launchers do without); a launcher that goes by caps.texels; a verdict that is not read from the cache;
 * one shader cache for all widths (Mesa 25.0.7: a crash in other_widths_share_the_cache).
 */
#include "support/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/sample.h"
#include "kernels/texels.h"
#include "push_constants.h"
#include "vk/timestamps.h"
#include "vk/transfer.h"

static uint32_t whole_number(uint32_t i) {
    return (i * 40503u + 17u) % 1000003u;
}

static void loads_equal_the_oracle(void **state) {
    enum { MOST = 3001 };
    static const uint32_t counts[] = {1, 7, 64, MOST};
    static float values[4 * MOST], sums[4 * MOST];
    if (tv_device_caps(*state)->texels == 0)
        skip();
    for (uint32_t i = 0; i < 4 * MOST; i++)
        values[i] = (float)whole_number(i);
    for (size_t n = 0; n < TV_COUNT(counts); n++) {
        uint32_t count = counts[n];
        tv_test_tensor texels = tv_test_floats(*state, (uint64_t)4 * count, values),
                       out = tv_test_floats(*state, (uint64_t)4 * count, NULL);
        tv_recorder *recorder = tv_test_begin(*state);
        assert_ok(tv_texel_probe(recorder, count, texels.tensor, out.tensor));
        tv_test_run(*state, recorder);
        tv_test_read(&out, sums);
        for (uint32_t i = 0; i < count; i++)
            for (uint32_t c = 0; c < 4; c++) {
                uint32_t sum = 0;
                for (uint32_t j = 0; j <= i % 7; j++)
                    sum += whole_number((13 * i + 5 * j) % count * 4 + c);
                assert_true(sums[4 * i + c] == (float)sum);
            }
        tv_test_free(&texels);
        tv_test_free(&out);
    }
}

/* How many dispatches of programs whose names speak of texels draw, multiply and decode. */
static uint32_t texel_dispatches(tv_device *device) {
    enum { ROWS = 2, V = 64 };
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, 1 << 20, TV_MEMORY_DEVICE, "launches", &buffer));
    assert_ok(tv_clear(device, tv_buffer_span(buffer)));
    tv_tensor t[8];
    for (uint64_t i = 0; i < TV_COUNT(t); i++)
        t[i] = (tv_tensor){tv_span_part(tv_buffer_span(buffer), i << 16, 1 << 16), i < 5 ? TV_F32 : TV_U32};
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    assert_ok(
        tv_recorder_begin(device, &(tv_recorder_options){.name = "launches", .profile = true}, &recorder));
    assert_ok(tv_sample_record(recorder, &(tv_sample){.rows = ROWS,
                                                      .vocab = V,
                                                      .logits = t[0],
                                                      .settings = t[5],
                                                      .sequences = t[6],
                                                      .positions = t[6],
                                                      .tokens = t[7],
                                                      .logprobs = t[4]}));
    assert_ok(
        tv_matmul_record(recorder, &(tv_matmul){.m = 32, .n = 32, .k = 32, .a = t[0], .b = t[1], .c = t[2]}));
    assert_ok(tv_attention_decode_record(recorder, &(tv_attention_decode){.rows = ROWS,
                                                                          .heads = 2,
                                                                          .kv_heads = 2,
                                                                          .head_size = 8,
                                                                          .max_tokens = 4,
                                                                          .qkv = t[0],
                                                                          .k_cache = t[1],
                                                                          .v_cache = t[2],
                                                                          .positions = t[6],
                                                                          .output = t[3]}));
    assert_ok(tv_recorder_end(&recorder, &recording));
    uint64_t value;
    assert_ok(tv_submit(device, &recording, 1, &value));
    assert_ok(tv_wait(device, value));
    tv_dispatch_time *times = NULL;
    uint32_t count = 0, of_texels = 0;
    assert_ok(tv_recording_profile(recording, &times, &count));
    for (uint32_t i = 0; i < count; i++)
        of_texels += strstr(times[i].label, "texels") != NULL;
    free(times);
    tv_recording_destroy(&recording);
    tv_buffer_destroy(&buffer);
    return of_texels;
}

static bool takes_texels(tv_device *device) {
    const tv_caps *caps = tv_device_caps(device);
    return caps->texels && caps->cpu_kernels && caps->subgroup_size == 8;
}

static tv_device *reopened(void) {
    tv_device *device = NULL;
    assert_ok(tv_device_open(&(tv_device_options){.select = getenv("TRIVIUM_TEST_DEVICE")}, &device));
    return device;
}

static void launchers_go_by_the_verdict(void **state) {
    (void)state;
    tv_device *device = reopened();
    bool sound;
    *tv_device_texel_verdict(device) = TV_UNSOUND;
    assert_int_equal(texel_dispatches(device), 0);
    if (takes_texels(device)) {
        *tv_device_texel_verdict(device) = TV_SOUND;
        assert_int_equal(texel_dispatches(device), 3);
        assert_ok(tv_texels_test(device, &sound));
        assert_true(sound);
    }
    tv_device_close(&device);
}

/* Found once, in a process of its own, and read from then on. */
static void the_verdict_is_kept(void **state) {
    if (!takes_texels(*state))
        skip();
    char *dir = tv_test_dir(), *path = NULL;
    assert_int_equal(setenv("TRIVIUM_CACHE_DIR", dir, 1), 0);
    for (int sound = 1; sound >= 0; sound--) {
        tv_device *device = reopened();
        assert_int_equal(*tv_device_texel_verdict(device), TV_UNTESTED);
        assert_int_equal(texel_dispatches(device), sound ? 3 : 0);
        assert_int_equal(*tv_device_texel_verdict(device), sound ? TV_SOUND : TV_UNSOUND);
        tv_device_close(&device);
        if (sound) {
            static const char other[] = "{\"texels_are_sound\": false}";
            char *text = NULL;
            uint64_t size;
            path = tv_test_only_file(dir, "texels-");
            assert_ok(tv_read_file(path, &text, &size));
            assert_non_null(strstr(text, "true"));
            free(text);
            assert_ok(tv_write_file(path, other, sizeof other - 1));
        }
    }
    unsetenv("TRIVIUM_CACHE_DIR");
    free(path);
    tv_test_dir_remove(&dir);
}

/* ---- one shader cache for several widths of llvmpipe's vectors ---- */

/* The largest of each row, drawn greedily; in a process that the test below starts. */
static int draw(void) {
    enum { ROWS = 6, V = 68 };
    void *device = NULL;
    float logits[ROWS * V];
    uint32_t tokens[ROWS], zeros[ROWS] = {0};
    if (tv_test_open_device(&device) != 0)
        return 1;
    for (uint32_t i = 0; i < ROWS * V; i++)
        logits[i] = i % V == i / V * 11 ? 9 : (float)(whole_number(i) % 8);
    const tv_sample_settings greedy = {.temperature = 0};
    tv_test_tensor t[] = {tv_test_floats(device, ROWS * V, logits),
                          tv_test_bytes(device, sizeof greedy, &greedy), tv_test_uints(device, ROWS, zeros),
                          tv_test_uints(device, ROWS, NULL)};
    tv_recorder *recorder = tv_test_begin(device);
    bool right = tv_sample_record(recorder, &(tv_sample){.rows = ROWS,
                                                         .vocab = V,
                                                         .logits = t[0].tensor,
                                                         .settings = t[1].tensor,
                                                         .sequences = t[2].tensor,
                                                         .positions = t[2].tensor,
                                                         .tokens = t[3].tensor}) == TV_OK;
    tv_test_run(device, recorder);
    tv_test_read(&t[3], tokens);
    for (uint32_t r = 0; r < ROWS; r++)
        right = right && tokens[r] == r * 11;
    for (size_t i = 0; i < TV_COUNT(t); i++)
        tv_test_free(&t[i]);
    tv_test_close_device(&device);
    return right ? 0 : 1;
}

static const char *program;

static void other_widths_share_the_cache(void **state) {
    static const int widths[] = {512, 128, 256, 512, 128};
    if (!strstr(tv_device_caps(*state)->name, "llvmpipe"))
        skip();
    char *dir = tv_test_dir();
    for (size_t i = 0; i < TV_COUNT(widths); i++) {
        char *command =
            tv_format("LP_NATIVE_VECTOR_WIDTH=%d MESA_SHADER_CACHE_DIR='%s' TRIVIUM_CACHE_DIR='%s' "
                      "'%s' draw",
                      widths[i], dir, dir, program);
        int status = system(command);
        if (status != 0)
            fail_msg("%s ended with %d", command, status);
        free(command);
    }
    tv_test_dir_remove(&dir);
}

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 2 && strcmp(argv[1], "draw") == 0)
        return draw();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_equal_the_oracle),
        cmocka_unit_test(launchers_go_by_the_verdict),
        cmocka_unit_test(the_verdict_is_kept),
        cmocka_unit_test(other_widths_share_the_cache),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
