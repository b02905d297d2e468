/* An adapter merged into its base: W + scale B A, summed in double and rounded once, as a model without an
 * adapter, for those who write models.
 */
#ifndef TV_FORMATS_MERGE_H
#define TV_FORMATS_MERGE_H

#include "formats/directory.h"

typedef struct tv_merged tv_merged;

/* Of an opened model, which outlives it; of one without an adapter the same weights come out. */
tv_status tv_merged_create(const tv_model_directory *directory, tv_merged **merged);
void tv_merged_destroy(tv_merged **merged);

/* The parameters without those of the adapter. */
const tv_parameter_list *tv_merged_parameters(const tv_merged *merged);
/* A tv_parameter_source over a tv_merged. */
tv_status tv_merged_source(void *merged, uint32_t index, uint64_t first_row, uint64_t rows, tv_dtype dtype,
                           void *out);

#endif
