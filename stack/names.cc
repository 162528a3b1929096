// Names of the enumerations that operators see.
#include "stack/interfaces.hh"
#include "stack/snapshot.hh"

namespace understudy::stack {

const char* to_string(State state) {
    switch (state) {
        case State::syn_sent:
            return "SYN-SENT";
        case State::syn_received:
            return "SYN-RECEIVED";
        case State::established:
            return "ESTABLISHED";
        case State::fin_wait_1:
            return "FIN-WAIT-1";
        case State::fin_wait_2:
            return "FIN-WAIT-2";
        case State::close_wait:
            return "CLOSE-WAIT";
        case State::closing:
            return "CLOSING";
        case State::last_ack:
            return "LAST-ACK";
        case State::time_wait:
            return "TIME-WAIT";
    }
    return "?";
}

const char* to_string(Coverage coverage) {
    switch (coverage) {
        case Coverage::covered:
            return "covered";
        case Coverage::half_open:
            return "half_open";
        case Coverage::inferred:
            return "inferred";
        case Coverage::hole:
            return "hole";
        case Coverage::uncompared:
            return "uncompared";
        case Coverage::diverged:
            return "diverged";
        case Coverage::too_old:
            return "too_old";
        case Coverage::over_budget:
            return "over_budget";
        case Coverage::conflicting:
            return "conflicting";
        case Coverage::not_continuable:
            return "not_continuable";
        case Coverage::state:
            return "state";
    }
    return "?";
}

const char* to_string(ServiceState state) {
    switch (state) {
        case ServiceState::stateless:
            return "stateless";
        case ServiceState::unproven:
            return "unproven";
        case ServiceState::attested:
            return "attested";
        case ServiceState::lost:
            return "lost";
    }
    return "?";
}

const char* to_string(Hindrance hindrance) {
    switch (hindrance) {
        case Hindrance::none:
            return "none";
        case Hindrance::authentication:
            return "authentication";
        case Hindrance::multipath:
            return "multipath";
        case Hindrance::fast_open:
            return "fast_open";
    }
    return "?";
}

const char* to_string(CloseReason reason) {
    switch (reason) {
        case CloseReason::finished:
            return "finished";
        case CloseReason::reset_by_peer:
            return "reset_by_peer";
        case CloseReason::reset_by_primary:
            return "reset_by_primary";
        case CloseReason::aborted:
            return "aborted";
        case CloseReason::timed_out:
            return "timed_out";
        case CloseReason::refused:
            return "refused";
        case CloseReason::uncovered:
            return "uncovered";
        case CloseReason::muted:
            return "muted";
        case CloseReason::unreachable:
            return "unreachable";
        case CloseReason::evicted:
            return "evicted";
    }
    return "?";
}

const char* to_string(RecoveryState state) {
    switch (state) {
        case RecoveryState::open:
            return "open";
        case RecoveryState::disorder:
            return "disorder";
        case RecoveryState::cwr:
            return "cwr";
        case RecoveryState::recovery:
            return "recovery";
        case RecoveryState::loss:
            return "loss";
    }
    return "?";
}

}  // namespace understudy::stack
