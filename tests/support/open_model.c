/* A directory's model on a device: see open_model.h. */
#include "support/open_model.h"

#include "formats/load.h"
#include "support/support.h"

void tv_test_open_model(tv_device *device, const char *path, bool train, tv_model_directory **directory,
                        tv_model **model) {
    assert_ok(tv_model_directory_open(path, directory));
    assert_ok(tv_model_create(device, tv_model_directory_parameters(*directory), train, model));
    assert_ok(tv_model_load(*model, *directory));
}
