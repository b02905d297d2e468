/* See trivium/trivium.h. */
#include "trivium/trivium.h"

const char *tv_version(void) {
    return TRIVIUM_VERSION;
}
