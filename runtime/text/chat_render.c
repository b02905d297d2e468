/* Rendering conversations: see chat_render.h. */
#include "text/chat_render.h"

#include <stdlib.h>
#include <string.h>

static tv_status add_message(tv_jinja_heap *heap, tv_jinja_list *list, const tv_message *message,
                             uint32_t number) {
    static const char *const roles[] = {
        [TV_SYSTEM] = "system", [TV_USER] = "user", [TV_ASSISTANT] = "assistant"};
    tv_jinja_value item, role, content;
    TV_RETURN_IF_FAILED(tv_jinja_new_dict(heap, &item));
    TV_RETURN_IF_FAILED(tv_jinja_literal(heap, roles[message->role], &role));
    TV_RETURN_IF_FAILED(
        tv_jinja_text_of(heap, message->length ? message->content : "", message->length, number, &content));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, item.dict, "role", role));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, item.dict, "content", content));
    return tv_jinja_add(heap, list, item);
}

static tv_status set_name(tv_jinja_heap *heap, tv_jinja_dict *variables, const char *key, const char *name) {
    tv_jinja_value text;
    if (!name)
        return TV_OK;
    TV_RETURN_IF_FAILED(tv_jinja_literal(heap, name, &text));
    return tv_jinja_set_named(heap, variables, key, text);
}

static tv_status set_variables(tv_jinja_heap *heap, const tv_chat_names *names, const tv_message *messages,
                               uint64_t count, bool add_generation_prompt, tv_jinja_dict *variables) {
    tv_jinja_value list;
    TV_RETURN_IF_FAILED(tv_jinja_new_list(heap, count, &list));
    for (uint64_t i = 0; i < count; i++)
        TV_RETURN_IF_FAILED(add_message(heap, list.list, &messages[i], (uint32_t)i + 1));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, variables, "messages", list));
    TV_RETURN_IF_FAILED(
        tv_jinja_set_named(heap, variables, "add_generation_prompt", tv_jinja_bool(add_generation_prompt)));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, variables, "tools", tv_jinja_none()));
    TV_RETURN_IF_FAILED(tv_jinja_set_named(heap, variables, "documents", tv_jinja_none()));
    TV_RETURN_IF_FAILED(set_name(heap, variables, "bos_token", names->bos));
    TV_RETURN_IF_FAILED(set_name(heap, variables, "eos_token", names->eos));
    TV_RETURN_IF_FAILED(set_name(heap, variables, "unk_token", names->unk));
    return set_name(heap, variables, "pad_token", names->pad);
}

tv_status tv_chat_render(const tv_jinja *jinja, const tv_chat_names *names, const tv_message *messages,
                         uint64_t count, bool add_generation_prompt, tv_chat_rendered *rendered) {
    tv_jinja_heap heap = {0};
    tv_jinja_buffer out = {0};
    tv_jinja_value variables;
    tv_status status;
    uint64_t input = 0;
    for (uint64_t i = 0; i < count; i++)
        input += messages[i].length;
    TV_RETURN_IF_FAILED(tv_jinja_heap_create(input, count, &heap));
    heap.date = names->date;
    TV_TRY(tv_jinja_new_dict(&heap, &variables));
    TV_TRY(set_variables(&heap, names, messages, count, add_generation_prompt, variables.dict));
    TV_TRY(tv_jinja_render(jinja, &heap, variables.dict, &out));
    void *origins = rendered->origins;
    TV_TRY(tv_grow(&origins, &rendered->capacity, out.size + 1, sizeof *rendered->origins));
    rendered->origins = origins;
    rendered->text.size = 0;
    TV_TRY(tv_text_append(&rendered->text, out.size ? out.bytes : "", out.size));
    rendered->generated.size = 0;
    for (uint64_t i = 0; i < out.size; i++) {
        const uint8_t generated = (out.origins[i] & TV_JINJA_GENERATED) != 0;
        rendered->origins[i] = out.origins[i] & ~TV_JINJA_GENERATED;
        TV_TRY(tv_text_append(&rendered->generated, &generated, 1));
    }
done:
    tv_jinja_heap_destroy(&heap);
    return status;
}

void tv_chat_rendered_free(tv_chat_rendered *rendered) {
    tv_text_free(&rendered->text);
    tv_text_free(&rendered->generated);
    free(rendered->origins);
    *rendered = (tv_chat_rendered){0};
}

bool tv_chat_find(const tv_chat_rendered *rendered, uint32_t number, uint64_t *begin, uint64_t *end) {
    uint64_t last = rendered->text.size;
    while (last > 0 && rendered->origins[last - 1] != number)
        last--;
    *begin = *end = last;
    for (uint64_t i = last; i > 0 && (rendered->origins[i - 1] == number || rendered->origins[i - 1] == 0);
         i--)
        *begin = rendered->origins[i - 1] == number ? i - 1 : *begin;
    return last > 0;
}
