/* The report of runs that go on, served to browsers of this machine: the page is written anew from the runs'
 * files whenever it is asked for, and the page that is open asks every few seconds.
 *
 * Promise: listens on the loopback interface only. The address holds a secret, so that others of the machine
 * do not read along. Refused with a status code: a Host header that is not this server's own (403), another
 * path (404), another method (405). What has not changed is answered without the page (304). Files that
 * cannot be read for a moment give the sentence (503), and the open page keeps what it shows.
 */
#ifndef TV_REPORT_FOLLOW_H
#define TV_REPORT_FOLLOW_H

#include <stdint.h>

#include "base/status.h"

typedef struct tv_report_follow tv_report_follow;
/* `runs` and `pipeline` (NULL: none) are those of tv_report_write and outlive it. Serves in threads of its
 * own until it is stopped. `port` 0: a free one. The errors of tv_report_write, and TV_E_USAGE when the port
 * is taken. */
tv_status tv_report_follow_start(const char *const *runs, uint64_t run_count, const char *pipeline,
                                 uint16_t port, tv_report_follow **follow);
/* "http://127.0.0.1:PORT/SECRET/"; belongs to it. */
const char *tv_report_follow_url(const tv_report_follow *follow);
/* Answers what is under way, then closes. */
void tv_report_follow_stop(tv_report_follow **follow);

#endif
