/* JSON as variables of a template, for tests. */
#ifndef TV_TESTS_JINJA_VALUES_H
#define TV_TESTS_JINJA_VALUES_H

#include "support/support.h"

#include <math.h>

#include "base/json.h"
#include "text/jinja.h"

/* Texts are of `origin`. */
static inline tv_jinja_value jinja_value(tv_jinja_heap *heap, const cJSON *item, uint32_t origin) {
    tv_jinja_value out = tv_jinja_none(), key;
    const cJSON *child;
    if (cJSON_IsBool(item))
        return tv_jinja_bool(cJSON_IsTrue(item));
    if (cJSON_IsNumber(item))
        return floor(item->valuedouble) < item->valuedouble ? tv_jinja_float(item->valuedouble)
                                                            : tv_jinja_integer((int64_t)item->valuedouble);
    if (cJSON_IsString(item))
        assert_ok(tv_jinja_text_of(heap, item->valuestring, strlen(item->valuestring), origin, &out));
    if (cJSON_IsArray(item))
        assert_ok(tv_jinja_new_list(heap, 0, &out));
    if (cJSON_IsObject(item))
        assert_ok(tv_jinja_new_dict(heap, &out));
    cJSON_ArrayForEach(child, item) {
        if (cJSON_IsArray(item)) {
            assert_ok(tv_jinja_add(heap, out.list, jinja_value(heap, child, origin)));
        } else {
            assert_ok(tv_jinja_text_of(heap, child->string, strlen(child->string), origin, &key));
            assert_ok(tv_jinja_set(heap, out.dict, key, jinja_value(heap, child, origin)));
        }
    }
    return out;
}

#endif
