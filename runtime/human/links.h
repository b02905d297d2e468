/* The secrets in the addresses that the web ranker prints: who holds one is who it says.
 *
 * Promise: 128 random bits each; kept in a private file (base/private_file.h), so that the links that people
 * have hold for the next start too. Deleting the file, or a line of it, ends them.
 *
 *     {"role":"organiser","secret":"..."}      sees how far everybody is
 *     {"role":"anyone","secret":"..."}         ranks under a name of their choice
 *     {"role":"annotator","name":"kim","secret":"..."}
 */
#ifndef TV_HUMAN_LINKS_H
#define TV_HUMAN_LINKS_H

#include <stdint.h>

#include "base/status.h"

enum { TV_LINK_SECRET_CHARACTERS = 32 };

typedef enum tv_link_role { TV_LINK_ORGANISER, TV_LINK_ANYONE, TV_LINK_ANNOTATOR } tv_link_role;

typedef struct tv_link {
    tv_link_role role;
    char *name; /* of an annotator, else NULL */
    char secret[TV_LINK_SECRET_CHARACTERS + 1];
} tv_link;

typedef struct tv_links tv_links;
/* The organiser's link, then one for each name, or where there are none one for anyone. `path` is read and
 * written where a link is new; NULL: they hold for this start only. A file system that keeps no modes gives a
 * warning and links for this start. */
tv_status tv_links_open(const char *path, const char *const *names, uint64_t count, tv_links **links);
void tv_links_close(tv_links **links);

uint64_t tv_links_count(const tv_links *links);
const tv_link *tv_links_at(const tv_links *links, uint64_t index);
/* The link with this secret, or NULL; takes as long for a near miss as for any other text. */
const tv_link *tv_links_find(const tv_links *links, const char *secret);

#endif
