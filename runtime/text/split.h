/* Splits by prompt: what belongs to one prompt lies on one side.
 *
 * Promise: each distinct prompt draws a number from its hash and the seed (TV_STREAM_SPLIT), and the lowest
 * are held out: round(fraction x prompts) of them, but at least one and not all where there are two or more
 * and the fraction is above 0. The order of the items does not matter.
 */
#ifndef TV_TEXT_SPLIT_H
#define TV_TEXT_SPLIT_H

#include <stdint.h>

#include "base/status.h"

/* Sets held_out[i] to 1 or 0. `hashes` (count) is one per item: tv_hash_bytes of whatever identifies its
 * prompt. A fraction that is not from 0 to 1 is TV_E_USAGE. */
tv_status tv_split_by_prompt(const uint64_t *hashes, uint64_t count, uint64_t seed, double fraction,
                             uint8_t *held_out);

#endif
