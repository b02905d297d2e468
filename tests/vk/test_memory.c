/* vk/memory: plans never overlap what lives together, stay within their limit, and reuse what is dead. */
#include "support/device.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "vk/transfer.h"

static bool overlap(const tv_plan_item *a, const tv_plan_item *b) {
    bool lives = a->first <= b->last && b->first <= a->last;
    return lives && a->block == b->block && a->offset < b->offset + b->bytes &&
           b->offset < a->offset + a->bytes;
}

static void plans_are_sound(void **state) {
    (void)state;
    tv_rng rng = {.seed = 3, .stream = TV_STREAM_TEST};
    enum { ITEMS = 200, LIMIT = 1 << 20 };
    tv_plan_item items[ITEMS];
    uint64_t sum = 0;
    for (uint64_t i = 0; i < ITEMS; i++) {
        uint32_t first = (uint32_t)tv_uniform_below(&rng, 3 * i, 50);
        items[i] = (tv_plan_item){.bytes = 1 + tv_uniform_below(&rng, 3 * i + 1, 200000),
                                  .first = first,
                                  .last = first + (uint32_t)tv_uniform_below(&rng, 3 * i + 2, 10)};
        sum += items[i].bytes;
    }
    tv_memory_plan plan;
    assert_ok(tv_memory_plan_assign(items, ITEMS, LIMIT, &plan));
    uint64_t total = 0;
    for (uint32_t b = 0; b < plan.block_count; b++) {
        assert_true(plan.block_bytes[b] <= LIMIT);
        total += plan.block_bytes[b];
    }
    assert_int_equal(total, plan.total_bytes);
    assert_true(total < sum / 2);
    for (int i = 0; i < ITEMS; i++) {
        assert_int_equal(items[i].offset % TV_TENSOR_ALIGNMENT, 0);
        assert_true(items[i].offset + items[i].bytes <= plan.block_bytes[items[i].block]);
        for (int j = 0; j < i; j++)
            assert_false(overlap(&items[i], &items[j]));
    }
    tv_memory_plan_free(&plan);
    assert_fails(tv_memory_plan_assign(items, ITEMS, 1000, &plan), TV_E_FIT, "one tensor takes");
}

static void sequences_keep_their_order(void **state) {
    (void)state;
    tv_plan_item items[] = {{.bytes = 300}, {.bytes = 256}, {.bytes = 500}, {.bytes = 10}};
    tv_memory_plan plan;
    assert_ok(tv_memory_plan_sequence(items, 4, 1024, &plan));
    const uint64_t offsets[] = {0, 512, 0, 512};
    const uint32_t blocks[] = {0, 0, 1, 1};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(items[i].offset, offsets[i]);
        assert_int_equal(items[i].block, blocks[i]);
    }
    assert_int_equal(plan.total_bytes, 768 + 768);
    tv_memory_plan_free(&plan);
}

/* Through the device, also without memory that both sides see. */
static void copies_arrive(tv_device *device) {
    enum { BYTES = 40 << 20 };
    uint32_t *out = malloc(BYTES), *back = malloc(BYTES);
    for (uint32_t i = 0; i < BYTES / 4; i++)
        out[i] = i * 2654435761u;
    uint64_t before = tv_device_bytes(device);
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, BYTES, TV_MEMORY_DEVICE, "copies", &buffer));
    assert_true(tv_device_bytes(device) >= before + BYTES);
    assert_ok(tv_upload(device, tv_buffer_span(buffer), out, BYTES));
    assert_ok(tv_download(device, tv_buffer_span(buffer), back, BYTES));
    assert_memory_equal(out, back, BYTES);
    assert_ok(tv_clear(device, tv_span_part(tv_buffer_span(buffer), 256, 512)));
    assert_ok(tv_download(device, tv_buffer_span(buffer), back, BYTES));
    assert_int_equal(back[64], 0);
    assert_int_equal(back[63], out[63]);
    assert_int_equal(back[64 + 128], out[64 + 128]);
    assert_int_equal(tv_upload(device, tv_span_part(tv_buffer_span(buffer), 0, 8), out, 16), TV_E_USAGE);
    tv_buffer_destroy(&buffer);
    assert_int_equal(tv_device_bytes(device), before);
    free(out);
    free(back);
}

