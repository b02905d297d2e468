/* Checksums of a checkpoint's files, in its trainer_state.json: damage is noticed on reading.
 *
 * Promise: a state that was sealed names every file of the checkpoint, in folders too, with a hash of its
 * bytes, and has a hash of itself; a bit that differs in any of them fails with TV_E_DATA and a sentence that
 * names the file. Files are streamed. Against accidents only: whoever means to deceive makes new checksums.
 * To use a file that was changed by hand, remove "checksums" from the state.
 */
#ifndef TV_FORMATS_CHECKSUMS_H
#define TV_FORMATS_CHECKSUMS_H

#include <stdbool.h>

#include "base/json.h"

/* The file that holds the state. */
#define TV_STATE_NAME "trainer_state.json"

/* Adds "checksums" of the files below `directory`, but for the state's own, and "checksum" of `state`. */
tv_status tv_checksums_seal(cJSON *state, const char *directory);

/* Whether the state is what was sealed; `where` names it in sentences. *sealed is false for one of an earlier
 * version, or of another program, which has no checksums. */
tv_status tv_checksums_check_state(const cJSON *state, const char *where, bool *sealed);
/* The files of a sealed state, which lies in `directory`. */
tv_status tv_checksums_check_files(const cJSON *state, const char *directory);
/* The weights of a model's directory, where a sealed state lies beside them; its texts may have been edited.
 */
tv_status tv_checksums_check_weights(const char *directory);

#endif
