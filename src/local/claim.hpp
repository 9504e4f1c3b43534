// Making one sandbox from a member of the warm pool: the members are asked one after the other until one agrees, and
// when none does the sandbox is made as any other. And the members that are missing afterwards.
//
// Both belong to the I/O thread, but Claim::cancel(). A claim holds itself until it is done.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend.hpp"
#include "local/launch.hpp"
#include "local/pool.hpp"

namespace orkestr::local {

class Claim : public std::enable_shared_from_this<Claim> {
 public:
  // `program` and `prepared` are for a sandbox without the pool.
  Claim(IoLoop& loop, ForkLedger& ledger, PoolView view, Prepared prepared, Completion<Launch::Made> done)
      : loop_(loop), ledger_(ledger), view_(std::move(view)), prepared_(std::move(prepared)), done_(std::move(done)) {}

  void begin() { next(); }
  void shut_down(const Error& reason);
  // Any thread.
  void cancel();

 private:
  void next();
  void make_ordinarily();
  void launch(StartedSupervisor supervisor, Completion<Launch::Made> then);
  void finish(Result<Launch::Made> result);

  IoLoop& loop_;
  ForkLedger& ledger_;
  PoolView view_;
  Prepared prepared_;
  Completion<Launch::Made> done_;
  std::shared_ptr<Launch> launch_;
  bool id_is_used_ = false;  // by an attempt that may have left a trace of it
};

// Starts what is missing in the pool, and reaps what that takes.
class PoolKeeper : public std::enable_shared_from_this<PoolKeeper> {
 public:
  explicit PoolKeeper(std::shared_ptr<IoLoop> loop) : loop_(std::move(loop)) {}

  // A millisecond for each that is missing; they begin to work later.
  void fill(const PoolOrder& order);
  void shut_down();

 private:
  void reap_later();

  std::shared_ptr<IoLoop> loop_;
  std::vector<base::Child> processes_;
};

}  // namespace orkestr::local
