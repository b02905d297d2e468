/* Characters one by one: see visible_text.h. */
#include "text/visible_text.h"

#include "base/visible.h"

tv_status tv_visible_text(const void *bytes, uint64_t size, tv_text *out) {
    const char *text = bytes;
    tv_visible visible = {0};
    char shown[TV_VISIBLE_BYTES];
    uint32_t length;
    for (uint64_t at = 0; at < size;) {
        at += tv_visible_next(&visible, text + at, size - at, shown, &length);
        TV_RETURN_IF_FAILED(tv_text_append(out, shown, length));
    }
    return TV_OK;
}
