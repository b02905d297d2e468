/* Llama 3's scaled positions in GGUF: a tensor of what the frequency of each of D/2 pairs is divided by.
 *
 * Promise: what is read gives these factors again, to a ten-thousandth, or it is TV_E_CONFIG; of the many
 * scalings that do, that of the published models where it is one of them.
 */
#ifndef TV_FORMATS_GGUF_ROTARY_H
#define TV_FORMATS_GGUF_ROTARY_H

#include "formats/gguf.h"
#include "model/config.h"

#define TV_GGUF_ROTARY_FACTORS "rope_freqs.weight"

bool tv_gguf_has_rotary_factors(const tv_model_config *config);
/* Fills D/2 of them. */
void tv_gguf_rotary_factors(const tv_model_config *config, float *factors);

/* Sets config->rotary, whose base is there already. */
tv_status tv_gguf_get_rotary_factors(const tv_gguf *file, const tv_gguf_tensor *tensor,
                                     tv_model_config *config);

#endif
