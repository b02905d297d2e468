/* vk/recorder and vk/submit: barriers exactly where hazards are, folded grids, limits, replay, device loss,
 * caches.
 *
 * gelu_forward (x read, y written) stands for any kernel. Tried, each fails here: is_hazard without its write
 * test; for equal ranges alone, equal beginnings, ranges that touch; without the buffer; for the last command
 * alone; accesses kept behind a barrier; offsets checked against this device's alignment only.
 */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/os.h"
#include "kernels/activation.h"
#include "kernels/matmul.h"
#include "vk/timestamps.h"
#include "vk/transfer.h"

static tv_recording *finish(tv_recorder *recorder) {
    tv_recording *recording = NULL;
    assert_ok(tv_recorder_end(&recorder, &recording));
    return recording;
}

static void run(tv_device *device, tv_recording *recording) {
    uint64_t value;
    assert_ok(tv_submit(device, &recording, 1, &value));
    assert_ok(tv_wait(device, value));
}

/* Commands that each read one range of a buffer and write another; ranges are in units of 256 bytes. */
typedef struct range {
    uint64_t first, end;
} range;
typedef struct access_pair {
    range from, to;
} access_pair;

static tv_tensor tensor_of(tv_buffer *buffer, range r) {
    return (tv_tensor){tv_span_part(tv_buffer_span(buffer), 256 * r.first, 256 * (r.end - r.first)), TV_F32};
}

/* Barriers between the commands; one at the start and one at the end there are always. */
static uint32_t barriers_of(tv_buffer *from, tv_buffer *to, const access_pair *pairs, uint32_t count,
                            bool copies, tv_device *device) {
    tv_recorder *recorder = tv_test_begin(device);
    for (uint32_t i = 0; i < count; i++) {
        tv_tensor in = tensor_of(from, pairs[i].from), out = tensor_of(to, pairs[i].to);
        if (copies && i % 2)
            assert_ok(tv_record_copy(recorder, in.span, out.span));
        else
            assert_ok(tv_gelu_forward(recorder, 64 * (pairs[i].from.end - pairs[i].from.first), in, out));
    }
    tv_recording *recording = finish(recorder);
    uint32_t barriers = tv_recording_get_info(recording).barriers - 2;
    tv_recording_destroy(&recording);
    return barriers;
}

/* Every way in which two ranges can lie, after each kind of access; a dispatch or a copy as the second. */
static void barriers_come_from_hazards(void **state) {
    static const range old = {4, 8};
    static const range others[] = {{4, 8},  {4, 6},  {6, 8},  {5, 7}, {2, 5},
                                   {7, 10}, {2, 10}, {4, 10}, {2, 8},   /* meet */
                                   {0, 4},  {8, 12}, {1, 3},  {9, 10}}; /* do not */
    enum { MEET = 9 };
    tv_device *device = *state;
    tv_buffer *buffer = NULL, *other = NULL;
    assert_ok(tv_buffer_create(device, 256 * 64, TV_MEMORY_DEVICE, "hazards", &buffer));
    assert_ok(tv_buffer_create(device, 256 * 64, TV_MEMORY_DEVICE, "hazards", &other));
    for (uint32_t i = 0; i < TV_COUNT(others); i++) {
        range r = others[i], far = {40, 40 + r.end - r.first}, far_old = {20, 24};
        const access_pair after_write[] = {{far_old, old}, {r, far}},
                          after_read[] = {{old, far_old}, {far, r}},
                          twice_written[] = {{far_old, old}, {far, r}},
                          twice_read[] = {{old, far_old}, {r, far}};
        for (int copies = 0; copies < 2; copies++) {
            uint32_t expected = i < MEET;
            if (barriers_of(buffer, buffer, after_write, 2, copies, device) != expected ||
                barriers_of(buffer, buffer, after_read, 2, copies, device) != expected ||
                barriers_of(buffer, buffer, twice_written, 2, copies, device) != expected ||
                barriers_of(buffer, buffer, twice_read, 2, copies, device) != 0)
                fail_msg("4 to 8, then %d to %d%s: not %d barriers", (int)r.first, (int)r.end,
                         copies ? " by a copy" : "", (int)expected);
            /* The same places of another buffer are other bytes. */
            assert_int_equal(barriers_of(other, buffer, after_write, 2, copies, device), 0);
        }
    }
    /* All that came since the last barrier counts, not the last command alone; behind a barrier nothing does.
     */
    const access_pair first_of_three[] = {{{0, 2}, {4, 8}}, {{10, 12}, {12, 14}}, {{5, 6}, {20, 21}}},
                      two_hazards[] = {{{0, 2}, {4, 6}}, {{0, 2}, {6, 8}}, {{4, 8}, {20, 24}}},
                      behind[] = {{{0, 2}, {4, 6}}, {{4, 6}, {8, 10}}, {{5, 6}, {20, 21}}},
                      again[] = {{{0, 2}, {4, 6}}, {{4, 6}, {8, 10}}, {{9, 10}, {20, 21}}};
    assert_int_equal(barriers_of(buffer, buffer, first_of_three, 3, false, device), 1);
    assert_int_equal(barriers_of(buffer, buffer, two_hazards, 3, false, device), 1);
    assert_int_equal(barriers_of(buffer, buffer, behind, 3, false, device), 1);
    assert_int_equal(barriers_of(buffer, buffer, again, 3, false, device), 2);
    tv_buffer_destroy(&buffer);
    tv_buffer_destroy(&other);
}

