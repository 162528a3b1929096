#include "tools/common/privileges.hh"

#include <cap-ng.h>

#include <algorithm>
#include <iterator>
#include <vector>

namespace understudy::tools {

bool keep_capabilities(std::initializer_list<unsigned> kept) {
    if (capng_get_caps_process() != 0 || capng_have_capabilities(CAPNG_SELECT_CAPS) == CAPNG_NONE) return false;
    std::vector<unsigned> held;
    std::copy_if(kept.begin(), kept.end(), std::back_inserter(held),
                 [](unsigned one) { return capng_have_capability(CAPNG_EFFECTIVE, one) != 0; });
    capng_clear(CAPNG_SELECT_CAPS);
    for (const unsigned one : held)
        capng_update(CAPNG_ADD, static_cast<capng_type_t>(CAPNG_EFFECTIVE | CAPNG_PERMITTED), one);
    return capng_apply(CAPNG_SELECT_CAPS) == 0;
}

}  // namespace understudy::tools
