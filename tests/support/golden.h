/* The first training step of the golden models against PyTorch (tests/golden/README.md). */
#ifndef TV_TESTS_GOLDEN_H
#define TV_TESTS_GOLDEN_H

#include "support/language_model.h"

#include "formats/directory.h"

/* tests/golden/NAME + SUFFIX; the caller frees. */
char *tv_test_golden_path(const char *name, const char *suffix);

typedef struct tv_test_golden_model {
    tv_model_directory *directory;
    uint32_t tokens[256], targets[256]; /* the first batch: B 4, T 64 */
    double loss, grad_norm;             /* of the first step, in float64 */
    const char *name;
} tv_test_golden_model;

tv_test_golden_model tv_test_golden_open(const char *name);
void tv_test_golden_close(tv_test_golden_model *golden);

/* Loss, gradient of every tensor, and the gradient norm that the trainer reports. `how` names the device's
 * settings in failures.
 *
 * Tolerances. PyTorch's own fp32 is off by 2.4e-7 of a loss and 3.4e-7 of a norm; 2e-6 and 1e-5 leave room
 * for another order of summation and a device's exp and tanh (tests/train/test_golden.c). A tensor: |d - g|
 * <= 5e-6 |g|. An element of it went through some 20 operations of at most 4 units in the last place (6e-8)
 * each: 20 * 4 * 6e-8 = 4.8e-6 if none of it cancelled over the 256 rows that are summed. Measured on
 * lavapipe, 2026-11-22: at most 8.8e-7 (a key weight). A key bias has gradient 0; what float32 leaves of it
 * stays below 1e-7 (measured: 4e-9), where the query bias has 5e-3. */
void tv_test_golden_first_step(tv_device *device, const tv_test_golden_model *golden, const char *how,
                               bool recompute);

#endif