/* A grid over the device's x limit is folded over y, and every element is still computed once. */
static void large_grids_are_folded(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("group_count_x=7");
    enum { COUNT = 256 * 61 + 3 };
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    for (int i = 0; i < COUNT; i++)
        x[i] = 100; /* gelu(100) = 100 */
    tv_test_tensor in = tv_test_floats(device, COUNT, x), out = tv_test_floats(device, COUNT, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gelu_forward(recorder, COUNT, in.tensor, out.tensor));
    tv_test_run(device, recorder);
    tv_test_read(&out, y);
    assert_memory_equal(x, y, COUNT * sizeof *x);
    tv_test_free(&in);
    tv_test_free(&out);
    free(x);
    free(y);
    tv_device_close(&device);
}

/* The same recording again reads what the host changed in between; without push descriptors too. */
static void replay(tv_device *device) {
    float x[64], y[64];
    for (int i = 0; i < 64; i++)
        x[i] = 50;
    tv_test_tensor in = tv_test_floats(device, 64, x), out = tv_test_floats(device, 64, NULL);
    tv_recorder *recorder = tv_test_begin(device);
    assert_ok(tv_gelu_forward(recorder, 64, in.tensor, out.tensor));
    tv_recording *recording = finish(recorder);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 64; i++)
            x[i] = 50 + (float)round;
        assert_ok(tv_upload(device, in.tensor.span, x, sizeof x));
        run(device, recording);
        tv_test_read(&out, y);
        assert_memory_equal(x, y, sizeof x);
    }
    tv_recording_destroy(&recording);
    tv_test_free(&in);
    tv_test_free(&out);
}

static void recordings_are_replayed(void **state) {
    replay(*state);
    tv_device *device = tv_test_open_lowered("push_descriptors=0");
    replay(device);
    tv_device_close(&device);
}

/* A budget of FLOPs cuts a recording into submissions, and a dispatch that alone is over it into parts of its
 * grid, also one that is folded and one of several layers in z; the bits stay the same. Tried, each
 * fails: parts that begin at 0, the last row left out. */