static void copies_arrive_directly(void **state) {
    copies_arrive(*state);
}

static void copies_arrive_through_staging(void **state) {
    (void)state;
    tv_device *device = tv_test_open_lowered("unified_memory=0");
    tv_buffer *buffer = NULL;
    assert_ok(tv_buffer_create(device, 256, TV_MEMORY_DEVICE, "unmapped", &buffer));
    assert_null(tv_span_map(tv_buffer_span(buffer)));
    tv_buffer_destroy(&buffer);
    copies_arrive(device);
    tv_device_close(&device);
}

typedef struct making {
    tv_device *device;
    uint64_t each; /* bytes of an item */
    tv_plan_item items[8];
    tv_device_arena *arena;
    int tries;
} making;

static tv_status make(void *context) {
    making *m = context;
    tv_memory_plan plan;
    m->tries++;
    for (int i = 0; i < 8; i++)
        m->items[i] = (tv_plan_item){.bytes = m->each};
    TV_RETURN_IF_FAILED(tv_memory_plan_sequence(m->items, 8, tv_device_caps(m->device)->buffer_bytes, &plan));
    tv_status status = tv_device_arena_create(m->device, &plan, TV_MEMORY_DEVICE, "test", &m->arena);
    tv_memory_plan_free(&plan);
    return status;
}

/* A driver that refuses more than 3 MiB at once. Tried, each fails: the last failure told in place of the
 * first; caps that stay small where it was no help. */
static void refused_buffers_are_cut(void **state) {
    (void)state;
    enum { MIB = 1 << 20 };
    tv_device *device = NULL;
    assert_int_equal(setenv("TRIVIUM_INJECT_REFUSED_BYTES", "3145728", 1), 0);
    assert_ok(tv_device_open(&(tv_device_options){.select = getenv("TRIVIUM_TEST_DEVICE")}, &device));
    assert_int_equal(unsetenv("TRIVIUM_INJECT_REFUSED_BYTES"), 0);
    const uint64_t whole = tv_device_caps(device)->buffer_bytes;
    making too_large = {.device = device, .each = 3 * MIB + 256};
    assert_fails(tv_make_in_smaller_buffers(device, make, &too_large), TV_E_FIT, "allocate 24");
    assert_int_equal(tv_device_caps(device)->buffer_bytes, whole);
    making m = {.device = device, .each = MIB};
    assert_ok(tv_make_in_smaller_buffers(device, make, &m));
    assert_int_equal(m.tries, 3);
    assert_in_range(tv_device_caps(device)->buffer_bytes, MIB, 3 * MIB);
    for (uint32_t i = 0; i < 8; i++) {
        uint32_t word = 0;
        tv_span span = tv_span_part(tv_device_arena_span(m.arena, &m.items[i]), 0, sizeof word);
        assert_ok(tv_upload(device, span, &i, sizeof i));
        for (uint32_t j = 0; j <= i; j++) {
            span = tv_span_part(tv_device_arena_span(m.arena, &m.items[j]), 0, sizeof word);
            assert_ok(tv_download(device, span, &word, sizeof word));
            assert_int_equal(word, j);
        }
    }
    tv_device_arena_destroy(&m.arena);
    tv_device_close(&device);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_are_sound),         cmocka_unit_test(sequences_keep_their_order),
        cmocka_unit_test(copies_arrive_directly),  cmocka_unit_test(copies_arrive_through_staging),
        cmocka_unit_test(refused_buffers_are_cut),
    };
    return cmocka_run_group_tests(tests, tv_test_open_device, tv_test_close_device);
}
