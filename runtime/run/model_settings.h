/* Whether the settings' "model" says what the weights say, where both are there. */
#ifndef TV_RUN_MODEL_SETTINGS_H
#define TV_RUN_MODEL_SETTINGS_H

#include "model/config.h"

/* TV_E_CONFIG names the first key of `given` (all of a model's keys or some) that the model in `where`
 * contradicts. Tokens and the deviation of drawn parameters are no matter of the weights. */
tv_status tv_model_settings_check(const cJSON *given, const tv_model_config *weights, const char *where);

#endif
