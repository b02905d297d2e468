/* TFRecord and the hand-encoded Event message: see tfevents.h. */
#include "run/tfevents.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/os.h"

struct tv_tfevents {
    tv_appender *file;
};

uint32_t tv_crc32c(const void *bytes, uint64_t size) {
    const uint8_t *byte = bytes;
    uint32_t crc = UINT32_MAX;
    for (uint64_t i = 0; i < size; i++) {
        crc ^= byte[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1u ? 0x82F63B78u : 0u);
    }
    return ~crc;
}

/* TFRecord stores rotated checksums, so that a checksum over data that holds checksums stays meaningful. */
static uint32_t masked_crc(const void *bytes, uint64_t size) {
    uint32_t crc = tv_crc32c(bytes, size);
    return (crc >> 15 | crc << 17) + 0xa282ead8u;
}

/* A growing message; once `failed` (out of memory) it stays so. */
typedef struct message {
    uint8_t *bytes;
    uint64_t size, room;
    bool failed;
} message;

static void put_bytes(message *m, const void *bytes, uint64_t size) {
    if (m->failed || size == 0)
        return;
    if (m->size + size > m->room) {
        uint64_t room = tv_max_u64(256, 2 * (m->size + size));
        uint8_t *grown = realloc(m->bytes, room);
        if (!grown) {
            m->failed = true;
            return;
        }
        m->bytes = grown;
        m->room = room;
    }
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static void put_little_endian(message *m, uint64_t value, int bytes) {
    uint8_t out[8];
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * i));
    put_bytes(m, out, (uint64_t)bytes);
}

static void put_varint(message *m, uint64_t value) {
    uint8_t out[10];
    uint64_t size = 0;
    for (; value >= 0x80; value >>= 7)
        out[size++] = (uint8_t)(value | 0x80);
    out[size++] = (uint8_t)value;
    put_bytes(m, out, size);
}

/* Protocol buffer wire types. */
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static void put_key(message *m, uint32_t field, uint32_t wire) {
    put_varint(m, (uint64_t)field << 3 | wire);
}

static void put_integer_field(message *m, uint32_t field, uint64_t value) {
    put_key(m, field, WIRE_VARINT);
    put_varint(m, value);
}

static void put_double_field(message *m, uint32_t field, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_key(m, field, WIRE_64);
    put_little_endian(m, bits, 8);
}

static void put_float_field(message *m, uint32_t field, float value) {
    put_key(m, field, WIRE_32);
    put_little_endian(m, tv_float_to_bits(value), 4);
}

static void put_bytes_field(message *m, uint32_t field, const void *bytes, uint64_t size) {
    put_key(m, field, WIRE_BYTES);
    put_varint(m, size);
    put_bytes(m, bytes, size);
}

static void put_text_field(message *m, uint32_t field, const char *text) {
    put_bytes_field(m, field, text, strlen(text));
}

/* Appends `inner` as a field and frees it. */
static void put_message_field(message *m, uint32_t field, message *inner) {
    m->failed = m->failed || inner->failed;
    put_bytes_field(m, field, inner->bytes, inner->size);
    free(inner->bytes);
    *inner = (message){0};
}

/* Field numbers of the published .proto files. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP = 2,
    EVENT_FILE_VERSION = 3,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7
};
enum { SUMMARY_VALUE = 1 };
enum { VALUE_TAG = 1, VALUE_SIMPLE = 2, VALUE_TENSOR = 8, VALUE_METADATA = 9 };
enum { METADATA_PLUGIN = 1, METADATA_CLASS = 4, CLASS_TENSOR = 2, PLUGIN_NAME = 1 };
enum {
    TENSOR_DTYPE = 1,
    TENSOR_SHAPE = 2,
    TENSOR_STRINGS = 8,
    SHAPE_DIM = 2,
    DIM_SIZE = 1,
    DTYPE_STRING = 7
};
enum { SESSION_STATUS = 1, SESSION_START = 1 };

static message begin_event(uint64_t step) {
    message event = {0};
    put_double_field(&event, EVENT_WALL_TIME, tv_wall_seconds());
    put_integer_field(&event, EVENT_STEP, step);
    return event;
}

/* Writes the event as one TFRecord and frees it. */
static tv_status finish_event(tv_tfevents *events, message *event) {
    message record = {0};
    put_little_endian(&record, event->size, 8);
    uint32_t length_crc = record.failed ? 0 : masked_crc(record.bytes, 8);
    put_little_endian(&record, length_crc, 4);
    put_bytes(&record, event->bytes, event->size);
    put_little_endian(&record, masked_crc(event->bytes, event->size), 4);
    tv_status status = record.failed || event->failed
                           ? tv_fail(TV_E_MEMORY, "out of host memory for a TensorBoard event")
                           : tv_append_bytes(events->file, record.bytes, record.size);
    free(record.bytes);
    free(event->bytes);
    return status;
}

