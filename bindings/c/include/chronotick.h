/*
 * ChronoTick: what time is it, and how wrong may that be?
 *
 * Corrected time with a bound and a calibrated interval, read from the shared memory of the ChronoTick daemon: no
 * connection, no lock, no memory allocated, and no system call while the daemon lives.
 *
 *     chronotick_clock *clock;
 *     chronotick_reading now;
 *     if (chronotick_open(CHRONOTICK_ABI, NULL, &clock) != CHRONOTICK_STATUS_OK) {
 *         fprintf(stderr, "%s\n", chronotick_error_message());
 *         return 1;
 *     }
 *     chronotick_now(clock, &now);
 *     printf("%" PRId64 " to %" PRId64 " ns since 1970\n", now.earliest, now.latest);
 *     chronotick_close(clock);
 *
 * Compile with: cc program.c $(pkg-config --cflags --libs chronotick)
 *
 * Times are nanoseconds since 1970-01-01T00:00:00Z as POSIX counts (no leap seconds), lengths are nanoseconds, both as
 * int64_t. Arithmetic inside saturates: INT64_MAX as a length means unknown. Any number of threads may share a clock.
 * All words are UTF-8.
 *
 * Made by cbindgen from bindings/c/src; do not edit.
 */

#ifndef CHRONOTICK_H
#define CHRONOTICK_H

#include <stdbool.h>
#include <stdint.h>

/**
 * The version of the binary interface that this header describes: what chronotick_open() wants to hear.
 *
 * It changes when a structure or a function of this header changes its meaning or layout, never when one is added, and
 * is the number in the name of the shared library (libchronotick.so.1).
 */
#define CHRONOTICK_ABI 1

/**
 * How a call ended. Zero is success; chronotick_status_text() has words for each.
 */
enum chronotick_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    CHRONOTICK_STATUS_OK = 0,
    /**
     * A pointer was null that must not be, or the path is empty.
     */
    CHRONOTICK_STATUS_INVALID_ARGUMENT = 1,
    /**
     * The program was compiled for another version of the binary interface than the library's.
     */
    CHRONOTICK_STATUS_ABI = 2,
    /**
     * There is no clock page: no daemon has run on this machine since it started.
     */
    CHRONOTICK_STATUS_MISSING = 3,
    /**
     * The file is not a clock page.
     */
    CHRONOTICK_STATUS_NOT_A_PAGE = 4,
    /**
     * The clock page was written by a daemon of another version.
     */
    CHRONOTICK_STATUS_PAGE_VERSION = 5,
    /**
     * The clock page could not be opened or mapped.
     */
    CHRONOTICK_STATUS_IO = 6,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum chronotick_status chronotick_status;
#else
typedef int32_t chronotick_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How far corrected time can be relied on. Unknown is never healthy: a number that is not listed here is an error.
 */
enum chronotick_state
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint8_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Measuring has begun; no majority of the sources stands behind the estimate yet.
     */
    CHRONOTICK_STATE_WARMUP = 0,
    /**
     * A strict majority of the sources agrees, recently, and the bound is acceptable.
     */
    CHRONOTICK_STATE_SYNCED = 1,
    /**
     * It was synced; new evidence is missing and the bound grows, but is still acceptable.
     */
    CHRONOTICK_STATE_HOLDOVER = 2,
    /**
     * No claim can be made that would be acceptable.
     */
    CHRONOTICK_STATE_UNSYNCED = 3,
    /**
     * The engine itself is broken.
     */
    CHRONOTICK_STATE_ERROR = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum chronotick_state chronotick_state;
#else
typedef uint8_t chronotick_state;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What the bounds of two readings say about their order.
 */
