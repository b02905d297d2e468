/* Weights of a model directory into a model on a device.
 *
 * Promise: parameters are read and uploaded in pieces, so the host never holds a large one as a whole; where
 * a checkpoint's checksums lie beside the weights, weights that differ from them are refused (TV_E_DATA).
 */
#ifndef TV_FORMATS_LOAD_H
#define TV_FORMATS_LOAD_H

#include "formats/directory.h"
#include "model/model.h"

/* Fills every parameter from a directory of the model's own config. */
tv_status tv_model_load(tv_model *model, const tv_model_directory *directory);
/* The same for a model that has more than the directory: a new adapter over its matrices, which is drawn by
 * `seed`. */
tv_status tv_model_load_or_draw(tv_model *model, const tv_model_directory *directory, uint64_t seed);
/* The same for a directory with another head, or whose head is not wanted: everything up to the final norm is
 * read, and the head is drawn by `seed`. A reward model starts so from a language model, a value model from
 * either. TV_E_CONFIG when the bodies differ. */
tv_status tv_model_load_body(tv_model *model, const tv_model_directory *directory, uint64_t seed);

#endif
