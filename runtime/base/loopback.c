/* POSIX sockets behind loopback.h. */
#include "base/loopback.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

/* -1 with errno where it cannot listen there. */
static int listen_at(const struct sockaddr *address, socklen_t size) {
    int handle = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return -1;
    /* So that a server that was stopped can come back on its port at once; a port that listens stays refused.
     */
    int on = 1;
    setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address->sa_family == AF_INET6)
        setsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(handle, address, size) == 0 && listen(handle, SOMAXCONN) == 0)
        return handle;
    int error = errno;
    close(handle);
    errno = error;
    return -1;
}

tv_status tv_loopback_listen(uint16_t port, tv_loopback *loopback) {
    *loopback = (tv_loopback){.sockets = {-1, -1}};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    loopback->sockets[0] = listen_at((const struct sockaddr *)&four, sizeof four);
    if (loopback->sockets[0] < 0 && port)
        return tv_fail_errno(TV_E_USAGE,
                             "cannot listen on 127.0.0.1 port %u; another program may use it: name "
                             "another one, or leave --port out to get a free one",
                             port);
    socklen_t size = sizeof four;
    if (loopback->sockets[0] < 0 || getsockname(loopback->sockets[0], (struct sockaddr *)&four, &size) != 0) {
        tv_status status = tv_fail_errno(TV_E_IO, "cannot listen on 127.0.0.1");
        tv_loopback_close(loopback);
        return status;
    }
    loopback->port = ntohs(four.sin_port);
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = four.sin_port};
    six.sin6_addr = in6addr_loopback;
    loopback->sockets[1] = listen_at((const struct sockaddr *)&six, sizeof six);
    return TV_OK;
}

void tv_loopback_close(tv_loopback *loopback) {
    for (int i = 0; i < TV_LOOPBACK_FAMILIES; i++) {
        if (loopback->sockets[i] >= 0)
            close(loopback->sockets[i]);
        loopback->sockets[i] = -1;
    }
}
