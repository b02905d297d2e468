/* What model.c, model_trained.c and model_contents.c share. */
#ifndef TV_MODEL_MODEL_OWN_H
#define TV_MODEL_MODEL_OWN_H

#include "model/model.h"
#include "sizes.h"
#include "vk/transfer.h"

/* The classes of memory of own stretches. */
typedef enum tv_trained_class {
    TV_CLASS_MASTERS,
    TV_CLASS_MOMENT_1,
    TV_CLASS_MOMENT_2,
    TV_CLASS_SUMS, /* only where they are kept */
    TV_CLASS_COUNT
} tv_trained_class;

typedef struct tv_trained {
    tv_stretches *all;    /* NULL without `train` */
    uint32_t *own, count; /* numbers of this owner's stretches */
    tv_plan_item *gradient_items, *items[TV_CLASS_COUNT];
    tv_device_arena *gradients, *arenas[TV_CLASS_COUNT]; /* with one owner sums lie as the gradients do */
    uint64_t error_groups;                               /* of all owners; 0: no errors are kept */
    tv_device_arena **errors; /* where they are taken; with several own groups those behind it, of each */
    tv_state_source source;
    void *source_context;
} tv_trained;

struct tv_model {
    tv_device *device;
    const tv_parameter_list *list;
    struct weight_store *store;
    tv_tensor *weights; /* of each parameter */
    bool *shared;       /* belongs to a base */
    tv_trained trained;
};

/* What tv_model_measure says of gradients, masters, moments and sums. */
tv_status tv_model_measure_trained(const tv_parameter_list *list, const tv_caps *caps, tv_model_bytes *bytes);
/* What is there already stands also after a failure. */
tv_status tv_model_create_trained(tv_model *model);
void tv_model_free_trained(tv_model *model);

bool tv_model_is_shared(const tv_model *model, uint32_t index);
/* Where a model over one of the list `base` finds what its own parameter begins as; TV_NO_PARAMETER: nowhere.
 */
uint32_t tv_model_index_in_base(const tv_parameter_list *base, const tv_parameter_list *list, uint32_t index);
/* tv_model_create_over, whose own parameters are zeros. */
tv_status tv_model_create_shared(const tv_model *base, const tv_parameter_list *list, bool train,
                                 tv_model **model);

#endif
