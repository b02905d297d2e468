/* The self-test of attention on matrix units: see attention_rows.h. */
#include "kernels/attention_rows.h"

#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "kernels/attention.h"
#include "vk/submit.h"
#include "vk/transfer.h"

/* Two blocks of 64 keys and a bit, query heads that share keys. */
enum { TOKENS = 139, HEADS = 4, KV_HEADS = 2, HEAD_SIZE = 64 };
enum { QKV = (HEADS + 2 * KV_HEADS) * HEAD_SIZE, OUT = HEADS * HEAD_SIZE, CACHE = KV_HEADS * HEAD_SIZE };

/* All on the device; T is the tier's type. */
typedef struct trial {
    tv_buffer *buffer;
    tv_tensor qkv, last;           /* (TOKENS, QKV); its last row once more */
    tv_tensor positions, slots;    /* (TOKENS): 0, 1, ...; all 0 */
    tv_tensor last_position;       /* (1) */
    tv_tensor k, v;                /* of one slot */
    tv_tensor whole, steps, split; /* (TOKENS, OUT) of the forward pass; of rows side by side; (OUT) of one
                                      whose keys are shared out */
    tv_tensor scratch;
} trial;

static tv_tensor place(uint64_t *at, tv_dtype dtype, uint64_t elements) {
    tv_tensor tensor = {.span = {.offset = *at, .bytes = elements * tv_dtype_bytes(dtype)}, .dtype = dtype};
    *at += tv_align_up(tensor.span.bytes, TV_TENSOR_ALIGNMENT);
    return tensor;
}

static tv_status make(tv_device *device, trial *t) {
    const tv_dtype type = tv_tier_dtype(tv_device_caps(device)->tier);
    const uint64_t scratch =
        tv_attention_decode_scratch(tv_device_caps(device), 1, HEADS, KV_HEADS, HEAD_SIZE, TOKENS);
    uint64_t bytes = 0;
    t->qkv = place(&bytes, type, (uint64_t)TOKENS * QKV);
    t->last = place(&bytes, type, QKV);
    t->positions = place(&bytes, TV_U32, TOKENS);
    t->slots = place(&bytes, TV_U32, TOKENS);
    t->last_position = place(&bytes, TV_U32, 1);
    t->k = place(&bytes, type, (uint64_t)TOKENS * CACHE);
    t->v = place(&bytes, type, (uint64_t)TOKENS * CACHE);
    t->whole = place(&bytes, type, (uint64_t)TOKENS * OUT);
    t->steps = place(&bytes, type, (uint64_t)TOKENS * OUT);
    t->split = place(&bytes, type, OUT);
    t->scratch = place(&bytes, TV_F32, tv_max_u64(scratch, sizeof(float)) / sizeof(float));
    TV_RETURN_IF_FAILED(tv_buffer_create(device, bytes, TV_MEMORY_DEVICE, "self-test", &t->buffer));
    tv_tensor *const all[] = {&t->qkv, &t->last,  &t->positions, &t->slots, &t->last_position, &t->k,
                              &t->v,   &t->whole, &t->steps,     &t->split, &t->scratch};
    for (size_t i = 0; i < TV_COUNT(all); i++)
        all[i]->span = tv_span_part(tv_buffer_span(t->buffer), all[i]->span.offset, all[i]->span.bytes);
    if (scratch == 0)
        t->scratch = TV_ABSENT;
    return TV_OK;
}