enum chronotick_order
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint8_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * The bounds overlap: either may have come first.
     */
    CHRONOTICK_ORDER_INDISTINGUISHABLE = 0,
    /**
     * The first came before the second: their bounds do not touch.
     */
    CHRONOTICK_ORDER_BEFORE = 1,
    /**
     * The first came after the second: their bounds do not touch.
     */
    CHRONOTICK_ORDER_AFTER = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum chronotick_order chronotick_order;
#else
typedef uint8_t chronotick_order;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Corrected time from a clock page. Open one and keep it: opening costs system calls, reading does not. Any number of
 * threads may read it at once; a child process after fork() may go on reading it.
 */
typedef struct chronotick_clock chronotick_clock;

/**
 * Corrected time at one instant: a bound, an estimate, its spread, and whether to trust them.
 *
 * The bound, earliest to latest, contains true time unless half of the sources or more lie. The spread sigma is that
 * of the calibrated interval: truth is within 1.96 sigma of the estimate in 95 of 100 readings. The two are never
 * mixed. A reading is plain data: copy it, send it, compare it on another machine.
 */
typedef struct chronotick_reading {
    /**
     * True time is not before this, ns since 1970.
     */
    int64_t earliest;
    /**
     * True time is not after this, ns since 1970.
     */
    int64_t latest;
    /**
     * The best estimate of true time, ns since 1970.
     */
    int64_t estimate;
    /**
     * Half-width of the calibrated 95 % interval divided by 1.96, ns; INT64_MAX if unknown.
     */
    int64_t sigma;
    /**
     * True time is not before this, ns since 1970, if what the narrow bound assumes is true (chronotick_narrow_text()).
     * Without a narrow bound (narrow_assumes is 0) the same as earliest.
     */
    int64_t narrow_earliest;
    /**
     * True time is not after this, ns since 1970, if what the narrow bound assumes is true; else the same as latest.
     */
    int64_t narrow_latest;
    /**
     * The shape of the calibrated interval, for chronotick_interval().
     */
    uint64_t levels;
    /**
     * A chronotick_state.
     */
    uint8_t state;
    /**
     * Why the state is what it is: chronotick_reason_text() has the words.
     */
    uint8_t reason;
    /**
     * By how many thousandths of the round trip the narrow bound lets one way take longer than the other; 0 if there
     * is no narrow bound.
     */
    uint8_t narrow_assumes;
    /**
     * Zero.
     */
    uint8_t reserved[5];
} chronotick_reading;

/**
 * The order of two readings, once by their bounds and once by their spreads.
 */
