// The header in C++: scoped by nothing, owned by a smart pointer, and linked without name mangling.

#include <chronotick.h>
#include <cstdio>
#include <memory>

struct Close {
    void operator()(chronotick_clock *clock) const { chronotick_close(clock); }
};

int main(int argc, char **argv)
{
    chronotick_clock *opened = nullptr;
    chronotick_status status = chronotick_open(CHRONOTICK_ABI, argc > 1 ? argv[1] : nullptr, &opened);
    if (status != CHRONOTICK_STATUS_OK) {
        std::fprintf(stderr, "%s: %s\n", chronotick_status_text(status), chronotick_error_message());
        return 1;
    }
    std::unique_ptr<chronotick_clock, Close> clock(opened);
    chronotick_reading now{};
    chronotick_now(clock.get(), &now);
    std::printf("C++ reads %s\n", chronotick_state_text(now.state));
    return now.state == CHRONOTICK_STATE_SYNCED ? 0 : 3;
}
