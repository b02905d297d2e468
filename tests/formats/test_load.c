/* formats/load: a sharded model goes to the device in bounded host memory, whatever the size of its tensors,
 * and for inference with its weights alone.
 *
 * The model here is small; TRIVIUM_LOAD_BYTES=3000000000 makes it that large (the rung large_model), and the
 * bound on what the process holds beside the device's bytes stays what it is for any size: 512 MB in all.
 *
 * Tried: pieces of whole parameters (TV_PIECE_BYTES of 1 GiB); a model made with gradients and moments. Each
 * fails.
 */
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"
#include "formats/load.h"
#include "formats/safetensors.h"
#include "support/device.h"
#include "support/freed_memory.h"

enum { MOST_GROWTH = 40 << 20, MOST_IN_ALL = 512 << 20 };

/* "VmHWM" (the peak) or "VmRSS" of /proc/self/status, in bytes. */
static uint64_t resident(const char *what) {
    char line[256];
    unsigned long long kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, what, strlen(what)) == 0)
            kilobytes = strtoull(line + strlen(what) + 1, NULL, 10);
    fclose(file);
    assert_true(kilobytes > 0);
    return (uint64_t)kilobytes << 10;
}

/* The peak starts anew at what is resident now. */
static void forget_peak(void) {
    int file = open("/proc/self/clear_refs", O_WRONLY);
    assert_true(file >= 0);
    assert_int_equal(write(file, "5", 1), 1);
    close(file);
}

