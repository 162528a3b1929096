// Looked at by check_test.py, linked in two ways: it uses the time and chance, and no threads.
#include <sys/random.h>

#include <cstdio>
#include <ctime>

int main() {
    unsigned seed = 0;
    std::FILE* file = std::fopen("/dev/urandom", "rb");
    if (file == nullptr || ::getrandom(&seed, sizeof seed, 0) < 0) return 1;
    return static_cast<int>((static_cast<unsigned>(std::time(nullptr)) ^ seed) & 1U);
}
