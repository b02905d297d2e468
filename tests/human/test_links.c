/* The secrets of the ranking page's links and the file that keeps them, and who must give way when a server
 * has too many connections.
 *
 * Seen to fail with: a file written with the usual mode, one of mode 644 read all the same, a link followed
 * (secrets_stay_private); a new secret at each start (links_hold_for_the_next_start); the newest connection
 * ended, or the oldest whoever's it is (the_client_with_most_gives_way).
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/files.h"
#include "base/private_file.h"
#include "human/links.h"
#include "human/web_clients.h"

static const char *const names[] = {"kim", "lee \"<b>\"", "z\xc3\xb6"};

typedef struct place {
    char *dir, *path;
} place;

static int set_up(void **state) {
    place *p = calloc(1, sizeof *p);
    p->dir = tv_test_dir();
    p->path = tv_format("%s/rankings.jsonl.links", p->dir);
    *state = p;
    return 0;
}

static int tear_down(void **state) {
    place *p = *state;
    tv_test_dir_remove(&p->dir);
    free(p->path);
    free(p);
    return 0;
}

static void links_hold_for_the_next_start(void **state) {
    const place *p = *state;
    tv_links *first = NULL, *second = NULL;
    assert_ok(tv_links_open(p->path, names, 2, &first));
    assert_int_equal(tv_links_count(first), 3);
    assert_int_equal(tv_links_at(first, 0)->role, TV_LINK_ORGANISER);
    for (uint64_t i = 0; i < 3; i++) {
        const tv_link *link = tv_links_at(first, i);
        assert_int_equal(strlen(link->secret), TV_LINK_SECRET_CHARACTERS);
        assert_ptr_equal(tv_links_find(first, link->secret), link);
        for (uint64_t j = 0; j < i; j++)
            assert_string_not_equal(link->secret, tv_links_at(first, j)->secret);
    }
    assert_null(tv_links_find(first, NULL));
    assert_null(tv_links_find(first, ""));
    assert_null(tv_links_find(first, "00000000000000000000000000000000"));

    /* Another start with other people: who stays keeps the link, who is not named has none. */
    const char *const others[] = {names[2], names[1]};
    assert_ok(tv_links_open(p->path, others, 2, &second));
    assert_string_equal(tv_links_at(second, 0)->secret, tv_links_at(first, 0)->secret);
    assert_string_equal(tv_links_at(second, 2)->secret, tv_links_at(first, 2)->secret);
    assert_string_equal(tv_links_find(second, tv_links_at(first, 2)->secret)->name, names[1]);
    assert_null(tv_links_find(second, tv_links_at(first, 1)->secret));
    tv_links_close(&second);
    /* Nobody named: a link for anyone, and kim's does not hold. */
    assert_ok(tv_links_open(p->path, NULL, 0, &second));
    assert_int_equal(tv_links_count(second), 2);
    assert_int_equal(tv_links_at(second, 1)->role, TV_LINK_ANYONE);
    assert_null(tv_links_find(second, tv_links_at(first, 1)->secret));
    tv_links_close(&second);
    assert_ok(tv_links_open(p->path, names, 1, &second));
    assert_string_equal(tv_links_at(second, 1)->secret, tv_links_at(first, 1)->secret);
    tv_links_close(&second);
    /* Without a file: for this start only. */
    assert_ok(tv_links_open(NULL, names, 1, &second));
    assert_string_not_equal(tv_links_at(second, 1)->secret, tv_links_at(first, 1)->secret);
    tv_links_close(&second);
    const char *const twice[] = {"kim", "kim"};
    assert_int_equal(tv_links_open(p->path, twice, 2, &second), TV_E_USAGE);
    tv_links_close(&first);
}