/* Normal-looking, exact in bf16, and cheap: weights of some billions are drawn in seconds. */
static float element(uint32_t index, uint64_t i) {
    uint64_t mixed = (i + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ ((uint64_t)index << 32);
    mixed ^= mixed >> 29;
    mixed *= UINT64_C(0xbf58476d1ce4e5b9);
    return ((float)(mixed >> 57) - 63.5f) * 0x1p-11f;
}

static tv_status yield_elements(void *context, uint32_t index, uint64_t first_row, uint64_t rows,
                                tv_dtype dtype, void *out) {
    const tv_parameter_list *list = context;
    const uint64_t columns = list->items[index].shape[1];
    float *values = out;
    assert_int_equal(dtype, TV_F32);
    for (uint64_t i = 0; i < rows * columns; i++)
        values[i] = element(index, first_row * columns + i);
    return TV_OK;
}

static uint64_t asked_bytes(void) {
    const char *text = getenv("TRIVIUM_LOAD_BYTES");
    return text ? strtoull(text, NULL, 10) : 0;
}

/* About `bytes` of bf16: 1.5 billion parameters at 3 GB. The embedding alone is far more than the bound. */
static tv_model_config config_of(uint64_t bytes) {
    tv_model_config c = tv_model_config_defaults(TV_ARCH_LLAMA);
    bool large = bytes >= UINT64_C(1000000000);
    c.n_head = large ? 32 : 4;
    c.n_kv_head = large ? 4 : 2;
    c.channels = large ? 2048 : 256;
    c.head_size = 64;
    c.ffn = large ? 5632 : 704;
    c.vocab_size = large ? 128256 : 100003;
    c.max_positions = 512;
    c.tied = true;
    uint64_t q = c.n_head * c.head_size, kv = c.n_kv_head * c.head_size;
    uint64_t layer = c.channels * (2 * q + 2 * kv + 3 * c.ffn), embedding = c.channels * c.vocab_size;
    c.n_layer = large ? tv_div_up(bytes / 2 - embedding, layer) : 3;
    return c;
}

static void check_parameter(tv_model *model, uint32_t index) {
    const tv_parameter *p = &tv_model_list(model)->items[index];
    const uint64_t columns = p->shape[1], piece = tv_min_u64(p->shape[0], 64);
    const uint64_t places[] = {0, (p->shape[0] - piece) / 2, p->shape[0] - piece};
    float *values = malloc(piece * columns * sizeof *values);
    assert_non_null(values);
    for (size_t at = 0; at < TV_COUNT(places); at++) {
        assert_ok(tv_model_source(model, index, places[at], piece, TV_F32, values));
        for (uint64_t i = 0; i < piece * columns; i++)
            if (values[i] != element(index, places[at] * columns + i))
                fail_msg("%s, element %llu: %g", p->name, (unsigned long long)(places[at] * columns + i),
                         (double)values[i]);
    }
    free(values);
}

/* Weights as they are published. */
static tv_parameter_list *as_published(const tv_model_directory *directory) {
    const tv_parameter_list *found = tv_model_directory_parameters(directory);
    tv_parameter_list *list = NULL;
    tv_dtype *storage = calloc(found->count, sizeof *storage);
    bool *frozen = calloc(found->count, sizeof *frozen);
    assert_true(storage && frozen);
    for (uint32_t i = 0; i < found->count; i++)
        storage[i] = tv_model_directory_dtype(directory, i);
    const tv_parameter_choice choice = {.trainable = frozen, .storage = storage};
    assert_ok(tv_parameter_list_create_chosen(&found->config, &choice, &list));
    free(frozen);
    free(storage);
    return list;
}

static void large_models_load_in_bounded_memory(void **state) {
    char *dir = tv_test_dir();
    tv_model_config config = config_of(asked_bytes());
    tv_parameter_list *list = NULL;
    tv_model_directory *directory = NULL;
    tv_model *model = NULL;
    assert_ok(tv_parameter_list_create(&config, &list));
    const uint64_t file_bytes = list->elements * 2;
    const double begin = tv_seconds();
    assert_ok(tv_model_directory_write_as(dir, list, TV_BF16, file_bytes / 4, yield_elements, list));
    const double written = tv_seconds();
    char *index = tv_format("%s/%s", dir, TV_INDEX_NAME);
    assert_true(tv_path_exists(index));
    assert_ok(tv_model_directory_open(dir, &directory));

    tv_model_bytes bytes;
    tv_parameter_list *found = as_published(directory);
    assert_ok(tv_model_measure(found, tv_device_caps(*state), false, &bytes));
    assert_int_equal(bytes.gradients + bytes.moments + bytes.masters, 0);
    /* Norms are floats, and tensors begin at whole lines. */
    assert_true(bytes.parameters < file_bytes + file_bytes / 50);
    const uint64_t device_bytes = bytes.parameters, empty = resident("VmRSS");
    assert_ok(tv_model_create(*state, found, false, &model));
    const uint64_t made = resident("VmRSS");
    /* On a device whose memory is the process's own, its bytes are counted in it. */
    const bool own = made - empty > device_bytes / 2;
    forget_peak();
    const double start = tv_seconds();
    assert_ok(tv_model_load(model, directory));
    const double loaded = tv_seconds();
    const uint64_t peak = resident("VmHWM"), beside = peak - (own ? device_bytes : 0);
    print_message(
        "%.0f MB of bf16 written at %.0f MB/s, loaded at %.0f MB/s; device %.0f MB; peak beside it %.0f MB, "
        "of which loading took %.0f MB\n",
        (double)file_bytes / 1e6, (double)file_bytes / 1e6 / (written - begin),
        (double)file_bytes / 1e6 / (loaded - start), (double)device_bytes / 1e6, (double)beside / 1e6,
        (double)(peak - made) / 1e6);
    assert_true(TV_TEST_KEEPS_FREED_MEMORY || made - empty < device_bytes + MOST_GROWTH);
    assert_true(TV_TEST_KEEPS_FREED_MEMORY || peak - made < MOST_GROWTH);
    assert_true(TV_TEST_KEEPS_FREED_MEMORY || beside < MOST_IN_ALL);
    for (uint32_t i = 0; i < found->count; i++)
        check_parameter(model, i);
    tv_model_destroy(&model);
    tv_parameter_list_destroy(&found);
    tv_model_directory_close(&directory);
    tv_parameter_list_destroy(&list);
    free(index);
    tv_test_dir_remove(&dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_models_load_in_bounded_memory),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
