/* Fuzz target: bytes as a Jinja template, rendered with a short conversation. Bytes of the template's origin
 * must not hold the sign that only the messages have, unless the template has it or can make it. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "text/jinja.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Controls cannot be spelled from other letters, but for escapes and changes of case. */
static const char SECRET[] = "\x01 One <|x|>\n two\x01";

static tv_status add_message(tv_jinja_heap *heap, tv_jinja_list *messages, const char *role,
                             uint32_t origin) {
    tv_jinja_value message, text;
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, &message));
    TV_RETURN_IF_FAILED(tv_jinja_literal(heap, role, &text));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, message.dict, "role", text));
    TV_RETURN_IF_FAILED(tv_jinja_text_of(heap, SECRET, sizeof SECRET - 1, origin, &text));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, message.dict, "content", text));
    return tv_jinja_add(heap, messages, message);
}

static tv_status render(const tv_jinja *jinja, tv_jinja_heap *heap, tv_jinja_buffer *out) {
    tv_jinja_value variables, messages;
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, &variables));
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, 2, &messages));
    TV_RETURN_IF_FAILED(add_message(heap, messages.list, "user", 1));
    TV_RETURN_IF_FAILED(add_message(heap, messages.list, "assistant", 2));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, variables.dict, "messages", messages));
    TV_RETURN_IF_FAILED(
        tv_jinja_set_named(heap, variables.dict, "add_generation_prompt", tv_jinja_bool(true)));
    return tv_jinja_render(jinja, heap, variables.dict, out);
}

static bool spells(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (data[i] == 1 || data[i] == '\\') /* itself, or an escape */
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    tv_jinja *jinja = NULL;
    tv_jinja_heap heap;
    tv_jinja_buffer out = {0};
    if (tv_jinja_parse((const char *)data, size, &jinja) != TV_OK)
        return 0;
    if (tv_jinja_heap_create(64, 2, &heap) != TV_OK)
        abort();
    heap.steps /= 64; /* so that endless ones are as many as others */
    heap.memory /= 8;
    if (render(jinja, &heap, &out) == TV_OK && !spells(data, size))
        for (uint64_t i = 0; i < out.size; i++)
            if (out.bytes[i] == 1 && out.origins[i] == 0)
                abort();
    tv_jinja_heap_destroy(&heap);
    tv_jinja_destroy(&jinja);
    return 0;
}
