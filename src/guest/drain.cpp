#include "guest/drain.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <utility>

namespace orkestr::guest {

Drain::~Drain() {
  for (const base::UniqueFd& pipe : pipes_) reactor_.remove(pipe.get());
}

void Drain::add(base::UniqueFd pipe) {
  if (pipes_.size() >= kMaxPipes) drop(pipes_.front().get());
  const int fd = pipe.get();
  if (!reactor_.add(fd, EPOLLIN, [this, fd](std::uint32_t) { on_readable(fd); })) return;
  places_[fd] = pipes_.insert(pipes_.end(), std::move(pipe));
}

// One read a turn: a writer that never stops gets no more of the agent than that.
void Drain::on_readable(int fd) {
  std::array<char, 64U << 10U> nowhere;
  const ssize_t n = ::read(fd, nowhere.data(), nowhere.size());
  if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) drop(fd);
}

void Drain::drop(int fd) {
  auto place = places_.extract(fd);
  reactor_.remove(fd);
  pipes_.erase(place.mapped());
}

}  // namespace orkestr::guest
