/* Work that runs once and is waited for: copies, tables, self-tests. What is done again and again is a
 * recording that is kept (recorder.h, submit.h).
 */
#ifndef TV_VK_ONCE_H
#define TV_VK_ONCE_H

#include "vk/recorder.h"

/* Ends the recorder, submits what it recorded and waits until it is done. Clears the handle, on failure too.
 */
tv_status tv_run_once(tv_recorder **recorder);

#endif
