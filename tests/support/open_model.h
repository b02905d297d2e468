/* A directory's model on a device, for tests that train or decode it. */
#ifndef TV_TESTS_OPEN_MODEL_H
#define TV_TESTS_OPEN_MODEL_H

#include "formats/directory.h"
#include "model/model.h"

/* With the directory's weights. The caller destroys the model before the directory, whose list of parameters
 * it keeps. */
void tv_test_open_model(tv_device *device, const char *path, bool train, tv_model_directory **directory,
                        tv_model **model);

#endif
