#include "stateful.hpp"

#include <fmt/format.h>

#include <chrono>
#include <sstream>
#include <thread>

#include "base/json.hpp"

namespace orkestr::testing {

namespace {

using namespace std::chrono_literals;
using WallClock = std::chrono::system_clock;

constexpr auto kPatience = 180s;

// One line in, one line out; what it keeps is checked before each answer.
constexpr const char* kServer = R"(
import os, random, zlib
random.seed(7)
block = random.randbytes(4 << 20)
good = zlib.crc32(block)
state = {"counter": 0, "squares": {str(i): i * i for i in range(5000)}}
expected = sum(state["squares"].values())
os.mkfifo("/run/answers")
os.mkfifo("/run/questions")
while True:
    with open("/run/questions") as questions:
        questions.readline()
    state["counter"] += 1
    whole = zlib.crc32(block) == good and sum(state["squares"].values()) == expected
    with open("/run/answers", "w") as answers:
        answers.write(f"{state['counter']} {'whole' if whole else 'BROKEN'}\n")
)";

constexpr const char* kStart = R"(
setsid python3 /workspace/server.py >/run/server.log 2>&1 </dev/null &
setsid bash -c 'n=0; while true; do n=$((n + 1)); echo $n >/run/loops.new; mv /run/loops.new /run/loops; sleep 0.05; done' >/dev/null 2>&1 </dev/null &
echo $! >/run/loop.pid
head -c 2M /dev/urandom >/workspace/data
md5sum /workspace/data >/workspace/sum
for ((i = 0; i < 3000; i++)); do [[ -p /run/questions && -s /run/loops ]] && exit; sleep 0.02; done
cat /run/server.log; exit 1
)";

// The clock first of all.
constexpr const char* kLook = R"(
date +%s.%N
echo x >/run/questions; read -r -t 100 answer </run/answers; echo "$answer"
cat /run/loops
kill -0 $(cat /run/loop.pid) && echo alive
md5sum --quiet -c /workspace/sum && echo intact
echo $(hostname) $(cat /etc/machine-id /proc/sys/kernel/random/boot_id)
head -c 2M /dev/urandom >/workspace/data; md5sum /workspace/data >/workspace/sum
)";

ExecOptions patient() {
  ExecOptions options;
  options.timeout = kPatience;
  return options;
}

double seconds_of(WallClock::time_point time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

}  // namespace

Stateful::Stateful(const CreateOptions& options) : sandbox_(must(Sandbox::create(options, client()))) {
  must(sandbox_.files().write("/workspace/server.py", kServer));
  const auto started = must(sandbox_.exec(kStart, patient()));
  REQUIRE_MESSAGE(started.exit_code == 0, started.stdout_data, started.stderr_data);
  check("at the start");
}

void Stateful::check(const std::string& when) {
  CAPTURE(when);
  const auto before = WallClock::now();
  const auto looked = must(sandbox_.exec(kLook, patient()));
  const auto after = WallClock::now();
  CAPTURE(looked.stdout_data);
  CAPTURE(looked.stderr_data);
  REQUIRE(looked.exit_code == 0);
  std::istringstream lines(looked.stdout_data);
  double clock = 0;
  int counter = 0;
  long loops = 0;
  std::string memory, loop, disk, identity;
  lines >> clock >> counter >> memory >> loops >> loop >> disk;
  lines >> std::ws;
  std::getline(lines, identity);
  CHECK(clock > seconds_of(before) - 1);
  CHECK(clock < seconds_of(after) + 1);
  CHECK(counter == ++counter_);
  CHECK(memory == "whole");
  CHECK(loops >= loops_);
  CHECK(loop == "alive");
  CHECK(disk == "intact");
  if (identity_.empty()) identity_ = identity;
  CHECK(identity == identity_);
  CHECK(identity.size() > 60);
  loops_ = loops;
}

void Stateful::resume() { sandbox_ = must(Sandbox::resume(id(), {}, client())); }

void Stateful::cycle(const std::string& when) {
  CAPTURE(when);
  CHECK(must(sandbox_.pause()) == id());
  CHECK(status_of(id()) == Status::paused);
  resume();
  CHECK(sandbox_.info().status == Status::running);
  check(when);
}

void Stateful::terminate() {
  must(sandbox_.terminate());
  CHECK(status_of(id()) == Status::terminated);
}

CreateOptions own_options() {
  auto options = create_options();
  options.disk_mb = 8211;
  return options;
}

Status status_of(const std::string& sandbox_id) { return must(Sandbox::get(sandbox_id, client())).info().status; }

void await_status(const std::string& sandbox_id, Status wanted) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  while (status_of(sandbox_id) != wanted) {
    REQUIRE_MESSAGE(std::chrono::steady_clock::now() < end, "it is ", to_string(status_of(sandbox_id)), ", not ",
                    to_string(wanted));
    std::this_thread::sleep_for(10ms);
  }
}

std::string started_from(const Sandbox& sandbox) {
  std::string from;
  for (const Event& event : must(sandbox.events())) {
    if (event.kind != "running" && event.kind != "resumed") continue;
    from = base::JsonValue::parse(event.json)->string_or("from", "");
  }
  return from;
}

void check_no_leftovers(const World& in, const std::string& what) {
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (true) {
    must(Sandbox::list({}, client()));
    const auto left = in.leftovers();
    if (left.empty()) return;
    if (std::chrono::steady_clock::now() < end) {
      std::this_thread::sleep_for(20ms);
      continue;
    }
    for (const std::string& one : left) FAIL_CHECK(what, ": ", one);
    return;
  }
}

}  // namespace orkestr::testing