tv_status tv_tfevents_create(const char *directory, uint64_t resumed_step, tv_tfevents **out) {
    *out = NULL;
    tv_status status = TV_OK;
    char *path = NULL;
    tv_tfevents *events = calloc(1, sizeof *events);
    if (!events)
        return tv_fail(TV_E_MEMORY, "out of host memory for TensorBoard events");
    /* Two runs within one second get distinct files. */
    for (int copy = 0; !path && copy < 1000; copy++) {
        char suffix[16] = "";
        if (copy)
            snprintf(suffix, sizeof suffix, ".%d", copy);
        path = tv_format("%s/events.out.tfevents.%010.0f.trivium%s", directory, tv_wall_seconds(), suffix);
        if (!path) {
            status = tv_fail(TV_E_MEMORY, "out of host memory for a path");
            goto fail;
        }
        if (tv_path_exists(path)) {
            free(path);
            path = NULL;
        }
    }
    if (!path) {
        status = tv_fail(TV_E_IO, "%s: too many event files of this second", directory);
        goto fail;
    }
    TV_TRY_OR_FAIL(tv_appender_open(path, UINT64_MAX, false, &events->file));
    /* TensorBoard takes the version from the first event. */
    message event = {0};
    put_double_field(&event, EVENT_WALL_TIME, tv_wall_seconds());
    put_text_field(&event, EVENT_FILE_VERSION, "brain.Event:2");
    TV_TRY_OR_FAIL(finish_event(events, &event));
    if (resumed_step > 0) {
        event = begin_event(resumed_step + 1);
        message session = {0};
        put_integer_field(&session, SESSION_STATUS, SESSION_START);
        put_message_field(&event, EVENT_SESSION_LOG, &session);
        TV_TRY_OR_FAIL(finish_event(events, &event));
    }
    free(path);
    *out = events;
    return TV_OK;
fail:
    free(path);
    tv_tfevents_close(&events);
    return status;
}

tv_status tv_tfevents_write_scalars(tv_tfevents *events, uint64_t step, const tv_tf_scalar *scalars,
                                    uint64_t count) {
    message event = begin_event(step), summary = {0};
    for (uint64_t i = 0; i < count; i++) {
        message value = {0};
        put_text_field(&value, VALUE_TAG, scalars[i].tag);
        put_float_field(&value, VALUE_SIMPLE, (float)scalars[i].value);
        put_message_field(&summary, SUMMARY_VALUE, &value);
    }
    put_message_field(&event, EVENT_SUMMARY, &summary);
    return finish_event(events, &event);
}

tv_status tv_tfevents_write_text(tv_tfevents *events, uint64_t step, const char *tag, const char *text) {
    message plugin = {0}, metadata = {0}, dim = {0}, shape = {0}, tensor = {0}, value = {0}, summary = {0};
    put_text_field(&plugin, PLUGIN_NAME, "text");
    put_message_field(&metadata, METADATA_PLUGIN, &plugin);
    put_integer_field(&metadata, METADATA_CLASS, CLASS_TENSOR);
    put_integer_field(&dim, DIM_SIZE, 1);
    put_message_field(&shape, SHAPE_DIM, &dim);
    put_integer_field(&tensor, TENSOR_DTYPE, DTYPE_STRING);
    put_message_field(&tensor, TENSOR_SHAPE, &shape);
    put_text_field(&tensor, TENSOR_STRINGS, text);
    put_text_field(&value, VALUE_TAG, tag);
    put_message_field(&value, VALUE_TENSOR, &tensor);
    put_message_field(&value, VALUE_METADATA, &metadata);
    put_message_field(&summary, SUMMARY_VALUE, &value);
    message event = begin_event(step);
    put_message_field(&event, EVENT_SUMMARY, &summary);
    return finish_event(events, &event);
}

void tv_tfevents_close(tv_tfevents **events) {
    if (!events || !*events)
        return;
    tv_appender_close(&(*events)->file);
    free(*events);
    *events = NULL;
}
