/* Settings over a list of parameters: see parameter_choice.h. */
#include "run/parameter_choice.h"

#include <stdlib.h>

#include "formats/trainable.h"

static const char where[] = "train.trainable";

tv_status tv_parameter_list_choose(const tv_run_settings *settings, const tv_parameter_list *list,
                                   tv_parameter_list **chosen) {
    tv_status status;
    *chosen = NULL;
    bool *trainable = calloc(list->count, sizeof *trainable);
    if (!trainable)
        return tv_fail(TV_E_MEMORY, "out of host memory for a list of parameters");
    TV_TRY(tv_trainable_parse(settings->train.trainable, where, list, trainable));
    TV_TRY(tv_parameter_list_create_chosen(&list->config, &(tv_parameter_choice){.trainable = trainable},
                                           chosen));
    if ((*chosen)->trainable_count == 0) {
        status =
            tv_fail(TV_E_CONFIG, "%s: \"%s\" leaves nothing to be trained", where, settings->train.trainable);
        tv_parameter_list_destroy(chosen);
    }
done:
    free(trainable);
    return status;
}
