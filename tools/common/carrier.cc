#include "tools/common/carrier.hh"

#include <fcntl.h>
#include <unistd.h>

namespace understudy::tools {

bool has_carrier(const std::string& interface) {
    static const bool sysfs = ::access("/sys/class/net", R_OK) == 0;
    if (!sysfs) return true;
    const int file = ::open(("/sys/class/net/" + interface + "/carrier").c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    char state = '0';
    // An interface that is down refuses to say.
    const bool known = ::read(file, &state, 1) == 1;
    ::close(file);
    return known && state == '1';
}

}  // namespace understudy::tools
