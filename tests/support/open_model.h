/* Models on a device for tests that train or decode them: a directory's, or of random weights. */
#ifndef TV_TESTS_OPEN_MODEL_H
#define TV_TESTS_OPEN_MODEL_H

#include "formats/directory.h"
#include "model/model.h"

/* With the directory's weights. The caller destroys the model before the directory, whose list of parameters
 * it keeps. */
void tv_test_open_model(tv_device *device, const char *path, bool train, tv_model_directory **directory,
                        tv_model **model);

/* Every parameter at random, so that biases, gains and adapters count: vectors within 1/4 of 1, matrices
 * within `most` of 0. */
void tv_test_randomize(tv_model *model, float most);

#endif
