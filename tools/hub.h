/* A model hub of Hugging Face's layout: what a repository has, and its files on disk, whole or not at all.
 *
 * Promise: a file appears under its name once its size and its hash are what the hub told; what was received
 * before an interruption lies beside it as NAME.partial and is gone on from, also by a later call; a
 * connection that is cut, slow or refused for the moment is tried again while anything moves, and a few times
 * more.
 */
#ifndef TV_TOOLS_HUB_H
#define TV_TOOLS_HUB_H

#include "formats/hub_listing.h"
#include "tools/http.h"

typedef struct tv_hub {
    tv_http *http;
    const char *endpoint, *repository; /* the caller's */
    const char *revision;              /* what was asked for, then the commit that it stands for */
    bool has_token;
    uint64_t patience; /* seconds */
} tv_hub;

/* HF_ENDPOINT and HF_TOKEN are looked up. `hub` starts zeroed; close also after a failure. */
tv_status tv_hub_open(tv_hub *hub, const char *repository, const char *revision, uint64_t patience);
void tv_hub_close(tv_hub *hub);

/* TV_E_DATA for what is not there or not open to everybody, with what to do. */
tv_status tv_hub_list(tv_hub *hub, tv_hub_listing *listing);

typedef struct tv_hub_received {
    uint64_t bytes; /* that came over the wire */
    bool was_there; /* whole, before */
} tv_hub_received;

/* directory/NAME. TV_E_DATA when a file of that name is there and is another, or what came is not what was
 * told. */
tv_status tv_hub_fetch(tv_hub *hub, const tv_hub_file *file, const char *directory,
                       tv_hub_received *received);

#endif
