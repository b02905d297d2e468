/* Code that is loaded while the program runs, because not every machine has what it needs.
 *
 * Promise: nothing of it is asked for before tv_module_open; a module stays for the life of the process,
 * since libraries that it brings may have started threads.
 */
#ifndef TV_BASE_MODULE_H
#define TV_BASE_MODULE_H

#include "base/status.h"

/* The object called `name` that is exported by the file `file`, which lies beside the program or, where it is
 * installed, in `installed` seen from there ("../lib/trivium"). TV_E_USAGE where there is none; the sentence
 * says why. */
tv_status tv_module_open(const char *file, const char *installed, const char *name, const void **object);

/* The program's own file; the caller frees *path. */
tv_status tv_program_path(char **path);

#endif