/* No two sums of such agree in their last bits by chance alone. */
static tv_status fill(tv_device *device, const trial *t) {
    enum { COUNT = TOKENS * QKV };
    tv_status status;
    float *values = malloc(COUNT * sizeof *values);
    uint16_t *narrow = malloc(COUNT * sizeof *narrow);
    uint32_t positions[TOKENS], slots[TOKENS] = {0};
    if (!values || !narrow) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a self-test");
        goto done;
    }
    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = (float)((i * 2654435761u ^ i >> 7) * 40503u >> 8 & 0xffff) / 20000 - 1.6f;
    for (uint32_t i = 0; i < TOKENS; i++)
        positions[i] = i;
    tv_dtype_from_f32(t->qkv.dtype, COUNT, 1, values, narrow);
    TV_TRY(tv_upload(device, t->qkv.span, narrow, t->qkv.span.bytes));
    TV_TRY(tv_upload(device, t->last.span, narrow + (COUNT - QKV), t->last.span.bytes));
    TV_TRY(tv_upload(device, t->positions.span, positions, sizeof positions));
    TV_TRY(tv_upload(device, t->last_position.span, positions + TOKENS - 1, sizeof *positions));
    TV_TRY(tv_upload(device, t->slots.span, slots, sizeof slots));
done:
    free(values);
    free(narrow);
    return status;
}

static tv_status run(tv_device *device, const trial *t) {
    tv_recorder *recorder = NULL;
    tv_recording *recording = NULL;
    uint64_t value;
    tv_status status;
    tv_attention_decode decode = {.rows = TOKENS,
                                  .heads = HEADS,
                                  .kv_heads = KV_HEADS,
                                  .head_size = HEAD_SIZE,
                                  .max_tokens = TOKENS,
                                  .qkv = t->qkv,
                                  .positions = t->positions,
                                  .k_cache = t->k,
                                  .v_cache = t->v,
                                  .output = t->steps,
                                  .slots = t->slots,
                                  .slot_count = 1};
    TV_TRY(tv_recorder_begin(device, &(tv_recorder_options){.name = "self-test of attention"}, &recorder));
    tv_record_push_label(recorder, "attention");
    TV_TRY(tv_attention_forward(recorder, &(tv_attention){.batch = 1,
                                                          .tokens = TOKENS,
                                                          .heads = HEADS,
                                                          .kv_heads = KV_HEADS,
                                                          .head_size = HEAD_SIZE,
                                                          .qkv = t->qkv,
                                                          .output = t->whole}));
    TV_TRY(tv_attention_decode_record(recorder, &decode));
    decode.rows = 1;
    decode.qkv = t->last;
    decode.positions = t->last_position;
    decode.output = t->split;
    decode.slots = TV_ABSENT;
    decode.scratch = t->scratch;
    TV_TRY(tv_attention_decode_record(recorder, &decode));
    tv_record_pop_label(recorder);
    TV_TRY(tv_recorder_end(&recorder, &recording));
    TV_TRY(tv_submit(device, &recording, 1, &value));
    TV_TRY(tv_wait(device, value));
done:
    tv_recorder_abort(&recorder);
    tv_recording_destroy(&recording);
    return status;
}

static tv_status compare(tv_device *device, const trial *t, bool *sound) {
    enum { COUNT = TOKENS * OUT };
    tv_status status;
    uint16_t *whole = malloc(COUNT * sizeof *whole), *other = malloc(COUNT * sizeof *other);
    if (!whole || !other) {
        status = tv_fail(TV_E_MEMORY, "out of host memory for a self-test");
        goto done;
    }
    TV_TRY(tv_download(device, t->whole.span, whole, t->whole.span.bytes));
    TV_TRY(tv_download(device, t->steps.span, other, t->steps.span.bytes));
    *sound = memcmp(whole, other, COUNT * sizeof *whole) == 0;
    TV_TRY(tv_download(device, t->split.span, other, t->split.span.bytes));
    *sound = *sound && memcmp(whole + (COUNT - OUT), other, OUT * sizeof *whole) == 0;
done:
    free(whole);
    free(other);
    return status;
}

tv_status tv_attention_rows_test(tv_device *device, bool *sound) {
    trial t = {0};
    tv_status status = TV_OK;
    *sound = true;
    if (tv_attention_cache_type(tv_device_caps(device), HEAD_SIZE) == TV_F32)
        return TV_OK;
    TV_TRY(make(device, &t));
    TV_TRY(fill(device, &t));
    TV_TRY(run(device, &t));
    TV_TRY(compare(device, &t, sound));
done:
    tv_buffer_destroy(&t.buffer);
    return status;
}
