#include "failover/command.hh"

#include <fcntl.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace understudy::failover {
namespace {

std::vector<std::string> merged(const Command::Environment& added) {
    std::vector<std::string> all;
    for (char** entry = environ; *entry != nullptr; ++entry)
        all.emplace_back(*entry);
    for (const auto& [name, value] : added)
        all.push_back(name + "=" + value);
    return all;
}

// posix_spawn, for a fork would copy the page tables of all the replica's memory at the worst of times. Returns
// an errno.
int spawn(const std::string& line, const Command::Environment& environment, pid_t& pid) {
    std::vector<std::string> entries = merged(environment);
    std::vector<char*> pointers;
    for (std::string& entry : entries)
        pointers.push_back(entry.data());
    pointers.push_back(nullptr);
    std::string shell = "/bin/sh", option = "-c", text = line;
    char* const arguments[] = {shell.data(), option.data(), text.data(), nullptr};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_init(&actions);
    sigset_t none, ordinary;
    sigemptyset(&none);
    sigfillset(&ordinary);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &ordinary);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    const int error =
        posix_spawn(&pid, shell.c_str(), &actions, &attributes, arguments, pointers.data());
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return error;
}

CommandResult judge(int status) {
    if (WIFEXITED(status))
        return {WEXITSTATUS(status) == 0, "exit status " + std::to_string(WEXITSTATUS(status))};
    return {false, "killed by signal " + std::to_string(WTERMSIG(status))};
}

}  // namespace

struct Command::Impl : std::enable_shared_from_this<Impl> {
    Impl(boost::asio::io_context& io, Done when_done) : end(io), timer(io), done(std::move(when_done)) {}

    void wait() {
        end.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       [self = shared_from_this()](const boost::system::error_code& error) {
                           if (!error) self->look();
                       });
    }

    void watch(Duration timeout) {
        wait();
        timer.expires_after(timeout);
        timer.async_wait([self = shared_from_this(), timeout](const boost::system::error_code& error) {
            if (error || self->pid == 0) return;
            self->kill_all();
            char text[48];
            std::snprintf(text, sizeof text, "no end after %.1f s",
                          std::chrono::duration<double>(timeout).count());
            self->tell({false, text});
        });
    }

    void look() {
        if (pid == 0) return;
        int status = 0;
        if (waitpid(pid, &status, WNOHANG) != pid) return wait();
        // What it left behind in its group has no business any more.
        kill(-pid, SIGKILL);
        pid = 0;
        tell(judge(status));
    }

    void kill_all() {
        if (pid == 0) return;
        kill(-pid, SIGKILL);
        int status = 0;
        waitpid(pid, &status, 0);
        pid = 0;
    }

    void tell(const CommandResult& result) {
        timer.cancel();
        end.cancel();
        if (auto tell_once = std::exchange(done, nullptr)) tell_once(result);
    }

    boost::asio::posix::stream_descriptor end;  // a pidfd: readable when the command has ended
    boost::asio::steady_timer timer;
    Done done;
    pid_t pid = 0;
};

Command::Command(boost::asio::io_context& io, const std::string& line, const Environment& environment,
                 Duration timeout, Done done)
    : impl_(std::make_shared<Impl>(io, std::move(done))) {
    int error = spawn(line, environment, impl_->pid);
    if (error == 0) {
        const int descriptor = static_cast<int>(syscall(SYS_pidfd_open, impl_->pid, 0));
        if (descriptor >= 0) {
            impl_->end.assign(descriptor);
            impl_->watch(timeout);
            return;
        }
        error = errno;
        impl_->kill_all();
    }
    impl_->pid = 0;
    boost::asio::post(io, [impl = impl_, error] {
        impl->tell({false, std::string("cannot start: ") + std::strerror(error)});
    });
}

Command::~Command() {
    impl_->done = nullptr;
    impl_->timer.cancel();
    boost::system::error_code ignored;
    impl_->end.cancel(ignored);
    impl_->kill_all();
}

}  // namespace understudy::failover
