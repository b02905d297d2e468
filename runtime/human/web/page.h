/* The ranking page as the build embeds it (cmake/page.cmake): page.html with its style and scripts put in. */
#ifndef TV_HUMAN_WEB_PAGE_H
#define TV_HUMAN_WEB_PAGE_H

#include <stdint.h>

typedef struct tv_page_piece {
    const char *data;
    uint64_t size;
} tv_page_piece;

/* The page is the pieces with a nonce, drawn for each time it is sent, between one and the next. */
extern const tv_page_piece tv_ranking_page_pieces[];
extern const uint64_t tv_ranking_page_piece_count;

#endif
