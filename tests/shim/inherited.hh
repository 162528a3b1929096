// The program started anew with a listening descriptor of its parent's, as service managers do.
#pragma once

namespace understudy::conformance {

inline constexpr const char* inherited_command = "inherited";

// Accepts one connection from the descriptor of this number and tells the client what it is. Exit status.
int serve_inherited(const char* descriptor);

}  // namespace understudy::conformance
