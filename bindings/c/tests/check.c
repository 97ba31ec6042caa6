/* What the header promises, against a page that publishes ± 1 ms, sigma 100 us. Arguments: the page's file, the state
 * it is in. Every check names itself; the first that fails ends the program with 1. */

#include <chronotick.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(what)                                                        \
    do {                                                                   \
        if (!(what)) {                                                     \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #what);     \
            exit(1);                                                       \
        }                                                                  \
    } while (0)

#ifdef __GLIBC__
/* Every allocation of the process comes through here, the library's included. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
static _Atomic unsigned long allocations;
void *malloc(size_t size) { allocations++; return __libc_malloc(size); }
void *calloc(size_t n, size_t size) { allocations++; return __libc_calloc(n, size); }
void *realloc(void *old, size_t size) { allocations++; return __libc_realloc(old, size); }
int posix_memalign(void **out, size_t align, size_t size)
{
    allocations++;
    *out = __libc_memalign(align, size);
    return *out == NULL;
}
#define COUNTS_ALLOCATIONS 1
#else
static unsigned long allocations;
#define COUNTS_ALLOCATIONS 0
#endif

static void errors_have_words(void)
{
    chronotick_clock *clock = (chronotick_clock *)&clock;
    CHECK(chronotick_open(CHRONOTICK_ABI, "/nowhere/clock.page", &clock) == CHRONOTICK_STATUS_MISSING);
    CHECK(clock == NULL);
    CHECK(strstr(chronotick_error_message(), "/nowhere/clock.page") != NULL);
    CHECK(chronotick_open(CHRONOTICK_ABI, "/dev/null", &clock) == CHRONOTICK_STATUS_NOT_A_PAGE);
    CHECK(strstr(chronotick_error_message(), "/dev/null") != NULL);
    CHECK(chronotick_open(CHRONOTICK_ABI, "", &clock) == CHRONOTICK_STATUS_INVALID_ARGUMENT);
    CHECK(chronotick_open(CHRONOTICK_ABI + 1, NULL, &clock) == CHRONOTICK_STATUS_ABI);
    CHECK(strstr(chronotick_error_message(), "compile it with the header") != NULL);
    CHECK(chronotick_open(CHRONOTICK_ABI, NULL, NULL) == CHRONOTICK_STATUS_INVALID_ARGUMENT);
    CHECK(chronotick_now(NULL, NULL) == CHRONOTICK_STATUS_INVALID_ARGUMENT);
    CHECK(chronotick_compare(NULL, NULL, NULL) == CHRONOTICK_STATUS_INVALID_ARGUMENT);
    CHECK(strstr(chronotick_status_text(CHRONOTICK_STATUS_MISSING), "chronotick run") != NULL);
    CHECK(strstr(chronotick_status_text(-1), "not known") != NULL);
    CHECK(strcmp(chronotick_state_text(200), "error") == 0);
    CHECK(strstr(chronotick_reason_text(255), "not known") != NULL);
    CHECK(*chronotick_narrow_text(0) == '\0');
    CHECK(chronotick_interval(NULL, 0.95) == INT64_MAX && chronotick_max_error(NULL) == INT64_MAX);
    CHECK(!chronotick_is_trustworthy(NULL));
    chronotick_close(NULL);
}

static void a_reading_is_whole(const chronotick_clock *clock, const char *state)
{
    chronotick_reading now;
    CHECK(chronotick_now(clock, &now) == CHRONOTICK_STATUS_OK);
    CHECK(strcmp(chronotick_state_text(now.state), state) == 0);
    CHECK(*chronotick_reason_text(now.reason) != '\0');
    CHECK(now.earliest <= now.narrow_earliest && now.narrow_latest <= now.latest);
    if (strcmp(state, "synced") != 0) {
        CHECK(chronotick_is_trustworthy(&now) == (strcmp(state, "holdover") == 0));
        return;
    }
    CHECK(now.narrow_earliest < now.estimate && now.estimate < now.narrow_latest);
    CHECK(chronotick_is_trustworthy(&now));
    CHECK(chronotick_max_error(&now) > 999999 && chronotick_max_error(&now) < 1100000);
    CHECK(now.sigma == 100000);
    CHECK(chronotick_interval(&now, 0.95) > 195000 && chronotick_interval(&now, 0.95) < 197000);
    CHECK(chronotick_interval(&now, 0.5) < chronotick_interval(&now, 0.99));
    CHECK(chronotick_interval(&now, 1.0) == INT64_MAX && chronotick_interval(&now, NAN) == INT64_MAX);
    CHECK(fabs(chronotick_confidence_within(&now, 196000) - 0.95) < 0.01);
    CHECK(now.narrow_assumes == 10 && strstr(chronotick_narrow_text(10), "1 %") != NULL);
}

static void events_are_ordered(const chronotick_clock *clock)
{
    int64_t raw = chronotick_raw();
    chronotick_reading first, second, near;
    chronotick_at(clock, raw, &first);
    chronotick_at(clock, raw + 100000000, &second);
    chronotick_at(clock, raw + 50000, &near);
    chronotick_comparison comparison;
    CHECK(chronotick_compare(&first, &second, &comparison) == CHRONOTICK_STATUS_OK);
    CHECK(comparison.order == CHRONOTICK_ORDER_BEFORE && comparison.probability_before > 0.999);
    chronotick_compare(&second, &first, &comparison);
    CHECK(comparison.order == CHRONOTICK_ORDER_AFTER && comparison.probability_before < 0.001);
    chronotick_compare(&first, &near, &comparison);
    CHECK(comparison.order == CHRONOTICK_ORDER_INDISTINGUISHABLE);
    CHECK(comparison.probability_before > 0.5 && comparison.probability_before < 0.9);
    first.state = CHRONOTICK_STATE_UNSYNCED;
    chronotick_compare(&first, &near, &comparison);
    CHECK(isnan(comparison.probability_before));
}

static void reading_allocates_nothing(const chronotick_clock *clock)
{
    chronotick_reading now, other;
    chronotick_comparison comparison;
    int64_t system;
    unsigned long before = allocations;
    for (int i = 0; i < 10000; i++) {
        chronotick_now(clock, &now);
        chronotick_at(clock, chronotick_raw(), &other);
        chronotick_now_checked(clock, &other);
        chronotick_now_and_system(clock, &other, &system);
        chronotick_compare(&now, &other, &comparison);
        chronotick_interval(&now, 0.95);
    }
    CHECK(allocations == before);
    printf("10000 times every reading: %lu allocations%s\n", allocations - before,
           COUNTS_ALLOCATIONS ? "" : " (not counted: this libc is not glibc)");
}

static void *reads_on(void *clock)
{
    chronotick_reading now, last = {0};
    for (int i = 0; i < 100000; i++) {
        CHECK(chronotick_now(clock, &now) == CHRONOTICK_STATUS_OK);
        CHECK(now.earliest <= now.estimate && now.estimate <= now.latest && now.state == CHRONOTICK_STATE_SYNCED);
        CHECK(now.estimate - last.estimate > -1000000);
        last = now;
    }
    return NULL;
}

static void threads_share_a_clock(chronotick_clock *clock)
{
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, reads_on, clock) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 3);
    CHECK(chronotick_abi() == CHRONOTICK_ABI);
    CHECK(sizeof(chronotick_reading) == 64 && sizeof(chronotick_comparison) == 16);
    errors_have_words();
    unsigned long before = allocations;
    chronotick_clock *clock;
    CHECK(chronotick_open(CHRONOTICK_ABI, argv[1], &clock) == CHRONOTICK_STATUS_OK && clock != NULL);
    CHECK(!COUNTS_ALLOCATIONS || allocations > before);
    a_reading_is_whole(clock, argv[2]);
    if (strcmp(argv[2], "synced") == 0) {
        events_are_ordered(clock);
        reading_allocates_nothing(clock);
        threads_share_a_clock(clock);
    }
    chronotick_close(clock);
    printf("libchronotick %s keeps what its header promises (%s)\n", chronotick_version(), argv[2]);
    return 0;
}
