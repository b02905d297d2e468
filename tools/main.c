/* The trivium command: finds the subcommand and turns its status into an exit code. */
#include <stdio.h>

#include "trivium/status.h"

int main(void) {
    printf("trivium\n%s", tv_last_error());
    return 0;
}
