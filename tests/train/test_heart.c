/* train/heart without MPI: which waits are told from those that end. */
#include "support/support.h"

#include <string.h>

#include "train/heart.h"

enum { RANKS = 3 };
static const double limit = 20;
static const tv_rank_at gather = {.number = 7, .bytes = 4, .moves = 12, .kind = TV_TRANSFER_GATHER};

/* All in the same transfer, for so long. */
static void set(tv_rank_watch *ranks, double since) {
    for (int r = 0; r < RANKS; r++) {
        ranks[r] = (tv_rank_watch){gather, since};
        ranks[r].at.waits = true;
    }
}

static bool found(const tv_rank_watch *ranks, uint32_t *waits, uint32_t *past) {
    return tv_find_deadlock(ranks, RANKS, limit, waits, past);
}

static void whoever_may_still_come_is_waited_for(void **state) {
    (void)state;
    tv_rank_watch ranks[RANKS];
    uint32_t waits, past;
    set(ranks, 3600);
    ranks[2].at.number--; /* computes, or a program scores there */
    ranks[2].at.waits = false;
    ranks[2].since = 0;
    assert_false(found(ranks, &waits, &past));
    set(ranks, 19); /* not yet */
    ranks[2].at.number++;
    assert_false(found(ranks, &waits, &past));
    set(ranks, 25); /* done with it, as the root of a broadcast is before the others */
    ranks[0].at.waits = false;
    assert_false(found(ranks, &waits, &past));
}

/* What rank 0 knows of one of two that have just met may be older than what it knows of the other. */
static void whoever_has_just_come_was_waited_for(void **state) {
    (void)state;
    tv_rank_watch ranks[RANKS];
    uint32_t waits, past;
    for (int change = 0; change < 3; change++) {
        set(ranks, 3600);
        ranks[2].since = 19;
        if (change > 0) /* is in the next one, which the others are not yet told of as being in */
            ranks[2].at.number++;
        if (change > 1)
            ranks[2].at.waits = false;
        assert_false(found(ranks, &waits, &past));
        ranks[2].since = 21;
        assert_true(found(ranks, &waits, &past));
        assert_int_equal(waits, 0);
        assert_int_equal(past, change > 0 ? 2 : 0);
    }
}

static void those_that_never_meet_are_found(void **state) {
    (void)state;
    tv_rank_watch ranks[RANKS];
    uint32_t waits, past;
    char hosts[RANKS][TV_MPI_HOST_BYTES] = {"one", "two", "three"}, text[512];
    for (int change = 0; change < 4; change++) {
        set(ranks, 25);
        tv_rank_at *other = &ranks[2].at;
        if (change == 0)
            other->kind = TV_TRANSFER_EXCHANGE;
        if (change == 1)
            other->root = 1;
        if (change == 2)
            other->bytes = 8;
        if (change == 3) { /* passed it, and computes */
            other->number++;
            other->waits = false;
        }
        assert_true(found(ranks, &waits, &past));
        assert_int_equal(waits, 0);
        assert_int_equal(past, 2);
    }
    tv_describe_deadlock(ranks, hosts, waits, past, text, sizeof text);
    assert_string_equal(
        text, "rank 0 on one has waited for 25 s in transfer 7 (a gathering of 4 B), and rank 2 on three is "
              "behind transfer 8 (a gathering of 4 B): they never meet, which is a fault of trivium");
    /* The one that is behind the others is the one that waits for ever, whatever they wait for. */
    set(ranks, 25);
    ranks[0].at.number = ranks[1].at.number = 8;
    ranks[2].at.kind = TV_TRANSFER_EXCHANGE;
    assert_true(found(ranks, &waits, &past));
    assert_int_equal(waits, 2);
    assert_int_equal(past, 0);
}

static void large_transfers_may_take_longer(void **state) {
    (void)state;
    tv_rank_watch ranks[RANKS];
    uint32_t waits, past;
    char hosts[RANKS][TV_MPI_HOST_BYTES] = {"one", "two", "three"}, text[512];
    set(ranks, 25);
    assert_true(found(ranks, &waits, &past)); /* all in the same one, and nothing moves */
    assert_int_equal(waits, past);
    tv_describe_deadlock(ranks, hosts, waits, past, text, sizeof text);
    assert_non_null(strstr(text, "all ranks have waited for 25 s in transfer 7 (a gathering of 4 B)"));
    for (int r = 0; r < RANKS; r++)
        ranks[r].at.moves = 100000000;
    assert_false(found(ranks, &waits, &past));
    for (int r = 0; r < RANKS; r++)
        ranks[r].since = 125;
    assert_true(found(ranks, &waits, &past));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(whoever_may_still_come_is_waited_for),
                                       cmocka_unit_test(whoever_has_just_come_was_waited_for),
                                       cmocka_unit_test(those_that_never_meet_are_found),
                                       cmocka_unit_test(large_transfers_may_take_longer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