static void secrets_stay_private(void **state) {
    const place *p = *state;
    tv_links *links = NULL;
    struct stat info;
    mode_t before = umask(0);
    assert_ok(tv_links_open(p->path, names, 1, &links));
    umask(before);
    tv_links_close(&links);
    assert_int_equal(stat(p->path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);

    assert_int_equal(chmod(p->path, 0640), 0);
    assert_fails(tv_links_open(p->path, names, 1, &links), TV_E_DATA, "mode 640");
    assert_non_null(strstr(tv_last_error(), "delete it"));
    assert_int_equal(chmod(p->path, 0600), 0);

    /* Somebody else's file, put there under another name. */
    char *other = tv_format("%s/other", p->dir);
    assert_int_equal(rename(p->path, other), 0);
    assert_int_equal(symlink(other, p->path), 0);
    assert_fails(tv_links_open(p->path, names, 1, &links), TV_E_DATA, "is a link");
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(link(other, p->path), 0);
    assert_int_equal(tv_links_open(p->path, names, 1, &links), TV_E_DATA);
    assert_int_equal(unlink(p->path), 0);
    assert_int_equal(mkfifo(p->path, 0600), 0);
    assert_int_equal(tv_links_open(p->path, names, 1, &links), TV_E_DATA);
    assert_int_equal(unlink(p->path), 0);
    free(other);

    static const char *const wrong[] = {
        "{\"role\":\"annotator\",\"secret\":\"0123456789abcdef0123456789abcdef\"}\n",
        "{\"role\":\"king\",\"name\":\"kim\",\"secret\":\"0123456789abcdef0123456789abcdef\"}\n",
        "{\"role\":\"annotator\",\"name\":\"kim\",\"secret\":\"0123456789abcdef0123456789abcde\"}\n",
        "{\"role\":\"annotator\",\"name\":\"kim\",\"secret\":\"0123456789ABCDEF0123456789abcdef\"}\n",
        "{\"role\":\"organiser\",\"secret\":7}\n",
        "[]\n",
        "kim\n",
    };
    for (size_t i = 0; i < TV_COUNT(wrong); i++) {
        assert_ok(tv_private_write(p->path, wrong[i], strlen(wrong[i])));
        assert_int_equal(tv_links_open(p->path, names, 1, &links), TV_E_DATA);
        assert_null(links);
        assert_non_null(strstr(tv_last_error(), "links line 1"));
    }
}

/* ---- connections ---- */

static int ended[8];
static int ended_count;

static void hang_up(int socket) {
    ended[ended_count++] = socket;
}

static void the_client_with_most_gives_way(void **state) {
    (void)state;
    enum { GREEDY = 1, KIM = 2, LEE = 3 };
    tv_web_clients *clients = NULL;
    ended_count = 0;
    assert_ok(tv_web_clients_create(4, hang_up, &clients));
    tv_web_connection *kim = tv_web_clients_add(clients, 10, GREEDY);
    tv_web_clients_know(clients, kim, KIM);
    tv_web_connection *greedy[6];
    for (int i = 0; i < 3; i++)
        greedy[i] = tv_web_clients_add(clients, 20 + i, GREEDY);
    assert_int_equal(ended_count, 0);
    /* The first of the greedy one has just asked for something, so the second has waited longest. */
    tv_web_clients_answered(clients, greedy[0]);
    tv_web_connection *lee = tv_web_clients_add(clients, 30, LEE);
    assert_int_equal(ended_count, 1);
    assert_int_equal(ended[0], 21);
    for (int i = 3; i < 6; i++)
        greedy[i] = tv_web_clients_add(clients, 20 + i, GREEDY);
    assert_int_equal(ended_count, 4);
    assert_int_equal(ended[1], 22);
    assert_int_equal(ended[2], 20);
    assert_int_equal(ended[3], 23);
    /* What is removed makes room. */
    tv_web_clients_remove(clients, &greedy[5]);
    assert_null(greedy[5]);
    tv_web_clients_add(clients, 40, LEE);
    assert_int_equal(ended_count, 4);
    tv_web_clients_remove(clients, &lee);
    tv_web_clients_remove(clients, &kim);
    tv_web_clients_destroy(&clients);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(links_hold_for_the_next_start, set_up, tear_down),
        cmocka_unit_test_setup_teardown(secrets_stay_private, set_up, tear_down),
        cmocka_unit_test(the_client_with_most_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
