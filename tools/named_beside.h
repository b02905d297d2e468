/* Names of files that a command writes beside the one it was asked for. */
#ifndef TV_TOOLS_NAMED_BESIDE_H
#define TV_TOOLS_NAMED_BESIDE_H

#include <string.h>

#include "base/bytes.h"

/* "prefs.jsonl" and "_val" give "prefs_val.jsonl". NULL when memory is out; the caller frees. */
static inline char *tv_named_beside(const char *path, const char *what) {
    const char *dot = strrchr(path, '.'), *slash = strrchr(path, '/');
    if (!dot || dot == path || (slash && dot <= slash + 1))
        return tv_format("%s%s", path, what);
    return tv_format("%.*s%s%s", (int)(dot - path), path, what, dot);
}

#endif
