/* The table of connections behind web_clients.h. */
#include "human/web_clients.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/os.h"

struct tv_web_connection {
    tv_web_connection *next, *previous; /* in the order in which they began to wait */
    uint64_t client;
    int socket;
    bool ended; /* hung up, and not yet removed by its server */
};

struct tv_web_clients {
    tv_mutex *mutex;
    void (*hang_up)(int socket);
    uint32_t limit, count;  /* of those that are not ended */
    tv_web_connection head; /* of a ring */
};

tv_status tv_web_clients_create(uint32_t limit, void (*hang_up)(int socket), tv_web_clients **out) {
    *out = NULL;
    tv_web_clients *clients = calloc(1, sizeof *clients);
    if (!clients)
        return tv_fail(TV_E_MEMORY, "out of host memory for the connections");
    clients->limit = limit;
    clients->hang_up = hang_up;
    clients->head.next = clients->head.previous = &clients->head;
    tv_status status = tv_mutex_create(&clients->mutex);
    if (status != TV_OK)
        free(clients);
    else
        *out = clients;
    return status;
}

void tv_web_clients_destroy(tv_web_clients **clients) {
    if (!clients || !*clients)
        return;
    for (tv_web_connection *at = (*clients)->head.next, *next; at != &(*clients)->head; at = next) {
        next = at->next;
        free(at);
    }
    tv_mutex_destroy(&(*clients)->mutex);
    free(*clients);
    *clients = NULL;
}

static void unlink_one(tv_web_connection *connection) {
    connection->previous->next = connection->next;
    connection->next->previous = connection->previous;
}

static void append(tv_web_clients *clients, tv_web_connection *connection) {
    connection->next = &clients->head;
    connection->previous = clients->head.previous;
    connection->previous->next = connection;
    clients->head.previous = connection;
}

static uint32_t count_of(const tv_web_clients *clients, uint64_t client) {
    uint32_t count = 0;
    for (const tv_web_connection *at = clients->head.next; at != &clients->head; at = at->next)
        count += !at->ended && at->client == client;
    return count;
}

/* The oldest of the client with the most; the ring is in the order of waiting, so the first that is met, and
 * the newest last of all. */
static void end_one(tv_web_clients *clients) {
    tv_web_connection *found = NULL;
    uint32_t most = 0;
    for (tv_web_connection *at = clients->head.next; at != &clients->head; at = at->next) {
        if (at->ended || (found && at->client == found->client))
            continue;
        uint32_t count = count_of(clients, at->client);
        if (count > most) {
            most = count;
            found = at;
        }
    }
    if (!found)
        return;
    found->ended = true;
    clients->count--;
    clients->hang_up(found->socket);
}

tv_web_connection *tv_web_clients_add(tv_web_clients *clients, int socket, uint64_t client) {
    tv_web_connection *added = calloc(1, sizeof *added);
    if (!added)
        return NULL;
    added->socket = socket;
    added->client = client;
    tv_mutex_lock(clients->mutex);
    append(clients, added);
    if (++clients->count > clients->limit)
        end_one(clients);
    tv_mutex_unlock(clients->mutex);
    return added;
}

void tv_web_clients_know(tv_web_clients *clients, tv_web_connection *connection, uint64_t client) {
    if (!connection)
        return;
    tv_mutex_lock(clients->mutex);
    connection->client = client;
    tv_mutex_unlock(clients->mutex);
}

void tv_web_clients_answered(tv_web_clients *clients, tv_web_connection *connection) {
    if (!connection)
        return;
    tv_mutex_lock(clients->mutex);
    unlink_one(connection);
    append(clients, connection);
    tv_mutex_unlock(clients->mutex);
}

void tv_web_clients_remove(tv_web_clients *clients, tv_web_connection **connection) {
    if (!*connection)
        return;
    tv_mutex_lock(clients->mutex);
    unlink_one(*connection);
    clients->count -= !(*connection)->ended;
    tv_mutex_unlock(clients->mutex);
    free(*connection);
    *connection = NULL;
}