static void budgets_cut_submissions(void **state) {
    enum { M = 193, N = 24, K = 32, BATCH = 3 };
    float a[BATCH * M * K], b[K * N], whole[BATCH * M * N], cut[BATCH * M * N];
    tv_test_random(a, BATCH * M * K, 1);
    tv_test_random(b, K * N, 2);
    tv_device *devices[] = {*state, tv_test_open_lowered("group_count_x=5,push_descriptors=0"),
                            tv_test_open_lowered("cpu_kernels=0")};
    for (size_t d = 0; d < TV_COUNT(devices); d++) {
        tv_device *device = devices[d];
        tv_test_tensor ta = tv_test_floats(device, BATCH * M * K, a), tb = tv_test_floats(device, K * N, b);
        double cost = 0;
        for (int round = 0; round < 3; round++) {
            const double parts[] = {0, 3.5, 1e6}; /* the last: as many as there are workgroups */
            tv_test_tensor tc = tv_test_floats(device, BATCH * M * N, NULL);
            tv_recorder *recorder = NULL;
            const double budget = round ? cost / parts[round] : 0;
            assert_ok(tv_recorder_begin(
                device, &(tv_recorder_options){.name = "budget", .flop_budget = budget}, &recorder));
            assert_ok(tv_matmul_record(recorder, &(tv_matmul){.m = M,
                                                              .n = N,
                                                              .k = K,
                                                              .transpose_b = true,
                                                              .batch = BATCH,
                                                              .stride_a = M * K,
                                                              .stride_c = M * N,
                                                              .a = ta.tensor,
                                                              .b = tb.tensor,
                                                              .c = tc.tensor}));
            tv_recording *recording = finish(recorder);
            tv_recording_info info = tv_recording_get_info(recording);
            cost = info.cost;
            assert_int_equal(info.dispatches, 1);
            if (round < 2)
                assert_int_equal(info.submissions, round ? 4 : 1);
            else
                assert_in_range(info.submissions, 4, M * N);
            run(device, recording);
            tv_test_read(&tc, round ? cut : whole);
            if (round)
                assert_memory_equal(whole, cut, sizeof whole);
            tv_recording_destroy(&recording);
            tv_test_free(&tc);
        }
        tv_test_free(&ta);
        tv_test_free(&tb);
        if (d > 0)
            tv_device_close(&devices[d]);
    }
}

/* Work that takes longer than the timeout is waited for as long as its submissions finish one after another;
 * a value that nobody submitted is not. */
static void progress_is_not_a_loss(void **state) {
    (void)state;
    const double timeout = 2; /* a busy machine with sanitizers takes half a second for one submission */
    tv_device *device = NULL;
    setenv("TRIVIUM_DEVICE_TIMEOUT", "2", 1);
    assert_ok(tv_device_open(&(tv_device_options){.select = getenv("TRIVIUM_TEST_DEVICE")}, &device));
    unsetenv("TRIVIUM_DEVICE_TIMEOUT");
    enum { COUNT = 1 << 20, MOST = 1000 };
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, COUNT * sizeof(float), TV_MEMORY_DEVICE, "progress", &buffer));
    tv_tensor t = {tv_buffer_span(buffer), TV_F32};
    tv_recorder *recorder = NULL;
    assert_ok(
        tv_recorder_begin(device, &(tv_recorder_options){.name = "slow", .simultaneous = true}, &recorder));
    assert_ok(tv_gelu_forward(recorder, COUNT, t, t));
    tv_recording *recording = finish(recorder), *many[MOST];
    run(device, recording);
    for (int i = 0; i < MOST; i++)
        many[i] = recording;
    /* A fast device gets through a thousand before the timeout: more of them then. */
    double start = tv_seconds();
    for (int round = 0; round < 50 && tv_seconds() - start < 2 * timeout; round++) {
        uint64_t value;
        assert_ok(tv_submit(device, many, MOST, &value));
        assert_ok(tv_wait(device, value));
    }
    assert_fails(tv_wait(device, 1 << 30), TV_E_DEVICE_LOST, "no answer for 2 s");
    tv_recording_destroy(&recording);
    tv_buffer_destroy(&buffer);
    tv_device_close(&device);
}

static void limits_are_sentences(void **state) {
    tv_device *device = *state;
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, 4096, TV_MEMORY_DEVICE, "limits", &buffer));
    tv_tensor whole = {tv_buffer_span(buffer), TV_F32},
              odd = {tv_span_part(tv_buffer_span(buffer), 4, 256), TV_F32},
              /* What lavapipe would take and other drivers would not. */
        half = {tv_span_part(tv_buffer_span(buffer), 128, 256), TV_F32};
    tv_recorder *recorder = tv_test_begin(device);
    assert_int_equal(tv_gelu_forward(recorder, 8, odd, whole), TV_E_USAGE);
    assert_fails(tv_gelu_forward(recorder, 8, half, whole), TV_E_USAGE, "gelu_forward");
    tv_recorder_abort(&recorder);
    assert_null(recorder);
    tv_buffer_destroy(&buffer);
    const char *const wrong[] = {"storage_rnge=5", "storage_range", "storage_range=x", "tier=fp8"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        tv_caps caps = *tv_device_caps(device);
        assert_int_equal(tv_caps_lower(&caps, wrong[i]), TV_E_USAGE);
    }
    tv_caps caps = *tv_device_caps(device);
    assert_ok(tv_caps_lower(&caps, "storage_range=99999999999999,invocations=128"));
    assert_int_equal(caps.storage_range, tv_device_caps(device)->storage_range);
    assert_int_equal(caps.invocations, 128);
}

