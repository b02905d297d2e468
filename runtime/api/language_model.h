/* What the files of the public API's language model share: its state. Shapes, errors and ownership stand in
 * trivium/language_model.h.
 */
#ifndef TV_API_LANGUAGE_MODEL_H
#define TV_API_LANGUAGE_MODEL_H

#include "formats/directory.h"
#include "model/decoder.h"
#include "train/trainer.h"
#include "trivium/language_model.h"

struct tv_language_model {
    tv_device *device;
    bool train;
    tv_parameter_list *own_list;   /* of a created model */
    tv_model_directory *directory; /* of a loaded one; owns its list */
    tv_model *model;
    tv_trainer *trainer; /* from the first step or loss on, for (batch, length) */
    uint64_t batch, length;
    tv_trainer *reader; /* from the first pass for all logits on, for read_length tokens */
    uint64_t read_length;
    struct tv_update_state update;    /* after the last step: what outlives a trainer */
    uint64_t steps, examples, tokens; /* trained, for checkpoints */
    tv_decoder *decoder;              /* from the first text on */
    uint64_t decoder_tokens;
    bool decoder_stale; /* its cache is of other weights */
};

/* TV_E_DATA for ids outside the vocabulary; TV_NO_TARGET passes with `may_ignore`. */
tv_status tv_language_model_check_ids(const tv_language_model *model, const char *what, const uint32_t *ids,
                                      uint64_t count, bool may_ignore);

#endif