typedef struct chronotick_comparison {
    /**
     * By the spreads, taken to be independent and normal: the probability, 0 to 1, that the first came before the
     * second. NaN if one of the readings is neither synced nor in holdover: nobody measured its spread.
     */
    double probability_before;
    /**
     * By the bounds, a chronotick_order: certain, unless half of the sources or more lie.
     */
    uint8_t order;
    /**
     * Zero.
     */
    uint8_t reserved[7];
} chronotick_comparison;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Opens the clock page of this machine, or the one in a file.
 *
 * abi: CHRONOTICK_ABI, so that a program does not run with a library it was not compiled for.
 * path: a clock page (clock.page in the daemon's runtime directory), or NULL for the first with a living daemon in
 * /run/chronotick, $XDG_RUNTIME_DIR/chronotick and chronotick-UID in $TMPDIR or /tmp, or in $CHRONOTICK_RUNTIME_DIR
 * alone if that is set.
 * clock: where to put the handle; NULL is put there on failure. Give it to chronotick_close() in the end.
 *
 * A page whose daemon has died opens well: its readings say so. A daemon that is started later is found by the open
 * clock, within a second. On failure chronotick_error_message() says what is wrong with which file.
 *
 * # Safety
 *
 * path is NULL or ends with NUL.
 */
chronotick_status chronotick_open(uint32_t abi,
                                  const char *path,
                                  struct chronotick_clock **clock);

/**
 * Gives a clock back. NULL is allowed. No other thread may be reading it.
 */
void chronotick_close(struct chronotick_clock *clock);

/**
 * Corrected time now, for about what one clock_gettime() costs. Fails only if a pointer is NULL.
 *
 * After a suspend of the machine it takes the daemon up to a second to notice: chronotick_now_checked() does at once.
 */
chronotick_status chronotick_now(const struct chronotick_clock *clock,
                                 struct chronotick_reading *reading);

/**
 * As chronotick_now(), but after a suspend that the daemon has not noticed yet the state is unsynced. Costs two more
 * clock reads.
 */
chronotick_status chronotick_now_checked(const struct chronotick_clock *clock,
                                         struct chronotick_reading *reading);

/**
 * Corrected time and the system clock (CLOCK_REALTIME, ns since 1970) at the same instant; the bound includes how exactly
 * that could be hit. The offset of the system clock is estimate - system: positive if the system clock is behind.
 */
chronotick_status chronotick_now_and_system(const struct chronotick_clock *clock,
                                            struct chronotick_reading *reading,
                                            int64_t *system);

/**
 * The raw clock now, in ns of CLOCK_MONOTONIC_RAW since the machine started: take it when something happens, ask
 * chronotick_at() later.
 */
int64_t chronotick_raw(void);

/**
 * Corrected time when the raw clock read, or will read, so many ns (chronotick_raw()), as far as is known now.
 */
chronotick_status chronotick_at(const struct chronotick_clock *clock,
                                int64_t raw,
                                struct chronotick_reading *reading);

/**
 * Which of two events came first, this machine's or others': what their readings can tell.
 *
 * On one machine the errors of two readings are nearly the same, and the true answer is more certain than this one;
 * there, compare what chronotick_raw() said.
 */
chronotick_status chronotick_compare(const struct chronotick_reading *first,
                                     const struct chronotick_reading *second,
                                     struct chronotick_comparison *comparison);

/**
 * Half-width, in ns, of the interval around the estimate that holds truth in this share of readings: 0.95 for 95 of
 * 100. INT64_MAX for 1 and beyond, for what is not a number, and for NULL.
 */
int64_t chronotick_interval(const struct chronotick_reading *reading,
                            double level);

/**
 * Probability, 0 to 1, that truth is within so many ns of the estimate: the inverse of chronotick_interval(). 0 unless
 * the state is synced or holdover, and for NULL.
 */
double chronotick_confidence_within(const struct chronotick_reading *reading,
                                    int64_t limit);

/**
 * The furthest, in ns, that true time can be from the estimate: the longer side of the bound. INT64_MAX for NULL.
 */
int64_t chronotick_max_error(const struct chronotick_reading *reading);

/**
 * Whether to rely on a reading within its uncertainty: it rests on measurements, and its state is synced or holdover.
 */
bool chronotick_is_trustworthy(const struct chronotick_reading *reading);

/**
 * The word for a state, such as "synced", for as long as the program runs; never NULL.
 */
const char *chronotick_state_text(uint8_t state);

/**
 * The words for a reason, for as long as the program runs; never NULL.
 */
const char *chronotick_reason_text(uint8_t reason);

/**
 * What a narrow bound takes for granted (narrow_assumes), for as long as the program runs; never NULL, and empty for 0.
 */
const char *chronotick_narrow_text(uint8_t narrow_assumes);

/**
 * Words for a status, for as long as the program runs; never NULL.
 */
const char *chronotick_status_text(int32_t status);

/**
 * What exactly went wrong in the newest call of chronotick_open() that failed on this thread: which file, and what to
 * do about it. Empty if none has; never NULL. Good until the next chronotick_open() on this thread.
 */
const char *chronotick_error_message(void);

/**
 * The version of the binary interface of the library that the program runs with: CHRONOTICK_ABI when that was built.
 */
uint32_t chronotick_abi(void);

/**
 * The version of the library, such as "0.1.0".
 */
const char *chronotick_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CHRONOTICK_H */