static void device_loss_is_sticky(void **state) {
    (void)state;
    setenv("TRIVIUM_INJECT_DEVICE_LOST", "3", 1);
    tv_device *device = NULL;
    assert_ok(tv_device_open(NULL, &device));
    unsetenv("TRIVIUM_INJECT_DEVICE_LOST");
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, 256, TV_MEMORY_DEVICE, "loss", &buffer));
    tv_tensor t = {tv_buffer_span(buffer), TV_F32};
    tv_status status = TV_OK;
    int runs = 0;
    for (; status == TV_OK && runs < 10; runs++) {
        tv_recorder *recorder = NULL;
        tv_recording *recording = NULL;
        uint64_t value;
        assert_ok(tv_recorder_begin(device, &(tv_recorder_options){.name = "loss test"}, &recorder));
        assert_ok(tv_gelu_forward(recorder, 64, t, t));
        assert_ok(tv_recorder_end(&recorder, &recording));
        status = tv_submit(device, &recording, 1, &value);
        if (status == TV_OK)
            status = tv_wait(device, value);
        tv_recording_destroy(&recording);
    }
    assert_fails(status, TV_E_DEVICE_LOST, "the last completed work was \"loss test");
    char *sentence = tv_format("%s", tv_last_error());
    assert_int_equal(tv_wait_idle(device), TV_E_DEVICE_LOST);
    assert_string_equal(tv_last_error(), sentence);
    free(sentence);
    tv_buffer_destroy(&buffer);
    tv_device_close(&device);
}

static void times_are_taken(void **state) {
    tv_device *device = *state;
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, 1 << 20, TV_MEMORY_DEVICE, "times", &buffer));
    tv_tensor t = {tv_buffer_span(buffer), TV_F32};
    tv_recorder *recorder = NULL;
    assert_ok(tv_recorder_begin(device, &(tv_recorder_options){.name = "times", .profile = true}, &recorder));
    tv_record_push_label(recorder, "layer %d", 3);
    assert_ok(tv_gelu_forward(recorder, 1 << 18, t, t));
    tv_record_pop_label(recorder);
    tv_recording *recording = finish(recorder);
    run(device, recording);
    double whole;
    tv_dispatch_time *times = NULL;
    uint32_t count = 0;
    assert_ok(tv_recording_milliseconds(recording, &whole));
    assert_ok(tv_recording_profile(recording, &times, &count));
    assert_int_equal(count, 1);
    assert_string_equal(times[0].label, "layer 3/gelu_forward.vec4 262144");
    if (tv_device_caps(device)->timestamp_bits) {
        assert_true(times[0].milliseconds > 0);
        assert_true(times[0].milliseconds <= whole);
    }
    free(times);
    tv_recording_destroy(&recording);
    tv_buffer_destroy(&buffer);
}

/* A pipeline cache that was cut, or is not one, is a miss. */
static void bad_caches_are_misses(void **state) {
    (void)state;
    char *dir = tv_test_dir();
    setenv("TRIVIUM_CACHE_DIR", dir, 1);
    for (int round = 0; round < 3; round++) {
        tv_device *device = NULL;
        assert_ok(tv_device_open(NULL, &device));
        replay(device);
        tv_device_close(&device);
        char **names = NULL;
        uint64_t count = 0;
        assert_ok(tv_list_dir(dir, &names, &count));
        for (uint64_t i = 0; i < count; i++) {
            char *path = tv_format("%s/%s", dir, names[i]);
            assert_ok(
                tv_write_file(path, "garbage garbage garbage garbage garbage garbage", round == 0 ? 47 : 0));
            free(path);
        }
        tv_free_names(&names, count);
    }
    unsetenv("TRIVIUM_CACHE_DIR");
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(barriers_come_from_hazards), cmocka_unit_test(large_grids_are_folded),
        cmocka_unit_test(budgets_cut_submissions),    cmocka_unit_test(recordings_are_replayed),
        cmocka_unit_test(limits_are_sentences),       cmocka_unit_test(progress_is_not_a_loss),
        cmocka_unit_test(device_loss_is_sticky),      cmocka_unit_test(times_are_taken),
        cmocka_unit_test(bad_caches_are_misses),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
