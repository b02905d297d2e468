/* The two sockets of loopback.h. */
#include "base/loopback.h"

#include "base/sockets.h"

tv_status tv_loopback_listen(uint16_t port, tv_loopback *loopback) {
    uint16_t same;
    *loopback = (tv_loopback){.sockets = {-1, -1}};
    TV_RETURN_IF_FAILED(tv_socket_listen("127.0.0.1", port, &loopback->sockets[0], &loopback->port));
    /* A system without IPv6 does without. */
    if (tv_socket_listen("::1", loopback->port, &loopback->sockets[1], &same) != TV_OK)
        loopback->sockets[1] = -1;
    return TV_OK;
}

void tv_loopback_close(tv_loopback *loopback) {
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++)
        tv_socket_close(&loopback->sockets[i]);
}
