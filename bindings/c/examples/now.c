/* What time is it, and how wrong may that be? With a file as argument: by that clock page. */

#include <chronotick.h>
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

int main(int argc, char **argv)
{
    chronotick_clock *clock;
    if (chronotick_open(CHRONOTICK_ABI, argc > 1 ? argv[1] : NULL, &clock) != CHRONOTICK_STATUS_OK) {
        fprintf(stderr, "now: %s\n", chronotick_error_message());
        return 1;
    }

    chronotick_reading now;
    int64_t system;
    chronotick_now_and_system(clock, &now, &system);
    chronotick_close(clock);

    time_t seconds = (time_t)(now.estimate / 1000000000);
    char text[sizeof "2026-11-21T09:37:29"];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", gmtime(&seconds));
    printf("%s.%09" PRId64 "Z\n", text, now.estimate % 1000000000);
    printf("bound   -%" PRId64 " ns +%" PRId64 " ns\n", now.estimate - now.earliest, now.latest - now.estimate);
    if (now.narrow_assumes != 0)
        printf("narrow  -%" PRId64 " ns +%" PRId64 " ns, if %s\n", now.estimate - now.narrow_earliest,
               now.narrow_latest - now.estimate, chronotick_narrow_text(now.narrow_assumes));
    printf("95 %%    within %" PRId64 " ns\n", chronotick_interval(&now, 0.95));
    printf("system  %+" PRId64 " ns to add to the system clock\n", now.estimate - system);
    printf("state   %s: %s\n", chronotick_state_text(now.state), chronotick_reason_text(now.reason));
    return chronotick_is_trustworthy(&now) ? 0 : 3;
}
