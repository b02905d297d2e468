/* POSIX sockets behind sockets.h. */
#include "base/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

typedef union any_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
} any_address;

/* The length, or 0 where the text is no address. */
static socklen_t parse(const char *text, uint16_t port, any_address *address) {
    *address = (any_address){0};
    if (inet_pton(AF_INET, text, &address->four.sin_addr) == 1) {
        address->four.sin_family = AF_INET;
        address->four.sin_port = htons(port);
        return sizeof address->four;
    }
    if (inet_pton(AF_INET6, text, &address->six.sin6_addr) == 1) {
        address->six.sin6_family = AF_INET6;
        address->six.sin6_port = htons(port);
        return sizeof address->six;
    }
    return 0;
}

bool tv_address_is_loopback(const char *text) {
    any_address address;
    if (!parse(text, 0, &address))
        return false;
    return address.any.sa_family == AF_INET ? ntohl(address.four.sin_addr.s_addr) >> 24 == 127
                                            : IN6_IS_ADDR_LOOPBACK(&address.six.sin6_addr);
}

bool tv_address_is_every(const char *text) {
    any_address address;
    if (!parse(text, 0, &address))
        return false;
    return address.any.sa_family == AF_INET ? address.four.sin_addr.s_addr == htonl(INADDR_ANY)
                                            : IN6_IS_ADDR_UNSPECIFIED(&address.six.sin6_addr);
}

void tv_socket_close(int *handle) {
    if (*handle >= 0)
        close(*handle);
    *handle = -1;
}

tv_status tv_socket_listen(const char *text, uint16_t port, int *out, uint16_t *got) {
    any_address address;
    socklen_t size = parse(text, port, &address);
    int on = 1;
    *out = -1;
    if (!size)
        return tv_fail(
            TV_E_USAGE,
            "expected a numeric address of this machine to listen on, such as 192.168.1.5 or ::1, found "
            "\"%s\"",
            text);
    int handle = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (handle < 0)
        return tv_fail_errno(TV_E_USAGE, "cannot listen on %s", text);
    /* So that a server that was stopped can come back on its port at once; a port that listens stays refused.
     */
    setsockopt(handle, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (address.any.sa_family == AF_INET6)
        setsockopt(handle, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(handle, &address.any, size) != 0 || listen(handle, SOMAXCONN) != 0 ||
        getsockname(handle, &address.any, &size) != 0) {
        tv_status status =
            errno == EADDRNOTAVAIL
                ? tv_fail_errno(TV_E_USAGE, "cannot listen on %s, which is no address of this machine", text)
                : tv_fail_errno(
                      TV_E_USAGE,
                      "cannot listen on %s port %u; another program may use it: name another port, or "
                      "none to get a free one",
                      text, port);
        close(handle);
        return status;
    }
    *got = ntohs(address.any.sa_family == AF_INET ? address.four.sin_port : address.six.sin6_port);
    *out = handle;
    return TV_OK;
}

void tv_socket_hang_up(int handle) {
    shutdown(handle, SHUT_RDWR);
}

uint64_t tv_socket_peer(const struct sockaddr *address) {
    any_address copy = {0};
    if (address && address->sa_family == AF_INET) {
        memcpy(&copy.four, address, sizeof copy.four);
        return tv_hash_bytes(&copy.four.sin_addr, sizeof copy.four.sin_addr, 4);
    }
    if (address && address->sa_family == AF_INET6) {
        /* A host has a whole /64 to connect from. */
        memcpy(&copy.six, address, sizeof copy.six);
        return tv_hash_bytes(&copy.six.sin6_addr, 8, 6);
    }
    return 0;
}
