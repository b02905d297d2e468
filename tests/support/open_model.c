/* Models on a device: see open_model.h. */
#include "support/open_model.h"

#include <stdlib.h>

#include "formats/load.h"
#include "support/device.h"
#include "support/support.h"
#include "vk/transfer.h"

void tv_test_open_model(tv_device *device, const char *path, bool train, tv_model_directory **directory,
                        tv_model **model) {
    assert_ok(tv_model_directory_open(path, directory));
    assert_ok(tv_model_create(device, tv_model_directory_parameters(*directory), train, model));
    assert_ok(tv_model_load(*model, *directory));
}

void tv_test_randomize(tv_model *model, float most) {
    const tv_parameter_list *list = tv_model_list(model);
    for (uint32_t i = 0; i < list->count; i++) {
        const tv_parameter *p = &list->items[i];
        float *values = malloc(p->count * sizeof *values);
        assert_non_null(values);
        tv_test_random(values, p->count, 100 + i);
        for (uint64_t e = 0; e < p->count; e++)
            values[e] = p->rank == 1 ? 1 + values[e] / 4 : values[e] * most;
        assert_ok(tv_upload(tv_model_device(model), tv_model_parameter_at(model, i).span, values,
                            p->count * sizeof *values));
        free(values);
    }
}
